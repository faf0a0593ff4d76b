"""The slow twin of fastlrp: plain NumPy, float64, one sample at a time, in loops that read like the mathematics.

It imports nothing from fastlrp and shares no trick with its kernels: every linear rule forms all its messages R_i<-j.
A network is a list of plain dicts, from the input up::

    {"kind": "lstm", "W": (D, 4H), "U": (H, 4H), "b": (4H,) or None, "return_sequences": bool, "go_backwards": bool,
     "activation": str, "recurrent_activation": str}
    {"kind": "bidirectional", "forward": lstm, "backward": lstm, "merge_mode": "concat", "sum" or "ave"}
    {"kind": "dense", "W": (N, M), "b": (M,) or None, "activation": str, "alpha": float, where the activation has one}
    {"kind": "dropout"}

Gradients, and what they are multiplied with, follow below the rules of LRP.

Sources: Arras et al. 2017 (arXiv:1706.07206) and 2019 (arXiv:1909.12114); RUDDER (arXiv:1806.07857), A8.4.2.
"""

from __future__ import annotations

import math
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
    "softmax": lambda z: np.exp(z - z.max(-1, keepdims=True)) / np.exp(z - z.max(-1, keepdims=True)).sum(-1)[..., None],
}


def _normal(z: Array) -> Array:
    """The standard normal distribution function."""
    return np.array([math.erfc(-float(v) / math.sqrt(2)) / 2 for v in np.ravel(z)], FLOAT).reshape(np.shape(z))


#: Activations of Dense layers, some with a parameter alpha.
CURVES = {
    "leaky_relu": lambda z, alpha: np.maximum(z, 0) + alpha * np.minimum(z, 0),
    "relu6": lambda z, _: np.clip(z, 0, 6),
    "elu": lambda z, alpha: np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0)),
    "selu": lambda z, _: SELU * CURVES["elu"](z, 1.6732632423543772),
    "silu": lambda z, _: z * ACTIVATIONS["sigmoid"](z),
    "gelu": lambda z, _: z * _normal(z),
    "gelu_tanh": lambda z, _: z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "softplus": lambda z, _: np.logaddexp(z, 0),
    "softsign": lambda z, _: z / (1 + np.abs(z)),
    "exponential": lambda z, _: np.exp(z),
}
SELU = 1.0507009873554805


def activated(layer: Layer, z: Array) -> Array:
    """A Dense layer's output."""
    name = layer["activation"]
    return CURVES[name](z, layer.get("alpha")) if name in CURVES else ACTIVATIONS[name](z)


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


def lstm_forward(layer: Layer, x: Array) -> dict[str, Array]:
    """Every quantity of an LSTM that reads x (T, D) in row order; rows 1..T are the steps, row 0 the start."""
    W, U, b = weights(layer)
    T, H = len(x), len(U)
    tape = {name: np.zeros((T + 1, H), FLOAT) for name in ("i", "f", "g", "o", "zg", "c", "h")}
    tape["x"] = np.vstack([np.zeros_like(x[:1]), x])
    gate, signal = ACTIVATIONS[layer["recurrent_activation"]], ACTIVATIONS[layer["activation"]]
    for t in range(1, T + 1):
        zi, zf, zg, zo = np.split(tape["x"][t] @ W + tape["h"][t - 1] @ U + b, 4)
        i, f, o, g = gate(zi), gate(zf), gate(zo), signal(zg)
        c = f * tape["c"][t - 1] + i * g
        for name, value in {"i": i, "f": f, "g": g, "o": o, "zg": zg, "c": c, "h": o * signal(c)}.items():
            tape[name][t] = value
    return tape


def recurrent_forward(layer: Layer, x: Array) -> tuple[Array, Any]:
    """Output of an LSTM or Bidirectional, and the values that its relevance pass needs."""
    if layer["kind"] == "lstm":
        tape = lstm_forward(layer, x[::-1] if layer["go_backwards"] else x)
        return (tape["h"][1:] if layer["return_sequences"] else tape["h"][-1]), tape
    ahead, behind = lstm_forward(layer["forward"], x), lstm_forward(layer["backward"], x[::-1])
    if layer["forward"]["return_sequences"]:
        h_ahead, h_behind = ahead["h"][1:], behind["h"][1:][::-1]
    else:
        h_ahead, h_behind = ahead["h"][-1], behind["h"][-1]
    if layer["merge_mode"] == "concat":
        out = np.concatenate([h_ahead, h_behind], axis=-1)
    else:
        out = (h_ahead + h_behind) / (2 if layer["merge_mode"] == "ave" else 1)
    return out, (ahead, behind, h_ahead, h_behind, out)


def forward(layers: list[Layer], x: Array) -> tuple[Array, Array, list[Any]]:
    """Prediction (K,), or (T, K) where sequences are returned to the end; the same before the last activation; and a
    tape for each layer. Without a recurrent layer x (1, D) is a row of features."""
    if len(x) == 1 and not any(layer["kind"] in ("lstm", "bidirectional") for layer in layers):
        (x,) = x
    out = before = np.asarray(x, FLOAT)
    tapes: list[Any] = []
    for layer in layers:
        if layer["kind"] == "dropout":
            tapes.append(None)
        elif layer["kind"] == "dense":
            W = np.asarray(layer["W"], FLOAT)
            before = out @ W + bias(layer, W.shape[1])
            tapes.append((out, before))
            out = activated(layer, before)
        else:
            out, tape = recurrent_forward(layer, out)
            before = out
            tapes.append(tape)
    return out, before, tapes


def predict(layers: list[Layer], x: Array) -> Array:
    """Prediction (K,) of one sample x (T, D), or (T, K)."""
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
    for u in range(1, T + 1):
        c = tape["c"][u]
        denominator = c + FLOAT(rule.eps) * sign(c)
        q[u] = R_h[u] / denominator
        written = sum(tape["i"][t] * tape["g"][t] for t in range(1, u + 1))
        ledger.unattributed += float(np.sum(q[u] * (denominator - written)))
        note_signs(c, np.abs(tape["f"][u] * tape["c"][u - 1]) + np.abs(tape["i"][u] * tape["g"][u]), ledger)
    for t in range(1, T + 1):
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


def aggregated(R: Array, aggregate: str | bool, ledger: Ledger) -> Array:
    """The part of its sequence's relevance (T, H) that a lower recurrent layer gets; the rest is unattributed."""
    if aggregate == "sequence":
        return R
    kept = np.zeros_like(R)
    kept[-1] = R.mean(axis=0) if aggregate else R[-1]
    ledger.unattributed += float(R.sum() - kept.sum())
    return kept


def explain(
    layers: list[Layer], x: Array, rule: Rule, target: int = 0, aggregate: str | bool = "sequence", at_step: int = -1
) -> Explanation:
    """Relevance of one sample x (T, D) for one output unit's score; of a sequence, for that at one step."""
    prediction, before, tapes = forward(layers, x)
    ledger = Ledger()
    R, scored = np.zeros_like(before), (at_step, target) if before.ndim == 2 else target
    R[scored] = before[scored]
    below_a_recurrent_layer = False
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        if layer["kind"] == "dense":
            R = dense_relevance(layer, tape, R, rule, ledger)
        elif layer["kind"] != "dropout":
            if R.ndim == 2 and below_a_recurrent_layer:
                R = aggregated(R, aggregate, ledger)
            R = recurrent_relevance(layer, tape, R, rule, ledger)
            below_a_recurrent_layer = True
    prediction = prediction[at_step] if before.ndim == 2 else prediction
    return Explanation(np.atleast_2d(R), prediction, score=float(before[scored]), **vars(ledger))


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


#: Derivatives of the activations that may have a parameter.
CURVE_SLOPES = {
    "leaky_relu": lambda z, alpha: np.where(z > 0, FLOAT(1), FLOAT(alpha)),
    "relu6": lambda z, _: np.where((z > 0) & (z < 6), FLOAT(1), FLOAT(0)),
    "elu": lambda z, alpha: np.where(z >= 0, FLOAT(1), alpha * np.exp(np.minimum(z, 0))),
    "selu": lambda z, _: SELU * CURVE_SLOPES["elu"](z, 1.6732632423543772),
    "silu": lambda z, _: ACTIVATIONS["sigmoid"](z) * (1 + z * ACTIVATIONS["sigmoid"](-z)),
    "gelu": lambda z, _: _normal(z) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
    "gelu_tanh": lambda z, _: _gelu_tanh_slope(z, np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "softplus": lambda z, _: ACTIVATIONS["sigmoid"](z),
    "softsign": lambda z, _: (1 + np.abs(z)) ** -2.0,
    "exponential": lambda z, _: np.exp(z),
}


def _gelu_tanh_slope(z: Array, t: Array) -> Array:
    return (1 + t) / 2 + z / 2 * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)


def activation_slope(layer: Layer, z: Array) -> Array:
    """The derivative of a Dense layer's activation at its pre-activation."""
    name = layer["activation"]
    return CURVE_SLOPES[name](z, layer.get("alpha")) if name in CURVES else SLOPES[name](z)


def lstm_gradient(layer: Layer, tape: dict[str, Array], d_out: Array) -> Array:
    """d score/dx (T, D) from d score/dh (T, H) of every step, both in reading order: back through time."""
    W, U, b = weights(layer)
    gate, signal = SLOPES[layer["recurrent_activation"]], SLOPES[layer["activation"]]
    squash = ACTIVATIONS[layer["activation"]]
    T, H = d_out.shape
    dx, dh, dc = np.zeros_like(tape["x"][1:]), np.zeros(H, FLOAT), np.zeros(H, FLOAT)
    for t in range(T, 0, -1):
        zi, zf, zg, zo = np.split(tape["x"][t] @ W + tape["h"][t - 1] @ U + b, 4)
        i, f, g, o, c = (tape[name][t] for name in ("i", "f", "g", "o", "c"))
        dh = dh + d_out[t - 1]
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


def gradient(layers: list[Layer], x: Array, target: int = 0, at_step: int = -1) -> tuple[Array, float]:
    """d score/dx (T, D), and the score; of a sequence, that at one step."""
    _, before, tapes = forward(layers, x)
    place = (at_step, target) if before.ndim == 2 else target
    d, scored = np.zeros_like(before), False
    d[place] = 1
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        if layer["kind"] == "dense":
            if scored:
                d = d * activation_slope(layer, tape[1])
            d = d @ np.asarray(layer["W"], FLOAT).T
        elif layer["kind"] != "dropout":
            d = recurrent_gradient(layer, tape, d)
        scored = scored or layer["kind"] != "dropout"
    return np.atleast_2d(d), float(before[place])


def explained_prediction(layers: list[Layer], x: Array, at_step: int) -> Array:
    """Prediction (K,); of a sequence, that at one step."""
    prediction = predict(layers, x)
    return prediction[at_step] if prediction.ndim == 2 else prediction


def gradient_x_input(layers: list[Layer], x: Array, target: int = 0, at_step: int = -1) -> Explanation:
    """x * d score/dx; what is missing in the score is unattributed."""
    d, score = gradient(layers, x, target, at_step)
    values, prediction = np.asarray(x, FLOAT) * d, explained_prediction(layers, x, at_step)
    return Explanation(values, prediction, score, 0.0, score - float(values.sum()), 1.0)


def integrated_gradients(
    layers: list[Layer], x: Array, n: int, baseline: Array, target: int = 0, at_step: int = -1
) -> Explanation:
    """(x - baseline) * the mean gradient at n Gauss-Legendre nodes; the score of the baseline is unattributed."""
    baseline = np.broadcast_to(np.asarray(baseline, FLOAT), np.shape(x))
    mean = np.zeros(np.shape(x), FLOAT)
    for node, weight in zip(*np.polynomial.legendre.leggauss(n), strict=True):
        mean += weight / 2 * gradient(layers, baseline + (1 + node) / 2 * (x - baseline), target, at_step)[0]
    score, start = (gradient(layers, at, target, at_step)[1] for at in (x, baseline))
    prediction = explained_prediction(layers, x, at_step)
    return Explanation((x - baseline) * mean, prediction, score, 0.0, start, 1.0)
