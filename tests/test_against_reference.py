"""fastlrp against the slow reference and against the oracles, over drawn networks, samples and parameters."""

from __future__ import annotations

import warnings

import numpy as np
import oracles
import pytest
import reference
from helpers import TOTALS, close, same_bits, same_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import Rule
from strategies import (
    Case,
    bidirectional,
    cases,
    cast,
    dense,
    examples,
    lstm,
    network,
    plain,
    reference_batch,
    rule_value,
)

import fastlrp as fl
from fastlrp.kernels.cpu import host as cpu
from fastlrp.kernels.cpu.tiles import STREAM_BYTES

# Drawn cases may lose relevance (rudder, no h-path, aggregate=False); tests below check that this is reported.
pytestmark = pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")

ABSORBED = {"delta": 0.0, "stabilizer": "absorbed"}
RULES = [
    Rule("arras"),
    Rule("arras", eps=0.02, delta=1.0),
    Rule("arras", **ABSORBED, recurrent=False),
    Rule("rudder"),
    Rule("rudder", eps=0.02, delta=1.0, stabilizer="absorbed"),
]
RULE_IDS = [f"{rule.name}-{rule.delta:g}-{rule.stabilizer}-{rule.recurrent}" for rule in RULES]


def explain(layers, X, rule=None, **options):
    """Relevance on the CPU, from plain layers and a reference rule."""
    return network(layers).explain(X, rule=rule_value(rule or Rule()), device="cpu", **options)


def predict(layers, X, **options):
    return network(layers).predict(X, device="cpu", **options)


def as_predicted(prediction):
    """The reference's (n, K), in the shape that users get."""
    return prediction[:, 0] if prediction.shape[1] == 1 else prediction


def reference_predictions(case):
    return as_predicted(np.array([reference.predict(case.layers, x) for x in case.X]))


def check_float32_predictions(case, got, want):
    """Check to 1e-6 or, where terms cancel too much for float32, near the precision of plain float32 NumPy."""
    assert got.dtype == np.float32
    atol = 1e-6 * np.abs(want).max()
    if np.abs(got - want).max() > atol:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reference, "FLOAT", np.float32)
            rounding = np.abs(reference_predictions(case) - want).max()
        atol = 10 * rounding if rounding > atol / 2 else atol
    close(got, want, 1.0, atol)


def deep(rng, n_outputs=1):
    """A network of three features and all kinds of layers, nothing degenerate."""
    return [
        *[bidirectional(rng, 3, 5, "concat", return_sequences=True), {"kind": "dropout"}],
        *[dense(rng, 10, 6, activation="tanh"), lstm(rng, 6, 7, return_sequences=True, go_backwards=True)],
        *[bidirectional(rng, 7, 4, "sum"), dense(rng, 4, n_outputs)],
    ]


def shallow(rng, n_outputs=1):
    return [lstm(rng, 3, 5), dense(rng, 5, n_outputs)]


BUILDERS = [shallow, deep]


# -- the reference -----------------------------------------------------------------------------------------------------


def check_float64(case: Case) -> None:
    want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate)
    options = {"target": case.target, "aggregate": case.aggregate, "dtype": np.float64}
    got = explain(case.layers, case.X, case.rule, **options)
    summed = explain(case.layers, case.X, case.rule, reduce="steps", **options)
    assert got.values.dtype == np.float64
    close(got.prediction, as_predicted(want["prediction"]), 1e-12)
    try:
        hold(got, summed, want, 0.0)
    except AssertionError:  # large relevance that cancels amplifies rounding, the reference's as much as ours
        hold(got, summed, want, 8 * rounding(case, want))


def hold(got, summed, want, slack: float) -> None:
    size = np.abs(want["values"]).max()
    scale = max(size, *(np.abs(want[key]).max() for key in TOTALS))
    assert_allclose(got.values, want["values"], rtol=0, atol=max(1e-10 * size, slack))
    assert_allclose(summed.values, want["values"].sum(axis=1), rtol=0, atol=max(1e-10 * size, slack))
    for key in TOTALS:
        assert_allclose(getattr(got, key), want[key], rtol=0, atol=max(1e-10 * scale, slack))
        assert_allclose(getattr(summed, key), want[key], rtol=0, atol=max(1e-10 * scale, slack))


def rounding(case: Case, want) -> float:
    """How far the reference in float64 is from itself in long double; at most 1e-6 of the largest number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "FLOAT", np.longdouble)
        exact = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate)
    parts = ("values", *TOTALS)
    scale = max(float(np.abs(exact[key]).max()) for key in parts)
    return min(max(float(np.abs(want[key] - exact[key]).max()) for key in parts), 1e-6 * scale)


@settings(max_examples=examples(120))
@given(case=cases())
def test_float64_agrees_with_the_reference(case: Case):
    check_float64(case)


@settings(max_examples=examples(12))
@given(case=cases(samples=st.sampled_from([63, 64, 65, 127, 130])))
def test_float64_agrees_around_the_edges_of_a_tile(case: Case):
    check_float64(case)


@settings(max_examples=examples(70))
@given(case=cases(np.float32, st.integers(12, 40), eps=(1e-3, 1e-2, 0.3)))
def test_float32_agrees_with_the_reference(case: Case):
    want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate)
    options = {"target": case.target, "aggregate": case.aggregate, "dtype": np.float32}
    got = explain(case.layers, case.X, case.rule, **options)
    assert got.values.dtype == np.float32
    assert got.values.shape == want["values"].shape
    # Where terms cancel to float32's rounding, z and hence eps may get the other sign: nothing to compare there.
    signed = want["least_sign"] > 1e-6
    assert signed.sum() >= len(signed) / 2
    error = np.abs(got.values - want["values"])[signed]
    scale = np.abs(want["values"][signed]).max()
    assert np.median(error) <= 1e-5 * scale
    assert error.max() <= 1e-3 * scale
    check_float32_predictions(case, got.prediction, as_predicted(want["prediction"]))
    same_bits(got.prediction, predict(case.layers, case.X, dtype=np.float32))
    summed = explain(case.layers, case.X, case.rule, reduce="steps", **options)
    assert summed.values.dtype == np.float32
    close(summed.values, got.values.sum(axis=1, dtype=np.float64), 1e-5, np.abs(got.values).max())


@settings(max_examples=examples(60))
@given(case=cases())
def test_predictions_agree_with_the_reference(case: Case):
    close(predict(case.layers, case.X, dtype=np.float64), reference_predictions(case), 1e-12)


@settings(max_examples=examples(40))
@given(case=cases(np.float32, st.integers(12, 40)))
def test_float32_predictions_agree_with_the_reference(case: Case):
    check_float32_predictions(case, predict(case.layers, case.X, dtype=np.float32), reference_predictions(case))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-6, 30.0, 1000.0])
def test_very_small_and_very_large_inputs(size, dtype, rng):
    layers = [cast(layer, np.float32) for layer in deep(rng)]
    X = (size * rng.normal(size=(40, 5, 3))).astype(np.float32)
    want = np.array([reference.predict(layers, x) for x in X])[:, 0]
    close(predict(layers, X, dtype=dtype), want, 1e-6 if dtype == np.float32 else 1e-12)
    assert np.isfinite(explain(layers, X, dtype=dtype).values).all()


@pytest.mark.parametrize("name", ["arras", "rudder"])
def test_a_rule_may_be_named(name, rng):
    layers, X = shallow(rng), rng.normal(size=(9, 5, 3))
    same_relevance(network(layers).explain(X, rule=name, device="cpu"), explain(layers, X, Rule(name)))


def test_a_target_may_be_named(rng):
    layers, X = shallow(rng, 3), rng.normal(size=(9, 5, 3))
    net = network(layers, outputs=["down", "flat", "up"])
    one, two = (net.explain(X, target=target, dtype=np.float64, device="cpu") for target in ("up", 2))
    same_relevance(one, two)
    close(one.values, reference_batch(layers, X, Rule(), 2)["values"], 1e-10)
    assert one.prediction.shape == (9, 3)


def test_plain_layers_and_networks_are_the_same_thing(rng):
    net = network(deep(rng))
    assert network(plain(net)) == net


# -- the oracles -------------------------------------------------------------------------------------------------------


def test_without_the_h_path_arras_is_the_forget_factor_discount(rng):
    layers, X = shallow(rng), rng.normal(size=(9, 7, 3))
    want = np.array([oracles.forget_factor_discount(layers, x) for x in X])
    close(explain(layers, X, Rule(eps=1e-13, **ABSORBED, recurrent=False), dtype=np.float64).values, want, 1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_nothing_is_forgotten_rudder_equals_arras(dtype, rng):
    layers = [oracles.never_forgets(lstm(rng, 3, 4, return_sequences=True)), oracles.never_forgets(lstm(rng, 4, 3))]
    layers.append(dense(rng, 3, 1))
    X = rng.normal(size=(9, 6, 3))
    # In float32, eps must stay above the rounding of the denominators, so the rules agree only to the order of eps.
    eps, tol = (1e-13, 1e-8) if dtype == np.float64 else (1e-6, 1e-3)
    options = {"eps": eps, **ABSORBED, "recurrent": False}
    one, two = (explain(layers, X, Rule(name, **options), dtype=dtype) for name in ("arras", "rudder"))
    close(two.values, one.values, tol)


# -- the same bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
@pytest.mark.parametrize("build", BUILDERS)
def test_a_batch_is_its_rows(build, rule, dtype, rng):
    """In any order, cut anywhere or alone, each sample keeps its bits."""
    layers, X = build(rng), rng.normal(size=(200, 5, 3)).astype(dtype)
    whole = explain(layers, X, rule, dtype=dtype)
    order = rng.permutation(len(X))
    same_relevance(whole, explain(layers, X[order], rule, dtype=dtype), order)
    for cut in (1, 7, 64, 100, 127, 128, 129):
        same_relevance(whole, explain(layers, X[:cut], rule, dtype=dtype), slice(cut))
        same_relevance(whole, explain(layers, X[cut:], rule, dtype=dtype), slice(cut, None))
    for k in (0, 13, 63, 64, 127, 128, 199):
        same_relevance(whole, explain(layers, X[k : k + 1], rule, dtype=dtype), slice(k, k + 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", BUILDERS)
def test_predictions_of_a_batch_are_those_of_its_rows(build, dtype, rng):
    layers, X = build(rng, 2), rng.normal(size=(200, 5, 3)).astype(dtype)
    whole = predict(layers, X, dtype=dtype)
    same_bits(whole, explain(layers, X, target=1, dtype=dtype).prediction)
    for cut in (1, 65, 127, 130):
        same_bits(whole, np.concatenate([predict(layers, X[:cut], dtype=dtype), predict(layers, X[cut:], dtype=dtype)]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_threads_do_not_change_a_bit(rule, dtype, rng):
    layers, X = deep(rng), rng.normal(size=(700, 4, 3)).astype(dtype)
    one = explain(layers, X, rule, dtype=dtype, threads=1)
    for threads in (2, 3):
        same_relevance(one, explain(layers, X, rule, dtype=dtype, threads=threads))
        same_bits(one.prediction, predict(layers, X, dtype=dtype, threads=threads))


@pytest.mark.parametrize("reduce", [None, "steps"])
def test_how_an_array_lies_in_memory_does_not_matter(reduce, rng):
    layers, X = deep(rng), rng.normal(size=(70, 5, 3))
    frozen = X.copy()
    frozen.setflags(write=False)
    wide = np.zeros((140, 5, 6))
    wide[::2, :, ::2] = X
    one = explain(layers, X, reduce=reduce)
    for other in (np.asfortranarray(X), frozen, wide[::2, :, ::2], X[::-1].copy()[::-1]):
        same_relevance(one, explain(layers, other, reduce=reduce))


def test_nothing_given_is_changed_and_nothing_returned_is_shared(rng):
    layers, X = deep(rng), rng.normal(size=(70, 5, 3))
    net, before = network(layers), X.copy()
    one = net.explain(X, device="cpu")
    kept = one.values.copy()
    net.explain(2 * X, device="cpu")
    same_bits(X, before)
    same_bits(one.values, kept)
    assert not np.shares_memory(one.values, X)
    assert net == network(layers)


# -- missing values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduce", [None, "steps"])
@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
@pytest.mark.parametrize("build", BUILDERS)
def test_a_window_with_a_missing_value_is_nan_and_no_other_is_touched(build, rule, reduce, dtype, rng):
    layers, X = build(rng), rng.normal(size=(130, 5, 3)).astype(dtype)
    whole = explain(layers, X, rule, reduce=reduce, dtype=dtype)
    holes = X.copy()
    missing = np.array([0, 17, 64, 65, 129])
    holes[missing, [0, 4, 2, 0, 1], [2, 0, 1, 1, 0]] = np.nan
    got = explain(layers, holes, rule, reduce=reduce, dtype=dtype)
    full = np.setdiff1d(np.arange(130), missing)
    for key in ("values", "prediction", *TOTALS):
        numbers = np.asarray(getattr(got, key))
        assert np.isnan(numbers[missing]).all(), key
        same_bits(numbers[full], np.asarray(getattr(whole, key))[full])
    predicted = predict(layers, holes, dtype=dtype)
    assert np.isnan(predicted[missing]).all()
    same_bits(predicted[full], got.prediction[full])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("gate", "signal"), [("hard_sigmoid", "relu"), ("hard_sigmoid_keras2", "hard_sigmoid"), ("relu", "linear")]
)
def test_no_activation_swallows_a_missing_value(gate, signal, dtype, rng):
    """A clip or a maximum may turn NaN into a number; so does a softmax or a relu above it."""
    options = {"activation": signal, "recurrent_activation": gate}
    layers = [lstm(rng, 3, 4, **options), dense(rng, 4, 3, activation="relu"), dense(rng, 3, 2, activation="softmax")]
    X = rng.normal(size=(5, 4, 3)).astype(dtype)
    X[2] = np.nan
    got = explain(layers, X, target=0, dtype=dtype)
    assert np.isnan(got.values[2]).all()
    assert np.isnan(got.prediction[2]).all()
    assert np.isnan(predict(layers, X, dtype=dtype)[2]).all()
    assert np.isfinite(np.delete(got.values, 2, axis=0)).all()


def test_nothing_but_missing_values_is_no_error(rng):
    got = explain(shallow(rng), np.full((3, 5, 3), np.nan))
    assert np.isnan(got.values).all()
    assert np.isnan(got.prediction).all()


# -- bad input ---------------------------------------------------------------------------------------------------------


def an_array(rng, change=None, shape=(6, 5, 3)):
    X = rng.normal(size=shape)
    if change is not None:
        X[4, 2, 1] = change
    return X


BAD_ARRAYS = {
    "infinity": (lambda rng: an_array(rng, np.inf), "infinit"),
    "minus infinity": (lambda rng: an_array(rng, -np.inf), "infinit"),
    "two axes": (lambda rng: an_array(rng, shape=(6, 3)), r"\(6, 3\).*\(sample, step, feature\)"),
    "four axes": (lambda rng: an_array(rng, shape=(6, 5, 3, 1)), r"\(6, 5, 3, 1\).*\(sample, step, feature\)"),
    "features": (lambda rng: an_array(rng, shape=(6, 5, 4)), r"\b4\b.*\b3\b"),
    "steps": (lambda rng: an_array(rng, shape=(6, 7, 3)), r"\b7\b.*\b5\b"),
    "no sample": (lambda rng: an_array(rng, shape=(0, 5, 3)), r"empty|no sample|0 samples|\(0, 5, 3\)"),
    "no step": (lambda rng: an_array(rng, shape=(6, 0, 3)), r"step"),
    "objects": (lambda rng: np.full((6, 5, 3), "1.5", object), r"X\[0, 0, 0\] is .1\.5., expected a number"),
    "words": (lambda rng: np.full((6, 5, 3), "one"), "<U3|str|text"),
    "complex": (lambda rng: an_array(rng).astype(complex), "complex"),
    "nothing": (lambda rng: None, "None|object"),
    "ragged": (lambda rng: [[[1.0, 2.0, 3.0]], [[1.0]]], ""),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_arrays_are_refused_in_one_sentence(kind, rng):
    make, words = BAD_ARRAYS[kind]
    net, X = network(deep(rng), steps=5), make(rng)
    for call in (net.predict, net.explain):
        with pytest.raises(ValueError, match=f"(?i){words}") as caught:
            call(X)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("word", "flag"), [("average", True), ("last", False)])
def test_aggregate_takes_words_and_flags(word, flag, rng):
    lower = fl.LSTM(*lstm_arrays(rng, 3, 4), return_sequences=True)
    net = fl.Network([lower, fl.LSTM(*lstm_arrays(rng, 4, 2)), fl.Dense(rng.normal(size=(2, 1)), np.zeros(1))])
    X = rng.normal(size=(5, 4, 3))
    got, want, other = (net.explain(X, aggregate=aggregate).values for aggregate in (word, flag, not flag))
    np.testing.assert_array_equal(got, want)
    assert not np.array_equal(got, other)


def lstm_arrays(rng, inputs, units):
    """Weights of an LSTM."""
    return rng.normal(size=(inputs, 4 * units)), rng.normal(size=(units, 4 * units)), rng.normal(size=4 * units)


BAD_OPTIONS = {
    "rule": ({"rule": "gradient"}, "'arras'.*'gradient'"),
    "rule value": ({"rule": 3}, "rule"),
    "target index": ({"target": 2}, "target.*2|2.*target"),
    "target name": ({"target": "sideways"}, "sideways"),
    "aggregate": ({"aggregate": "mean"}, "aggregate.*mean"),
    "reduce": ({"reduce": "features"}, "reduce.*features"),
    "dtype": ({"dtype": np.int64}, "float32.*float64.*int64|int64"),
    "half": ({"dtype": np.float16}, "float16"),
    "device": ({"device": "tpu"}, "device.*tpu"),
    "threads": ({"threads": 0}, "threads.*0"),
}


@pytest.mark.parametrize("kind", BAD_OPTIONS)
def test_bad_options_are_refused_in_one_sentence(kind, rng):
    options, words = BAD_OPTIONS[kind]
    net = network(shallow(rng, 2), outputs=["down", "up"])
    with pytest.raises(ValueError, match=f"(?i){words}") as caught:
        net.explain(an_array(rng), **{"target": 0, **options})
    assert "\n" not in str(caught.value)


def test_several_outputs_need_a_target_and_the_error_lists_them(rng):
    with pytest.raises(ValueError, match=r"target.*down.*up"):
        network(shallow(rng, 2), outputs=["down", "up"]).explain(an_array(rng))
    with pytest.raises(ValueError, match=r"target.*2 outputs|2 outputs.*target"):
        network(shallow(rng, 2)).explain(an_array(rng))


# -- losses of the rules are reported ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error::fastlrp.ConservationWarning")
def test_rudder_warns_where_much_is_forgotten_and_names_the_alternative(rng):
    layers, X = [lstm(rng, 3, 4), dense(rng, 4, 1, bias=False)], rng.normal(size=(40, 7, 3))
    layers[0]["b"][4:8] = -4
    with pytest.warns(fl.ConservationWarning, match="Arras"):
        network(layers).explain(X, rule="rudder", device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(layers).explain(X, rule=fl.Arras(delta=1), device="cpu")


@pytest.mark.filterwarnings("error::fastlrp.ConservationWarning")
def test_rudder_does_not_warn_where_nothing_is_forgotten(rng):
    layers = [oracles.never_forgets(lstm(rng, 3, 4, bias=False)), dense(rng, 4, 1, bias=False)]
    network(layers).explain(rng.normal(size=(40, 7, 3)), rule="rudder", device="cpu")


def test_large_results_are_written_past_the_caches_with_the_same_bits(rng):
    layers = [lstm(rng, 16, 3), dense(rng, 3, 1)]
    X = rng.normal(size=(70_001, 4, 16)).astype(np.float32)
    whole = explain(layers, X)
    assert whole.values.nbytes > STREAM_BYTES
    for first, last in [(0, 40_000), (40_000, 70_001)]:
        part = explain(layers, X[first:last])
        assert part.values.nbytes < STREAM_BYTES
        same_relevance(whole, part, slice(first, last))


def test_a_network_with_a_large_tile_gets_fewer_lanes_and_the_same_bits(rng, monkeypatch):
    layers, X = deep(rng), rng.normal(size=(131, 5, 3))
    usual = explain(layers, X)
    monkeypatch.setattr(cpu, "LARGE_TILE", 0)
    same_relevance(explain(layers, X), usual)
