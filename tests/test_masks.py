"""Masked steps against the slow reference, which keeps the state at each of them, and against shorter windows."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import TOTALS, close
from reference import Rule
from strategies import bidirectional, dense, gradient_batch, lstm, network, reference_batch, rule_value

import fastlrp as fl

pytestmark = pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")

VALUE = -99.9  # no number of float32
RULES = [Rule("arras"), Rule("arras", eps=0.02, delta=1.0), Rule("arras", recurrent=False), Rule("rudder")]
GRADIENTS = [fl.GradientXInput(), fl.IntegratedGradients(n_steps=5, baseline=[0.3, -0.2, 0.1])]


def one(rng, n_outputs=1):
    return [{"kind": "masking", "value": VALUE}, lstm(rng, 3, 5), dense(rng, 5, n_outputs)]


def stacked(rng, n_outputs=1):
    return [
        {"kind": "masking", "value": VALUE}, {"kind": "dropout"}, dense(rng, 3, 4, activation="tanh"),
        bidirectional(rng, 4, 5, "concat", return_sequences=True), dense(rng, 10, 6, activation="relu"),
        lstm(rng, 6, 7, return_sequences=True), bidirectional(rng, 7, 4, "sum"), dense(rng, 4, n_outputs),
    ]  # fmt: skip


def backwards(rng, n_outputs=1):
    return [
        {"kind": "masking", "value": VALUE}, lstm(rng, 3, 4, return_sequences=True, go_backwards=True),
        bidirectional(rng, 4, 3, "ave", return_sequences=True), lstm(rng, 3, n_outputs, activation="relu"),
    ]  # fmt: skip


NETWORKS = [one, stacked, backwards]
#: Which of six steps are masked: none, leading, trailing, in the middle, all over, all but one, all.
PATTERNS = ["......", "###...", "...###", "..##..", "#.#..#", "####.#", "######"]


def windows(rng, dtype=np.float64, patterns=PATTERNS, times=3):
    """Windows with these masked steps, and where they are masked."""
    marks = np.array([[mark == "#" for mark in pattern] for pattern in patterns * times])
    X = rng.normal(size=(*marks.shape, 3)).astype(dtype)
    X[..., 1][rng.random(marks.shape) < 0.3] = VALUE  # one feature alone masks nothing
    X[marks] = VALUE
    return X, marks


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("aggregate", ["sequence", True, False])
def test_masked_steps_keep_the_state(build, rule, aggregate):
    rng = np.random.default_rng(1)
    layers = build(rng, 2)
    X, marks = windows(rng)
    want = reference_batch(layers, X, rule, 1, aggregate)
    net = network(layers)
    got = net.explain(X, rule=rule_value(rule), target=1, aggregate=aggregate)
    close(got.values, want["values"], 1e-10)
    assert not got.values[marks].any()
    close(got.prediction, want["prediction"], 1e-12)
    close(net.predict(X), want["prediction"], 1e-12)
    scale = max(np.abs(want[key]).max() for key in (*TOTALS, "values"))
    for key in TOTALS:
        close(getattr(got, key), want[key], 1e-10, scale)
    close(got.score, got.values.sum(axis=(1, 2)) + got.initial_state + got.unattributed, 1e-12, scale)
    summed = net.explain(X, rule=rule_value(rule), target=1, aggregate=aggregate, reduce="steps")
    close(summed.values, want["values"].sum(axis=1), 1e-10, np.abs(want["values"]).max())
    close(summed.initial_state, want["initial_state"], 1e-10, scale)


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("rule", GRADIENTS, ids=lambda rule: rule.name)
def test_gradients_leave_masked_steps_out(build, rule):
    rng = np.random.default_rng(2)
    layers = build(rng)
    X, _ = windows(rng)
    want = gradient_batch(layers, X, rule)
    got = network(layers).explain(X, rule=rule)
    close(got.values, want["values"], 1e-10)
    scale = np.abs(want["score"]).max()
    for key in TOTALS:
        close(getattr(got, key), want[key], 1e-10, scale)
