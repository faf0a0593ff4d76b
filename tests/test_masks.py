"""Masked steps against the slow reference, which keeps the state at each of them, and against shorter windows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from helpers import TOTALS, close, same_bits, same_relevance
from reference import Rule
from strategies import bidirectional, dense, gradient_batch, lstm, network, reference_batch, rule_value

import fastlrp as fl
from fastlrp.evidence.samples import samples_of
from fastlrp.kernels.cpu import masked
from fastlrp.masks import masked_rows
from fastlrp.panels.windows import Windows

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


# -- bits of shorter windows -------------------------------------------------------------------------------------------


def as_rows(layers, X, marks, dtype, **options):
    """The results of each window's live steps alone, by a network without Masking, one window at a time."""
    net = network(layers[1:])
    return [net.explain(x[None, ~mark], dtype=dtype, **options) for x, mark in zip(X, marks, strict=True)]


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ["arras", "rudder", fl.GradientXInput()])
def test_bits_are_those_of_the_live_steps(build, dtype, rule, monkeypatch):
    rng = np.random.default_rng(3)
    layers = build(rng)
    X, marks = windows(rng, dtype, PATTERNS[:-1], times=30)
    monkeypatch.setattr(masked, "AT_ONCE_BYTES", 1)
    for threads in (1, 2):
        got = network(layers).explain(X, rule=rule, threads=threads)
        for k, want in enumerate(as_rows(layers, X[:40], marks[:40], dtype, rule=rule)):
            same_bits(got.values[k, ~marks[k]], want.values[0])
            for key in ("prediction", *TOTALS):
                same_bits(getattr(got, key)[k : k + 1], getattr(want, key))
        summed = network(layers).explain(X, rule=rule, reduce="steps", threads=threads)
        for key in ("prediction", "score") if isinstance(rule, fl.GradientXInput) else ("prediction", *TOTALS):
            same_bits(getattr(got, key), getattr(summed, key))


def test_a_network_without_masked_steps_is_the_same_without_masking():
    rng = np.random.default_rng(4)
    layers, X = stacked(rng), rng.normal(size=(300, 5, 3))
    same_relevance(network(layers).explain(X), network(layers[1:]).explain(X))


def test_missing_and_infinite_values():
    rng = np.random.default_rng(5)
    layers = one(rng)
    X, marks = windows(rng, times=40)
    before = network(layers).explain(X)
    broken = np.flatnonzero(~marks.all(axis=1))[::3]
    X[broken, np.argmin(marks[broken], axis=1), 2] = np.nan
    rel = network(layers).explain(X)
    kept = np.setdiff1d(np.arange(len(X)), broken)
    assert np.isnan(rel.values[broken]).all()
    assert np.isnan(rel.prediction[broken]).all()
    same_relevance(rel, _some(before, kept), kept)
    X[7, np.argmin(marks[7]), 0] = np.inf
    with pytest.raises(ValueError, match="the input is infinite"):
        network(layers).explain(X)


class _some:
    def __init__(self, rel, rows):
        for key in ("values", "prediction", *TOTALS):
            setattr(self, key, getattr(rel, key)[rows])


def test_ensembles_average_members_that_mask():
    rng = np.random.default_rng(6)
    nets = [network(build(rng)) for build in (one, stacked)]
    X, _ = windows(rng)
    rel, each = fl.Ensemble(nets).explain(X), [net.explain(X) for net in nets]
    close(rel.values, (each[0].values + each[1].values) / 2, 1e-12)
    close(rel.initial_state, (each[0].initial_state + each[1].initial_state) / 2, 1e-12)
    close(fl.Ensemble(nets).predict(X), (each[0].prediction + each[1].prediction) / 2, 1e-12)


def test_float32_values_are_found_in_float64():
    rng = np.random.default_rng(7)
    layers = one(rng)
    X, marks = windows(rng, np.float32)
    rel = network(layers).explain(X, dtype=np.float64)
    assert not rel.values[marks].any()
    exact = X.astype(np.float64)
    exact[marks] = VALUE
    same_relevance(rel, network(layers).explain(exact))


def test_progress_counts_every_window(monkeypatch):
    rng = np.random.default_rng(8)
    X, _ = windows(rng)
    monkeypatch.setattr(masked, "AT_ONCE_BYTES", 1)
    done = []
    masked.run(network(one(rng)), Windows(X.reshape(-1, 3)), 6, advance=done.append)
    assert sum(done) == len(X)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39, "0", None, True])
def test_odd_values_are_refused(value):
    with pytest.raises(ValueError, match="Masking: value takes a finite number, not "):
        fl.Masking(value)


def test_masking_comes_first():
    rng = np.random.default_rng(9)
    first, second, head = (fl.Masking(), *network(one(rng)[1:]))
    with pytest.raises(ValueError, match=re.escape("layer 1 (Masking) stands above layer 0 (LSTM), but")):
        fl.Network([second, first, head])
    with pytest.raises(ValueError, match="no layer with weights was given"):
        fl.Network([first])


def test_other_devices_are_refused():
    rng = np.random.default_rng(10)
    X, _ = windows(rng)
    with pytest.raises(ValueError, match="device='cuda' was given, but a network with Masking is computed on the CPU"):
        network(one(rng)).explain(X, device="cuda")
    with pytest.raises(ValueError, match="a network with Masking is computed on the CPU alone"):
        network(one(rng)).predict(X, device="cuda")


def test_a_baseline_by_step_is_refused():
    rng = np.random.default_rng(11)
    X, _ = windows(rng)
    rule = fl.IntegratedGradients(baseline=np.zeros((6, 3)))
    with pytest.raises(ValueError, match="has a value for each of 6 steps, but some of X's steps are masked"):
        network(one(rng)).explain(X, rule=rule)


# -- the layer as a value ----------------------------------------------------------------------------------------------


def test_it_is_shown_saved_and_told_apart(tmp_path):
    from fastlrp.model.fingerprint import fingerprint
    from fastlrp.model.plain import layers_of, plain_layers

    rng = np.random.default_rng(12)
    layers = network(one(rng)).layers
    net = fl.Network(layers, steps=6)
    assert net.mask_value == VALUE
    assert "Masking(-99.9), LSTM(5), Dense(1)" in repr(net)
    assert "skips steps of -99.9" in net.summary()
    assert fl.Network(layers_of(plain_layers(net)), steps=6) == net
    other = fl.Network([fl.Masking(), *layers[1:]], steps=6)
    assert len({fingerprint([one]) for one in (net, other, fl.Network(layers[1:], steps=6))}) == 3
    X, _ = windows(rng)
    rel = net.explain(X)
    rel.save(tmp_path / "rel.h5")
    same_relevance(fl.load_relevance(tmp_path / "rel.h5"), rel)


def test_tables_of_results_take_masked_steps():
    rng = np.random.default_rng(13)
    X, _ = windows(rng, times=20)
    rel = network(one(rng)).explain(X)
    assert np.isfinite(rel.by_lag().to_numpy()).all()
    some = np.abs(rel.values).sum(axis=(1, 2)) > 0
    assert np.isfinite(rel.share().to_numpy()[some]).all()
    assert np.isnan(rel.share().to_numpy()[~some]).all()
    X = rng.normal(size=X.shape)
    X[::3, :2] = VALUE
    assert "saturated" not in network(one(rng)).explain(X).summary()
    assert np.isfinite(rel.to_frame(steps=True).to_numpy()).all()


def test_faithfulness_is_judged_on_windows_without_masked_steps():
    rng = np.random.default_rng(14)
    X, marks = windows(rng, times=30)
    net, kept = network(one(rng)), np.flatnonzero(~marks.any(axis=1))
    samples, names = samples_of(net, X, None, None)
    assert np.array_equal(samples.caller, kept)
    assert len(names) == len(X)


def test_rows_of_all_blocks_are_found_and_those_with_the_value_in_one_feature_are_not():
    rows = np.zeros((70_000, 2))
    rows[[3, 65_540]] = -99.9
    rows[5, 0] = rows[6, 1] = -99.9
    np.testing.assert_array_equal(np.flatnonzero(masked_rows(rows, -99.9)), [3, 65_540])


def test_each_sample_with_masked_steps_has_its_own_static_features():
    rng = np.random.default_rng(3)
    lstm = fl.LSTM(rng.normal(size=(2, 12)), rng.normal(size=(3, 12)), rng.normal(size=12))
    net = fl.Network([fl.Masking(-1.0), lstm, fl.Dense(rng.normal(size=(5, 1)))], steps=4, static=2)
    X, S = rng.normal(size=(6, 4, 2)), rng.normal(size=(6, 2))
    X[:, 1] = X[:3, 0] = -1.0  # three samples with two live steps, three with three
    whole = net.explain([X, S])
    for i in range(6):
        alone = net.explain([X[i : i + 1], S[i : i + 1]])
        same_bits(whole.static[i], alone.static[0])
        same_bits(whole.score[i], alone.score[0])
        live = fl.Network(net.layers[1:], static=2).explain([X[i : i + 1, X[i, :, 0] != -1.0], S[i : i + 1]])
        same_bits(whole.static[i], live.static[0])
