"""One tile of samples, all the way: a program's instructions, each a loop over rows of lanes.

Functions here see pointers into one tile's scratch. Loops over lanes and units are flat wherever units do not differ,
so that each is one long vector loop. The arithmetic of one number comes from ``formulas``; matrix products are
``product.product``; ``elementwise`` and ``gates`` have the loops that training runs, too. Instructions that few
networks need are compiled when the first one comes.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np

from fastlrp.kernels import formulas
from fastlrp.kernels.cpu.curves import curve, curve_slope
from fastlrp.kernels.cpu.elementwise import activate, add, add_rows, copy, fill, multiply, scale, softmax
from fastlrp.kernels.cpu.gates import gates_step, slope
from fastlrp.kernels.cpu.gru import gru_cell_step, gru_gates_step, reset_left_out, reset_rule
from fastlrp.kernels.cpu.product import product
from fastlrp.kernels.lanes import at, distinct, fma, least, line_numbers, most, prefetch
from fastlrp.kernels.program.instructions import (
    ACTIVATE,
    ADD,
    ALONG,
    ARRAS_CELL,
    CELL,
    COPY,
    CURVE,
    CURVE_SLOPE,
    FILL,
    GATES,
    GATES_GRADIENT,
    GRU_CELL,
    GRU_GATES,
    GRU_GATES_GRADIENT,
    LEFT_OUT,
    LINEAR_RULE,
    MERGE_RULE,
    MULTIPLY,
    PRODUCT,
    RESET_LEFT_OUT,
    RESET_RULE,
    RUDDER_ARRIVAL,
    RUDDER_CELL,
    SCALE,
    SLOPE,
    SOFTMAX,
    SUM,
)
from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.target import compiled

#: Instructions that most networks do with, and softmax aside; all others are ``rare``.
COMMON = (
    PRODUCT, CELL, LINEAR_RULE, ARRAS_CELL, RUDDER_ARRIVAL, RUDDER_CELL, LEFT_OUT, ADD, SUM, FILL, COPY, SCALE,
    ACTIVATE,
)  # fmt: skip


def has_rare(program: Any) -> bool:
    """Whether a program has an instruction that only ``rare`` knows."""
    softmax = (program["kind"] == ACTIVATE) & (program["activation"] == SOFTMAX)
    return bool((softmax | ~np.isin(program["kind"], COMMON)).any())


@compiled
def write_cell(n, zi, zf, zg, c, new):
    """Write the cell's two parts, i*g and f*c', in the place of their gates, and the new cell."""
    distinct()
    for k in range(n):
        written, kept = formulas.gated_tanh(zi[k], zg[k]), formulas.gated(zf[k], c[k])
        zi[k], zf[k], new[k] = written, kept, written + kept


@compiled
def read_cell(n, zo, h):
    """h = o*tanh(c), where ``h`` holds c; c takes the place of its gate. The loop is separate: in one loop, the chain
    from z to h is longer than the processor looks ahead, and costs a tenth more."""
    distinct()
    for k in range(n):
        c = h[k]
        h[k], zo[k] = formulas.gated_tanh(zo[k], c), c


@compiled
def linear_rule(units, lanes, z, relevance, extra, bias, q, share, lost, rule, factor):
    """q of a linear map's units; ``share`` is each input's even share, and ``lost`` grows by what goes nowhere.

    A unit gets its own ``relevance`` and the ``extra`` of its lane; factor = 1/N.
    """
    distinct()
    eps, handed, delta = rule
    for k in range(lanes):
        share[k] = eps - eps
    for j in range(units):
        b = bias[j]
        for k in range(lanes):
            i = j * lanes + k
            value, shared, gone = formulas.linear_unit(relevance[i] + extra[k], z[i], b, eps, handed, delta)
            q[i] = value
            share[k] += shared
            lost[k] += gone
    for k in range(lanes):
        share[k] *= factor


@compiled
def arras_cell(units, lanes, written, kept, r_c, r_g, share, lost, rule, factor):
    """The linear rule on c_t = f*c_{t-1} + i*g: R_c[t] in ``r_c`` becomes R_c[t-1]. ``share``, the even share, is still
    to be added to it and to R_g."""
    distinct()
    eps, handed, _ = rule
    for k in range(lanes):
        share[k] = eps - eps
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            r_g[i], r_c[i], even = formulas.arras_unit(written[i], kept[i], r_c[i], eps)
            share[k] += even
    for k in range(lanes):
        share[k], gone = formulas.even_shares(share[k], eps, handed, factor)
        lost[k] += gone


@compiled
def rudder_arrival(units, lanes, written, kept, arrived, q_sum, lost, rule):
    """The relevance that step u hands to the cell: q_sum += R_h[u]/(c_u + eps s). It is lost until a step takes it."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            q_sum[i] += formulas.rudder_arrival(arrived[i], written[i], kept[i], rule[0])
            lost[k] += arrived[i]


@compiled
def rudder_cell(units, lanes, written, q_sum, r_g, lost):
    """R_g[t] = i_t g_t q_sum, no longer lost."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            value = written[i] * q_sum[i]
            r_g[i] = value
            lost[k] -= value


@compiled
def left_out(units, lanes, upper, upper_lanes, z, q, lost):
    """lost += sum (z - upper) q: relevance that a left-out path would carry; ``upper`` is z without the path's part.

    It goes row by row, so that no product with the path's weights, a fifth of rudder's relevance, is needed.
    """
    distinct()
    for j in range(units):
        for k in range(lanes):
            lost[k] += formulas.left_out(z[j * lanes + k], upper[j * upper_lanes + k], q[j * lanes + k])


@compiled
def merge_rule(units, lanes, source, q, share, out, weight):
    """R = weight * a * q + share for one of the directions that were summed or averaged."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            out[i] = formulas.merged(weight, source[i], q[i], share[k])


@compiled
def along(units, lanes, source, bias, out, part):
    """out = bias + part * source: a map's pre-activation where X has gone this part of the way from a baseline."""
    distinct()
    for j in range(units):
        b = bias[j]
        for k in range(lanes):
            i = j * lanes + k
            out[i] = fma(part, source[i], b)


@compiled
def rare(do, s, lanes, a, a_lanes, weights, lost, rule):
    """Run an instruction that is not among ``COMMON``: a gradient's, a GRU's, or of an unusual layer. ``a`` may stand
    among the months."""
    number = type(weights[0])
    kind, units = do.kind, do.units
    n, factor, out = units * lanes, number(do.factor), at(s, do.out * lanes)
    if kind == GRU_CELL:
        gru_cell_step(do, s, lanes, units, a, a_lanes)
    elif kind == RESET_RULE:
        reset_rule(units, lanes, at(s, do.z * lanes), at(s, do.reset * lanes), at(s, do.relevance * lanes),
                   at(s, do.extra * lanes), at(weights, do.bias), at(s, do.q * lanes), at(s, do.share * lanes), lost,
                   rule, factor)  # fmt: skip
    elif kind == RESET_LEFT_OUT:
        reset_left_out(units, lanes, a, a_lanes, at(s, do.z * lanes), at(s, do.reset * lanes), at(weights, do.bias),
                       at(s, do.q * lanes), lost)  # fmt: skip
    elif kind == MULTIPLY:
        multiply(n, a, out)
    elif kind == MERGE_RULE:
        merge_rule(units, lanes, a, at(s, do.q * lanes), at(s, do.share * lanes), out, factor)
    elif kind == ACTIVATE:
        softmax(units, lanes, a, out)
    elif kind in (GATES, GATES_GRADIENT):
        gates_step(do, kind == GATES_GRADIENT, s, lanes, n)
    elif kind in (GRU_GATES, GRU_GATES_GRADIENT):
        gru_gates_step(do, kind == GRU_GATES_GRADIENT, s, lanes, n)
    elif kind == SLOPE:
        slope(do.activation, n, a, out)
    elif kind == CURVE:
        curve(do.activation, n, a, out, factor)
    elif kind == CURVE_SLOPE:
        curve_slope(do.activation, n, a, out, factor)
    elif kind == ALONG:  # gradients know no rule's numbers: the part of the way stands in their place
        along(units, lanes, a, at(weights, do.bias), out, rule[0])


@compiled
def execute(program, s, lanes, months, month_lanes, weights, lost, rule, ahead, n_ahead, more):
    """Run a program on a tile: row r stands at ``s + r*lanes``, or at ``months + r*month_lanes``.

    Where ``more`` is None, it has no instruction that is ``rare``, and Numba leaves that part out, a fifth of the time
    to compile.

    Meanwhile ``n_ahead`` numbers at ``ahead``, with which the next tile begins, come into the cache, some with each
    instruction: asking for all of them at once would make the tile wait. This saves 5 % of all time at
    T, D, H = 5, 16, 16.
    """
    number = type(weights[0])
    some = (n_ahead + program.size - 1) // most(program.size, 1)
    for i in range(program.size):
        do = program[i]
        for k in range(i * some, least((i + 1) * some, n_ahead), line_numbers(ahead)):
            prefetch(at(ahead, k))
        kind, units = do.kind, do.units
        n, factor = units * lanes, number(do.factor)
        out, a, a_lanes = at(s, do.out * lanes), at(s, do.a * lanes), lanes
        if do.a_months:
            a, a_lanes = at(months, do.a * month_lanes + do.shift * LANES), month_lanes
        if kind == PRODUCT:
            init, init_lanes = at(s, 0), -1
            if do.init_months:
                init, init_lanes = at(months, do.init * month_lanes + do.shift * LANES), month_lanes
            elif do.init >= 0:
                init, init_lanes = at(s, do.init * lanes), lanes
            mul, mul_lanes = at(s, do.mul * lanes), lanes
            if do.mul_months:
                mul, mul_lanes = at(months, do.mul * month_lanes + do.shift * LANES), month_lanes
            product(out, lanes, lanes, at(weights, do.weights), units, init, init_lanes, a, a_lanes, do.a_depth,
                    at(s, do.b * lanes), lanes, do.b_depth, mul, mul_lanes, at(s, do.share * lanes),
                    do.mode)  # fmt: skip
        elif kind == CELL:
            z, c = at(s, do.z * lanes), at(s, do.c * lanes)
            h = at(s, do.h * lanes)
            write_cell(n, z, at(z, n), at(z, 2 * n), at(s, do.before * lanes), h)
            read_cell(n, c, h)
        elif kind == LINEAR_RULE:
            linear_rule(units, lanes, at(s, do.z * lanes), at(s, do.relevance * lanes), at(s, do.extra * lanes),
                        at(weights, do.bias), at(s, do.q * lanes), at(s, do.share * lanes), lost, rule,
                        factor)  # fmt: skip
        elif kind == ARRAS_CELL:
            state = at(s, do.state * lanes)
            arras_cell(units, lanes, state, at(state, n), at(s, do.r_c * lanes), at(s, do.r_g * lanes),
                       at(s, do.share * lanes), lost, rule, factor)  # fmt: skip
        elif kind == RUDDER_ARRIVAL:
            state = at(s, do.state * lanes)
            rudder_arrival(units, lanes, state, at(state, n), at(s, do.arrived * lanes), at(s, do.q_sum * lanes), lost,
                           rule)  # fmt: skip
        elif kind == RUDDER_CELL:
            rudder_cell(units, lanes, at(s, do.state * lanes), at(s, do.q_sum * lanes), at(s, do.r_g * lanes), lost)
        elif kind == LEFT_OUT:  # upper shares the word of a, among the months or not
            left_out(units, lanes, a, a_lanes, at(s, do.z * lanes), at(s, do.q * lanes), lost)
        elif kind == ADD:
            add(n, a, out, factor)
        elif kind == SUM:
            add_rows(units, lanes, a, out)
        elif kind == FILL:
            fill(n, out, number(0))
        elif kind == COPY:
            copy(n, a, out)
        elif kind == SCALE:
            scale(n, out, factor)
        elif kind == ACTIVATE and do.activation != SOFTMAX:
            activate(do.activation, n, a, out)
        elif more is not None:
            rare(do, s, lanes, a, a_lanes, weights, lost, rule)
