"""The windows of a panel, each of one of several networks, dealt to parts that threads take."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Parts that each thread should get, so that all end together, unless they would have fewer rows than this.
PARTS_A_THREAD, FEWEST_ROWS = 8, 256


class Part(NamedTuple):
    """Windows of network k: those that end in some runs of sorted rows, ``begin`` to ``stop``."""

    k: int
    begin: Array
    stop: Array


def runs_of(who: Array) -> tuple[Array, Array]:
    """Where runs of rows of one network begin and stop; ``who`` is each row's network, -1 for none."""
    edges = np.flatnonzero(np.diff(who, prepend=-2, append=-2))
    edges = edges.astype(np.int32 if len(who) < 2**31 else np.int64)  # there may be as many as rows
    some = np.flatnonzero(who[edges[:-1]] >= 0)
    return edges[some], edges[some + 1]


def deal(who: Array, steps: int, most: int, threads: int) -> list[Part]:
    """The work, network by network, in parts of about ``most`` rows, or fewer where threads would be idle.

    Longer runs are cut, and a network's runs are dealt to parts of about the same number of rows, each run with the
    ``steps - 1`` rows before it.
    """
    more, (begin, stop) = steps - 1, runs_of(who)
    order = np.argsort(who[begin], kind="stable")
    total = int((stop - begin).sum()) + more * len(begin)
    size = max(FEWEST_ROWS, min(most, total // (PARTS_A_THREAD * threads)))
    parts = []
    for ours in np.split(order, np.flatnonzero(np.diff(who[begin[order]])) + 1):
        if len(ours):  # there may be no window at all
            first, last = _cut(begin[ours], stop[ours], max(size - more, more + 1))
            upto = np.cumsum(last - first + more)
            dealt = (upto - 1) * -(-upto[-1] // size) // upto[-1]
            starts = np.flatnonzero(np.diff(dealt, prepend=-1)).tolist()
            k = int(who[first[0]])
            parts += [Part(k, first[a:b], last[a:b]) for a, b in itertools.pairwise([*starts, len(upto)])]
    return parts


def _cut(begin: Array, stop: Array, most: int) -> tuple[Array, Array]:
    """Runs cut into pieces of at most ``most`` rows, each run's of about the same size."""
    if (stop - begin).max() <= most:
        return begin, stop
    n = -((begin - stop) // most)
    which = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    begin, length, n = (np.repeat(array, n) for array in (begin, stop - begin, n))
    return begin + which * length // n, begin + (which + 1) * length // n
