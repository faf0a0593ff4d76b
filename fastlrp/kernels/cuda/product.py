"""The matrix products of a tile, by all threads of a block; and an LSTM's step, whose cell is computed in registers.

A thread computes a quad of rows times two vectors of lanes: 32 sums in registers, fed with three loads of four numbers
for 32 multiply-adds. The threads of a warp share a few quads and lie side by side along the lanes, so that a load of
weights is a broadcast and a load of lanes touches every bank once: the two vectors are half a tile apart for that. In
an LSTM's step the quad is the four gates of one unit: no gate ever leaves the registers.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from numba import cuda

from fastlrp.kernels import formulas
from fastlrp.kernels.cuda.threads import VECTOR, device_function, load4, store4
from fastlrp.kernels.lanes import fma
from fastlrp.kernels.program.instructions import SPREAD_ADD, STORE
from fastlrp.kernels.program.rows import QUAD

#: Lanes that a thread sums at once: two vectors. Sums: one for each lane of its quad of rows, the gates of a unit.
PAIR = 2 * VECTOR
SUMS = QUAD * PAIR


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
def _start_sums(rows, weights, w, sums):
    """A quad's biases, for every lane."""
    bias = cuda.local.array(QUAD, rows.dtype)
    load4(weights, w, bias, 0)
    for r in range(QUAD):
        for v in range(PAIR):
            sums[r * PAIR + v] = bias[r]


@device_function
def _continue_sums(rows, at, step, most, lane, other, sums):
    """A quad's sums that were computed earlier: four rows, ``step`` apart, of which at most ``most`` exist."""
    for r in range(QUAD):
        row = at + min(r, most - 1) * step
        load4(rows, row + lane, sums, r * PAIR)
        load4(rows, row + other, sums, r * PAIR + VECTOR)


@device_function
def _spread(rows, at, mul, share, adds, sums, first):
    """Write four lanes of a * (W q) + share, as the rule hands them to an input, or add them to what is there."""
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
    do, rows, weights, columns, out, out_ld, given, init, init_ld, a, a_ld, b, mul, mul_ld, share, half, place, worker,
    workers,
):  # fmt: skip
    """out = biases (or ``init``, if ``given``) + weights times ``a_depth`` rows of a and ``b_depth`` of b; or what
    SPREAD makes of these sums.

    Of ``columns`` lanes, this thread has the vector ``place`` and, if there is one, the vector ``half`` further on; of
    the quads, it has every ``workers``-th from ``worker`` on.
    """
    quads = (do.units + QUAD - 1) // QUAD
    w_step = QUAD * quads
    lane, other = place * VECTOR, (place + half) * VECTOR
    both = other < columns
    if not both:
        other = lane
    sums = cuda.local.array(SUMS, rows.dtype)
    for quad in range(worker, quads, workers):
        w = do.weights + QUAD * quad
        if given:
            most = do.units - QUAD * quad
            _continue_sums(rows, init + QUAD * quad * init_ld, init_ld, most, lane, other, sums)
        else:
            _start_sums(rows, weights, w, sums)
        w += w_step
        _accumulate(rows, weights, w, w_step, a, a_ld, do.a_depth, lane, other, sums)
        w += do.a_depth * w_step
        _accumulate(rows, weights, w, w_step, b, out_ld, do.b_depth, lane, other, sums)
        for r in range(QUAD):
            row = QUAD * quad + r
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
    """The cell of one lane from its gates; i*g and f*c' take the place of their gates, h that of o, c that of c'."""
    written = formulas.gated_tanh(sums[at], sums[2 * PAIR + at])
    kept = formulas.gated(sums[PAIR + at], cell[v])
    cell[v] = written + kept
    sums[at], sums[PAIR + at] = written, kept
    sums[3 * PAIR + at] = formulas.gated_tanh(sums[3 * PAIR + at], cell[v])


@device_function
def _cells(rows, before, z, step, cells, h, sums, first):
    """Four lanes of a unit, without a loop, which the compiler might not unroll: sums would leave the registers."""
    cell = cuda.local.array(VECTOR, rows.dtype)
    load4(rows, before, cell, 0)
    _cell(sums, cell, 0, first)
    _cell(sums, cell, 1, first + 1)
    _cell(sums, cell, 2, first + 2)
    _cell(sums, cell, 3, first + 3)
    store4(sums, first, rows, z)
    store4(sums, PAIR + first, rows, z + step)
    store4(sums, 2 * PAIR + first, rows, z + 2 * step)
    store4(cell, 0, rows, cells)
    store4(sums, 3 * PAIR + first, rows, h)


@device_function
def lstm_step(do, rows, weights, ld, init, init_ld, a, a_ld, half, place, worker, workers):
    """One step of an LSTM: gates, cell and output, from x_t, h_{t-1} and c_{t-1} to c_t and h_t.

    Rows keep what a rule will need: i*g, f*c', zg and, where ``mode`` asks for it, x_t W_g + b_g.
    """
    units = do.units
    step, w_step = units * ld, QUAD * units
    lane, other = place * VECTOR, (place + half) * VECTOR
    sums = cuda.local.array(SUMS, rows.dtype)
    for unit in range(worker, units, workers):
        w, row = do.weights + QUAD * unit, unit * ld
        z = do.z * ld + row
        if do.init_months:
            _continue_sums(rows, init + unit * init_ld, units * init_ld, QUAD, lane, other, sums)
        else:
            _start_sums(rows, weights, w, sums)
        w += w_step
        _accumulate(rows, weights, w, w_step, a, a_ld, do.a_depth, lane, other, sums)
        if do.mode:
            store4(sums, 2 * PAIR, rows, z + 3 * step + lane)
            store4(sums, 2 * PAIR + VECTOR, rows, z + 3 * step + other)
        w += do.a_depth * w_step
        _accumulate(rows, weights, w, w_step, do.h_before * ld, ld, do.b_depth, lane, other, sums)
        before, cells, h = do.before * ld + row, do.c * ld + row, do.h * ld + row
        _cells(rows, before + lane, z + lane, step, cells + lane, h + lane, sums, 0)
        _cells(rows, before + other, z + other, step, cells + other, h + other, sums, VECTOR)
