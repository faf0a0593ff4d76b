"""One tile of samples in training: a program's instructions, each a loop over rows of lanes, and the loss.

The layout is that of ``cpu/tile.py``: row r of a tile begins ``r*lanes`` after its start. The backward pass leaves dz
where the gates stood; when all steps are done, ``contract`` sums them into the gradient.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels import gradients
from fastlrp.kernels.cpu.product import product
from fastlrp.kernels.cpu.tile import activate, add, copy, fill
from fastlrp.kernels.lanes import at, distinct, fma
from fastlrp.kernels.program.instructions import (
    ACTIVATE,
    ADD,
    CONTRACT,
    DRAW,
    FILL,
    GATES,
    GATES_GRADIENT,
    HARD_SIGMOID,
    HARD_SIGMOID_KERAS2,
    MOVE,
    PRODUCT,
    RELU,
    SIGMOID,
    SLOPE,
    STORE,
    TANH,
    TIMES,
)
from fastlrp.kernels.target import compiled, merged
from fastlrp.kernels.training.contraction import contract

#: Losses, each the mean over a sample's outputs.
SQUARED_ERROR, ABSOLUTE_ERROR, HUBER = range(3)


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


@compiled
def draw(rows, lanes, first, key, threshold, factor, mask):
    """Dropout's mask: ``factor`` or 0, from nothing but the key, the row and the sample's place in its batch."""
    zero = factor - factor
    for r in range(rows):
        number = gradients.scattered(np.uint64(key) + np.uint64(r))
        low, high = np.uint32(number & np.uint64(0xFFFFFFFF)), np.uint32(number >> np.uint64(32))
        for k in range(lanes):
            drawn = gradients.mixed(np.uint32(gradients.mixed(np.uint32(np.uint32(first + k) ^ low)) ^ high))
            mask[r * lanes + k] = factor if np.int64(drawn) >= threshold else zero


@compiled
def loss_gradient(units, lanes, output, y, weight, kind, delta, factor, gradient):
    """The sum over samples of weight times loss, in float64; ``gradient`` becomes d(factor sum)/d(output)."""
    total, one = 0.0, type(factor)(1)
    for j in range(units):
        for k in range(lanes):
            p = j * lanes + k
            d = output[p] - y[p]
            size = abs(d)
            if kind == SQUARED_ERROR:
                loss, steep = d * d, d + d
            elif kind == HUBER and size <= delta:
                loss, steep = d * d / (one + one), d
            else:  # far from the target in Huber's loss: a straight line that touches the parabola
                sign = one if d > 0 else -one if d < 0 else d
                width = delta if kind == HUBER else one
                loss = width * (size - width / (one + one)) if kind == HUBER else size
                steep = sign * width
            if weight[k] != 0:  # 0: samples that pad a tile or that a user left out, whatever they predict
                total += np.float64(weight[k]) * np.float64(loss)
                gradient[p] = weight[k] * factor * steep
            else:
                gradient[p] = one - one
    return total / units


@compiled
def move(n, source, out, factor):
    """out = factor * source."""
    distinct()
    for k in range(n):
        out[k] = factor * source[k]


@merged
def execute(program, s, lanes, packed, gradient, onto, first, key):
    """Run a program on a tile. ``first`` is the tile's first sample in its batch; with ``key`` 0 nothing is dropped."""
    number = type(s[0])
    for i in range(program.size):
        do = program[i]
        kind, n = do.kind, do.units * lanes
        out, a = at(s, do.out * lanes), at(s, do.a * lanes)
        if kind == PRODUCT:
            product(out, lanes, lanes, at(packed, do.weights), do.units, at(s, max(do.init, 0) * lanes),
                    lanes if do.init >= 0 else -1, a, lanes, do.a_depth, at(s, do.b * lanes), lanes, do.b_depth,
                    out, lanes, out, STORE)  # fmt: skip
        elif kind == CONTRACT:
            contract(at(gradient, do.place), do.units, do.columns, a, do.a_step * lanes, at(s, do.b * lanes),
                     do.b_step * lanes, lanes, do.steps, onto)  # fmt: skip
        elif kind in (GATES, GATES_GRADIENT):
            z, before, tanh_c = at(s, do.z * lanes), at(s, do.before * lanes), at(s, do.tanh_c * lanes)
            zf, zg, zo = at(z, n), at(z, 2 * n), at(z, 3 * n)
            usual = do.activation == TANH and do.gate == SIGMOID
            if kind == GATES:
                c, h = at(s, do.c * lanes), at(s, do.h * lanes)
                if usual:
                    standard_gates(n, z, zf, zg, zo, before, c, tanh_c, h)
                else:
                    any_gates(n, z, zf, zg, zo, before, c, tanh_c, h, do.activation, do.gate)
            else:
                dh, dc = at(s, do.dh * lanes), at(s, do.dc * lanes)
                if usual:
                    standard_gates_gradient(n, z, zf, zg, zo, before, tanh_c, dh, dc)
                else:
                    any_gates_gradient(n, z, zf, zg, zo, before, tanh_c, dh, dc, do.activation, do.gate,
                                       at(s, do.spare * lanes))  # fmt: skip
        elif kind == ACTIVATE:
            activate(do.activation, n, a, out)
        elif kind == SLOPE:
            slope(do.activation, n, a, out)
        elif kind == FILL:
            fill(n, out, number(0))
        elif kind == MOVE:
            move(n, a, out, number(do.factor))
        elif kind == ADD:
            add(n, a, out, number(do.factor))
        elif kind == TIMES:
            times(n, a, at(s, do.b * lanes), out)
        elif kind == DRAW:
            if key == 0:
                fill(n, out, number(1))
            else:
                draw(do.units, lanes, first, gradients.scattered(key + np.uint64(do.stream)), do.threshold,
                     number(do.factor), out)  # fmt: skip
