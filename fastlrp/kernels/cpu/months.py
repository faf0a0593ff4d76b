"""Windows of a panel that share their months: where months stand, so that each is loaded and multiplied once.

Windows that end in consecutive rows of the panel share all months but one: step t of one is step t-1 of the next. If
months stood side by side, every read at a shift would straddle cache lines, which costs a tenth of all time. So
consecutive windows are dealt to vectors: a *segment* is G of them, one in each of G vectors, all in the same lane, and
a *span* is as many segments as a vector has lanes. Vector h holds in each lane the first month of its segment's window
h, so that a shift by one month is a shift by one whole vector. Vectors G, G + 1 ... that it reaches are the first ones
moved by one lane, where the next segment goes on in the next row; where it does not (a stock's history ends, a month is
missing), the segment's last T - 1 months stand apart, after those vectors.

With T = 3, segments of G = 3 windows and, to draw them, vectors of four lanes; months of one history are numbered, and
another stock's segment stands in lane 3::

                 lane 0   lane 1   lane 2   lane 3
      vector 0      0        3        6       100      first months of window 0 of each segment
      vector 1      1        4        7       101      of window 1
      vector 2      2        5        8       102      of window 2
      vector 3      3        6        9*      103*     vector 0 moved by one lane; * from the months that stand apart
      vector 4      4        7       10*      104*     vector 1 moved by one lane
      apart         9       10      103       104      T - 1 months of each segment that the next lane does not go on

Step t of every segment's window h is vector h + t: in lane 1, window 2 has the months 5, 6 and 7 in vectors 2, 3 and 4.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels.cpu.product import product
from fastlrp.kernels.cpu.transpose import load
from fastlrp.kernels.lanes import at, distinct
from fastlrp.kernels.program.instructions import Array
from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.target import compiled, inlined

#: What a span costs besides its windows, as windows of each segment: months that it shares with other spans, and
#: filling the vectors that shifts reach. Measured: 3 % of a span of 8 windows a segment, 1 % of one of 23.
SPAN_COST = 0.25
#: Windows a segment at most: the months of a span should stay in the second-level cache.
LONGEST = 32


def segment_size(lengths: Array, least: int, most: int) -> int:
    """How many windows a segment holds: long ones are cheap, but the last of a run of ``lengths`` should be full."""
    sizes = np.arange(least, max(least, min(most, LONGEST)) + 1)
    lengths, counts = np.unique(lengths, return_counts=True)
    cost = (counts @ -(-lengths[:, None] // sizes)) * (sizes + SPAN_COST)
    return int(sizes[cost.argmin()])


def segments(begin: Array, stop: Array, size: int, n: int) -> Array:
    """Rows where segments of ``size`` windows begin, in order: every run of rows that end a window is cut into them.

    The last of a run may reach over its end, but not over the panel's ``n`` rows: there it begins earlier. As many as
    fill spans; the last one is repeated for that. Windows that stand in two segments get the same bits twice.
    """
    counts = -((begin - stop) // size)
    before = np.cumsum(counts) - counts
    first = np.repeat(begin - size * before, counts) + size * np.arange(counts.sum())
    first = np.minimum(first, n - size)
    return np.concatenate([first, np.repeat(first[-1:], -first.size % LANES)])


def extra_lanes(steps: int) -> int:
    """Lanes of a span's months beside its windows': the vectors that shifts reach, and at most as many after them."""
    return 2 * (steps - 1) * LANES


@compiled
def lanes_of(n):
    """n in whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@compiled
def row_of(order, r):
    """Where sorted row r stands among the caller's."""
    return order[r] if order.size else r


@compiled
def window(starts, k):
    """The row where the window ends that stands in lane k of a span, whose segments begin in the rows ``starts``."""
    return starts[k % LANES] + k // LANES


@compiled
def load_months(X, order, row_stride, column_stride, starts, steps, n_features, span, months, ld, places):
    """X of a span's months, feature by feature.

    Leaves in ``places`` the lanes of the segments whose last months stand apart, and returns how many there are.
    """
    size, more, after, n = span // LANES, steps - 1, span + (steps - 1) * LANES, 0
    for k in range(span):
        row = window(starts, k) - more
        places[k] = row_of(order, row) * row_stride
    load(at(X, 0), at(places, 0), column_stride, n_features, months, ld, span)
    for lane in range(LANES):
        if lane == LANES - 1 or starts[lane + 1] != starts[lane] + size:
            for k in range(more):
                row = starts[lane] + size - more + k
                places[after + n * more + k] = row_of(order, row) * row_stride
            places[n] = lane
            n += 1
    for k in range(n * more, lanes_of(n * more)):
        places[after + k] = places[after + n * more - 1]
    load(at(X, 0), at(places, after), column_stride, n_features, at(months, after), ld, lanes_of(n * more))
    return n


@compiled
def share_products(program, weights, begin, lanes, months, ld):
    """x_t W + b of every LSTM that reads X, once for each of some months."""
    for i in range(program.size):
        do = program[i]
        a, out = at(months, do.a * ld + begin), at(months, do.out * ld + begin)
        product(out, ld, lanes, at(weights, do.weights), do.units, out, do.init, a, ld, do.a_depth,
                a, ld, do.b_depth, out, ld, out, do.mode)  # fmt: skip


@inlined
def _copy_vectors(source, into):
    """LANES numbers: a call of ``copy`` for so few costs 3 % of a panel's time at T, D, H = 5, 16, 16."""
    distinct()
    for k in range(LANES):
        into[k] = source[k]


@compiled
def deal_on(rows, apart, n_apart, steps, span, months, ld):
    """Fill the vectors that shifts reach: those G before, moved by one lane; in the lanes ``apart``, months that stand
    apart."""
    more, after = steps - 1, span + (steps - 1) * LANES
    for r in range(rows):
        row = at(months, r * ld)
        for h in range(more):
            into = at(row, span + h * LANES)
            _copy_vectors(at(row, h * LANES + 1), into)
            for k in range(n_apart):
                into[apart[k]] = row[after + k * more + h]
