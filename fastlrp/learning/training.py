"""Training of a network, from initial weights to the last epoch; the arithmetic is in ``fastlrp/kernels/training``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastlrp.messages import users_line
from fastlrp.model.layers import LSTM, Bidirectional, Dense, Dropout, Layer
from fastlrp.network import Network
from fastlrp.panels.samples import Samples

if TYPE_CHECKING:
    from fastlrp.kernels.training.trainer import Trainer

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Architecture:
    """A user's choices about the network, made before the data are known."""

    units: tuple[int, ...]
    dense_units: tuple[int, ...] = ()
    bidirectional: bool = False
    dropout: float = 0.0

    def network(
        self,
        n_features: int,
        n_outputs: int,
        rng: np.random.Generator,
        dtype: npt.DTypeLike,
        *,
        steps: int | None = None,
        features: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> Network:
        """A network with initial weights as in Keras: Glorot W, orthogonal U, zero biases but 1 at forget gates."""
        layers: list[Layer] = []
        width = n_features
        for k, units in enumerate(self.units):
            more = k < len(self.units) - 1
            one = _first_lstm(width, units, more, rng, dtype)
            two = _first_lstm(width, units, more, rng, dtype) if self.bidirectional else None
            layers.append(one if two is None else Bidirectional(one, two))
            layers += [Dropout(self.dropout)] * (self.dropout > 0)
            width = units * (1 + self.bidirectional)
        for units in self.dense_units:
            layers.append(Dense(_glorot(width, units, rng, dtype), np.zeros(units, dtype), "relu"))
            layers += [Dropout(self.dropout)] * (self.dropout > 0)
            width = units
        layers.append(Dense(_glorot(width, n_outputs, rng, dtype), np.zeros(n_outputs, dtype)))
        return Network(layers, steps=steps, features=features, outputs=outputs)


def _first_lstm(width: int, units: int, sequences: bool, rng: np.random.Generator, dtype: npt.DTypeLike) -> LSTM:
    W = _glorot(width, 4 * units, rng, dtype)
    q, r = np.linalg.qr(rng.standard_normal((4 * units, units)))
    U = np.ascontiguousarray((q * np.where(np.diag(r) < 0, -1.0, 1.0)).T, dtype)
    b = np.zeros(4 * units, dtype)
    b[units : 2 * units] = 1
    return LSTM(W, U, b, return_sequences=sequences)


def _glorot(width: int, units: int, rng: np.random.Generator, dtype: npt.DTypeLike) -> Array:
    limit = np.sqrt(6 / (width + units))
    return rng.uniform(-limit, limit, (width, units)).astype(dtype)


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
    first_epoch: int = 0
    score: Callable[[Network], float] | None = None  # on held-out samples; None: the training loss decides
    report: Callable[[int, float], object] | None = None


@dataclass
class History:
    """The record of a training run."""

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    stopped: str = ""  # why, if training stopped before the last epoch


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

    The weights to keep are the last ones; with ``schedule.score``, those of the best score.

    Raises
    ------
    ValueError
        If the loss is not finite before any epoch has improved the network; the message names the epoch.

    Warns
    -----
    RuntimeWarning
        If the loss stops being finite later; the message names the epoch, and the one whose weights are kept.
    UserWarning
        If the user interrupts (Ctrl-C) after the first epoch: what was trained is kept.
    """
    history, best, waited = History(), _Best(), 0
    for epoch in range(1, schedule.epochs + 1):
        before = trainer.get_state()
        order = epoch_order(len(samples), schedule.seed, schedule.first_epoch + epoch - 1, schedule.shuffle)
        try:
            loss = trainer.epoch((samples.rows, samples.starts), y, weight, order, schedule.batch_size)
        except KeyboardInterrupt:
            if not history.losses:
                raise
            trainer.set_state(before)
            history.stopped = f"training was interrupted in epoch {epoch}"
            warnings.warn(
                f"{history.stopped}: the weights are those of the epoch before", UserWarning, stacklevel=users_line()
            )
            break
        if not (np.isfinite(loss) and trainer.finite()):
            _fall_back(trainer, best, epoch, loss)
            history.stopped = f"training diverged in epoch {epoch}"
            return history
        history.losses.append(float(loss))
        floor = best.value
        if schedule.score is not None:
            history.scores.append(float(schedule.score(trainer.network())))
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
            history.stopped = f"the {what} did not improve by more than tol={schedule.tol} for {epochs}"
            break
    if schedule.score is not None and best.state is not None:
        trainer.set_state(best.state)
    return history


def _fall_back(trainer: Trainer[Network], best: _Best, epoch: int, loss: float) -> None:
    what = f"training diverged in epoch {epoch} (loss {loss:g})"
    if best.state is None or best.epoch == 0:
        raise ValueError(f"{what}, before any epoch improved the network: lower learning_rate_init, or scale X and y")
    trainer.set_state(best.state)
    warnings.warn(
        f"{what}: the weights after epoch {best.epoch}, the best one, are kept; lower learning_rate_init or clipnorm",
        RuntimeWarning,
        stacklevel=users_line(),
    )


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
def epoch_bar(shown: bool, total: int, what: str) -> Iterator[Callable[[int, float], object] | None]:
    """Progress by epoch, with the loss: a bar if tqdm is installed, lines otherwise; None if not wanted."""
    if not shown:
        yield None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda epoch, loss: print(f"{what}: epoch {epoch}/{total}, loss {loss:.6g}")
        return
    with tqdm(total=total, desc=what, unit=" epochs") as bar:

        def report(epoch: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.6g}", refresh=False)
            bar.update(epoch - bar.n)

        yield report
