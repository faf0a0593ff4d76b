"""Training of a network, from initial weights to the last epoch; the arithmetic is in ``fastlrp/kernels/training``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastlrp.learning.rows import on_disk, parts
from fastlrp.network import Network
from fastlrp.panels.samples import Samples

if TYPE_CHECKING:
    from fastlrp.kernels.training.threads import Stop
    from fastlrp.kernels.training.trainer import Trainer

Array = npt.NDArray[Any]
#: Most samples that one compiled call gets the order of, epoch after epoch (8 MiB).
_ORDERS = 1 << 20


class Diverged(ValueError):
    """A loss or a weight that is not finite."""


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool) -> Array:
    """The order of n samples in an epoch: a function of seed and epoch alone, so training can stop and resume."""
    return np.random.default_rng((seed, epoch)).permutation(n) if shuffle else np.arange(n)


@dataclass(frozen=True)
class Schedule:
    """How long to train, in which order, and when to stop."""

    epochs: int
    batch_size: int
    shuffle: bool
    seed: int
    tol: float
    patience: float
    interrupted: Stop  # shared by fits that run side by side
    first_epoch: int = 0
    score: Callable[[Trainer[Network]], float] | None = None  # on held-out samples; None: the training loss decides
    report: Callable[[int, float], object] | None = None


@dataclass
class History:
    """The record of a training run."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    stopped: str = ""  # why, if training stopped before the last epoch
    warning: tuple[str, type[Warning]] | None = None  # what the caller should warn of


@dataclass
class _Best:
    value: float = np.inf  # a loss, or the negative of a score
    epoch: int = 0  # the weights are those after this epoch; 0: before the first
    state: dict[str, Array] | None = None

    def offer(self, value: float, epoch: int, state: dict[str, Array]) -> None:
        if value < self.value:
            self.value, self.epoch, self.state = value, epoch, state


def train(trainer: Trainer[Network], samples: Samples, y: Array, weight: Array | None, schedule: Schedule) -> History:
    """Train until the last epoch, or until nothing improves; the trainer then holds the weights to keep.

    The weights to keep are the last ones; with ``schedule.score``, those of the best score. If the loss stops being
    finite after an epoch has improved the network, the best epoch's weights are kept, and if the user interrupts
    (Ctrl-C) after the first epoch, the last epoch's; the history then has a warning.

    Raises
    ------
    Diverged
        If the loss is not finite before any epoch has improved the network; the message names the epoch.
    """
    history, best, waited = History(), _Best(), 0
    for epoch in range(1, schedule.epochs + 1):
        before = trainer.get_state()
        order = epoch_order(len(samples), schedule.seed, schedule.first_epoch + epoch - 1, schedule.shuffle)
        score = None
        try:
            if schedule.interrupted.is_set():
                raise KeyboardInterrupt
            loss = _epoch(trainer, samples, y, weight, order, schedule.batch_size)
            sound = np.isfinite(loss) and trainer.finite()
            if sound and schedule.score is not None:
                score = float(schedule.score(trainer))
        except KeyboardInterrupt:
            schedule.interrupted.set()
            if not history.losses:
                raise
            trainer.set_state(before)
            history.stopped = f"training was interrupted in epoch {epoch}"
            history.warning = f"{history.stopped}: the weights are those of the epoch before", UserWarning
            break
        if not sound:
            what = f"training diverged in epoch {epoch} (loss {loss:g})"
            history.stopped = f"training diverged in epoch {epoch}"
            history.warning = _fall_back(trainer, best, what), RuntimeWarning
            return history
        history.losses.append(float(loss))
        floor = best.value
        if score is not None:
            history.scores.append(score)
            best.offer(-history.scores[-1], epoch, trainer.get_state())
            waited = waited + 1 if -history.scores[-1] > floor - schedule.tol else 0
        else:
            # An epoch's loss is measured while it runs: it judges the weights that it started from.
            best.offer(loss, epoch - 1, before)
            waited = waited + 1 if loss > floor - schedule.tol else 0
        if schedule.report is not None:
            schedule.report(epoch, history.losses[-1])
        if waited > schedule.patience:
            what = "validation score" if schedule.score is not None else "training loss"
            epochs = f"{schedule.patience} epoch{'s' * (schedule.patience != 1)}"
            history.stopped = f"the {what} did not improve by more than tol ({schedule.tol:.3g}) for {epochs}"
            break
    if schedule.score is not None and best.state is not None:
        trainer.set_state(best.state)
    return history


def _epoch(
    trainer: Trainer[Network], samples: Samples, y: Array, weight: Array | None, order: Array, batch: int
) -> float:
    if not on_disk(samples):
        return trainer.epoch((samples.rows, samples.starts), y, weight, order, batch)
    batch = min(batch, len(order))
    given = (
        (X, y[which], None if weight is None else weight[which], np.arange(len(which)))
        for which, X in parts(samples, order, batch)
    )
    return trainer.epoch_in_parts(given, batch)


def train_through(
    trainer: Trainer[Network], samples: Samples, y: Array, weight: Array | None, schedule: Schedule
) -> Array:
    """Train for exactly ``schedule.epochs`` epochs, many in one compiled call; returns their losses.

    Raises
    ------
    Diverged
        If a loss or a weight is not finite.
    """
    n, losses = len(samples), []
    at_once = max(1, _ORDERS // n)
    for first in range(schedule.first_epoch, schedule.first_epoch + schedule.epochs, at_once):
        if schedule.interrupted.is_set():
            raise KeyboardInterrupt
        epochs = range(first, min(first + at_once, schedule.first_epoch + schedule.epochs))
        orders = np.array([epoch_order(n, schedule.seed, epoch, schedule.shuffle) for epoch in epochs])
        losses.append(trainer.epochs((samples.rows, samples.starts), y, weight, orders, schedule.batch_size))
        if not (np.isfinite(losses[-1]).all() and trainer.finite()):
            raise Diverged("training diverged: lower learning_rate_init or set clipnorm")
    return np.concatenate(losses)


def constant_loss(y: Array, weight: Array | None, loss: str, huber_delta: float) -> float:
    """The loss of the best constant prediction, about: what a training loss, and so a tolerance, is measured in.

    The variance of a squared error's targets, and the mean deviation from the median for other losses (Huber's of that
    deviation), averaged over targets.
    """
    y = y.astype(np.float64)
    if loss == "squared_error":
        return float(np.average((y - np.average(y, axis=0, weights=weight)) ** 2, axis=0, weights=weight).mean())
    off = np.abs(y - np.median(y, axis=0))
    if loss == "huber":
        off = np.where(off <= huber_delta, 0.5 * off**2, huber_delta * (off - 0.5 * huber_delta))
    return float(np.average(off, axis=0, weights=weight).mean())


def _fall_back(trainer: Trainer[Network], best: _Best, what: str) -> str:
    """Go back to the best weights, if there are any; returns the warning."""
    if best.state is None or best.epoch == 0:
        raise Diverged(f"{what}, before any epoch improved the network: lower learning_rate_init, or scale X and y")
    trainer.set_state(best.state)
    return f"{what}: the weights after epoch {best.epoch}, the best one, are kept; lower learning_rate_init or clipnorm"


@contextmanager
def all_or_nothing(estimator: object) -> Iterator[None]:
    """Give the estimator back the attributes it had before if anything fails inside."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextmanager
def epoch_bar(shown: bool, epochs: int, what: str, members: int = 1) -> Iterator[Callable[[int, float], object] | None]:
    """Progress by epoch, with the loss: a bar if tqdm is installed, lines otherwise; None if not wanted."""
    if not shown:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda epoch, loss: print(f"{what}: epoch {epoch}/{epochs}, loss {loss:.6g}")
        return
    with tqdm(total=epochs * members, desc=what, unit=" epochs") as bar:

        def report(epoch: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.6g}", refresh=False)
            bar.update(1)

        yield report
