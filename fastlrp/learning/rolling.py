"""Refits through time: one network per window, trained side by side; predictions and relevance are out of sample."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted, check_random_state

from fastlrp.checks import check
from fastlrp.errors import ConservationWarning
from fastlrp.explain import checked_options, labelled, target_unit
from fastlrp.kernels.results import Results
from fastlrp.learning.checkpoints import Checkpoints, fingerprint
from fastlrp.learning.parameters import architecture_of, check_parameters
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.rolling_data import RollingData, Span, as_frame, scaling
from fastlrp.learning.training import all_or_nothing
from fastlrp.messages import count
from fastlrp.model.plain import arrays_of, with_arrays
from fastlrp.network import Network
from fastlrp.panels.periods import label, periods
from fastlrp.panels.samples import Samples, from_panel, refuse_other_index
from fastlrp.progress import progress_bar
from fastlrp.relevance.arrays import warn_if_unattributed
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Aggregate, Rule, as_rule

Array = npt.NDArray[Any]
Fit = tuple[Network, tuple[Array, Array], Array, Array | None, Array]

_AT_ONCE = 64  # windows handed to the kernels together: enough to keep threads busy, few enough to save often
_AT_ONCE_BYTES = 2**28  # size of their scaled rows

# Parameters that do not change a result, and so may differ when a fit resumes.
_NO_MATTER = {"verbose", "threads", "device", "rule", "warm_start", "random_state", "tol", "n_iter_no_change"}


class RollingLSTM(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An LSTM refitted through time; every prediction comes from a model that saw only earlier periods.

    Window k trains on ``window`` periods of data: inputs and targets of all its samples lie inside. Its model predicts
    the ``step`` periods that follow after ``gap`` others; the last model also predicts all periods after the data of
    ``fit``. Each model trains for exactly the estimator's ``max_iter`` epochs, from initial weights of its own.

    Parameters
    ----------
    estimator : LSTMRegressor or None
        The source of the models' parameters; None: a default one. ``early_stopping`` must be off.
    window : int
        Number of periods that a model (with ``expanding``, the first model) trains on.
    expanding : bool
        Windows start at the first period and grow, instead of rolling.
    step : int
        Number of periods between refits.
    gap : int
        Number of periods left out between training and prediction. 0 is right if a row's target is known one period
        after the row's time, as next month's return is; a target over the next h periods needs h - 1.
    scaler : {"standard", "minmax", None}
        Scaling fitted on each window's rows alone: to mean 0 and standard deviation 1, or to [0, 1].
    directory : path or None
        Folder that keeps finished windows; the same fit started again resumes from there.
    threads : int or None
        Number of models trained at a time. Results do not depend on it.
    verbose : bool
        Show a progress bar (tqdm, in the extra ``fastlrp[progress]``).

    Attributes
    ----------
    windows_ : DataFrame
        One row per window: ``train_start``, ``train_end``, ``test_start``, ``test_end`` (all inclusive), ``n_samples``,
        ``loss`` (of the last epoch).
    networks_ : list of Network or None
        None for a window without a complete sample.
    loss_curves_ : list of array (epochs,)
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

        Raises
        ------
        ValueError
            If a parameter or the data are not what is expected, ``directory`` holds another fit, or training diverges.
            The message says what and where and, if a window is at fault, which.
        """
        model = self._model()
        self._check()
        check_parameters(model)
        with all_or_nothing(self):
            self._fit(RollingData.read(X, y, sample_weight, model), model)
        return self

    def _fit(self, data: RollingData, model: LSTMRegressor) -> None:
        self._net_names = {"features": data.samples.features, "outputs": data.outputs}
        self._flat_target = data.flat
        self._width, self._n_outputs = data.samples.rows.shape[1], data.y.shape[1]
        self.times_, self.steps_ = data.times, data.samples.steps
        spans = self._spans(len(data.times), model.steps or 1)
        seed = int(check_random_state(model.random_state).randint(np.iinfo(np.int32).max))
        store = None
        if self.directory is not None:
            store = Checkpoints(self.directory, self._settings(model, data), seed)
            seed = store.seed
        self._train_all(spans, data, model, seed, store)

    def _model(self) -> LSTMRegressor:
        model = LSTMRegressor() if self.estimator is None else self.estimator
        if not isinstance(model, LSTMRegressor):
            raise ValueError(f"RollingLSTM(estimator=...) takes an LSTMRegressor, not {type(model).__name__}")
        if model.early_stopping:
            raise ValueError("RollingLSTM trains each window for max_iter epochs: early_stopping=True is not supported")
        return model

    def _check(self) -> None:
        for name in ("window", "step", "gap", "scaler", "expanding"):
            check(name, getattr(self, name), "RollingLSTM")

    def _spans(self, n: int, steps: int) -> list[Span]:
        if self.window < steps:
            raise ValueError(
                f"RollingLSTM(window={self.window}) is shorter than the {count(steps, 'step')} of one sample"
            )
        if n <= self.window + self.gap:
            raise ValueError(
                f"X has {count(n, 'period')}, expected more than window + gap = {self.window + self.gap}: one is to be "
                "predicted"
            )
        spans = []
        for stop in range(self.window, n - self.gap, self.step):
            first = stop + self.gap
            spans.append(Span(0 if self.expanding else stop - self.window, stop, first, min(first + self.step, n)))
        return spans

    def _train_all(
        self, spans: Sequence[Span], data: RollingData, model: LSTMRegressor, seed: int, store: Checkpoints | None
    ) -> None:
        K = len(spans)
        self.networks_: list[Network | None] = [None] * K
        self.loss_curves_: list[Array] = [np.empty(0)] * K
        dtype = data.samples.rows.dtype
        self.centers_, self.scales_ = np.zeros((K, self._width), dtype), np.ones((K, self._width), dtype)
        counts = [len(data.trains(span)) for span in spans]
        if not any(counts):
            raise ValueError(f"no window has a complete sample of {count(model.steps or 1, 'step')} with a target")
        blank = architecture_of(model).network(
            self._width, self._n_outputs, np.random.default_rng(0), dtype, steps=model.steps or 1, **self._net_names
        )
        todo = [k for k in range(K) if counts[k] and not self._restore(k, store, blank)]
        with progress_bar(self.verbose, len(todo), "RollingLSTM.fit", "windows") as advance:
            for chunk in self._chunks(todo, spans, data):
                fits = [self._fit_of(k, spans[k], data, model, seed) for k in chunk]
                for k, net, losses in zip(chunk, *self._train(chunk, fits, model, spans, seed, advance), strict=True):
                    self.networks_[k], self.loss_curves_[k] = net, np.asarray(losses)
                    if store is not None:
                        store.save(k, self._saved(k, net))
        self.windows_ = self._table(spans, counts)

    def _chunks(self, todo: Sequence[int], spans: Sequence[Span], data: RollingData) -> Iterator[list[int]]:
        chunk, size = [], 0
        for k in todo:
            chunk.append(k)
            size += data.rows_in(spans[k]) * self._width * data.samples.rows.itemsize
            if len(chunk) == _AT_ONCE or size > _AT_ONCE_BYTES:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _fit_of(self, k: int, span: Span, data: RollingData, model: LSTMRegressor, seed: int) -> Fit:
        """The kernels' inputs to train window k: initial weights, scaled rows, targets, weights of samples, orders."""
        which, rows = data.trains(span), data.rows_of(span)
        values = data.samples.rows[rows]
        self.centers_[k], self.scales_[k] = scaling(values, self.scaler)
        rng = np.random.default_rng((seed, k))
        net = architecture_of(model).network(
            self._width, self._n_outputs, rng, data.samples.rows.dtype, steps=model.steps or 1, **self._net_names
        )
        m = len(which)
        orders = [rng.permutation(m) if model.shuffle else np.arange(m) for _ in range(model.max_iter)]
        starts = np.searchsorted(rows, data.samples.starts[which])
        caller = data.samples.caller[which]
        weight = None if data.weight is None else data.weight[caller]
        return net, ((values - self.centers_[k]) / self.scales_[k], starts), data.y[caller], weight, np.array(orders)

    def _train(
        self,
        chunk: Sequence[int],
        fits: Sequence[Fit],
        model: LSTMRegressor,
        spans: Sequence[Span],
        seed: int,
        advance: Callable[[int], object],
    ) -> tuple[list[Network], list[Array]]:
        from fastlrp.kernels.training.trainer import train_many

        def run(fits: Sequence[Fit], chunk: Sequence[int], told: Callable[[int], object]) -> Any:
            return train_many(
                fits, steps=model.steps or 1, batch_size=model.batch_size, dtype=self.centers_.dtype.type,
                seeds=[(seed + k) % 2**31 for k in chunk], threads=self.threads, advance=told, loss=model.loss,
                huber_delta=model.huber_delta, alpha=model.alpha, learning_rate=model.learning_rate_init,
                beta_1=model.beta_1, beta_2=model.beta_2, epsilon=model.epsilon, clipnorm=model.clipnorm,
            )  # fmt: skip

        try:
            networks, curves = run(fits, chunk, advance)
            diverged = [k for k, curve in zip(chunk, curves, strict=True) if not np.isfinite(curve).all()]
        except ValueError:  # weights that are not finite: find out whose
            diverged = [k for k, fit in zip(chunk, fits, strict=True) if _diverges(run, fit, k)]
            if not diverged:
                raise
        if diverged:
            span = spans[diverged[0]]
            raise ValueError(
                f"training diverged in window {diverged[0]} ({label(self.times_[span.start])} to "
                f"{label(self.times_[span.stop - 1])}): lower learning_rate_init or set clipnorm"
            )
        return networks, curves

    # ------------------------------------------------------------------------------------------------- checkpoints

    def _settings(self, model: LSTMRegressor, data: RollingData) -> dict[str, Any]:
        params = {key: value for key, value in model.get_params().items() if key not in _NO_MATTER}
        own = {key: getattr(self, key) for key in ("window", "expanding", "step", "gap", "scaler")}
        sizes = {key: [int(size) for size in params[key]] for key in ("units", "dense_units")}
        state = model.random_state if isinstance(model.random_state, int | np.integer) else None
        arrays = [data.samples.rows, data.samples.starts, data.y, *([] if data.weight is None else [data.weight])]
        marks = fingerprint(arrays, [*map(str, data.times), *(data.samples.features or ())])
        settings = {**params, **own, **sizes, "random_state": state, "data": marks}
        return {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}

    def _saved(self, k: int, net: Network) -> dict[str, Array]:
        weights = {f"weight_{i}": array for i, array in enumerate(arrays_of(net))}
        return {**weights, "center": self.centers_[k], "scale": self.scales_[k], "losses": self.loss_curves_[k]}

    def _restore(self, k: int, store: Checkpoints | None, blank: Network) -> bool:
        found = None if store is None else store.load(k)
        if found is None:
            return False
        try:
            weights = [found[f"weight_{i}"] for i in range(len(arrays_of(blank)))]
            self.networks_[k] = with_arrays(blank, weights)
            self.centers_[k], self.scales_[k] = found["center"], found["scale"]
            self.loss_curves_[k] = found["losses"]
        except (KeyError, ValueError) as error:
            raise ValueError(f"window {k} in {self.directory} does not fit ({error}): delete its file") from None
        return True

    def _table(self, spans: Sequence[Span], counts: Sequence[int]) -> pd.DataFrame:
        columns = {
            "train_start": self.times_[[span.start for span in spans]],
            "train_end": self.times_[[span.stop - 1 for span in spans]],
            "test_start": self.times_[[span.first for span in spans]],
            "test_end": self.times_[[span.last - 1 for span in spans]],
            "n_samples": counts,
            "loss": [float(curve[-1]) if len(curve) else np.nan for curve in self.loss_curves_],
        }
        return pd.DataFrame(columns)

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
            In y's units, on X's index and in its order.

        Raises
        ------
        ValueError
            If X is not like the X of ``fit``; the message says what was given, what was expected, and where.
        """
        model, samples, parts = self._parts(X)
        out = np.full((samples.n_given, self._n_outputs), np.nan, samples.rows.dtype)
        for net, rows, windows in parts:
            predicted = np.asarray(net.predict(windows, device=model.device, threads=model.threads))
            out[rows] = predicted.reshape(len(rows), -1)
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

        It is the relevance of the scaled inputs, which the networks take.

        Parameters
        ----------
        X : DataFrame
            The frame of ``fit``, or a later one that reaches back far enough for its windows.
        rule : "arras", "rudder", Arras, Rudder or None
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
            If the rule is Rudder and leaves more than half of the score unattributed, at the median.
        """
        model, samples, parts = self._parts(X)
        chosen, aggregate = as_rule(model.rule if rule is None else rule), checked_options(aggregate, reduce)
        n, T, D, dtype = samples.n_given, samples.steps, self._width, samples.rows.dtype
        shapes = ((n, D) if reduce else (n, T, D), (n, self._n_outputs), (n,), (n,), (n,))
        results = Results(*(np.full(shape, np.nan, dtype) for shape in shapes))
        net = next(net for net in self.networks_ if net is not None)
        unit = target_unit(net, target)
        with progress_bar(progress, len(self.networks_), "RollingLSTM.explain", "windows") as advance:
            for net, rows, windows in parts:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConservationWarning)  # given once, for the whole, below
                    one = net.explain(
                        windows, rule=chosen, target=target, aggregate=aggregate, reduce=reduce,
                        device=model.device, threads=model.threads,
                    )  # fmt: skip
                for name, column in zip(Results._fields, results, strict=True):
                    column[rows] = getattr(one, name).reshape(len(rows), *column.shape[1:])
                advance(1)
        relevance = labelled(
            net, results, T, chosen, unit, reduced=reduce is not None, index=X.index, features=samples.features,
            origin=tuple(net for net in self.networks_ if net is not None),
        )  # fmt: skip
        warn_if_unattributed(relevance)
        return relevance

    def score(self, X: pd.DataFrame, y: Any) -> float:
        """R^2 of the out-of-sample predictions, over rows that have a prediction and a target."""
        refuse_other_index(X, y, "y")
        predicted = np.asarray(self.predict(X), np.float64)
        actual = np.asarray(y, np.float64).reshape(predicted.shape)
        rows = np.asarray(np.isfinite(predicted + actual).reshape(len(predicted), -1).all(axis=1))
        if not rows.any():
            raise ValueError(
                f"nothing to score: none of the {count(len(rows), 'row')} has both a prediction and a target"
            )
        return float(r2_score(actual[rows], predicted[rows]))

    def _parts(self, X: pd.DataFrame) -> tuple[LSTMRegressor, Samples, Iterator[tuple[Network, Array, Array]]]:
        """The estimator, the samples, and for every model with any of them: network, caller's rows, scaled windows."""
        check_is_fitted(self, "networks_")
        model = self._model()
        panel = as_frame(X)
        samples = from_panel(panel, self.steps_, self._net_names["features"], self.centers_.dtype, self._width)
        who = self._model_of(periods(cast(pd.MultiIndex, panel.index))[1])[samples.period]
        order = np.argsort(who, kind="stable")
        edges = np.searchsorted(who[order], np.arange(len(self.networks_) + 1))

        def parts() -> Iterator[tuple[Network, Array, Array]]:
            for k, net in enumerate(self.networks_):
                which = order[edges[k] : edges[k + 1]]
                if net is not None and len(which):
                    part = samples.take(which)
                    yield net, part.caller, (part.windows() - self.centers_[k]) / self.scales_[k]

        return model, samples, parts()

    def _model_of(self, times: pd.Index) -> Array:
        """The position of the model that predicts each of these times; -1 for none."""
        if self.times_.is_monotonic_increasing:
            try:
                rank = self.times_.searchsorted(times, side="right") - 1
            except TypeError:
                shown = f"{label(times[0])!r}, expected times like those of fit, {label(self.times_[0])!r}"
                raise ValueError(f"X has times such as {shown}") from None
        else:
            rank = self.times_.get_indexer(times)
        first = self.window + self.gap
        return np.where(rank >= first, np.minimum((rank - first) // self.step, len(self.networks_) - 1), -1)


def _diverges(run: Callable[..., Any], fit: Fit, k: int) -> bool:
    try:
        run([fit], [k], lambda done: None)
    except ValueError:
        return True
    return False
