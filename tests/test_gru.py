"""GRUs as users meet them: networks, panels, refusals, estimators, files of results."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import reference
from helpers import TOTALS, close, same_relevance
from reference import Rule
from strategies import bidirectional, dense, gru, lstm, network, plain, reference_batch

import fastlrp as fl
from fastlrp.kernels.program.inference import make_plan
from fastlrp.kernels.program.rows import QUADS
from fastlrp.model.plain import layers_of, plain_layers

T, D = 4, 3


def mixed(rng):
    """GRUs of both kinds, both ways, below and above an LSTM."""
    return [
        *[bidirectional(rng, D, 5, "concat", gru, return_sequences=True), {"kind": "dropout"}],
        *[lstm(rng, 10, 6, return_sequences=True), gru(rng, 6, 7, reset_after=False), dense(rng, 7, 1)],
    ]


def panel_of(rng, months=12, assets=20):
    """A panel with rows that are missing, and values that are."""
    index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=months, freq="M"), range(assets)])
    panel = pd.DataFrame(rng.normal(size=(len(index), D)), index, list("abc"))
    panel.iloc[rng.choice(len(panel), 9, replace=False), 1] = np.nan
    return panel[rng.random(len(panel)) > 0.05]


@pytest.mark.parametrize("recurrent", [True, False])
def test_windows_of_a_panel_are_those_windows(rng, recurrent):
    layers, panel, rule = mixed(rng), panel_of(rng), Rule(recurrent=recurrent)
    rel = network(layers).explain(panel, steps=T, rule=fl.Arras(recurrent=recurrent), device="auto")
    found = np.flatnonzero(rel.explained)
    assert 50 < len(found) < len(panel)
    last = panel.index.get_level_values(0)
    for row in found[::9]:
        month, asset = panel.index[row]
        window = panel.xs(asset, level=1).loc[month - T + 1 : month].to_numpy()
        want = reference_batch(layers, window[None], rule)
        close(rel.values[row], want["values"][0], 1e-9)
        scale = max(np.abs(want["values"]).max(), np.abs(want["score"]).max())
        for key in TOTALS:
            close(getattr(rel, key)[row], want[key][0], 1e-9, scale)
    assert np.isnan(rel.values[last < last.min() + T - 1]).all()
    total = rel.values.sum(axis=(1, 2)) + rel.initial_state + rel.unattributed
    close(total[found], rel.score[found], 1e-10, np.abs(rel.values[found]).sum(axis=(1, 2)).max())


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(("signal", "gate"), [("relu", "sigmoid"), ("tanh", "hard_sigmoid"), ("linear", "tanh")])
def test_other_activations(rng, signal, gate, reset_after):
    layer = gru(rng, D, 5, reset_after=reset_after, activation=signal, recurrent_activation=gate)
    layers, X = [layer, dense(rng, 5, 1)], rng.normal(size=(6, T, D))
    rel, want = network(layers).explain(X, rule=fl.Arras(eps=0.01)), reference_batch(layers, X, Rule(eps=0.01))
    close(rel.prediction[:, None], want["prediction"].reshape(6, 1), 1e-12)
    close(rel.values, want["values"], 1e-10)
    for key in TOTALS:
        close(getattr(rel, key), want[key], 1e-10, np.abs(want["values"]).max())


def test_a_batch_is_its_rows_for_any_number_of_threads(rng):
    net, X = network(mixed(rng)), rng.normal(size=(300, T, D)).astype(np.float32)
    whole = net.explain(X, dtype="float32", threads=1)
    same_relevance(whole, net.explain(X, dtype="float32", threads=2))
    for rows in (slice(7, 8), slice(100, 233)):
        same_relevance(whole, net.explain(X[rows], dtype="float32"), rows)


def test_an_open_update_gate_passes_nothing_on_but_the_last_candidate(rng):
    """z = 0 at every step: h_t is the candidate alone, as a recurrent layer without gates has it."""
    layer, head = gru(rng, D, 4), dense(rng, 4, 1, bias=False)
    layer["b"][0, :4], layer["W"][:, :4], layer["U"][:] = -1000, 0, 0
    X = rng.normal(size=(9, T, D))
    rel = network([layer, head]).explain(X, rule=fl.Arras(eps=1e-12, stabilizer="absorbed"))
    W, b, rb, last = layer["W"], *layer["b"], X[:, -1]
    r = 1 / (1 + np.exp(-(last @ W + b + rb)[:, 4:8]))
    zh = (last @ W + b)[:, 8:] + r * rb[8:]
    close(rel.prediction, (np.tanh(zh) @ head["W"])[:, 0], 1e-12)
    want = np.zeros_like(X)
    want[:, -1] = last * ((np.tanh(zh) / zh * head["W"][:, 0]) @ W[:, 8:].T)
    close(rel.values, want, 1e-8)


def test_rudder_is_refused_before_work_starts(rng, tmp_path):
    net, panel = network([gru(rng, D, 4), dense(rng, 4, 1)]), panel_of(rng)
    words = (
        r"rule='rudder' was given, but the network has a GRU: RUDDER is derived for an LSTM's cell alone: use rule='"
    )
    with pytest.raises(ValueError, match=words):
        net.explain(np.ones((2, T, D)), rule="rudder")
    both = network([bidirectional(rng, D, 4, cell=gru), dense(rng, 8, 1)])
    for one in (both, fl.Ensemble([net, net])):
        with pytest.raises(ValueError, match="use rule='arras'"):
            one.explain(panel, steps=T, rule=fl.Rudder())
    panel.rename_axis(["month", "asset"]).reset_index().to_csv(tmp_path / "panel.csv", index=False)
    with pytest.raises(ValueError, match="use rule='arras'"):
        fl.explain_file(net.replaced(steps=T, features=list("abc")), tmp_path / "panel.csv", tmp_path / "out.csv",
                        rule="rudder")  # fmt: skip
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(ValueError, match="use rule='arras'"):
        fl.compare(net, rng.normal(size=(9, T, D)), ["arras", "rudder"])
    rules = {name for pair in fl.compare(net, rng.normal(size=(9, T, D)), top=2).table.index for name in pair}
    assert rules == {"arras", "arras, recurrent=False", "gradient_x_input", "integrated_gradients"}


def test_a_gpu_is_refused_and_left_alone(rng):
    net = network([gru(rng, D, 4), dense(rng, 4, 1)])
    assert net.cpu_only == "a network with a GRU"
    assert network([lstm(rng, D, 4)]).cpu_only is None
    words = "device='cuda' was given, but a network with a GRU is computed on the CPU alone: give X there"
    for call in (net.predict, net.explain):
        with pytest.raises(ValueError, match=words):
            call(np.ones((2, T, D)), device="cuda")
    with pytest.raises(ValueError, match="the machine does not know the instruction GRU_CELL"):
        make_plan(net, T, "float32", layout=QUADS)


def test_a_rule_from_outside_without_a_way_through_says_so(rng):
    from fastlrp.kernels.program.walk import RuleProgram

    with pytest.raises(ValueError, match="has no way through a GRU"):
        RuleProgram.gru(object(), None, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"W": np.ones((3, 8))}, r"GRU 'g': W has shape \(3, 8\), expected \(D, 12\) since U has 4 units"),
        ({"U": np.ones((4, 16))}, r"GRU 'g': U has shape \(4, 16\), expected \(H, 3H\) with H units"),
        ({"b": np.ones(12)}, r"b has shape \(12,\), expected \(2, 12\), biases of W and of U: reset_after=True"),
        ({"b": np.ones((2, 12)), "reset_after": False}, r"b must have 1 dimension, not shape \(2, 12\)"),
        ({"b": np.ones(9), "reset_after": False}, r"b has shape \(9,\), expected \(12,\)"),
        ({"reset_after": 1}, "reset_after takes True or False, not 1"),
        ({"activation": "elo"}, "activation takes one of tanh, .* not 'elo'"),
        ({"W": np.full((3, 12), np.nan)}, "W has 36 weights that are NaN or infinite"),
    ],
)
def test_a_gru_is_checked(change, words):
    given = {"W": np.ones((3, 12)), "U": np.ones((4, 12)), "b": np.ones((2, 12)), "name": "g"}
    with pytest.raises(ValueError, match=words):
        fl.GRU(**{**given, **change})


def test_a_bidirectional_takes_two_of_one_kind():
    one, other = fl.GRU(np.ones((3, 12)), np.ones((4, 12))), fl.LSTM(np.ones((3, 16)), np.ones((4, 16)))
    with pytest.raises(ValueError, match="takes two layers of one kind, not GRU forward and LSTM backward"):
        fl.Bidirectional(one, other)
    with pytest.raises(ValueError, match="backward must be an LSTM or a GRU, not Dense"):
        fl.Bidirectional(one, fl.Dense(np.ones((3, 4))))
    with pytest.raises(ValueError, match="units of the two GRUs differ: 4 forward, 1 backward"):
        fl.Bidirectional(one, fl.GRU(np.ones((3, 3)), np.ones((1, 3))))


def test_networks_are_shown_kept_and_compared_by_value(rng, tmp_path):
    net = network(mixed(rng), steps=T, features=list("abc"))
    assert "GRU" in net.summary()
    assert repr(net).startswith("<Network: Bidirectional(10), Dropout(0.2), LSTM(6), GRU(7), Dense(1)")
    assert fl.Network(layers_of(plain_layers(net)), steps=T, features=list("abc")) == net
    assert pickle.loads(pickle.dumps(net)) == net
    assert net.n_params == sum(array.size for layer in net for array in layer.arrays)
    rel = net.explain(rng.normal(size=(5, T, D)))
    rel.save(tmp_path / "rel.h5")
    again = fl.load_relevance(tmp_path / "rel.h5")
    same_relevance(rel, again)
    assert again.network == rel.network


def test_an_ensemble_explains_the_mean(rng):
    nets = [network([gru(rng, D, 4), dense(rng, 4, 1)]) for _ in range(3)]
    X = rng.normal(size=(6, T, D))
    rel = fl.Ensemble(nets).explain(X)
    close(rel.values, np.mean([net.explain(X).values for net in nets], axis=0), 1e-12)


def test_gates_far_from_zero_are_reported(rng):
    net, X = network([gru(rng, D, 4), dense(rng, 4, 1)]), 1e4 * rng.normal(size=(40, T, D))
    with np.errstate(all="ignore"):
        assert "gates are saturated" in str(net.explain(X).summary())


@pytest.mark.parametrize("reset_after", [True, False])
def test_an_estimator_trains_the_network_that_it_is_given(rng, reset_after):
    first = network([gru(rng, D, 8, reset_after=reset_after), dense(rng, 8, 1)])
    X = rng.normal(size=(400, T, D))
    y = np.tanh(X[:, -1, 0]) - 0.5 * X[:, -2, 1]
    model = fl.LSTMRegressor(
        network=first, max_iter=60, n_iter_no_change=60, learning_rate_init=0.01, random_state=0
    ).fit(X[:300], y[:300])
    assert [layer.kind for layer in model.network_] == ["GRU", "Dense"]
    assert model.score(X[300:], y[300:]) > 0.8
    close(model.network_.predict(X), [reference.predict(plain(model.network_), x)[0] for x in X], 1e-5)
    assert model.explain(X[:3]).rule == fl.Arras()
