"""Training: gradients, Adam, losses, dropout and threads, against plain NumPy that shares no code with the kernels.

Gradients are compared with complex-step derivatives of a forward pass written out here: d f/d w = Im f(w + ih)/h, exact
to round-off and free of any backpropagation.
"""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from helpers import ROOT, TESTS, close, run_python
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import erf

import fastlrp as fl
from fastlrp.kernels.training.inputs import LOSSES
from fastlrp.kernels.training.threads import Stop
from fastlrp.kernels.training.trainer import Trainer, _train_together
from fastlrp.model.layers import CURVES

DATA = TESTS / "data" / "training"


# ---- the reference ------------------------------------------------------------------------------------------------


def clip01(z):
    return np.where(z.real <= 0, 0, np.where(z.real >= 1, 1, z))


ACTIVATIONS = {
    "linear": lambda z: z,
    "tanh": np.tanh,
    "sigmoid": lambda z: (1 + np.tanh(z / 2)) / 2,
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "hard_sigmoid": lambda z: clip01((z + 3) / 6),
    "hard_sigmoid_keras2": lambda z: clip01(0.2 * z + 0.5),
    "leaky_relu": lambda z: np.where(z.real > 0, z, 0.2 * z),
    "relu6": lambda z: 6 * clip01(z / 6),
    "elu": lambda z: np.where(z.real >= 0, z, np.exp(z) - 1),
    "selu": lambda z: 1.0507009873554805 * np.where(z.real >= 0, z, 1.6732632423543772 * (np.exp(z) - 1)),
    "silu": lambda z: z * (1 + np.tanh(z / 2)) / 2,
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "gelu_tanh": lambda z: z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2,
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "softsign": lambda z: z / (1 + np.where(z.real < 0, -z, z)),
    "exponential": np.exp,
}


def lstm_outputs(layer, weights, x, live):
    """h of every step in reading order, from x (n, T, D) in that order; steps that are not live keep c and h."""
    W, U = next(weights), next(weights)
    b = next(weights) if layer.b is not None else 0
    act, gate = ACTIVATIONS[layer.activation], ACTIVATIONS[layer.recurrent_activation]
    h = c = np.zeros((len(x), layer.units))
    hs = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ W + h @ U + b, 4, axis=1)
        new = gate(f) * c + gate(i) * act(g)
        c, h = np.where(live[:, t, None], new, c), np.where(live[:, t, None], gate(o) * act(new), h)
        hs.append(h)
    return np.stack(hs, axis=1)


def gru_outputs(layer, weights, x, live):
    """The same of a GRU."""
    W, U = next(weights), next(weights)
    b = next(weights) if layer.b is not None else np.zeros((2, 1))
    b, rb = b if b.ndim == 2 else (b, 0 * b)
    act, gate, H = ACTIVATIONS[layer.activation], ACTIVATIONS[layer.recurrent_activation], layer.units
    h, hs = np.zeros((len(x), H)), []
    for t in range(x.shape[1]):
        into, past = x[:, t] @ W + b, h @ U + rb
        z, r = gate((into + past)[:, :H]), gate((into + past)[:, H : 2 * H])
        last = r * past[:, 2 * H :] if layer.reset_after else (r * h) @ U[:, 2 * H :]
        new = z * h + (1 - z) * act(into[:, 2 * H :] + last)
        h = np.where(live[:, t, None], new, h)
        hs.append(h)
    return np.stack(hs, axis=1)


def cell_outputs(layer, weights, x, live):
    return (lstm_outputs if isinstance(layer, fl.LSTM) else gru_outputs)(layer, weights, x, live)


def outputs(net, weights, x, masks=()):
    """The network's output for complex or real weights, in the order of the layers' arrays; static features are the
    last columns of x at the last step."""
    weights, masks = iter(weights), iter(masks)
    x, static, live = x[:, :, : net.n_features], x[:, -1, net.n_features :], np.ones(x.shape[:2], bool)
    for k, layer in enumerate(net.layers):
        if net.n_static and k == net.join:
            x = np.concatenate([x, static], axis=1)
        if isinstance(layer, fl.Masking):
            live = (x.astype(np.float32) != np.float32(layer.value)).any(axis=2)
        elif isinstance(layer, fl.LSTM | fl.GRU):
            if layer.go_backwards:
                x, live = x[:, ::-1], live[:, ::-1]
            hs = cell_outputs(layer, weights, x, live)
            x = hs if layer.return_sequences else hs[:, -1]
        elif isinstance(layer, fl.Bidirectional):
            one = cell_outputs(layer.forward, weights, x, live)
            other = cell_outputs(layer.backward, weights, x[:, ::-1], live[:, ::-1])
            one, other = (one, other[:, ::-1]) if layer.return_sequences else (one[:, -1], other[:, -1])
            x = {
                "concat": lambda a, b: np.concatenate([a, b], axis=-1),
                "sum": lambda a, b: a + b,
                "ave": lambda a, b: (a + b) / 2,
            }[layer.merge_mode](one, other)
        elif isinstance(layer, fl.Dense):
            W = next(weights)
            x = x[:, 0] if not net.recurrent and x.ndim == 3 else x
            x = ACTIVATIONS[layer.activation](x @ W + (next(weights) if layer.b is not None else 0))
        else:
            x = x * next(masks, 1)
    return x


def loss_of(net, weights, x, y, w=None, loss="squared_error", delta=1.0, alpha=0.0, masks=()):
    d = outputs(net, weights, x, masks) - y
    size = np.where(d.real < 0, -d, d)
    each = {
        "squared_error": d**2,
        "absolute_error": size,
        "huber": np.where(size.real <= delta, d**2 / 2, delta * (size - delta / 2)),
    }[loss].mean(axis=1)
    w = np.ones(len(x)) if w is None else w
    penalty = sum((W**2).sum() for W in kernels(net, weights))
    return (w * each).sum() / w.sum() + alpha / 2 * penalty / w.sum()


def kernels(net, weights):
    """The arrays that alpha shrinks: each layer's input weights."""
    weights = list(weights)
    for layer in net.layers:
        for part in (layer.forward, layer.backward) if isinstance(layer, fl.Bidirectional) else (layer,):
            if part.arrays:
                yield weights[0]
                del weights[: len(part.arrays)]


def complex_step(f, weights, step=1e-30):
    gradients = []
    for k, array in enumerate(weights):
        gradient = np.empty(array.shape)
        for place in np.ndindex(array.shape):
            moved = [a.astype(complex) if j == k else a for j, a in enumerate(weights)]
            moved[k][place] += 1j * step
            gradient[place] = f(moved).imag / step
        gradients.append(gradient)
    return gradients


# ---- networks -----------------------------------------------------------------------------------------------------


def lstm(rng, D, H, sequence=False, bias=True, s=0.6, **options):
    b = s * rng.standard_normal(4 * H) if bias else None
    W, U = s * rng.standard_normal((D, 4 * H)), s * rng.standard_normal((H, 4 * H))
    return fl.LSTM(W, U, b, return_sequences=sequence, **options)


def dense(rng, K, M, activation="linear", bias=True):
    return fl.Dense(rng.standard_normal((K, M)), rng.standard_normal(M) if bias else None, activation=activation)


def gru(rng, D, H, sequence=False, bias=True, reset_after=True, s=0.6, **options):
    W, U = s * rng.standard_normal((D, 3 * H)), s * rng.standard_normal((H, 3 * H))
    b = s * rng.standard_normal((2, 3 * H) if reset_after else 3 * H) if bias else None
    return fl.GRU(W, U, b, reset_after, return_sequences=sequence, **options)


def both(rng, D, H, merge, sequence=False, cell=lstm, **options):
    halves = cell(rng, D, H, sequence, **options), cell(rng, D, H, sequence, bias=False, **options)
    return fl.Bidirectional(*halves, merge_mode=merge)


NETWORKS = {
    "lstm": lambda r: [lstm(r, 3, 5), dense(r, 5, 1)],
    "no bias": lambda r: [lstm(r, 3, 4, bias=False), dense(r, 4, 2, bias=False)],
    "lstm alone": lambda r: [lstm(r, 3, 2)],
    "stacked": lambda r: [lstm(r, 3, 4, True), lstm(r, 4, 3, True), lstm(r, 3, 2), dense(r, 2, 3)],
    "dense below and above": lambda r: [
        dense(r, 3, 4, "relu"), lstm(r, 4, 3, True), dense(r, 3, 2, "tanh"), lstm(r, 2, 3), dense(r, 3, 3, "sigmoid"),
        dense(r, 3, 1),
    ],
    "backwards": lambda r: [lstm(r, 3, 3, True, go_backwards=True), lstm(r, 3, 2, go_backwards=True), dense(r, 2, 1)],
    "concat": lambda r: [both(r, 3, 3, "concat", True), both(r, 6, 2, "concat"), dense(r, 4, 1)],
    "sum": lambda r: [both(r, 3, 3, "sum", True), both(r, 3, 2, "sum"), dense(r, 2, 1)],
    "ave": lambda r: [lstm(r, 3, 2, True), both(r, 2, 3, "ave", True), both(r, 3, 2, "ave"), dense(r, 2, 1)],
    "static": lambda r: [lstm(r, 3, 4, True), lstm(r, 4, 3), dense(r, 5, 4, "tanh"), dense(r, 4, 2)],
    "static above both": lambda r: [dense(r, 3, 2, "tanh"), both(r, 2, 3, "concat"), fl.Dropout(0.0), dense(r, 8, 1)],
    "other activations": lambda r: [
        lstm(r, 3, 3, True, activation="relu", recurrent_activation="hard_sigmoid"),
        lstm(r, 3, 3, True, activation="sigmoid", recurrent_activation="hard_sigmoid_keras2"),
        lstm(r, 3, 2, activation="linear", recurrent_activation="tanh"),
        dense(r, 2, 2, "hard_sigmoid"),
    ],
    "gru": lambda r: [gru(r, 3, 5), dense(r, 5, 1)],
    "gru, reset before": lambda r: [gru(r, 3, 5, reset_after=False), dense(r, 5, 1)],
    "grus": lambda r: [
        gru(r, 3, 4, True, bias=False), gru(r, 4, 3, True, go_backwards=True), lstm(r, 3, 3, True),
        gru(r, 3, 4, True, reset_after=False), gru(r, 4, 2, reset_after=False, bias=False, go_backwards=True),
    ],
    "grus both ways": lambda r: [
        both(r, 3, 3, "concat", True, gru), both(r, 6, 3, "sum", True, gru, reset_after=False),
        both(r, 3, 2, "ave", False, gru), dense(r, 2, 1),
    ],
    "grus, other activations": lambda r: [
        gru(r, 3, 3, True, activation="relu", recurrent_activation="hard_sigmoid"),
        gru(r, 3, 3, True, reset_after=False, activation="sigmoid", recurrent_activation="hard_sigmoid_keras2"),
        gru(r, 3, 2, activation="linear", recurrent_activation="tanh"),
    ],
    "masked": lambda r: [fl.Masking(-1.1), lstm(r, 3, 5), dense(r, 5, 1)],
    "masked, all kinds": lambda r: [
        fl.Masking(-1.1), dense(r, 3, 4, "tanh"), lstm(r, 4, 3, True, go_backwards=True), both(r, 3, 3, "sum", True),
        dense(r, 3, 4, "relu"), lstm(r, 4, 2, True, activation="sigmoid"), both(r, 2, 3, "concat"), dense(r, 6, 2),
    ],
    "masked, grus": lambda r: [
        fl.Masking(-1.1), gru(r, 3, 4, True), both(r, 4, 3, "sum", True, gru, reset_after=False),
        gru(r, 3, 3, True, reset_after=False, go_backwards=True), both(r, 3, 3, "concat", False, gru), dense(r, 6, 2),
    ],
    "static, masked": lambda r: [
        fl.Masking(-1.1), lstm(r, 3, 4, True), gru(r, 4, 4), dense(r, 6, 3, "tanh"), dense(r, 3, 1),
    ],
    "curves": lambda r: [lstm(r, 3, 3), *(dense(r, 3, 3, name) for name in CURVES), dense(r, 3, 1)],
    "curves at every step": lambda r: [dense(r, 3, 3, "gelu"), dense(r, 3, 3, "elu"), lstm(r, 3, 3), dense(r, 3, 1)],
    "no recurrent layer": lambda r: [dense(r, 3, 4, "relu"), dense(r, 4, 3, "silu"), dense(r, 3, 1)],
}  # fmt: skip
CASES = [  # network, T, n, loss, weighted, alpha; 150 samples are three tiles, the last one padded
    ("lstm", 4, 150, "squared_error", True, 0.5),
    ("lstm", 1, 7, "huber", False, 0.0),
    ("no bias", 3, 20, "absolute_error", True, 0.0),
    ("lstm alone", 2, 64, "squared_error", False, 0.0),
    ("stacked", 4, 33, "huber", True, 0.3),
    ("dense below and above", 3, 100, "squared_error", False, 0.0),
    ("backwards", 4, 20, "squared_error", True, 0.0),
    ("concat", 3, 70, "huber", False, 0.1),
    ("sum", 3, 20, "absolute_error", False, 0.0),
    ("ave", 3, 20, "squared_error", True, 0.0),
    ("ave", 1, 5, "squared_error", True, 0.0),
    ("static", 4, 150, "huber", True, 0.3),
    ("static", 1, 7, "squared_error", False, 0.0),
    ("static above both", 3, 40, "squared_error", True, 0.1),
    ("other activations", 4, 30, "squared_error", True, 0.0),
    ("gru", 4, 150, "squared_error", True, 0.5),
    ("gru", 1, 7, "huber", False, 0.0),
    ("gru, reset before", 4, 150, "squared_error", True, 0.5),
    ("gru, reset before", 1, 7, "huber", False, 0.0),
    ("grus", 3, 20, "squared_error", True, 0.0),
    ("grus both ways", 4, 33, "huber", True, 0.3),
    ("grus, other activations", 4, 30, "squared_error", True, 0.0),
    ("masked", 5, 150, "squared_error", True, 0.2),
    ("masked", 1, 7, "squared_error", False, 0.0),
    ("masked, all kinds", 4, 33, "huber", True, 0.1),
    ("masked, all kinds", 2, 10, "squared_error", False, 0.0),
    ("masked, grus", 4, 33, "huber", True, 0.1),
    ("static, masked", 4, 33, "squared_error", True, 0.0),
    ("curves", 2, 30, "squared_error", True, 0.0),
    ("curves at every step", 3, 20, "squared_error", False, 0.1),
    ("no recurrent layer", 1, 70, "squared_error", True, 0.1),
]


def make(rng, name, T, n):
    T = 1 if name == "no recurrent layer" else T
    net = fl.Network(NETWORKS[name](rng), steps=T, static=2 * name.startswith("static"))
    X, y = rng.standard_normal((n, T, net.n_columns)), rng.standard_normal((n, net.n_outputs))
    if net.mask_value is not None:
        X[rng.random((n, T)) < 0.4, : net.n_features] = net.mask_value
        X[0, :, : net.n_features], X[-1, 0, : net.n_features] = net.mask_value, net.mask_value
    return net, X, y, rng.uniform(0.1, 3.0, n)


def arrays(net):
    return [array for layer in net.layers for array in layer.arrays]


@pytest.mark.parametrize(("name", "T", "n", "loss", "weighted", "alpha"), CASES)
def test_gradients_and_loss(rng, name, T, n, loss, weighted, alpha):
    net, X, y, w = make(rng, name, T, n)
    w = w if weighted else None
    trainer = Trainer(net, steps=T, loss=loss, huber_delta=0.7, alpha=alpha, dtype=np.float64, threads=2)
    want = complex_step(lambda v: loss_of(net, v, X, y, w, loss, 0.7, alpha), arrays(net))
    got = trainer.gradients(X, y, w)
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        close(one, other, 1e-11)
    assert trainer.loss(X, y, w) == pytest.approx(loss_of(net, arrays(net), X, y, w, loss, 0.7), rel=1e-12)


LSTM_ACTIVATIONS = st.sampled_from(["tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_sigmoid_keras2"])


@st.composite
def random_networks(draw):
    """Any chain of layers that a Network takes; weights come from a seed, the structure from hypothesis."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = features = draw(st.integers(1, 9))
    layers, sequence = [], True
    depth = draw(st.integers(1, 4))
    for k in range(depth):
        kind = (
            draw(st.sampled_from(["lstm", "gru", "bidirectional", "dense"])) if sequence and k < depth - 1 else "dense"
        )
        kind = draw(st.sampled_from(["lstm", "gru", "bidirectional"])) if sequence and k == depth - 1 else kind
        units = draw(st.integers(1, 11))
        if kind == "dense":
            layers.append(dense(rng, width, units, draw(LSTM_ACTIVATIONS), draw(st.booleans())))
            width = units
            continue
        sequence = sequence and k < depth - 1 and draw(st.booleans())
        plain = {"activation": draw(LSTM_ACTIVATIONS), "recurrent_activation": draw(LSTM_ACTIVATIONS)}
        options = draw(st.sampled_from([{}, plain]))
        cell, after = draw(st.sampled_from([(lstm, {}), (gru, {}), (gru, {"reset_after": False})]))
        if kind != "bidirectional":
            cell, after = (lstm, {}) if kind == "lstm" else (gru, {"reset_after": draw(st.booleans())})
            options = {**options, **after}
            layers.append(
                cell(rng, width, units, sequence, draw(st.booleans()), go_backwards=draw(st.booleans()), **options)
            )
            width = units
        else:
            merge = draw(st.sampled_from(["concat", "sum", "ave"]))
            layers.append(both(rng, width, units, merge, sequence, cell, **after))
            width = layers[-1].n_outputs
    return fl.Network(layers), features, rng


@settings(max_examples=100)
@given(random_networks(), st.integers(1, 6), st.integers(1, 140), st.sampled_from(LOSSES))
def test_random_networks_along_a_random_direction(drawn, T, n, loss):
    net, features, rng = drawn
    X, y = 0.5 * rng.standard_normal((n, T, features)), rng.standard_normal((n, net.n_outputs))
    w, alpha = rng.uniform(0.1, 3.0, n), rng.uniform(0, 1)
    weights = arrays(net)
    with np.errstate(all="ignore"):
        value = loss_of(net, weights, X, y, w, loss, 0.8)
    assume(value < 1e4)  # unbounded activations may explode
    direction = [rng.standard_normal(a.shape) for a in weights]
    trainer = Trainer(net, steps=T, loss=loss, huber_delta=0.8, alpha=alpha, dtype=np.float64, threads=2)
    got = trainer.gradients(X, y, w)
    along = sum((g * d).sum() for g, d in zip(got, direction, strict=True))
    scale = np.sqrt(sum((g**2).sum() for g in got) * sum((d**2).sum() for d in direction))
    moved = [a + 1e-30j * d for a, d in zip(weights, direction, strict=True)]
    assert abs(along - loss_of(net, moved, X, y, w, loss, 0.8, alpha).imag / 1e-30) <= 1e-11 * scale
    assert trainer.loss(X, y, w) == pytest.approx(value, rel=1e-11)


def test_kernels_agree_uncompiled():
    """Run as plain Python: coverage and debuggers see inside only this way, and intrinsics have a second form."""
    chosen = "test_gradients_and_loss and (1-7 or 3-20 or 1-5) or under_its_masks"
    run = run_python(
        "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__, "-k", chosen, NUMBA_DISABLE_JIT="1"
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_gradients_are_float64s(rng, name):
    net, X, y, w = make(rng, name, 4, 90)
    fine, coarse = (Trainer(net, steps=net.steps, dtype=dtype).gradients(X, y, w) for dtype in (np.float64, np.float32))
    for one, other in zip(coarse, fine, strict=True):
        assert one.dtype == np.float32
        close(one, other, 2e-5)


# ---- batches, Adam, penalty, clipping -----------------------------------------------------------------------------


def adam_by_hand(net, X, y, w, orders, batch, rate=0.01, clipnorm=None, alpha=0.0):
    """Keras' Adam on complex-step gradients; the curve is the mean of batch losses, weighted by samples or weights."""
    weights = [a.astype(float) for a in arrays(net)]
    m, v = ([np.zeros_like(a) for a in weights] for _ in range(2))
    step, curve = 0, []
    for order in orders:
        total = below = 0.0
        for k in range(0, len(order), batch):
            rows = order[k : k + batch]
            part = None if w is None else w[rows]

            def f(values, rows=rows, part=part):
                return loss_of(net, values, X[rows], y[rows], part, alpha=alpha)

            share = len(rows) if part is None else part.sum()
            total, below = total + f(weights) * share, below + share
            gradients = complex_step(f, weights)
            norm = np.sqrt(sum((g**2).sum() for g in gradients))
            if clipnorm is not None and norm > clipnorm:
                gradients = [g * clipnorm / norm for g in gradients]
            step += 1
            for j, g in enumerate(gradients):
                m[j] = 0.9 * m[j] + 0.1 * g
                v[j] = 0.999 * v[j] + 0.001 * g**2
                scale = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                weights[j] = weights[j] - scale * m[j] / (np.sqrt(v[j]) + 1e-7)
        curve.append(total / below)
    return weights, curve


@pytest.mark.parametrize(("weighted", "clipnorm", "alpha"), [(False, None, 0.0), (True, 0.4, 0.2), (False, 0.2, 1.0)])
def test_epochs_are_adam_on_batches(rng, weighted, clipnorm, alpha):
    net, X, y, w = make(rng, "lstm", 3, 45)
    w, orders = w if weighted else None, np.array([rng.permutation(45)[:41] for _ in range(3)])
    want, losses = adam_by_hand(net, X, y, w, orders, 16, clipnorm=clipnorm, alpha=alpha)
    trainer = Trainer(net, steps=3, learning_rate=0.01, clipnorm=clipnorm, alpha=alpha, dtype=np.float64)
    curve = [trainer.epoch(X, y, w, order, 16) for order in orders]
    assert_allclose(curve, losses, rtol=1e-10)
    for one, other in zip(arrays(trainer.network()), want, strict=True):
        close(one, other, 1e-8)
    again = Trainer(net, steps=3, learning_rate=0.01, clipnorm=clipnorm, alpha=alpha, dtype=np.float64)
    assert_allclose(again.epochs(X, y, w, orders, 16), curve, rtol=0)
    assert again.network() == trainer.network()


def test_whole_weights_are_repeated_samples(rng):
    net, X, y, _ = make(rng, "stacked", 3, 30)
    times = rng.integers(0, 4, 30)
    trainer = Trainer(net, steps=3, alpha=0.1, dtype=np.float64)
    one = trainer.gradients(X, y, times)
    other = trainer.gradients(np.repeat(X, times, axis=0), np.repeat(y, times, axis=0))
    for a, b in zip(one, other, strict=True):
        close(a, b, 1e-12)
    X[times == 0], y[times == 0] = 1e3, np.inf  # samples of zero weight have no influence
    for a, b in zip(trainer.gradients(X, y, times), one, strict=True):
        assert np.array_equal(a, b)
    assert trainer.loss(X, y, np.zeros(30)) == 0.0
    assert not any(g.any() for g in trainer.gradients(X, y, np.zeros(30)))


def test_windows_of_rows_are_windows(rng):
    net, _, _, _ = make(rng, "concat", 4, 1)
    rows, starts = rng.standard_normal((60, 3)), rng.permutation(57)[:50]
    X, y = np.stack([rows[s : s + 4] for s in starts]), rng.standard_normal((50, 1))
    one, other = (Trainer(net, steps=4) for _ in range(2))
    order = rng.permutation(50)
    assert one.epoch(X, y, None, order, 16) == other.epoch((rows, starts), y, None, order, 16)
    assert one.network() == other.network()


def test_any_layout_of_arrays_is_one_machine_code(rng):
    from fastlrp.kernels.training.epochs import run_epochs

    net, X, y, w = make(rng, "lstm", 3, 30)
    order = np.arange(30)
    want = Trainer(net, steps=3).epoch(X, y, w, order, 8)
    compiled = list(run_epochs.signatures)
    order.setflags(write=False)
    strided = np.repeat(X, 2, axis=2)[:, :, ::2].astype(np.float32)
    for x in (strided, np.asfortranarray(X), X.tolist()):
        for target in (y, y[:, 0], np.broadcast_to(y, (30, 1))):
            assert Trainer(net, steps=3).epoch(x, target, w, order, 8) == want
    assert Trainer(net, steps=3).epoch(X, y, w, order.astype(np.int16).tolist(), 8) == want
    assert list(run_epochs.signatures) == compiled


# ---- Keras --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "stacked", "bidirectional"])
def test_curve_is_keras(name):
    """Every epoch's loss and the last weights agree, from the same first weights and the same order of samples."""
    with np.load(DATA / f"{name}.npz") as file:
        data = dict(file)
    weights = [data[f"first_{k}"] for k in range(sum(key.startswith("first_") for key in data))]
    last = [data[f"last_{k}"] for k in range(len(weights))]
    net = keras_network(str(data["kind"]), weights)
    X, y = data["X"], data["y"]
    for dtype, tol in ((np.float64, 1e-9), (np.float32, 2e-5)):
        trainer = Trainer(
            net, steps=X.shape[1], loss=str(data["loss"]), huber_delta=float(data["huber_delta"]), dtype=dtype,
            learning_rate=float(data["rate"]), beta_1=float(data["beta_1"]), beta_2=float(data["beta_2"]),
            clipnorm=float(data["clipnorm"]) or None, alpha=float(data["alpha"]),
        )  # fmt: skip
        curve = trainer.epochs(X, y, None, data["orders"], int(data["batch"]))
        assert_allclose(curve, data["losses"], rtol=tol)
        for one, other in zip(arrays(trainer.network()), last, strict=True):
            close(one, other, 100 * tol)


def keras_network(kind, w):
    if kind == "lstm":
        return fl.Network([fl.LSTM(*w[:3]), fl.Dense(*w[3:])])
    if kind == "stacked":
        return fl.Network(
            [fl.LSTM(*w[:3], return_sequences=True), fl.LSTM(*w[3:6]), fl.Dense(*w[6:8], "relu"), fl.Dense(*w[8:])]
        )
    pair = fl.Bidirectional(fl.LSTM(*w[:3], return_sequences=True), fl.LSTM(*w[3:6], return_sequences=True))
    return fl.Network([pair, fl.LSTM(*w[6:9]), fl.Dense(*w[9:])])


# ---- dropout ------------------------------------------------------------------------------------------------------

M64, M32 = (1 << 64) - 1, (1 << 32) - 1


def splitmix(x):
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & M64
    return x ^ (x >> 31)


def lowbias(x):
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & M32
    x = ((x ^ (x >> 15)) * 0x846CA68B) & M32
    return x ^ (x >> 16)


def mask_by_hand(seed, update, layer, rate, n, *shape):
    """A layer's mask in one update, drawn from its key, the unit (over all steps) and the sample's position."""
    key = splitmix((splitmix((splitmix(seed) + update) & M64) + layer) & M64)
    mask = np.empty((n, int(np.prod(shape))))
    for unit in range(mask.shape[1]):
        number = splitmix((key + unit) & M64)
        low, high = number & M32, number >> 32
        for k in range(n):
            mask[k, unit] = (lowbias(lowbias(k ^ low) ^ high) >= round(rate * 2**32)) / (1 - rate)
    return mask.reshape(n, *shape)


def test_dropout_gradients_under_its_masks(rng):
    T, n = 3, 100
    layers = [
        fl.Dropout(0.1),
        lstm(rng, 3, 4, True),
        fl.Dropout(0.5),
        fl.Dropout(0.0),
        lstm(rng, 4, 3),
        fl.Dropout(0.3),
        dense(rng, 3, 1),
    ]
    net = fl.Network(layers)
    X, y = rng.standard_normal((n, T, 3)), rng.standard_normal((n, 1))
    trainer = Trainer(net, steps=T, dtype=np.float64, seed=99)
    drawn = ((1, 0.1, T, 3), (3, 0.5, T, 4), None, (6, 0.3, 3))
    masks = [1.0 if m is None else mask_by_hand(99, 1, m[0], m[1], n, *m[2:]) for m in drawn]
    want = complex_step(lambda v: loss_of(net, v, X, y, masks=masks), arrays(net))
    for one, other in zip(trainer.gradients(X, y, dropout=True), want, strict=True):
        close(one, other, 1e-11)
    for one, other in zip(
        trainer.gradients(X, y), complex_step(lambda v: loss_of(net, v, X, y), arrays(net)), strict=True
    ):
        close(one, other, 1e-11)
    assert trainer.loss(X, y) == pytest.approx(loss_of(net, arrays(net), X, y))  # dropout is off in evaluation
    assert trainer.epoch(X, y, None, np.arange(n), n) == pytest.approx(loss_of(net, arrays(net), X, y, masks=masks))


def test_dropout_drops_its_share_and_nothing_repeats(rng):
    """Masks seen through a network that passes them on: y is the mean of what remains of 1."""
    H, n, rate = 40, 640, 0.3
    net = fl.Network([fl.Dropout(rate), fl.Dense(np.eye(H)), lstm(rng, H, 1, activation="linear")])
    trainer = Trainer(net, steps=1, seed=3, dtype=np.float64)
    masks = []
    for _ in range(2):
        # the Dense layer's gradient of W (H, H), for one sample at a time by its weight, shows which inputs remain
        seen = [
            trainer.gradients(np.ones((n, 1, H)), np.zeros((n, 1)), np.eye(n)[k], dropout=True)[0].any(axis=1)
            for k in range(0, n, 16)
        ]
        masks.append(np.array(seen))
        trainer.epoch(np.ones((1, 1, H)), np.zeros((1, 1)), None, np.zeros(1, int), 1)
    share = np.mean(masks[0])
    assert abs(share - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / masks[0].size)
    agree = np.mean(masks[0] == masks[1])  # two updates draw independent masks, which agree only by chance
    assert abs(agree - (rate**2 + (1 - rate) ** 2)) < 0.06
    for axis in (0, 1):  # neighbours are independent too
        one, other = np.split(np.moveaxis(masks[0], axis, 0)[: masks[0].shape[axis] // 2 * 2], 2)
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.12


# ---- the same bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_for_any_number_of_threads(rng, dtype):
    layers = [both(rng, 6, 20, "concat", True), fl.Dropout(0.3), lstm(rng, 40, 24), dense(rng, 24, 2)]
    net = fl.Network(layers)
    X, y = rng.standard_normal((700, 5, 6)), rng.standard_normal((700, 2))
    orders = np.array([rng.permutation(700) for _ in range(2)])
    found = []
    for threads in (1, 2, 3, 8):
        trainer = Trainer(net, steps=5, alpha=0.1, clipnorm=1.0, seed=5, dtype=dtype, threads=threads)
        curve = trainer.epochs(X, y, np.linspace(0.5, 2, 700), orders, 300)
        found.append((curve, trainer.network(), trainer.loss(X, y)))
    for curve, trained, loss in found[1:]:
        assert np.array_equal(curve, found[0][0])
        assert trained == found[0][1]
        assert loss == found[0][2]


def test_many_tiles_a_batch(rng):
    """With more tiles than parts of a gradient, each part is summed over several tiles."""
    net, X, y, w = make(rng, "lstm", 2, 6000)
    trainer = Trainer(net, steps=2, dtype=np.float64, threads=2)
    whole = trainer.gradients(X, y, w)
    halves = [trainer.gradients(X[rows], y[rows], w[rows]) for rows in (slice(0, 2500), slice(2500, None))]
    shares = np.array([w[:2500].sum(), w[2500:].sum()]) / w.sum()
    for one, first, second in zip(whole, *halves, strict=True):
        close(one, first * shares[0] + second * shares[1], 1e-12)


def test_state_resumes_to_the_same_bits(rng):
    net, X, y, w = make(rng, "lstm", 3, 60)
    net = fl.Network([net.layers[0], fl.Dropout(0.4), net.layers[1]])
    orders = np.array([rng.permutation(60) for _ in range(4)])
    straight = Trainer(net, steps=3, seed=8)
    straight.epochs(X, y, w, orders, 16)
    broken = Trainer(net, steps=3, seed=8)
    broken.epochs(X, y, w, orders[:2], 16)
    state = broken.get_state()
    broken.epochs(X, y, w, orders[::-1], 16)  # must not change the state taken above
    resumed = Trainer(net, steps=3, seed=8)
    resumed.set_state(state)
    resumed.epochs(X, y, w, orders[2:], 16)
    assert resumed.network() == straight.network()
    with pytest.raises(ValueError, match=r"state\['m'\] has shape \(3,\), expected"):
        resumed.set_state({**state, "m": np.zeros(3)})


def test_network_keeps_its_names_and_the_first_one_stays(rng):
    net = fl.Network(
        [lstm(rng, 2, 3, name="memory"), dense(rng, 3, 2)], features=["a", "b"], outputs=["u", "v"], name="n"
    )
    before = [array.copy() for array in arrays(net)]
    trainer = Trainer(net, steps=3, dtype=np.float64)
    assert [array.tolist() for array in arrays(trainer.network())] == [array.tolist() for array in before]
    trainer.epoch(rng.standard_normal((5, 3, 2)), rng.standard_normal((5, 2)), None, np.arange(5), 2)
    after = trainer.network()
    assert (after.features, after.outputs, after.name, after.steps) == (("a", "b"), ("u", "v"), "n", 3)
    assert after.layers[0].name == "memory"
    assert all(np.array_equal(a, b) for a, b in zip(arrays(net), before, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(arrays(after), before, strict=True))


# ---- many models --------------------------------------------------------------------------------------------------


def test_threads_that_train_at_once_do_not_disturb_each_other(rng):
    net, X, y, w = make(rng, "stacked", 4, 500)
    order, found = rng.permutation(500), []

    def fit():
        trainer = Trainer(net, steps=4, threads=2)
        found.append((trainer.epoch(X, y, w, order, 250), trainer.network()))

    workers = [threading.Thread(target=fit) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_epoch_in_parts_is_an_epoch(rng, weighted):
    net = fl.Network([lstm(rng, 3, 5), fl.Dropout(0.4), dense(rng, 5, 1)])
    X, y = rng.standard_normal((70, 4, 3)), rng.standard_normal((70, 1))
    w = rng.uniform(0.5, 2, 70) if weighted else None
    whole, parts = (Trainer(net, steps=4, alpha=0.1, clipnorm=0.5, dtype=np.float64, seed=3) for _ in range(2))
    for cuts in ([0, 32, 64, 70], [0, 16, 64, 70], [0, 70]):
        order = rng.permutation(70)
        pieces = [order[a:b] for a, b in pairwise(cuts)]
        given = ((X[k], y[k], None if w is None else w[k], np.arange(len(k))) for k in pieces)
        assert parts.epoch_in_parts(given, 16) == whole.epoch(X, y, w, order, 16)
        for key, value in whole.get_state().items():
            assert np.array_equal(value, parts.get_state()[key])


INTERRUPTED = """
import os, signal, threading, time, warnings
import numpy as np, pandas as pd, fastlrp as fl
from fastlrp.kernels.training.trainer import Trainer

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it

def interrupted(call):
    "Whether a call ends by a signal that comes while a thread trains."
    def send():
        while not any(thread.name == "fastlrp-train" for thread in threading.enumerate()):
            time.sleep(0.001)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        call()
    except KeyboardInterrupt:
        sender.join()
        return threading.active_count() == 1
    return False

def train(threads):
    trainer = Trainer(net, steps=12, threads=threads)
    trainer.epoch(X[:99], X[:99, -1, :1], None, np.zeros(10**7, int), 640)  # takes an hour

X = np.random.default_rng(0).standard_normal((4000, 12, 8), np.float32)
index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=40, freq="M"), range(100)])
panel = pd.DataFrame(X[:, 0], index, list("abcdefgh"))
model = fl.LSTMRegressor(units=(64,), steps=12, max_iter=10**7, n_iter_no_change=np.inf, random_state=0, threads=2)
small = fl.LSTMRegressor(units=(32,), max_iter=1, n_iter_no_change=1, random_state=0)
net = small.fit(X[:9], X[:9, 0, 0]).network_
long = np.repeat(X, 100, axis=0)
assert interrupted(lambda: train(1)) and interrupted(lambda: train(2))
assert interrupted(lambda: model.fit(long, long[:, -1, 0])) and not hasattr(model, "loss_curve_")
for held in (None, 5):
    rolling = fl.RollingLSTM(model, window=30, validation=held)
    assert interrupted(lambda: rolling.fit(panel, panel["a"])) and not hasattr(rolling, "networks_")
again = small.fit(X[:9], X[:9, 0, 0]).network_
assert all(np.array_equal(a, b) for one, two in zip(net.layers, again.layers) for a, b in zip(one.arrays, two.arrays))
print("usable")
"""


def test_ctrl_c_ends_training_within_an_epoch_and_leaves_the_process_usable():
    run = run_python("-c", INTERRUPTED)
    assert run.stdout == "usable\n", run.stderr


@pytest.mark.parametrize("started", [0, 1])
def test_where_the_system_has_no_more_threads_fewer_train(rng, monkeypatch, started):
    net = fl.Network([lstm(rng, 8, 32), dense(rng, 32, 1)])
    X, y, start = rng.standard_normal((640, 12, 8)), np.zeros((640, 1)), threading.Thread.start
    order = np.tile(np.arange(640), 2)
    expected = Trainer(net, steps=12, threads=3, dtype=np.float64)
    loss, allowed = expected.epoch(X, y, None, order, 640), [True] * started

    def fails(thread):
        if not allowed:
            raise RuntimeError("can't start new thread")
        allowed.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fails)
    for worth in (0, np.inf):  # all threads aside, or this one among them
        monkeypatch.setattr("fastlrp.kernels.training.trainer._WORTH_WAITING", worth)
        trainer = Trainer(net, steps=12, threads=3, dtype=np.float64)
        allowed[:] = [True] * started
        assert trainer.epoch(X, y, None, order, 640) == loss
        assert np.array_equal(trainer.get_state()["weights"], expected.get_state()["weights"])


def test_a_thread_that_fails_ends_the_others():
    before = threading.active_count()
    stop, ended = Stop(), threading.Event()

    def work(thread):
        if thread:
            raise MemoryError("no memory")
        while not stop.is_set():
            ended.wait(0.01)

    for aside in (False, True):
        stop.flag[0] = 0
        with pytest.raises(MemoryError, match="no memory"):
            _train_together(work, 2, stop, aside=aside)
    assert threading.active_count() == before


def test_plans_of_many_lengths_take_bounded_memory(rng, monkeypatch):
    from fastlrp.kernels.program import training

    net = fl.Network([lstm(rng, 3, 5), dense(rng, 5, 1)])
    size = training.train_plan(net, 20).nbytes
    monkeypatch.setattr(training, "MOST_BYTES", 4 * size)
    for steps in range(1, 50):
        known = training.train_plan(net, 20)
        assert training.train_plan(net, steps).steps == steps
        assert sum(plan.nbytes for plan in training._plans.values()) <= 4 * size
        assert training.train_plan(net, 20) is known


def test_benchmark_trains_what_torch_trains(monkeypatch):
    """At a tiny size, from the same weights and batches, fastlrp's losses equal torch's, where torch is installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.sections.training import Case, Fastlrp, Rolling, Torch

    case = Case(3, 4, 5, 8, 50, 1.0)
    mine = Fastlrp(case, 1)
    losses = [mine.epoch()[1] for _ in range(3)]
    assert losses[2] < losses[0]
    assert Rolling(2, quick=True).all() > 0
    pytest.importorskip("torch")
    theirs = Torch(case, 1)
    assert_allclose(losses, [theirs.epoch()[1] for _ in range(3)], rtol=1e-5)


# ---- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "mse"}, "loss= takes 'squared_error', 'absolute_error' or 'huber', not 'mse'"),
        ({"huber_delta": 0.0}, "huber_delta= takes a positive number, not 0.0"),
        ({"alpha": -1.0}, "alpha= takes a number of at least 0, not -1.0"),
        ({"learning_rate": np.nan}, "learning_rate= takes a positive number, not nan"),
        ({"beta_1": 1.0}, "beta_1= takes a number from 0 to below 1, not 1.0"),
        ({"beta_2": -0.5}, "beta_2= takes a number from 0 to below 1, not -0.5"),
        ({"epsilon": "small"}, "epsilon= takes a positive number, not 'small'"),
        ({"clipnorm": 0}, "clipnorm= takes a positive number, or None, not 0"),
        ({"threads": 0}, "threads= takes a whole number of at least 1, or None, not 0"),
        ({"steps": 0}, "steps= takes a whole number of at least 1, not 0"),
        ({"dtype": int}, "dtype= takes float32 or float64"),
    ],
)
def test_settings_are_refused_in_a_sentence(rng, options, words):
    net = fl.Network(NETWORKS["lstm"](rng))
    with pytest.raises(ValueError, match=words):
        Trainer(net, **{"steps": 3, **options})


def test_networks_that_cannot_be_trained_are_refused(rng):
    with pytest.raises(ValueError, match="not one whose last layer has softmax"):
        Trainer(fl.Network([lstm(rng, 3, 4), dense(rng, 4, 2, "softmax")]), steps=3)
    with pytest.raises(ValueError, match="steps=4 was given, but the network has windows of 3 steps"):
        Trainer(fl.Network(NETWORKS["lstm"](rng), steps=3), steps=4)


def test_arrays_that_do_not_fit_are_refused(rng):
    net, X, y, w = make(rng, "lstm", 3, 20)
    trainer, order = Trainer(net, steps=3), np.arange(20)
    for change, words in (
        ((X[:, :2], y, w, order, 8), r"X has shape \(20, 2, 3\), expected \(samples, 3, 3\)"),
        ((X[:0], y[:0], w[:0], order, 8), "at least one sample, but X has none"),
        ((X, y[:5], w, order, 8), r"y has shape \(5, 1\), expected \(20, 1\)"),
        ((X, y, w[:5], order, 8), r"sample_weight has shape \(5,\), expected \(20,\)"),
        ((X, y, w, order + 1, 8), "order names samples 1 to 20, expected 0 to 19"),
        ((X, y, w, order[:0], 8), "at least one sample, but order is empty"),
        ((X, y, w, order, 0), "batch_size= takes a whole number of at least 1, not 0"),
        (((X[:, 0], np.arange(19)), y[:19], w[:19], order, 8), "windows start in rows 0 to 18, expected 0 to 17"),
        (((X[:, 0, :2], np.arange(9)), y, w, order, 8), r"X's rows have shape \(20, 2\), expected \(rows, 3\)"),
    ):
        with pytest.raises(ValueError, match=words):
            trainer.epoch(*change)
    assert trainer.network() == Trainer(net, steps=3).network()  # nothing was trained


def test_divergence_shows_in_the_curve_and_does_not_raise(rng):
    net, X, y, _ = make(rng, "no bias", 3, 40)
    y[3] = np.nan
    assert np.isnan(Trainer(net, steps=3).epoch(X, y, None, np.arange(40), 8))
