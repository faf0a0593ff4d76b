"""Relevance as features: a scikit-learn transformer around a network or an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from fastlrp.ensemble import Ensemble
from fastlrp.learning.inputs import TakesWindows
from fastlrp.learning.notebook import ShowsFit
from fastlrp.messages import count, foreign_network
from fastlrp.network import Network
from fastlrp.panels.samples import is_panel
from fastlrp.rules import Aggregate, Rule

if TYPE_CHECKING:
    from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]


class LRPTransformer(TransformerMixin, ShowsFit, TakesWindows, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Transforms windows into the relevance of their inputs.

    Parameters
    ----------
    estimator : Network, Ensemble, or estimator such as LSTMRegressor
        A network or ensemble is used as it is. An estimator is cloned and fitted in :meth:`fit`; to use one that is
        fitted already, give its ``network_``, or wrap it in ``sklearn.frozen.FrozenEstimator``.
    rule : name or value of a rule, or None; see :meth:`fastlrp.Network.explain`
        None: "arras" for a network, an estimator's own otherwise.
    by : {"feature", "step", "both"}
        The columns that relevance is summed to: one per feature, one per step, or one per step and feature, step-major.
    target : int, str or None
        The output to explain, if there are several.
    aggregate : {"sequence", "average", "last"}
        As in :meth:`fastlrp.Network.explain`.
    steps : int or None
        T, if a network does not know it and X does not have three axes.
    dtype : {"float32", "float64"}
        Dtype that X is read as, for a network.
    device : {"auto", "cpu", "cuda"}
        Where a network computes relevance; an estimator has its own.

    Attributes
    ----------
    network_ : Network or Ensemble
        The network whose predictions are explained.
    estimator_ : estimator
        The fitted clone, if an estimator was given.
    n_features_in_, feature_names_in_, steps_
        As in :class:`~fastlrp.learning.regressor.LSTMRegressor`.
    """

    network_: Network | Ensemble

    def __init__(
        self,
        estimator: Network | Ensemble | Any,
        rule: str | Rule | None = None,
        *,
        by: Literal["feature", "step", "both"] = "feature",
        target: int | str | None = None,
        aggregate: Aggregate = "sequence",
        steps: int | None = None,
        dtype: str = "float64",
        device: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.rule = rule
        self.by = by
        self.target = target
        self.aggregate = aggregate
        self.steps = steps
        self.dtype = dtype
        self.device = device

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit the estimator; for a network, only learn the form of X.

        Parameters
        ----------
        X : array (sample, step, feature), flat columns, or panel
        y : array or Series
            The target, for an estimator.
        **params
            Passed on to the estimator's ``fit``, such as ``sample_weight``.

        Raises
        ------
        ValueError
            If a parameter, X or y is not what is expected.
        """
        if self.by not in ("feature", "step", "both"):
            raise ValueError(f"LRPTransformer(by=...) takes 'feature', 'step' or 'both', not {self.by!r}")
        if isinstance(self.estimator, Network | Ensemble):
            _refuse_static(self.estimator.n_static)
            self._fit_network(X, self.estimator)
        elif hasattr(self.estimator, "fit") and hasattr(self.estimator, "explain"):
            self.estimator_ = clone(self.estimator).fit(X, y, **params)
            for name in ("n_features_in_", "feature_names_in_", "steps_"):
                if hasattr(self.estimator_, name):
                    setattr(self, name, getattr(self.estimator_, name))
            self.network_ = self.estimator_.network_
            _refuse_static(self.network_.n_static)
        else:
            raise ValueError(
                "LRPTransformer takes a Network, an Ensemble, or an estimator with fit and explain such as "
                f"LSTMRegressor, not {foreign_network(self.estimator) or type(self.estimator).__name__}"
            )
        return self

    def _fit_network(self, X: Any, net: Network | Ensemble) -> None:
        if self.steps is not None and net.steps not in (None, self.steps):
            raise ValueError(f"LRPTransformer(steps={self.steps}) was given, but the network takes {net.steps} steps")
        samples = self._samples(X, reset=True)
        width, names = samples.rows.shape[1], samples.features
        if width != net.n_features:
            raise ValueError(f"X has {count(width, 'feature')} a step, but the network takes {net.n_features:,}")
        if net.features is None and is_panel(X):  # names learned here find the columns of panels to come
            net = net.with_features(names)
        elif net.features is not None and names is not None and names != net.features:
            raise ValueError(
                f"X's columns are not the network's inputs in their order, {', '.join(net.features[:5])} ...: choose "
                "them by X[list(net.features)]"
            )
        self.steps_, self.network_ = samples.steps, net
        self._features = None if net.features is None else list(net.features)

    def transform(self, X: Any) -> Array | pd.DataFrame:
        """Relevance of X, summed as ``by`` says.

        Returns
        -------
        array (sample, column); for panels a DataFrame on their own index, NaN where no complete window ends
        """
        check_is_fitted(self, "network_")
        relevance = self._explain(X)
        values = relevance.values
        if self.by != "feature":
            values = values.sum(axis=2) if self.by == "step" else values.reshape(len(values), -1)
        return pd.DataFrame(values, X.index, self.get_feature_names_out()) if is_panel(X) else values

    def _explain(self, X: Any) -> Relevance:
        reduce: Literal["steps"] | None = "steps" if self.by == "feature" else None
        if hasattr(self, "estimator_"):
            return cast(
                "Relevance",
                self.estimator_.explain(X, rule=self.rule, target=self.target, aggregate=self.aggregate, reduce=reduce),
            )
        return self.network_.explain(
            self._input(X),
            steps=self.steps_,
            rule=self.rule or "arras",
            target=self.target,
            aggregate=self.aggregate,
            reduce=reduce,
            device=self.device,
        )

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns: features, "lag4" ... "lag0", or "lag4_beta" ... for by="both".

        Parameters
        ----------
        input_features : list of str or None
            Names for features that have none; must be ``feature_names_in_`` if these are known.
        """
        check_is_fitted(self, "network_")
        names = list(map(str, _check_feature_names_in(self, input_features)))
        lags = [f"lag{k}" for k in range(self.steps_ - 1, -1, -1)]
        D = self.network_.n_features
        if self.network_.features is not None:
            features = list(self.network_.features)
        else:
            features = names if len(names) == D else [f"x{j}" for j in range(D)]
        if self.by == "both" and len(names) == D * self.steps_ > D:
            return np.asarray(names, dtype=object)  # each flat column has a name
        columns = {"feature": features, "step": lags, "both": [f"{lag}_{name}" for lag in lags for name in features]}
        return np.asarray(columns[self.by], dtype=object)

    @property
    def _chosen(self) -> list[str] | None:
        """The inputs that the network names."""
        named = self.estimator.features if isinstance(self.estimator, Network | Ensemble) else None
        return None if named is None else list(named)

    @property
    def _asked_steps(self) -> int | None:
        return self.steps or (self.estimator.steps if isinstance(self.estimator, Network | Ensemble) else None)

    @property
    def _n_features_out(self) -> int:
        return len(self.get_feature_names_out())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        if not isinstance(self.estimator, Network | Ensemble) and hasattr(self.estimator, "fit"):
            tags.target_tags.required = get_tags(self.estimator).target_tags.required
        return tags


def _refuse_static(n_static: int) -> None:
    if n_static:
        raise ValueError(
            "LRPTransformer does not take networks with static features: their relevance has no step; use explain"
        )
