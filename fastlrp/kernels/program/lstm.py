"""An LSTM's steps as instructions: products and cells, oldest or newest step first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fastlrp.kernels.program.instructions import (
    Array,
    At,
    activate,
    add,
    cell,
    copy,
    gates,
    lstm_step,
    multiply,
    product,
    products,
)
from fastlrp.kernels.program.rows import LOG2E, Rows
from fastlrp.kernels.program.walk import Pass, Walk
from fastlrp.model.layers import LSTM, Recurrent


class Weights(NamedTuple):
    """W (D, 4H), U (H, 4H) and b (4H,) as the forward pass multiplies them.

    ``usual``: whether the activations are tanh and sigmoid, and no gradient needs the gates. Gates that a sigmoid opens
    (i, f, o) are then multiplied by -log2(e), which saves the cell multiplications for each gate of each sample.
    """

    W: Array
    U: Array
    b: Array
    usual: bool

    @classmethod
    def of(cls, layer: LSTM, dtype: np.dtype[Any], *, gradient: bool = False) -> Weights:
        """The weights of a layer."""
        H = layer.units
        usual = (layer.activation, layer.recurrent_activation) == ("tanh", "sigmoid") and not gradient
        factor = np.repeat([-LOG2E, -LOG2E, 1.0, -LOG2E], H) if usual else np.ones(4 * H)
        b = np.zeros(4 * H) if layer.b is None else layer.b
        W, U, b = ((array * factor).astype(dtype) for array in (layer.W, layer.U, b))
        return cls(W, U, b, usual)


class _Gates(NamedTuple):
    """Some of an LSTM's gates, side by side: the places of their packed weights."""

    first: int
    units: int
    alone: int  # of x_t
    both: int  # of x_t and h_{t-1}
    past: int  # of h_{t-1}, where x_t's part is computed separately


def run_lstm(
    walk: Walk, layer: LSTM, below: Rows, out: Rows, *, reverse: bool, out_reverse: bool = False, adds: bool = False
) -> None:
    """Write one LSTM, forward and back; ``adds``: whether the layer below already has relevance from another one."""
    H, rule = layer.units, walk.rule
    ahead = walk.ask.layout.ahead and not below.months and (below.step, below.kept) == (layer.n_inputs, walk.T)
    upper = rule is not None and rule.keeps_upper and not below.months and not ahead
    gradient = rule is not None and rule.gradient
    weights = Weights.of(layer, walk.dtype, gradient=gradient)
    fed = rule.feed(walk, weights.W, weights.b) if rule else None
    shared = -1
    if not fed and (below.months or ahead):
        shared = shared_gates(walk, weights.W, weights.b) if below.months else _gates_ahead(walk, below, weights)
    # Only what relevance reads again has rows at each step: a state soon outgrows the cache.
    step = (6 if gradient else 4 if upper else 3) * H if rule else 0
    states = walk.rows(walk.T * step if step else 3 * H)
    arrivals, cells = walk.arrived(out, reverse=out_reverse), walk.rows(2 * H)
    p = Pass(layer, below, out, states, step, cells, upper, shared, reverse, out_reverse, adds, arrivals, fed)
    pack_gates = walk.ask.layout.pack_gates
    if gradient:
        _products_and_gates(walk, p, weights)
    elif pack_gates and weights.usual:
        _steps(walk, p, weights, pack_gates)
    else:
        _products_and_cells(walk, p, weights)
    if rule:
        if not adds:
            walk.without([p.read(k, walk.T) for k in range(arrivals.stop, walk.T)], below)
        rule.lstm(walk, p)


def shared_gates(walk: Walk, W: Array, b: Array) -> int:
    """Write x_t W + b once per month, where windows share months; returns its first row."""
    (depth, units), row = W.shape, walk.n_month_rows
    walk.n_month_rows += units
    packed = walk.matrix(W.T, b)
    walk.before.append(product(units, out=row, weights=packed, a=0, a_depth=depth))
    return row


def _gates_ahead(walk: Walk, below: Rows, weights: Weights) -> int:
    """Write x_t W + b of all steps at once, which reads W once for several; returns its first row."""
    (depth, units), row = weights.W.shape, walk.rows(walk.T * weights.W.shape[1])
    packed = walk.matrix(weights.W.T, weights.b)
    walk.forward.append(
        products(units, out=row, weights=packed, a=below.row(0), a_depth=depth, stride=below.step, steps=walk.T)
    )
    return row


def _products_and_cells(walk: Walk, p: Pass, weights: Weights) -> None:
    """Write, for each step, the gates, then the cell; c takes the place of the gate o."""
    H, T = p.layer.units, walk.T
    ends = [0, 2 * H, 3 * H, 4 * H] if p.upper else [0, 3 * H, 4 * H]
    parts = [_gates(walk, p, weights, first, end) for first, end in pairwise(ends)]
    h, before = walk.zeros, walk.zeros
    for k in range(T):
        z, c = p.state(k), p.cells + k % 2 * H
        for part in parts:
            _gate_products(walk, p, part, k, h, c if part.first == 3 * H else z + part.first)
        h = p.out.row(p.written(k, T))
        if weights.usual:
            walk.forward.append(cell(H, z=z, before=before, c=c, h=h))
        else:
            _any_cell(walk, p.layer, z, before, c, h)
        before = c


def _products_and_gates(walk: Walk, p: Pass, weights: Weights) -> None:
    """Write, for each step, the gates and the cell, and keep all that gradients read."""
    H, T, every = p.layer.units, walk.T, _gates(walk, p, weights, 0, 4 * p.layer.units)
    h = before = walk.zeros
    for k in range(T):
        z, c = p.state(k), p.cell(k)
        _gate_products(walk, p, every, k, h, z)
        h = p.out.row(p.written(k, T))
        walk.forward.append(
            gates(H, z=z, before=before, c=c, tanh_c=c + H, h=h, activation=p.layer.activation,
                  gate=p.layer.recurrent_activation)
        )  # fmt: skip
        before = c


def _gates(walk: Walk, p: Pass, weights: Weights, first: int, end: int) -> _Gates:
    """Columns ``first`` to ``end`` of W, U and b, packed as the products of these gates need them."""
    columns, units = slice(first, end), end - first
    W, U, b = weights.W[:, columns], weights.U[:, columns], weights.b[columns]
    if p.fed or p.shared >= 0:
        return _Gates(first, units, -1, -1, walk.matrix(U.T))
    past = walk.matrix(U.T) if p.upper and first == 2 * p.layer.units else -1
    return _Gates(first, units, walk.matrix(W.T, b), walk.matrix(np.concatenate([W, U]).T, b), past)


def _gate_products(walk: Walk, p: Pass, part: _Gates, k: int, h: int, out: int) -> None:
    """x_t W + h_{t-1} U + b of some gates, in one product wherever its first part is not needed alone; h_0 = 0."""
    H, D, emit = p.layer.units, p.layer.n_inputs, walk.forward.append
    t, depth = p.read(k, walk.T), H if k else 0
    if p.fed:
        emit(p.fed.along(t, out))
        if k:
            emit(product(part.units, out=out, weights=part.past, a=0, a_depth=0, b=h, b_depth=depth, init=out))
    elif p.shared >= 0:
        init = p.ahead(t, part.first)
        emit(product(part.units, out=out, weights=part.past, a=0, a_depth=0, b=h, b_depth=depth, init=init))
    elif p.upper and k and part.first == 2 * H:
        upper = out + H
        emit(product(part.units, out=upper, weights=part.alone, a=p.below.place(t), a_depth=D))
        emit(product(part.units, out=out, weights=part.past, a=0, a_depth=0, b=h, b_depth=depth, init=upper))
    else:
        weights = part.both if k else part.alone
        emit(product(part.units, out=out, weights=weights, a=p.below.place(t), a_depth=D, b=h, b_depth=depth))


def _any_cell(walk: Walk, layer: Recurrent, z: int, before: int, c: int, h: int) -> None:
    """The cell for activations other than the usual ones: i*g and f*c' take the place of their gates."""
    H, emit, squashed = layer.units, walk.forward.append, walk.work[0]
    signal, gate = layer.activation, layer.recurrent_activation
    emit(activate(2 * H, a=z, out=z, activation=gate))
    emit(activate(H, a=z + 2 * H, out=h, activation=signal))
    emit(multiply(H, a=h, out=z))
    emit(multiply(H, a=before, out=z + H))
    emit(activate(H, a=c, out=h, activation=gate))
    emit(copy(H, a=z, out=c))
    emit(add(H, a=z + H, out=c))
    emit(activate(H, a=c, out=squashed, activation=signal))
    emit(multiply(H, a=squashed, out=h))


def _steps(
    walk: Walk, p: Pass, weights: Weights, pack_gates: Callable[[Array, Array | None, np.dtype[Any]], Array]
) -> None:
    """Write the forward pass for a machine whose product also computes the cell."""
    H, T = p.layer.units, walk.T
    W, U, b, _ = weights
    matrix, bias = (U, None) if p.below.months else (np.concatenate([W, U]), b)
    packed = walk.keep(pack_gates(matrix.T, bias, walk.dtype))
    h_before = before = walk.zeros
    for k in range(T):
        t = p.read(k, T)
        c, h = p.cells + k % 2 * H, p.out.row(p.written(k, T))
        x: dict[str, Any] = {"a": p.below.place(t), "a_depth": p.layer.n_inputs}
        walk.forward.append(
            lstm_step(
                H,
                weights=packed,
                z=p.state(k),
                before=before,
                c=c,
                h=h,
                h_before=h_before,
                b_depth=H if k else 0,
                keeps_upper=p.upper,
                **({"init": At(p.shared, t)} if p.below.months else x),
            )
        )
        h_before, before = h, c
