"""Tasks whose true contributions are known step by step: adding and subtracting, and a reward that is paid late."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

import fastlrp as fl
from paper.methods import RULES

Array = npt.NDArray[np.float64]
LENGTH, DELAY = 8, 30


class Task(NamedTuple):
    """Inputs (sample, step, feature), targets (sample,), and each step's part of the target (sample, step)."""

    X: Array
    y: Array
    parts: Array


def marked(n: int, kind: str, seed: int) -> Task:
    """Two marked numbers of eight are added or subtracted, after the task of Arras et al. (2019).

    Numbers are uniform on [-1, -0.5] and [0.5, 1]. Unmarked numbers stand in the first column. ``kind`` "add": marked
    ones in the second; "subtract": the one to add in the second and the one to subtract in the third; "by order": both
    in the second, and the later one is subtracted, so that the network must know what it has seen.
    """
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(0.5, 1, (n, LENGTH)) * rng.choice([-1, 1], (n, LENGTH))
    at = np.argsort(rng.random((n, LENGTH)), axis=1)[:, :2]
    first, second = (at if kind == "subtract" else np.sort(at, axis=1)).T
    rows, columns = np.arange(n), 3 if kind == "subtract" else 2
    X, parts = np.zeros((n, LENGTH, columns)), np.zeros((n, LENGTH))
    X[:, :, 0] = numbers
    for step, column, sign in ((first, 1, 1), (second, columns - 1, 1 if kind == "add" else -1)):
        X[rows, step] = 0
        X[rows, step, column] = numbers[rows, step]
        parts[rows, step] = sign * numbers[rows, step]
    return Task(X, parts.sum(axis=1), parts)


def delayed(n: int, seed: int) -> Task:
    """Rewards that actions earn at about six of thirty steps, paid in one sum at the end; two columns are noise."""
    rng = np.random.default_rng(seed)
    acts = rng.random((n, DELAY)) < 0.2
    earned = acts * rng.uniform(-1, 1, (n, DELAY))
    return Task(
        np.concatenate([earned[:, :, None], rng.uniform(-1, 1, (n, DELAY, 2))], axis=2), earned.sum(axis=1), earned
    )


def open_gates(features: int, units: int, seed: int) -> fl.Network:
    """A network to start from whose forget gates stay open (RUDDER, A8.4.2): with this bias they are 1 in float32, and
    their gradient is 0. First weights are Keras' (Glorot), recurrent ones small."""
    rng = np.random.default_rng(seed)
    W = rng.uniform(-1, 1, (features, 4 * units)) * np.sqrt(6 / (features + 4 * units))
    U, bias = 0.1 * rng.normal(size=(units, 4 * units)), np.zeros(4 * units)
    bias[units : 2 * units] = 20
    V = rng.uniform(-1, 1, (units, 1)) * np.sqrt(6 / (units + 1))
    layers = [fl.LSTM(*(a.astype(np.float32) for a in (W, U, bias))), fl.Dense(V.astype(np.float32), np.zeros(1, "f4"))]
    return fl.Network(layers)


def mean_gate(net: fl.Network, X: Array) -> float:
    """The mean over samples, steps and units of the forget gates, from the formulas."""
    lstm, units = net.layers[0], net.layers[0].units
    h = c = np.zeros((len(X), units))
    gates = []
    for t in range(X.shape[1]):
        i, f, g, o = np.split(X[:, t] @ lstm.W + h @ lstm.U + lstm.b, 4, axis=1)
        gates.append(expit(f))
        c = gates[-1] * c + expit(i) * np.tanh(g)
        h = expit(o) * np.tanh(c)
    return float(np.mean(gates))


def told(task: Task, net: fl.Network, *, everywhere: bool) -> dict[str, float]:
    """Of each rule, the correlation of a step's relevance with its part of the target; not ``everywhere``: at steps
    that have a part, as Arras et al. do. And what rudder leaves out: the median gap between prediction and sum of
    relevance, over the median prediction, in size."""
    X, there = task.X.astype(np.float32), np.ones_like(task.parts, bool) if everywhere else task.parts != 0
    found = {name: rule(net, X).sum(axis=2) for name, rule in RULES.items()}
    predicted = net.predict(X)
    gap = np.median(abs(predicted - found["rudder"].sum(axis=1))) / np.median(abs(predicted))
    right = {name: float(np.corrcoef(R[there], task.parts[there])[0, 1]) for name, R in found.items()}
    return {"rudder's gap": float(gap), **right}


def tried(kind: str, units: int, seed: int, *, opened: bool = False, epochs: int = 100) -> dict[str, float]:
    """A network trained on a task, and how well each rule tells on new samples what each step contributed."""
    late = kind == "delayed"
    train, test = (delayed(n, s) if late else marked(n, kind, s) for n, s in ((5000, 2 * seed), (2000, 2 * seed + 1)))
    start = open_gates(train.X.shape[2], units, seed) if opened else None
    model = fl.LSTMRegressor(
        units=(units,), network=start, max_iter=epochs, n_iter_no_change=epochs, batch_size=128,
        learning_rate_init=0.005, dtype="float32", random_state=seed,
    ).fit(train.X.astype(np.float32), train.y)  # fmt: skip
    record = {"R2": model.score(test.X.astype(np.float32), test.y), "forget gate": mean_gate(model.network_, test.X)}
    return record | told(test, model.network_, everywhere=late)


TRIALS = {
    "Adding, one unit": {"kind": "add", "units": 1},
    "Subtracting, one unit": {"kind": "subtract", "units": 1},
    "Adding, eight units": {"kind": "add", "units": 8},
    "Subtracting by order, eight units": {"kind": "by order", "units": 8},
    "Late reward, ordinary gates": {"kind": "delayed", "units": 8},
    "Late reward, open forget gates": {"kind": "delayed", "units": 8, "opened": True},
}


def trials(name: str, seeds: int) -> pd.DataFrame:
    """A row a seed: R^2, gates, and each rule's correlation."""
    return pd.DataFrame([tried(seed=seed, **TRIALS[name]) for seed in range(seeds)])
