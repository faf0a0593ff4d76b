"""The slow twin of fastlrp: plain NumPy, float64, one sample at a time, in loops that read like the mathematics.

It imports nothing from fastlrp and shares no trick with its kernels: every linear rule forms all its messages R_i<-j.
A network is a list of plain dicts, from the input up::

    {"kind": "lstm", "W": (D, 4H), "U": (H, 4H), "b": (4H,) or None, "return_sequences": bool, "go_backwards": bool,
     "activation": str, "recurrent_activation": str}
    {"kind": "bidirectional", "forward": lstm, "backward": lstm, "merge_mode": "concat", "sum" or "ave"}
    {"kind": "dense", "W": (N, M), "b": (M,) or None, "activation": str}
    {"kind": "dropout"}
    {"kind": "masking", "value": float}, the first: at a step whose features all have that value, every recurrent layer
        keeps its state

Gradients, and what they are multiplied with, follow below the rules of LRP.

Sources: Arras et al. 2017 (arXiv:1706.07206) and 2019 (arXiv:1909.12114); RUDDER (arXiv:1806.07857), A8.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Layer = dict[str, Any]

#: The working precision. Set to another float type only to measure the effect of rounding alone on these formulas.
FLOAT: Any = np.float64

ACTIVATIONS = {
    "linear": lambda z: z,
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-np.maximum(z, -700))),  # beyond that, exp would overflow
    "relu": lambda z: np.maximum(z, 0),
    "hard_sigmoid": lambda z: np.minimum(np.maximum(z + 3, 0), 6) / 6,
    "hard_sigmoid_keras2": lambda z: np.clip(FLOAT(0.2) * z + FLOAT(0.5), 0, 1),
    "softmax": lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(),
}


@dataclass(frozen=True)
class Rule:
    """A rule and its parameters; ``recurrent`` belongs to arras."""

    name: str = "arras"
    eps: float = 1e-3
    delta: float = 0.0
    stabilizer: str = "paper"
    recurrent: bool = True


@dataclass
class Ledger:
    """Relevance that is not on the input.

    ``least_sign`` is the smallest |z| met, as a share of the terms that add up to z. Where it is near a float type's
    rounding, that type cannot tell the sign of z, nor the side on which eps is added.
    """

    initial_state: float = 0.0
    unattributed: float = 0.0
    least_sign: float = 1.0


@dataclass(frozen=True)
class Explanation:
    """One sample: relevance (T, D), prediction (K,), and score = relevance.sum() + initial_state + unattributed."""

    relevance: Array
    prediction: Array
    score: float
    initial_state: float
    unattributed: float
    least_sign: float


def sign(z: Array) -> Array:
    """+1 where z >= 0, else -1."""
    return np.where(z >= 0, FLOAT(1), FLOAT(-1))


def note_signs(z: Array, terms: Array, ledger: Ledger) -> None:
    """Keep the least |z| as a share of the terms that add up to it."""
    ledger.least_sign = min([ledger.least_sign, *(np.abs(z[terms > 0]) / terms[terms > 0])])


def linear_rule(
    a: Array, w: Array, b: Array, z: Array, R: Array, rule: Rule, ledger: Ledger, left_out: Array | float = 0.0
) -> Array:
    """R of the lower units a (N,), where z = a w + b + left_out; ``left_out`` comes from units that get nothing."""
    N = len(a)
    eps, delta, s = FLOAT(rule.eps), FLOAT(rule.delta), sign(z)
    share = eps * s + delta * b if rule.stabilizer == "paper" else delta * (eps * s + b)
    q = R / (z + eps * s)
    messages = np.empty((N, len(z)), FLOAT)
    for i in range(N):
        messages[i] = (a[i] * w[i] + share / N) * q
    ledger.unattributed += float(np.sum(q * (left_out + b + eps * s - share)))
    note_signs(z, np.abs(a) @ np.abs(w) + np.abs(left_out) + np.abs(b), ledger)
    return messages.sum(axis=1)


# -- forward -----------------------------------------------------------------------------------------------------------


def weights(layer: Layer) -> tuple[Array, Array, Array]:
    """W, U and b of an LSTM; a missing bias is zero."""
    W, U = np.asarray(layer["W"], FLOAT), np.asarray(layer["U"], FLOAT)
    return W, U, bias(layer, W.shape[1])


def bias(layer: Layer, size: int) -> Array:
    """The layer's bias; a missing one is zero."""
    return np.zeros(size, FLOAT) if layer["b"] is None else np.asarray(layer["b"], FLOAT)


def lstm_forward(layer: Layer, x: Array, live: Array | None = None) -> dict[str, Array]:
    """Every quantity of an LSTM that reads x (T, D) in row order; rows 1..T are the steps, row 0 the start.

    A step that is not live keeps the state: it writes nothing (i = 0) and forgets nothing (f = 1).
    """
    live = np.ones(len(x), bool) if live is None else live
    W, U, b = weights(layer)
    T, H = len(x), len(U)
    tape = {name: np.zeros((T + 1, H), FLOAT) for name in ("i", "f", "g", "o", "zg", "c", "h")}
    tape["x"] = np.vstack([np.zeros_like(x[:1]), x])
    tape["live"] = np.concatenate([[False], live])
    gate, signal = ACTIVATIONS[layer["recurrent_activation"]], ACTIVATIONS[layer["activation"]]
    for t in range(1, T + 1):
        if not live[t - 1]:
            tape["f"][t], tape["c"][t], tape["h"][t] = 1, tape["c"][t - 1], tape["h"][t - 1]
            continue
        zi, zf, zg, zo = np.split(tape["x"][t] @ W + tape["h"][t - 1] @ U + b, 4)
        i, f, o, g = gate(zi), gate(zf), gate(zo), signal(zg)
        c = f * tape["c"][t - 1] + i * g
        for name, value in {"i": i, "f": f, "g": g, "o": o, "zg": zg, "c": c, "h": o * signal(c)}.items():
            tape[name][t] = value
    return tape


def recurrent_forward(layer: Layer, x: Array, live: Array | None = None) -> tuple[Array, Any]:
    """Output of an LSTM or Bidirectional, and the values that its relevance pass needs."""
    live = np.ones(len(x), bool) if live is None else live
    if layer["kind"] == "lstm":
        tape = lstm_forward(layer, *((x[::-1], live[::-1]) if layer["go_backwards"] else (x, live)))
        return (tape["h"][1:] if layer["return_sequences"] else tape["h"][-1]), tape
    ahead, behind = lstm_forward(layer["forward"], x, live), lstm_forward(layer["backward"], x[::-1], live[::-1])
    if layer["forward"]["return_sequences"]:
        h_ahead, h_behind = ahead["h"][1:], behind["h"][1:][::-1]
    else:
        h_ahead, h_behind = ahead["h"][-1], behind["h"][-1]
    if layer["merge_mode"] == "concat":
        out = np.concatenate([h_ahead, h_behind], axis=-1)
    else:
        out = (h_ahead + h_behind) / (2 if layer["merge_mode"] == "ave" else 1)
    return out, (ahead, behind, h_ahead, h_behind, out)


def forward(layers: list[Layer], x: Array, masked: Array | None = None) -> tuple[Array, Array, list[Any]]:
    """Prediction (K,), the same before the last activation, and a tape for each layer; ``masked`` is x, or a window
    that tells in its place which steps are masked."""
    masked = np.asarray(x, FLOAT) if masked is None else masked
    out = before = np.asarray(x, FLOAT)
    tapes: list[Any] = []
    live = np.ones(len(out), bool)
    for layer in layers:
        if layer["kind"] == "dropout":
            tapes.append(None)
        elif layer["kind"] == "masking":
            value = np.float32(layer["value"])  # numbers are compared as Keras does
            live = np.array([any(np.float32(number) != value for number in step) for step in masked])
            tapes.append(None)
        elif layer["kind"] == "dense":
            W = np.asarray(layer["W"], FLOAT)
            before = out @ W + bias(layer, W.shape[1])
            tapes.append((out, before))
            out = ACTIVATIONS[layer["activation"]](before)
        else:
            out, tape = recurrent_forward(layer, out, live)
            before = out
            if layer.get("go_backwards") and layer["return_sequences"]:
                live = live[::-1]
            tapes.append(tape)
    return out, before, tapes


def predict(layers: list[Layer], x: Array) -> Array:
    """Prediction (K,) of one sample x (T, D)."""
    return forward(layers, x)[0]


# -- relevance ---------------------------------------------------------------------------------------------------------


def twice(H: int) -> Array:
    """Identity weights from 2H lower units to the H sums of their pairs."""
    return np.vstack([np.eye(H, dtype=FLOAT), np.eye(H, dtype=FLOAT)])


def arras(layer: Layer, tape: dict[str, Array], R_h: Array, rule: Rule, ledger: Ledger) -> Array:
    """R_x (T, D) from R_h (T, H), the relevance that the layer above gives to each step; both in reading order."""
    W, U, b = weights(layer)
    H, (T, D) = len(U), tape["x"][1:].shape
    Wg, Ug, bg = W[:, 2 * H : 3 * H], U[:, 2 * H : 3 * H], b[2 * H : 3 * H]
    R_h = np.vstack([np.zeros((1, H), FLOAT), R_h])
    R_c, R_x = np.zeros((T + 1, H), FLOAT), np.zeros((T + 1, D), FLOAT)
    for t in range(T, 0, -1):
        x, h, zg = tape["x"][t], tape["h"][t - 1], tape["zg"][t]
        if not tape["live"][t]:
            R_c[t - 1], R_h[t - 1] = R_c[t], R_h[t - 1] + R_h[t]
            continue
        R_c[t] += R_h[t]
        products = np.concatenate([tape["f"][t] * tape["c"][t - 1], tape["i"][t] * tape["g"][t]])
        below = linear_rule(products, twice(H), np.zeros(H, FLOAT), tape["c"][t], R_c[t], rule, ledger)
        R_c[t - 1], R_g = below[:H], below[H:]
        if rule.recurrent:
            below = linear_rule(np.concatenate([x, h]), np.vstack([Wg, Ug]), bg, zg, R_g, rule, ledger)
            R_x[t] = below[:D]
            R_h[t - 1] += below[D:]
        else:
            R_x[t] = linear_rule(x, Wg, bg, zg, R_g, rule, ledger, left_out=h @ Ug)
    ledger.initial_state += float(R_h[0].sum() + R_c[0].sum())
    return R_x[1:]


def rudder(layer: Layer, tape: dict[str, Array], R_h: Array, rule: Rule, ledger: Ledger) -> Array:
    """As ``arras``, with the RUDDER rule: each step's write to the cell, with no discount by later forget gates."""
    W, U, b = weights(layer)
    H, (T, D) = len(U), tape["x"][1:].shape
    Wg, Ug, bg = W[:, 2 * H : 3 * H], U[:, 2 * H : 3 * H], b[2 * H : 3 * H]
    R_h = np.vstack([np.zeros((1, H), FLOAT), R_h])
    q, R_x = np.zeros((T + 1, H), FLOAT), np.zeros((T + 1, D), FLOAT)
    for t in range(T, 0, -1):
        if not tape["live"][t]:
            R_h[t - 1], R_h[t] = R_h[t - 1] + R_h[t], 0
    ledger.initial_state += float(R_h[0].sum())
    for u in np.flatnonzero(tape["live"]):
        c = tape["c"][u]
        denominator = c + FLOAT(rule.eps) * sign(c)
        q[u] = R_h[u] / denominator
        written = sum(tape["i"][t] * tape["g"][t] for t in range(1, u + 1))
        ledger.unattributed += float(np.sum(q[u] * (denominator - written)))
        note_signs(c, np.abs(tape["f"][u] * tape["c"][u - 1]) + np.abs(tape["i"][u] * tape["g"][u]), ledger)
    for t in np.flatnonzero(tape["live"]):
        R_g = tape["i"][t] * tape["g"][t] * q[t:].sum(axis=0)
        left_out = tape["h"][t - 1] @ Ug
        R_x[t] = linear_rule(tape["x"][t], Wg, bg, tape["zg"][t], R_g, rule, ledger, left_out=left_out)
    return R_x[1:]


def lstm_relevance(layer: Layer, tape: dict[str, Array], R: Array, sequence: bool, rule: Rule, ledger: Ledger) -> Array:
    """R_x in reading order, from the relevance of every step or of the last one."""
    R_h = np.zeros_like(tape["h"][1:])
    R_h[slice(None) if sequence else -1] = R
    return (arras if rule.name == "arras" else rudder)(layer, tape, R_h, rule, ledger)


def unmerge(layer: Layer, tape: Any, R: Array, rule: Rule, ledger: Ledger) -> tuple[Array, Array]:
    """Each of the two LSTMs' share; sums and averages are a linear rule with identity weights, or half of them."""
    _, _, h_ahead, h_behind, out = tape
    H = h_ahead.shape[-1]
    if layer["merge_mode"] == "concat":
        return R[..., :H], R[..., H:]
    w = twice(H) / (2 if layer["merge_mode"] == "ave" else 1)
    rows = [
        linear_rule(np.concatenate([a, b]), w, np.zeros(H, FLOAT), z, r, rule, ledger)
        for a, b, z, r in zip(*map(np.atleast_2d, (h_ahead, h_behind, out, R)), strict=True)
    ]
    below = np.array(rows).reshape(*R.shape[:-1], 2 * H)
    return below[..., :H], below[..., H:]


def recurrent_relevance(layer: Layer, tape: Any, R: Array, rule: Rule, ledger: Ledger) -> Array:
    """R of the input (T, D), in the input's order."""
    if layer["kind"] == "lstm":
        R_x = lstm_relevance(layer, tape, R, layer["return_sequences"], rule, ledger)
        return R_x[::-1] if layer["go_backwards"] else R_x
    sequence = layer["forward"]["return_sequences"]
    R_ahead, R_behind = unmerge(layer, tape, R, rule, ledger)
    if sequence:
        R_behind = R_behind[::-1]
    R_x = lstm_relevance(layer["forward"], tape[0], R_ahead, sequence, rule, ledger)
    return R_x + lstm_relevance(layer["backward"], tape[1], R_behind, sequence, rule, ledger)[::-1]


def dense_relevance(layer: Layer, tape: Any, R: Array, rule: Rule, ledger: Ledger) -> Array:
    """R of the inputs, step by step where there are steps."""
    a, z = tape
    W = np.asarray(layer["W"], FLOAT)
    b = bias(layer, W.shape[1])
    if a.ndim == 1:
        return linear_rule(a, W, b, z, R, rule, ledger)
    return np.array([linear_rule(a[t], W, b, z[t], R[t], rule, ledger) for t in range(len(a))])


def aggregated(R: Array, live: Array, aggregate: str | bool, ledger: Ledger) -> Array:
    """The part of its sequence's relevance (T, H) that a lower recurrent layer gets, whose steps are ``live`` or not;
    the rest is unattributed."""
    if aggregate == "sequence" or not live.any():
        return R
    kept, last = np.zeros_like(R), np.flatnonzero(live)[-1]
    kept[last] = R[live].mean(axis=0) if aggregate else R[last]
    ledger.unattributed += float(R.sum() - kept.sum())
    return kept


def explain(
    layers: list[Layer], x: Array, rule: Rule, target: int = 0, aggregate: str | bool = "sequence"
) -> Explanation:
    """Relevance of one sample x (T, D) for one output unit's score."""
    prediction, before, tapes = forward(layers, x)
    ledger = Ledger()
    R = np.zeros_like(before)
    R[target] = before[target]
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        if layer["kind"] == "dense":
            R = dense_relevance(layer, tape, R, rule, ledger)
        elif layer["kind"] in ("lstm", "bidirectional"):
            if R.ndim == 2:
                live = (tape if layer["kind"] == "lstm" else tape[0])["live"][1:]
                R = aggregated(R, live, aggregate, ledger)
            R = recurrent_relevance(layer, tape, R, rule, ledger)
    return Explanation(R, prediction, score=float(before[target]), **vars(ledger))


# -- gradients ---------------------------------------------------------------------------------------------------------

#: Derivatives of activations at a pre-activation z.
SLOPES = {
    "linear": np.ones_like,
    "tanh": lambda z: 1 / np.cosh(np.clip(z, -300, 300)) ** 2,
    "sigmoid": lambda z: ACTIVATIONS["sigmoid"](z) * ACTIVATIONS["sigmoid"](-z),
    "relu": lambda z: np.where(z > 0, FLOAT(1), FLOAT(0)),
    "hard_sigmoid": lambda z: np.where(np.abs(z) < 3, FLOAT(1) / 6, FLOAT(0)),
    "hard_sigmoid_keras2": lambda z: np.where(np.abs(z) < 2.5, FLOAT(0.2), FLOAT(0)),
}


def lstm_gradient(layer: Layer, tape: dict[str, Array], d_out: Array) -> Array:
    """d score/dx (T, D) from d score/dh (T, H) of every step, both in reading order: back through time."""
    W, U, b = weights(layer)
    gate, signal = SLOPES[layer["recurrent_activation"]], SLOPES[layer["activation"]]
    squash = ACTIVATIONS[layer["activation"]]
    T, H = d_out.shape
    dx, dh, dc = np.zeros_like(tape["x"][1:]), np.zeros(H, FLOAT), np.zeros(H, FLOAT)
    for t in range(T, 0, -1):
        dh = dh + d_out[t - 1]
        if not tape["live"][t]:
            continue
        zi, zf, zg, zo = np.split(tape["x"][t] @ W + tape["h"][t - 1] @ U + b, 4)
        i, f, g, o, c = (tape[name][t] for name in ("i", "f", "g", "o", "c"))
        dc = dc + dh * o * signal(c)
        dz = [dc * g * gate(zi), dc * tape["c"][t - 1] * gate(zf), dc * i * signal(zg), dh * squash(c) * gate(zo)]
        dz = np.concatenate(dz)
        dx[t - 1], dh, dc = W @ dz, U @ dz, dc * f
    return dx


def recurrent_gradient(layer: Layer, tape: Any, d_out: Array) -> Array:
    """The same for a whole layer, in its input's order; ``d_out`` of the last step alone where only that goes on."""
    if layer["kind"] == "lstm":
        every = np.zeros_like(tape["h"][1:])
        every[slice(None) if layer["return_sequences"] else -1] = d_out
        dx = lstm_gradient(layer, tape, every)
        return dx[::-1] if layer["go_backwards"] else dx
    ahead, behind = layer["forward"], layer["backward"]
    H = len(ahead["U"])
    if layer["merge_mode"] == "concat":
        one, two = d_out[..., :H], d_out[..., H:]
    else:
        one = two = d_out / (2 if layer["merge_mode"] == "ave" else 1)
    if ahead["return_sequences"]:
        two = two[::-1]
    parts = [({**ahead, "go_backwards": False}, tape[0], one), ({**behind, "go_backwards": True}, tape[1], two)]
    return sum(recurrent_gradient(part, tape, d) for part, tape, d in parts)


def gradient(layers: list[Layer], x: Array, target: int = 0, masked: Array | None = None) -> tuple[Array, float]:
    """d score/dx (T, D), and the score; ``masked`` as ``forward`` takes it."""
    _, before, tapes = forward(layers, x, masked)
    d, scored = np.eye(len(before), dtype=FLOAT)[target], False
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        if layer["kind"] == "dense":
            if scored:
                d = d * SLOPES[layer["activation"]](tape[1])
            d = d @ np.asarray(layer["W"], FLOAT).T
        elif layer["kind"] in ("lstm", "bidirectional"):
            d = recurrent_gradient(layer, tape, d)
        scored = scored or layer["kind"] not in ("dropout", "masking")
    return d, float(before[target])


def gradient_x_input(layers: list[Layer], x: Array, target: int = 0) -> Explanation:
    """x * d score/dx; what is missing in the score is unattributed."""
    d, score = gradient(layers, x, target)
    values = np.asarray(x, FLOAT) * d
    return Explanation(values, predict(layers, x), score, 0.0, score - float(values.sum()), 1.0)


def integrated_gradients(layers: list[Layer], x: Array, n: int, baseline: Array, target: int = 0) -> Explanation:
    """(x - baseline) * the mean gradient at n Gauss-Legendre nodes; the score of the baseline is unattributed."""
    baseline = np.broadcast_to(np.asarray(baseline, FLOAT), np.shape(x))
    mean = np.zeros(np.shape(x), FLOAT)
    for node, weight in zip(*np.polynomial.legendre.leggauss(n), strict=True):
        mean += weight / 2 * gradient(layers, baseline + (1 + node) / 2 * (x - baseline), target, x)[0]
    score, start = (gradient(layers, at, target, x)[1] for at in (x, baseline))
    return Explanation((x - baseline) * mean, predict(layers, x), score, 0.0, start, 1.0)
