"""One tile of samples, all the way: forward pass and relevance over rows of lanes, operation by operation.

Functions here see pointers into one tile's scratch. ``s`` is its start, row r stands at ``s + r*lanes``. Loops over
lanes and units are flat wherever units do not differ, so that each is one long vector loop. Loop bodies take all they
know from ``formulas``; matrix products are ``lanes.product``.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from numba import njit

from fastlrp.kernels import formulas
from fastlrp.kernels.lanes import SPREAD, SPREAD_ADD, STORE, at, distinct, product
from fastlrp.kernels.plan import (
    AGGREGATE_OP,
    AVERAGE,
    CONCAT,
    DENSE_OP,
    HARD_SIGMOID,
    HARD_SIGMOID_KERAS2,
    LINEAR,
    LSTM_OP,
    RELU,
    SIGMOID,
    SOFTMAX,
    TANH,
)

_compiled = njit(error_model="numpy", nogil=True)


# ---- loops over rows of lanes -------------------------------------------------------------------------------------


@_compiled
def fill(n, out, value):
    """out = value."""
    for k in range(n):
        out[k] = value


@_compiled
def copy(n, source, out):
    """out = source."""
    distinct()
    for k in range(n):
        out[k] = source[k]


@_compiled
def add(n, source, out):
    """out += source."""
    distinct()
    for k in range(n):
        out[k] += source[k]


@_compiled
def scale(n, out, factor):
    """out *= factor."""
    for k in range(n):
        out[k] *= factor


@_compiled
def add_rows(units, lanes, rows, total):
    """total += the sum of ``units`` rows, lane by lane."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            total[k] += rows[j * lanes + k]


@_compiled
def activate(code, n, source, out):
    """An activation over whole rows; source and out may be the same rows, so there is no promise here."""
    if code == TANH:
        for k in range(n):
            out[k] = formulas.tanh(source[k])
    elif code == SIGMOID:
        for k in range(n):
            out[k] = formulas.sigmoid(source[k])
    elif code == RELU:
        for k in range(n):
            out[k] = formulas.relu(source[k])
    elif code == HARD_SIGMOID:
        for k in range(n):
            out[k] = formulas.hard_sigmoid(source[k])
    elif code == HARD_SIGMOID_KERAS2:
        for k in range(n):
            out[k] = formulas.hard_sigmoid_keras2(source[k])
    else:
        for k in range(n):
            out[k] = source[k]


@_compiled
def softmax(units, lanes, source, out):
    """Softmax over units, lane by lane, shifted by the largest so that nothing overflows."""
    for k in range(lanes):
        top = source[k]
        for j in range(1, units):
            top = max(top, source[j * lanes + k])
        total = top - top
        for j in range(units):
            value = formulas.exp(source[j * lanes + k] - top)
            out[j * lanes + k] = value
            total += value
        for j in range(units):
            out[j * lanes + k] /= total


# ---- LSTM, forward ------------------------------------------------------------------------------------------------


@_compiled
def standard_cell(n, zi, zf, zg, zo, c, h):
    """All units of a step with tanh and sigmoid. The state takes the place of the gates: i*g, f*c', zg, c."""
    distinct()
    for k in range(n):
        written, kept, cell, out = formulas.standard_cell(zi[k], zf[k], zg[k], zo[k], c[k])
        zi[k], zf[k], zo[k], h[k] = written, kept, cell, out


@_compiled
def any_cell(n, zi, zf, zg, zo, c, h, signal, gate):
    """The same with other activations, one pass each."""
    activate(gate, n, zi, zi)
    activate(gate, n, zf, zf)
    activate(gate, n, zo, zo)
    activate(signal, n, zg, h)
    for k in range(n):
        zi[k] *= h[k]
        zf[k] *= c[k]
        cell = zi[k] + zf[k]
        h[k] = zo[k]
        zo[k] = cell
    for k in range(n):  # h holds o; o tanh(c) needs the activation of c beside it
        h[k] *= _signal(signal, zo[k])


@_compiled
def _signal(code, x):
    if code == TANH:
        return formulas.tanh(x)
    if code == SIGMOID:
        return formulas.sigmoid(x)
    if code == RELU:
        return formulas.relu(x)
    if code == HARD_SIGMOID:
        return formulas.hard_sigmoid(x)
    if code == HARD_SIGMOID_KERAS2:
        return formulas.hard_sigmoid_keras2(x)
    return x


@_compiled
def input_of(op, t, s, lanes, x, x_lanes):
    """Where step t of an operation's input stands: windows that share months read X shifted by t lanes."""
    if op.from_x and x_lanes:
        return at(x, t), x_lanes
    return at(s, (op.src + t * op.src_step) * lanes), lanes


@_compiled
def lstm_forward(op, s, lanes, weights, zeros, x, x_lanes):
    """Every step of one LSTM: gates in one product over x_t and h_{t-1}, then the cell."""
    H, T = op.units, op.steps
    n = H * lanes
    h = at(s, op.out * lanes)
    c = zeros
    for k in range(T):
        t = T - 1 - k if op.reverse else k
        z = at(s, (op.state + (k % op.states) * 4 * H) * lanes)
        source, ld = input_of(op, t, s, lanes, x, x_lanes)
        depth = H if k > 0 else 0  # h_0 = 0
        if op.from_x and x_lanes:
            init = at(x, (op.inputs + op.shared) * x_lanes + t)
            product(z, lanes, lanes, at(weights, op.w_h), 4 * H, init, x_lanes, source, ld, 0, h, lanes, depth,
                    z, lanes, z, STORE)  # fmt: skip
        else:
            w = op.w if k > 0 else op.w_x
            product(z, lanes, lanes, at(weights, w), 4 * H, z, -1, source, ld, op.inputs, h, lanes, depth,
                    z, lanes, z, STORE)  # fmt: skip
        h = at(s, (op.out + (T - 1 - k if op.out_reverse else k) * op.out_step) * lanes)
        if op.activation == TANH and op.gate == SIGMOID:
            standard_cell(n, z, at(z, n), at(z, 2 * n), at(z, 3 * n), c, h)
        else:
            any_cell(n, z, at(z, n), at(z, 2 * n), at(z, 3 * n), c, h, op.activation, op.gate)
        c = at(z, 3 * n)


# ---- rules --------------------------------------------------------------------------------------------------------


@_compiled
def linear_rule(units, lanes, z, relevance, extra, bias, q, share, lost, rule):
    """q of a linear map's units; adds to ``share`` what goes evenly to the inputs, to ``lost`` what goes nowhere.

    A unit gets ``relevance`` of its own and ``extra`` of its lane. share = sum (handed s + delta b) q, and what is
    missing from R = q (sum_i a_i w_i + b + eps s) is lost: (1 - delta) b q + (eps - handed) s q.
    """
    distinct()
    eps, handed, delta = rule
    for j in range(units):
        b = bias[j]
        given, kept = delta * b, b - delta * b
        for k in range(lanes):
            i = j * lanes + k
            value = formulas.per_unit(relevance[i] + extra[k], z[i], eps)
            q[i] = value
            share[k] += (formulas.signed(z[i], handed) + given) * value
            lost[k] += (formulas.signed(z[i], eps - handed) + kept) * value


@_compiled
def arras_cell(units, lanes, written, kept, cell, r_c, r_g, share, lost, rule):
    """The linear rule on c_t = f*c_{t-1} + i*g: R_c[t] in ``r_c`` becomes R_c[t-1], each but for its even share."""
    distinct()
    eps, handed, _ = rule
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            c = cell[i]
            q = formulas.per_unit(r_c[i], c, eps)
            r_g[i] = written[i] * q
            r_c[i] = kept[i] * q
            share[k] += formulas.signed(c, handed) * q
            lost[k] += formulas.signed(c, eps - handed) * q


@_compiled
def rudder_arrival(units, lanes, cell, arrived, q_sum, lost, rule):
    """What step u hands to the cell: q_sum += R_h[u]/(c_u + eps s). Lost, until a step takes it."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            q_sum[i] += formulas.per_unit(arrived[i], cell[i], rule[0])
            lost[k] += arrived[i]


@_compiled
def rudder_cell(units, lanes, written, q_sum, r_g, lost):
    """R_g[t] = i_t g_t q_sum, no longer lost."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            value = written[i] * q_sum[i]
            r_g[i] = value
            lost[k] -= value


@_compiled
def lstm_relevance(op, s, lanes, weights, x, x_lanes, work, totals, rule, rudder, recurrent):
    """Both rules, last step first: the cell hands to g and to c_{t-1}, the map below g to x_t and h_{t-1}."""
    H, D, T = op.units, op.inputs, op.steps
    n = H * lanes
    lost, initial, share, share_c, zeros = totals
    one = rule[0] / rule[0]
    r_c, r_g, q, scratch = work, at(work, n), at(work, 2 * n), at(work, 3 * n)
    fill(n, r_c, one - one)
    for k in range(T - 1, -1, -1):
        t = T - 1 - k if op.reverse else k
        place = T - 1 - k if op.out_reverse else k
        z = at(s, (op.state + k * 4 * H) * lanes)
        arrives = op.sequence != 0 or k == T - 1
        above = at(s, (op.rel_out + (place * op.rel_out_step if op.sequence else 0)) * lanes)
        fill(lanes, share_c, one - one)
        if rudder:
            if arrives:
                rudder_arrival(H, lanes, at(z, 3 * n), above, r_c, lost, rule)
            rudder_cell(H, lanes, z, r_c, r_g, lost)
        else:
            if arrives:
                add(n, above, r_c)
            arras_cell(H, lanes, z, at(z, n), at(z, 3 * n), r_c, r_g, share_c, lost, rule)
            scale(lanes, share_c, formulas.inverse(one, 2 * H))
        fill(lanes, share, one - one)
        linear_rule(H, lanes, at(z, 2 * n), r_g, share_c, at(weights, op.bias), q, share, lost, rule)
        scale(lanes, share, formulas.inverse(one, D + H if recurrent else D))
        source, ld = input_of(op, t, s, lanes, x, x_lanes)
        onto = op.adds != 0 or (op.rel_src_step == 0 and k < T - 1 and T > 1)
        down = at(s, (op.rel_src + t * op.rel_src_step) * lanes)
        product(down, lanes, lanes, at(weights, op.rel_x), D, down, -1, q, lanes, H, q, lanes, 0,
                source, ld, share, SPREAD_ADD if onto else SPREAD)  # fmt: skip
        if recurrent:
            add(lanes, share_c, share)
        before = at(s, (op.out + (place + 1 if op.out_reverse else place - 1) * op.out_step) * lanes)
        if k == 0:  # c_0 = h_0 = 0: only the even shares reach them
            share_0 = share if recurrent else share_c
            for _ in range(H):
                add(lanes, share_0, initial)
        elif recurrent:
            product(r_c, lanes, lanes, at(weights, op.rel_h), H, r_c, -1, q, lanes, H, q, lanes, 0,
                    before, lanes, share, SPREAD_ADD)  # fmt: skip
        else:  # the path through h_{t-1} is left out: what it would have carried is lost
            product(scratch, lanes, lanes, at(weights, op.rel_h), H, scratch, -1, q, lanes, H, q, lanes, 0,
                    before, lanes, zeros, SPREAD)  # fmt: skip
            add_rows(H, lanes, scratch, lost)
            if not rudder:
                for j in range(H):
                    add(lanes, share_c, at(r_c, j * lanes))


# ---- Dense, merge, aggregate ----------------------------------------------------------------------------------------


@_compiled
def dense_forward(op, s, lanes, weights, x, x_lanes):
    """z = a W + b and its activation, step by step."""
    M = op.units
    for t in range(op.steps):
        source, ld = input_of(op, t, s, lanes, x, x_lanes)
        z, out = at(s, (op.state + t * M) * lanes), at(s, (op.out + t * M) * lanes)
        product(z, lanes, lanes, at(weights, op.w), M, z, -1, source, ld, op.inputs, z, lanes, 0, z, lanes, z, STORE)
        if op.activation == SOFTMAX:
            softmax(M, lanes, z, out)
        elif op.activation != LINEAR:
            activate(op.activation, M * lanes, z, out)


@_compiled
def dense_relevance(op, s, lanes, weights, x, x_lanes, work, totals, rule):
    """The linear rule, step by step."""
    M, K = op.units, op.inputs
    lost, _, share, _, zeros = totals
    one = rule[0] / rule[0]
    for t in range(op.steps):
        source, ld = input_of(op, t, s, lanes, x, x_lanes)
        fill(lanes, share, one - one)
        linear_rule(M, lanes, at(s, (op.state + t * M) * lanes), at(s, (op.rel_out + t * M) * lanes), zeros,
                    at(weights, op.bias), work, share, lost, rule)  # fmt: skip
        scale(lanes, share, formulas.inverse(one, K))
        down = at(s, (op.rel_src + t * op.rel_src_step) * lanes)
        onto = op.sequence != 0 and op.rel_src_step == 0 and t > 0
        product(down, lanes, lanes, at(weights, op.rel_x), K, down, -1, work, lanes, M, work, lanes, 0,
                source, ld, share, SPREAD_ADD if onto else SPREAD)  # fmt: skip


@_compiled
def merge_forward(op, s, lanes, half):
    """Both directions side by side, or their sum or average."""
    n = op.units * lanes
    for t in range(op.steps):
        one, other = at(s, (op.src + t * op.src_step) * lanes), at(s, (op.src2 + t * op.src_step) * lanes)
        out = at(s, (op.out + t * op.out_step) * lanes)
        copy(n, one, out)
        if op.how == CONCAT:
            copy(n, other, at(out, n))
        else:
            add(n, other, out)
            if op.how == AVERAGE:
                scale(n, out, half)


@_compiled
def merge_relevance(op, s, lanes, work, totals, rule, half):
    """Concat hands back what is each one's; sum and average are a linear rule with 2H lower units and no bias."""
    H = op.units
    n = H * lanes
    lost, _, share, _, _ = totals
    eps, handed, _ = rule
    weight = half if op.how == AVERAGE else half + half
    for t in range(op.steps):
        arrived = at(s, (op.rel_out + t * op.rel_out_step) * lanes)
        one, other = at(s, (op.rel_src + t * op.rel_src_step) * lanes), at(s, (op.rel_src2 + t * op.rel_src_step) * lanes)
        if op.how == CONCAT:
            copy(n, arrived, one)
            copy(n, at(arrived, n), other)
            continue
        z = at(s, (op.out + t * op.out_step) * lanes)
        a, b = at(s, (op.src + t * op.src_step) * lanes), at(s, (op.src2 + t * op.src_step) * lanes)
        fill(lanes, share, eps - eps)
        for j in range(H):
            for k in range(lanes):
                i = j * lanes + k
                q = formulas.per_unit(arrived[i], z[i], eps)
                work[i] = q * weight
                share[k] += formulas.signed(z[i], handed) * q
                lost[k] += formulas.signed(z[i], eps - handed) * q
        scale(lanes, share, formulas.inverse(half, H))
        for j in range(H):
            for k in range(lanes):
                i = j * lanes + k
                one[i] = a[i] * work[i] + share[k]
                other[i] = b[i] * work[i] + share[k]


@_compiled
def aggregate_relevance(op, s, lanes, work, lost, one):
    """What a lower recurrent layer gets: the average over steps, or the last step's, at its last step."""
    n = op.units * lanes
    relevance = at(s, op.rel_out * lanes)
    last = at(relevance, (op.steps - 1) * n)
    if op.how:  # what T - 1 of T parts carried is lost
        for t in range(op.steps - 1):
            add(n, at(relevance, t * n), last)
        scale(n, last, formulas.inverse(one, op.steps))
        for _ in range(op.steps - 1):
            add_rows(op.units, lanes, last, lost)
    else:
        add_rows((op.steps - 1) * op.units, lanes, relevance, lost)
    fill((op.steps - 1) * n, relevance, one - one)


# ---- the program --------------------------------------------------------------------------------------------------


@_compiled
def forward(operations, s, lanes, weights, zeros, x, x_lanes, half):
    """Bottom up."""
    for i in range(operations.size):
        op = operations[i]
        if op.kind == LSTM_OP:
            lstm_forward(op, s, lanes, weights, zeros, x, x_lanes)
        elif op.kind == DENSE_OP:
            dense_forward(op, s, lanes, weights, x, x_lanes)
        elif op.kind != AGGREGATE_OP:
            merge_forward(op, s, lanes, half)


@_compiled
def relevance(operations, s, lanes, weights, x, x_lanes, work, totals, rule, rudder, recurrent, half):
    """Top down."""
    for i in range(operations.size - 1, -1, -1):
        op = operations[i]
        if op.kind == LSTM_OP:
            lstm_relevance(op, s, lanes, weights, x, x_lanes, work, totals, rule, rudder, recurrent)
        elif op.kind == DENSE_OP:
            dense_relevance(op, s, lanes, weights, x, x_lanes, work, totals, rule)
        elif op.kind == AGGREGATE_OP:
            aggregate_relevance(op, s, lanes, work, totals[0], half + half)
        else:
            merge_relevance(op, s, lanes, work, totals, rule, half)
