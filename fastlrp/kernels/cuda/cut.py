"""The windows, the rows of X that a run of them needs, and how they are cut into chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fastlrp.kernels.cuda.device import LEAST_THREADS, Card, Launch
from fastlrp.kernels.cuda.kernel import month_tail
from fastlrp.kernels.cuda.product import PAIR
from fastlrp.kernels.program.inference import Plan
from fastlrp.kernels.program.instructions import Array
from fastlrp.panels.windows import Windows

#: Bytes of a chunk's X and results: enough that a copy runs at full speed, few enough that there are several chunks.
CHUNK_BYTES = 64 << 20
#: Chunks on their way at once: one copied in, one computed, one copied out.
SLOTS = 3


@dataclass(frozen=True)
class Cut:
    """Windows as the kernels see them.

    Attributes
    ----------
    n, steps : int
        Number of windows, and of steps in each.
    starts : int64 array or None
        The row in which each window starts, where windows do not share months; None if they follow one another.
    shared : bool
        Whether each row is the end of a window or of none, and windows share their months.
    """

    n: int
    steps: int
    windows: Windows
    starts: Array | None
    shared: bool

    def rows(self, first: int, last: int) -> tuple[int, int]:
        """The rows of X that windows ``first`` to ``last - 1`` need."""
        if self.shared:
            return max(0, first - (self.steps - 1)), last
        if self.starts is None:
            return first * self.steps, last * self.steps
        return int(self.starts[first]), int(self.starts[last - 1]) + self.steps

    def places(self, first: int, last: int) -> Array | slice:
        """Where results of windows ``first`` to ``last - 1`` belong."""
        order = self.windows.order
        if self.starts is not None:
            ends: Array = self.starts[first:last] + (self.steps - 1)
            return ends if order is None else order[ends]
        return slice(first, last) if order is None else order[first:last]


def cut_windows(windows: Windows, steps: int, card: Card) -> Cut:
    """Windows of a panel share x_t W where most rows end one; with short histories, each is loaded by itself."""
    if windows.ends is None:
        return Cut(windows.rows.shape[0] // steps, steps, windows, None, shared=False)
    n, lanes = windows.ends.size, max(card.lanes)
    fits = month_tail(steps) + lanes <= PAIR * LEAST_THREADS  # a thread for each pair of vectors of months
    if steps > 1 and fits and n >= lanes and 2 * int(np.count_nonzero(windows.ends)) >= n:
        return Cut(n, steps, windows, None, shared=True)
    starts = windows.starts(steps)
    return Cut(starts.size, steps, windows, starts, shared=False)


def chunk_size(plan: Plan, launch: Launch, cut: Cut) -> int:
    """Windows of a chunk: whole tiles, as many as ``CHUNK_BYTES`` hold, but enough that two chunks fill the card."""
    values = plan.width if plan.explains else 0
    rows = 1 if cut.shared else plan.steps
    bytes_of_one = (plan.n_features * rows + values + plan.n_outputs + 3) * plan.weights.itemsize
    tiles = max(CHUNK_BYTES // (bytes_of_one * launch.lanes), -(-launch.blocks // (SLOTS - 1)), 1)
    return min(-(-cut.n // launch.lanes), tiles) * launch.lanes


def chunks_of(cut: Cut, size: int, lanes: int) -> Iterator[tuple[int, int]]:
    """First and last window of each chunk.

    Where windows share months, a chunk has at least ``lanes`` of them: the last may reach back into the one before, and
    finds the same bits. Where few rows end a window, a chunk ends once it has too many rows.
    """
    first = 0
    while first < cut.n:
        last = min(first + size, cut.n)
        if cut.starts is not None:
            reach = int(np.searchsorted(cut.starts, cut.starts[first] + size * cut.steps, "right"))
            last = min(last, max(reach, first + 1))
        yield (max(0, min(first, last - lanes)) if cut.shared else first), last
        first = last
