"""Windows of a panel that share their months: where months stand in a tile, so that each is loaded and multiplied once.

A tile's windows end in ``lanes`` consecutive rows of the panel, so that step t of one is step t-1 of the next: shifted
by one month, the same numbers. If months stood side by side, every read at a shift would straddle cache lines, which
costs a tenth of all time. So they are dealt to vectors like cards: with G vectors of 16 lanes, vector h holds months
h, G + h, 2G + h ... A shift by one month is then a shift by one whole vector. Vectors G, G + 1 ... that it reaches are
the first ones moved by one lane, with a later month in the last lane; those months stand at the end, side by side.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from numba import njit

from fastlrp.kernels.lanes import LANES, STORE, at, load, product
from fastlrp.kernels.tile import copy

_compiled = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


def extra_lanes(steps: int) -> int:
    """Lanes that a tile's months need beside its windows': vectors that shifts reach, and the months after the last."""
    return (steps - 1) * LANES + -(-(steps - 1) // LANES) * LANES


@_compiled
def dealt(k, lanes):
    """The window (or month) that stands in lane k, counted from the tile's first."""
    return k % LANES * (lanes // LANES) + k // LANES


@_compiled
def load_months(X, order, row_stride, column_stride, first, last, steps, n_features, lanes, months, ld, places):
    """X of a tile's months, feature by feature; ``first`` is the row of its first window's end, ``last`` X's last row.

    Months before the panel's first or after its last repeat those: no full window has them.
    """
    after = lanes + (steps - 1) * LANES
    for k in range(lanes):
        row = max(first - (steps - 1) + dealt(k, lanes), 0)
        places[k] = (order[row] if order.size else row) * row_stride
    for k in range(ld - after):
        row = min(first - (steps - 1) + lanes + k, last)
        places[after + k] = (order[row] if order.size else row) * row_stride
    load(at(X, 0), at(places, 0), column_stride, n_features, months, ld, lanes)
    load(at(X, 0), at(places, after), column_stride, n_features, at(months, after), ld, ld - after)


@_compiled
def share_products(program, weights, steps, lanes, months, ld):
    """x_t W + b of every LSTM that reads X, once for each month."""
    after = lanes + (steps - 1) * LANES
    for i in range(program.size):
        do = program[i]
        w = at(weights, do.weights)
        for part in range(2):
            begin, n = (after, ld - after) if part else (0, lanes)
            a, out = at(months, do.a * ld + begin), at(months, do.out * ld + begin)
            product(out, ld, n, w, do.units, out, do.init, a, ld, do.a_depth, a, ld, do.b_depth, out, ld, out, do.mode)


@_compiled
def deal_on(rows, steps, lanes, months, ld):
    """Fill the vectors that shifts reach, in every row: the ones G before, moved by one lane."""
    after = lanes + (steps - 1) * LANES
    for r in range(rows):
        row = at(months, r * ld)
        for h in range(steps - 1):
            into = at(row, lanes + h * LANES)
            copy(LANES, at(row, h * LANES + 1), into)
            into[LANES - 1] = row[after + h]
