"""Networks that predict at every step, networks of Dense layers alone, and other activations: against the reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reference
from helpers import TOTALS, close, same_bits
from hypothesis import given, settings
from strategies import (
    bidirectional,
    cases,
    cast,
    dense,
    examples,
    gradient_batch,
    lstm,
    network,
    reference_batch,
    rule_value,
)

import fastlrp as fl

pytestmark = pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
KINDS = pytest.mark.parametrize("kind", ["curves", "sequence", "dense"])
RULES = [reference.Rule("arras"), reference.Rule("arras", recurrent=False, delta=1.0), reference.Rule("rudder")]


def one_or_many(prediction):
    return prediction[..., 0] if prediction.shape[-1] == 1 else prediction


def predictions(layers, X):
    return one_or_many(np.array([reference.predict(layers, x) for x in X]))


def options(case):
    own = {"at_step": case.at_step} if case.at_step >= 0 else {}
    return {"target": case.target, "aggregate": case.aggregate, "device": "cpu", **own}


@KINDS
def test_float64_agrees_with_the_reference(kind):
    @settings(max_examples=examples(60))
    @given(case=cases(kind=kind))
    def check(case):
        net = network(case.layers)
        want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate, case.at_step)
        close(net.predict(case.X), predictions(case.layers, case.X), 1e-12)
        scale = max(np.abs(want["values"]).max(), *(np.abs(want[key]).max() for key in TOTALS))
        for reduce in (None, "steps"):
            got = net.explain(case.X, rule=rule_value(case.rule), reduce=reduce, **options(case))
            values = want["values"].sum(axis=1) if reduce else want["values"]
            close(got.values, values, 1e-10, scale)
            close(got.prediction, one_or_many(want["prediction"]), 1e-12)
            for key in TOTALS:
                close(getattr(got, key), want[key], 1e-10, scale)

    check()


@KINDS
def test_float32_agrees_with_the_reference(kind):
    @settings(max_examples=examples(30))
    @given(case=cases(np.float32, kind=kind, eps=(1e-3, 1e-2, 0.3)))
    def check(case):
        want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate, case.at_step)
        got = network(case.layers).explain(case.X, rule=rule_value(case.rule), **options(case))
        assert got.values.dtype == np.float32
        signed = want["least_sign"] > 1e-6  # elsewhere float32 cannot tell the side on which eps is added
        if signed.any():
            scale = np.abs(want["values"][signed]).max()
            error = np.abs(got.values - want["values"])[signed]
            assert np.median(error) <= 1e-5 * scale
            assert error.max() <= 1e-3 * scale
        # a last activation that is steep, as exponential, multiplies float32's rounding of its pre-activation
        steep = max(1.0, np.abs(want["score"]).max())
        close(got.prediction, one_or_many(want["prediction"]), 4e-6 * steep)

    check()


@KINDS
@pytest.mark.parametrize("rule", [fl.GradientXInput(), fl.IntegratedGradients(3)], ids=["gradient", "integrated"])
def test_gradient_rules_agree_with_the_reference(kind, rule):
    @settings(max_examples=examples(30))
    @given(case=cases(kind=kind))
    def check(case):
        want = gradient_batch(case.layers, case.X, rule, case.target, case.at_step)
        got = network(case.layers).explain(case.X, rule=rule, **{**options(case), "aggregate": "sequence"})
        scale = max(np.abs(want["values"]).max(), np.abs(want["score"]).max(), np.abs(want["unattributed"]).max())
        close(got.values, want["values"], 1e-10, scale)
        close(got.unattributed, want["unattributed"], 1e-10, scale)

    check()


# -- every step --------------------------------------------------------------------------------------------------------


def causal(rng, outputs=1):
    return [lstm(rng, 3, 5, return_sequences=True), dense(rng, 5, 4, activation="tanh"),
            lstm(rng, 4, 6, return_sequences=True), dense(rng, 6, outputs)]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.recurrent}")
@pytest.mark.parametrize("t", [0, 2, 4])
def test_a_step_of_a_causal_network_is_the_last_one_of_the_window_that_ends_there(rng, rule, t):
    layers, X = causal(rng), rng.normal(size=(40, 5, 3))
    got = network(layers).explain(X, rule=rule_value(rule), at_step=t)
    ends = [*layers[:2], {**layers[2], "return_sequences": False}, layers[3]]
    want = network(ends).explain(X[:, : t + 1], rule=rule_value(rule))
    assert not got.values[:, t + 1 :].any()
    same_bits(got.values[:, : t + 1], want.values)
    for name in ("prediction", *TOTALS):
        same_bits(getattr(got, name), getattr(want, name))
    same_bits(network(layers).predict(X)[:, t], want.prediction)
    assert got.at_step == t
    assert got.reconcile().relative_worst < 1e-12


def test_steps_are_counted_from_either_end(rng):
    net, X = network(causal(rng, 2)), rng.normal(size=(7, 5, 3))
    for t in range(5):
        one, other = (net.explain(X, target=1, at_step=step) for step in (t, t - 5))
        same_bits(one.values, other.values)
        same_bits(one.prediction, net.predict(X)[:, t])
        assert one.prediction.shape == (7, 2)
    same_bits(net.explain(X, target=1).values, net.explain(X, target=1, at_step=4).values)
    assert net.predict(X).shape == (7, 5, 2)


@pytest.mark.parametrize("merge", ["concat", "sum", "ave"])
def test_both_directions_hand_a_steps_relevance_on(rng, merge):
    layers = [bidirectional(rng, 3, 4, merge, return_sequences=True), dense(rng, 8 if merge == "concat" else 4, 1)]
    X = rng.normal(size=(5, 6, 3))
    got = network(layers).explain(X, at_step=2)
    want = reference_batch(layers, X, reference.Rule(), at_step=2)
    close(got.values, want["values"], 1e-10)
    assert np.abs(got.values).min(axis=(0, 2)).all()  # every step has a part


def test_layers_under_an_lstm_that_reads_backwards_are_counted_as_its_output_is(rng):
    layers = [lstm(rng, 3, 4, return_sequences=True, go_backwards=True), dense(rng, 4, 1)]
    got = network(layers).explain(X := rng.normal(size=(5, 6, 3)), at_step=1)
    assert not got.values[:, :4].any()  # its second output has read the last two steps
    close(got.values, reference_batch(layers, X, reference.Rule(), at_step=1)["values"], 1e-10)


def test_without_a_head_a_unit_of_the_sequence_is_explained(rng):
    layers = [lstm(rng, 3, 4, return_sequences=True)]
    X = rng.normal(size=(5, 6, 3))
    got = network(layers).explain(X, target=2, at_step=3)
    close(got.values, reference_batch(layers, X, reference.Rule(), 2, at_step=3)["values"], 1e-10)
    close(network(layers).predict(X), predictions(layers, X), 1e-12)


def test_a_large_batch_is_its_rows_whatever_the_threads(rng):
    net, X = network([cast(layer, np.float32) for layer in causal(rng)]), rng.normal(size=(300, 5, 3)).astype("f4")
    whole = net.explain(X, at_step=2, threads=2)
    for rows in (slice(0, 1), slice(100, 177)):
        part = net.explain(X[rows], at_step=2, threads=1)
        same_bits(whole.values[rows], part.values)
        same_bits(net.predict(X)[rows], net.predict(X[rows]))


def panel_of(rng, months=9, assets=40, features=("a", "b", "c")):
    index = pd.MultiIndex.from_product([pd.period_range("2020-01", periods=months, freq="M"), range(assets)],
                                       names=["month", "stock"])  # fmt: skip
    return pd.DataFrame(rng.normal(size=(len(index), len(features))), index, list(features))


@pytest.mark.parametrize("outputs", [1, 2])
def test_panels_share_months_and_predict_a_column_a_step(rng, outputs):
    net, panel = network(causal(rng, outputs)), panel_of(rng)
    panel.iloc[17, 1] = np.nan
    got, frame = net.explain(panel, steps=5, target=0, at_step=1), net.predict(panel, steps=5)
    assert frame.columns.names[0] == "step"
    assert frame.shape == (len(panel), 5 * outputs)
    rows = np.flatnonzero(got.explained)
    cube = panel.to_numpy().reshape(9, 40, 3)
    windows = np.stack([cube[row // 40 - 4 : row // 40 + 1, row % 40] for row in rows])
    want = net.explain(windows, target=0, at_step=1)
    close(got.values[rows], want.values, 1e-12)
    close(frame.to_numpy()[rows].reshape(-1, 5, outputs), net.predict(windows).reshape(-1, 5, outputs), 1e-12)
    assert np.isnan(frame.to_numpy()[~got.explained]).all()
    assert len(rows) == 5 * 40 - 1  # the first month is in one window of its stock, which lacks a value


def test_polars_frames_get_a_column_a_step(rng):
    pl = pytest.importorskip("polars")
    frame = panel_of(rng).reset_index()
    frame["month"] = frame["month"].dt.to_timestamp()
    net = network(causal(rng))
    predicted = net.predict(pl.from_pandas(frame), steps=5)
    assert predicted.columns[2:] == [f"prediction[{step}]" for step in range(5)]


def test_an_ensemble_explains_a_step(rng):
    nets, X = [network(causal(rng, 2)) for _ in range(3)], rng.normal(size=(30, 5, 3))
    got = fl.Ensemble(nets).explain(X, target=1, at_step=-2)
    parts = [net.explain(X, target=1, at_step=3) for net in nets]
    close(got.values, np.mean([part.values for part in parts], axis=0), 1e-12)
    close(got.prediction, np.mean([part.prediction for part in parts], axis=0), 1e-12)
    close(got.prediction_spread, np.std([part.prediction for part in parts], axis=0, ddof=1), 1e-12)
    close(fl.Ensemble(nets).predict(X), np.mean([net.predict(X) for net in nets], axis=0), 1e-12)
    with pytest.raises(ValueError, match="2 outputs at every step"):
        fl.Ensemble([nets[0], network([*causal(rng)[:2], lstm(rng, 4, 6), dense(rng, 6, 2)])])


def test_a_result_of_a_step_is_saved_and_shown(rng, tmp_path):
    got = network(causal(rng)).explain(rng.normal(size=(4, 5, 3)), at_step=1)
    assert "output of step 1" in repr(got)
    got.save(tmp_path / "relevance.parquet")
    assert fl.load_relevance(tmp_path / "relevance.parquet").at_step == 1


@pytest.mark.parametrize(
    ("at_step", "message"),
    [
        (5, r"at_step=5 is outside of a window of 5 steps, expected -5 to 4"),
        (-6, r"at_step=-6 is outside of a window of 5 steps, expected -5 to 4"),
        (True, "at_step= takes a whole number, the step whose output is explained, not True"),
        (1.0, "at_step= takes a whole number, the step whose output is explained, not 1.0"),
        (None, "at_step= takes a whole number, the step whose output is explained, not None"),
    ],
)
def test_a_step_that_there_is_not_is_refused(rng, at_step, message):
    with pytest.raises(ValueError, match=message):
        network(causal(rng)).explain(np.zeros((1, 5, 3)), at_step=at_step)


def test_what_does_not_go_with_every_step_is_refused(rng, tmp_path):
    net, X = network(causal(rng)), rng.normal(size=(20, 5, 3))
    with pytest.raises(ValueError, match=r"at_step=1 was given, but the network predicts once a sample"):
        network([lstm(rng, 3, 4), dense(rng, 4, 1)]).explain(X, at_step=1)
    with pytest.raises(ValueError, match=r"aggregate= hands relevance to the last step .* but at_step=2 explains"):
        net.explain(X, at_step=2, aggregate="average")
    with pytest.raises(ValueError, match="but a network that returns sequences is computed on the CPU alone"):
        net.explain(X, device="cuda")
    once = "the network returns sequences, expected one that predicts once a sample"
    with pytest.raises(ValueError, match=once):
        fl.compare(net, X)
    with pytest.raises(ValueError, match=once):
        fl.faithfulness(net, X, net.explain(X))
    with pytest.raises(ValueError, match=once):
        fl.report(net, panel_of(rng), tmp_path / "report.html")
    with pytest.raises(ValueError, match=once):
        fl.explain_file(net, tmp_path / "panel.parquet", tmp_path / "relevance.parquet")
    with pytest.raises(ValueError, match="training takes networks that predict once a sample"):
        fl.LSTMRegressor(network=net).fit(X, rng.normal(size=20))


# -- no recurrent layer ------------------------------------------------------------------------------------------------


def mlp(rng):
    return [dense(rng, 4, 6, activation="relu"), {"kind": "dropout"}, dense(rng, 6, 3, activation="gelu"),
            dense(rng, 3, 1)]  # fmt: skip


def test_rows_of_features_are_explained_as_windows_of_one_step(rng):
    net, X = network(mlp(rng)), rng.normal(size=(50, 4))
    assert net.steps == 1
    got, same = net.explain(X), net.explain(X[:, None])
    assert got.values.shape == (50, 4)
    same_bits(got.values, same.values[:, 0])
    same_bits(got.prediction, net.predict(X))
    same_bits(net.predict(X), net.predict(X[:, None]))
    close(got.values, reference_batch(mlp_of(net), X[:, None], reference.Rule())["values"][:, 0], 1e-10)
    assert got.reconcile().relative_worst < 1e-12
    assert "unattributed" in str(got.summary())
    assert list(got.to_frame().columns[:4]) == ["x0", "x1", "x2", "x3"]


def mlp_of(net):
    from strategies import plain

    return plain(net)


def test_a_linear_model_is_explained_by_its_own_terms(rng):
    weights, b, X = rng.normal(size=4), 0.7, rng.normal(size=(30, 4))
    net = fl.Network([fl.Dense(weights[:, None], [b])])
    got = net.explain(X, rule=fl.Arras(eps=1e-13))
    close(got.prediction, X @ weights + b, 1e-12)
    close(got.values, X * weights, 1e-10)
    close(got.unattributed, np.full(30, b), 1e-10)


def test_panels_of_a_network_of_dense_layers_take_a_month_a_window(rng):
    net, panel = network(mlp(rng), features=list("abcd")), panel_of(rng, 3, 5, "abcd")
    panel.iloc[3, 2] = np.nan
    got = net.explain(panel)
    assert got.values.shape == (15, 4)
    assert got.missing.tolist() == [k == 3 for k in range(15)]
    close(got.values[4:], net.explain(panel.to_numpy()[4:]).values, 1e-12)
    assert net.predict(panel).isna().sum() == 1


def test_a_network_of_dense_layers_is_trained(rng):
    X = rng.normal(size=(200, 1, 4))
    y = X[:, 0] @ np.array([1.0, -2.0, 0.5, 0.0])
    start = network([dense(rng, 4, 8, activation="silu"), dense(rng, 8, 1)])
    model = fl.LSTMRegressor(network=start, max_iter=200, random_state=0, learning_rate_init=1e-2).fit(X, y)
    assert model.score(X, y) > 0.95


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.zeros((3, 5)), {}, r"X has 5 features, expected 4 features: shape \(3, 5\) where \(n, 4\) is due"),
        (np.zeros((0, 4)), {}, r"X is empty: shape \(0, 4\)"),
        (np.zeros(4), {}, r"X has shape \(4,\), expected \(sample, feature\), \(n, 4\), or 3 dimensions"),
        (np.zeros((3, 2, 4)), {}, r"X has 2 steps, expected 1 step"),
        (np.zeros((3, 4)), {"steps": 2}, r"steps=2 was given, but X \(sample, feature\) is one step"),
        (np.zeros((3, 4)), {"at_step": 0}, "at_step=0 was given, but the network predicts once a sample"),
        (np.full((3, 4), np.inf), {}, "infinite"),
        (np.zeros((3, 4)), {"device": "cuda"}, "a network without a recurrent layer is computed on the CPU alone"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rng, X, options, message):
    with pytest.raises(ValueError, match=message):
        network(mlp(rng)).explain(X, **options)


def test_a_network_with_an_lstm_takes_no_rows_of_features(rng):
    with pytest.raises(ValueError, match=r"X has shape \(3, 4\), expected 3 dimensions \(sample, step, feature\)"):
        network([lstm(rng, 4, 2)]).predict(np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"Network\(steps=3\) was given, but without a recurrent layer"):
        network(mlp(rng), steps=3)


# -- other activations -------------------------------------------------------------------------------------------------


def test_parameters_of_activations_are_checked_and_kept(rng):
    W = rng.normal(size=(3, 2))
    assert fl.Dense(W, activation="leaky_relu").alpha == 0.2
    assert fl.Dense(W, activation="elu").alpha == 1.0
    assert fl.Dense(W, activation="leaky_relu", alpha=0.01) != fl.Dense(W, activation="leaky_relu", alpha=0.02)
    with pytest.raises(ValueError, match=r"alpha=0.1 was given, but tanh has no parameter: leaky_relu and elu have"):
        fl.Dense(W, activation="tanh", alpha=0.1)
    for alpha in (-1, np.nan, np.inf, "0.1", True):
        with pytest.raises(ValueError, match="alpha takes a finite number of at least 0"):
            fl.Dense(W, activation="elu", alpha=alpha)
    net = fl.Network([fl.Dense(W, activation="leaky_relu", alpha=0.05)])
    assert "leaky_relu(0.05)" in net.summary()


def test_an_activation_that_only_a_processor_knows_is_refused_on_a_gpu(rng):
    net = network([lstm(rng, 3, 4), dense(rng, 4, 2, activation="gelu"), dense(rng, 2, 1)])
    with pytest.raises(ValueError, match="but a network with the activation gelu is computed on the CPU alone"):
        net.predict(np.zeros((1, 2, 3)), device="cuda")


def test_training_knows_the_activations_of_layers():
    from fastlrp.checks import ACTIVATIONS
    from fastlrp.model.layers import DENSE_ACTIVATIONS

    assert set(ACTIVATIONS) == set(DENSE_ACTIVATIONS) - {"softmax"}


def test_a_layer_without_a_parameter_has_the_fingerprint_that_it_always_had():
    from fastlrp.model.plain import plain_layers

    (plain,) = plain_layers(fl.Network([fl.Dense(np.ones((2, 1)))]))
    assert set(plain) == {"kind", "W", "b", "activation", "name"}
