"""The vocabulary of programs: the instructions for a tile, in inference and in training.

A program is a flat list of instructions. An instruction reads and writes *rows* of a tile (row: one unit at one step;
lanes: samples), or, where the windows of a panel share their months, rows of those months. Each kind has a constructor
here with named operands, a branch in the ``execute`` of the machines that know it, and one line in ``_REACH`` that says
which rows it touches: ``assemble`` checks every instruction against that before a kernel sees it.

In memory an instruction is a record of 20 whole numbers and one factor. Kinds have different operands, so a word of the
record has several names, but never two in one kind: compiled code reads ``do.r_c`` where the constructor wrote ``r_c``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.model.layers import CURVES, LSTM_ACTIVATIONS

Array = npt.NDArray[Any]

KINDS = (
    # any machine
    "PRODUCT", "ACTIVATE", "FILL", "COPY", "ADD", "SCALE", "SUM", "MULTIPLY",
    # an LSTM's step forward: the cell alone, or (on a GPU) with its product; products of all steps at once
    "CELL", "LSTM_STEP", "PRODUCTS",
    # rules
    "LINEAR_RULE", "ARRAS_CELL", "RUDDER_ARRIVAL", "RUDDER_CELL", "LEFT_OUT", "MERGE_RULE",
    # gradients: of rules and of training; then of rules alone
    "GATES", "GATES_GRADIENT", "SLOPE", "ALONG",
    # training
    "CONTRACT", "MOVE", "TIMES", "DRAW", "DIFFERS", "BLEND",
    # a GRU: its step forward and its rule, which a processor knows; then its gradients
    "GRU_CELL", "RESET_RULE", "RESET_LEFT_OUT",
    "GRU_GATES", "GRU_GATES_GRADIENT",
    # activations of Dense layers that only a processor knows, and their gradient
    "CURVE", "CURVE_SLOPE",
)  # fmt: skip
(
    PRODUCT, ACTIVATE, FILL, COPY, ADD, SCALE, SUM, MULTIPLY,
    CELL, LSTM_STEP, PRODUCTS,
    LINEAR_RULE, ARRAS_CELL, RUDDER_ARRIVAL, RUDDER_CELL, LEFT_OUT, MERGE_RULE,
    GATES, GATES_GRADIENT, SLOPE, ALONG,
    CONTRACT, MOVE, TIMES, DRAW, DIFFERS, BLEND,
    GRU_CELL, RESET_RULE, RESET_LEFT_OUT,
    GRU_GATES, GRU_GATES_GRADIENT,
    CURVE, CURVE_SLOPE,
) = range(len(KINDS))  # fmt: skip
#: Kinds that every machine for inference knows, besides those for an LSTM's step; a GRU's, and those of gradients and
#: of curves, which a processor knows; and kinds that training's machine knows.
INFERENCE = frozenset(range(GATES)) - {CELL, LSTM_STEP, PRODUCTS}
GRUS = frozenset({GRU_CELL, RESET_RULE, RESET_LEFT_OUT, GRU_GATES, GRU_GATES_GRADIENT})
CURVED = frozenset({CURVE, CURVE_SLOPE})
GRADIENTS = frozenset({GATES, GATES_GRADIENT, SLOPE, ALONG})
#: Kinds that the machine for a few samples knows; programs with others go to tiles.
FEW = frozenset({GATES, GATES_GRADIENT, SLOPE, ALONG}) | {
    PRODUCT, ACTIVATE, FILL, COPY, ADD, SCALE, SUM, MULTIPLY,
    CELL, PRODUCTS,
    LINEAR_RULE, ARRAS_CELL, RUDDER_ARRIVAL, RUDDER_CELL, LEFT_OUT, MERGE_RULE,
}  # fmt: skip
TRAINING = CURVED | GRADIENTS - {ALONG} | {
    PRODUCT, ACTIVATE, FILL, ADD, CONTRACT, MOVE, TIMES, DRAW, DIFFERS, BLEND, GRU_GATES, GRU_GATES_GRADIENT,
}  # fmt: skip

#: Activations by their code, which is their place among those that layers accept; curves have codes of their own.
ACTIVATIONS = (*LSTM_ACTIVATIONS, "softmax")
TANH, SIGMOID, RELU, LINEAR, HARD_SIGMOID, HARD_SIGMOID_KERAS2, SOFTMAX = (
    ACTIVATIONS.index(name)
    for name in ("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_sigmoid_keras2", "softmax")
)

LEAKY_RELU, RELU6, ELU, SELU, SILU, GELU, GELU_TANH, SOFTPLUS, SOFTSIGN, EXPONENTIAL = (
    CURVES.index(name)
    for name in (
        "leaky_relu", "relu6", "elu", "selu", "silu", "gelu", "gelu_tanh", "softplus", "softsign", "exponential",
    )
)  # fmt: skip

#: Modes of a product: it stores its sums; multiplies them by the rows of ``mul``, adds ``share`` and stores that; or
#: adds that to what is there.
STORE, SPREAD, SPREAD_ADD = 0, 1, 2
#: Stages of a GRU's step: all of it where the reset gate works after the product with U; where it works before it, the
#: gates, and, when the product has been added, the rest.
WHOLE, RESET, UPDATE = 0, 1, 2

#: The words of a record, each with the names it has in different kinds.
WORDS = (
    ("kind",),
    ("units",),
    # rows
    ("out", "h", "r_g", "dc"),
    ("a", "upper", "arrived", "tanh_c", "d_reset"),
    ("b", "h_before", "relevance", "r_c", "q_sum", "dh"),
    ("c", "q", "spare"),
    ("before", "extra"),
    ("z", "state"),
    ("init", "stage"),
    ("mul", "columns", "reset"),
    ("share", "stride"),
    # whether a, init and mul are rows of the months, and by how many months they are shifted
    ("a_months",),
    ("init_months",),
    ("mul_months",),
    ("shift", "steps"),
    # depths of a product; rows from step to step of a contraction; the threshold of a drawn number, and its stream
    ("a_depth", "a_step", "threshold"),
    ("b_depth", "b_step", "stream"),
    ("weights", "bias", "place"),
    ("mode", "gate"),
    ("activation",),
)
WORD = {name: at for at, names in enumerate(WORDS) for name in names}
_FACTOR = len(WORDS)
INSTRUCTION = np.dtype(
    (
        np.record,
        np.dtype(
            {
                "names": [*WORD, "factor"],
                "formats": [np.int64] * len(WORD) + [np.float64],
                "offsets": [8 * at for at in WORD.values()] + [8 * _FACTOR],
                "itemsize": 8 * (_FACTOR + 1),
            }
        ),
    )
)


class At(NamedTuple):
    """Rows outside the tile: among the months that windows share, shifted by ``shift`` months."""

    row: int
    shift: int


class UnknownInstructionError(ValueError):
    """Raised where a machine does not know an instruction of a program."""


class Instruction(NamedTuple):
    """One thing to do; only the functions below make it."""

    kind: int
    operands: dict[str, int]
    factor: float = 0.0


def _code(activation: str, *, softmax: bool = False) -> int:
    """The code of an activation; softmax, which needs all units at once, is accepted only where it is asked for."""
    known = [name for name in ACTIVATIONS if softmax or name != "softmax"]
    if activation not in known:
        raise ValueError(f"kernels compute the activations {', '.join(known)} here, not {activation!r}")
    return ACTIVATIONS.index(activation)


# ---- the kinds: operands name rows to read or write, ``units`` of them unless said otherwise ------------------------


def product(
    units: int,
    *,
    out: int,
    weights: int,
    a: int | At,
    a_depth: int,
    b: int = 0,
    b_depth: int = 0,
    init: int | At | None = None,
    mul: int | At = 0,
    share: int = 0,
    mode: int = STORE,
) -> Instruction:
    """out = bias (or ``init``) + packed ``weights`` times ``a_depth`` rows of a and ``b_depth`` of b; see ``mode``."""
    places = {"a": a, "mul": mul, "init": -1 if init is None else init}
    given = {"units": units, "out": out, "weights": weights, "a_depth": a_depth, "b": b, "b_depth": b_depth}
    return Instruction(PRODUCT, {**given, **_located(places), "share": share, "mode": mode})


def products(
    units: int, *, out: int, weights: int, a: int, a_depth: int, stride: int, steps: int
) -> Instruction:  # fmt: skip
    """``steps`` products with the same weights: out = bias + packed ``weights`` times ``a_depth`` rows of a, which
    stand ``stride`` rows apart from step to step; those of out follow one another."""
    given = {"units": units, "out": out, "weights": weights, "a": a, "a_depth": a_depth, "stride": stride}
    return Instruction(PRODUCTS, {**given, "steps": steps})


def activate(units: int, *, a: int, out: int, activation: str) -> Instruction:
    """out = activation(a); softmax works over the units of each lane, the others number by number."""
    code = _code(activation, softmax=True)
    return Instruction(ACTIVATE, {"units": units, "a": a, "out": out, "activation": code})


def curve(units: int, *, a: int, out: int, activation: str, alpha: float | None = None) -> Instruction:
    """out = activation(a), one of ``CURVES``, with its parameter; a is not out, as its slope is taken there."""
    return Instruction(
        CURVE, {"units": units, "a": a, "out": out, "activation": CURVES.index(activation)}, alpha or 0.0
    )


def curve_slope(units: int, *, a: int, out: int, activation: str, alpha: float | None = None) -> Instruction:
    """out *= the derivative of that activation at a."""
    code = CURVES.index(activation)
    return Instruction(CURVE_SLOPE, {"units": units, "a": a, "out": out, "activation": code}, alpha or 0.0)


def fill(units: int, *, out: int) -> Instruction:
    """out = 0."""
    return Instruction(FILL, {"units": units, "out": out})


def copy(units: int, *, a: int, out: int) -> Instruction:
    """out = a."""
    return Instruction(COPY, {"units": units, "a": a, "out": out})


def add(units: int, *, a: int, out: int, factor: float = 1.0) -> Instruction:
    """out += factor a."""
    return Instruction(ADD, {"units": units, "a": a, "out": out}, factor)


def scale(units: int, *, out: int, factor: float) -> Instruction:
    """out *= factor."""
    return Instruction(SCALE, {"units": units, "out": out}, factor)


def multiply(units: int, *, a: int, out: int) -> Instruction:
    """out *= a."""
    return Instruction(MULTIPLY, {"units": units, "a": a, "out": out})


def sum_rows(units: int, *, a: int, out: int) -> Instruction:
    """out (one row) += the sum of the rows of a."""
    return Instruction(SUM, {"units": units, "a": a, "out": out})


def cell(units: int, *, z: int, before: int, c: int, h: int) -> Instruction:
    """An LSTM's cell with tanh and sigmoid: i, f, g in z and o in c become i*g, f*c', g and the new c."""
    return Instruction(CELL, {"units": units, "z": z, "before": before, "c": c, "h": h})


def lstm_step(
    units: int,
    *,
    weights: int,
    z: int,
    before: int,
    c: int,
    h: int,
    h_before: int,
    b_depth: int,
    a: int | At = 0,
    a_depth: int = 0,
    init: int | At | None = None,
    keeps_upper: bool = False,
) -> Instruction:
    """The product of the four gates, and the cell, at once; a thread reads h of the step before while others write h.

    z gets i*g, f*c', zg and, where asked for, the part of zg that comes from x_t alone.
    """
    places = {"a": a, "init": -1 if init is None else init}
    given = {"units": units, "weights": weights, "z": z, "before": before, "c": c, "h": h, "h_before": h_before}
    return Instruction(
        LSTM_STEP, {**given, **_located(places), "a_depth": a_depth, "b_depth": b_depth, "mode": int(keeps_upper)}
    )


def linear_rule(
    units: int, *, z: int, relevance: int, extra: int, bias: int, q: int, share: int, inputs: int
) -> Instruction:
    """q = (relevance + extra)/(z + eps s) of a map with ``inputs`` inputs. ``extra``, and ``share``, each input's even
    share, are one row each."""
    given = {"units": units, "z": z, "relevance": relevance, "extra": extra, "bias": bias, "q": q, "share": share}
    return Instruction(LINEAR_RULE, given, 1 / inputs)


def merge_rule(units: int, *, a: int, q: int, share: int, out: int, factor: float) -> Instruction:
    """out = factor a q + share: the relevance of one of two directions that were summed or averaged."""
    return Instruction(MERGE_RULE, {"units": units, "a": a, "q": q, "share": share, "out": out}, factor)


def arras_cell(units: int, *, state: int, r_c: int, r_g: int, share: int) -> Instruction:
    """The linear rule on c = i*g + f*c', whose terms stand in ``state``: R_c becomes R_c'. Even shares are still to be
    added to R_g and R_c'."""
    given = {"units": units, "state": state, "r_c": r_c, "r_g": r_g, "share": share}
    return Instruction(ARRAS_CELL, given, 1 / (2 * units))


def rudder_arrival(units: int, *, state: int, arrived: int, q_sum: int) -> Instruction:
    """q_sum += arrived/(c + eps s); ``arrived`` counts as lost until a step takes it."""
    return Instruction(RUDDER_ARRIVAL, {"units": units, "state": state, "arrived": arrived, "q_sum": q_sum})


def rudder_cell(units: int, *, state: int, q_sum: int, r_g: int) -> Instruction:
    """R_g = i*g q_sum, which is no longer lost."""
    return Instruction(RUDDER_CELL, {"units": units, "state": state, "q_sum": q_sum, "r_g": r_g})


def left_out(units: int, *, upper: int | At, z: int, q: int) -> Instruction:
    """Count as lost the relevance that a path would carry whose part of z, z - upper, is left out."""
    return Instruction(LEFT_OUT, {"units": units, **_located({"upper": upper}), "z": z, "q": q})


def gates(
    units: int, *, z: int, before: int, c: int, tanh_c: int, h: int, activation: str, gate: str
) -> Instruction:  # fmt: skip
    """An LSTM's cell where a gradient follows: z (four times ``units``) becomes i, f, g, o; c, tanh(c), h are kept."""
    given = {"units": units, "z": z, "before": before, "c": c, "tanh_c": tanh_c, "h": h}
    return Instruction(GATES, {**given, "activation": _code(activation), "gate": _code(gate)})


def gates_gradient(
    units: int, *, z: int, before: int, tanh_c: int, dh: int, dc: int, spare: int, activation: str, gate: str
) -> Instruction:
    """Back through ``gates``: i, f, g, o in z become dz, and dc becomes the step before's; ``spare`` has four times
    ``units`` rows."""
    given = {"units": units, "z": z, "before": before, "tanh_c": tanh_c, "dh": dh, "dc": dc, "spare": spare}
    return Instruction(GATES_GRADIENT, {**given, "activation": _code(activation), "gate": _code(gate)})


def gru_cell(
    units: int, *, z: int, before: int, h: int, activation: str, gate: str, stage: int, a: int | At = 0
) -> Instruction:
    """A GRU's step. z has four times ``units`` rows: gates z, r, the candidate's pre-activation zh, and the past.

    WHOLE: the past is h' U + b of the candidate, and ``a`` is x W + b of it; zh becomes a + r*past, and the past r.
    RESET: the past becomes r*h'. UPDATE: from zh. z and r become (1-z)*candidate and z*h', whose sum is h. With tanh
    and sigmoid, gates z and r come in units of 2^t (see ``LOG2E``).
    """
    given = {"units": units, "z": z, "before": before, "h": h, "stage": stage, **_located({"a": a})}
    return Instruction(GRU_CELL, {**given, "activation": _code(activation), "gate": _code(gate)})


def reset_rule(
    units: int, *, z: int, reset: int, relevance: int, extra: int, bias: int, q: int, share: int, inputs: int
) -> Instruction:
    """``linear_rule`` of a map whose bias is b + reset*rb: ``units`` biases b, then as many rb. ``relevance`` becomes
    reset*q."""
    given = {"units": units, "z": z, "reset": reset, "relevance": relevance, "extra": extra, "bias": bias, "q": q}
    return Instruction(RESET_RULE, {**given, "share": share}, 1 / inputs)


def reset_left_out(units: int, *, upper: int | At, z: int, reset: int, bias: int, q: int) -> Instruction:
    """``left_out`` where the map's part without the path is upper + reset*bias."""
    given = {"units": units, **_located({"upper": upper}), "z": z, "reset": reset, "bias": bias, "q": q}
    return Instruction(RESET_LEFT_OUT, given)


def gru_gates(
    units: int, *, z: int, before: int, h: int, activation: str, gate: str, stage: int
) -> Instruction:  # fmt: skip
    """A GRU's step where a gradient follows, by stages as ``gru_cell``: in z, pre-activations of z, r and the candidate
    (WHOLE: x W + b of it) become their values; the past stays, or (RESET) becomes r*h'."""
    given = {"units": units, "z": z, "before": before, "h": h, "stage": stage}
    return Instruction(GRU_GATES, {**given, "activation": _code(activation), "gate": _code(gate)})


def gru_gates_gradient(
    units: int, *, z: int, before: int, dh: int, d_reset: int, spare: int, activation: str, gate: str, stage: int
) -> Instruction:
    """Back through ``gru_gates``: values in z become dz, and dh becomes the part of the step before's that passes no
    weight. WHOLE: the past becomes its gradient, too. UPDATE, then RESET: by ``d_reset``, the gradient of r*h'.
    ``spare`` has three times ``units`` rows."""
    given = {"units": units, "z": z, "before": before, "dh": dh, "d_reset": d_reset, "spare": spare, "stage": stage}
    return Instruction(GRU_GATES_GRADIENT, {**given, "activation": _code(activation), "gate": _code(gate)})


def slope(units: int, *, a: int, out: int, activation: str) -> Instruction:
    """out *= the activation's derivative where its output is a."""
    return Instruction(SLOPE, {"units": units, "a": a, "out": out, "activation": _code(activation)})


def along(units: int, *, a: int, bias: int, out: int) -> Instruction:
    """out = bias + part of a: a map's pre-activation where X has gone a part of the way from a baseline, and ``a`` is
    what the whole way adds. The machine knows the part."""
    return Instruction(ALONG, {"units": units, "a": a, "bias": bias, "out": out})


def contract(
    units: int, *, columns: int, place: int, a: int, a_step: int, b: int, b_step: int, steps: int, stride: int = 0
) -> Instruction:
    """The gradient at ``place``: ``units`` rows of a times ``columns`` rows of b, summed over samples and steps.

    ``stride``: columns of the matrix of which these are a part; 0 where they are all.
    """
    given = {"units": units, "columns": columns, "place": place, "a": a, "a_step": a_step, "b": b, "b_step": b_step}
    return Instruction(CONTRACT, {**given, "steps": steps, "stride": stride})


def move(units: int, *, a: int, out: int, factor: float = 1.0) -> Instruction:
    """out = factor a."""
    return Instruction(MOVE, {"units": units, "a": a, "out": out}, factor)


def times(units: int, *, a: int, b: int, out: int) -> Instruction:
    """out = a b."""
    return Instruction(TIMES, {"units": units, "a": a, "b": b, "out": out})


def draw(units: int, *, out: int, rate: float, stream: int) -> Instruction:
    """Dropout's mask: 0 with probability ``rate``, else 1/(1 - rate)."""
    given = {"units": units, "out": out, "threshold": round(rate * 2**32), "stream": stream}
    return Instruction(DRAW, given, 1.0 / (1.0 - rate))


def differs(units: int, *, a: int, out: int, value: float) -> Instruction:
    """out (one row) = 1 where any of the rows of a is not ``value``, compared in float32, else 0."""
    return Instruction(DIFFERS, {"units": units, "a": a, "out": out}, value)


def blend(units: int, *, a: int, b: int, out: int) -> Instruction:
    """out = a where b (one row) is 0, whatever stood there; elsewhere it stays."""
    return Instruction(BLEND, {"units": units, "a": a, "b": b, "out": out})


def _located(places: dict[str, int | At]) -> dict[str, int]:
    """Operands for rows of the tile, and for rows of months with their shift; an instruction has only one shift."""
    found: dict[str, int] = {}
    shifts = {place.shift for place in places.values() if isinstance(place, At)}
    if len(shifts) > 1:
        raise ValueError(f"an instruction has one shift of months, not {sorted(shifts)}")
    for name, place in places.items():
        if isinstance(place, At):
            found |= {name: place.row, f"{WORDS[WORD[name]][0]}_months": 1, "shift": place.shift}
        else:
            found[name] = place
    return found


# ---- from a list to the records that a machine reads ----------------------------------------------------------------

_Reach = Callable[[Array], Any]


def _units(times_: int = 1) -> _Reach:
    return lambda do: times_ * do["units"]


def _one(do: Array) -> Any:
    return 1


def _where(condition: _Reach, reach: _Reach) -> _Reach:
    return lambda do: np.where(condition(do), reach(do), 0)


def _spreads(do: Array) -> Any:
    return do["mode"] != STORE


def _strided(rows: str, step: str) -> _Reach:
    """Rows that a contraction reads, from the first of its steps to the last (steps may run downwards)."""
    return lambda do: np.where(do["steps"] > 0, do[rows] + np.maximum(do[step], 0) * (do["steps"] - 1), 0)


#: The operands of each kind that are rows, and the number of rows that it touches from there.
_REACH: dict[int, dict[str, _Reach]] = {
    PRODUCT: {
        "out": _units(), "a": lambda do: do["a_depth"], "b": lambda do: do["b_depth"],
        "init": _where(lambda do: do["init"] >= 0, _units()), "mul": _where(_spreads, _units()),
        "share": _where(_spreads, _one),
    },
    ACTIVATE: {"a": _units(), "out": _units()},
    FILL: {"out": _units()},
    COPY: {"a": _units(), "out": _units()},
    ADD: {"a": _units(), "out": _units()},
    SCALE: {"out": _units()},
    SUM: {"a": _units(), "out": _one},
    MULTIPLY: {"a": _units(), "out": _units()},
    CELL: {"z": _units(3), "before": _units(), "c": _units(), "h": _units()},
    LSTM_STEP: {
        "z": lambda do: (3 + do["mode"]) * do["units"], "before": _units(), "c": _units(), "h": _units(),
        "a": lambda do: do["a_depth"], "h_before": lambda do: do["b_depth"],
        "init": _where(lambda do: do["init"] >= 0, _units(4)),
    },
    PRODUCTS: {
        "out": lambda do: do["steps"] * do["units"], "a": lambda do: (do["steps"] - 1) * do["stride"] + do["a_depth"],
    },
    LINEAR_RULE: {"z": _units(), "relevance": _units(), "extra": _one, "q": _units(), "share": _one},
    ARRAS_CELL: {"state": _units(2), "r_c": _units(), "r_g": _units(), "share": _one},
    RUDDER_ARRIVAL: {"state": _units(2), "arrived": _units(), "q_sum": _units()},
    RUDDER_CELL: {"state": _units(), "q_sum": _units(), "r_g": _units()},
    LEFT_OUT: {"upper": _units(), "z": _units(), "q": _units()},
    MERGE_RULE: {"a": _units(), "q": _units(), "out": _units(), "share": _one},
    GATES: {"z": _units(4), "before": _units(), "c": _units(), "tanh_c": _units(), "h": _units()},
    GATES_GRADIENT: {
        "z": _units(4), "before": _units(), "tanh_c": _units(), "dh": _units(), "dc": _units(), "spare": _units(4),
    },
    SLOPE: {"a": _units(), "out": _units()},
    ALONG: {"a": _units(), "out": _units()},
    CONTRACT: {"a": _strided("units", "a_step"), "b": _strided("columns", "b_step")},
    MOVE: {"a": _units(), "out": _units()},
    TIMES: {"a": _units(), "b": _units(), "out": _units()},
    DRAW: {"out": _units()},
    DIFFERS: {"a": _units(), "out": _one},
    BLEND: {"a": _units(), "b": _one, "out": _units()},
    GRU_CELL: {
        "z": _units(4), "before": _units(), "a": _where(lambda do: do["stage"] == WHOLE, _units()),
        "h": _where(lambda do: do["stage"] != RESET, _units()),
    },
    RESET_RULE: {"z": _units(), "reset": _units(), "relevance": _units(), "extra": _one, "q": _units(), "share": _one},
    RESET_LEFT_OUT: {"upper": _units(), "z": _units(), "reset": _units(), "q": _units()},
    GRU_GATES: {"z": _units(4), "before": _units(), "h": _where(lambda do: do["stage"] != RESET, _units())},
    GRU_GATES_GRADIENT: {
        "z": _units(4), "before": _units(), "dh": _units(), "spare": _units(3),
        "d_reset": _where(lambda do: do["stage"] == RESET, _units()),
    },
    CURVE: {"a": _units(), "out": _units()},
    CURVE_SLOPE: {"a": _units(), "out": _units()},
}  # fmt: skip


_PLACED = ("a_months", "init_months", "shift")
#: The operands of each kind that are not rows, besides ``units``.
_NUMBERS: dict[int, tuple[str, ...]] = {
    PRODUCT: ("weights", "a_depth", "b_depth", "mode", "mul_months", *_PLACED),
    LSTM_STEP: ("weights", "a_depth", "b_depth", "mode", *_PLACED),
    PRODUCTS: ("weights", "a_depth", "stride", "steps"),
    LINEAR_RULE: ("bias",),
    ALONG: ("bias",),
    LEFT_OUT: ("a_months", "shift"),
    ACTIVATE: ("activation",),
    SLOPE: ("activation",),
    GATES: ("activation", "gate"),
    GATES_GRADIENT: ("activation", "gate"),
    CONTRACT: ("columns", "place", "a_step", "b_step", "steps", "stride"),
    DRAW: ("threshold", "stream"),
    GRU_CELL: ("activation", "gate", "stage", "a_months", "shift"),
    RESET_RULE: ("bias",),
    RESET_LEFT_OUT: ("bias", "a_months", "shift"),
    GRU_GATES: ("activation", "gate", "stage"),
    GRU_GATES_GRADIENT: ("activation", "gate", "stage"),
    CURVE: ("activation",),
    CURVE_SLOPE: ("activation",),
}
#: Biases a unit that kinds without a matrix read.
_BIASES = {LINEAR_RULE: 1, ALONG: 1, RESET_RULE: 2, RESET_LEFT_OUT: 1}
_NEEDED = {kind: {"units", *reach} for kind, reach in _REACH.items()}
_TAKEN = {kind: {*needed, *_NUMBERS.get(kind, ())} for kind, needed in _NEEDED.items()}


def assemble(
    program: Sequence[Instruction], machine: Iterable[int], *, rows: int, month_rows: int = 0, weights: int = 0
) -> Array:
    """Check instructions, and write them as a machine reads them.

    Parameters
    ----------
    program : sequence of Instruction
    machine : kinds of instructions that the machine knows
    rows, month_rows, weights : numbers of a tile's rows, of the months' rows, and of packed weights

    Returns
    -------
    record array of INSTRUCTION

    Raises
    ------
    UnknownInstructionError
        If the machine does not know a kind.
    ValueError
        If an instruction's operands are not those of its kind, or if it touches
        rows or weights that do not exist.
    """
    words = np.zeros((len(program), _FACTOR + 1), np.int64)
    known = frozenset(machine)
    for line, instruction in zip(words, program, strict=True):
        if instruction.kind not in known:
            raise UnknownInstructionError(f"the machine does not know the instruction {_name(instruction.kind)}")
        _check_operands(instruction)
        line[0] = instruction.kind
        for name, value in instruction.operands.items():
            line[WORD[name]] = value
    words[:, _FACTOR] = np.array([instruction.factor for instruction in program], np.float64).view(np.int64)
    records: Array = words.reshape(-1).view(INSTRUCTION)
    for kind in known:
        of_kind = records[records["kind"] == kind]
        if of_kind.size:
            _check_rows(of_kind, kind, rows, month_rows)
            _check_numbers(of_kind, kind, weights)
    return records


def _check_operands(instruction: Instruction) -> None:
    kind, given = instruction.kind, instruction.operands.keys()
    if not given <= _TAKEN[kind]:
        taken = ", ".join(name for name in WORD if name in _TAKEN[kind])
        raise ValueError(f"{_name(kind)} takes the operands {taken}, not {min(given - _TAKEN[kind])!r}")
    if not given >= _NEEDED[kind]:
        raise ValueError(f"{_name(kind)} lacks the operand {min(_NEEDED[kind] - given)!r}")


def _check_rows(do: Array, kind: int, rows: int, month_rows: int) -> None:
    if (do["units"] < 0).any():
        raise ValueError(f"{_name(kind)} of {do['units'].min()} units")
    for name, reach in _REACH[kind].items():
        among = WORDS[WORD[name]][0] + "_months"
        limit = np.where(do[among], month_rows, rows) if among in WORD else np.full(do.shape, rows)
        first, count = do[name], np.broadcast_to(reach(do), do.shape)
        wrong = (count > 0) & ((first < 0) | (first + count > limit))
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{_name(kind)} touches rows {first[at]} to {first[at] + count[at] - 1} as {name}, expected rows 0 to "
                f"{limit[at] - 1}"
            )


def _check_numbers(do: Array, kind: int, weights: int) -> None:
    if kind in (PRODUCT, LSTM_STEP, PRODUCTS, *_BIASES):
        height = do["units"] * (4 if kind == LSTM_STEP else _BIASES.get(kind, 1))
        last = do["weights"] + height * (1 if kind in _BIASES else 1 + do["a_depth"] + do["b_depth"])
        wrong = (do["weights"] < 0) | (last > weights)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{_name(kind)} reads packed weights {do['weights'][at]} to {last[at] - 1}, expected 0 to {weights - 1}"
            )
    for name in {"activation", "gate"} & _TAKEN[kind]:
        known = len(CURVES) if kind in CURVED else len(ACTIVATIONS) - (kind != ACTIVATE)
        wrong = (do[name] < 0) | (do[name] >= known)
        if wrong.any():
            raise ValueError(f"{_name(kind)} of an {name} with code {do[name][wrong][0]}, which kernels do not know")


def _name(kind: int) -> str:
    return KINDS[kind] if 0 <= kind < len(KINDS) else f"of kind {kind}"
