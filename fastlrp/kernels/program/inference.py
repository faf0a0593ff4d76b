"""A network made ready to predict and explain: its program, its packed weights, and its places in a tile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.kernels.program.bidirectional import bidirectional
from fastlrp.kernels.program.dense import dense
from fastlrp.kernels.program.instructions import Array, assemble
from fastlrp.kernels.program.join import join
from fastlrp.kernels.program.packing import Packing, mixes, packing_of, shape_of
from fastlrp.kernels.program.recurrent import recurrent
from fastlrp.kernels.program.rows import BLOCKS, Layout, Rows
from fastlrp.kernels.program.walk import Ask, Walk
from fastlrp.model.chain import Chain
from fastlrp.model.layers import WEIGHTLESS, Bidirectional, Dense, Layer, Recurrent
from fastlrp.rules import Aggregate, Rule, program_of


@dataclass(frozen=True, eq=False)
class Plan:
    """A network made ready for one dtype, number of steps, rule and kind of input.

    Attributes
    ----------
    before, start, forward, relevance, end : record arrays of instructions
        ``before`` is run once on the months that a span of windows shares; ``forward`` and ``relevance`` once, or at
        every node of a gradient's, between ``start`` and ``end``.
    nodes : array (node, 2): where gradients are taken, and their weights; no node for rules that hand down the score
    weights : array, packed
    rows, month_rows : numbers of rows of a tile's scratch, and of a span's months (X, then x_t W + b of each LSTM on X)
    x, rel_x : first rows of X (step, feature) and of its relevance (step, feature), or (feature) where steps are summed
    output, pre, top : first rows of the prediction, of the last layer's pre-activation, and of its relevance
    lost, initial, zeros : rows of relevance handed to nobody, of relevance that reaches h_0 and c_0, and of ``n_zeros``
        zeros
    bad : row that is NaN where a window misses a value
    n_features : columns of X, which are D + S where there are S static features
    n_outputs : numbers of a prediction, those of all steps one after the other where the network predicts at each
    shape : of a sample's relevance: (step, feature), or (feature,) where steps are summed; with static features
        (width,), theirs behind all others
    explains : whether there is relevance
    """

    before: Array
    start: Array
    forward: Array
    relevance: Array
    end: Array
    nodes: Array
    weights: Array
    rows: int
    month_rows: int
    x: int
    rel_x: int
    output: int
    pre: int
    top: int
    lost: int
    initial: int
    zeros: int
    n_zeros: int
    bad: int
    steps: int
    n_features: int
    n_outputs: int
    shape: tuple[int, ...]
    reduced: bool
    explains: bool

    @property
    def nbytes(self) -> int:
        """Bytes of its programs and weights."""
        programs = (self.before, self.start, self.forward, self.relevance, self.end)
        return sum(part.nbytes for part in (*programs, self.weights))

    @property
    def width(self) -> int:
        """Number of relevance values per sample."""
        return math.prod(self.shape)


def make_plan(
    net: Chain,
    steps: int,
    dtype: npt.DTypeLike,
    *,
    rule: Rule | None = None,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    shared: bool = False,
    layout: Layout = BLOCKS,
    kept: bool = True,
    at_step: int | None = None,
) -> Plan:
    """The plan of a network, made once and kept with it.

    ``shared``: whether its windows are a panel's, and share their months. ``kept``: False for one of many networks of
    the same shape: only its weights are packed, anew each time, in a twentieth of the time of a plan. ``at_step``: the
    step that is explained, 0 to T - 1, of a network that predicts at each.
    """
    program = None if rule is None else program_of(rule)
    ask = Ask(steps, np.dtype(dtype), program, aggregate, reduced, shared, layout, at_step if program else None)
    plan = net._plans.get(ask)
    if plan is None and not kept:
        apart = mixes(net) or (program is not None and program.mixes)
        return _plan(net, ask) if apart else _plan_of_many(net, ask)
    if plan is None:
        plan = _plan(net, ask)
        keep_plan(net, ask, plan)
    return plan


def keep_plan(net: Chain, key: Any, plan: Any) -> None:
    """Keep a plan, or what has ``nbytes`` of one, with its network, and forget the oldest of too many."""
    _remember(net._plans, key, plan, max(FEWEST_PLANS, PLAN_BYTES // plan.nbytes))


#: Plans that a network keeps, the last ones: so many bytes of the last one's size, and some of whatever size.
PLAN_BYTES, FEWEST_PLANS = 1 << 26, 4
#: Shapes of networks of which there are many, with a plan and how it packs weights; at most so many, the last ones.
_shapes: dict[Any, tuple[Plan, Packing]] = {}
MOST_SHAPES = 16


def _remember(known: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """Keep a value, and forget the oldest of more than ``most``; other threads may, too."""
    known[key] = value
    for oldest in list(known)[:-most]:
        known.pop(oldest, None)


def _plan_of_many(net: Chain, ask: Ask) -> Plan:
    key = (shape_of(net), ask)
    known = _shapes.get(key)  # another thread may forget it
    if known is None:
        exact = ask._replace(dtype=np.dtype(np.float64))
        known = _plan(net, ask), packing_of(net, lambda one: _plan(one, exact).weights)
        _remember(_shapes, key, known, MOST_SHAPES)
    plan, packing = known
    return replace(plan, weights=packing.pack(net).astype(ask.dtype))


def _plan(net: Chain, ask: Ask) -> Plan:
    """Walk up the network for the forward pass; each layer writes its own way back."""
    T, D, S = ask.steps, net.n_features, net.n_static
    weighted = [layer for layer in net.layers if not isinstance(layer, WEIGHTLESS)]
    walk = Walk(ask, max(layer.n_outputs for layer in weighted), D + S if ask.shared else 0, len(weighted) + (S > 0))
    x, width = 0 if ask.shared else walk.rows(T * (D + S)), (1 if ask.reduced else T) * D
    rel_x = walk.rows(width + S) if ask.rule else 0
    below = Rows(x, D + S, rel_x, 0 if ask.reduced else D, D, sequence=True, kept=T, months=ask.shared)
    static = Rows(x + D, D + S, rel_x + width, 0, S, sequence=False, kept=T, months=ask.shared)
    joins = sum(not isinstance(layer, WEIGHTLESS) for layer in net.layers[: net.join]) if S else -1
    if ask.rule:
        walk.away = ask.rule.depart(walk, below)
    pre = 0
    top = max((i for i, layer in enumerate(weighted) if not isinstance(layer, Dense)), default=-1)
    for i, (layer, arrivals) in enumerate(zip(weighted, _arrivals(weighted, ask), strict=True)):
        if i == joins:
            below = join(walk, below, static)
        walk.back.append([])
        walk.arrivals, walk.uppermost = arrivals, i == top
        if isinstance(layer, Recurrent):
            below = recurrent(walk, layer, below)
            pre = below.at
        elif isinstance(layer, Bidirectional):
            below = bidirectional(walk, layer, below)
            pre = below.at
        else:
            below, pre = dense(walk, layer, below)
    if ask.rule:
        ask.rule.finish(walk, width + S)
    relevance = [instruction for layer_ in reversed(walk.back) for instruction in layer_]
    nodes = (ask.rule.nodes if ask.rule else np.empty((0, 2))).astype(ask.dtype)
    before, start, forward, back, end = (
        assemble(program, ask.layout.kinds, rows=rows, month_rows=walk.n_month_rows, weights=walk.n_weights)
        for program, rows in (
            (walk.before, walk.n_month_rows),  # the only program whose rows all belong to the months
            (walk.start, walk.n_rows),
            (walk.forward, walk.n_rows),
            (relevance, walk.n_rows),
            (walk.end, walk.n_rows),
        )
    )
    outputs = net.n_outputs * (T if net.sequence else 1)
    return Plan(
        before, start, forward, back, end, nodes, walk.weights(), walk.n_rows, walk.n_month_rows, x, rel_x,
        below.at, pre, below.rel, walk.lost, walk.initial, walk.zeros, walk.widest, walk.bad, T, D + S, outputs,
        net.relevance_shape(T, reduced=ask.reduced), ask.reduced, ask.rule is not None,
    )  # fmt: skip


def _arrivals(layers: Sequence[Layer], ask: Ask) -> list[range]:
    """The steps of each layer's output that get relevance, where it is a sequence, from the step that is explained
    down: a recurrent layer hands on to all steps that it read before."""
    every = range(ask.steps)
    found, here = [], every if ask.at_step is None else range(ask.at_step, ask.at_step + 1)
    for layer in reversed(layers):
        found.append(here)
        if isinstance(layer, Dense):
            continue
        if isinstance(layer, Recurrent) and layer.return_sequences:
            last = here.stop
            here = range(ask.steps - last, ask.steps) if layer.go_backwards else range(last)
        else:
            here = every
    return found[::-1]
