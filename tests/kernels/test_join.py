"""Programs of networks with static features match the mathematics: the interpreter against the slow reference."""

import golden
import interpreter
import numpy as np
import pytest
import reference
from helpers import close
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, gradient_batch, has_gru, joined, network, plain, reference_batch, rule_value

import fastlrp as fl
from fastlrp.kernels.program.inference import make_plan
from fastlrp.kernels.program.rows import BLOCKS, QUADS

TOTALS = ("score", "initial_state", "unattributed")
RULES = (reference.Rule("arras"), reference.Rule("arras", recurrent=False), reference.Rule("rudder"))


def hold(found, want, S, *, reduced):
    """Check to 1e-10 of the largest relevance: only the order of sums differs."""
    n = len(found["prediction"])
    windows = want["values"].sum(axis=1) if reduced else want["values"].reshape(n, -1)
    scale = max(np.abs(windows).max(), np.abs(want["static"]).max(), np.abs(want["score"]).max(), 1e-290)
    close(found["values"][:, :-S], windows, 1e-10, scale)
    close(found["values"][:, -S:], want["static"], 1e-10, scale)
    close(found["prediction"], want["prediction"], 1e-10)
    for key in TOTALS:
        close(found[key], want[key], 1e-10, scale)


def beside(X, S):
    """X (n, T, D + S) as kernels read it; what is not at the last step is never read."""
    whole = np.full((*X.shape[:2], X.shape[2] + S.shape[1]), np.nan)
    whole[:, :, : X.shape[2]] = X
    whole[:, -1, X.shape[2] :] = S
    return whole


def with_static(rng, n_static, **names):
    """A drawn network with static features."""
    while True:
        layers = joined(rng, plain(golden.network(rng)), n_static)
        if layers is not None:
            return network(layers, **names)


@settings(max_examples=100, deadline=None)
@given(case=cases(samples=st.integers(1, 5)), n_static=st.integers(1, 5), quads=st.booleans(), reduced=st.booleans())
def test_a_program_computes_what_the_reference_does(case, n_static, quads, reduced):
    rng = np.random.default_rng(n_static)
    quads = quads and not has_gru(case.layers)  # a GPU computes none
    layers, S = joined(rng, case.layers, n_static), rng.normal(size=(len(case.X), n_static))
    if layers is None:
        return
    want = reference_batch(layers, case.X, case.rule, case.target, case.aggregate, S=S)
    if want["least_sign"].min() < 1e-10:  # rounding decides the sign of a denominator
        return
    rule, layout = rule_value(case.rule), QUADS if quads else BLOCKS
    plan = make_plan(network(layers), case.X.shape[1], np.float64, rule=rule, aggregate=case.aggregate,
                     reduced=reduced, layout=layout)  # fmt: skip
    how = "quads" if quads else "blocks"
    found = interpreter.explain(plan, beside(case.X, S), rule.numbers, case.target, layout=how)
    hold(found, want, n_static, reduced=reduced)


@pytest.mark.parametrize("layout", ["blocks", "quads"])
@pytest.mark.parametrize("seed", range(12))
def test_windows_that_share_months_are_those_windows(seed, layout):
    rng = np.random.default_rng(seed)
    n_static, T = int(rng.integers(1, 5)), int(rng.integers(2, 5))
    net = with_static(rng, n_static)
    rows = rng.normal(size=(T + 6, net.n_columns))
    windows = np.stack([rows[k : k + T, : net.n_features] for k in range(len(rows) - T + 1)])
    S = rows[T - 1 :, net.n_features :]
    for rule in RULES:
        value = rule_value(rule)
        plan = make_plan(net, T, np.float64, rule=value, shared=True, layout=golden.LAYOUTS[layout])
        want = reference_batch(plain(net), windows, rule, S=S)
        if want["least_sign"].min() > 1e-10:
            found = interpreter.explain(plan, rows, value.numbers, layout=layout)
            hold(found, want, n_static, reduced=False)
    if layout == "quads":
        return
    start = fl.IntegratedGradients(2, rows[:T, : net.n_features], static=rows[0, net.n_features :])
    for rule in (fl.GradientXInput(), fl.IntegratedGradients(3), start):
        plan = make_plan(net, T, np.float64, rule=rule, shared=True)
        want = gradient_batch(plain(net), windows, rule, S=S)
        hold(interpreter.explain(plan, rows, rule.numbers), want, n_static, reduced=False)


@settings(max_examples=60, deadline=None)
@given(case=cases(samples=st.integers(1, 4)), n_static=st.integers(1, 4), reduced=st.booleans(), data=st.data())
def test_a_program_of_gradients_computes_what_the_reference_does(case, n_static, reduced, data):
    rng = np.random.default_rng(n_static)
    layers, S = joined(rng, case.layers, n_static), rng.normal(size=(len(case.X), n_static))
    if layers is None:
        return
    baseline = data.draw(st.sampled_from([None, rng.normal(size=case.X.shape[2]), rng.normal(size=case.X.shape[1:])]))
    start = data.draw(st.sampled_from([None, rng.normal(size=n_static)]))
    rule = data.draw(st.sampled_from([fl.GradientXInput(), fl.IntegratedGradients(3, baseline, start)]))
    plan = make_plan(network(layers), case.X.shape[1], np.float64, rule=rule, reduced=reduced)
    want = gradient_batch(layers, case.X, rule, case.target, S=S)
    hold(interpreter.explain(plan, beside(case.X, S), rule.numbers, case.target), want, n_static, reduced=reduced)


def test_one_of_many_networks_has_the_same_plan():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        net = with_static(rng, 3)
        ask = {"rule": golden.RULES[seed % 4], "shared": seed % 2 == 0}
        once, kept = make_plan(net, 3, "float64", kept=False, **ask), make_plan(net, 3, "float64", **ask)
        for name, expected in vars(kept).items():
            np.testing.assert_array_equal(getattr(once, name), expected, strict=True)
