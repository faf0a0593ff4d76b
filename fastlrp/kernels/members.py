"""The mean and the spread of an ensemble's results, one block of rows and one member at a time.

No more than a block of one member's results is held beside the mean and the spread, and it is still in the caches when
it is added to them. Welford's update keeps both in the dtype of the computation: members that agree have a spread of
exactly 0, and their mean is each one's bits.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
from numba import get_num_threads

from fastlrp.kernels import memory
from fastlrp.kernels.results import Array, Results, Spread
from fastlrp.kernels.target import entry
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows

#: Bytes of a block's relevance.
BLOCK_BYTES = 1 << 22
#: Rows whose shares are summed by one thread, one after the other: sums have the same bits for any threads and blocks.
GROUP = 256


class Members:
    """Adds up the results of an ensemble's members, in place, for one block of rows after another.

    Parameters
    ----------
    n : int
        Number of members, at least 2.
    n_features : int
    map_over : callable
        Like ``map``; that of a pool of threads spreads the work over them.
    """

    def __init__(self, n: int, n_features: int, map_over: Callable[..., Iterator[Any]] = map) -> None:
        self.n, self._map = n, map_over
        self._shares, self._counts = np.zeros((n, n_features)), np.zeros(n, np.int64)
        self._k = 0

    def add(self, results: Results) -> None:
        """Add the next member's results for the block; the first one's arrays become the block's mean.

        Without a rule there is nothing but predictions to add.
        """
        if self._k == 0:
            self._mean = results
            self._spread = memory.results(*results.values.shape, dtype=results.values.dtype)
            self._squares = np.zeros_like(results.prediction)
        self._k += 1
        if self._k > 1:
            for name in ("score", "initial_state", "unattributed"):
                mean = getattr(self._mean, name)
                mean += (getattr(results, name) - mean) / self._k
            mean, off = self._mean.prediction, results.prediction - self._mean.prediction
            mean += off / self._k
            self._squares += off * (results.prediction - mean)
        if results.values.size:
            self._add_values(results.values)

    def _add_values(self, values: Array) -> None:
        n, D = len(values), values.shape[-1]
        steps, groups = values[0].size // D, -(-n // GROUP)
        sums, counts = np.empty((groups, D)), np.empty(groups, np.int64)
        arrays = [array.reshape(-1) for array in (values, self._mean.values, self._spread)]

        def work(group: int) -> None:
            _add_group(*arrays, group * GROUP, min(n, (group + 1) * GROUP), steps, self._k, self.n, sums[group],
                       counts[group : group + 1])  # fmt: skip

        for _ in (map if groups == 1 else self._map)(work, range(groups)):
            pass
        total = self._shares[self._k - 1]
        for part in sums:
            total += part
        self._counts[self._k - 1] += counts.sum()

    def finish(self) -> tuple[Results, Array, Array]:
        """The block's mean, and the spread of its values and of its predictions; the next ``add`` begins a block."""
        assert self._k == self.n, f"{self._k} of {self.n} members were added"
        self._k = 0
        return self._mean, self._spread, np.sqrt(self._squares / (self.n - 1))

    def share_spread(self) -> Array:
        """The spread of each feature's mean share of |relevance| over all rows added; NaN where no row has any; (D,)."""
        with np.errstate(invalid="ignore"):
            return np.asarray((self._shares / self._counts[:, None]).std(axis=0, ddof=1))


@entry
def _add_group(values, mean, spread, first, last, steps, k, n, sums, count):
    """Add a group of rows of the k-th member's relevance to the mean and the spread, which first holds sums of squares;
    ``sums`` and ``count`` become those of its rows' shares of |relevance|, as ``Relevance.share`` has them."""
    D = sums.size
    width, part = steps * D, values.dtype.type(1.0 / k)
    if k > 1:
        for i in range(first * width, last * width):
            off = values[i] - mean[i]
            middle = mean[i] + part * off
            mean[i] = middle
            spread[i] = off * (values[i] - middle) + (spread[i] if k > 2 else values.dtype.type(0.0))
    if k == n:
        scale = values.dtype.type(1.0 / (n - 1))
        for i in range(first * width, last * width):
            spread[i] = np.sqrt(scale * spread[i])
    of_row = np.empty(D)
    sums[:] = 0.0
    count[0] = 0
    for row in range(first, last):
        of_row[:] = 0.0
        for t in range(steps):
            for d in range(D):
                of_row[d] += np.float64(values[row * width + t * D + d])
        total = 0.0
        for d in range(D):
            total += abs(of_row[d])
        if total > 0.0:
            count[0] += 1
            for d in range(D):
                sums[d] += abs(of_row[d]) / total


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
    with ThreadPoolExecutor(threads) as pool:
        members = Members(len(nets), D, pool.map)
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
    return Results(*whole[:5]), Spread(*whole[5:], members.share_spread(), len(nets))


def _blocks(windows: Windows, steps: int, most: int) -> Iterator[tuple[Windows, int, slice | Array]]:
    """Windows of at most ``most`` samples, or of rows of a panel in sorted order: the results to skip, of rows that
    only the first windows read, and the places of the others among all results."""
    rows, order, ends = windows.rows, windows.order, windows.ends
    for first in range(0, windows.n(steps), most):
        last = first + most
        if ends is None:
            yield Windows(rows[first * steps : last * steps]), 0, slice(first, last)
            continue
        begin = max(0, first - steps + 1)
        block = rows[begin:last] if order is None else rows[order[begin:last]]
        mine = ends[begin:last].copy()
        mine[: first - begin] = False
        places = slice(first, last) if order is None else order[first:last]
        yield Windows(np.ascontiguousarray(block), None, mine), first - begin, places
