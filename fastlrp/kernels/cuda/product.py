"""The matrix products of a tile, by all threads of a block; and an LSTM's step, whose cell is computed in registers.

A thread computes a quad of rows times two vectors of lanes: 32 sums in registers, fed with three loads of four numbers
for 32 multiply-adds. The threads of a warp share a few quads and lie side by side along the lanes, so that a load of
weights is a broadcast and a load of lanes touches every bank once: the two vectors are half a tile apart for that. In
an LSTM's step the quad is the four gates of one unit: no gate ever leaves the registers.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from fastlrp.kernels import formulas
from fastlrp.kernels.cuda.threads import VECTOR, device_function, load4, store4
from fastlrp.kernels.lanes import SPREAD_ADD, STORE, fma
from fastlrp.kernels.plan import Array, Layout

#: Rows that a thread sums at once: the gates of a unit. Lanes: two vectors. Sums: one for each.
QUAD = 4
PAIR = 2 * VECTOR
SUMS = QUAD * PAIR


def pack_quads(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Biases, then depth by depth the weights of all rows, which are filled up to whole quads with zeros."""
    rows, depth = matrix.shape
    packed = np.zeros((1 + depth, -(-rows // QUAD) * QUAD), dtype)
    if bias is not None:
        packed[0, :rows] = bias
    packed[1:, :rows] = matrix.T
    return packed.ravel()


def pack_gates(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """The same with the four gates of a unit side by side."""
    order = np.arange(matrix.shape[0]).reshape(QUAD, -1).T.ravel()
    return pack_quads(matrix[order], None if bias is None else bias[order], dtype)


QUADS = Layout(pack_quads, pack_gates, fused=True)


@device_function
def _accumulate(rows, weights, w, w_step, source, ld, depth, lane, other, sums):
    """sums += ``depth`` rows of lanes times their weights."""
    weight, x = cuda.local.array(QUAD, rows.dtype), cuda.local.array(PAIR, rows.dtype)
    lane += source
    other += source
    for _ in range(depth):
        load4(weights, w, weight, 0)
        load4(rows, lane, x, 0)
        load4(rows, other, x, VECTOR)
        w += w_step
        lane += ld
        other += ld
        for r in range(QUAD):
            for v in range(PAIR):
                sums[r * PAIR + v] = fma(weight[r], x[v], sums[r * PAIR + v])


@device_function
def _sum_quad(do, quad, quads, rows, weights, init, init_ld, a, a_ld, b, b_ld, lane, other, sums):
    """The sums of a quad: its biases, or rows that were computed earlier, and both operands times their weights."""
    w, w_step = do.weights + QUAD * quad, QUAD * quads
    if do.init_months:
        for r in range(QUAD):  # gate by gate
            load4(rows, init + (r * quads + quad) * init_ld + lane, sums, r * PAIR)
            load4(rows, init + (r * quads + quad) * init_ld + other, sums, r * PAIR + VECTOR)
    else:
        bias = cuda.local.array(QUAD, rows.dtype)
        load4(weights, w, bias, 0)
        for r in range(QUAD):
            for v in range(PAIR):
                sums[r * PAIR + v] = bias[r]
    w += w_step
    _accumulate(rows, weights, w, w_step, a, a_ld, do.a_depth, lane, other, sums)
    w += do.a_depth * w_step
    _accumulate(rows, weights, w, w_step, b, b_ld, do.b_depth, lane, other, sums)


@device_function
def _spread(rows, at, mul, share, adds, sums, first):
    """Four lanes of a * (W q) + share, as the rule hands them to an input; or added to what is there."""
    x = cuda.local.array(VECTOR, rows.dtype)
    load4(rows, mul, x, 0)
    even = cuda.local.array(VECTOR, rows.dtype)
    load4(rows, share, even, 0)
    for v in range(VECTOR):
        x[v] = fma(sums[first + v], x[v], even[v])
    if adds:
        load4(rows, at, even, 0)
        for v in range(VECTOR):
            x[v] += even[v]
    store4(x, 0, rows, at)


@device_function
def product(
    do, rows, weights, columns, out, out_ld, init, init_ld, a, a_ld, b, mul, mul_ld, share, half, place, worker, workers
):  # fmt: skip
    """out = biases + weights times ``a_depth`` rows of a and ``b_depth`` of b; or what SPREAD makes of these sums.

    Of ``columns`` lanes this thread has the vector ``place`` and, if there are so many, the one ``half`` further on; of
    the quads every ``workers``-th from ``worker`` on.
    """
    quads = (do.units + QUAD - 1) // QUAD
    lane, other = place * VECTOR, (place + half) * VECTOR
    both = other < columns
    if not both:
        other = lane
    sums = cuda.local.array(SUMS, rows.dtype)
    for quad in range(worker, quads, workers):
        _sum_quad(do, quad, quads, rows, weights, init, init_ld, a, a_ld, b, out_ld, lane, other, sums)
        for r in range(QUAD):
            row = r * quads + quad if do.by_gates else QUAD * quad + r
            if row < do.units:
                at = out + row * out_ld
                if do.mode == STORE:
                    store4(sums, r * PAIR, rows, at + lane)
                    if both:
                        store4(sums, r * PAIR + VECTOR, rows, at + other)
                else:
                    adds, by = do.mode == SPREAD_ADD, mul + row * mul_ld
                    _spread(rows, at + lane, by + lane, share + lane, adds, sums, r * PAIR)
                    if both:
                        _spread(rows, at + other, by + other, share + other, adds, sums, r * PAIR + VECTOR)


@device_function
def _cell(sums, cell, v, at):
    """The cell of one lane from its gates; i*g, f*c', zg, c take the place of the gates, h that of the cell before."""
    written = formulas.gated_tanh(sums[at], sums[2 * PAIR + at])
    kept = formulas.gated(sums[PAIR + at], cell[v])
    new = written + kept
    cell[v] = formulas.gated_tanh(sums[3 * PAIR + at], new)
    sums[at], sums[PAIR + at], sums[3 * PAIR + at] = written, kept, new


@device_function
def _cells(rows, before, z, step, h, sums, first):
    """Four lanes of a unit. No loop over them: the compiler might not unroll it, and sums would leave the registers."""
    cell = cuda.local.array(VECTOR, rows.dtype)
    load4(rows, before, cell, 0)
    _cell(sums, cell, 0, first)
    _cell(sums, cell, 1, first + 1)
    _cell(sums, cell, 2, first + 2)
    _cell(sums, cell, 3, first + 3)
    store4(sums, first, rows, z)
    store4(sums, PAIR + first, rows, z + step)
    store4(sums, 2 * PAIR + first, rows, z + 2 * step)
    store4(sums, 3 * PAIR + first, rows, z + 3 * step)
    store4(cell, 0, rows, h)


@device_function
def lstm_step(do, rows, weights, ld, z, h, before, init, init_ld, a, a_ld, b, half, place, worker, workers):
    """One step of an LSTM: gates, cell and output. What a rule will need stays in rows: i*g, f*c', zg, c."""
    units = do.units
    lane, other = place * VECTOR, (place + half) * VECTOR
    sums = cuda.local.array(SUMS, rows.dtype)
    for unit in range(worker, units, workers):
        _sum_quad(do, unit, units, rows, weights, init, init_ld, a, a_ld, b, ld, lane, other, sums)
        row = unit * ld
        _cells(rows, before + row + lane, z + row + lane, units * ld, h + row + lane, sums, 0)
        _cells(rows, before + row + other, z + row + other, units * ld, h + row + other, sums, VECTOR)
