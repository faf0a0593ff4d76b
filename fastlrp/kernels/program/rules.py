"""How each rule walks back through a network: what it needs from the forward pass, and what it emits.

A rule is two objects: the value that a user chooses (``fastlrp/rules.py``: parameters, checked, with citation), and the
``RuleProgram`` here that writes instructions for it. To add one, register both::

    register(MyRule, lambda rule: MyProgram())

A rule whose instructions exist already needs nothing else; a new instruction needs its constructor in
``instructions.py``, its formula, and a branch in each machine. ``tests/kernels/test_third_rule.py`` adds one from
outside. Rules that follow gradients are in ``gradients.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from fastlrp.gradient_rules import GradientXInput, IntegratedGradients
from fastlrp.kernels.program.gradients import GradientXInputProgram, IntegratedProgram
from fastlrp.kernels.program.gru import Biases
from fastlrp.kernels.program.instructions import (
    SPREAD_ADD,
    At,
    Instruction,
    add,
    arras_cell,
    fill,
    left_out,
    linear_rule,
    merge_rule,
    product,
    reset_left_out,
    reset_rule,
    rudder_arrival,
    rudder_cell,
)
from fastlrp.kernels.program.walk import Map, Meeting, Pass, RuleProgram, Walk
from fastlrp.model.layers import GRU
from fastlrp.rules import Arras, Rudder, register


class _Epsilon(RuleProgram):
    """Rules that hand relevance through linear maps, those inside an LSTM included, by the epsilon rule."""

    #: Whether relevance goes on through h_{t-1}.
    recurrent: bool

    @abstractmethod
    def arrival(self, walk: Walk, units: int, state: int, arrived: int) -> None:
        """Hand the relevance that h of one step has from the layer above to the cell."""

    @abstractmethod
    def cell(self, walk: Walk, units: int, state: int) -> None:
        """Relevance of the cell to the signal g, and to the cell of the step before."""

    def linear(self, walk: Walk, m: Map) -> None:
        """The epsilon rule: q of the units, then a * (W q) and even shares for the inputs."""
        q = walk.work[2]
        walk.down.append(
            linear_rule(m.units, z=m.z, relevance=m.relevance, extra=m.extra, bias=m.bias, q=q, share=walk.share,
                        inputs=m.inputs)
        )  # fmt: skip
        walk.spread(m.below, m.t, weights=m.weights, q=q, depth=m.units, adds=m.adds)

    def merge(self, walk: Walk, units: int, at: Meeting, *, weight: float) -> None:
        """The epsilon rule with 2H inputs and no bias."""
        q, no_bias, emit = walk.work[2], walk.keep(np.zeros(units)), walk.down.append
        emit(
            linear_rule(units, z=at.out, relevance=at.rel, extra=walk.zeros, bias=no_bias, q=q, share=walk.share,
                        inputs=2 * units)
        )  # fmt: skip
        for part, into in ((at.one, at.rel_one), (at.two, at.rel_two)):
            emit(merge_rule(units, a=part, q=q, share=walk.share, out=into, factor=weight))

    def lstm(self, walk: Walk, p: Pass) -> None:
        """The cell hands relevance to g and c_{t-1}; the map below g hands it to x_t and, in a recurrent rule, to
        h_{t-1}."""
        H, D, T = p.layer.units, p.layer.n_inputs, walk.T
        g = slice(2 * H, 3 * H)
        W, bias = walk.matrix(walk.cast(p.layer.W)[:, g]), walk.keep(walk.cast(p.layer.b, 4 * H)[g])
        U = walk.matrix(walk.cast(p.layer.U)[:, g]) if self.recurrent else -1
        r_c, r_g, _ = walk.work
        walk.down.append(fill(H, out=r_c))
        walk.down.append(fill(1, out=walk.share_c))
        for k in range(p.arrivals.stop - 1, -1, -1):
            z, t = p.state(k), p.read(k, T)
            if k in p.arrivals:
                self.arrival(walk, H, z, p.out.relevance(p.written(k, T)))
            self.cell(walk, H, z)
            inputs = D + H if self.recurrent else D
            m = Map(H, inputs, z + 2 * H, r_g, walk.share_c, W, bias, p.below, t, p.adds_at(k), -1, None)
            self.linear(walk, m)
            self._past(walk, p, k, U)

    def _past(self, walk: Walk, p: Pass, k: int, U: int) -> None:
        """A step's relevance to h_{t-1} and, evenly, to every c_{t-1}; at step 1 it goes to the initial state."""
        H, T, q = p.layer.units, walk.T, walk.work[2]
        # without the path, the relevance that h_{t-1} U_g, which is zg less x_t W_g + b_g, would carry is lost
        zg = p.state(k) + 2 * H
        ahead = p.ahead(p.read(k, T), 2 * H)
        upper = zg + H if ahead is None else ahead
        h = p.h(k - 1, T) if k else walk.zeros
        self.past(walk, H, k, U, q=q, mul=h, lost=left_out(H, upper=upper, z=zg, q=q))

    def past(self, walk: Walk, units: int, k: int, U: int, *, q: int, mul: int, lost: Instruction) -> None:
        """A step's relevance to the state of the step before: ``mul`` times (U q), and even shares; where that path is
        left out, the instruction ``lost`` counts what it would carry."""
        H, emit = units, walk.down.append
        if self.recurrent:
            emit(add(1, a=walk.share_c, out=walk.share))
        share = walk.share if self.recurrent else walk.share_c
        if k == 0:  # c_0 = h_0 = 0: only even shares reach them
            emit(add(1, a=share, out=walk.initial, factor=float(H)))
        elif self.recurrent:
            emit(product(H, out=walk.work[0], weights=U, a=q, a_depth=H, mul=mul, share=share, mode=SPREAD_ADD))
        else:
            emit(lost)
            self.share_evenly(walk, H)

    def share_evenly(self, walk: Walk, units: int) -> None:
        """Add the even share of the cell's rule to every c_{t-1}, where no product hands it on."""
        for j in range(units):
            walk.down.append(add(1, a=walk.share_c, out=walk.work[0] + j))


@dataclass(frozen=True)
class ArrasProgram(_Epsilon):
    """Gates get nothing, signals get all (Arras et al. 2017, 2019)."""

    recurrent: bool

    @property
    def keeps_h(self) -> bool:
        """The path through h_{t-1} multiplies by it."""
        return self.recurrent

    @property
    def keeps_upper(self) -> bool:
        """Without that path its part of zg is lost, and must be known."""
        return not self.recurrent

    def arrival(self, walk: Walk, units: int, state: int, arrived: int) -> None:
        """Through o*tanh(c): the gate o gets nothing."""
        walk.down.append(add(units, a=arrived, out=walk.work[0]))

    def cell(self, walk: Walk, units: int, state: int) -> None:
        """The linear rule on c_t = f*c_{t-1} + i*g."""
        r_c, r_g, _ = walk.work
        walk.down.append(arras_cell(units, state=state, r_c=r_c, r_g=r_g, share=walk.share_c))

    def gru(self, walk: Walk, p: Pass) -> None:
        """The gates z and r get nothing: h_t = z*h_{t-1} + (1-z)*g is a cell whose state is h itself, and the map below
        the candidate g reads h_{t-1} through the reset gate, which stands at its value."""
        layer = cast(GRU, p.layer)
        H, T, g = layer.units, walk.T, slice(2 * layer.units, None)
        biases = Biases.of(layer)
        W, U = walk.matrix(walk.cast(layer.W)[:, g]), walk.matrix(walk.cast(layer.U)[:, g]) if self.recurrent else -1
        bias = walk.keep(np.concatenate([biases.of_W[g], *[biases.of_U] * layer.reset_after]))
        inputs = layer.n_inputs + (H if self.recurrent else 0)
        r_h, r_g, q = walk.work
        walk.down.append(fill(H, out=r_h))
        for k in range(p.arrivals.stop - 1, -1, -1):
            state, t = p.state(k), p.read(k, T)
            zh, last = state + 2 * H, state + 3 * H  # and r, or r*h_{t-1}
            upper = At(p.shared + 2 * H, t) if p.below.months else state + 4 * H
            if k in p.arrivals:
                walk.down.append(add(H, a=p.out.relevance(p.written(k, T)), out=r_h))
            self.cell(walk, H, state)
            m = Map(H, inputs, zh, r_g, walk.share_c, W, bias, p.below, t, p.adds_at(k), -1, None)
            if not layer.reset_after:
                self.linear(walk, m)
                self.past(walk, H, k, U, q=q, mul=last, lost=left_out(H, upper=upper, z=zh, q=q))
                continue
            walk.down.append(
                reset_rule(H, z=zh, reset=last, relevance=r_g, extra=walk.share_c, bias=bias, q=q, share=walk.share,
                           inputs=inputs)
            )  # fmt: skip
            walk.spread(p.below, t, weights=W, q=q, depth=H, adds=m.adds)
            lost = reset_left_out(H, upper=upper, z=zh, reset=last, bias=bias + H, q=q)
            self.past(walk, H, k, U, q=r_g, mul=p.h(k - 1, T) if k else walk.zeros, lost=lost)


@dataclass(frozen=True)
class RudderProgram(_Epsilon):
    """No discount by later forget gates (Arjona-Medina et al. 2019, A8.4.2)."""

    recurrent: bool = field(default=False, init=False)

    @property
    def keeps_upper(self) -> bool:
        """The path through h_{t-1} is left out."""
        return True

    def arrival(self, walk: Walk, units: int, state: int, arrived: int) -> None:
        """Each step's cell takes part in proportion to what it holds; the sum stands in the place of R_c."""
        walk.down.append(rudder_arrival(units, state=state, arrived=arrived, q_sum=walk.work[0]))

    def cell(self, walk: Walk, units: int, state: int) -> None:
        """i_t g_t times that sum."""
        q_sum, r_g, _ = walk.work
        walk.down.append(rudder_cell(units, state=state, q_sum=q_sum, r_g=r_g))

    def share_evenly(self, walk: Walk, units: int) -> None:
        """Nothing: the cell's rule has no even share."""


register(Arras, lambda rule: ArrasProgram(rule.recurrent))
register(Rudder, lambda rule: RudderProgram())
register(GradientXInput, lambda rule: GradientXInputProgram())
register(IntegratedGradients, lambda rule: IntegratedProgram(rule.n_steps, rule.rows, rule.static))
