"""One tile of samples by the threads of a block: a program's instructions, each a loop that all threads share.

The counterpart of ``cpu/tile.py``, with the same instructions and formulas. A thread has one lane and every
``parts``-th unit of it; sums over units are added up in shared memory, in an order that never changes. All threads meet
between instructions.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from numba import cuda

from fastlrp.kernels import formulas
from fastlrp.kernels.cuda.product import PAIR, lstm_step, product
from fastlrp.kernels.cuda.threads import VECTOR, device_function
from fastlrp.kernels.program.instructions import (
    ACTIVATE,
    ADD,
    ARRAS_CELL,
    COPY,
    FILL,
    LEFT_OUT,
    LINEAR_RULE,
    LSTM_STEP,
    MERGE_RULE,
    MULTIPLY,
    PRODUCT,
    RUDDER_ARRIVAL,
    RUDDER_CELL,
    SCALE,
    SOFTMAX,
    SUM,
)


@device_function
def lane_sums(partial, one, two, lanes, parts):
    """Sums of two numbers over each lane's threads, for its first thread. All threads of a block call it."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    partial[thread], partial[threads + thread] = one, two
    cuda.syncthreads()
    one = two = one - one
    if thread < lanes:
        one, two = partial[thread], partial[threads + thread]
        for part in range(1, parts):
            one += partial[part * lanes + thread]
            two += partial[threads + part * lanes + thread]
    return one, two


@device_function
def softmax(units, rows, source, out, ld):
    """Softmax over the units of one lane, shifted by the largest so that nothing overflows."""
    top = rows[source]
    for j in range(1, units):
        top = max(top, rows[source + j * ld])
    total = top - top
    for j in range(units):
        value = formulas.exp(rows[source + j * ld] - top)
        rows[out + j * ld] = value
        total += value
    for j in range(units):
        rows[out + j * ld] /= total


@device_function
def linear_rule(do, rows, weights, rule, z, relevance, extra, q, part, parts, ld):
    """q of a linear map's units; returns what a lane shares out evenly and what goes nowhere (``tile.linear_rule``)."""
    eps, handed, delta = rule[0], rule[1], rule[2]
    shared = lost = eps - eps
    for j in range(part, do.units, parts):
        r = rows[relevance + j * ld] + rows[extra]
        value, given, gone = formulas.linear_unit(r, rows[z + j * ld], weights[do.bias + j], eps, handed, delta)
        rows[q + j * ld] = value
        shared += given
        lost += gone
    return shared, lost


@device_function
def arras_cell(do, rows, rule, state, r_c, r_g, part, parts, ld):
    """The linear rule on c_t = f*c_{t-1} + i*g (``tile.arras_cell``)."""
    eps, handed = rule[0], rule[1]
    shared = lost = eps - eps
    step = do.units * ld
    for j in range(part, do.units, parts):
        written = state + j * ld
        to = r_c + j * ld
        one, rest, even = formulas.arras_unit(rows[written], rows[written + step], rows[to], eps)
        rows[r_g + j * ld], rows[to] = one, rest
        given, gone = formulas.even_shares(even, eps, handed, type(eps)(1))  # 1/N comes with the sum
        shared += given
        lost += gone
    return shared, lost


@device_function
def rudder_arrival(do, rows, rule, state, arrived, q_sum, part, parts, ld):
    """The relevance that a step hands to the cell, lost until a step takes it (``tile.rudder_arrival``)."""
    lost = rule[0] - rule[0]
    step = do.units * ld
    for j in range(part, do.units, parts):
        value, written = rows[arrived + j * ld], state + j * ld
        rows[q_sum + j * ld] += formulas.rudder_arrival(value, rows[written], rows[written + step], rule[0])
        lost += value
    return lost


@device_function
def rudder_cell(do, rows, zero, written, q_sum, r_g, part, parts, ld):
    """R_g[t] = i_t g_t q_sum, which is no longer lost."""
    lost = zero
    for j in range(part, do.units, parts):
        value = rows[written + j * ld] * rows[q_sum + j * ld]
        rows[r_g + j * ld] = value
        lost -= value
    return lost


@device_function
def left_out(do, rows, zero, upper, upper_ld, z, q, part, parts, ld):
    """The relevance that a left-out path would carry (``tile.left_out``)."""
    lost = zero
    for j in range(part, do.units, parts):
        lost += formulas.left_out(rows[z + j * ld], rows[upper + j * upper_ld], rows[q + j * ld])
    return lost


@device_function
def elementwise(do, rows, factor, share, a, q, out, part, parts, ld):
    """Instructions that compute each number by itself."""
    kind = do.kind
    for j in range(part, do.units, parts):
        to = out + j * ld
        if kind == FILL:
            rows[to] = factor - factor
        elif kind == SCALE:
            rows[to] *= factor
        elif kind == COPY:
            rows[to] = rows[a + j * ld]
        elif kind == ADD:
            rows[to] += factor * rows[a + j * ld]
        elif kind == MULTIPLY:
            rows[to] *= rows[a + j * ld]
        elif kind == ACTIVATE:
            rows[to] = formulas.activation(do.activation, rows[a + j * ld])
        elif kind == MERGE_RULE:
            rows[to] = formulas.merged(factor, rows[a + j * ld], rows[q + j * ld], rows[share])


@device_function
def execute(program, size, rows, weights, rule, partial, lanes, ld, months, months_ld, lost_row):
    """Run a program on a tile: row r stands at ``r*ld``, or at ``months + r*months_ld``."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    lane, part, parts = thread % lanes, thread // lanes, threads // lanes
    half = lanes // PAIR
    place, worker, workers = thread % half, thread // half, threads // half  # ``launch`` sees to it that none is left
    if part >= parts:  # left over; takes part in products only
        part = 1 << 30
    number = type(rule[0])
    for i in range(size):
        do = program[i]
        kind, factor = do.kind, number(do.factor)
        out, a, share, q = do.out * ld, do.a * ld, do.share * ld, do.q * ld + lane
        z, state, q_sum, r_g = do.z * ld + lane, do.state * ld + lane, do.q_sum * ld + lane, do.r_g * ld + lane
        init, init_ld = do.init * ld, ld
        if do.init_months:
            init, init_ld = months + do.init * months_ld + do.shift * VECTOR, months_ld
        a_ld = ld
        if do.a_months:
            a, a_ld = months + do.a * months_ld + do.shift * VECTOR, months_ld
        if kind == PRODUCT:
            mul, mul_ld = do.mul * ld, ld
            if do.mul_months:
                mul, mul_ld = months + do.mul * months_ld + do.shift * VECTOR, months_ld
            given = do.init >= 0
            product(do, rows, weights, lanes, out, ld, given, init, init_ld, a, a_ld, do.b * ld, mul, mul_ld, share,
                    half, place, worker, workers)  # fmt: skip
        elif kind == LSTM_STEP:
            lstm_step(do, rows, weights, ld, init, init_ld, a, a_ld, half, place, worker, workers)
        elif kind in (LINEAR_RULE, ARRAS_CELL, RUDDER_ARRIVAL, RUDDER_CELL, LEFT_OUT, SUM):
            shared = lost = factor - factor
            if kind == LINEAR_RULE:
                shared, lost = linear_rule(do, rows, weights, rule, z, do.relevance * ld + lane, do.extra * ld + lane,
                                           q, part, parts, ld)  # fmt: skip
            elif kind == ARRAS_CELL:
                shared, lost = arras_cell(do, rows, rule, state, do.r_c * ld + lane, r_g, part, parts, ld)
            elif kind == RUDDER_ARRIVAL:
                lost = rudder_arrival(do, rows, rule, state, do.arrived * ld + lane, q_sum, part, parts, ld)
            elif kind == RUDDER_CELL:
                lost = rudder_cell(do, rows, shared, state, q_sum, r_g, part, parts, ld)
            elif kind == LEFT_OUT:  # upper shares the word of a, among the months or not
                lost = left_out(do, rows, shared, a + lane, a_ld, z, q, part, parts, ld)
            else:
                for j in range(part, do.units, parts):
                    lost += rows[a + lane + j * ld]
            shared, lost = lane_sums(partial, shared, lost, lanes, parts)
            if thread < lanes:
                if kind in (LINEAR_RULE, ARRAS_CELL):
                    rows[share + lane] = factor * shared
                rows[(out if kind == SUM else lost_row * ld) + lane] += lost
        elif kind == ACTIVATE and do.activation == SOFTMAX:
            if thread < lanes:
                softmax(do.units, rows, a + lane, out + lane, ld)
        else:
            elementwise(do, rows, factor, share + lane, a + lane, q, out + lane, part, parts, ld)
        cuda.syncthreads()
