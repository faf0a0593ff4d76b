"""The mean and the spread of an ensemble's results, a block of rows and a few members at a time.

Beside the mean and the spread no more is held than a block of some members' results. A pass over memory takes longer
than the arithmetic, so several members are added to a few rows while these are in the caches. Welford's update keeps
both in the dtype of the computation: members that agree have a spread of exactly 0, and their mean is each one's bits.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
from numba import get_num_threads

from fastlrp.kernels import memory
from fastlrp.kernels.lanes import at, distinct
from fastlrp.kernels.results import Array, Results, Spread
from fastlrp.kernels.target import compiled, entry
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows

#: Bytes of a block's relevance, and members whose blocks are held until they are added in one pass. Blocks of half the
#: size took 10 % longer, as months are shared less and threads start more often; members added one by one, a
#: quarter longer to add.
BLOCK_BYTES, HELD = 1 << 23, 4
#: Bytes of rows to which all held members are added before the next ones.
CACHED_BYTES = 1 << 15
#: Rows whose shares are summed by one thread, one after the other: sums have the same bits for any threads and blocks.
GROUP = 256


class Members:
    """Adds up the results of an ensemble's members, in place, for one block of rows after another.

    Parameters
    ----------
    n : int
        Number of members, at least 2.
    n_features : int
        D, whose relevance stands step by step.
    threads : int
    held : int
        Members whose results are held until they are added in one pass, at most ``HELD``.
    n_static : int
        S, whose relevance stands behind all steps'.
    """

    def __init__(
        self, n: int, n_features: int, threads: int = 1, held: int = HELD, *, n_static: int = 0
    ) -> None:  # fmt: skip
        self._n_features = n_features
        self.n, self._threads, self._at_once = n, threads, held
        self._pool = ThreadPoolExecutor(threads)  # starts threads only when there is work, and ends with this object
        self._shares, self._counts = np.zeros((n, n_features + n_static)), np.zeros(n, np.int64)
        self._k, self._held = 0, list[Array]()
        self._over: list[Array] = []  # where a member's prediction, and score, is infinite

    def add(self, results: Results) -> None:
        """Add the next member's results for the block; the first one's arrays become the block's mean.

        Arrays are held until ``finish``. Without a rule there is nothing but predictions to add.
        """
        if self._k == 0:
            self._mean = results
            self._spread = memory.results(*results.values.shape, dtype=results.values.dtype)
            self._squares = np.zeros_like(results.prediction)
            self._over = [np.zeros(array.shape, bool) for array in (results.prediction, results.score)]
        self._k += 1
        for over, array in zip(self._over, (results.prediction, results.score), strict=True):
            over |= np.isinf(array)
        if self._k > 1:
            with np.errstate(over="ignore", invalid="ignore"):  # where members are infinite, finish() says so
                for name in ("score", "initial_state", "unattributed"):
                    mean = getattr(self._mean, name)
                    mean += (getattr(results, name) - mean) * (1 / self._k)
                mean, off = self._mean.prediction, results.prediction - self._mean.prediction
                mean += off * (1 / self._k)
                self._squares += off * (results.prediction - mean)
        self._held.append(results.values)
        if len(self._held) == self._at_once or self._k == self.n:
            if results.values.size:
                self._add_values()
            self._held.clear()

    def _add_values(self) -> None:
        held, n, D, width = self._held, len(self._spread), self._n_features, self._shares.shape[1]
        steps, groups = (self._spread[0].size - (width - D)) // D, -(-n // GROUP)
        sums, counts = np.zeros((len(held), groups, width)), np.zeros((len(held), groups), np.int64)
        values = tuple([array.reshape(-1) for array in (*held, *held[:1] * (HELD - len(held)))])
        mean, spread = self._mean.values.reshape(-1), self._spread.reshape(-1)
        done = self._k - len(held)
        pieces = min(self._threads, groups)
        cuts = [(groups * k // pieces, groups * (k + 1) // pieces) for k in range(pieces)]

        def work(cut: tuple[int, int]) -> None:
            _add_groups(values, mean, spread, sums, counts, n, steps, D, *cut, done, self.n)

        for _ in self._pool.map(work, cuts) if pieces > 1 else map(work, cuts):
            pass
        for total, parts in zip(self._shares[done:], sums, strict=False):
            total[:] = np.add.accumulate([total, *parts])[-1]
        self._counts[done : self._k] += counts.sum(axis=1)

    def finish(self) -> tuple[Results, Array, Array]:
        """The block's mean, and the spread of its values and of its predictions; the next ``add`` begins a block."""
        assert self._k == self.n, f"{self._k} of {self.n} members were added"
        self._k = 0
        for over, array in zip(self._over, (self._mean.prediction, self._mean.score), strict=True):
            array[over] = np.inf
        return self._mean, self._spread, np.sqrt(self._squares / (self.n - 1))

    def share_spread(self) -> Array:
        """The spread of each feature's mean share of |relevance| over all rows; NaN where no row has any; (D,)."""
        with np.errstate(invalid="ignore"):
            return np.asarray((self._shares / self._counts[:, None]).std(axis=0, ddof=1))


@entry
def _add_groups(values, mean, spread, sums, counts, rows, steps, D, first, last, done, n):
    """Add groups of rows of some members, after ``done`` others of all ``n``, to the mean and to the spread, which
    holds sums of squares until the last one; ``sums`` and ``counts`` (member, group) become those of the rows' shares
    of |relevance|, as ``Relevance.share`` has them."""
    held, width = sums.shape[0], sums.shape[2]
    of_row, of_sample = np.empty(width), steps * D + width - D
    number = mean.dtype.type  # 1 / k in float64 would make all that follows float64
    some = max(1, CACHED_BYTES // (mean.itemsize * of_sample))
    for group in range(first, last):
        stop = min(rows, (group + 1) * GROUP)
        for row in range(group * GROUP, stop, some):
            n_rows = min(some, stop - row)
            begin, size = row * of_sample, n_rows * of_sample
            squares = at(spread, begin)
            for member in range(held):
                x, k = at(values[member], begin), done + member + 1
                if k > 1:
                    _update(size, x, at(mean, begin), squares, number(1.0 / k), k == 2)
                counts[member, group] += _sum_shares(
                    n_rows, steps, D, width, x, at(of_row, 0), at(sums[member, group], 0)
                )
            if done + held == n:
                _settle(size, squares, number(1.0 / (n - 1)))


@compiled
def _update(size, values, mean, squares, part, fresh):
    """Welford's update; where ``fresh``, ``squares`` hold nothing yet."""
    distinct()
    if fresh:
        for i in range(size):
            squares[i] = 0.0
    for i in range(size):
        off = values[i] - mean[i]
        middle = mean[i] + part * off
        mean[i] = middle
        squares[i] += off * (values[i] - middle)


@compiled
def _settle(size, squares, scale):
    """Standard deviations from sums of squares."""
    for i in range(size):
        squares[i] = math.sqrt(scale * squares[i])


@compiled
def _sum_shares(rows, steps, D, width, values, of_row, sums):
    """Add the rows' shares to ``sums``; the number of rows that have any. Of ``width`` features, those beyond D stand
    once, behind all steps."""
    distinct()
    count = 0
    for row in range(rows):
        begin = row * (steps * D + width - D)
        for d in range(D):
            of_row[d] = np.float64(values[begin + d])
        for t in range(1, steps):
            for d in range(D):
                of_row[d] += np.float64(values[begin + t * D + d])
        for d in range(D, width):
            of_row[d] = np.float64(values[begin + (steps - 1) * D + d])
        total = 0.0
        for d in range(width):
            of_row[d] = abs(of_row[d])
            total += of_row[d]
        if total > 0.0:
            count += 1
            scale = 1.0 / total
            for d in range(width):
                sums[d] += of_row[d] * scale
    return count


def run_members(
    backend: ModuleType,
    nets: Sequence[Chain],
    windows: Windows,
    steps: int,
    *,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
    **ask: Any,
) -> tuple[Results, Spread]:
    """The mean of the networks' results, as a backend's ``run`` returns one network's, and the spread."""
    n, threads = windows.n(steps), get_num_threads() if threads is None else threads
    D, kind = windows.rows.shape[1], windows.rows.dtype
    rows = max(1, BLOCK_BYTES // (GROUP * steps * D * kind.itemsize)) * GROUP
    whole: list[Array] = []
    S = nets[0].n_static
    members = Members(len(nets), D - S, threads, n_static=S)
    for block, skip, places in _blocks(windows, steps, rows):
        for net in nets:
            results = backend.run(net, block, steps, threads=threads, **ask)
            members.add(Results(*(array[skip:] for array in results)))
        mean, *spread = members.finish()
        parts = [*mean, *spread]
        if len(mean.prediction) == n and isinstance(places, slice):
            whole = parts
        else:
            whole = whole or [
                memory.results(n if len(part) else 0, *part.shape[1:], dtype=part.dtype) for part in parts
            ]
            for array, part in zip(whole, parts, strict=True):
                if len(part):
                    array[places] = part
        if advance is not None:
            advance(len(mean.prediction))
    return Results(*whole[:5]), Spread(whole[5], whole[6], members.share_spread(), len(nets))


def _blocks(windows: Windows, steps: int, most: int) -> Iterator[tuple[Windows, int, slice | Array]]:
    """Windows of at most ``most`` samples, or of rows of a panel in sorted order: the results to skip, of rows that
    only the first windows read, and the places of the others among all results."""
    rows, order, ends, lengths = windows.rows, windows.order, windows.ends, windows.lengths
    for first in range(0, windows.n(steps), most):
        last = first + most
        if ends is None:
            yield Windows(rows[first * steps : last * steps]), 0, slice(first, last)
            continue
        begin = max(0, first - steps + 1)
        block = rows[begin:last] if order is None else rows[order[begin:last]]
        mine, short = ends[begin:last].copy(), None if lengths is None else lengths[begin:last].copy()
        for marks in (mine, short):
            if marks is not None:
                marks[: first - begin] = 0
        places = slice(first, last) if order is None else order[first:last]
        yield Windows(np.ascontiguousarray(block), None, mine, lengths=short), first - begin, places
