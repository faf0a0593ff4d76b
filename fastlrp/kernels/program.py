"""What a layer does forward, and how a rule walks back through it, as instructions over rows of a tile.

Plain Python, run once for a network: nothing here is compiled, and nothing here sees a number of X. To add a rule, add
what it emits here, its loop in ``tile.py`` and its formula in ``formulas.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.kernels.formulas import LOG2E
from fastlrp.kernels.plan import (
    ACTIVATE,
    ADD,
    ARRAS_CELL,
    BLOCKS,
    CELL,
    COPY,
    FILL,
    INSTRUCTION,
    LEFT_OUT,
    LINEAR_RULE,
    LSTM_STEP,
    MERGE_RULE,
    MULTIPLY,
    PRODUCT,
    RUDDER_ARRIVAL,
    RUDDER_CELL,
    SCALE,
    SUM,
    Array,
    Layout,
    Plan,
    RuleKind,
)
from fastlrp.kernels.product import SPREAD, SPREAD_ADD
from fastlrp.network import DENSE_ACTIVATIONS, LSTM, Aggregate, Bidirectional, Dense, Dropout, Network


@dataclass
class _Rows:
    """Where a layer's output stands: its first row, rows from step to step, its relevance, and its width.

    ``kept``: how many steps have rows; later steps take them again, the first ones' first. ``months``: it is X of
    windows that share their months, step t shifted by t months.
    """

    at: int
    step: int
    rel: int
    rel_step: int
    width: int
    sequence: bool
    kept: int = 1
    months: bool = False

    def row(self, t: int) -> int:
        """Where step t stands."""
        return self.at + t % self.kept * self.step

    def source(self, t: int) -> dict[str, int]:
        """Step t as operand a of an instruction."""
        return {"a": self.at, "a_months": 1, "shift": t} if self.months else {"a": self.row(t)}

    def factor(self, t: int) -> dict[str, int]:
        """Step t as what a product of relevance is multiplied with."""
        return {"mul": self.at, "mul_months": 1, "shift": t} if self.months else {"mul": self.row(t)}


class _LSTMWeights(NamedTuple):
    """W (D, 4H), U (H, 4H) and b (4H,) as the forward pass multiplies them.

    ``usual``: the activations are tanh and sigmoid. Gates that a sigmoid opens (i, f, o) then stand times -log2(e),
    which saves the cell multiplications for each gate of each sample.
    """

    W: Array
    U: Array
    b: Array
    usual: bool

    @classmethod
    def of(cls, layer: LSTM, dtype: np.dtype[Any]) -> _LSTMWeights:
        H = layer.units
        usual = (layer.activation, layer.recurrent_activation) == ("tanh", "sigmoid")
        factor = np.repeat([-LOG2E, -LOG2E, 1.0, -LOG2E], H) if usual else np.ones(4 * H)
        b = np.zeros(4 * H) if layer.b is None else layer.b
        W, U, b = ((array * factor).astype(dtype) for array in (layer.W, layer.U, b))
        return cls(W, U, b, usual)


class _Pass(NamedTuple):
    """One LSTM on its way through the program."""

    layer: LSTM
    below: _Rows
    out: _Rows
    states: int  # first of the rows of its state, of a step: i*g, f*c', zg, and x_t W_g + b_g if ``upper``
    step: int  # rows from step to step of the state; 0 where nobody asks for it later
    cells: int  # first of the rows of c, this step's and the last one's in turn
    upper: bool  # x_t W_g + b_g has rows there
    shared: int  # first of the rows of x_t W + b among the months, -1 where windows share none
    reverse: bool
    out_reverse: bool
    adds: bool
    weights: _LSTMWeights


class _Gates(NamedTuple):
    """Some of an LSTM's gates, side by side: where packed weights stand."""

    first: int
    units: int
    alone: int  # of x_t
    both: int  # of x_t and h_{t-1}
    past: int  # of h_{t-1}, where x_t's part is computed apart


class _Builder:
    """Walks up the network for the forward pass, and down again for the rule."""

    def __init__(
        self,
        net: Network,
        steps: int,
        dtype: Any,
        rule: RuleKind,
        aggregate: Aggregate,
        reduced: bool,
        shared: bool,
        layout: Layout,
    ) -> None:
        self.net, self.T, self.dtype, self.rule, self.layout = net, steps, np.dtype(dtype), rule, layout
        self.explains = bool(rule)
        self.aggregate, self.reduced, self.shared = aggregate, reduced, shared
        self.before: list[dict[str, Any]] = []
        self.forward: list[dict[str, Any]] = []
        self.backward: list[list[dict[str, Any]]] = []  # a list a layer, each in order; layers are run last first
        self.packed: list[Array] = []
        self.n_weights = self.n_rows = 0
        self.n_month_rows = net.n_features if shared else 0
        self.widest = max(y.n_outputs for y in net.layers if not isinstance(y, Dropout))
        self.lost, self.initial, self.share, self.share_c, self.bad = (self.rows(1) for _ in range(5))
        self.zeros = self.rows(self.widest)
        self.work = [self.rows(self.widest) for _ in range(3)]

    # ---- bookkeeping

    def rows(self, n: int) -> int:
        self.n_rows += n
        return self.n_rows - n

    def keep(self, array: Array) -> int:
        """Where an array stands among the weights: at a multiple of four, since some backends load four at once."""
        flat, at = np.asarray(array, self.dtype).ravel(), self.n_weights
        self.packed.append(np.concatenate([flat, np.zeros(-flat.size % 4, self.dtype)]))
        self.n_weights += self.packed[-1].size
        return at

    def matrix(self, matrix: Array, bias: Array | None = None) -> int:
        return self.keep(self.layout.pack(matrix, bias, self.dtype))

    def cast(self, array: Array | None, size: int = 0) -> Array:
        return np.zeros(size, self.dtype) if array is None else array.astype(self.dtype)

    def output(self, width: int, sequence: bool, kept: int) -> _Rows:
        """Rows for an output of which ``kept`` steps stay; and for its relevance, where a rule will need them."""
        at = self.rows(kept * width)
        rel = self.rows((self.T if sequence else 1) * width) if self.explains else 0
        return _Rows(at, width, rel, width if sequence else 0, width, sequence, kept)

    # ---- the walk

    def plan(self) -> Plan:
        net, T, D = self.net, self.T, self.net.n_features
        x = 0 if self.shared else self.rows(T * D)
        rel_x = self.rows((1 if self.reduced else T) * D) if self.explains else 0
        below = _Rows(x, D, rel_x, 0 if self.reduced else D, D, sequence=True, kept=T, months=self.shared)
        pre = 0
        for layer in net.layers:
            self.down: list[dict[str, Any]] = []
            if isinstance(layer, Dropout):
                continue
            if isinstance(layer, LSTM):
                below = self.lstm(layer, below)
                pre = below.at
            elif isinstance(layer, Bidirectional):
                below = self.bidirectional(layer, below)
                pre = below.at
            else:
                below, pre = self.dense(layer, below)
            self.backward.append(self.down)
        return Plan(
            _records(self.before), _records(self.forward),
            _records([step for layer in reversed(self.backward) for step in layer]),
            np.concatenate(self.packed), self.n_rows, self.n_month_rows, x, rel_x, below.at, pre, below.rel, self.lost,
            self.initial, self.zeros, self.widest, self.bad, T, D, net.n_outputs, self.reduced, self.explains,
        )  # fmt: skip

    # ---- LSTM

    def lstm(self, layer: LSTM, below: _Rows) -> _Rows:
        out = self.output(layer.units, layer.return_sequences, self.kept(layer.return_sequences))
        self.aggregated(out)
        self.run_lstm(layer, below, out, reverse=layer.go_backwards)
        if not layer.return_sequences:
            out.at, out.kept = out.row(self.T - 1), 1
        return out

    def kept(self, sequence: bool) -> int:
        """Steps of which h stays: all where the layer above asks for them, or the path through h_{t-1}; else one, or
        two where a step is written while the one before is still read."""
        return self.T if sequence or self.rule == "arras" else 2 if self.layout.pack_gates else 1

    def run_lstm(
        self, layer: LSTM, below: _Rows, out: _Rows, *, reverse: bool, out_reverse: bool = False, adds: bool = False
    ) -> None:
        H = layer.units
        upper = self.explains and self.rule != "arras" and not below.months
        weights = _LSTMWeights.of(layer, self.dtype)
        shared = self.shared_gates(weights) if below.months else -1
        # Only what relevance reads again has rows at each step: a state outgrows the cache soon enough.
        step = (4 if upper else 3) * H if self.explains else 0
        states = self.rows(self.T * step if step else 3 * H)
        # a copy: the caller moves ``out`` to the last step once all steps have their rows
        p = _Pass(layer, below, _Rows(**vars(out)), states, step, self.rows(2 * H), upper, shared,
                  reverse, out_reverse, adds, weights)  # fmt: skip
        if self.layout.pack_gates and weights.usual:
            self.lstm_steps(p, self.layout.pack_gates)
        else:
            self.lstm_forward(p)
        if self.explains:
            self.lstm_relevance(p)

    def lstm_forward(self, p: _Pass) -> None:
        """Gates of a step, then the cell; c takes the place of the gate o."""
        H, T = p.layer.units, self.T
        ends = [0, 2 * H, 3 * H, 4 * H] if p.upper else [0, 3 * H, 4 * H]
        parts = [self.gates(p, first, end) for first, end in pairwise(ends)]
        h, c = self.zeros, self.zeros
        for k in range(T):
            t = T - 1 - k if p.reverse else k
            z, cell = p.states + k * p.step, p.cells + k % 2 * H
            for gates in parts:
                self.gate_products(p, gates, k, t, h, cell if gates.first == 3 * H else z + gates.first)
            h = p.out.row(T - 1 - k if p.out_reverse else k)
            if p.weights.usual:
                self.forward.append({"kind": CELL, "units": H, "a": z, "b": c, "c": cell, "out": h})
            else:
                self.any_cell(p.layer, z, c, cell, h)
            c = cell

    def any_cell(self, layer: LSTM, z: int, before: int, cell: int, h: int) -> None:
        """What CELL does, for other activations than the usual ones: i*g and f*c' take the place of their gates."""
        H, emit, squashed = layer.units, self.forward.append, self.work[0]
        signal, gate = (DENSE_ACTIVATIONS.index(name) for name in (layer.activation, layer.recurrent_activation))
        emit({"kind": ACTIVATE, "units": 2 * H, "a": z, "out": z, "activation": gate})
        emit({"kind": ACTIVATE, "units": H, "a": z + 2 * H, "out": h, "activation": signal})
        emit({"kind": MULTIPLY, "units": H, "a": h, "out": z})
        emit({"kind": MULTIPLY, "units": H, "a": before, "out": z + H})
        emit({"kind": ACTIVATE, "units": H, "a": cell, "out": h, "activation": gate})
        emit({"kind": COPY, "units": H, "a": z, "out": cell})
        emit({"kind": ADD, "units": H, "a": z + H, "out": cell, "factor": 1.0})
        emit({"kind": ACTIVATE, "units": H, "a": cell, "out": squashed, "activation": signal})
        emit({"kind": MULTIPLY, "units": H, "a": squashed, "out": h})

    def lstm_steps(self, p: _Pass, pack_gates: Callable[..., Array]) -> None:
        """The forward pass of a backend whose product computes the cell as well."""
        H, T = p.layer.units, self.T
        W, U, b, _ = p.weights
        matrix, bias = (U, None) if p.below.months else (np.concatenate([W, U]), b)
        step: dict[str, Any] = {
            "kind": LSTM_STEP, "units": H, "weights": self.keep(pack_gates(matrix.T, bias, self.dtype)),
            "mode": int(p.upper),
        }  # fmt: skip
        h, c = self.zeros, self.zeros
        for k in range(T):
            t = T - 1 - k if p.reverse else k
            cell, out = p.cells + k % 2 * H, p.out.row(T - 1 - k if p.out_reverse else k)
            if p.below.months:
                below = {"init": p.shared, "init_months": 1, "shift": t}
            else:
                below = {**p.below.source(t), "a_depth": p.layer.n_inputs, "init": -1}
            self.forward.append(
                {**step, **below, "out": p.states + k * p.step, "b": h, "b_depth": H if k else 0, "c": cell, "d": out,
                 "e": c}
            )  # fmt: skip
            h, c = out, cell

    def shared_gates(self, weights: _LSTMWeights) -> int:
        """x_t W + b once a month, where windows share months: the first of its rows."""
        (depth, units), row = weights.W.shape, self.n_month_rows
        self.n_month_rows += units
        packed = self.matrix(weights.W.T, weights.b)
        self.before.append(
            {"kind": PRODUCT, "units": units, "out": row, "a": 0, "a_depth": depth, "weights": packed, "init": -1}
        )
        return row

    def gates(self, p: _Pass, first: int, end: int) -> _Gates:
        """Columns ``first`` to ``end`` of W, U and b, packed as the products of these gates need them."""
        columns, units = slice(first, end), end - first
        W, U, b = p.weights.W[:, columns], p.weights.U[:, columns], p.weights.b[columns]
        if p.below.months:
            return _Gates(first, units, -1, -1, self.matrix(U.T))
        past = self.matrix(U.T) if p.upper and first == 2 * p.layer.units else -1
        return _Gates(first, units, self.matrix(W.T, b), self.matrix(np.concatenate([W, U]).T, b), past)

    def gate_products(self, p: _Pass, gates: _Gates, k: int, t: int, h: int, out: int) -> None:
        """x_t W + h_{t-1} U + b of some gates, in one product wherever its first part is not needed alone; h_0 = 0."""
        H, emit = p.layer.units, self.forward.append
        past = {"kind": PRODUCT, "units": gates.units, "out": out, "b": h, "b_depth": H if k else 0}
        x = {**past, **p.below.source(t), "a_depth": p.layer.n_inputs, "init": -1}
        if p.below.months:
            emit({**past, "init": p.shared + gates.first, "init_months": 1, "shift": t, "weights": gates.past})
        elif p.upper and k and gates.first == 2 * H:
            upper = out + H
            emit({**x, "out": upper, "b_depth": 0, "weights": gates.alone})
            emit({**past, "init": upper, "weights": gates.past})
        else:
            emit({**x, "weights": gates.both if k else gates.alone})

    def lstm_relevance(self, p: _Pass) -> None:
        """Both rules, last step first: the cell hands to g and to c_{t-1}, the map below g to x_t and h_{t-1}."""
        H, D, T, emit = p.layer.units, p.layer.n_inputs, self.T, self.down.append
        g = slice(2 * H, 3 * H)
        W, bias = self.matrix(self.cast(p.layer.W)[:, g]), self.keep(self.cast(p.layer.b, 4 * H)[g])
        recurrent = self.rule == "arras"
        U = self.matrix(self.cast(p.layer.U)[:, g]) if recurrent else -1
        r_c, r_g, q = self.work
        emit({"kind": FILL, "units": H, "out": r_c})
        emit({"kind": FILL, "units": 1, "out": self.share_c})
        for k in range(T - 1, -1, -1):
            t, place = T - 1 - k if p.reverse else k, T - 1 - k if p.out_reverse else k
            z = p.states + k * p.step
            arrives = {"units": H, "a": p.out.rel + place * p.out.rel_step, "b": z, "out": r_c}
            if p.out.sequence or k == T - 1:
                emit({"kind": RUDDER_ARRIVAL if self.rule == "rudder" else ADD, "factor": 1.0, **arrives})
            if self.rule == "rudder":
                emit({"kind": RUDDER_CELL, "units": H, "a": z, "b": r_c, "out": r_g})
            else:
                emit({"kind": ARRAS_CELL, "units": H, "a": z, "b": r_c, "out": r_g, "share": self.share_c,
                      "factor": 1 / (2 * H)})  # fmt: skip
            emit({"kind": LINEAR_RULE, "units": H, "a": z + 2 * H, "b": r_g, "c": self.share_c, "out": q,
                  "weights": bias, "share": self.share, "factor": 1 / (D + H if recurrent else D)})  # fmt: skip
            self.spread(p.below, t, W, D, q, H, adds=p.adds or (p.below.rel_step == 0 and k < T - 1))
            self.lstm_past(p, k, t, place, U)

    def lstm_past(self, p: _Pass, k: int, t: int, place: int, U: int) -> None:
        """What of a step goes to h_{t-1}, and evenly to every c_{t-1}: at step 1 that is the initial state."""
        H, emit, recurrent = p.layer.units, self.down.append, self.rule == "arras"
        r_c, _, q = self.work
        if recurrent:
            emit({"kind": ADD, "units": 1, "a": self.share_c, "out": self.share, "factor": 1.0})
        share = self.share if recurrent else self.share_c
        if k == 0:  # c_0 = h_0 = 0: only even shares reach them
            emit({"kind": ADD, "units": 1, "a": share, "out": self.initial, "factor": float(H)})
            return
        if recurrent:
            before = p.out.row(place + 1 if p.out_reverse else place - 1)
            emit({"kind": PRODUCT, "units": H, "weights": U, "a": q, "a_depth": H, "mul": before, "init": -1,
                  "out": r_c, "share": share, "mode": SPREAD_ADD})  # fmt: skip
            return
        # The path through h_{t-1} is left out: what h_{t-1} U_g, which is zg less x_t W_g + b_g, would carry is lost.
        zg = p.states + k * p.step + 2 * H
        upper = {"a": p.shared + 2 * H, "a_months": 1, "shift": t} if p.below.months else {"a": zg + H}
        emit({"kind": LEFT_OUT, "units": H, **upper, "b": zg, "c": q})
        if self.rule != "rudder":
            for j in range(H):
                emit({"kind": ADD, "units": 1, "a": share, "out": r_c + j, "factor": 1.0})

    def spread(self, below: _Rows, t: int, weights: int, units: int, q: int, depth: int, *, adds: bool) -> None:
        """a * (W q) + share for the inputs of a linear map."""
        self.down.append(
            {"kind": PRODUCT, "units": units, "weights": weights, "a": q, "a_depth": depth, "init": -1,
             "out": below.rel + t * below.rel_step, **below.factor(t), "share": self.share,
             "mode": SPREAD_ADD if adds else SPREAD}
        )  # fmt: skip

    def aggregated(self, out: _Rows) -> None:
        """What a lower recurrent layer gets: the average over steps, or the last step's, at its last step."""
        if not self.explains or not out.sequence or self.aggregate == "sequence":
            return
        W, T, emit = out.width, self.T, self.down.append
        last = out.rel + (T - 1) * W
        if self.aggregate:
            for t in range(T - 1):
                emit({"kind": ADD, "units": W, "a": out.rel + t * W, "out": last, "factor": 1.0})
            emit({"kind": SCALE, "units": W, "out": last, "factor": 1 / T})
            for _ in range(T - 1):  # the average is one of T equal parts; the others are lost
                emit({"kind": SUM, "units": W, "a": last, "out": self.lost})
        else:
            emit({"kind": SUM, "units": (T - 1) * W, "a": out.rel, "out": self.lost})
        emit({"kind": FILL, "units": (T - 1) * W, "out": out.rel})

    # ---- Bidirectional

    def bidirectional(self, layer: Bidirectional, below: _Rows) -> _Rows:
        H, sequence = layer.forward.units, layer.return_sequences
        kept = self.kept(sequence)
        joined = sequence and layer.merge_mode == "concat"
        if joined:  # both write their half of each step's rows, so that nothing is left to merge
            out = self.output(2 * H, True, self.T)
            parts = [_Rows(out.at + half, 2 * H, out.rel + half, 2 * H, H, True, self.T) for half in (0, H)]
            self.aggregated(out)
        else:
            parts = [self.output(H, sequence, kept) for _ in range(2)]
            out = self.output(layer.n_outputs, sequence, self.T if sequence else 1)
            self.aggregated(out)
            if self.explains:
                self.unmerge(layer, parts, out)
        for k, (lstm, part) in enumerate(zip((layer.forward, layer.backward), parts, strict=True)):
            self.run_lstm(lstm, below, part, reverse=k == 1, out_reverse=k == 1 and sequence, adds=k == 1)
        if not joined:
            self.merge(layer, parts, out)
        return out

    def merged_rows(self, parts: Sequence[_Rows], out: _Rows) -> list[tuple[int, int, int, int, int, int]]:
        """Rows that meet: both directions', the merged ones, and those of their relevance, for every step there is."""
        H, one, two = parts[0].width, parts[0], parts[1]
        if not out.sequence:
            last = self.T - 1
            return [(one.row(last), two.row(last), out.at, one.rel, two.rel, out.rel)]
        W = out.width
        return [
            (one.at + t * H, two.at + t * H, out.at + t * W, one.rel + t * H, two.rel + t * H, out.rel + t * W)
            for t in range(self.T)
        ]

    def merge(self, layer: Bidirectional, parts: Sequence[_Rows], out: _Rows) -> None:
        H, emit = layer.forward.units, self.forward.append
        for one, two, to, *_ in self.merged_rows(parts, out):
            emit({"kind": COPY, "units": H, "a": one, "out": to})
            if layer.merge_mode == "concat":
                emit({"kind": COPY, "units": H, "a": two, "out": to + H})
                continue
            emit({"kind": ADD, "units": H, "a": two, "out": to, "factor": 1.0})
            if layer.merge_mode == "ave":
                emit({"kind": SCALE, "units": H, "out": to, "factor": 0.5})

    def unmerge(self, layer: Bidirectional, parts: Sequence[_Rows], out: _Rows) -> None:
        """Concat hands back what is each one's; sum and average are a linear rule with 2H inputs and no bias."""
        H, emit = layer.forward.units, self.down.append
        q = self.work[2]
        weight = 0.5 if layer.merge_mode == "ave" else 1.0
        for one, two, to, rel_one, rel_two, rel in self.merged_rows(parts, out):
            if layer.merge_mode == "concat":
                emit({"kind": COPY, "units": H, "a": rel, "out": rel_one})
                emit({"kind": COPY, "units": H, "a": rel + H, "out": rel_two})
                continue
            emit({"kind": LINEAR_RULE, "units": H, "a": to, "b": rel, "c": self.zeros, "out": q,
                  "weights": self.no_bias(H), "share": self.share, "factor": 1 / (2 * H)})  # fmt: skip
            for part, into in ((one, rel_one), (two, rel_two)):
                emit(
                    {
                        "kind": MERGE_RULE,
                        "units": H,
                        "a": part,
                        "b": q,
                        "share": self.share,
                        "out": into,
                        "factor": weight,
                    }
                )

    def no_bias(self, units: int) -> int:
        return self.keep(np.zeros(units))

    # ---- Dense

    def dense(self, layer: Dense, below: _Rows) -> tuple[_Rows, int]:
        steps = self.T if below.sequence else 1
        M, K = layer.n_outputs, layer.n_inputs
        W, b = self.cast(layer.W), self.cast(layer.b, M)
        up, down, bias = self.matrix(W.T, b), self.matrix(W) if self.explains else 0, self.keep(b)
        pre = self.rows(steps * M)
        linear = layer.activation == "linear"
        step = M if below.sequence else 0
        out = _Rows(
            pre if linear else self.rows(steps * M),
            step,
            self.rows(steps * M) if self.explains else 0,
            step,
            M,
            below.sequence,
            steps,
        )
        for t in range(steps):
            z, to = pre + t * M, out.at + t * M
            self.forward.append(
                {"kind": PRODUCT, "units": M, "out": z, **below.source(t), "a_depth": K, "weights": up, "init": -1}
            )
            if not linear:
                code = DENSE_ACTIVATIONS.index(layer.activation)
                self.forward.append({"kind": ACTIVATE, "units": M, "a": z, "out": to, "activation": code})
            if self.explains:
                q = self.work[2]
                self.down.append(
                    {"kind": LINEAR_RULE, "units": M, "a": z, "b": out.rel + t * M, "c": self.zeros, "out": q,
                     "weights": bias, "share": self.share, "factor": 1 / K}
                )  # fmt: skip
                self.spread(below, t, down, K, q, M, adds=below.sequence and below.rel_step == 0 and t > 0)
        return out, pre


def _records(steps: Sequence[Mapping[str, Any]]) -> Array:
    """Instructions as the kernel reads them."""
    records = np.zeros(len(steps), INSTRUCTION)
    for name in INSTRUCTION.names or ():
        records[name] = [step.get(name, 0) for step in steps]
    return records


def make_plan(
    net: Network,
    steps: int,
    dtype: npt.DTypeLike,
    *,
    rule: RuleKind = "",
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    shared: bool = False,
    layout: Layout = BLOCKS,
) -> Plan:
    """The plan of a network, made once and kept with it.

    ``shared``: its windows are a panel's, and share their months.
    """
    key = (steps, dtype, rule, aggregate, reduced, shared, layout)
    plan = net._plans.get(key)
    if plan is None:
        plan = net._plans[key] = _Builder(net, steps, dtype, rule, aggregate, reduced, shared, layout).plan()
    return plan
