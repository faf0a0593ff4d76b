"""Deletion: the change of a network's scores as more and more of each sample is replaced, in some order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.evidence.samples import Model, blocks, gather
from fastlrp.panels.samples import Samples

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Deleted:
    """Changes of scores by deletion.

    Attributes
    ----------
    share : float array (points + 1,)
        Shares of units that are deleted, 0 to 1.
    curves : dict of arrays (draw, points + 1)
        Mean change with "most" and "least" relevant first, (1, points + 1), and in "random" orders, a row a draw.
    areas : dict of arrays (sample,)
        Each sample's area under its curve; for "random" the mean over draws.
    random_areas : array (draw,)
        The mean over samples of each draw's.
    infidelity, scaled, squared_change : arrays (sample,)
        Over all random deletions: see :func:`fastlrp.faithfulness`.
    """

    share: Array
    curves: dict[str, Array]
    areas: dict[str, Array]
    random_areas: Array
    infidelity: Array
    scaled: Array
    squared_change: Array


@dataclass(frozen=True, eq=False)
class Deletion:
    """What is deleted, how, and in what order.

    Attributes
    ----------
    sizes : int array (points,)
        Numbers of units that are deleted, ascending; the last is all of them.
    replacement : array (period, step, feature)
        What takes the place of deleted values, by the sample's period; (1, step, feature) for all samples.
    signed : bool
        The most positive relevance first, and the curve is the fall of the score; else the largest |relevance|, and
        the curve is the size of its change.
    seed, n_random : int
        Of random orders.
    """

    sizes: Array
    replacement: Array
    signed: bool
    seed: int
    n_random: int

    def run(self, model: Model, samples: Samples, relevance: Callable[[slice], Array], advance: Any) -> Deleted:
        """Delete from all samples; ``relevance`` gives that of some of them, (sample, unit) in float64."""
        n, points = len(samples), len(self.sizes)
        draws = {"most": 1, "least": 1, "random": self.n_random}
        curves = {name: np.zeros((k, points)) for name, k in draws.items()}
        areas, moments = {name: np.zeros(n) for name in draws}, np.zeros((4, n))
        share = np.append(0.0, self.sizes / self.sizes[-1])
        weights = (np.diff(share) + np.append(np.diff(share[1:]), 0.0)) / 2  # trapezoids; no change at share 0
        rngs = [np.random.default_rng((self.seed, k)) for k in range(self.n_random)]  # the same however blocks are cut
        for at in blocks(samples, points):
            X, R = gather(samples, np.arange(at.start, at.stop)), relevance(at)
            period = None if samples.period is None or len(self.replacement) == 1 else samples.period[at]
            base = self.replacement if period is None else self.replacement[period]
            before = model.scores(X)[:, None]
            for name, k, order in self._orders(R, rngs):
                change = before - self._scores(model, X, base, order)
                curve = change if self.signed else np.abs(change)
                curves[name][k] += curve.sum(axis=0)
                areas[name][at] += curve @ weights / draws[name]
                if name == "random":
                    claimed = np.take_along_axis(R, order, axis=1).cumsum(axis=1)[:, self.sizes - 1]
                    moments[:, at] += _moments(claimed, change) / self.n_random
            advance(at.stop - at.start)
        curves = {name: np.insert(curve / n, 0, 0.0, axis=1) for name, curve in curves.items()}
        return Deleted(share, curves, areas, curves["random"][:, 1:] @ weights, *_infidelities(moments))

    def _orders(self, R: Array, rngs: Sequence[np.random.Generator]) -> Iterator[tuple[str, int, Array]]:
        """Units of each sample in the order of their deletion, by name and draw."""
        most = np.argsort(-(R if self.signed else np.abs(R)), axis=1, kind="stable")
        yield "most", 0, most
        yield "least", 0, most[:, ::-1]
        for k, rng in enumerate(rngs):
            yield "random", k, rng.random(R.shape).argsort(axis=1)

    def _scores(self, model: Model, X: Array, base: Array, order: Array) -> Array:
        """Scores (sample, point) with the first units of an order (sample, unit) replaced."""
        n, T, D = X.shape
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(order.shape[1])[None], axis=1)
        rank = rank.reshape(n, 1, -1, D)  # (sample, point, 1, feature), or with a step for each
        windows = _mixed(X[:, None], base[:, None], rank < self.sizes[:, None, None])
        return model.scores(windows.reshape(-1, T, D)).reshape(n, -1)


def _mixed(X: Array, base: Array, deleted: Array) -> Array:
    """``np.where(deleted, base, X)`` by bits, in half the time: it would take as long as the kernels do."""
    bits = f"i{X.itemsize}"
    mask = -deleted.astype(bits)  # all bits of what is deleted
    mixed = (X.view(bits) ^ base.view(bits)) & mask
    mixed ^= X.view(bits)
    return np.asarray(mixed.view(X.dtype))


def _moments(claimed: Array, change: Array) -> Array:
    """Means over points: of the squared error, and of the products of which the best scale is made."""
    pairs = ((claimed - change, claimed - change), (claimed, claimed), (claimed, change), (change, change))
    return np.array([(one * other).mean(axis=1) for one, other in pairs])


def _infidelities(moments: Array) -> tuple[Array, Array, Array]:
    """Infidelity as it is, and with the best scale of each sample's relevance; and the mean squared change."""
    error, own, both, change = moments
    gained = np.divide(both**2, own, out=np.zeros_like(own), where=own > 0)
    return error, np.maximum(change - gained, 0.0), change


def sizes_of(units: int, points: int) -> Array:
    """At most so many numbers of deleted units, evenly spaced, from few to all."""
    points = min(points, units)
    return -(-units * np.arange(1, points + 1) // points)  # rounded up, in whole numbers


def cross_section_means(samples: Samples) -> Array:
    """Means over the samples of each period, for each step and feature: (period, step, feature), in the rows' dtype."""
    period = np.zeros(len(samples), np.int64) if samples.period is None else samples.period
    order = np.argsort(period, kind="stable")
    total = np.zeros((int(period.max()) + 1, samples.steps, samples.rows.shape[1]))
    for at in blocks(samples):
        which = order[at]
        first = np.flatnonzero(np.diff(period[which], prepend=-1))
        total[period[which][first]] += np.add.reduceat(gather(samples, which).astype(np.float64), first, axis=0)
    total /= np.maximum(np.bincount(period, minlength=len(total)), 1)[:, None, None]
    return total.astype(samples.rows.dtype)
