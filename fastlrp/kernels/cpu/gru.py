"""A GRU on one tile: its step forward, the linear rule below its candidate, and gates and dz where gradients follow.

The loops of gradients are those of training and of the gradient rules, as in ``gates.py``. Where the reset gate works
before the product with U, that product stands between two stages of a step.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from fastlrp.kernels import formulas, gradients
from fastlrp.kernels.cpu.elementwise import activate, copy
from fastlrp.kernels.cpu.gates import slope, times
from fastlrp.kernels.lanes import at, distinct, fma
from fastlrp.kernels.program.instructions import RESET, SIGMOID, TANH, UPDATE, WHOLE
from fastlrp.kernels.target import compiled, merged

# ---- LRP ------------------------------------------------------------------------------------------------------------


@compiled
def read_past(units, lanes, tr, zh, past, into, into_lanes):
    """zh = x W + b + r*past; r takes the place of the past. ``into``, x W + b, may stand among the months."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            r = formulas.opened(tr[i])
            zh[i], past[i] = fma(r, past[i], into[j * into_lanes + k]), r


@compiled
def reset(n, tr, before, past):
    """past = r*h'."""
    distinct()
    for k in range(n):
        past[k] = formulas.gated(tr[k], before[k])


@compiled
def update(n, tz, kept, zh, before, h):
    """(1-z)*tanh(zh) and z*h', in the place of both gates, and their sum h."""
    distinct()
    for k in range(n):
        written, left = formulas.blended_tanh(tz[k], zh[k], before[k])
        tz[k], kept[k], h[k] = written, left, written + left


@compiled
def any_read_past(units, lanes, r, zh, past, into, into_lanes):
    """``read_past`` of gates that are activated already."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            i = j * lanes + k
            zh[i], past[i] = fma(r[i], past[i], into[j * into_lanes + k]), r[i]


@compiled
def any_update(n, z, kept, zh, before, h, signal):
    """``update`` of gates that are activated already."""
    one = type(h[0])(1)
    activate(signal, n, zh, h)
    for k in range(n):
        kept[k] = z[k] * before[k]
        z[k] = (one - z[k]) * h[k]
        h[k] = z[k] + kept[k]


@merged
def gru_cell_step(do, s, lanes, units, into, into_lanes):
    """Run GRU_CELL; ``into`` are the rows of x W + b of the candidate."""
    n, stage, usual = units * lanes, do.stage, do.activation == TANH and do.gate == SIGMOID
    z, before, h = at(s, do.z * lanes), at(s, do.before * lanes), at(s, do.h * lanes)
    zr, zh, past = at(z, n), at(z, 2 * n), at(z, 3 * n)
    if not usual and stage != UPDATE:
        activate(do.gate, 2 * n, z, z)
    if stage == WHOLE:
        if usual:
            read_past(units, lanes, zr, zh, past, into, into_lanes)
        else:
            any_read_past(units, lanes, zr, zh, past, into, into_lanes)
    elif stage == RESET:
        if usual:
            reset(n, zr, before, past)
        else:
            times(n, zr, before, past)
    if stage != RESET:
        if usual:
            update(n, z, zr, zh, before, h)
        else:
            any_update(n, z, zr, zh, before, h, do.activation)


@compiled
def reset_rule(units, lanes, z, gate, relevance, extra, bias, q, share, lost, rule, factor):
    """``linear_rule`` of a map with the bias b + gate*rb, where rb stands behind b; ``relevance`` becomes gate*q."""
    distinct()
    eps, handed, delta = rule
    for k in range(lanes):
        share[k] = eps - eps
    for j in range(units):
        b, rb = bias[j], bias[units + j]
        for k in range(lanes):
            i = j * lanes + k
            whole = formulas.reset_bias(b, gate[i], rb)
            value, shared, gone = formulas.linear_unit(relevance[i] + extra[k], z[i], whole, eps, handed, delta)
            q[i], relevance[i] = value, gate[i] * value
            share[k] += shared
            lost[k] += gone
    for k in range(lanes):
        share[k] *= factor


@compiled
def reset_left_out(units, lanes, upper, upper_lanes, z, gate, bias, q, lost):
    """lost += sum (z - upper - gate*bias) q: relevance that a left-out path behind the gate would carry."""
    distinct()
    for j in range(units):
        rb = bias[j]
        for k in range(lanes):
            i = j * lanes + k
            own = formulas.reset_bias(upper[j * upper_lanes + k], gate[i], rb)
            lost[k] += formulas.left_out(z[i], own, q[i])


# ---- gradients ------------------------------------------------------------------------------------------------------


@compiled
def standard_whole(n, zz, zr, zg, past, before, h):
    """All units of a step with tanh and sigmoid, reset after the product; values take the place of pre-activations."""
    distinct()
    for k in range(n):
        zz[k], zr[k], zg[k], h[k] = gradients.gru_gates(zz[k], zr[k], zg[k], past[k], before[k])


@compiled
def standard_whole_gradient(n, z, r, g, past, before, dh):
    """dz of a step takes the place of its values, and d past that of the past."""
    distinct()
    one = type(dh[0])(1)
    for k in range(n):
        gate = r[k]
        dz, dg, left = gradients.gru_update_gradient(z[k], g[k], before[k], dh[k])
        z[k], r[k], g[k] = dz, dg * past[k] * (gate * (one - gate)), dg
        past[k], dh[k] = dg * gate, left


@compiled
def any_whole(n, r, g, past):
    """The candidate's pre-activation, in the place of x W + b, of gates that are activated already."""
    distinct()
    for k in range(n):
        g[k] = fma(r[k], past[k], g[k])


@compiled
def new_state(n, z, g, before, h):
    """h = z*h' + (1-z)*g."""
    distinct()
    for k in range(n):
        h[k] = fma(z[k], before[k] - g[k], g[k])


@compiled
def any_update_gradient(n, z, g, before, dh, dz, dg):
    """The same for any activation, but for slopes: ``dz`` and ``dg`` apart from the values, which slopes need."""
    distinct()
    one = type(dh[0])(1)
    for k in range(n):
        dz[k], dg[k] = dh[k] * (before[k] - g[k]), dh[k] * (one - z[k])
        dh[k] *= z[k]


@compiled
def reset_gradient(n, r, before, d_reset, dh, dr):
    """From the gradient of r*h': that of r, but for its slope, and what h' gets through r."""
    distinct()
    for k in range(n):
        dr[k] = d_reset[k] * before[k]
        dh[k] = fma(d_reset[k], r[k], dh[k])


@merged
def gru_gates_step(do, back, s, lanes, n):
    """Run GRU_GATES, or GRU_GATES_GRADIENT if ``back``; ``n`` numbers in the rows of a gate."""
    z, before = at(s, do.z * lanes), at(s, do.before * lanes)
    r, g, past, stage = at(z, n), at(z, 2 * n), at(z, 3 * n), do.stage
    usual = do.activation == TANH and do.gate == SIGMOID and stage == WHOLE
    if back:
        dh, spare = at(s, do.dh * lanes), at(s, do.spare * lanes)
        dr, dg = at(spare, n), at(spare, 2 * n)
        if usual:
            standard_whole_gradient(n, z, r, g, past, before, dh)
        elif stage == RESET:
            reset_gradient(n, r, before, at(s, do.d_reset * lanes), dh, dr)
            slope(do.gate, n, r, dr)
            copy(n, dr, r)
        else:
            any_update_gradient(n, z, g, before, dh, spare, dg)
            slope(do.activation, n, g, dg)
            slope(do.gate, n, z, spare)
            copy(n, dg, g)
            copy(n, spare, z)
            if stage == WHOLE:
                times(n, g, past, dr)
                times(n, g, r, past)
                slope(do.gate, n, r, dr)
                copy(n, dr, r)
    else:
        h = at(s, do.h * lanes)
        if usual:
            standard_whole(n, z, r, g, past, before, h)
        else:
            if stage != UPDATE:
                activate(do.gate, 2 * n, z, z)
            if stage == RESET:
                times(n, r, before, past)
            else:
                if stage == WHOLE:
                    any_whole(n, r, g, past)
                activate(do.activation, n, g, g)
                new_state(n, z, g, before, h)
