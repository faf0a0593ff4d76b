"""The walk up a network that writes its program, layer by layer, and the methods by which rules write the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastlrp.kernels.program.instructions import (
    SPREAD,
    SPREAD_ADD,
    Array,
    At,
    Instruction,
    add,
    along,
    copy,
    fill,
    product,
    scale,
    sum_rows,
)
from fastlrp.kernels.program.rows import LINE_BYTES, Layout, Rows
from fastlrp.model.layers import GRU, Dense, Recurrent
from fastlrp.rules import Aggregate


class Ask(NamedTuple):
    """All that shapes a program besides the network; the key under which plans are kept.

    Attributes
    ----------
    steps : T
    dtype : of weights and rows
    rule : how relevance walks back, or None for predictions alone
    aggregate, reduced : as ``explain`` takes them
    shared : whether windows are a panel's, and share their months
    layout : of the machine
    at_step : the step that is explained, of a network that predicts at each
    """

    steps: int
    dtype: np.dtype[Any]
    rule: RuleProgram | None
    aggregate: Aggregate
    reduced: bool
    shared: bool
    layout: Layout
    at_step: int | None = None


@dataclass
class Walk:
    """Rows and weights handed out so far, and the instructions written.

    Attributes
    ----------
    before : run once on the months that a span of windows shares
    forward : in order
    back : one list per layer, each in order; the last layer runs first
    start, end : run once, before the forward pass and after the way back, which gradients repeat at several nodes
    away : X, or its distance from a baseline: what gradients are multiplied by
    arrivals : the steps of the present layer's output that get relevance, of a sequence; rows of others are not written
    uppermost : whether no recurrent layer stands above the present one
    lost, initial, share, share_c, bad : single rows: relevance handed to nobody; relevance that arrived at h_0 and c_0;
        even shares of the present map and of the present cell; NaN where a window is missing
    zeros : as many rows of zeros as the widest layer has units
    work : three times as many rows, for r_c, r_g and q
    """

    ask: Ask
    widest: int
    n_month_rows: int
    n_layers: int
    before: list[Instruction] = field(default_factory=list)
    forward: list[Instruction] = field(default_factory=list)
    back: list[list[Instruction]] = field(default_factory=list)
    start: list[Instruction] = field(default_factory=list)
    end: list[Instruction] = field(default_factory=list)
    away: Rows = field(init=False)
    arrivals: range = field(init=False)
    uppermost: bool = False
    packed: list[Array] = field(default_factory=list)
    n_weights: int = 0
    n_rows: int = 0

    def __post_init__(self) -> None:
        self.T, self.dtype, self.rule = self.ask.steps, self.ask.dtype, self.ask.rule
        self.lost, self.initial, self.share, self.share_c, self.bad = (self.rows(1) for _ in range(5))
        self.arrivals = range(self.T)
        self.zeros = self.rows(self.widest)
        self.work = [self.rows(self.widest) for _ in range(3)]

    # ---- rows and weights

    def rows(self, n: int) -> int:
        """The first of n new rows."""
        self.n_rows += n
        return self.n_rows - n

    def keep(self, array: Array) -> int:
        """Add an array to the weights; returns its place, a multiple of what the machine loads at once."""
        flat, at = np.asarray(array, self.dtype).ravel(), self.n_weights
        self.packed.append(np.concatenate([flat, np.zeros(-flat.size % self.ask.layout.align, self.dtype)]))
        self.n_weights += self.packed[-1].size
        return at

    def matrix(self, matrix: Array, bias: Array | None = None) -> int:
        """Add a matrix to the weights, packed for a product; returns its place."""
        return self.keep(self.ask.layout.pack(matrix, bias, self.dtype))

    def weights(self) -> Array:
        """All packed arrays, from the start of a cache line on."""
        size = self.n_weights * self.dtype.itemsize
        memory = np.empty(size + LINE_BYTES, np.uint8)
        skip = -memory.ctypes.data % LINE_BYTES
        whole: Array = np.concatenate(self.packed, out=memory[skip : skip + size].view(self.dtype))
        return whole

    def cast(self, array: Array | None, size: int = 0) -> Array:
        """Weights in the plan's dtype; zeros for a bias that a layer does not have."""
        return np.zeros(size, self.dtype) if array is None else array.astype(self.dtype)

    def output(self, width: int, *, sequence: bool, kept: int) -> Rows:
        """Rows for an output that keeps ``kept`` steps, and for its relevance, where a rule will need them."""
        at = self.rows(kept * width)
        rel = self.rows((self.T if sequence else 1) * width) if self.rule else 0
        return Rows(at, width, rel, width if sequence else 0, width, sequence, kept)

    def kept(self, sequence: bool, cell: Recurrent) -> int:
        """Number of steps that keep their h: all if the layer above or the rule asks for them; else one, or two where
        a step is written while the one before is still read, as a GRU's is."""
        gru = isinstance(cell, GRU)
        every = sequence or (self.rule is not None and (self.rule.keeps_h or (gru and self.rule.gradient)))
        return self.T if every else 2 if gru or self.ask.layout.pack_gates else 1

    # ---- what several layers write

    @property
    def down(self) -> list[Instruction]:
        """The present layer's way back."""
        return self.back[-1]

    @property
    def first(self) -> bool:
        """Whether the present layer reads X."""
        return len(self.back) == 1

    @property
    def last(self) -> bool:
        """Whether the present layer's pre-activation is the score."""
        return len(self.back) == self.n_layers

    def spread(self, below: Rows, t: int, *, weights: int, q: int, depth: int, adds: bool) -> None:
        """a * (W q) + share for the inputs of a linear map at step t."""
        self.down.append(
            product(
                below.width,
                out=below.relevance(t),
                weights=weights,
                a=q,
                a_depth=depth,
                mul=below.place(t),
                share=self.share,
                mode=SPREAD_ADD if adds else SPREAD,
            )
        )

    def arrived(self, out: Rows, *, reverse: bool) -> range:
        """The steps of the present layer's output, in its order of reading, that get relevance from above."""
        some = self.arrivals if out.sequence else range(self.T - 1, self.T)
        return range(self.T - some.stop, self.T - some.start) if reverse else some

    def without(self, steps: Iterable[int], below: Rows) -> None:
        """Steps of a sequence below that get no relevance from the present layer, the first to write there; where steps
        are summed, there is nothing to write."""
        if below.rel_step:
            self.down.extend(fill(below.width, out=below.relevance(t)) for t in steps)

    def aggregated(self, out: Rows) -> None:
        """Hand an output's relevance to the layer as ``aggregate`` says: as it is, or, at the last step, the average
        over steps or the most recent step's; what the uppermost recurrent layer gets is never aggregated."""
        if self.rule is None or not out.sequence or self.ask.aggregate == "sequence" or self.uppermost:
            return
        W, T, emit = out.width, self.T, self.down.append
        last = out.relevance(T - 1)
        if self.ask.aggregate:
            for t in range(T - 1):
                emit(add(W, a=out.relevance(t), out=last))
            emit(scale(W, out=last, factor=1 / T))
            for _ in range(T - 1):  # the average is one of T equal parts; the others are lost
                emit(sum_rows(W, a=last, out=self.lost))
        else:
            emit(sum_rows((T - 1) * W, a=out.rel, out=self.lost))
        emit(fill((T - 1) * W, out=out.rel))


class Fed(NamedTuple):
    """A map that reads X on its way from a baseline, step by step: the first rows of what the whole way adds to its
    pre-activation and of its dz, summed over nodes; and places of the pre-activation at the baseline, one where steps
    do not differ."""

    units: int
    added: int
    sums: int
    biases: tuple[int, ...]

    def along(self, t: int, out: int) -> Instruction:
        """The pre-activation at step t."""
        return along(self.units, a=self.added + t * self.units, bias=self.biases[t % len(self.biases)], out=out)

    def sum(self, t: int) -> int:
        """The first row of the sum of dz at step t."""
        return self.sums + t * self.units


class Map(NamedTuple):
    """A linear map at one step, on its way back: the places of its pre-activation, relevance, weights and inputs.

    ``inputs``: number of units that share evenly, which may exceed those of ``below`` (h_{t-1} besides x_t).
    ``extra``: a row of relevance that each unit has besides its own. ``adds``: whether inputs have relevance already.
    ``out``: its activated output. ``fed``: the way of X, where it reads X and a rule follows that way.
    """

    units: int
    inputs: int
    z: int
    relevance: int
    extra: int
    weights: int
    bias: int
    below: Rows
    t: int
    adds: bool
    out: int
    fed: Fed | None


class Pass(NamedTuple):
    """One LSTM or GRU on its way through the program."""

    layer: Recurrent
    below: Rows
    out: Rows
    states: int  # first row of its state; at each step: i*g, f*c', zg, and x_t W_g + b_g if ``upper``; or see ``cell``,
    # and for a GRU ``gru_cell``: (1-z)*candidate, z*h', zh, r or r*h', and x_t W_h + b_h if ``upper``
    step: int  # rows from step to step of the state; 0 where nobody asks for it later
    cells: int  # first row of c, this step's and the last one's in turn; of a GRU, of x_t W_h + b_h
    upper: bool  # x_t W_g + b_g has rows there
    shared: int  # first row of x_t W + b, among the months or of all steps; -1 where each step computes its own
    reverse: bool
    out_reverse: bool
    adds: bool
    arrivals: range  # its steps whose h gets relevance from above: there the way back begins
    fed: Fed | None = None

    def ahead(self, t: int, first: int) -> int | At | None:
        """x_t W + b of the gates from column ``first`` on, where it was computed before the steps."""
        if self.below.months:
            return At(self.shared + first, t)
        return None if self.shared < 0 else self.shared + t * 4 * self.layer.units + first

    def cell(self, k: int) -> int:
        """The first row of the k-th step's c where gradients are followed: its state is i, f, g, o, c, tanh(c)."""
        return self.state(k) + 4 * self.layer.units

    def state(self, k: int) -> int:
        """The first row of the state of the k-th step."""
        return self.states + k * self.step

    def read(self, k: int, T: int) -> int:
        """The step of X that the k-th step reads."""
        return T - 1 - k if self.reverse else k

    def written(self, k: int, T: int) -> int:
        """The step of the output that the k-th step writes."""
        return T - 1 - k if self.out_reverse else k

    def adds_at(self, k: int) -> bool:
        """Whether the input of the k-th step has relevance when that step's comes: steps are summed, newest first."""
        return self.adds or (self.below.rel_step == 0 and k < self.arrivals.stop - 1)

    def h(self, k: int, T: int) -> int:
        """The first row of the k-th step's output."""
        return self.out.row(self.written(k, T))


class Beside(NamedTuple):
    """Static features beside a layer's output: the places of their values and of their relevance, and the rows that
    they take among the joined ones, and among those of the joined relevance."""

    width: int
    place: int | At
    rel: int
    at: int
    arrived: int

    def read(self, walk: Walk) -> Instruction:
        """Put the values among the joined rows; months are read by products alone, here by one with ones."""
        if isinstance(self.place, At):
            return product(self.width, out=self.at, weights=walk.matrix(np.eye(self.width)), a=self.place,
                           a_depth=self.width)  # fmt: skip
        return copy(self.width, a=self.place, out=self.at)


class Meeting(NamedTuple):
    """Rows that meet at one step: those of both directions, the merged ones, and those of their relevance."""

    one: int
    two: int
    out: int
    rel_one: int
    rel_two: int
    rel: int


class RuleProgram(ABC):
    """The part of a rule that shapes the program; its numbers are passed when the program runs.

    Frozen and hashable, as part of the key under which plans are kept.
    """

    @property
    def keeps_h(self) -> bool:
        """Whether the rule reads h of every step of an LSTM."""
        return False

    @property
    def keeps_upper(self) -> bool:
        """Whether it reads x_t W_g + b_g apart from h_{t-1} U_g."""
        return False

    @property
    def gradient(self) -> bool:
        """Whether it follows gradients, which need each LSTM's gates, c and tanh(c)."""
        return False

    @property
    def nodes(self) -> Array:
        """Nodes at which a gradient is taken, (node, 2): the part of the way from a baseline to X, and the weight with
        which the way back begins. The first node's score is unattributed to begin with; the last node is X."""
        return np.empty((0, 2))

    @property
    def mixes(self) -> bool:
        """Whether it packs numbers that are not each one weight of the network times a factor."""
        return False

    def depart(self, walk: Walk, x: Rows) -> Rows:
        """The rows that gradients by X are multiplied by: X, or its distance from a baseline."""
        return x

    def feed(self, walk: Walk, W: Array, b: Array) -> Fed | None:
        """The part of a map that reads X that is the same at every node; None where each node multiplies by W."""
        return None

    def beside(self, walk: Walk, b: Beside) -> None:
        """Static features join a layer's output: the relevance that arrives at their rows is theirs."""
        walk.forward.append(b.read(walk))
        walk.down.append(copy(b.width, a=b.arrived, out=b.rel))

    def finish(self, walk: Walk, width: int) -> None:  # noqa: B027  # most have nothing left to do
        """Write what is left to do with the ``width`` rows of X's relevance."""

    @abstractmethod
    def lstm(self, walk: Walk, p: Pass) -> None:
        """Relevance of an LSTM's output to its input, last step first."""

    def gru(self, walk: Walk, p: Pass) -> None:
        """Relevance of a GRU's output to its input, last step first."""
        raise ValueError(f"{type(self).__name__} has no way through a GRU")

    @abstractmethod
    def linear(self, walk: Walk, m: Map) -> None:
        """Relevance of a linear map's units to its inputs, at one step."""

    def dense(self, walk: Walk, layer: Dense, steps: Sequence[Map]) -> None:
        """Relevance of a Dense layer's units to its inputs, at every step where it works."""
        for m in steps:
            self.linear(walk, m)

    @abstractmethod
    def merge(self, walk: Walk, units: int, at: Meeting, *, weight: float) -> None:
        """Relevance of a sum (or an average: ``weight`` 1/2) of two directions to both."""
