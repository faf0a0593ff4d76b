"""A fully connected layer; on a sequence it works step by step."""

from __future__ import annotations

from fastlrp.kernels.program.instructions import Instruction, activate, curve, product
from fastlrp.kernels.program.rows import Rows
from fastlrp.kernels.program.walk import Map, Walk
from fastlrp.model.layers import CURVES, Dense


def dense(walk: Walk, layer: Dense, below: Rows) -> tuple[Rows, int]:
    """Write the layer, forward and back; returns the place of its output, and that of its pre-activation."""
    steps = walk.T if below.sequence else 1
    M, K = layer.n_outputs, layer.n_inputs
    W, b = walk.cast(layer.W), walk.cast(layer.b, M)
    up, down, bias = walk.matrix(W.T, b), walk.matrix(W) if walk.rule else 0, walk.keep(b)
    fed = walk.rule.feed(walk, W, b) if walk.rule else None
    pre, linear = walk.rows(steps * M), layer.activation == "linear"
    step = M if below.sequence else 0
    at = pre if linear else walk.rows(steps * M)
    out = Rows(at, step, walk.rows(steps * M) if walk.rule else 0, step, M, below.sequence, steps)
    for t in range(steps):
        z = pre + t * M
        walk.forward.append(fed.along(t, z) if fed else product(M, out=z, weights=up, a=below.place(t), a_depth=K))
        if not linear:
            walk.forward.append(activated(layer, M, z, out.row(t)))
    if walk.rule:
        onto = below.sequence and below.rel_step == 0  # steps are summed
        some = walk.arrivals if below.sequence else range(1)
        if walk.first:  # nobody reads what other layers get at other steps
            walk.without([t for t in range(steps) if t not in some], below)
        maps = [
            Map(M, K, pre + t * M, out.relevance(t), walk.zeros, down, bias, below, t, onto and t > some.start,
                out.row(t), fed)
            for t in some
        ]  # fmt: skip
        walk.rule.dense(walk, layer, maps)
    return out, pre


def activated(layer: Dense, units: int, z: int, out: int) -> Instruction:
    """The activation of a layer."""
    if layer.activation in CURVES:
        return curve(units, a=z, out=out, activation=layer.activation, alpha=layer.alpha)
    return activate(units, a=z, out=out, activation=layer.activation)
