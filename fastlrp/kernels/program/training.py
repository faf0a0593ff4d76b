"""Turn a network's shapes into what training runs: two programs over the rows of a tile, and the places of weights.

All weights are one flat array, layer by layer in the order of ``Layer.arrays``; so are gradients and Adam's moments.
Products read packed copies of them, gathered anew after each update: ``index`` says from where. A plan holds shapes
only, not the weights' values, so many networks share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastlrp.kernels.program.gru import gru_backward, gru_to_past
from fastlrp.kernels.program.instructions import (
    RESET,
    TRAINING,
    UPDATE,
    WHOLE,
    Array,
    Instruction,
    activate,
    add,
    assemble,
    blend,
    contract,
    curve,
    curve_slope,
    differs,
    draw,
    fill,
    gates,
    gates_gradient,
    gru_gates,
    move,
    product,
    slope,
    times,
)
from fastlrp.kernels.program.rows import LANES, pack_blocks
from fastlrp.model.chain import Chain
from fastlrp.model.layers import CURVES, GRU, WEIGHTLESS, Bidirectional, Dense, Dropout, Layer, Masking

#: Most samples of a tile. The cut of a batch depends on its size and the network's, never on the number of threads.
TILE_LANES = 64
#: Most bytes of a tile's rows, which should stay in the L2 cache: where there would be more, tiles get fewer samples.
TILE_BYTES = 1 << 20
#: Most gradients that the tiles of a batch share, each summed over its tiles in order. For a large network, whose
#: gradients would take much memory, the limit is lower, but not below FEW_CHUNKS.
CHUNKS, FEW_CHUNKS, CHUNKS_BYTES = 32, 8, 1 << 26


class _Spec(NamedTuple):
    """A layer without its weights' values."""

    kind: str
    inputs: int = 0
    units: int = 0
    biases: tuple[bool, ...] = ()
    sequence: bool = False
    reverse: bool = False
    activations: tuple[tuple[str, str], ...] = ()
    merge: str = ""
    rate: float = 0.0
    resets_after: tuple[bool, ...] = ()  # of GRUs, whether their reset gates work after the product with U
    static: int = 0  # how many of the inputs are static features
    value: float = 0.0  # of masked steps
    alpha: float | None = None


def _spec(layer: Layer, static: int = 0) -> _Spec:
    if isinstance(layer, Dropout):
        return _Spec("dropout", rate=layer.rate)
    if isinstance(layer, Masking):
        return _Spec("masking", value=layer.value)
    if isinstance(layer, Dense):
        activations = ((layer.activation, ""),)
        biases = (layer.b is not None,)
        return _Spec("dense", layer.n_inputs, layer.n_outputs, biases, activations=activations, static=static,
                     alpha=layer.alpha)  # fmt: skip
    both = isinstance(layer, Bidirectional)
    parts = (layer.forward, layer.backward) if isinstance(layer, Bidirectional) else (layer,)
    return _Spec(
        "bidirectional" if both else "recurrent",
        layer.n_inputs,
        parts[0].units,
        tuple(part.b is not None for part in parts),
        layer.return_sequences,
        False if isinstance(layer, Bidirectional) else layer.go_backwards,
        tuple((part.activation, part.recurrent_activation) for part in parts),
        layer.merge_mode if isinstance(layer, Bidirectional) else "",
        resets_after=tuple(part.reset_after for part in parts if isinstance(part, GRU)),
    )


@dataclass(frozen=True, eq=False)
class TrainPlan:
    """A network's shapes made ready for training.

    Attributes
    ----------
    forward, backward : record arrays of INSTRUCTION
    index : int32 array, the place of each packed weight among the flat weights; ``n_params`` stands for a zero
    decays : uint8 array (n_params,), 1 for the kernels that ``alpha`` shrinks: W of recurrent and Dense layers
    rows : number of rows of a tile
    x, output, top : first rows of X, of the prediction and of its gradient
    zeros, n_zeros : rows that stay zero; ones : a row of ones
    flops : floating-point operations of products for one sample, forward and backward
    """

    forward: Array
    backward: Array
    index: Array
    decays: Array
    rows: int
    x: int
    output: int
    top: int
    zeros: int
    n_zeros: int
    ones: int
    steps: int
    n_features: int
    n_outputs: int
    n_params: int
    flops: float

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.forward.nbytes + self.backward.nbytes + self.index.nbytes + self.decays.nbytes

    def lanes(self, batch: int, itemsize: int) -> int:
        """Samples of a tile in batches of this size."""
        lanes = min(TILE_LANES, -(-batch // LANES) * LANES)
        while lanes > LANES and self.rows * lanes * itemsize > TILE_BYTES:
            lanes -= LANES
        return lanes

    def tiles_a_chunk(self, tiles: int, itemsize: int) -> int:
        """Number of tiles that are summed into one gradient, in batches of ``tiles`` tiles."""
        most = max(FEW_CHUNKS, min(CHUNKS, CHUNKS_BYTES // (self.n_params * itemsize)))
        return -(-tiles // most)


class _Rows(NamedTuple):
    """First rows of a layer's output and of its gradient, ``width`` rows per step; grad is -1 if nobody needs it."""

    at: int
    grad: int
    width: int
    steps: int

    def row(self, t: int) -> int:
        return self.at + t * self.width

    def slope(self, t: int) -> int:
        return self.grad + t * self.width


class _TrainWalk:
    """Walks up the layers, hands out rows and places of weights, and writes both programs."""

    def __init__(self, specs: tuple[_Spec, ...], steps: int) -> None:
        self.specs, self.T = specs, steps
        self.forward: list[Instruction] = []
        self.backward: list[list[Instruction]] = []  # one list per layer, to be read from the last to the first
        self.packed: list[Array] = []
        self.decays: list[Array] = []
        self.n_packed = self.n_params = self.n_rows = 0
        self.flops = 0.0
        #: Of each step of the present sequence, the row that is 0 where it is masked; empty without Masking.
        self.live: list[int] = []
        masks = any(spec.kind == "masking" for spec in specs)
        self.n_zeros = max(spec.units for spec in specs) * (4 if masks else 1)  # a masked step's dz is 0
        self.zeros, self.ones = self.rows(self.n_zeros), self.rows(1)

    def rows(self, n: int) -> int:
        self.n_rows += n
        return self.n_rows - n

    def params(self, *shape: int, decays: bool = False) -> Array:
        """Places of one array of weights."""
        size = int(np.prod(shape))
        self.n_params += size
        self.decays.append(np.full(size, decays, np.uint8))
        return np.arange(self.n_params - size, self.n_params).reshape(shape)

    def matrix(self, places: Array, bias: Array | None = None) -> int:
        """Pack places as a product reads weights; 0 would be padding, so places count from 1 here."""
        block = pack_blocks(places + 1, None if bias is None else bias + 1, np.dtype(np.int64)) - 1
        self.packed.append(block)
        self.n_packed += block.size
        return self.n_packed - block.size

    def plan(self) -> TrainPlan:
        T, D = self.T, next(spec.inputs for spec in self.specs if spec.inputs)
        S, self.D = sum(spec.static for spec in self.specs), D
        x = self.rows(T * (D + S))
        below, self.static = _Rows(x, -1, D + S, T), x + (T - 1) * (D + S) + D
        write = {
            "recurrent": self.recurrent,
            "bidirectional": self.bidirectional,
            "dense": self.dense,
            "dropout": self.dropout,
            "masking": self.masking,
        }
        for spec in self.specs:
            self.backward.append([])
            below = write[spec.kind](spec, below)
        index = np.concatenate(self.packed)
        index[index < 0] = self.n_params
        back = [instruction for layer in reversed(self.backward) for instruction in layer]
        rows, weights = self.n_rows, self.n_packed
        forward, backward = (assemble(p, TRAINING, rows=rows, weights=weights) for p in (self.forward, back))
        return TrainPlan(
            forward, backward, index.astype(np.int32), np.concatenate(self.decays), rows, x, below.at, below.grad,
            self.zeros, self.n_zeros, self.ones, T, D + S, below.width, self.n_params, self.flops,
        )  # fmt: skip

    def output(self, width: int, steps: int) -> _Rows:
        return _Rows(self.rows(width * steps), self.rows(width * steps), width, steps)

    def recurrent(self, spec: _Spec, below: _Rows) -> _Rows:
        H, T = spec.units, self.T
        h = self.rows(H * T)
        kept = T if spec.sequence else 1
        out = _Rows(h + (T - kept) * H, self.rows(H * kept), H, kept)
        order = range(T - 1, -1, -1) if spec.reverse else range(T)
        self.run_cell(spec, 0, below, order, [h + k * H for k in range(T)], out, adds=False)
        if spec.reverse:
            self.live.reverse()
        return out

    def bidirectional(self, spec: _Spec, below: _Rows) -> _Rows:
        H, T = spec.units, self.T
        steps = T if spec.sequence else 1
        out = self.output(2 * H if spec.merge == "concat" else H, steps)
        factor = 0.5 if spec.merge == "ave" else 1.0
        merge: list[Instruction] = []
        split: list[Instruction] = []
        both: list[list[Instruction]] = []
        for part, order in enumerate((range(T), range(T - 1, -1, -1))):
            h, grad = self.rows(H * T), self.rows(H * steps)
            places = [h + t * H for t in (order if spec.sequence else range(T))]
            own = _Rows(h if spec.sequence else h + (T - 1) * H, grad, H, steps)
            shift = part * H if spec.merge == "concat" else 0
            onto = add if part and not shift else move
            for t in range(steps):
                merge.append(onto(H, a=own.row(t), out=out.row(t) + shift, factor=factor))
                split.append(move(H, a=out.slope(t) + shift, out=own.slope(t), factor=factor))
            self.backward.append([])
            self.run_cell(spec, part, below, order, places, own, adds=part == 0)  # top down: the second one runs first
            both.append(self.backward.pop())
        self.forward += merge
        self.backward[-1] += [*split, *both[1], *both[0]]
        return out

    def run_cell(self, spec: _Spec, part: int, *rows: Any, adds: bool) -> None:
        """Write one LSTM or GRU."""
        (self.run_gru if spec.resets_after else self.run_lstm)(spec, part, *rows, adds=adds)

    def run_lstm(
        self, spec: _Spec, part: int, below: _Rows, order: Sequence[int], h: list[int], out: _Rows, *, adds: bool
    ) -> None:
        """Write one LSTM that reads steps in this order and leaves h of the k-th step in the rows from ``h[k]``."""
        H, D, T = spec.units, spec.inputs, self.T
        W, U = self.params(D, 4 * H, decays=True), self.params(H, 4 * H)
        b = self.params(4 * H) if spec.biases[part] else None
        z, c, tanh_c = self.rows(4 * H * T), self.rows(H * T), self.rows(H * T)
        signal, gate = spec.activations[part]
        first, later = self.matrix(W.T, b), self.matrix(np.concatenate([W, U]).T, b)  # h_0 = 0
        live = [self.live[t] for t in order] if self.live else []
        for k, t in enumerate(order):
            self.forward += [
                product(4 * H, out=z + k * 4 * H, weights=later if k else first, a=below.row(t), a_depth=D,
                        b=h[k - 1], b_depth=H if k else 0),
                gates(H, z=z + k * 4 * H, before=c + (k - 1) * H if k else self.zeros, c=c + k * H,
                      tanh_c=tanh_c + k * H, h=h[k], activation=signal, gate=gate),
            ]  # fmt: skip
            if live:
                self.keep(H, c + (k - 1) * H if k else self.zeros, live[k], c + k * H)
                self.keep(H, h[k - 1] if k else self.zeros, live[k], h[k])
        back = self.backward[-1]
        dc, dh, spare = self.rows(H), self.rows(H), self.rows(4 * H)
        other, dc_after = (self.rows(H), self.rows(H)) if live else (dh, dc)
        to_h, to_x = self.matrix(U), self.matrix(W) if below.grad >= 0 else -1
        back.append(fill(H, out=dc))
        at_h = dh
        for k in range(T - 1, -1, -1):
            dz = z + k * 4 * H
            arrived = out.slope((h[k] - out.at) // H if out.steps > 1 else 0) if out.steps > 1 or k == T - 1 else None
            if k < T - 1:
                init = arrived
                if live:
                    back += self.passed_on(H, at_h, live[k + 1], other, arrived)
                    init, dh, other = other, other, dh
                back.append(product(H, out=dh, weights=to_h, a=dz + 4 * H, a_depth=4 * H, init=init))
            at_h = dh if k < T - 1 or arrived is None else arrived
            if live:
                back.append(move(H, a=dc, out=dc_after))
            back.append(
                gates_gradient(H, z=dz, before=c + (k - 1) * H if k else self.zeros, tanh_c=tanh_c + k * H,
                               dh=at_h, dc=dc, spare=spare, activation=signal, gate=gate)
            )  # fmt: skip
            if live:
                back += [blend(4 * H, a=self.zeros, b=live[k], out=dz), blend(H, a=dc_after, b=live[k], out=dc)]
            if to_x >= 0:
                down = below.slope(order[k])
                back.append(product(D, out=down, weights=to_x, a=dz, a_depth=4 * H, init=down if adds else None))
        by = order[1] - order[0] if T > 1 else 0
        h_by = h[1] - h[0] if T > 1 else 0
        self.contract(W, below.row(order[0]), by * below.width, z, 4 * H, T)
        self.contract(U, h[0], h_by, z + (4 * H if T > 1 else 0), 4 * H, T - 1)
        self.contract_bias(b, z, 4 * H, T)
        self.flops += 8.0 * H * T * ((D + H) * 2 + H + (D if to_x >= 0 else 0))

    def masking(self, spec: _Spec, below: _Rows) -> _Rows:
        """Note which steps are masked; X itself goes on as it is."""
        first = self.rows(below.steps)
        self.live = [first + t for t in range(below.steps)]
        self.forward += [differs(self.D, a=below.row(t), out=row, value=spec.value) for t, row in enumerate(self.live)]
        return below

    def keep(self, units: int, before: int, live: int, now: int) -> None:
        """Leave a step's state, any recurrent layer's, as it was before where the step is masked."""
        self.forward.append(blend(units, a=before, b=live, out=now))

    def passed_on(self, units: int, after: int, live: int, out: int, arrived: int | None) -> list[Instruction]:
        """out = a step's own gradient, if any has arrived, and, where the step after is masked, that one's as well."""
        own = [] if arrived is None else [add(units, a=arrived, out=out)]
        return [fill(units, out=out), blend(units, a=after, b=live, out=out), *own]

    def run_gru(
        self, spec: _Spec, part: int, below: _Rows, order: Sequence[int], h: list[int], out: _Rows, *, adds: bool
    ) -> None:
        """Write one GRU likewise; of each step z, r, the candidate and the past are kept (see ``gru_gates``)."""
        H, D, T, reset_after = spec.units, spec.inputs, self.T, spec.resets_after[part]
        W, U = self.params(D, 3 * H, decays=True), self.params(H, 3 * H)
        b = self.params(2 if reset_after else 1, 3 * H) if spec.biases[part] else None
        z, (signal, gate) = self.rows(4 * H * T), spec.activations[part]
        live = [self.live[t] for t in order] if self.live else []
        to_gates = self.gru_forward(W, U, b, below, order, live, h, z, signal, gate, reset_after=reset_after)
        back, dh, d_reset, spare = self.backward[-1], self.rows(H), self.rows(H), self.rows(3 * H)
        dh_after = self.rows(H) if live else dh
        to_x, to_reset = self.matrix(W) if below.grad >= 0 else -1, -1 if reset_after else self.matrix(U[:, 2 * H :])
        back.append(fill(H, out=dh))
        for k in range(T - 1, -1, -1):
            dz = z + k * 4 * H
            if out.steps > 1 or k == T - 1:
                arrived = out.slope((h[k] - out.at) // H if out.steps > 1 else 0)
                back.append(add(H, a=arrived, out=dh))
            if live:
                back.append(move(H, a=dh, out=dh_after))
            back += gru_backward(H, (signal, gate), reset_after=reset_after, z=dz, before=h[k - 1] if k else self.zeros,
                                 dh=dh, d_reset=d_reset, spare=spare, U=to_reset)  # fmt: skip
            if live:
                back += [blend(4 * H, a=self.zeros, b=live[k], out=dz), blend(H, a=dh_after, b=live[k], out=dh)]
            if k:
                back.append(gru_to_past(H, reset_after=reset_after, z=dz, dh=dh, U=to_gates))
            if to_x >= 0:
                down = below.slope(order[k])
                back.append(product(D, out=down, weights=to_x, a=dz, a_depth=3 * H, init=down if adds else None))
        by, h_by, later = (order[1] - order[0], h[1] - h[0], z + 4 * H) if T > 1 else (0, 0, z)
        self.contract(W, below.row(order[0]), by * below.width, z, 4 * H, T)
        self.contract(U[:, : 2 * H], h[0], h_by, later, 4 * H, T - 1, stride=3 * H)
        if reset_after:
            self.contract(U[:, 2 * H :], h[0], h_by, later + 3 * H, 4 * H, T - 1, stride=3 * H)
        else:
            self.contract(U[:, 2 * H :], later + 3 * H, 4 * H, later + 2 * H, 4 * H, T - 1, stride=3 * H)
        if b is not None:
            self.contract_bias(b[0], z, 4 * H, T)
            if reset_after:
                self.contract_bias(b[1, : 2 * H], z, 4 * H, T)
                self.contract_bias(b[1, 2 * H :], z + 3 * H, 4 * H, T)
        self.flops += 6.0 * H * T * ((D + H) * 2 + H + (D if to_x >= 0 else 0))

    def gru_forward(
        self, W: Array, U: Array, b: Array | None, below: _Rows, order: Sequence[int], live: list[int], h: list[int],
        z: int, signal: str, gate: str, *, reset_after: bool,
    ) -> int:  # fmt: skip
        """Write a GRU's forward pass; returns the place of U as the way back to h_{t-1} reads it."""
        H, D, emit = len(U), len(W), self.forward.append
        gates, g = slice(0, 2 * H), slice(2 * H, 3 * H)
        own, past = (None, None) if b is None else (b[0], b[1] if reset_after else None)
        init = None
        if own is not None and past is not None:  # a packed weight is one weight: two biases meet in rows of the tile
            init = self.rows(2 * H)
            both = self.matrix(past[gates, None], own[gates])
            emit(product(2 * H, out=init, weights=both, a=self.ones, a_depth=1))
        bias = own[gates] if own is not None and past is None else None
        x_and_h = np.concatenate([W, U])
        first, later = self.matrix(W[:, gates].T, bias), self.matrix(x_and_h[:, gates].T, bias)  # h_0 = 0
        alone = self.matrix(W[:, g].T, None if own is None else own[g])
        start = -1
        if reset_after:
            last_bias = None if past is None else past[g]
            start, last = self.matrix(np.empty((H, 0), np.int64), last_bias), self.matrix(U[:, g].T, last_bias)
        else:
            last = self.matrix(x_and_h[:, g].T, None if own is None else own[g])
        for k, t in enumerate(order):
            at, before = z + k * 4 * H, h[k - 1] if k else self.zeros
            x: dict[str, Any] = {"a": below.row(t), "a_depth": D}
            of: dict[str, Any] = {"z": at, "before": before, "h": h[k], "activation": signal, "gate": gate}
            emit(product(2 * H, out=at, weights=later if k else first, **x, b=before, b_depth=H if k else 0, init=init))
            if reset_after:
                emit(product(H, out=at + 2 * H, weights=alone, **x))
                weights, depth = (last, H) if k else (start, 0)
                emit(product(H, out=at + 3 * H, weights=weights, a=0, a_depth=0, b=before, b_depth=depth))
                emit(gru_gates(H, **of, stage=WHOLE))
            else:
                emit(gru_gates(H, **of, stage=RESET))
                weights, depth = (last, H) if k else (alone, 0)
                emit(product(H, out=at + 2 * H, weights=weights, **x, b=at + 3 * H, b_depth=depth))
                emit(gru_gates(H, **of, stage=UPDATE))
            if live:
                self.keep(H, before, live[k], h[k])
        return self.matrix(U if reset_after else U[:, gates])

    def contract(self, places: Array, a: int, a_step: int, b: int, b_step: int, steps: int, stride: int = 0) -> None:
        """The gradient of a matrix: its inputs' rows times the rows of dz, over samples and steps; ``stride``: columns
        of the whole matrix where this is some of them."""
        rows, columns = places.shape
        self.backward[-1].append(
            contract(rows, columns=columns, place=int(places[0, 0]), a=a, a_step=a_step, b=b, b_step=b_step,
                     steps=steps, stride=stride)
        )  # fmt: skip

    def contract_bias(self, places: Array | None, b: int, b_step: int, steps: int) -> None:
        if places is not None:
            self.contract(places[None], self.ones, 0, b, b_step, steps)

    def dense(self, spec: _Spec, below: _Rows) -> _Rows:
        M, S, steps = spec.units, spec.static, below.steps
        K = spec.inputs - S
        W = self.params(K + S, M, decays=True)
        b = self.params(M) if spec.biases[0] else None
        out, (activation, _) = self.output(M, steps), spec.activations[0]
        forward, back = self.matrix(W.T, b), self.matrix(W[:K]) if below.grad >= 0 else -1
        beside = {"b": self.static, "b_depth": S} if S else {}
        curved = activation in CURVES
        z = self.rows(M * steps) if curved else out.at
        for t in range(steps):
            self.forward.append(product(M, out=z + t * M, weights=forward, a=below.row(t), a_depth=K, **beside))
        if curved:
            how: dict[str, Any] = {"a": z, "activation": activation, "alpha": spec.alpha}
            self.forward.append(curve(M * steps, out=out.at, **how))
            self.backward[-1].append(curve_slope(M * steps, out=out.grad, **how))
        elif activation != "linear":
            self.forward.append(activate(M * steps, a=out.at, out=out.at, activation=activation))
            self.backward[-1].append(slope(M * steps, a=out.at, out=out.grad, activation=activation))
        if back >= 0:
            for t in range(steps):
                self.backward[-1].append(product(K, out=below.slope(t), weights=back, a=out.slope(t), a_depth=M))
        self.contract(W[:K], below.at, below.width, out.grad, M, steps)
        if S:
            self.contract(W[K:], self.static, 0, out.grad, M, steps)
        self.contract_bias(b, out.grad, M, steps)
        self.flops += 2.0 * steps * M * (K * (3 if back >= 0 else 2) + 2 * S)
        return out

    def dropout(self, spec: _Spec, below: _Rows) -> _Rows:
        if spec.rate == 0.0:
            return below
        units = below.width * below.steps
        out, mask = self.output(below.width, below.steps), self.rows(units)
        self.forward += [
            draw(units, out=mask, rate=spec.rate, stream=len(self.backward)),
            times(units, a=below.at, b=mask, out=out.at),
        ]
        if below.grad >= 0:
            self.backward[-1].append(times(units, a=out.grad, b=mask, out=below.grad))
        return out


#: Plans for networks that come again, the last used at the end; at most so many bytes of them, or the last one alone.
_plans: dict[tuple[tuple[_Spec, ...], int], TrainPlan] = {}
MOST_BYTES = 1 << 25


def _plan(specs: tuple[_Spec, ...], steps: int) -> TrainPlan:
    plan = _plans.pop((specs, steps), None) or _TrainWalk(specs, steps).plan()
    _plans[specs, steps] = plan
    held = list(_plans.items())
    total = sum(one.nbytes for _, one in held)
    for key, one in held[:-1]:  # another thread may forget it first
        if total <= MOST_BYTES:
            break
        _plans.pop(key, None)
        total -= one.nbytes
    return plan


def train_plan(net: Chain, steps: int) -> TrainPlan:
    """The plan for a network's shapes, made once for all networks that have them.

    Raises
    ------
    ValueError
        If the network has a softmax output, as training is for regression, or predicts at every step.
    """
    if net.sequence:
        raise ValueError(
            "training takes networks that predict once a sample, not one that returns sequences: the last recurrent "
            "layer must have return_sequences=False"
        )
    last = next(layer for layer in reversed(net.layers) if not isinstance(layer, WEIGHTLESS))
    if isinstance(last, Dense) and last.activation == "softmax":
        raise ValueError("training takes networks that predict numbers, not one whose last layer has softmax")
    joins = net.join if net.n_static else -1
    return _plan(tuple(_spec(layer, net.n_static * (i == joins)) for i, layer in enumerate(net.layers)), steps)
