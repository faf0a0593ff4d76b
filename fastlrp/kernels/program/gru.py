"""A GRU's steps as instructions: products and cells, oldest or newest step first."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlrp.kernels.program.instructions import (
    RESET,
    UPDATE,
    WHOLE,
    Array,
    At,
    Instruction,
    gru_cell,
    gru_gates,
    gru_gates_gradient,
    product,
)
from fastlrp.kernels.program.lstm import shared_gates
from fastlrp.kernels.program.rows import LOG2E, Rows
from fastlrp.kernels.program.walk import Pass, Walk
from fastlrp.model.layers import GRU


class Biases(NamedTuple):
    """Biases of W (3H,), to which the gates' biases of U are added, and the candidate's bias of U (H,)."""

    of_W: Array
    of_U: Array

    @classmethod
    def of(cls, layer: GRU) -> Biases:
        """A layer's biases; a missing one is zero."""
        H = layer.units
        if layer.b is None or layer.b.ndim == 1:
            return cls(np.zeros(3 * H) if layer.b is None else layer.b, np.zeros(H))
        of_W, of_U = layer.b
        return cls(of_W + np.concatenate([of_U[: 2 * H], np.zeros(H)]), of_U[2 * H :])


class _Weights(NamedTuple):
    """W (D, 3H), U (H, 3H), and both biases, as the forward pass multiplies them.

    ``usual``: whether the activations are tanh and sigmoid, and no gradient needs the gates. Gates (z, r) are then
    multiplied by -log2(e), as an LSTM's are.
    """

    W: Array
    U: Array
    b: Array
    rb: Array

    @classmethod
    def of(cls, layer: GRU, dtype: np.dtype[Any], *, gradient: bool) -> _Weights:
        """The weights of a layer."""
        H, (b, rb) = layer.units, Biases.of(layer)
        usual = (layer.activation, layer.recurrent_activation) == ("tanh", "sigmoid") and not gradient
        factor = np.repeat([-LOG2E, -LOG2E, 1.0], H) if usual else np.ones(3 * H)
        W, U, b = ((array * factor).astype(dtype) for array in (layer.W, layer.U, b))
        return cls(W, U, b, rb.astype(dtype))


class _Packed(NamedTuple):
    """Places of packed weights: of the gates z and r, of x_t and h_{t-1} together or apart; of the candidate likewise,
    where ``start`` is its past at h_0 = 0."""

    gates: int
    gates_x: int
    gates_past: int
    both: int
    x: int
    past: int
    start: int


def run_gru(
    walk: Walk, layer: GRU, below: Rows, out: Rows, *, reverse: bool, out_reverse: bool = False, adds: bool = False
) -> None:
    """Write one GRU, forward and back; ``adds``: whether the layer below already has relevance from another one."""
    H, rule = layer.units, walk.rule
    upper = rule is not None and rule.keeps_upper and not below.months
    gradient = rule is not None and rule.gradient
    weights = _Weights.of(layer, walk.dtype, gradient=gradient)
    fed = rule.feed(walk, weights.W, weights.b) if rule else None
    shared = shared_gates(walk, weights.W, weights.b) if below.months and not fed else -1
    step = (5 if upper else 4) * H if rule else 0
    states = walk.rows(walk.T * step if step else 4 * H)
    arrivals, spare = walk.arrived(out, reverse=out_reverse), walk.rows(H)
    p = Pass(layer, below, out, states, step, spare, upper, shared, reverse, out_reverse, adds, arrivals, fed)
    packed, write = _packed(walk, layer, p, weights), _gradient_step if gradient else _step
    h = walk.zeros
    for k in range(walk.T):
        before, h = h, p.h(k, walk.T)
        _gates(walk, p, packed, k, before)
        write(walk, layer, p, packed, k, before, h)
    if rule:
        if not adds:
            walk.without([p.read(k, walk.T) for k in range(arrivals.stop, walk.T)], below)
        rule.gru(walk, p)


def _packed(walk: Walk, layer: GRU, p: Pass, weights: _Weights) -> _Packed:
    """Pack what the steps multiply by: W and U side by side wherever one product will do."""
    H, (W, U, b, rb), matrix = layer.units, weights, walk.matrix
    gates, g = slice(0, 2 * H), slice(2 * H, 3 * H)
    apart = p.fed is not None or p.below.months
    both = -1 if apart else matrix(np.concatenate([W, U])[:, gates].T, b[gates])
    gates_x = -1 if apart else matrix(W[:, gates].T, b[gates])
    gates_past = matrix(U[:, gates].T) if apart else -1
    x = -1 if apart else matrix(W[:, g].T, b[g])
    past = matrix(U[:, g].T, rb if layer.reset_after else None)
    start = matrix(np.empty((H, 0)), rb) if layer.reset_after else -1
    joined = not (apart or layer.reset_after or p.upper)
    whole = matrix(np.concatenate([W, U])[:, g].T, b[g]) if joined else -1
    return _Packed(both, gates_x, gates_past, whole, x, past, start)


def _gates(walk: Walk, p: Pass, packed: _Packed, k: int, before: int) -> None:
    """Gates z and r before their activation; where X comes along the way from a baseline, x_t W_h + b_h, too."""
    H, D, emit, t, z = p.layer.units, p.layer.n_inputs, walk.forward.append, p.read(k, walk.T), p.state(k)
    depth = H if k else 0
    if p.fed or p.below.months:
        init: int | At = z if p.fed else At(p.shared, t)
        if p.fed:
            emit(p.fed.along(t, z))
        if k or not p.fed:
            past: dict[str, Any] = {"weights": packed.gates_past, "a": 0, "a_depth": 0, "b": before, "b_depth": depth}
            emit(product(2 * H, out=z, init=init, **past))
    else:
        weights = packed.gates if k else packed.gates_x
        emit(product(2 * H, out=z, weights=weights, a=p.below.place(t), a_depth=D, b=before, b_depth=depth))


def _candidate(walk: Walk, p: Pass, packed: _Packed, k: int, out: int) -> int | At:
    """x_t W_h + b_h; returns its place, which is ``out`` unless it stands among the months."""
    t = p.read(k, walk.T)
    if p.fed:
        return p.state(k) + 2 * p.layer.units
    if p.below.months:
        return At(p.shared + 2 * p.layer.units, t)
    x: dict[str, Any] = {"a": p.below.place(t), "a_depth": p.layer.n_inputs}
    walk.forward.append(product(p.layer.units, out=out, weights=packed.x, **x))
    return out


def _with_past(walk: Walk, p: Pass, packed: _Packed, k: int, init: int | At) -> None:
    """zh = ``init`` + (r*h_{t-1}) U_h."""
    H, z = p.layer.units, p.state(k)
    past: dict[str, Any] = {"a": 0, "a_depth": 0, "b": z + 3 * H, "b_depth": H if k else 0}
    walk.forward.append(product(H, out=z + 2 * H, weights=packed.past, init=init, **past))


def _past(walk: Walk, p: Pass, packed: _Packed, k: int, before: int) -> None:
    """h_{t-1} U_h and its bias, which the reset gate multiplies."""
    H, weights = p.layer.units, packed.past if k else packed.start
    depth = H if k else 0
    walk.forward.append(product(H, out=p.state(k) + 3 * H, weights=weights, a=0, a_depth=0, b=before, b_depth=depth))


def _step(walk: Walk, layer: GRU, p: Pass, packed: _Packed, k: int, before: int, h: int) -> None:
    """The candidate and the cell of the k-th step."""
    H, z, emit = layer.units, p.state(k), walk.forward.append
    cell: dict[str, Any] = {
        "z": z,
        "before": before,
        "h": h,
        "activation": layer.activation,
        "gate": layer.recurrent_activation,
    }
    alone = z + 4 * H if p.upper else p.cells
    if layer.reset_after:
        a = _candidate(walk, p, packed, k, alone)
        _past(walk, p, packed, k, before)
        emit(gru_cell(H, **cell, a=a, stage=WHOLE))
        return
    emit(gru_cell(H, **cell, stage=RESET))
    if packed.both >= 0 and k:
        x: dict[str, Any] = {"a": p.below.place(p.read(k, walk.T)), "a_depth": layer.n_inputs}
        emit(product(H, out=z + 2 * H, weights=packed.both, b=z + 3 * H, b_depth=H, **x))
    else:
        a = _candidate(walk, p, packed, k, alone if p.upper else z + 2 * H)
        if a != z + 2 * H:
            _with_past(walk, p, packed, k, a)
    emit(gru_cell(H, **cell, stage=UPDATE))


def _gradient_step(walk: Walk, layer: GRU, p: Pass, packed: _Packed, k: int, before: int, h: int) -> None:
    """The same, keeping all that gradients read."""
    H, z, emit = layer.units, p.state(k), walk.forward.append
    cell: dict[str, Any] = {
        "z": z,
        "before": before,
        "h": h,
        "activation": layer.activation,
        "gate": layer.recurrent_activation,
    }
    a = _candidate(walk, p, packed, k, z + 2 * H)
    if layer.reset_after:
        if a != z + 2 * H:  # copied from the months by a product of depth 0
            emit(product(H, out=z + 2 * H, weights=packed.start, a=0, a_depth=0, init=a))
        _past(walk, p, packed, k, before)
        emit(gru_gates(H, **cell, stage=WHOLE))
        return
    emit(gru_gates(H, **cell, stage=RESET))
    if k or a != z + 2 * H:
        _with_past(walk, p, packed, k, a)
    emit(gru_gates(H, **cell, stage=UPDATE))


# ---- gradients, of rules and of training ----------------------------------------------------------------------------


def gru_backward(
    units: int,
    how: tuple[str, str],
    *,
    reset_after: bool,
    z: int,
    before: int,
    dh: int,
    d_reset: int,
    spare: int,
    U: int,
) -> list[Instruction]:
    """Back through one step: values of gates in z become dz, and dh the part of h_{t-1}'s that passes no weight.

    ``how``: activation and recurrent activation; ``U``: place of U_h, packed for the way back.
    """
    of: dict[str, Any] = {"z": z, "before": before, "dh": dh, "spare": spare, "activation": how[0], "gate": how[1]}
    if reset_after:
        return [gru_gates_gradient(units, **of, d_reset=0, stage=WHOLE)]
    return [
        gru_gates_gradient(units, **of, d_reset=0, stage=UPDATE),
        product(units, out=d_reset, weights=U, a=z + 2 * units, a_depth=units),
        gru_gates_gradient(units, **of, d_reset=d_reset, stage=RESET),
    ]


def gru_to_past(units: int, *, reset_after: bool, z: int, dh: int, U: int) -> Instruction:
    """dh += U dz of the gates z and r and, where the reset gate works after it, of the product with U_h."""
    last: dict[str, Any] = {"b": z + 3 * units, "b_depth": units} if reset_after else {}
    return product(units, out=dh, weights=U, a=z, a_depth=2 * units, init=dh, **last)
