"""Random networks, samples and rules, built from a generator or drawn by hypothesis, and their conversion to fastlrp's.

Layers are the plain dicts of ``reference.py``. Hypothesis draws what has structure (depths, widths, parameters) and a
seed; the weights come from the seed, so that their size is that of a trained network's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import reference
from hypothesis import strategies as st

import fastlrp as fl
from fastlrp.model.layers import ALPHAS, CURVES

Array = npt.NDArray[Any]
Layer = dict[str, Any]


def examples(n: int) -> int:
    """Number of examples to draw: a few where kernels run as plain Python, which is some hundred times slower."""
    return max(2, n // 20) if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" else n


# -- layers from a generator -------------------------------------------------------------------------------------------


def lstm(
    rng: np.random.Generator,
    D: int,
    H: int,
    *,
    bias: bool = True,
    return_sequences: bool = False,
    go_backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> Layer:
    """An LSTM with pre-activations of size near 1, or less where unbounded activations would make products explode."""
    unbounded = {"relu", "linear"}
    size = 0.5 if activation in unbounded else 1.2
    size *= 0.4 if recurrent_activation in unbounded else 1.0
    return {
        "kind": "lstm",
        "W": rng.normal(0, size / np.sqrt(D), (D, 4 * H)),
        "U": rng.normal(0, size / np.sqrt(H), (H, 4 * H)),
        "b": rng.normal(0, 0.3, 4 * H) if bias else None,
        "return_sequences": return_sequences,
        "go_backwards": go_backwards,
        "activation": activation,
        "recurrent_activation": recurrent_activation,
    }


def gru(
    rng: np.random.Generator, D: int, H: int, *, bias: bool = True, reset_after: bool = True, **options: Any
) -> Layer:
    """A GRU with pre-activations of the same size; ``options`` are those of ``lstm``."""
    layer = lstm(rng, D, H, bias=False, **options)
    b = rng.normal(0, 0.3, (2, 3 * H) if reset_after else 3 * H) if bias else None
    weights = {key: layer[key][:, : 3 * H] for key in ("W", "U")}
    return {**layer, "kind": "gru", **weights, "b": b, "reset_after": reset_after}


def bidirectional(
    rng: np.random.Generator, D: int, H: int, merge_mode: str = "concat", cell: Any = lstm, **options: Any
) -> Layer:
    """Two LSTMs, or GRUs, of the same shape; ``options`` go to both."""
    halves = {key: cell(rng, D, H, **options) for key in ("forward", "backward")}
    return {"kind": "bidirectional", **halves, "merge_mode": merge_mode}


def dense(
    rng: np.random.Generator, N: int, M: int, *, bias: bool = True, activation: str = "linear", **options: Any
) -> Layer:
    """A Dense layer; ``options`` is its alpha, where the activation has one."""
    W = rng.normal(0, 1.2 / np.sqrt(N), (N, M))
    b = rng.normal(0, 0.3, M) if bias else None
    return {"kind": "dense", "W": W, "b": b, "activation": activation, **options}


def width(layer: Layer) -> int:
    """Outputs of a layer with weights."""
    if layer["kind"] == "bidirectional":
        return len(layer["forward"]["U"]) * (2 if layer["merge_mode"] == "concat" else 1)
    return layer["W"].shape[1] if layer["kind"] == "dense" else len(layer["U"])


def cast(layer: Layer, dtype: npt.DTypeLike) -> Layer:
    """The layer with its weights rounded to a dtype."""
    if layer["kind"] == "bidirectional":
        return {**layer, **{key: cast(layer[key], dtype) for key in ("forward", "backward")}}
    return {key: value.astype(dtype) if isinstance(value, np.ndarray) else value for key, value in layer.items()}


# -- to and from fastlrp -----------------------------------------------------------------------------------------------

_CLASSES = {"lstm": fl.LSTM, "gru": fl.GRU, "dense": fl.Dense, "masking": fl.Masking}


def _value(layer: Layer) -> Any:
    options = {key: value for key, value in layer.items() if key != "kind"}
    if layer["kind"] == "dropout":
        return fl.Dropout(0.2)
    if layer["kind"] == "bidirectional":
        return fl.Bidirectional(_value(layer["forward"]), _value(layer["backward"]), merge_mode=layer["merge_mode"])
    return _CLASSES[layer["kind"]](**options)


def network(layers: list[Layer], **names: Any) -> fl.Network:
    """The fastlrp network of plain layers."""
    joins = next((layer["n"] for layer in layers if layer["kind"] == "static"), None)
    return fl.Network([_value(layer) for layer in layers if layer["kind"] != "static"], **{"static": joins, **names})


def _plain(layer: Any) -> Layer:
    kind = layer.kind.lower()
    if kind == "dropout":
        return {"kind": kind}
    if kind == "masking":
        return {"kind": kind, "value": layer.value}
    if kind == "bidirectional":
        halves = {"forward": _plain(layer.forward), "backward": _plain(layer.backward)}
        return {"kind": kind, **halves, "merge_mode": layer.merge_mode}
    keys = ["W", "U", "b", "reset_after", "return_sequences", "go_backwards", "activation", "recurrent_activation",
            "alpha"]  # fmt: skip
    return {"kind": kind, **{key: getattr(layer, key) for key in keys if hasattr(layer, key)}}


def plain(net: fl.Network) -> list[Layer]:
    """The plain layers of a fastlrp network."""
    layers = [_plain(layer) for layer in net]
    return [*layers[: net.join], {"kind": "static", "n": net.n_static}, *layers[net.join :]] if net.n_static else layers


def rule_value(rule: reference.Rule) -> Any:
    """The fastlrp rule of a reference rule."""
    options = {"eps": rule.eps, "delta": rule.delta, "stabilizer": rule.stabilizer}
    return fl.Rudder(**options) if rule.name == "rudder" else fl.Arras(**options, recurrent=rule.recurrent)


def reference_batch(
    layers: list[Layer],
    X: Array,
    rule: reference.Rule,
    target: int = 0,
    aggregate: str | bool = "sequence",
    at_step: int = -1,
    S: Array | None = None,
) -> dict[str, Array]:
    """The reference's answers for every sample, stacked: values (n, T, D), prediction (n, K), the totals (n,); of
    samples with static features S (n, S), also ``static``."""
    beside = [None] * len(X) if S is None else S
    return _stacked(
        [reference.explain(layers, x, rule, target, aggregate, at_step, s) for x, s in zip(X, beside, strict=True)]
    )


def _stacked(rows: list[reference.Explanation]) -> dict[str, Array]:
    keys = ("prediction", "score", "initial_state", "unattributed", "least_sign")
    static = {"static": np.array([row.static for row in rows])} if rows[0].static is not None else {}
    return {"values": np.array([row.relevance for row in rows]), **static} | {
        key: np.array([getattr(row, key) for row in rows]) for key in keys
    }


def gradient_batch(
    layers: list[Layer], X: Array, rule: Any, target: int = 0, at_step: int = -1, S: Array | None = None
) -> dict[str, Array]:
    """The reference's answers by fastlrp's rule GradientXInput or IntegratedGradients, stacked likewise."""
    beside = np.zeros((len(X), 0)) if S is None else S
    if isinstance(rule, fl.GradientXInput):
        rows = [reference.gradient_x_input(layers, x, target, at_step, s) for x, s in zip(X, beside, strict=True)]
    else:
        starts = [0.0 if start is None else start for start in (rule.baseline, rule.static)]
        rows = [
            reference.integrated_gradients(layers, x, rule.n_steps, starts[0], target, at_step, s, starts[1])
            for x, s in zip(X, beside, strict=True)
        ]
    return _stacked(rows)


# -- drawn by hypothesis -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A network, samples, and the question about them."""

    layers: list[Layer]
    X: Array
    rule: reference.Rule
    target: int
    aggregate: str | bool
    at_step: int = -1
    S: Array | None = None  # static features (n, S)

    def __repr__(self) -> str:
        layers = [_shape_only(layer) for layer in self.layers]
        return f"Case({layers}, X{self.X.shape}, {self.rule}, target={self.target}, aggregate={self.aggregate!r})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The text that hypothesis prints for a failing example: shapes, not pages of weights."""
        printer.text(repr(self))


def _shape_only(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape_only(part) for key, part in value.items()}
    return value.shape if isinstance(value, np.ndarray) else value


def rules(eps: tuple[float, ...] = (1e-3, 1e-2, 0.3, 1e-5)) -> st.SearchStrategy[reference.Rule]:
    """Either rule with any parameters."""
    return st.builds(
        reference.Rule,
        name=st.sampled_from(["arras", "rudder"]),
        eps=st.sampled_from(eps),
        delta=st.sampled_from([0.0, 1.0]),
        stabilizer=st.sampled_from(["paper", "absorbed"]),
        recurrent=st.booleans(),
    )


# Mostly the activations that people train with, sometimes one of the others.
_SIGNALS = st.sampled_from(["tanh"] * 6 + ["sigmoid", "relu", "linear", "hard_sigmoid", "hard_sigmoid_keras2"])
_GATES = st.sampled_from(["sigmoid"] * 6 + ["hard_sigmoid", "hard_sigmoid_keras2"] * 2 + ["tanh", "relu", "linear"])
_DENSE = st.sampled_from(["linear", "relu", "tanh", "sigmoid", "hard_sigmoid", "hard_sigmoid_keras2"])
_CURVES = st.sampled_from(["linear", *CURVES])
_WIDTHS = st.one_of(st.integers(1, 9), st.integers(1, 20), st.sampled_from([1, 4, 8, 15, 16, 17]))


def has_gru(layers: list[Layer]) -> bool:
    """Whether any of the layers is a GRU, or two of them."""
    return any("gru" in (layer["kind"], layer.get("forward", layer)["kind"]) for layer in layers)


@st.composite
def recurrent_layers(
    draw: st.DrawFn, rng: np.random.Generator, D: int, return_sequences: bool, *, gru_too: bool
) -> Layer:
    """An LSTM, a GRU or a Bidirectional on D inputs."""
    options = {
        "return_sequences": return_sequences,
        "bias": draw(st.integers(0, 3)) > 0,
        "activation": draw(_SIGNALS),
        "recurrent_activation": draw(_GATES),
    }
    H, cell = draw(_WIDTHS), lstm
    if gru_too and draw(st.integers(0, 2)) == 0:
        cell, options["reset_after"] = gru, draw(st.booleans())
    if draw(st.booleans()):
        return cell(rng, D, H, go_backwards=draw(st.integers(0, 3)) == 0, **options)
    return bidirectional(rng, D, H, draw(st.sampled_from(["concat", "sum", "ave"])), cell, **options)


@st.composite
def networks(
    draw: st.DrawFn, rng: np.random.Generator, D: int, kind: str = "usual", *, gru_too: bool = True
) -> list[Layer]:
    """One to three recurrent layers with Dense and Dropout below, between and above, or no head at all.

    Of other kinds, which the processor alone computes: "curves", Dense layers with other activations; "sequence", the
    last recurrent layer returns sequences; "dense", no recurrent layer.
    """
    layers: list[Layer] = []
    width_now = D

    def denses(how_many: int) -> None:
        nonlocal width_now
        for _ in range(how_many):
            bias = draw(st.integers(0, 3)) > 0
            activation = draw(_CURVES if kind == "curves" else _DENSE)
            own = {"alpha": draw(st.sampled_from([0.01, 0.3, 1.5]))} if activation in ALPHAS else {}
            layers.append(dense(rng, width_now, draw(_WIDTHS), bias=bias, activation=activation, **own))
            width_now = width(layers[-1])
            layers.extend([{"kind": "dropout"}] * draw(st.integers(0, 1)))

    rarely = st.sampled_from([0, 0, 0, 0, 1, 2])
    depth = 0 if kind == "dense" else draw(st.sampled_from([1, 1, 2, 2, 3]))
    for level in range(depth):
        denses(draw(rarely))
        layers.append(draw(recurrent_layers(rng, width_now, level + 1 < depth or kind == "sequence", gru_too=gru_too)))
        width_now = width(layers[-1])
        layers.extend([{"kind": "dropout"}] * draw(st.integers(0, 1)))
    if kind == "dense" or draw(st.integers(0, 4)) > 0:
        denses(draw(st.integers(1, 2)) if kind == "curves" else draw(rarely))
        outputs, bias = draw(st.sampled_from([1, 1, 2, 3, 5])), draw(st.integers(0, 3)) > 0
        activation = draw(st.sampled_from(["linear", "linear", "sigmoid", "tanh", "relu", "softmax"]))
        layers.append(dense(rng, width_now, outputs, bias=bias, activation=activation))
    return layers


def joined(rng: np.random.Generator, layers: list[Layer], S: int) -> list[Layer] | None:
    """The network with S static features in front of the first Dense above its last recurrent layer; None without."""
    recurrent = max(i for i, layer in enumerate(layers) if layer["kind"] in reference.RECURRENT)
    at = next((i for i in range(recurrent + 1, len(layers)) if layers[i]["kind"] == "dense"), None)
    if at is None:
        return None
    W = layers[at]["W"]
    wider = {**layers[at], "W": np.concatenate([W, rng.normal(0, 0.5, (S, W.shape[1]))]).astype(W.dtype)}
    return [*layers[:at], {"kind": "static", "n": S}, wider, *layers[at + 1 :]]


def n_outputs(layers: list[Layer]) -> int:
    """Units of the last layer with weights."""
    return width(next(layer for layer in reversed(layers) if layer["kind"] != "dropout"))


@st.composite
def cases(
    draw: st.DrawFn,
    dtype: npt.DTypeLike = np.float64,
    samples: st.SearchStrategy[int] | None = None,
    eps: tuple[float, ...] = (1e-3, 1e-2, 0.3, 1e-5),
    kind: str = "usual",
    *,
    gru_too: bool = True,
) -> Case:
    """A whole question; every part of it may vary, but rudder does not go through a GRU."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    D, T = draw(_WIDTHS), 1 if kind == "dense" else draw(st.integers(1, 7))
    n = draw(samples if samples is not None else st.one_of(st.integers(1, 10), st.integers(1, 40)))
    layers = [cast(layer, dtype) for layer in draw(networks(rng, D, kind, gru_too=gru_too))]
    X = rng.normal(size=(n, T, D)).astype(dtype)
    target = draw(st.integers(0, n_outputs(layers) - 1))
    rule = draw(rules(eps))
    if has_gru(layers):
        rule = replace(rule, name="arras")
    aggregate = draw(st.sampled_from(["sequence", "sequence", True, False]))
    at_step = draw(st.integers(0, T - 1)) if kind == "sequence" else -1
    if at_step in range(T - 1):  # the last step of the window has no part in it
        aggregate = "sequence"
    return Case(layers, X, rule, target, aggregate, at_step)


def gradient_rule(draw: Any, case: Case) -> tuple[Any, dict[str, Array]]:
    """A gradient rule for a case, and the reference's answers by it."""
    rule = draw(gradient_rules(*case.X.shape[1:]))
    return rule, gradient_batch(case.layers, case.X, rule, case.target, case.at_step)


@st.composite
def gradient_rules(draw: st.DrawFn, *steps_and_features: int) -> Any:
    """Either gradient rule for windows (T, D), or (D,) where a baseline has no value for each step."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([None, steps_and_features[-1:], steps_and_features]))
    integrated = fl.IntegratedGradients(draw(st.integers(1, 5)), None if shape is None else rng.normal(size=shape))
    return draw(st.sampled_from([fl.GradientXInput(), integrated]))


@st.composite
def questions(
    draw: st.DrawFn,
    dtype: npt.DTypeLike = np.float64,
    samples: st.SearchStrategy[int] | None = None,
    eps: tuple[float, ...] = (1e-3, 1e-2, 0.3, 1e-5),
    kinds: tuple[str, ...] = ("usual", "usual", "usual", "curves", "sequence", "dense"),
) -> Case:
    """A case of any kind, some with masked steps, some with static features; some ask a gradient rule."""
    kind = draw(st.sampled_from(kinds))
    case, masked = draw(cases(dtype, samples, eps, kind)), False
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind in ("usual", "curves"):
        masked = draw(st.integers(0, 3)) == 0
        if masked:
            case = with_masked_steps(rng, case, draw(st.sampled_from([0.0, -99.9])))
        layers = joined(rng, case.layers, n := draw(st.integers(1, 5))) if draw(st.integers(0, 3)) == 0 else None
        if layers is not None:
            case = replace(case, layers=layers, S=rng.normal(size=(len(case.X), n)).astype(dtype))
    if draw(st.integers(0, 4)) == 0:
        shape = case.X.shape[2:] if masked else case.X.shape[1:]
        case = replace(case, rule=draw(gradient_rules(*shape)), aggregate="sequence")
    return case


def with_masked_steps(rng: np.random.Generator, case: Case, value: float) -> Case:
    """The case above a Masking layer, with steps of its value in some samples: few, most or all of them."""
    X = case.X.copy()
    X[rng.random(X.shape[:2]) < rng.choice([0.0, 0.3, 0.8], (len(X), 1))] = value
    return replace(case, layers=[{"kind": "masking", "value": value}, *case.layers], X=X)


def given(case: Case) -> Any:
    """What ``explain`` and ``predict`` take: windows, or a pair with static features."""
    return case.X if case.S is None else [case.X, case.S]


def options(case: Case) -> dict[str, Any]:
    """The question, as ``explain`` takes it."""
    rule = rule_value(case.rule) if isinstance(case.rule, reference.Rule) else case.rule
    own = {"at_step": case.at_step} if case.at_step >= 0 else {}
    return {"rule": rule, "target": case.target, "aggregate": case.aggregate, "device": "cpu", **own}


def reference_answer(case: Case) -> dict[str, Array]:
    """The reference's answer to a case, by any rule."""
    if isinstance(case.rule, reference.Rule):
        return reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate, case.at_step, case.S)
    return gradient_batch(case.layers, case.X, case.rule, case.target, case.at_step, case.S)
