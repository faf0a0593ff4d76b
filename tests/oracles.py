"""Answers that are known without any relevance rule: gradients, closed forms, symmetries.

They are independent of ``reference.py`` (another forward pass, over many samples at once) and of fastlrp; networks are
the plain dicts that ``reference.py`` describes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

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


def _ratio(name: str, z: Array) -> Array:
    """activation(z)/z, which replaces the derivative."""
    return np.divide(_activate(name, z), z, out=np.zeros_like(z), where=z != 0)


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


def x_times_gradient(layers: list[Layer], x: Array, target: int = 0) -> Array:
    """x * d score/dx (T, D), gates held constant and activation'(z) replaced by activation(z)/z; by complex step.

    The arras rule tends to this as eps goes to 0, with delta = 0 and the stabiliser absorbed.
    """
    x = np.asarray(x, float)
    step = 1e-30
    at, moved = x, x + 1j * step * np.eye(x.size).reshape(x.size, *x.shape)
    score = moved
    for layer in layers:
        if layer["kind"] in ("lstm", "gru", "bidirectional"):
            at, moved = _moving_recurrent(layer, at, moved)
            score = moved
        elif layer["kind"] == "dense":
            W, b = np.asarray(layer["W"], float), _bias(layer, np.shape(layer["W"])[1])
            z, score = at @ W + b, moved @ W + b
            at, moved = _activate(layer["activation"], z), _ratio(layer["activation"], z) * score
    return x * (score[:, target].imag / step).reshape(x.shape)


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


def with_features_permuted(layers: list[Layer], order: Array) -> list[Layer]:
    """The network with its features in another order: feature k of the new one is feature order[k]."""
    first = layers[0]
    if first["kind"] == "bidirectional":
        halves = {key: {**first[key], "W": first[key]["W"][order]} for key in ("forward", "backward")}
        return [{**first, **halves}, *layers[1:]]
    return [{**first, "W": first["W"][order]}, *layers[1:]]


def with_units_permuted(layers: list[Layer], order: Array) -> list[Layer]:
    """The same function with the units of the first LSTM or GRU in another order: its gates, and the next layer's
    inputs."""
    first, second = layers[0], layers[1]
    H = len(order)
    columns = np.concatenate([k * H + order for k in range(first["W"].shape[1] // H)])
    b = None if first["b"] is None else first["b"][..., columns]
    permuted = {**first, "W": first["W"][:, columns], "U": first["U"][order][:, columns], "b": b}
    return [permuted, {**second, "W": second["W"][order]}, *layers[2:]]


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


def gradient(layers: list[Layer], x: Array, target: int = 0) -> Array:
    """d score/dx (T, D), by a complex step: exact to rounding, for no difference is taken."""
    x, step = np.asarray(x, float), 1e-30
    at = score = x + 1j * step * np.eye(x.size).reshape(x.size, *x.shape)
    for layer in layers:
        if layer["kind"] in ("lstm", "gru", "bidirectional"):
            at = score = _complex_recurrent(layer, at)
        elif layer["kind"] == "dense":
            score = at @ np.asarray(layer["W"], float) + _bias(layer, np.shape(layer["W"])[1])
            at = _complex(layer["activation"], score)
    return (score[:, target].imag / step).reshape(x.shape)
