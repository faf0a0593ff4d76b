"""The fits of a rolling model: for each window the networks of every setting, and the one that its last months choose.

A fit is one network's training on one window. Fits of some windows run side by side, each on one thread; where there
are fewer than threads, each has several. What a window keeps depends on nothing outside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.metrics import mean_squared_error, r2_score

from fastlrp.explain import predict_windows
from fastlrp.learning.parameters import first_network, member_seeds, trainer_of
from fastlrp.learning.rolling_data import Part, RollingData, Span
from fastlrp.learning.targets import TargetTransform
from fastlrp.learning.training import Diverged, Schedule, constant_loss, train, train_through
from fastlrp.model.plain import arrays_of, with_arrays
from fastlrp.network import Network
from fastlrp.panels.periods import label

if TYPE_CHECKING:
    from fastlrp.kernels.training.threads import Stop
    from fastlrp.kernels.training.trainer import Trainer
    from fastlrp.learning.regressor import LSTMRegressor

Array = npt.NDArray[Any]

#: Windows that are trained together: enough to keep threads busy, few enough to save often.
AT_ONCE = 64


class Kept(NamedTuple):
    """What a window keeps: members' networks, the mean of their losses by epoch, and how they were chosen."""

    networks: list[Network]
    losses: Array
    setting: int
    scores: Array  # R^2 of each setting on the months held out (NaN where their targets do not vary), -inf where
    # training diverged; empty if none are held out


class _Fitted(NamedTuple):
    network: Network
    losses: Array
    fell_back: bool  # whether training diverged after it had improved, so that the best epoch's weights are kept


class _Window(NamedTuple):
    k: int
    span: Span
    trains: Part
    held: Part | None


@dataclass
class Fits:
    """Everything that the fits of all windows share, and the scaling of each window as it becomes known."""

    data: RollingData
    models: Sequence[LSTMRegressor]  # one a setting
    scaler: str | None
    warm_start: str | bool
    names: dict[str, Any]
    seed: int
    centers: Array
    scales: Array
    threads: int | None
    fell_back: list[int] = field(default_factory=list)  # windows whose training did
    constant: list[int] = field(default_factory=list)  # windows whose targets are all the same

    def chunks(self, todo: Sequence[tuple[int, Span]]) -> Iterator[list[tuple[int, Span]]]:
        """Windows to train together."""
        chunk, size = list[tuple[int, Span]](), 0
        for k, span in todo:
            more = len(self.data.rows(span.start, span.stop)) * self.centers[:1].nbytes
            if chunk and (len(chunk) == self._at_once or size + more > self.data.at_once):
                yield chunk
                chunk, size = [], 0
            chunk.append((k, span))
            size += more
        if chunk:
            yield chunk

    @property
    def _at_once(self) -> int:
        return 1 if self.warm_start == "previous" else AT_ONCE

    def train(
        self,
        chunk: Sequence[tuple[int, Span]],
        transforms: list[TargetTransform | None],
        before: list[Network] | None,
        advance: Callable[[int], object] | None,
    ) -> list[Kept]:
        """Train some windows, of whose target transforms are given those not fitted yet; ``before`` are the networks
        that the window before keeps.

        Raises
        ------
        Diverged
            If training diverges in a window, by all settings; the message names the window.
        """
        from fastlrp.kernels.cpu import run_tasks, threads_of
        from fastlrp.kernels.training.threads import Stop

        windows = [self._window(k, span, transforms[k]) for k, span in chunk]
        M, S = self.models[0].n_members, len(self.models)
        fits: dict[tuple[int, int, int], _Fitted | Diverged] = {}
        threads, stop = threads_of(self.threads), Stop()
        each = max(1, threads // (len(windows) * S * M))

        def fit(window: _Window, s: int, m: int) -> int:
            try:
                fits[window.k, s, m] = self._fit(window, s, m, before, each, stop)
            except Diverged as error:
                first, last = (label(self.data.times[at]) for at in (window.span.start, window.span.cut - 1))
                fits[window.k, s, m] = Diverged(
                    f"training diverged in window {window.k} ({first} to {last}): lower learning_rate_init or set "
                    f"clipnorm ({error})"
                )
            return 1

        tasks = [partial(fit, window, s, m) for window in windows for s in range(S) for m in range(M)]
        run_tasks(tasks, threads, advance, stop.set)
        return [self._keep(window, [[fits[window.k, s, m] for m in range(M)] for s in range(S)]) for window in windows]

    def _window(self, k: int, span: Span, transform: TargetTransform | None) -> _Window:
        """A window's scaled rows and samples; its scaling and target transform are fitted on what trains."""
        self.centers[k], self.scales[k] = self.data.scaling(span, self.scaler)
        trains, held = self.data.parts(span, self.centers[k], self.scales[k])
        trains = self.data.learnt(trains, transform, fit=True)
        if len(trains.y) > 1 and (trains.y == trains.y[0]).all():
            self.constant.append(k)
        return _Window(k, span, trains, None if held is None else self.data.learnt(held, transform, fit=False))

    def first(self, s: int, seed: int) -> Network:
        """First weights of a setting's network."""
        D, K, dtype = self.centers.shape[1], self.data.targets.y.shape[1], self.centers.dtype
        return first_network(self.models[s], D, K, seed, dtype, steps=self.data.steps, **self.names)

    def _fit(
        self,
        window: _Window,
        s: int,
        m: int,
        before: list[Network] | None,
        threads: int,
        stop: Stop,
    ) -> _Fitted:
        model = self.models[s]
        seed = member_seeds(window_seed(self.seed, window.k), model.n_members)[m]
        born = member_seeds(window_seed(self.seed, 0), model.n_members)[m] if self.warm_start == "first" else seed
        net = self.first(s, born)
        if before is not None and alike(net, before[m]):
            net = with_arrays(net, arrays_of(before[m]))
        trainer = trainer_of(model, net, self.data.steps, self.centers.dtype, seed, threads, stop)
        (samples, y, weight), held = window.trains, window.held
        tol = model.tol * constant_loss(y, weight, model.loss, model.huber_delta)
        score = None if held is None or not len(held.samples) else _score(held)
        schedule = Schedule(
            model.max_iter, model.batch_size, model.shuffle, seed, tol, model.n_iter_no_change, stop, score=score
        )  # fmt: skip
        if score is None:
            losses = train_through(trainer, samples, y, weight, schedule)
            return _Fitted(trainer.network(), losses, False)
        history = train(trainer, samples, y, weight, schedule)
        if stop.is_set():  # half a window must not be kept
            raise KeyboardInterrupt
        return _Fitted(trainer.network(), np.array(history.losses), history.warning is not None)

    def _keep(self, window: _Window, fits: list[list[_Fitted | Diverged]]) -> Kept:
        """The best setting of a window by its members' mean prediction of the months held out; the first where none
        are."""
        scores, whole = np.empty(0), {s: fitted for s, fitted in enumerate(map(_all, fits)) if fitted is not None}
        if not whole:
            raise next(fit for fit in fits[0] if isinstance(fit, Diverged))
        if window.held is not None and len(window.held.samples):
            scores, errors = np.full(len(fits), -np.inf), np.full(len(fits), np.inf)
            for s, fitted in whole.items():
                scores[s], errors[s] = _judged([fit.network for fit in fitted], window.held, self.threads)
            best = min(whole, key=lambda s: errors[s])
        else:
            best = min(whole)
        fitted = whole[best]
        if any(fit.fell_back for fit in fitted):
            self.fell_back.append(window.k)
        return Kept([fit.network for fit in fitted], mean_losses([fit.losses for fit in fitted]), best, scores)


def window_seed(seed: int, k: int) -> int:
    """The seed of window k."""
    return int(np.random.default_rng((seed, k)).integers(2**31 - 1))


def alike(one: Network, other: Network) -> bool:
    """Whether two networks have the same layers, whatever their weights."""
    zeros = [[np.zeros_like(array) for array in arrays_of(net)] for net in (one, other)]
    shapes = [[array.shape for array in arrays] for arrays in zeros]
    return shapes[0] == shapes[1] and with_arrays(one, zeros[0]).layers == with_arrays(other, zeros[1]).layers


def mean_losses(curves: Sequence[Array]) -> Array:
    """The mean over members of each epoch that any of them has."""
    longest = max(map(len, curves))
    return np.asarray(np.nanmean([np.r_[curve, np.full(longest - len(curve), np.nan)] for curve in curves], axis=0))


def _score(held: Part) -> Callable[[Trainer[Network]], float]:
    """The loss on samples held out, as a score: what stops a fit."""
    return lambda trainer: -trainer.loss((held.samples.rows, held.samples.starts), held.y, held.weight)


def _all(fits: Sequence[_Fitted | Diverged]) -> list[_Fitted] | None:
    fitted = [fit for fit in fits if isinstance(fit, _Fitted)]
    return fitted if len(fitted) == len(fits) else None


def _judged(networks: Sequence[Network], held: Part, threads: int | None) -> tuple[float, float]:
    """R^2 of the networks' mean prediction, against the mean of the targets held out, and its mean squared error,
    which orders settings even where targets do not vary."""
    windows, total = held.samples.in_place(), np.zeros(held.y.shape)
    for net in networks:
        total += predict_windows(net, windows, held.samples.steps, device="cpu", threads=threads)
    predicted = total / len(networks)
    error = float(mean_squared_error(held.y, predicted, sample_weight=held.weight))
    if (held.y == held.y[0]).all(axis=0).any():
        return np.nan, error
    return float(r2_score(held.y, predicted, sample_weight=held.weight)), error
