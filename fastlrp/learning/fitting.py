"""The fit of an estimator: members from first weights to last, those held out, and what is kept and said of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_random_state

from fastlrp.learning.inputs import TakesTargets
from fastlrp.learning.parameters import check_parameters, first_network, member_seeds, trainer_of
from fastlrp.learning.rows import predict
from fastlrp.learning.targets import TargetTransform, as_learnt
from fastlrp.learning.training import History, Schedule, constant_loss, epoch_bar, train
from fastlrp.messages import count, users_line, warn
from fastlrp.network import Network
from fastlrp.panels.samples import Samples

if TYPE_CHECKING:
    from fastlrp.kernels.training.trainer import Trainer

Array = npt.NDArray[Any]


class Fitting(TakesTargets):
    """An estimator of networks that are trained, with the parameters and attributes of ``LSTMRegressor``."""

    n_members: int
    min_steps: int | None
    batch_size: int
    shuffle: bool
    max_iter: int
    tol: float
    n_iter_no_change: float
    early_stopping: bool
    validation_fraction: float
    warm_start: bool
    random_state: Any
    target_transform: Any
    loss: Any
    huber_delta: float
    device: str
    threads: int | None
    _networks: list[Network]
    _n_static: int

    def _starts_anew(self) -> bool:
        """Whether ``fit`` begins with first weights; parameters checked."""
        check_parameters(self)
        first = not (self.warm_start and hasattr(self, "_networks"))
        if not first and len(self._networks) != self.n_members:
            raise ValueError(
                f"LSTMRegressor(n_members={self.n_members}) was given, but warm_start=True goes on from "
                f"{count(len(self._networks), 'member')}: set warm_start=False"
            )
        return first

    def _fit_samples(
        self, samples: Samples, targets: Array, weight: Array | None, index: pd.Index | None, first: bool
    ) -> None:
        """Train on samples whose rows ``index`` names, from first weights or on."""
        if len(samples) < 2:
            raise ValueError(
                f"there is 1 sample to train on (n_samples = 1, of {count(samples.n_given, 'row')}), expected more"
            )
        if first:
            self._begin(samples, targets.shape[1])
        used, held_out = self._split(samples, targets, weight, index, first)
        if (used[1] == used[1][0]).all():
            warnings.warn(
                f"y is constant ({used[1][0, 0]:g}): that value is all the network can learn", stacklevel=users_line()
            )
        self._run(*used, epochs=self.max_iter, held_out=held_out)

    def _begin(self, samples: Samples, n_outputs: int) -> None:
        """Set the initial weights, and everything that counts from here."""
        if self.min_steps is not None and self.min_steps > samples.steps:
            has = count(samples.steps, "step")
            raise ValueError(f"{type(self).__name__}(min_steps={self.min_steps}) is more than the {has} of X")
        self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self.steps_, self.n_outputs_ = samples.steps, n_outputs
        self._networks = [
            first_network(
                self, samples.rows.shape[1], n_outputs, seed, self._dtype, steps=samples.steps,
                features=samples.features, outputs=self._outputs,
            )
            for seed in member_seeds(self._seed, self.n_members)
        ]  # fmt: skip
        named = self._networks[0]
        self._features = None if named.columns is None else list(named.columns)
        self._n_static = named.n_static
        self._outputs = None if named.outputs is None else list(named.outputs)
        self.target_transformer_ = None
        self.loss_curves_: list[list[float]] = [[] for _ in self._networks]
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.t_ = 0

    def _learnt(self, targets: Array, index: pd.Index | None, rows: Array, fit: bool) -> Array:
        """Targets of some rows in the units that networks learn; where ``fit``, the transformer is fitted on them."""
        index = None if index is None else index[rows]
        if fit:
            chosen = TargetTransform.of(self.target_transform, type(self).__name__)
            self.target_transformer_ = None if chosen is None else chosen.transformer
            targets = targets if chosen is None else chosen.fit(targets, index)
        elif self._transform is not None:
            targets = self._transform.transform(targets, index)
        return as_learnt(targets, self._dtype)

    @property
    def _transform(self) -> TargetTransform | None:
        return None if self.target_transformer_ is None else TargetTransform(self.target_transformer_)

    def _run(
        self,
        samples: Samples,
        y: Array,
        weight: Array | None,
        *,
        epochs: int,
        held_out: Callable[[Trainer[Network]], float] | None,
        moments: Sequence[dict[str, Array]] | None = None,
    ) -> None:
        """Run the epochs of all members, and store their results."""
        from fastlrp.kernels.cpu import run_tasks, threads_of
        from fastlrp.kernels.training.threads import Stop

        M, stop = len(self._networks), Stop()
        side = min(M, threads_of(self.threads))
        each, seeds = threads_of(self.threads) // side, member_seeds(self._seed, M)
        trainers = [
            trainer_of(self, net, self.steps_, self._dtype, seed, each, stop)
            for net, seed in zip(self._networks, seeds, strict=True)
        ]
        for trainer, state in zip(trainers, moments or (), strict=False):
            trainer.set_state(state)
        histories: list[History | None] = [None] * M
        tol = self.tol if held_out else self.tol * constant_loss(y, weight, self.loss, self.huber_delta)
        with epoch_bar(self.verbose, epochs, type(self).__name__, M) as report:

            def member(k: int) -> int:
                schedule = Schedule(
                    epochs, self.batch_size, self.shuffle, seeds[k], tol, self.n_iter_no_change, stop,
                    len(self.loss_curves_[k]), held_out, report,
                )  # fmt: skip
                histories[k] = train(trainers[k], samples, y, weight, schedule)
                return 1

            try:
                run_tasks([partial(member, k) for k in range(M)], side, stop=stop.set)
            except KeyboardInterrupt:
                if not all(history is not None and history.losses for history in histories):
                    raise
        done = [history for history in histories if history is not None]
        self._networks = [trainer.network() for trainer in trainers]
        self._moments = [trainer.get_state() for trainer in trainers]
        self._record(done, len(samples), held_out is not None)
        self._tell(done, epochs)

    def _record(self, histories: Sequence[History], n: int, scored: bool) -> None:
        self.n_iter_ = max(len(history.losses) for history in histories)
        self.t_ += sum(len(history.losses) for history in histories) * n
        self.loss_curves_ = [a + history.losses for a, history in zip(self.loss_curves_, histories, strict=True)]
        self.loss_curve_ = _mean_curve(self.loss_curves_)
        self.best_loss_ = None if scored else min(self.loss_curve_)
        scores = [history.scores for history in histories]
        self.validation_scores_ = (self.validation_scores_ or []) + _mean_curve(scores) if scored else None
        self.best_validation_score_ = float(np.mean([max(curve) for curve in scores])) if scored else None
        self.stopped_ = histories[0].stopped

    def _tell(self, histories: Sequence[History], epochs: int) -> None:
        """Warn of what went wrong, each kind once, and say why training stopped where ``verbose``."""
        told = {type_: text for text, type_ in filter(None, (history.warning for history in reversed(histories)))}
        for type_, text in told.items():
            warnings.warn(text, type_, stacklevel=users_line())
        if self.verbose and self.stopped_:
            print(f"{type(self).__name__}: {self.stopped_}")
        open_ended = [history for history in histories if not history.stopped]
        if epochs == self.max_iter > self.n_iter_no_change and open_ended:
            losses = open_ended[0].losses
            before = losses[-1 - int(min(self.n_iter_no_change, len(losses) - 1))]
            whose = "" if len(histories) == 1 else f" by {len(open_ended)} of {len(histories)} members"
            warn(
                f"the maximum of {epochs} epochs (max_iter) was reached{whose} and training has not converged yet: its "
                f"loss went from {before:.4g} to {losses[-1]:.4g} in the last {self.n_iter_no_change} epochs; raise "
                "max_iter, or set n_iter_no_change=max_iter if that many epochs are what you want",
                ConvergenceWarning,
            )

    def _split(
        self, samples: Samples, y: Array, weight: Array | None, index: pd.Index | None, fit: bool
    ) -> tuple[tuple[Samples, Array, Array | None], Callable[[Trainer[Network]], float] | None]:
        """The samples that train, and a function that scores a trainer's network on those held out, if there are any;
        targets are in the units that networks learn, which those that train decide."""
        if not self.early_stopping:
            return (samples, self._learnt(y, index, samples.caller, fit), weight), None
        out = self._held_out(samples)
        if out.sum() < 2 or out.all():
            raise ValueError(
                f"the validation set would have {out.sum()} of {count(len(samples), 'sample')}, expected at least 2 "
                "and some to train on: change validation_fraction, or give more data"
            )
        kept, scored = np.flatnonzero(~out), np.flatnonzero(out)
        trains, held = samples.take(kept), samples.take(scored)
        learnt = self._learnt(y[kept], index, trains.caller, fit)
        actual = self._learnt(y[scored], index, held.caller, False)
        w = None if weight is None else weight[scored]

        def score(trainer: Trainer[Network]) -> float:
            net, threads = trainer.network(), trainer.threads
            predicted = predict(net, held, device=self.device, threads=threads)
            return float(r2_score(actual, predicted, sample_weight=w))

        return (trains, learnt, None if weight is None else weight[kept]), score

    def _held_out(self, samples: Samples) -> Array:
        n = len(samples)
        order = np.arange(n)
        if samples.period is not None:  # the last whole periods, so that no period is on both sides
            times = np.unique(samples.period)
            first = times[-max(1, round(self.validation_fraction * len(times)))]
            return np.asarray(samples.period >= first)
        if self.shuffle:
            order = np.random.default_rng((self._seed, 2**31)).permutation(n)
        out = np.zeros(n, bool)
        out[order[n - int(np.ceil(self.validation_fraction * n)) :]] = True
        return out


def _mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean over curves of each epoch that any of them has."""
    if len(curves) == 1:
        return list(curves[0])
    longest = max(map(len, curves))
    padded = np.array([[*curve, *[np.nan] * (longest - len(curve))] for curve in curves])
    return [float(value) for value in np.nanmean(padded, axis=0)]
