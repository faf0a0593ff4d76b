"""Refits through time: one network per window, trained side by side; predictions and relevance are out of sample."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, check_random_state

from fastlrp.checks import check
from fastlrp.ensemble import Ensemble
from fastlrp.explain import checked_options, labelled, target_unit, warn_if_infinite
from fastlrp.kernels.results import Results, Spread
from fastlrp.learning.checkpoints import Checkpoints
from fastlrp.learning.notebook import ShowsFit
from fastlrp.learning.parameters import check_parameters, known_steps, refuse_short, refuse_static
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.rolling_data import RollingData, Span, as_frame
from fastlrp.learning.rolling_fit import Fits, Kept
from fastlrp.learning.rolling_parts import Models, RollingPanel, predictors
from fastlrp.learning.rolling_records import read_record, record, settings_of
from fastlrp.learning.scoring import scored
from fastlrp.learning.targets import TargetTransform
from fastlrp.learning.training import Diverged, all_or_nothing
from fastlrp.messages import count, users_line
from fastlrp.network import Network
from fastlrp.panels.samples import refuse_other_index
from fastlrp.progress import progress_bar
from fastlrp.relevance.arrays import warn_if_unattributed
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Aggregate, Rule, as_rule

Array = npt.NDArray[Any]

#: Parameters of the estimator that every window has in common, so that ``settings`` cannot choose them.
_COMMON = {
    "network", "static", "steps", "dtype", "n_members", "target_transform", "early_stopping", "warm_start",
    "random_state", "rule", "device", "threads", "verbose", "validation_fraction", "min_steps",
}  # fmt: skip
#: Parameters that describe a network, which a user's own does by itself.
_ARCHITECTURE = {"units", "dense_units", "dense_activation", "bidirectional", "dropout"}


class RollingLSTM(ShowsFit, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An LSTM refitted through time; every prediction comes from a model that saw only earlier periods.

    Window k trains on ``window`` periods of data: inputs and targets of all its samples lie inside. Its model predicts
    the ``step`` periods that follow after ``gap`` others; the last model also predicts all periods after the data of
    ``fit``. Each model has first weights of its own and trains for exactly the estimator's ``max_iter`` epochs; with
    ``validation``, until its last months say to stop. Scaling, target transform, weights of samples, stopping and
    choice are each fitted inside their window.

    Memory of ``fit``, beside the frame: the scaled rows of the windows that are trained at a time, at most 256 MiB or
    one window's, whichever is more, and about 40 bytes a row of the frame.

    Parameters
    ----------
    estimator : LSTMRegressor or None
        The source of the models' parameters, ``steps`` among them; None: a default one. ``early_stopping`` must be off.
    window : int
        Number of periods that a model (with ``expanding``, the first model) trains on, the validation's included.
    expanding : bool
        Windows start at the first period and grow, instead of rolling.
    step : int
        Number of periods between refits.
    gap : int
        Number of periods left out between training and prediction, and between training and validation. 0 is right if
        a row's target is known one period after the row's time, as next month's return is; a target over the next h
        periods needs h - 1.
    scaler : {"standard", "minmax", None}
        Scaling fitted on the rows that train each window: to mean 0 and standard deviation 1, or to [0, 1].
    directory : path or None
        Folder that keeps finished windows; the same fit started again resumes from there.
    threads : int or None
        Number of models trained at a time. Results do not depend on it.
    verbose : bool
        Show a progress bar (tqdm, in the extra ``fastlrp[progress]``).
    validation : int or None
        Number of each window's last periods that are held out. A network stops once its loss on them has not improved
        by more than ``tol`` for ``n_iter_no_change`` epochs, and its best epoch's weights are kept.
    settings : list of dict or None
        Parameters of the estimator to choose from, such as ``[{"units": (8,)}, {"units": (16,), "alpha": 1.0}]``: each
        window keeps the setting whose mean prediction over members has the least error on ``validation``'s periods.
    warm_start : {False, "first", "previous"}
        Where a window's first weights come from: drawn for it; the same in every window; or those that the window
        before has learnt, where its layers are the same.

    Attributes
    ----------
    windows_ : DataFrame
        One row per window: ``train_start``, ``train_end``, ``test_start``, ``test_end`` (all inclusive), ``n_samples``
        that train, ``loss`` (of the last epoch); with ``validation`` also ``validation_start``, ``epochs`` and
        ``validation_score`` (R^2), with ``settings`` also ``setting`` (its position).
    networks_ : list of Network, Ensemble (with ``n_members``) or None
        None for a window without a complete sample.
    loss_curves_ : list of array (epochs,)
        Mean losses, over members too.
    validation_scores_ : list of array (settings,)
        R^2 of each setting's mean prediction, empty without ``validation``; NaN where the targets held out do not
        vary, -inf where training diverged.
    target_transformers_ : list of transformer or None
    centers_, scales_ : array (windows, feature)
        Networks take ``(x - center) / scale``.
    times_, steps_ : Index, int
        The distinct times of ``fit``, oldest first, and T.
    """

    def __init__(
        self,
        estimator: LSTMRegressor | None = None,
        *,
        window: int = 60,
        expanding: bool = False,
        step: int = 1,
        gap: int = 0,
        scaler: Literal["standard", "minmax"] | None = "standard",
        directory: str | Path | None = None,
        threads: int | None = None,
        verbose: bool = False,
        validation: int | None = None,
        settings: Sequence[Mapping[str, Any]] | None = None,
        warm_start: Literal["first", "previous"] | bool = False,
    ) -> None:
        self.estimator = estimator
        self.window = window
        self.expanding = expanding
        self.step = step
        self.gap = gap
        self.scaler = scaler
        self.directory = directory
        self.threads = threads
        self.verbose = verbose
        self.validation = validation
        self.settings = settings
        self.warm_start = warm_start

    # ---------------------------------------------------------------------------------------------------- training

    def fit(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> Self:
        """Train one model per window.

        Parameters
        ----------
        X : DataFrame
            A panel with a (time, asset) index, or a frame with one row per time.
        y : Series, frame or array, one row for each of X's
            Rows with a missing target do not train.
        sample_weight : Series or array, or None
            Scaled to a mean of one in each window.

        Raises
        ------
        ValueError
            If a parameter or the data are not what is expected, ``directory`` holds another fit, or training diverges.
            The message says what and where and, if a window is at fault, which.
        """
        models = self._models()
        with all_or_nothing(self):
            self._fit(RollingData.read(X, y, sample_weight, models[0]), models)
        return self

    def fit_file(
        self,
        source: str | os.PathLike[str],
        target: str | Sequence[str],
        *,
        sample_weight: str | None = None,
        columns: Sequence[str] | None = None,
        index: tuple[str | None, str | None] | None = None,
        where: Any = None,
        memory: int | str = "1GB",
        scratch: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train one model per window of a panel in files, which may be larger than memory; as :meth:`fit`, bit for bit.

        Rows are read once, sorted by asset into a file of ``scratch``, and read from there, window by window: the rows
        of one window must fit into memory.

        Parameters
        ----------
        source, target, sample_weight, columns, index, where, scratch
            As in :meth:`LSTMRegressor.fit_file`.
        memory : int or str
            Most bytes to hold while files are read, and of the rows of windows that are trained at a time, of which
            there is one at least, beside Python, its packages and about 100 bytes a row of the panel.

        Raises
        ------
        ValueError
            As by :meth:`fit`, and if a file or an argument is not what is expected.
        ImportError
            If pyarrow is missing.
        """
        from fastlrp.learning.file_panel import Asked, file_panel

        models = self._models()
        refuse_short(models[0], "fit_file")
        asked = Asked(source, target, sample_weight, columns, index, where, memory, scratch)
        refuse_static(models[0])
        with (
            all_or_nothing(self),
            file_panel(asked, known_steps(models[0]), models[0]._chosen, None) as panel,
        ):
            self._fit(RollingData.of_file(panel), models)
        return self

    def _fit(self, data: RollingData, models: Sequence[LSTMRegressor]) -> None:
        self._net_names = {"features": data.panel.features, "outputs": data.targets.names}
        self._flat_target = data.targets.flat
        self._n_outputs = data.targets.y.shape[1]
        self.times_, self.steps_ = data.times, data.steps
        self._first, self._step, self._target = self.window + self.gap, self.step, models[0].target_transform
        spans = self._spans(len(data.times))
        seed = int(check_random_state(models[0].random_state).randint(np.iinfo(np.int32).max))
        store = None
        if self.directory is not None:
            store = Checkpoints(self.directory, settings_of(self, models[0], data), seed)
            seed = store.seed
        self._train_all(spans, data, models, seed, store)

    def _model(self) -> LSTMRegressor:
        model = LSTMRegressor() if self.estimator is None else self.estimator
        if not isinstance(model, LSTMRegressor):
            raise ValueError(f"RollingLSTM(estimator=...) takes an LSTMRegressor, not {type(model).__name__}")
        if model.early_stopping:
            raise ValueError(
                "RollingLSTM: early_stopping=True is not supported, expected validation=, the number of each window's "
                "last periods to stop by"
            )
        return model

    def _models(self) -> list[LSTMRegressor]:
        """The estimator with each of the settings; parameters checked."""
        for name in ("window", "step", "gap", "scaler", "expanding", "validation", "threads"):
            check(name, getattr(self, name), "RollingLSTM")
        known = isinstance(self.warm_start, str) and self.warm_start in ("first", "previous")
        if self.warm_start is not False and not known:
            raise ValueError(f"RollingLSTM(warm_start=...) takes False, 'first' or 'previous', not {self.warm_start!r}")
        model = self._model()
        check_parameters(model)
        if self.settings is None:
            return [model]
        if not isinstance(self.settings, list | tuple) or not self.settings:
            raise ValueError(f"RollingLSTM(settings=...) takes a list of dicts of parameters, not {self.settings!r}")
        if self.validation is None:
            raise ValueError("RollingLSTM(settings=...) needs validation=, the number of periods to choose by")
        return [self._with(model, k, setting) for k, setting in enumerate(self.settings)]

    def _with(self, model: LSTMRegressor, k: int, setting: Any) -> LSTMRegressor:
        where = f"RollingLSTM: settings[{k}]"
        if not isinstance(setting, Mapping):
            raise ValueError(f"{where} takes a dict of LSTMRegressor's parameters, not {setting!r}")
        own = set() if model.network is None else _ARCHITECTURE
        can = sorted(model.get_params(deep=False).keys() - _COMMON - own)
        odd = next((name for name in setting if name not in can), None)
        if odd is not None:
            raise ValueError(f"{where} names {odd!r}, expected some of {', '.join(can)}")
        chosen: LSTMRegressor = clone(model).set_params(**setting)
        try:
            check_parameters(chosen)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        return chosen

    def _spans(self, n: int) -> list[Span]:
        held = 0 if self.validation is None else self.validation
        kept = self.window - held - (self.gap if held else 0)
        if kept < self.steps_:
            less = f" less {held} of validation and a gap of {self.gap}" if held else ""
            raise ValueError(
                f"RollingLSTM(window={self.window}){less} is shorter than the {count(self.steps_, 'step')} of one "
                "sample"
            )
        if n <= self.window + self.gap:
            raise ValueError(
                f"X has {count(n, 'period')}, expected more than window + gap = {self.window + self.gap}: one is to be "
                "predicted"
            )
        spans = []
        for stop in range(self.window, n - self.gap, self.step):
            start, first = 0 if self.expanding else stop - self.window, stop + self.gap
            cut = stop - self.window + kept
            spans.append(Span(start, cut, stop - held, stop, first, min(first + self.step, n)))
        return spans

    def _train_all(
        self,
        spans: Sequence[Span],
        data: RollingData,
        models: Sequence[LSTMRegressor],
        seed: int,
        store: Checkpoints | None,
    ) -> None:
        K, D, S, M = len(spans), len(data.panel.features), len(models), models[0].n_members
        dtype = np.dtype(data.panel.dtype if models[0].dtype is None else models[0].dtype)
        self.centers_, self.scales_ = np.zeros((K, D), dtype), np.ones((K, D), dtype)
        transforms = [TargetTransform.of(models[0].target_transform, "LSTMRegressor") for _ in spans]
        fits = Fits(
            data, models, self.scaler, self.warm_start, self._net_names, seed, self.centers_, self.scales_, self.threads
        )
        counts = [data.n_trains(span) for span in spans]
        if not any(counts):
            raise ValueError(f"no window has a complete sample of {count(self.steps_, 'step')} with a target")
        blanks = [fits.first(s, 0) for s in range(S)]
        kept: list[Kept | None] = [None] * K
        if store is not None:
            for k, span in enumerate(spans):
                found = store.load(k) if counts[k] else None
                if found is not None:
                    kept[k], scaling = read_record(found, blanks, M, dtype, D, f"window {k} in {self.directory}")
                    self.centers_[k], self.scales_[k] = scaling
                    data.fit_transform(span, transforms[k])
        todo = [(k, span) for k, span in enumerate(spans) if counts[k] and kept[k] is None]
        with progress_bar(self.verbose, len(todo) * S * M, "RollingLSTM.fit", "networks") as advance:
            for chunk in fits.chunks(todo):
                last = chunk[0][0] - 1
                before = kept[last] if self.warm_start == "previous" and last >= 0 else None
                for (k, _), one in zip(chunk, self._train(fits, chunk, transforms, before, advance), strict=True):
                    kept[k] = one
                    if store is not None:
                        store.save(k, record(one, self.centers_[k], self.scales_[k]))
        self._warn(fits)
        self._set(spans, counts, kept, transforms)

    def _warn(self, fits: Fits) -> None:
        for windows, what in (
            (fits.constant, "y is constant, and that value is all a network can learn,"),
            (fits.fell_back, "training diverged after it had improved, and the best epoch's weights are kept,"),
        ):
            if windows:
                where = f"in {count(len(windows), 'window')}, first in window {windows[0]}"
                warnings.warn(f"{what} {where}", RuntimeWarning, stacklevel=users_line())

    def _train(
        self, fits: Fits, chunk: Any, transforms: list[TargetTransform | None], before: Kept | None, advance: Any
    ) -> list[Kept]:
        try:
            return fits.train(chunk, transforms, None if before is None else before.networks, advance)
        except Diverged as error:
            raise ValueError(str(error)) from None

    def _set(
        self,
        spans: Sequence[Span],
        counts: Sequence[int],
        kept: Sequence[Kept | None],
        transforms: Sequence[TargetTransform | None],
    ) -> None:
        """Set all that a fit leaves."""
        self.networks_: list[Network | Ensemble | None] = [
            None if one is None else one.networks[0] if len(one.networks) == 1 else Ensemble(one.networks)
            for one in kept
        ]
        self.loss_curves_ = [np.empty(0) if one is None else one.losses for one in kept]
        self.validation_scores_ = [np.empty(0) if one is None else one.scores for one in kept]
        self.target_transformers_ = [None if one is None else one.transformer for one in transforms]
        columns = {
            "train_start": self.times_[[span.start for span in spans]],
            "train_end": self.times_[[span.cut - 1 for span in spans]],
            "test_start": self.times_[[span.first for span in spans]],
            "test_end": self.times_[[span.last - 1 for span in spans]],
            "n_samples": counts,
            "loss": [float(curve[-1]) if len(curve) else np.nan for curve in self.loss_curves_],
        }
        if self.validation is not None:
            columns["validation_start"] = self.times_[[span.held for span in spans]]
            columns["epochs"] = [len(curve) for curve in self.loss_curves_]
            columns["validation_score"] = [
                float(one.scores[one.setting]) if one is not None and len(one.scores) else np.nan for one in kept
            ]
        if self.settings is not None:
            columns["setting"] = [-1 if one is None else one.setting for one in kept]
        self.windows_ = pd.DataFrame(columns)

    # ------------------------------------------------------------------------------------------------------- use

    def predict(self, X: pd.DataFrame) -> pd.Series[float] | pd.DataFrame:
        """Out-of-sample predictions on X's own index; NaN before the first model, and where no complete window ends.

        Parameters
        ----------
        X : DataFrame
            The frame of ``fit``, or a later one that reaches back far enough for its windows.

        Returns
        -------
        Series, or DataFrame if y had several columns
            In y's units (with the estimator's ``target_transform`` "rank" or "demean", in those), on X's index and in
            its order.

        Raises
        ------
        ValueError
            If X is not like the X of ``fit``; the message says what was given, what was expected, and where.

        Warns
        -----
        OverflowWarning
            If numbers inside a window's network were too large: the message counts and names the rows.
        """
        rolled = self._rolled(X)
        out = self._run(rolled, None)[0].prediction
        warn_if_infinite(out, X.index)
        if any(one is not None for one in self.target_transformers_):
            of_row, out = rolled.networks_of_rows(), out.astype(np.float64)
            for k, transformer in enumerate(self.target_transformers_):
                rows = np.flatnonzero(of_row == k)
                out[rows] = TargetTransform(transformer).undo(out[rows])
        if self._flat_target:
            return pd.Series(out[:, 0], index=X.index, name="prediction")
        return pd.DataFrame(out, X.index, list(self._net_names["outputs"] or range(self._n_outputs)))

    def explain(
        self,
        X: pd.DataFrame,
        *,
        rule: str | Rule | None = None,
        target: int | str | None = None,
        aggregate: Aggregate = "sequence",
        reduce: Literal["steps"] | None = None,
        progress: bool = False,
    ) -> Relevance:
        """Relevance of every out-of-sample prediction, each by its own model, on X's own index.

        It is the relevance of the scaled inputs, which the networks take, and adds up to their output, in the units of
        the ``target_transform``. With ``n_members`` it is the members' mean, with their spread beside it.

        Parameters
        ----------
        X : DataFrame
            The frame of ``fit``, or a later one that reaches back far enough for its windows.
        rule : name or value of a rule, or None; see :meth:`fastlrp.Network.explain`
            The rule for the LSTMs; None: the estimator's.
        target : int, str or None
            The output to explain, by position or name; required if there are several.
        aggregate : {"sequence", "average", "last"}
            The relevance that a lower LSTM gets from the one above: each step's own (conserves), the average over
            steps at the last step, or the most recent step's at the last step. True means "average", False "last".
        reduce : {"steps", None}
            "steps" sums over steps: values are (sample, feature).
        progress : bool
            Show a progress bar (needs the package tqdm, the extra ``progress``).

        Returns
        -------
        Relevance
            One sample per row of X, in its order; NaN where there is no prediction.

        Raises
        ------
        ValueError
            If an argument or X is not what is expected.

        Warns
        -----
        ConservationWarning
            As by :meth:`fastlrp.Network.explain`.
        """
        rolled = self._rolled(X)
        chosen = as_rule(self._model().rule if rule is None else rule)
        aggregate = checked_options(aggregate, reduce, chosen)
        net = next(net for net in self.networks_ if net is not None)
        unit, reduced = target_unit(net, target), reduce is not None
        total = len(rolled) * self._n_members
        with progress_bar(progress, total, "RollingLSTM.explain", "samples") as advance:
            results, spread = self._run(
                rolled, advance if progress else None, rule=chosen, target=unit, aggregate=aggregate, reduced=reduced
            )
        relevance = labelled(
            net, results, self.steps_, chosen, unit, reduced=reduced, index=X.index, features=rolled.panel.features,
            origin=[net for net in self.networks_ if net is not None],
            spread=spread,
        )  # fmt: skip
        warn_if_unattributed(relevance)
        return relevance

    def score(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> float:
        """R^2 of the out-of-sample predictions, against the mean of the scored targets, over rows that have a
        prediction and a target; see :meth:`LSTMRegressor.score`."""
        refuse_other_index(X, y, "y")
        refuse_other_index(X, sample_weight, "sample_weight")
        predicted = np.asarray(self.predict(X), np.float64)
        transform = TargetTransform.of(self._target, "LSTMRegressor")
        return scored(predicted, y, as_frame(X).index, transform, sample_weight, missing=True)

    @property
    def _n_members(self) -> int:
        return max(len(net) if isinstance(net, Ensemble) else 1 for net in self.networks_)

    def _rolled(self, X: pd.DataFrame) -> RollingPanel:
        """X, with the network (of an ensemble, the first) that predicts each row."""
        check_is_fitted(self, "networks_")
        models = Models(self._members(0), self.centers_, self.scales_, self.steps_)

        def model_of(times: pd.Index) -> Array:
            return predictors(times, self.times_, self._first, self._step, len(self.networks_))

        return RollingPanel.read(
            as_frame(X), models, self._net_names["features"], model_of, self._model().min_steps
        )  # fmt: skip

    def _members(self, m: int) -> list[Network | None]:
        """Each window's m-th network."""
        return [net[m] if isinstance(net, Ensemble) else net for net in self.networks_]

    def _run(
        self, rolled: RollingPanel, advance: Callable[[int], object] | None, **ask: Any
    ) -> tuple[Results, Spread | None]:
        """Results of all rows; of ensembles their mean, and the spread, with one member's results beside them."""
        model, M = self._model(), self._n_members
        given: dict[str, Any] = {"device": model.device, "threads": model.threads, "advance": advance, **ask}
        if M == 1:
            return rolled.run(**given), None
        from fastlrp.kernels.cpu import threads_of
        from fastlrp.kernels.members import Members

        net = next(net for net in self.networks_ if net is not None)
        members = Members(M, net.n_features, threads_of(model.threads), held=1, n_static=net.n_static)
        for m in range(M):
            members.add(replace(rolled, models=rolled.models._replace(networks=self._members(m))).run(**given))
        results, spread, of_prediction = members.finish()
        return results, Spread(spread, of_prediction, members.share_spread(), M)
