"""From a network to what kernels run: packed weights and a short program over rows of a tile.

A program is a list of operations (one record each) that read rows of the tile and write rows, bottom up for the
forward pass and top down for relevance. A backend needs to know operations, never layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.kernels.lanes import block_height
from fastlrp.network import DENSE_ACTIVATIONS, LSTM, Aggregate, Bidirectional, Dense, Dropout, Network

Array = npt.NDArray[Any]

#: Kinds of operations.
LSTM_OP, DENSE_OP, MERGE_OP, AGGREGATE_OP = range(4)
#: Codes of the activations are their places in ``network.DENSE_ACTIVATIONS``.
TANH, SIGMOID, RELU, LINEAR, HARD_SIGMOID, HARD_SIGMOID_KERAS2, SOFTMAX = range(7)
#: How a MERGE joins two inputs.
CONCAT, SUM, AVERAGE = range(3)

_INTEGERS = (
    # what it is and how wide; steps = 1 for what works on one row block
    "kind", "units", "inputs", "steps",
    # rows read (step 0, and how many rows on the next step is); reverse: newest step first; from_x: src is the input X
    "src", "src_step", "reverse", "from_x",
    # rows written, and in which order
    "out", "out_step", "out_reverse",
    # relevance: rows of what arrives for `out` (every step, or only the last where sequence is 0) and of what is handed
    # down for `src`; adds: `src` has other readers, whose relevance is already there
    "rel_out", "rel_out_step", "sequence", "rel_src", "rel_src_step", "adds",
    # LSTM: rows of its state, four blocks a step, and how many steps are kept; rows of shared x_t W, or -1
    "state", "states", "shared",
    # packed weights: [x and h], [x alone], [h alone], relevance of x, of h; bias (of g; of z for Dense)
    "w", "w_x", "w_h", "rel_x", "rel_h", "bias",
    # activation of signals (or of Dense), of gates; second input of a MERGE, its relevance, and how they join
    "activation", "gate", "src2", "rel_src2", "how",
)  # fmt: skip
OPERATION = np.dtype((np.record, [(name, np.int64) for name in _INTEGERS]))


@dataclass(frozen=True)
class Plan:
    """A network made ready for one dtype, number of steps and purpose.

    Attributes
    ----------
    operations : record array of OPERATION
    weights : array, packed
    rows : number of rows of a tile's scratch (without X where windows share it)
    shared_rows : rows that hold x_t W for every month of a tile, where windows share months
    x, rel_x : first rows of X and of its relevance; relevance has ``steps`` blocks, or one where steps are summed
    output, pre, rel_top : rows of the prediction, of the last layer's pre-activation and its relevance
    work, widest : first of the rows of common work space, and the widest layer
    """

    operations: Array
    weights: Array
    rows: int
    shared_rows: int
    x: int
    rel_x: int
    output: int
    pre: int
    rel_top: int
    work: int
    widest: int
    steps: int
    n_features: int
    n_outputs: int
    reduced: bool
    explains: bool
    flops: float = field(default=0.0)


def pack(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Weights of ``rows`` sums over ``depth`` inputs, in the order in which a product reads them.

    Blocks of 6, 4 or 2 rows; in each the biases, then depth by depth one weight a row, so that the kernel walks through
    memory once. Rows that fill up the last block are zero.
    """
    rows, depth = matrix.shape
    blocks, row = [], 0
    while row < rows:
        height = block_height(rows - row)
        block = np.zeros((1 + depth, height), dtype)
        n = min(height, rows - row)
        if bias is not None:
            block[0, :n] = bias[row : row + n]
        block[1:, :n] = matrix[row : row + n].T
        blocks.append(block.ravel())
        row += height
    return np.concatenate(blocks)


@dataclass
class _Rows:
    """Where a layer's output stands: its first row, rows from step to step, its relevance, and its width."""

    at: int
    step: int
    rel: int
    rel_step: int
    width: int
    sequence: bool
    from_x: bool = False


class _Builder:
    """Walks up the network, hands out rows and packs weights."""

    def __init__(self, net: Network, steps: int, dtype: Any, explains: bool, aggregate: Aggregate, reduced: bool) -> None:
        self.net, self.T, self.dtype = net, steps, np.dtype(dtype)
        self.explains, self.aggregate, self.reduced = explains, aggregate, reduced
        self.operations: list[dict[str, int]] = []
        self.packed: list[Array] = []
        self.n_weights = self.n_rows = self.shared_rows = 0
        self.widest, self.flops = 1, 0.0

    def rows(self, n: int) -> int:
        self.n_rows += n
        return self.n_rows - n

    def keep(self, array: Array) -> int:
        self.packed.append(np.ascontiguousarray(array, self.dtype).ravel())
        self.n_weights += array.size
        return self.n_weights - array.size

    def matrix(self, matrix: Array, bias: Array | None = None) -> int:
        return self.keep(pack(matrix, bias, self.dtype))

    def emit(self, **values: int) -> None:
        self.widest = max(self.widest, values["units"], values.get("inputs", 0))
        self.operations.append(values)

    def plan(self) -> Plan:
        net, T, D = self.net, self.T, self.net.n_features
        x = self.rows(T * D)
        rel_x = self.rows((1 if self.reduced else T) * D) if self.explains else 0
        below = _Rows(x, D, rel_x, 0 if self.reduced else D, D, sequence=True, from_x=True)
        pre = x
        for layer in net.layers:
            if isinstance(layer, LSTM):
                below = self.lstm(layer, below)
            elif isinstance(layer, Bidirectional):
                below = self.bidirectional(layer, below)
            elif isinstance(layer, Dense):
                below, pre = self.dense(layer, below)
            if isinstance(layer, Dropout):
                continue
            if self.explains and not isinstance(layer, Dense) and below.sequence and self.aggregate != "sequence":
                self.emit(kind=AGGREGATE_OP, units=below.width, steps=T, rel_out=below.rel, how=int(bool(self.aggregate)))
        if not isinstance(next(y for y in reversed(net.layers) if not isinstance(y, Dropout)), Dense):
            pre = below.at
        work = self.rows(6 * self.widest + 10)
        operations = np.zeros(len(self.operations), OPERATION)
        for record, values in zip(operations, self.operations, strict=True):
            for key, value in values.items():
                record[key] = value
        return Plan(
            operations, np.concatenate(self.packed), self.n_rows, self.shared_rows, x, rel_x, below.at, pre, below.rel,
            work, self.widest, T, D, net.n_outputs, self.reduced, self.explains, self.flops,
        )  # fmt: skip

    def output(self, width: int, sequence: bool, stored: int) -> _Rows:
        """Rows for an output that keeps ``stored`` steps; relevance only where it is asked for."""
        at = self.rows(stored * width)
        rel_steps = self.T if sequence else 1
        rel = self.rows(rel_steps * width) if self.explains else 0
        return _Rows(at, width if stored > 1 or sequence else 0, rel, width, width, sequence)

    def lstm(self, layer: LSTM, below: _Rows) -> _Rows:
        keeps = self.T if self.explains or layer.return_sequences else 1
        out = self.output(layer.units, layer.return_sequences, keeps)
        self.lstm_op(layer, below, out, reverse=layer.go_backwards, out_reverse=False, adds=False)
        if not layer.return_sequences and keeps > 1:
            out.at += (self.T - 1) * layer.units
        return out

    def lstm_op(self, layer: LSTM, below: _Rows, out: _Rows, *, reverse: bool, out_reverse: bool, adds: bool) -> None:
        H, D = layer.units, layer.n_inputs
        W, U, b = (self.cast(a) for a in (layer.W, layer.U, layer.b))
        states = self.T if self.explains else 2
        bias = np.zeros(4 * H, self.dtype) if b is None else b
        g = slice(2 * H, 3 * H)
        shared = -1
        if below.from_x:
            shared, self.shared_rows = self.shared_rows, self.shared_rows + 4 * H
        self.flops += 2.0 * self.T * (D + H) * 4 * H
        both = np.concatenate([W, U])
        explains = self.explains
        self.emit(
            kind=LSTM_OP, units=H, inputs=D, steps=self.T,
            src=below.at, src_step=below.step, reverse=int(reverse), from_x=int(below.from_x),
            out=out.at, out_step=out.step, out_reverse=int(out_reverse),
            rel_out=out.rel, rel_out_step=out.rel_step, sequence=int(out.sequence),
            rel_src=below.rel, rel_src_step=below.rel_step, adds=int(adds),
            state=self.rows(4 * H * states), states=states, shared=shared,
            w=self.matrix(both.T, bias), w_x=self.matrix(W.T, bias), w_h=self.matrix(U.T),
            rel_x=self.matrix(W[:, g]) if explains else 0, rel_h=self.matrix(U[:, g]) if explains else 0,
            bias=self.keep(bias[g]),
            activation=DENSE_ACTIVATIONS.index(layer.activation),
            gate=DENSE_ACTIVATIONS.index(layer.recurrent_activation),
        )  # fmt: skip

    def bidirectional(self, layer: Bidirectional, below: _Rows) -> _Rows:
        H, sequence = layer.forward.units, layer.return_sequences
        keeps = self.T if self.explains or sequence else 1
        joined = sequence and layer.merge_mode == "concat"
        parts = []
        if joined:  # both write their half of each step's rows, so that nothing is left to merge
            out = self.output(2 * H, True, self.T)
            for half in (0, H):
                parts.append(_Rows(out.at + half, 2 * H, out.rel + half, 2 * H, H, True))
        else:
            parts = [self.output(H, sequence, keeps) for _ in range(2)]
        for k, (lstm, part) in enumerate(zip((layer.forward, layer.backward), parts, strict=True)):
            self.lstm_op(lstm, below, part, reverse=k == 1, out_reverse=k == 1 and sequence, adds=k == 0)
        if joined:
            return out
        how = {"concat": CONCAT, "sum": SUM, "ave": AVERAGE}[layer.merge_mode]
        out = self.output(layer.n_outputs, sequence, self.T if sequence else 1)
        last = 0 if sequence or keeps == 1 else (self.T - 1) * H
        self.emit(
            kind=MERGE_OP, units=H, steps=self.T if sequence else 1, how=how,
            src=parts[0].at + last, src2=parts[1].at + last, src_step=H, out=out.at, out_step=out.step,
            rel_src=parts[0].rel, rel_src2=parts[1].rel, rel_src_step=H, rel_out=out.rel, rel_out_step=out.rel_step,
        )  # fmt: skip
        return out

    def dense(self, layer: Dense, below: _Rows) -> tuple[_Rows, int]:
        steps = self.T if below.sequence else 1
        M, K = layer.n_outputs, layer.n_inputs
        W, b = self.cast(layer.W), self.cast(layer.b)
        bias = np.zeros(M, self.dtype) if b is None else b
        linear = layer.activation == "linear"
        pre = self.rows(steps * M)
        at = pre if linear else self.rows(steps * M)
        rel = self.rows(steps * M) if self.explains else 0
        out = _Rows(at, M if below.sequence else 0, rel, M, M, below.sequence)
        self.flops += 2.0 * steps * M * K
        self.emit(
            kind=DENSE_OP, units=M, inputs=K, steps=steps, src=below.at, src_step=below.step, from_x=int(below.from_x),
            state=pre, out=at, out_step=M, rel_out=rel, rel_out_step=M, rel_src=below.rel, rel_src_step=below.rel_step,
            w=self.matrix(W.T, bias), rel_x=self.matrix(W) if self.explains else 0, bias=self.keep(bias),
            activation=DENSE_ACTIVATIONS.index(layer.activation), sequence=int(below.sequence),
        )  # fmt: skip
        return out, pre

    def cast(self, array: Array | None) -> Any:
        return None if array is None else array.astype(self.dtype)


def make_plan(
    net: Network, steps: int, dtype: Any, *, explains: bool, aggregate: Aggregate = "sequence", reduced: bool = False
) -> Plan:
    """The plan of a network, made once and kept with it."""
    key = (steps, np.dtype(dtype).char, explains, aggregate, reduced)
    plan = net._plans.get(key)
    if plan is None:
        plan = net._plans[key] = _Builder(net, steps, dtype, explains, aggregate, reduced).plan()
    return plan
