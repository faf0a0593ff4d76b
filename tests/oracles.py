"""Answers that are known without any relevance rule: gradients, closed forms, symmetries.

They are independent of ``reference.py`` (another forward pass, over many samples at once) and of fastlrp; networks are
the plain dicts that ``reference.py`` describes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erf

Array = npt.NDArray[Any]
Layer = dict[str, Any]


def _activate(name: str, z: Array) -> Array:
    match name:
        case "tanh":
            return 1 - 2 / (np.exp(2 * z) + 1)
        case "sigmoid":
            return (1 + np.tanh(z / 2)) / 2
        case "relu":
            return z * (z > 0)
        case "hard_sigmoid":
            return np.clip(z / 6 + 0.5, 0, 1)
        case "hard_sigmoid_keras2":
            return np.clip(z / 5 + 0.5, 0, 1)
        case "linear" | "softmax":  # the score is taken before softmax
            return z
    raise ValueError(f"no oracle knows the activation {name!r}")


def _curve(name: str, z: Array, alpha: float | None) -> Array:
    """A Dense layer's activation, of complex numbers too: kinks lie where the real part has them."""
    up = z.real > 0
    match name:
        case "leaky_relu":
            return np.where(up, z, alpha * z)
        case "relu6":
            return np.where(up & (z.real < 6), z, 6.0 * (z.real >= 6))
        case "elu" | "selu":
            scale, alpha = (1.0, alpha) if name == "elu" else (1.0507009873554805, 1.6732632423543772)
            return scale * np.where(up, z, alpha * (np.exp(np.where(up, 0, z)) - 1))
        case "silu":
            return z / (1 + np.exp(-z))
        case "gelu":
            return z * (1 + erf(z / np.sqrt(2))) / 2
        case "gelu_tanh":
            return z / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        case "softplus":
            return np.log(1 + np.exp(z))
        case "softsign":
            return z / (1 + np.where(up, z, -z))
        case "exponential":
            return np.exp(z)
    return _complex(name, z)


def _ratio(name: str, z: Array, alpha: float | None = None) -> Array:
    """activation(z)/z, which replaces the derivative."""
    return np.divide(_curve(name, z, alpha), z, out=np.zeros_like(z), where=z != 0)


def _bias(layer: Layer, size: int) -> Array:
    return np.zeros(size) if layer["b"] is None else np.asarray(layer["b"], float)


def gates(layer: Layer, x: Array) -> dict[str, Array]:
    """i, f, g, o, zg, c and h, each (T, H), of an LSTM that reads x (T, D) in order."""
    W, U = np.asarray(layer["W"], float), np.asarray(layer["U"], float)
    H = len(U)
    c = h = np.zeros(H)
    rows: dict[str, list[Array]] = {key: [] for key in ("i", "f", "g", "o", "zg", "c", "h")}
    for z in x @ W + _bias(layer, 4 * H):
        z = (z + h @ U).reshape(4, H)
        i, f, o = (_activate(layer["recurrent_activation"], z[k]) for k in (0, 1, 3))
        g = _activate(layer["activation"], z[2])
        c = i * g + c * f
        h = _activate(layer["activation"], c) * o
        for key, value in zip(rows, (i, f, g, o, z[2], c, h), strict=True):
            rows[key].append(value)
    return {key: np.array(value) for key, value in rows.items()}


def _moving_lstm(layer: Layer, x: Array, moved: Array) -> tuple[Array, Array]:
    """h (T, H) at x, and at inputs ``moved`` (B, T, D) with gates and activation ratios held at their values at x."""
    at, H = gates(layer, x), len(layer["U"])
    signal = slice(2 * H, 3 * H)
    Wg, Ug, bg = layer["W"][:, signal], layer["U"][:, signal], _bias(layer, 4 * H)[signal]
    c = h = np.zeros((len(moved), H), complex)
    out = []
    for t in range(len(x)):
        zg = moved[:, t] @ Wg + h @ Ug + bg
        c = at["f"][t] * c + at["i"][t] * _ratio(layer["activation"], at["zg"][t]) * zg
        h = at["o"][t] * _ratio(layer["activation"], at["c"][t]) * c
        out.append(h)
    return at["h"], np.stack(out, axis=1)


def _gru_biases(layer: Layer) -> Array:
    """Biases of W and of U, (2, 3H)."""
    b = _bias(layer, np.shape(layer["W"])[1])
    return b if b.ndim == 2 else np.stack([b, np.zeros_like(b)])


def _moving_gru(layer: Layer, x: Array, moved: Array) -> tuple[Array, Array]:
    """h of a GRU at x, and at inputs ``moved`` with gates and the candidate's activation ratio held at theirs at x."""
    W, U, (b, rb) = np.asarray(layer["W"], float), np.asarray(layer["U"], float), _gru_biases(layer)
    H, gate = len(U), layer["recurrent_activation"]
    Uz, Ur, Uh = U[:, :H], U[:, H : 2 * H], U[:, 2 * H :]
    h, h_moved, out = np.zeros(H), np.zeros((len(moved), H), complex), []
    for t in range(len(x)):
        into, into_moved = x[t] @ W + b, moved[:, t] @ W + b
        z = _activate(gate, into[:H] + h @ Uz + rb[:H])
        r = _activate(gate, into[H : 2 * H] + h @ Ur + rb[H : 2 * H])
        if layer["reset_after"]:
            past, past_moved = (r * (state @ Uh + rb[2 * H :]) for state in (h, h_moved))
        else:
            past, past_moved = ((r * state) @ Uh for state in (h, h_moved))
        zh, zh_moved = into[2 * H :] + past, into_moved[:, 2 * H :] + past_moved
        h_moved = z * h_moved + (1 - z) * _ratio(layer["activation"], zh) * zh_moved
        h = z * h + (1 - z) * _activate(layer["activation"], zh)
        out.append((h, h_moved))
    return np.array([one for one, _ in out]), np.stack([one for _, one in out], axis=1)


def _moving_cell(layer: Layer, x: Array, moved: Array) -> tuple[Array, Array]:
    return (_moving_lstm if layer["kind"] == "lstm" else _moving_gru)(layer, x, moved)


def _moving_recurrent(layer: Layer, x: Array, moved: Array) -> tuple[Array, Array]:
    if layer["kind"] != "bidirectional":
        if layer["go_backwards"]:
            x, moved = x[::-1], moved[:, ::-1]
        h, h_moved = _moving_cell(layer, x, moved)
        return (h, h_moved) if layer["return_sequences"] else (h[-1], h_moved[:, -1])
    one, one_moved = _moving_cell(layer["forward"], x, moved)
    two, two_moved = _moving_cell(layer["backward"], x[::-1], moved[:, ::-1])
    if layer["forward"]["return_sequences"]:
        two, two_moved = two[::-1], two_moved[:, ::-1]
    else:
        one, one_moved, two, two_moved = one[-1], one_moved[:, -1], two[-1], two_moved[:, -1]
    if layer["merge_mode"] == "concat":
        return np.concatenate([one, two], -1), np.concatenate([one_moved, two_moved], -1)
    factor = 0.5 if layer["merge_mode"] == "ave" else 1.0
    return factor * (one + two), factor * (one_moved + two_moved)


#: A step aside in the imaginary direction: no difference is taken, so none is lost to rounding.
STEP = 1e-30


def _without_masked(layers: list[Layer], x: Array) -> tuple[list[Layer], Array]:
    """The network without its Masking layer, and the steps that it reads: what it skips might as well not be there."""
    if layers[0]["kind"] != "masking":
        return layers, np.ones(len(x), bool)
    return layers[1:], np.any(np.asarray(x, np.float32) != np.float32(layers[0]["value"]), axis=1)


def reads(layers: list[Layer], x: Array) -> bool:
    """Whether the network reads any step of x: of a window that is masked throughout there is no gradient to take."""
    return bool(_without_masked(layers, x)[1].any())


def _aside(x: Array, static: Array) -> tuple[Array, Array]:
    """x (B, T, D) and static features (B, S), with one of their B numbers after the other moved aside."""
    moved = np.concatenate([x.ravel(), static]) + 1j * STEP * np.eye(x.size + static.size)
    return moved[:, : x.size].reshape(-1, *x.shape), moved[:, x.size :]


def _slopes(score: Array, target: int, at_step: int, live: Array, D: int) -> tuple[Array, Array]:
    """d score/dx (T, D), where steps that are not live have none, and d score/d static (S,)."""
    found = score[..., target].imag / STEP
    found = found[:, at_step] if found.ndim == 2 else found
    of_x, read = np.zeros((len(live), D)), np.count_nonzero(live) * D
    of_x[live] = found[:read].reshape(-1, D)
    return of_x, found[read:]


def x_times_gradient(
    layers: list[Layer], x: Array, target: int = 0, at_step: int = -1, static: Any = ()
) -> tuple[Array, Array]:
    """x * d score/dx (T, D), gates held constant and activation'(z) replaced by activation(z)/z; by complex step; and
    the same of static features (S,).

    The arras rule tends to this as eps goes to 0, with delta = 0 and the stabiliser absorbed.
    """
    x, static = np.asarray(x, float), np.asarray(static, float)
    layers, live = _without_masked(layers, x)
    at, (moved, moved_static) = x[live], _aside(x[live], static)
    if not any(layer["kind"] in ("lstm", "gru", "bidirectional") for layer in layers):
        at, moved = at[0], moved[:, 0]
    score = moved
    for layer in layers:
        if layer["kind"] in ("lstm", "gru", "bidirectional"):
            at, moved = _moving_recurrent(layer, at, moved)
            score = moved
        elif layer["kind"] == "static":
            at, moved = np.concatenate([at, static]), np.concatenate([moved, moved_static], axis=1)
        elif layer["kind"] == "dense":
            W, b = np.asarray(layer["W"], float), _bias(layer, np.shape(layer["W"])[1])
            z, score = at @ W + b, moved @ W + b
            name, alpha = layer["activation"], layer.get("alpha")
            at, moved = _curve(name, z, alpha), _ratio(name, z, alpha) * score
    of_x, of_static = _slopes(score, target, at_step, live, x.shape[1])
    return x * of_x, static * of_static


def forget_factor_discount(layers: list[Layer], x: Array) -> Array:
    """Arras without the h-path, in closed form, for [LSTM, Dense(1)] as eps goes to 0 with delta = 0.

    R_g[t] = i_t g_t (prod over s > t of f_s) R_cT / c_T, and R_cT = h_T v for a head with weights v.
    """
    lstm, head = layers
    at, H = gates(lstm, x), len(lstm["U"])
    R_cT = at["h"][-1] * np.asarray(head["W"], float)[:, 0]
    kept = np.ones((len(x), H))
    for t in range(len(x) - 1):
        kept[t] = np.prod(at["f"][t + 1 :], axis=0)
    R_g = at["i"] * at["g"] * kept * R_cT / at["c"][-1]
    return x * ((R_g / at["zg"]) @ lstm["W"][:, 2 * H : 3 * H].T)


def never_forgets(lstm: Layer) -> Layer:
    """The same LSTM with f = 1 to the last bit and no path through h."""
    H = len(lstm["U"])
    W, b = np.array(lstm["W"]), _bias(lstm, 4 * H).astype(np.asarray(lstm["W"]).dtype)
    W[:, H : 2 * H], b[H : 2 * H] = 0, 100
    return {**lstm, "W": W, "U": np.zeros_like(lstm["U"]), "b": b}


def _halves(layer: Layer) -> tuple[str, ...]:
    return ("forward", "backward") if layer["kind"] == "bidirectional" else ()


def _inputs_permuted(layer: Layer, order: Array) -> Layer:
    if halves := _halves(layer):
        return {**layer, **{half: _inputs_permuted(layer[half], order) for half in halves}}
    return {**layer, "W": layer["W"][order]}


def _units_permuted(layer: Layer, order: Array) -> Layer:
    if halves := _halves(layer):
        return {**layer, **{half: _units_permuted(layer[half], order) for half in halves}}
    H = len(order)
    columns = np.concatenate([k * H + order for k in range(layer["W"].shape[1] // H)])  # those of every gate
    permuted = {"W": layer["W"][:, columns], "b": None if layer["b"] is None else layer["b"][..., columns]}
    return {**layer, **permuted} | ({"U": layer["U"][order][:, columns]} if "U" in layer else {})


#: Layers without weights.
_WEIGHTLESS = ("dropout", "masking", "static")


def with_features_permuted(layers: list[Layer], order: Array) -> list[Layer]:
    """The network with its features in another order: feature k of the new one is feature order[k]."""
    at = next(i for i, layer in enumerate(layers) if layer["kind"] not in _WEIGHTLESS)
    return [*layers[:at], _inputs_permuted(layers[at], order), *layers[at + 1 :]]


def with_units_permuted(layers: list[Layer], order: Array, at: int = 0) -> list[Layer]:
    """The same function with the units of a layer, or of each of its directions, in another order, and with them the
    inputs of the layer above."""
    above = next(i for i in range(at + 1, len(layers)) if layers[i]["kind"] not in _WEIGHTLESS)
    outputs = order
    if layers[at].get("merge_mode") == "concat":
        outputs = np.concatenate([order, len(order) + order])
    static = sum(layer["n"] for layer in layers[at:above] if layer["kind"] == "static")
    outputs = np.concatenate([outputs, len(outputs) + np.arange(static)])
    permuted = {at: _units_permuted(layers[at], order), above: _inputs_permuted(layers[above], outputs)}
    return [permuted.get(i, layer) for i, layer in enumerate(layers)]


def _complex(name: str, z: Array) -> Array:
    """Activations of complex numbers, analytic but for kinks, which lie where the real part has them."""
    match name:
        case "hard_sigmoid":
            return np.where(abs(z.real) < 3, z / 6 + 0.5, z.real > 0)
        case "hard_sigmoid_keras2":
            return np.where(abs(z.real) < 2.5, z / 5 + 0.5, z.real > 0)
        case "relu":
            return z * (z.real > 0)
    return _activate(name, z)


def _complex_lstm(layer: Layer, x: Array) -> Array:
    W, U = np.asarray(layer["W"], float), np.asarray(layer["U"], float)
    c = h = np.zeros((len(x), len(U)), complex)
    gate, signal, out = layer["recurrent_activation"], layer["activation"], []
    for t in range(x.shape[1]):
        zi, zf, zg, zo = np.split(x[:, t] @ W + h @ U + _bias(layer, W.shape[1]), 4, axis=1)
        c = _complex(gate, zf) * c + _complex(gate, zi) * _complex(signal, zg)
        h = _complex(gate, zo) * _complex(signal, c)
        out.append(h)
    return np.stack(out, axis=1)


def _complex_gru(layer: Layer, x: Array) -> Array:
    W, U, (b, rb) = np.asarray(layer["W"], float), np.asarray(layer["U"], float), _gru_biases(layer)
    H, h, out = len(U), np.zeros((len(x), len(U)), complex), []
    for t in range(x.shape[1]):
        into = x[:, t] @ W + b
        zr = _complex(layer["recurrent_activation"], into[:, : 2 * H] + h @ U[:, : 2 * H] + rb[: 2 * H])
        z, r = zr[:, :H], zr[:, H:]
        Uh = U[:, 2 * H :]
        past = r * (h @ Uh + rb[2 * H :]) if layer["reset_after"] else (r * h) @ Uh
        h = z * h + (1 - z) * _complex(layer["activation"], into[:, 2 * H :] + past)
        out.append(h)
    return np.stack(out, axis=1)


def _complex_cell(layer: Layer, x: Array) -> Array:
    return (_complex_lstm if layer["kind"] == "lstm" else _complex_gru)(layer, x)


def _complex_recurrent(layer: Layer, x: Array) -> Array:
    if layer["kind"] != "bidirectional":
        h = _complex_cell(layer, x[:, ::-1] if layer["go_backwards"] else x)
        return h if layer["return_sequences"] else h[:, -1]
    one, two = _complex_cell(layer["forward"], x), _complex_cell(layer["backward"], x[:, ::-1])
    one, two = (one, two[:, ::-1]) if layer["forward"]["return_sequences"] else (one[:, -1], two[:, -1])
    if layer["merge_mode"] == "concat":
        return np.concatenate([one, two], -1)
    return (one + two) * (0.5 if layer["merge_mode"] == "ave" else 1.0)


def gradient(
    layers: list[Layer], x: Array, target: int = 0, at_step: int = -1, static: Any = ()
) -> tuple[Array, Array]:
    """d score/dx (T, D) and d score/d static (S,), by a complex step: exact to rounding."""
    x, static = np.asarray(x, float), np.asarray(static, float)
    layers, live = _without_masked(layers, x)
    at, at_static = _aside(x[live], static)
    if not any(layer["kind"] in ("lstm", "gru", "bidirectional") for layer in layers):
        at = at[:, 0]
    score = at
    for layer in layers:
        if layer["kind"] in ("lstm", "gru", "bidirectional"):
            at = score = _complex_recurrent(layer, at)
        elif layer["kind"] == "static":
            at = np.concatenate([at, at_static], axis=1)
        elif layer["kind"] == "dense":
            score = at @ np.asarray(layer["W"], float) + _bias(layer, np.shape(layer["W"])[1])
            at = _curve(layer["activation"], score, layer.get("alpha"))
    return _slopes(score, target, at_step, live, x.shape[1])


def input_x_gradient(
    layers: list[Layer], x: Array, target: int = 0, at_step: int = -1, static: Any = ()
) -> tuple[Array, Array]:
    """x and static features times their gradients."""
    of_x, of_static = gradient(layers, x, target, at_step, static)
    return x * of_x, static * of_static
