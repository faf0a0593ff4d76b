"""The slow twin of fastlrp: plain NumPy, float64, one sample at a time, in loops that read like the mathematics.

It imports nothing from fastlrp and shares no trick with its kernels: every linear rule forms all its messages R_i<-j.
A network is a list of plain dicts, from the input up::

    {"kind": "lstm", "W": (D, 4H), "U": (H, 4H), "b": (4H,) or None, "return_sequences": bool, "go_backwards": bool,
     "activation": str, "recurrent_activation": str}
    {"kind": "gru", the same with three gates and b (2, 3H) where "reset_after": bool is true}
    {"kind": "bidirectional", "forward": lstm or gru, "backward": the same, "merge_mode": "concat", "sum" or "ave"}
    {"kind": "dense", "W": (N, M), "b": (M,) or None, "activation": str, "alpha": float, where the activation has one}
    {"kind": "dropout"}
    {"kind": "static", "n": S}   the place where S static features, given beside x, join what comes from below
    {"kind": "masking", "value": float}, the first: at a step whose features all have that value, every recurrent layer
        keeps its state

Gradients, and what they are multiplied with, follow below the rules of LRP.

Sources: Arras et al. 2017 (arXiv:1706.07206) and 2019 (arXiv:1909.12114); RUDDER (arXiv:1806.07857), A8.4.2; of the
GRU, Cho et al. 2014 (arXiv:1406.1078) and Keras' documentation.
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
    # beyond that, it would leave the normal range; of two gates that are shut, one may be shut tighter
    "sigmoid": lambda z: 1 / (1 + np.exp(-np.maximum(z, -708 if FLOAT is np.float64 else -11000))),
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
    """One sample: relevance (T, D), prediction (K,), and score = relevance.sum() + initial_state + unattributed; with
    static features, ``static`` (S,) is a part of the score, too."""

    relevance: Array
    prediction: Array
    score: float
    initial_state: float
    unattributed: float
    least_sign: float
    static: Array | None = None


def sign(z: Array) -> Array:
    """+1 where z >= 0, else -1."""
    return np.where(z >= 0, FLOAT(1), FLOAT(-1))


def note_signs(z: Array, terms: Array, ledger: Ledger) -> None:
    """Keep the least |z| as a share of the terms that add up to it."""
    ledger.least_sign = min([ledger.least_sign, *(np.abs(z[terms > 0]) / terms[terms > 0])])


#: Kinds of layers that read one step after the other.
RECURRENT = ("lstm", "gru", "bidirectional")


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


def gru_weights(layer: Layer) -> tuple[Array, Array, Array, Array]:
    """W, U, and the biases of both (3H,); a missing one is zero."""
    W, U = np.asarray(layer["W"], FLOAT), np.asarray(layer["U"], FLOAT)
    b = bias(layer, W.shape[1])
    return W, U, *(b if b.ndim == 2 else (b, np.zeros_like(b)))


def gru_forward(layer: Layer, x: Array, live: Array | None = None) -> dict[str, Array]:
    """The same for a GRU: gates z and r, the candidate g and its pre-activation zg, and the output h."""
    live = np.ones(len(x), bool) if live is None else live
    W, U, b, rb = gru_weights(layer)
    T, H = len(x), len(U)
    tape = {name: np.zeros((T + 1, H), FLOAT) for name in ("z", "r", "g", "zg", "h")}
    tape["x"] = np.vstack([np.zeros_like(x[:1]), x])
    tape["live"] = np.concatenate([[False], live])
    gate, signal = ACTIVATIONS[layer["recurrent_activation"]], ACTIVATIONS[layer["activation"]]
    for t in range(1, T + 1):
        h = tape["h"][t - 1]
        if not live[t - 1]:
            tape["z"][t], tape["h"][t] = 1, h
            continue
        xz, xr, xg = np.split(tape["x"][t] @ W + b, 3)
        hz, hr, hg = np.split(h @ U + rb, 3)
        z, r = gate(xz + hz), gate(xr + hr)
        zg = xg + r * hg if layer["reset_after"] else xg + (r * h) @ U[:, 2 * H :]
        g = signal(zg)
        for name, value in {"z": z, "r": r, "g": g, "zg": zg, "h": z * h + (1 - z) * g}.items():
            tape[name][t] = value
    return tape


def cell_forward(layer: Layer, x: Array, live: Array | None = None) -> dict[str, Array]:
    """Every quantity of an LSTM or a GRU that reads x in row order."""
    return (lstm_forward if layer["kind"] == "lstm" else gru_forward)(layer, x, live)


def recurrent_forward(layer: Layer, x: Array, live: Array | None = None) -> tuple[Array, Any]:
    """Output of an LSTM, a GRU or a Bidirectional, and the values that its relevance pass needs."""
    live = np.ones(len(x), bool) if live is None else live
    if layer["kind"] != "bidirectional":
        tape = cell_forward(layer, *((x[::-1], live[::-1]) if layer["go_backwards"] else (x, live)))
        return (tape["h"][1:] if layer["return_sequences"] else tape["h"][-1]), tape
    ahead, behind = cell_forward(layer["forward"], x, live), cell_forward(layer["backward"], x[::-1], live[::-1])
    if layer["forward"]["return_sequences"]:
        h_ahead, h_behind = ahead["h"][1:], behind["h"][1:][::-1]
    else:
        h_ahead, h_behind = ahead["h"][-1], behind["h"][-1]
    if layer["merge_mode"] == "concat":
        out = np.concatenate([h_ahead, h_behind], axis=-1)
    else:
        out = (h_ahead + h_behind) / (2 if layer["merge_mode"] == "ave" else 1)
    return out, (ahead, behind, h_ahead, h_behind, out)


def forward(
    layers: list[Layer], x: Array, static: Array | None = None, masked: Array | None = None
) -> tuple[Array, Array, list[Any]]:
    """Prediction (K,), or (T, K) where sequences are returned to the end; the same before the last activation; and a
    tape for each layer. Without a recurrent layer x (1, D) is a row of features. ``masked`` is x, or a window that
    tells in its place which steps are masked."""
    masked = np.asarray(x, FLOAT) if masked is None else masked
    if len(x) == 1 and not any(layer["kind"] in RECURRENT for layer in layers):
        (x,) = x
    out = before = np.asarray(x, FLOAT)
    tapes: list[Any] = []
    live = np.ones(len(out), bool)
    for layer in layers:
        if layer["kind"] == "dropout":
            tapes.append(None)
        elif layer["kind"] == "static":
            tapes.append(len(out))
            out = np.concatenate([out, np.asarray(static, FLOAT)])
        elif layer["kind"] == "masking":
            value = np.float32(layer["value"])  # numbers are compared as Keras does
            live = np.array([any(np.float32(number) != value for number in step) for step in masked])
            tapes.append(None)
        elif layer["kind"] == "dense":
            W = np.asarray(layer["W"], FLOAT)
            before = out @ W + bias(layer, W.shape[1])
            tapes.append((out, before))
            out = activated(layer, before)
        else:
            out, tape = recurrent_forward(layer, out, live)
            before = out
            if layer.get("go_backwards") and layer["return_sequences"]:
                live = live[::-1]
            tapes.append(tape)
    return out, before, tapes


def predict(layers: list[Layer], x: Array, static: Array | None = None) -> Array:
    """Prediction (K,) of one sample x (T, D), or (T, K)."""
    return forward(layers, x, static)[0]


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


def gru_arras(layer: Layer, tape: dict[str, Array], R_h: Array, rule: Rule, ledger: Ledger) -> Array:
    """As ``arras``, through a GRU: h_t = z*h_{t-1} + (1-z)*g is the linear rule on products, and so is the map below
    the candidate, whose gates are held constant."""
    W, U, b, rb = gru_weights(layer)
    H, (T, D) = len(U), tape["x"][1:].shape
    Wg, Ug, bg, rg = W[:, 2 * H :], U[:, 2 * H :], b[2 * H :], rb[2 * H :]
    R_h, R_x = np.vstack([np.zeros((1, H), FLOAT), R_h]), np.zeros((T + 1, D), FLOAT)
    for t in range(T, 0, -1):
        x, h, zg, z, r = tape["x"][t], tape["h"][t - 1], tape["zg"][t], tape["z"][t], tape["r"][t]
        if not tape["live"][t]:
            R_h[t - 1] += R_h[t]
            continue
        products = np.concatenate([z * h, (1 - z) * tape["g"][t]])
        below = linear_rule(products, twice(H), np.zeros(H, FLOAT), tape["h"][t], R_h[t], rule, ledger)
        R_h[t - 1] += below[:H]
        if layer["reset_after"]:
            low, map_of_h, constant = h, Ug * r, bg + r * rg
        else:
            low, map_of_h, constant = r * h, Ug, bg
        if rule.recurrent:
            both = np.concatenate([x, low]), np.vstack([Wg, map_of_h])
            below = linear_rule(*both, constant, zg, below[H:], rule, ledger)
            R_x[t] = below[:D]
            R_h[t - 1] += below[D:]
        else:
            R_x[t] = linear_rule(x, Wg, constant, zg, below[H:], rule, ledger, left_out=low @ map_of_h)
    ledger.initial_state += float(R_h[0].sum())
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


def cell_relevance(layer: Layer, tape: dict[str, Array], R: Array, sequence: bool, rule: Rule, ledger: Ledger) -> Array:
    """R_x in reading order, from the relevance of every step or of the last one."""
    R_h = np.zeros_like(tape["h"][1:])
    R_h[slice(None) if sequence else -1] = R
    ways = {("lstm", "arras"): arras, ("lstm", "rudder"): rudder, ("gru", "arras"): gru_arras}
    return ways[layer["kind"], rule.name](layer, tape, R_h, rule, ledger)


def unmerge(layer: Layer, tape: Any, R: Array, rule: Rule, ledger: Ledger) -> tuple[Array, Array]:
    """Each of the two directions' share; sums and averages are a linear rule with identity weights, or half of them."""
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
    if layer["kind"] != "bidirectional":
        R_x = cell_relevance(layer, tape, R, layer["return_sequences"], rule, ledger)
        return R_x[::-1] if layer["go_backwards"] else R_x
    sequence = layer["forward"]["return_sequences"]
    R_ahead, R_behind = unmerge(layer, tape, R, rule, ledger)
    if sequence:
        R_behind = R_behind[::-1]
    R_x = cell_relevance(layer["forward"], tape[0], R_ahead, sequence, rule, ledger)
    return R_x + cell_relevance(layer["backward"], tape[1], R_behind, sequence, rule, ledger)[::-1]


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
    layers: list[Layer],
    x: Array,
    rule: Rule,
    target: int = 0,
    aggregate: str | bool = "sequence",
    at_step: int = -1,
    static: Array | None = None,
) -> Explanation:
    """Relevance of one sample x (T, D), and of its ``static`` features (S,), for one output unit's score; of a
    sequence, for that at one step."""
    prediction, before, tapes = forward(layers, x, static)
    ledger, of_static = Ledger(), None
    R, scored = np.zeros_like(before), (at_step, target) if before.ndim == 2 else target
    R[scored] = before[scored]
    below_a_recurrent_layer = False
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        if layer["kind"] == "dense":
            R = dense_relevance(layer, tape, R, rule, ledger)
        elif layer["kind"] == "static":
            R, of_static = R[:tape], R[tape:]
        elif layer["kind"] in RECURRENT:
            if R.ndim == 2 and below_a_recurrent_layer:
                live = (tape[0] if layer["kind"] == "bidirectional" else tape)["live"][1:]
                R = aggregated(R, live, aggregate, ledger)
            R = recurrent_relevance(layer, tape, R, rule, ledger)
            below_a_recurrent_layer = True
    prediction = prediction[at_step] if before.ndim == 2 else prediction
    return Explanation(np.atleast_2d(R), prediction, score=float(before[scored]), **vars(ledger), static=of_static)


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


def gru_gradient(layer: Layer, tape: dict[str, Array], d_out: Array) -> Array:
    """The same for a GRU."""
    W, U, b, rb = gru_weights(layer)
    gate, signal = SLOPES[layer["recurrent_activation"]], SLOPES[layer["activation"]]
    T, H = d_out.shape
    dx, dh = np.zeros_like(tape["x"][1:]), np.zeros(H, FLOAT)
    for t in range(T, 0, -1):
        h, z, r, g, zg = (tape["h"][t - 1], *(tape[name][t] for name in ("z", "r", "g", "zg")))
        xz, xr, _ = np.split(tape["x"][t] @ W + b, 3)
        hz, hr, hg = np.split(h @ U + rb, 3)
        dh = dh + d_out[t - 1]
        if not tape["live"][t]:
            continue
        dz, dg = dh * (h - g) * gate(xz + hz), dh * (1 - z) * signal(zg)
        if layer["reset_after"]:
            dr, d_last = dg * hg * gate(xr + hr), U[:, 2 * H :] @ (dg * r)
        else:
            back = U[:, 2 * H :] @ dg
            dr, d_last = back * h * gate(xr + hr), back * r
        dx[t - 1] = W @ np.concatenate([dz, dr, dg])
        dh = dh * z + U[:, : 2 * H] @ np.concatenate([dz, dr]) + d_last
    return dx


def recurrent_gradient(layer: Layer, tape: Any, d_out: Array) -> Array:
    """The same for a whole layer, in its input's order; ``d_out`` of the last step alone where only that goes on."""
    if layer["kind"] != "bidirectional":
        every = np.zeros_like(tape["h"][1:])
        every[slice(None) if layer["return_sequences"] else -1] = d_out
        dx = (lstm_gradient if layer["kind"] == "lstm" else gru_gradient)(layer, tape, every)
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


def gradient(
    layers: list[Layer], x: Array, target: int = 0, at_step: int = -1, masked: Array | None = None
) -> tuple[Array, float]:
    """d score/dx (T, D), and the score; of a sequence, that at one step; ``masked`` as ``forward`` takes it."""
    d, _, score = gradients(layers, x, None, target, at_step, masked)
    return d, score


def gradients(
    layers: list[Layer], x: Array, static: Array | None, target: int, at_step: int = -1, masked: Array | None = None
) -> tuple[Array, Array, float]:
    """d score/dx (T, D), d score/d static (S,), and the score."""
    _, before, tapes = forward(layers, x, static, masked)
    place = (at_step, target) if before.ndim == 2 else target
    d, scored, of_static = np.zeros_like(before), False, np.zeros(0, FLOAT)
    d[place] = 1
    for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
        if layer["kind"] == "dense":
            if scored:
                d = d * activation_slope(layer, tape[1])
            d = d @ np.asarray(layer["W"], FLOAT).T
        elif layer["kind"] == "static":
            d, of_static = d[:tape], d[tape:]
        elif layer["kind"] in RECURRENT:
            d = recurrent_gradient(layer, tape, d)
        scored = scored or layer["kind"] not in ("dropout", "masking")
    return np.atleast_2d(d), of_static, float(before[place])


def explained_prediction(layers: list[Layer], x: Array, at_step: int, static: Array | None = None) -> Array:
    """Prediction (K,); of a sequence, that at one step."""
    prediction = predict(layers, x, static)
    return prediction[at_step] if prediction.ndim == 2 else prediction


def gradient_x_input(
    layers: list[Layer], x: Array, target: int = 0, at_step: int = -1, static: Array | None = None
) -> Explanation:
    """x * d score/dx; what is missing in the score is unattributed."""
    d, d_static, score = gradients(layers, x, static, target, at_step)
    values, beside = np.asarray(x, FLOAT) * d, np.asarray([] if static is None else static, FLOAT) * d_static
    lost = score - float(values.sum()) - float(beside.sum())
    return Explanation(values, explained_prediction(layers, x, at_step, static), score, 0.0, lost, 1.0, beside)


def integrated_gradients(
    layers: list[Layer], x: Array, n: int, baseline: Array, target: int = 0, at_step: int = -1, static: Any = (),
    from_static: Any = 0.0,
) -> Explanation:  # fmt: skip
    """(x - baseline) * the mean gradient at n Gauss-Legendre nodes; the score of the baseline is unattributed. Static
    features go the same way from ``from_static``."""
    baseline, static = np.broadcast_to(np.asarray(baseline, FLOAT), np.shape(x)), np.asarray(static, FLOAT)
    start_static = np.broadcast_to(np.asarray(from_static, FLOAT), static.shape)
    mean, mean_static = np.zeros(np.shape(x), FLOAT), np.zeros(static.shape, FLOAT)
    for node, weight in zip(*np.polynomial.legendre.leggauss(n), strict=True):
        part = (1 + node) / 2
        at, at_static = baseline + part * (x - baseline), start_static + part * (static - start_static)
        d, d_static, _ = gradients(layers, at, at_static, target, at_step, x)
        mean, mean_static = mean + weight / 2 * d, mean_static + weight / 2 * d_static
    score = gradients(layers, x, static, target, at_step)[2]
    start = gradients(layers, baseline, start_static, target, at_step, x)[2]
    values, beside = (x - baseline) * mean, (static - start_static) * mean_static
    return Explanation(values, explained_prediction(layers, x, at_step, static), score, 0.0, start, 1.0, beside)
