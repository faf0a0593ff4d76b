"""How the gradient rules walk back: the chain rule, by the instructions that training uses, in inference's programs.

Rows of relevance hold gradients of the score here, until the map that reads X multiplies them by X, or by its distance
from a baseline. Integrated gradients (Sundararajan et al. 2017) average the gradient over nodes on the straight line
from the baseline to X. At x' = baseline + part (x - baseline) the pre-activation of a map that reads X is::

    x' W + b = (baseline W + b) + part (x - baseline) W

and the gradient by x', W dz, is linear in dz. So both products with W, most of the arithmetic where features outnumber
units, are made once, before and after all nodes: a node adds a part of the one, and sums dz for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from fastlrp.kernels.program.gru import gru_backward, gru_to_past
from fastlrp.kernels.program.instructions import (
    SPREAD,
    SPREAD_ADD,
    Array,
    Instruction,
    add,
    along,
    copy,
    curve_slope,
    fill,
    gates_gradient,
    multiply,
    product,
    scale,
    slope,
    sum_rows,
)
from fastlrp.kernels.program.rows import Rows
from fastlrp.kernels.program.walk import Beside, Fed, Map, Meeting, Pass, RuleProgram, Walk
from fastlrp.model.layers import CURVES, GRU, Dense


class _Gradient(RuleProgram):
    """Down through every layer by the chain rule."""

    @property
    def gradient(self) -> bool:
        """It reads gates, cells and slopes."""
        return True

    def lstm(self, walk: Walk, p: Pass) -> None:
        """Back through time: dz of a step takes the place of its gates, and h_{t-1} gets U dz."""
        H, T, emit = p.layer.units, walk.T, walk.down.append
        W, U = (walk.matrix(walk.cast(weights)) for weights in (p.layer.W, p.layer.U))
        (dc, dh, _), spare = walk.work, walk.rows(4 * H)
        emit(fill(H, out=dc))
        for k in range(p.arrivals.stop - 1, -1, -1):
            dz, t, arrived = p.state(k), p.read(k, T), p.out.relevance(p.written(k, T))
            last = k == p.arrivals.stop - 1
            if not last:
                init = arrived if k in p.arrivals else None
                emit(product(H, out=dh, weights=U, a=p.state(k + 1), a_depth=4 * H, init=init))
            emit(
                gates_gradient(H, z=dz, before=p.cell(k - 1) if k else walk.zeros, tanh_c=p.cell(k) + H,
                               dh=arrived if last else dh, dc=dc, spare=spare,
                               activation=p.layer.activation, gate=p.layer.recurrent_activation)
            )  # fmt: skip
            adds = p.adds_at(k)
            self.linear(walk, Map(4 * H, p.layer.n_inputs, dz, dz, -1, W, -1, p.below, t, adds, dz, p.fed))

    def gru(self, walk: Walk, p: Pass) -> None:
        """The same through a GRU, whose h_{t-1} also gets z dh."""
        layer = cast(GRU, p.layer)
        H, T, emit = layer.units, walk.T, walk.down.append
        W, U = walk.matrix(walk.cast(layer.W)), walk.cast(layer.U)
        to_gates = walk.matrix(U if layer.reset_after else U[:, : 2 * H])
        to_reset = -1 if layer.reset_after else walk.matrix(U[:, 2 * H :])
        how, after = (layer.activation, layer.recurrent_activation), {"reset_after": layer.reset_after}
        (dh, d_reset, _), spare = walk.work, walk.rows(3 * H)
        emit(fill(H, out=dh))
        for k in range(p.arrivals.stop - 1, -1, -1):
            z, t = p.state(k), p.read(k, T)
            if k in p.arrivals:
                emit(add(H, a=p.out.relevance(p.written(k, T)), out=dh))
            before = p.h(k - 1, T) if k else walk.zeros
            walk.down.extend(
                gru_backward(H, how, **after, z=z, before=before, dh=dh, d_reset=d_reset, spare=spare, U=to_reset)
            )
            m = Map(3 * H, layer.n_inputs, z, z, -1, W, -1, p.below, t, p.adds_at(k), z, p.fed)
            self.linear(walk, m)
            if k:
                emit(gru_to_past(H, **after, z=z, dh=dh, U=to_gates))

    def dense(self, walk: Walk, layer: Dense, steps: Sequence[Map]) -> None:
        """The slope of the activation, which the last layer's score is taken before, then W dz."""
        for m in steps:
            if layer.activation != "linear" and not walk.last:
                walk.down.append(_slope(layer, m))
            self.linear(walk, m)

    def linear(self, walk: Walk, m: Map) -> None:
        """W dz; of the map that reads X, times X or its distance from the baseline."""
        into, dz, emit = m.below.relevance(m.t), m.relevance, walk.down.append
        if not walk.first:
            init = into if m.adds else None
            emit(product(m.below.width, out=into, weights=m.weights, a=dz, a_depth=m.units, init=init))
            return
        if m.fed is not None:
            emit(add(m.units, a=dz, out=m.fed.sum(m.t)))
            dz, emit = m.fed.sum(m.t), walk.end.append
        emit(
            product(m.below.width, out=into, weights=m.weights, a=dz, a_depth=m.units, mul=walk.away.place(m.t),
                    share=walk.zeros, mode=SPREAD_ADD if m.adds else SPREAD)
        )  # fmt: skip

    def beside(self, walk: Walk, b: Beside) -> None:
        """The gradient at static features, times these."""
        super().beside(walk, b)
        walk.down.append(multiply(b.width, a=b.at, out=b.rel))

    def merge(self, walk: Walk, units: int, at: Meeting, *, weight: float) -> None:
        """Both directions get the whole gradient, or half of it."""
        for into in (at.rel_one, at.rel_two):
            walk.down.append(copy(units, a=at.rel, out=into))
            if weight != 1.0:
                walk.down.append(scale(units, out=into, factor=weight))


def _slope(layer: Dense, m: Map) -> Instruction:
    """The derivative of a layer's activation, from its output or, of a curve, from its pre-activation."""
    if layer.activation in CURVES:
        return curve_slope(m.units, a=m.z, out=m.relevance, activation=layer.activation, alpha=layer.alpha)
    return slope(m.units, a=m.out, out=m.relevance, activation=layer.activation)


@dataclass(frozen=True)
class GradientXInputProgram(_Gradient):
    """The gradient at X, times X."""

    @property
    def nodes(self) -> Array:
        """X alone."""
        return np.ones((1, 2))

    def finish(self, walk: Walk, width: int) -> None:
        """What does not add up is unattributed: the score, which stands there, less all relevance."""
        walk.end += [
            fill(1, out=walk.share),
            sum_rows(width, a=walk.away.rel, out=walk.share),
            add(1, a=walk.share, out=walk.lost, factor=-1.0),
        ]


@dataclass(frozen=True)
class IntegratedProgram(_Gradient):
    """The gradient averaged over the way from a baseline to X, times the way."""

    n_steps: int
    baseline: tuple[tuple[float, ...], ...] | None
    static: tuple[float, ...] | None = None

    @property
    def nodes(self) -> Array:
        """The baseline, Gauss-Legendre nodes, and X; the ends are for their scores alone.

        The rule is exact for polynomials of degree 2n - 1; midpoints, for lines.
        """
        at, weights = np.polynomial.legendre.leggauss(self.n_steps)
        return np.array([(0.0, 0.0), *zip((1 + at) / 2, weights / 2, strict=True), (1.0, 0.0)])

    @property
    def mixes(self) -> bool:
        """Baselines, and what a map adds to them."""
        return self.baseline is not None or self.static is not None

    def depart(self, walk: Walk, x: Rows) -> Rows:
        """Rows of x_t - baseline_t, from a product with the identity, which reads a panel's months, too."""
        if self.baseline is None:
            return x
        D = x.width
        away = Rows(walk.rows(walk.T * D), D, x.rel, x.rel_step, D, sequence=True, kept=walk.T)
        less = [walk.matrix(np.eye(D), -np.array(row)) for row in self.baseline]
        for t in range(walk.T):
            weights = less[t % len(less)]
            walk.start.append(product(D, out=away.row(t), weights=weights, a=x.place(t), a_depth=D))
        return away

    def beside(self, walk: Walk, b: Beside) -> None:
        """Static features go their own way from a baseline; their gradients are summed, and multiplied by the way."""
        S, away, sums = b.width, walk.rows(b.width), walk.rows(b.width)
        base = np.zeros(S) if self.static is None else np.array(self.static)
        a, less = b.place, walk.matrix(np.eye(S), -base)
        walk.start += [product(S, out=away, weights=less, a=a, a_depth=S), fill(S, out=sums)]
        walk.forward.append(along(S, a=away, bias=walk.keep(base), out=b.at))
        walk.down.append(add(S, a=b.arrived, out=sums))
        walk.end += [copy(S, a=sums, out=b.rel), multiply(S, a=away, out=b.rel)]

    def feed(self, walk: Walk, W: Array, b: Array) -> Fed | None:
        """What the whole way adds to a map that reads X, once for all nodes, and rows for the sum of dz."""
        if not walk.first:
            return None
        D, units = W.shape
        rows = [np.zeros(D)] if self.baseline is None else [np.array(row) for row in self.baseline]
        added, sums, up = walk.rows(walk.T * units), walk.rows(walk.T * units), walk.matrix(W.T)
        for t in range(walk.T):
            walk.start.append(product(units, out=added + t * units, weights=up, a=walk.away.place(t), a_depth=D))
        walk.start.append(fill(walk.T * units, out=sums))
        return Fed(units, added, sums, tuple(walk.keep(row @ W + b) for row in rows))
