"""Relevance where there is nothing to find: of the same model, fitted on permuted targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_random_state

from fastlrp.checks import check
from fastlrp.errors import ConservationWarning
from fastlrp.learning.inputs import filled
from fastlrp.messages import count, foreign_network, unsaid
from fastlrp.panels.periods import periods
from fastlrp.panels.samples import is_panel
from fastlrp.progress import progress_bar
from fastlrp.relevance.arrays import summed
from fastlrp.rules import Rule, as_rule

if TYPE_CHECKING:
    from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
By = Literal["feature", "step", "both"]
Statistic = Literal["share", "abs", "mean"]


@dataclass(frozen=True, eq=False, repr=False)
class NullRelevance:
    """A model's relevance beside that of the same model fitted on permuted targets, ``n`` times.

    Attributes
    ----------
    actual : Series (cell,)
        The statistic of each feature, step, or step and feature, by the model fitted on y.
    null : DataFrame (n, cell)
        The same by each fit on permuted targets.
    statistic, by : str
        As :func:`null_relevance` was told.
    """

    actual: pd.Series[float]
    null: pd.DataFrame
    statistic: Statistic
    by: By

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """The model beside the null, a row a cell. Signed means are compared by their size.

        Parameters
        ----------
        level : float in (0, 1]
            The quantile over null fits at which ``line`` stands.

        Returns
        -------
        DataFrame
            ``actual``; the null's ``mean``, ``std`` (ddof=1; NaN for n=1) and ``line``, to which ``actual`` compares;
            and ``p_value``, (1 + number of null fits at or above ``actual``) / (1 + n), of each cell by itself.
        """
        check("level", level)
        size, actual = self.null.abs(), self.actual.abs()
        columns = {
            "actual": self.actual,
            "mean": self.null.mean(),
            "std": self.null.std(),
            "line": size.quantile(level),
            "p_value": (1 + (size >= actual).sum()) / (1 + len(size)),
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        what = {"share": "Mean share of |relevance|", "abs": "Mean |relevance|", "mean": "Mean relevance"}
        return f"{what[self.statistic]} beside {count(len(self.null), 'fit')} on permuted targets\n{self.table()}"


def null_relevance(
    model: Any,
    X: Any,
    y: Any,
    n: int = 10,
    *,
    statistic: Statistic = "share",
    by: By = "feature",
    rule: str | Rule | None = None,
    target: int | str | None = None,
    random_state: int | np.random.RandomState | None = None,
    progress: bool = False,
) -> NullRelevance:
    """Relevance where there is nothing to find, to compare a model's with: a trained network spreads some on anything.

    Clones of the model are fitted on (X, y) once and on permuted targets ``n`` times, each of these with a random state
    of its own, and explained on X (Altmann et al. 2010, doi:10.1093/bioinformatics/btq134, do so for importance). In
    a panel targets move between the assets of a period, so that each period keeps its own; a feature that is the same
    for all assets then has no null here. Elsewhere, and in a panel of one asset, they move between all samples. Missing
    targets stay missing.

    Parameters
    ----------
    model : LSTMRegressor, RollingLSTM, or a pipeline that ends in one
        It is not changed, and need not be fitted.
    X, y
        As the model's ``fit`` takes them.
    n : int
        Number of null fits. The least p-value is 1 / (n + 1).
    statistic : {"share", "abs", "mean"}
        Mean over rows of |R| / sum |R|, of |R|, or of R.
    by : {"feature", "step", "both"}
        The cells that R is summed to first; "step" is by lag. "feature" takes the least memory.
    rule : "arras", "rudder", a rule, or None
        None: the model's own.
    target : int, str or None
        The output to explain, if there are several.
    random_state : int, RandomState or None
        Seeds the permutations, and the models fitted on them.
    progress : bool
        Show a progress bar (needs the package tqdm, the extra ``progress``).

    Returns
    -------
    NullRelevance
        Its ``table()`` holds the model's relevance, the null's mean, spread and 95 % line, and p-values.

    Raises
    ------
    ValueError
        If an argument is not what is expected, or no row of X has relevance.
    """
    for name, value in (("n", n), ("statistic", statistic), ("by", by)):
        check(name, value)
    _check_model(model)
    if rule is not None:
        as_rule(rule)

    def fitted(model: Any, y: Any) -> pd.Series[float]:
        reduce = "steps" if by == "feature" else None
        return _mean(_explain(model.fit(X, y), X, rule=rule, target=target, reduce=reduce), statistic, by)

    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    with progress_bar(progress, n + 1, "null_relevance", "fits") as advance:
        actual = fitted(clone(model), y)
        advance(1)
        given, null = y if isinstance(y, pd.Series | pd.DataFrame) else np.asarray(filled(y)), []
        for k in range(n):
            rng = np.random.default_rng((seed, k))
            with unsaid(ConservationWarning, ConvergenceWarning):  # the model's own have been given
                null.append(fitted(_anew(model, int(rng.integers(2**31))), _permuted(X, given, rng)))
            advance(1)
    return NullRelevance(actual, pd.DataFrame(null).reset_index(drop=True), statistic, by)


def _check_model(model: Any) -> None:
    last = model
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    if not (isinstance(last, BaseEstimator) and hasattr(last, "fit") and hasattr(last, "explain")):
        raise ValueError(
            "null_relevance takes an LSTMRegressor, a RollingLSTM, or a pipeline that ends in one, not "
            f"{foreign_network(last) or type(last).__name__}: it has to be fitted anew"
        )


def _anew(model: Any, seed: int) -> Any:
    """A clone with another random state, which keeps no files: a folder of fits belongs to the model itself."""
    own = {"random_state": seed, "directory": None}
    names = {name: name.rpartition("__")[2] for name in model.get_params()}
    return clone(model).set_params(**{name: own[last] for name, last in names.items() if last in own})


def _permuted(X: Any, y: Any, rng: np.random.Generator) -> Any:
    """The targets, moved among the rows of each period that have one; where none has two of them, among all rows."""
    rows = np.flatnonzero(~np.asarray(pd.isna(y)).reshape(len(y), -1).any(axis=1))
    period = periods(cast(pd.MultiIndex, X.index))[0][rows] if is_panel(X) else np.zeros(len(rows), np.int64)
    if len(np.unique(period)) == len(rows):
        period = np.zeros_like(period)
    source = np.arange(len(y))
    source[rows[np.argsort(period, kind="stable")]] = rows[np.lexsort((rng.random(len(rows)), period))]
    return y[source] if isinstance(y, np.ndarray) else y.iloc[source].set_axis(y.index)


def _explain(model: Any, X: Any, **given: Any) -> Relevance:
    if isinstance(model, Pipeline):
        return _explain(model.steps[-1][1], model[:-1].transform(X) if len(model) > 1 else X, **given)
    relevance: Relevance = model.explain(X, **given)
    return relevance


def _mean(relevance: Relevance, statistic: Statistic, by: By) -> pd.Series[float]:
    """The statistic of each cell, over the rows that have it."""
    names: dict[str, pd.Index] = {
        "feature": pd.Index(relevance.inputs, name="feature"),
        "step": pd.Index(relevance.lags, name="step"),
        "both": pd.MultiIndex.from_product([relevance.lags, relevance.features], names=["step", "feature"]),
    }
    total, rows = np.zeros(len(names[by])), 0
    for cells in _cells(relevance, by):
        if statistic != "mean":
            cells = np.abs(cells)
        if statistic == "share":
            whole = cells.sum(axis=1, keepdims=True)
            cells = np.divide(cells, whole, out=np.full_like(cells, np.nan), where=whole > 0)
        usable = ~np.isnan(cells).any(axis=1)
        total += cells[usable].sum(axis=0)
        rows += int(usable.sum())
    if not rows:
        raise ValueError(f"none of the {count(len(relevance), 'row')} of X has relevance, by which to compare models")
    return pd.Series(total / rows, names[by])


def _cells(relevance: Relevance, by: By) -> Iterator[Array]:
    """Relevance summed to cells, in float64, some rows at a time; static features are cells of ``by="feature"`` alone,
    as they have no step."""
    for rows, part in relevance._chunks():
        if by == "step":
            yield part.sum(axis=2, dtype=np.float64)
        elif by == "feature":
            yield summed(relevance, rows, part)
        else:
            yield part.reshape(len(part), -1).astype(np.float64)
