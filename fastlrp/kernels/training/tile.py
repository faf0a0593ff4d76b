"""One tile of samples in training: a program's instructions, each a loop over rows of lanes, and the loss.

The layout is that of ``cpu/tile.py``: row r of a tile begins ``r*lanes`` after its start. The backward pass leaves dz
where the gates stood; when all steps are done, ``contract`` sums them into the gradient.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels import gradients
from fastlrp.kernels.cpu.curves import curve, curve_slope
from fastlrp.kernels.cpu.elementwise import activate, add, fill
from fastlrp.kernels.cpu.gates import gates_step, slope, times
from fastlrp.kernels.cpu.gru import gru_gates_step
from fastlrp.kernels.cpu.product import product
from fastlrp.kernels.lanes import at, distinct, most
from fastlrp.kernels.program.instructions import (
    ACTIVATE,
    ADD,
    BLEND,
    CONTRACT,
    CURVE,
    CURVE_SLOPE,
    DIFFERS,
    DRAW,
    FILL,
    GATES,
    GATES_GRADIENT,
    GRU_GATES,
    GRU_GATES_GRADIENT,
    MOVE,
    PRODUCT,
    SLOPE,
    STORE,
    TIMES,
)
from fastlrp.kernels.target import compiled, merged
from fastlrp.kernels.training.contraction import contract
from fastlrp.kernels.training.threads import atomic_read

#: Losses, each the mean over a sample's outputs.
SQUARED_ERROR, ABSOLUTE_ERROR, HUBER = range(3)


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


@compiled
def differs(units, lanes, rows, value, out):
    """out (one row) = 1 where any of the rows is not the value, else 0."""
    distinct()
    one = type(out[0])(1)
    for k in range(lanes):
        out[k] = one - one
    for j in range(units):
        for k in range(lanes):
            out[k] = one if np.float32(rows[j * lanes + k]) != value else out[k]


@compiled
def blend(units, lanes, other, live, out):
    """out = other where live (one row) is 0."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            p = j * lanes + k
            out[p] = out[p] if live[k] != 0 else other[p]


@merged
def execute(program, s, lanes, packed, gradient, onto, first, key, stop):
    """Run a program on a tile. ``first`` is the tile's first sample in its batch; with ``key`` 0 nothing is dropped.
    Once ``stop`` is set it ends between two instructions: a tile of a large network takes minutes."""
    number = type(s[0])
    for i in range(program.size):
        if atomic_read(stop) != 0:
            break
        do = program[i]
        kind, n = do.kind, do.units * lanes
        out, a = at(s, do.out * lanes), at(s, do.a * lanes)
        if kind == PRODUCT:
            product(out, lanes, lanes, at(packed, do.weights), do.units, at(s, most(do.init, 0) * lanes),
                    lanes if do.init >= 0 else -1, a, lanes, do.a_depth, at(s, do.b * lanes), lanes, do.b_depth,
                    out, lanes, out, STORE)  # fmt: skip
        elif kind == CONTRACT:
            contract(at(gradient, do.place), most(do.stride, do.columns), do.units, do.columns, a, do.a_step * lanes,
                     at(s, do.b * lanes), do.b_step * lanes, lanes, do.steps, onto, stop)  # fmt: skip
        elif kind in (GATES, GATES_GRADIENT):
            gates_step(do, kind == GATES_GRADIENT, s, lanes, n)
        elif kind in (GRU_GATES, GRU_GATES_GRADIENT):
            gru_gates_step(do, kind == GRU_GATES_GRADIENT, s, lanes, n)
        elif kind == ACTIVATE:
            activate(do.activation, n, a, out)
        elif kind == SLOPE:
            slope(do.activation, n, a, out)
        elif kind == CURVE:
            curve(do.activation, n, a, out, number(do.factor))
        elif kind == CURVE_SLOPE:
            curve_slope(do.activation, n, a, out, number(do.factor))
        elif kind == FILL:
            fill(n, out, number(0))
        elif kind == MOVE:
            move(n, a, out, number(do.factor))
        elif kind == ADD:
            add(n, a, out, number(do.factor))
        elif kind == TIMES:
            times(n, a, at(s, do.b * lanes), out)
        elif kind == DIFFERS:
            differs(do.units, lanes, a, np.float32(do.factor), out)
        elif kind == BLEND:
            blend(do.units, lanes, a, at(s, do.b * lanes), out)
        elif kind == DRAW:
            if key == 0:
                fill(n, out, number(1))
            else:
                draw(do.units, lanes, first, gradients.scattered(key + np.uint64(do.stream)), do.threshold,
                     number(do.factor), out)  # fmt: skip
