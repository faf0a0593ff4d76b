"""Gradient x input and integrated gradients: against the slow reference, and against answers that need neither."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import oracles
import pandas as pd
import pytest
import reference
from helpers import TOTALS, close, same_bits, same_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from strategies import (
    Case,
    bidirectional,
    cases,
    cast,
    dense,
    examples,
    gradient_batch,
    gradient_rule,
    lstm,
    network,
)

import fastlrp as fl
from fastlrp.cli import main
from fastlrp.data import load_panel, model_path

pytestmark = pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")

T, D = 5, 3
ONE = np.array([0.3, -0.2, 0.8])  # a baseline
RULES = [
    fl.GradientXInput(),
    fl.IntegratedGradients(4),
    fl.IntegratedGradients(3, ONE),
    fl.IntegratedGradients(3, np.arange(T * D).reshape(T, D) / 10),
]
RULE_IDS = ["gradient x input", "zeros", "a row", "rows"]


def smooth(rng, outputs=1):
    """All kinds of layers, no kinks."""
    return [
        *[
            bidirectional(rng, D, 5, "ave", return_sequences=True),
            {"kind": "dropout"},
            dense(rng, 5, 6, activation="tanh"),
        ],
        *[lstm(rng, 6, 7, return_sequences=True, go_backwards=True, recurrent_activation="tanh")],
        *[bidirectional(rng, 7, 4), dense(rng, 8, 3, activation="sigmoid"), dense(rng, 3, outputs, activation="tanh")],
    ]


def shallow(rng):
    return [lstm(rng, D, 6), dense(rng, 6, 1)]


def explain(layers, X, rule, **options):
    return network(layers).explain(X, rule=rule, **options)


# -- the reference, and what it is held to -----------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(case=cases(samples=st.integers(1, 3)))
def test_the_reference_is_the_derivative_by_complex_steps(case: Case):
    for x in case.X:
        got, _ = reference.gradient(case.layers, x, case.target)
        close(got, oracles.gradient(case.layers, x, case.target)[0], 1e-10, max(np.abs(got).max(), 1e-3))


def check_float64(case, rule, want):
    scale = max(np.abs(want[key]).max() for key in ("values", *TOTALS))
    for reduce in (None, "steps"):
        got = explain(case.layers, case.X, rule, target=case.target, dtype=np.float64, reduce=reduce)
        close(got.values, want["values"] if reduce is None else want["values"].sum(axis=1), 1e-10, scale)
        for key in TOTALS:
            close(getattr(got, key), want[key], 1e-10, scale)
        close(got.prediction.reshape(want["prediction"].shape), want["prediction"], 1e-12)


@settings(max_examples=examples(100))
@given(case=cases(), data=st.data())
def test_float64_agrees_with_the_reference(case: Case, data):
    check_float64(case, *gradient_rule(data.draw, case))


@settings(max_examples=examples(12))
@given(case=cases(samples=st.sampled_from([63, 64, 65, 127, 130])), data=st.data())
def test_float64_agrees_around_the_edges_of_a_tile(case: Case, data):
    check_float64(case, *gradient_rule(data.draw, case))


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_float32_agrees_with_the_reference(rule, rng):
    layers = [cast(layer, np.float32) for layer in smooth(rng)]
    X = rng.normal(size=(60, T, D)).astype(np.float32)
    want, got = gradient_batch(layers, X, rule), explain(layers, X, rule)
    assert got.values.dtype == np.float32
    scale = np.abs(want["values"]).max()
    error = np.abs(got.values - want["values"])
    assert np.median(error) <= 1e-6 * scale
    assert error.max() <= 1e-5 * scale
    close(got.prediction, want["prediction"][:, 0], 1e-6)
    close(got.unattributed, want["unattributed"], 1e-6, np.abs(want["score"]).max())


def test_gradients_are_central_differences_of_predictions(rng):
    net, X, h = network(shallow(rng)), rng.normal(size=(20, T, D)), 1e-5
    rel = net.explain(X, rule="gradient_x_input")
    for t in range(T):
        for d in range(D):
            up, down = X.copy(), X.copy()
            up[:, t, d] += h
            down[:, t, d] -= h
            slope = (net.predict(up) - net.predict(down)) / (2 * h)
            close(rel.values[:, t, d], X[:, t, d] * slope, 1e-8, np.abs(rel.values).max())


def test_gradients_are_those_of_autograd(rng):
    torch = pytest.importorskip("torch")
    one, head = torch.nn.LSTM(D, 6, batch_first=True).double(), torch.nn.Linear(6, 1).double()
    W, U, b1, b2, V, c = (p.detach().numpy() for p in [*one.parameters(), *head.parameters()])
    net = fl.Network([fl.LSTM(W.T, U.T, b1 + b2), fl.Dense(V.T, c)])
    X = torch.tensor(rng.normal(size=(20, T, D)), requires_grad=True)
    head(one(X)[0][:, -1]).sum().backward()
    close(net.explain(X.detach().numpy(), rule="gradient_x_input").values, (X * X.grad).detach().numpy(), 1e-12)


# -- answers in closed form --------------------------------------------------------------------------------------------


def linear(rng):
    """A network that is linear in X: gates stuck at 1, no squashing; and its weights (T, D)."""
    H = 4
    layer = lstm(rng, D, H, activation="linear", recurrent_activation="hard_sigmoid")
    for k in (0, 1, 3):
        layer["W"][:, k * H : (k + 1) * H] = layer["U"][:, k * H : (k + 1) * H] = 0
        layer["b"][k * H : (k + 1) * H] = 100
    head = dense(rng, H, 1)
    Wg, Ug = layer["W"][:, 2 * H : 3 * H], layer["U"][:, 2 * H : 3 * H]
    slopes, by_h, by_c = np.zeros((T, D)), head["W"][:, 0], np.zeros(H)
    for t in range(T - 1, -1, -1):  # h_t = c_t = c_{t-1} + x_t Wg + h_{t-1} Ug + b
        by_c = by_c + by_h
        slopes[t], by_h = Wg @ by_c, Ug @ by_c
    return [layer, head], slopes


@pytest.mark.parametrize("n_steps", [1, 2, 7])
def test_of_a_linear_network_both_are_its_weights_times_the_way(n_steps, rng):
    layers, slopes = linear(rng)
    X, baseline = rng.normal(size=(30, T, D)), rng.normal(size=(T, D))
    close(explain(layers, X, "gradient_x_input").values, X * slopes, 1e-12)
    rel = explain(layers, X, fl.IntegratedGradients(n_steps, baseline))
    close(rel.values, (X - baseline) * slopes, 1e-12)
    assert np.abs(rel.gap).max() <= 1e-12 * np.abs(rel.score).max()


def test_near_zero_both_are_the_gradient_at_zero(rng):
    layers, X = shallow(rng), rng.normal(size=(10, T, D))
    at_zero = X * reference.gradient(layers, np.zeros((T, D)))[0]
    for rule in ("gradient_x_input", "integrated_gradients"):
        close(explain(layers, 1e-9 * X, rule).values / 1e-9, at_zero, 1e-7)


def test_integrated_gradients_are_complete_to_the_error_of_their_nodes(rng):
    """The error falls as fast as that of Gauss-Legendre nodes must on a smooth function, down to rounding."""
    layers, X = smooth(rng), rng.normal(size=(200, T, D))
    gaps = [np.abs(explain(layers, X, fl.IntegratedGradients(n, ONE)).gap).max() for n in (2, 8, 32, 64)]
    assert gaps[1] < gaps[0] / 20
    assert gaps[3] < 1e-9
    rel = explain(layers, X, fl.IntegratedGradients(64, ONE))
    whole, start = rel.values.sum(axis=(1, 2)), np.broadcast_to(ONE, (1, T, D))
    close(rel.unattributed, np.full(200, explain(layers, start, "arras").score[0]), 1e-12)
    close(whole, rel.score - rel.unattributed, 1e-9, np.abs(rel.score).max())
    same_bits(rel.initial_state, np.zeros(200))


def test_the_way_starts_where_relevance_is_zero(rng):
    layers, X = smooth(rng), np.broadcast_to(ONE, (3, T, D)).copy()
    rel = explain(layers, X, fl.IntegratedGradients(4, ONE))
    same_bits(rel.values, np.zeros_like(X))
    same_bits(rel.unattributed, rel.score)


# -- batches, panels and rows that are missing -------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_results_do_not_depend_on_threads_or_the_cut_of_a_batch(rule, rng):
    net, X = network(smooth(rng)), rng.normal(size=(300, T, D)).astype(np.float32)
    rel = net.explain(X, rule=rule, threads=1)
    same_relevance(rel, net.explain(X, rule=rule, threads=3))
    for rows in (slice(0, 1), slice(17, 40), slice(120, 300)):
        same_relevance(rel, net.explain(X[rows], rule=rule), rows)


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_a_missing_value_is_nan_on_its_row_alone(rule, rng):
    net, X = network(smooth(rng)), rng.normal(size=(40, T, D))
    want = net.explain(X, rule=rule)
    X[7, 2, 1] = np.nan
    rel, others = net.explain(X, rule=rule), np.delete(np.arange(40), 7)
    assert all(np.isnan(getattr(rel, key)[7]).all() for key in ("values", "prediction", *TOTALS))
    same_relevance(rel[others], want[others])
    X[7, 2, 1] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        net.explain(X, rule=rule)


def some_panel(rng):
    """Long histories, a gap, and missing values: most windows share their months."""
    index = pd.MultiIndex.from_product(
        [pd.period_range("2000-01", periods=60, freq="M"), [f"s{k:02d}" for k in range(12)]], names=["month", "stock"]
    )
    panel = pd.DataFrame(rng.normal(size=(720, D)), index, ["a", "b", "c"]).drop(index[[100, 350]])
    panel.iloc[[40, 333], 1] = np.nan
    return panel.sample(frac=1, random_state=1)


@pytest.mark.parametrize("dense_first", [False, True])
@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_a_panels_windows_are_explained_as_windows(rule, dense_first, rng):
    layers = [dense(rng, D, D, activation="tanh"), *shallow(rng)] if dense_first else smooth(rng)
    net, panel = network(layers), some_panel(rng)
    rel = net.explain(panel, rule=rule, steps=T)
    reduced = net.explain(panel, rule=rule, steps=T, reduce="steps")
    rows, found, windows = dict(zip(panel.index, panel.to_numpy(), strict=True)), [], []
    for row, (month, stock) in enumerate(panel.index):
        window = np.array([rows.get((month - lag, stock), np.full(D, np.nan)) for lag in range(T - 1, -1, -1)])
        if np.isfinite(window).all():
            found.append(row)
            windows.append(window)
    want = net.explain(np.array(windows), rule=rule)
    np.testing.assert_array_equal(np.flatnonzero(~rel.missing), found)
    for key in ("values", "prediction", *TOTALS):
        scale = np.abs(getattr(want, key)).max() or 1.0
        close(getattr(rel, key)[found], getattr(want, key), 1e-12, scale)
    close(reduced.values[found], want.values.sum(axis=1), 1e-12, np.abs(want.values).max())


# -- the values that users choose --------------------------------------------------------------------------------------


def test_a_rule_may_be_named(rng):
    net, X = network(shallow(rng)), rng.normal(size=(9, T, D))
    for name, value in {
        "gradient_x_input": fl.GradientXInput(),
        "integrated_gradients": fl.IntegratedGradients(n_steps=32, baseline=None),
    }.items():
        rel = net.explain(X, rule=name)
        assert rel.rule == value
        same_relevance(rel, net.explain(X, rule=value))


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_rules_are_values(rule, rng):
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert hash(clone(rule, safe=False)) == hash(rule)
    assert len({*RULES, rule}) == len(RULES)
    with pytest.raises(AttributeError):
        rule.n_steps = 3
    rel = network(shallow(rng)).explain(rng.normal(size=(4, T, D)), rule=rule)
    assert pickle.loads(pickle.dumps(rel)).rule == rule


def test_a_baseline_is_kept_as_numbers():
    given = np.array([[1, 2], [3, 4]])
    rule = fl.IntegratedGradients(np.int64(5), given)
    given[:] = 0
    assert (rule.n_steps, rule.baseline) == (5, ((1.0, 2.0), (3.0, 4.0)))
    assert rule == fl.IntegratedGradients(5, [[1, 2], [3, 4]])
    assert repr(rule) == "IntegratedGradients(n_steps=5, baseline=<array (2, 2)>)"
    assert repr(fl.IntegratedGradients()) == "IntegratedGradients(n_steps=32, baseline=None)"
    assert repr(fl.GradientXInput()) == "GradientXInput()"


@pytest.mark.parametrize("n_steps", [0, -1, 1001, 2.0, "8", True, None])
def test_numbers_of_steps_that_are_refused(n_steps):
    with pytest.raises(
        ValueError, match=r"IntegratedGradients\(n_steps=...\) takes a whole number from 1 to 1,000, not "
    ):
        fl.IntegratedGradients(n_steps)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ([1.0, np.nan], r"has nan at \(1,\), expected finite numbers"),
        ([[1.0], [np.inf]], r"has inf at \(1, 0\), expected finite numbers"),
        (0.0, r"has shape \(\), expected an array \(feature,\) or \(step, feature\)"),
        ([], r"has shape \(0,\), expected an array"),
        (np.zeros((2, 2, 2)), r"has shape \(2, 2, 2\), expected an array"),
        (["a", "b"], "takes an array .* of numbers, not one of dtype"),
        ([True, False], "takes an array .* of numbers, not one of dtype bool"),
        ([[1.0], [2.0, 3.0]], "must be an array"),
        (pd.Series([1.0, 2.0]), "not a Series, whose names would not be looked at: give its to_numpy"),
    ],
)
def test_baselines_that_are_refused(baseline, message):
    with pytest.raises(ValueError, match=rf"IntegratedGradients\(baseline=...\).*{message}"):
        fl.IntegratedGradients(baseline=baseline)


def test_what_does_not_fit_is_refused_before_work_starts(rng, monkeypatch):
    net, X = network(shallow(rng)), rng.normal(size=(4, T, D))
    for machine in ("few_host", "host"):
        monkeypatch.setattr(f"fastlrp.kernels.cpu.{machine}.make_plan", None)
    for shape in ((4,), (T - 1, D), (D, T)):
        with pytest.raises(
            ValueError, match=rf"has shape \({shape[0]},.*expected \(3,\) or \(5, 3\): a value a feature"
        ):
            net.explain(X, rule=fl.IntegratedGradients(baseline=np.zeros(shape)))
    with pytest.raises(ValueError, match=r"baseline=...\) has 1e\+300, which is too large for float32"):
        net.explain(X.astype(np.float32), rule=fl.IntegratedGradients(baseline=[0, -1e300, 0]))
    for aggregate in ("average", "last", True, False):
        with pytest.raises(
            ValueError, match=f"aggregate={aggregate!r} was given, but the rule 'gradient_x_input' follows"
        ):
            net.explain(X, rule="gradient_x_input", aggregate=aggregate)
    with pytest.raises(
        ValueError, match=r"device='cuda' was given, but the rule 'integrated_gradients' is computed on the"
    ):
        net.explain(X, rule="integrated_gradients", device="cuda")
    with pytest.raises(ValueError, match="device= takes"):
        net.explain(X, rule="integrated_gradients", device="tpu")


def test_a_gpu_is_left_alone_where_the_choice_is_free(rng, monkeypatch):
    monkeypatch.setattr("fastlrp.kernels.WORTH_A_GPU", 0.0)
    monkeypatch.setattr("fastlrp.kernels._why_no_cuda", lambda **_: None)
    net, X = network(shallow(rng)), rng.normal(size=(4, T, D))
    assert np.isfinite(net.explain(X, rule="gradient_x_input", device="auto").values).all()


# -- what a result says of itself --------------------------------------------------------------------------------------


def test_gradient_x_input_is_complete_by_definition_and_says_what_is_missing(rng):
    layers = [lstm(rng, D, 6), {**dense(rng, 6, 1), "b": np.array([5.0])}]  # most of the score is a bias
    with pytest.warns(fl.ConservationWarning, match="leaves more than half .* in 50 of 50 rows: a gradient says what"):
        rel = explain(layers, rng.normal(size=(50, T, D)), "gradient_x_input")
    assert rel.reconcile().relative_worst < 1e-15
    assert "unattributed is what is missing in the score, by definition" in rel.summary()


def test_integrated_gradients_warn_of_too_few_nodes_and_not_of_a_baselines_score(rng):
    layers, X = [lstm(rng, D, 6), {**dense(rng, 6, 1), "b": np.array([5.0])}], 2 * rng.normal(size=(50, T, D))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rel = explain(layers, X, "integrated_gradients")
    assert np.median(rel.unattributed / rel.score) > 0.5
    assert "unattributed is the score of the baseline; the gap is the error of n_steps nodes" in rel.summary()
    with pytest.warns(fl.ConservationWarning, match=r"IntegratedGradients\(n_steps=1, .* misses .*%.* take more steps"):
        explain(layers, 3 * X, fl.IntegratedGradients(1))


def test_the_embedded_network_needs_no_more_than_the_default_number_of_nodes():
    net, panel = fl.read_keras(model_path()), load_panel()
    rel = net.explain(panel, rule="integrated_gradients", dtype="float64")
    assert rel.reconcile().relative_worst < 1e-6
    start = net.explain(np.zeros((1, net.steps, net.n_features)), rule="arras").score[0]
    close(rel.unattributed[~rel.missing], np.full(np.sum(~rel.missing), start), 1e-12)


# -- every door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [fl.GradientXInput(), fl.IntegratedGradients(4, ONE)])
def test_the_estimator_and_the_transformer_take_them(rule, rng):
    X = rng.normal(size=(60, T, D))
    model = fl.LSTMRegressor(units=(4,), steps=T, max_iter=2, tol=0, random_state=0, rule=rule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs do not converge
        model = clone(model).fit(X, X[:, -1, 0])
    rel = model.explain(X)
    assert rel.rule == rule
    same_relevance(rel, model.network_.explain(X.astype(np.float32), rule=rule))
    given = fl.LRPTransformer(model.network_, rule=rule).fit_transform(X)
    close(given, model.network_.explain(X, rule=rule, reduce="steps").values, 1e-12)


def test_the_command_line_takes_them(tmp_path, capsys):
    out, panel = tmp_path / "out.csv", load_panel().loc["1994-01":"1995-03"].astype("float64")
    panel.to_csv(tmp_path / "panel.csv")
    for name, options, rule in (
        ("gradient_x_input", [], fl.GradientXInput()),
        ("integrated_gradients", ["--n-steps", "3"], fl.IntegratedGradients(3)),
    ):
        command = ["explain", str(model_path()), str(tmp_path / "panel.csv"), "-o", str(out), "--rule", name, *options]
        assert main([*command, "--no-progress"]) == 0
        want, got = fl.read_keras(model_path()).explain(panel, rule=rule).to_frame(), pd.read_csv(out)
        close(got[want.columns].to_numpy(), want.to_numpy(), 1e-6)
        assert rule.totals in capsys.readouterr().out
    assert main([*command, "--eps", "0.1"]) == 2
    assert "--eps does not belong to the rule integrated_gradients" in capsys.readouterr().err
