"""An LSTM's cell as gradients need it, on one tile: gates kept apart on the way forward, dz and dc on the way back.

Training and the gradient rules run these; the rules of LRP need less, and have a faster cell (``tile.py``).
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from fastlrp.kernels import gradients
from fastlrp.kernels.cpu.elementwise import activate, add, copy
from fastlrp.kernels.lanes import at, distinct, fma
from fastlrp.kernels.program.instructions import HARD_SIGMOID, HARD_SIGMOID_KERAS2, RELU, SIGMOID, TANH
from fastlrp.kernels.target import compiled, merged


@compiled
def slope(code, n, out, gradient):
    """gradient *= the activation's derivative, which follows from its output."""
    distinct()
    one = type(out[0])(1)
    zero = one - one
    if code == TANH:
        for k in range(n):
            gradient[k] *= fma(-out[k], out[k], one)
    elif code == SIGMOID:
        for k in range(n):
            gradient[k] *= out[k] * (one - out[k])
    elif code == RELU:
        for k in range(n):
            gradient[k] = gradient[k] if out[k] > zero else zero
    elif code in (HARD_SIGMOID, HARD_SIGMOID_KERAS2):
        steep = one / type(one)(6) if code == HARD_SIGMOID else type(one)(0.2)
        for k in range(n):
            gradient[k] = gradient[k] * steep if zero < out[k] < one else zero


@compiled
def times(n, a, b, out):
    """out = a b."""
    distinct()
    for k in range(n):
        out[k] = a[k] * b[k]


@compiled
def standard_gates(n, zi, zf, zg, zo, before, cell, squashed, h):
    """All units of a step with tanh and sigmoid; i, f, g, o take the place of their pre-activations."""
    distinct()
    for k in range(n):
        i, f, g, o, c, t, out = gradients.gates(zi[k], zf[k], zg[k], zo[k], before[k])
        zi[k], zf[k], zg[k], zo[k], cell[k], squashed[k], h[k] = i, f, g, o, c, t, out


@compiled
def standard_gates_gradient(n, zi, zf, zg, zo, before, squashed, dh, dc):
    """dz of a step takes the place of its gates; dc becomes that of the step before."""
    distinct()
    for k in range(n):
        i, f, g, o, c, t = zi[k], zf[k], zg[k], zo[k], before[k], squashed[k]
        di, df, dg, do, left = gradients.gates_gradient(i, f, g, o, c, t, dh[k], dc[k])
        zi[k], zf[k], zg[k], zo[k], dc[k] = di, df, dg, do, left


@compiled
def any_gates(n, zi, zf, zg, zo, before, cell, squashed, h, signal, gate):
    """``standard_gates`` with other activations, one pass each."""
    activate(gate, 2 * n, zi, zi)  # f follows i
    activate(signal, n, zg, zg)
    activate(gate, n, zo, zo)
    for k in range(n):
        cell[k] = zf[k] * before[k] + zi[k] * zg[k]
    activate(signal, n, cell, squashed)
    times(n, zo, squashed, h)


@compiled
def any_gates_gradient(n, zi, zf, zg, zo, before, squashed, dh, dc, signal, gate, spare):
    """``standard_gates_gradient`` with other activations: ``spare`` collects dz of the four gates, since each needs the
    others."""
    one = type(dh[0])(1)
    di, df, dg, do = spare, at(spare, n), at(spare, 2 * n), at(spare, 3 * n)
    times(n, dh, zo, do)
    slope(signal, n, squashed, do)
    add(n, do, dc, one)
    times(n, dc, zg, di)
    times(n, dc, before, df)
    times(n, dc, zi, dg)
    times(n, dh, squashed, do)
    for k in range(n):
        dc[k] *= zf[k]
    slope(gate, 2 * n, zi, di)
    slope(signal, n, zg, dg)
    slope(gate, n, zo, do)
    copy(4 * n, spare, zi)


@merged
def gates_step(do, back, s, lanes, n):
    """Run GATES, or GATES_GRADIENT if ``back``; ``n`` numbers in the rows of a gate."""
    z, before, tanh_c = at(s, do.z * lanes), at(s, do.before * lanes), at(s, do.tanh_c * lanes)
    zf, zg, zo = at(z, n), at(z, 2 * n), at(z, 3 * n)
    usual = do.activation == TANH and do.gate == SIGMOID
    if back:
        dh, dc = at(s, do.dh * lanes), at(s, do.dc * lanes)
        if usual:
            standard_gates_gradient(n, z, zf, zg, zo, before, tanh_c, dh, dc)
        else:
            any_gates_gradient(n, z, zf, zg, zo, before, tanh_c, dh, dc, do.activation, do.gate,
                               at(s, do.spare * lanes))  # fmt: skip
    else:
        c, h = at(s, do.c * lanes), at(s, do.h * lanes)
        if usual:
            standard_gates(n, z, zf, zg, zo, before, c, tanh_c, h)
        else:
            any_gates(n, z, zf, zg, zo, before, c, tanh_c, h, do.activation, do.gate)
