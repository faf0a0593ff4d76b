"""The reference against answers that need no relevance rule; if it is wrong, so are all later tests."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import numpy as np
import oracles
import pytest
import reference
from helpers import close
from hypothesis import given, settings
from numpy.testing import assert_allclose
from reference import Rule
from strategies import Case, bidirectional, cases, dense, gru, has_gru, lstm

ABSORBED = {"delta": 0.0, "stabilizer": "absorbed"}


def build(kind, rng):
    """Networks of three features, from the plainest to one with everything."""
    up, seq = {"return_sequences": False}, {"return_sequences": True}
    relu = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
    old = {"recurrent_activation": "hard_sigmoid_keras2"}
    return {
        "plain": lambda: [lstm(rng, 3, 4), dense(rng, 4, 1)],
        "no head, no bias": lambda: [lstm(rng, 3, 4, bias=False)],
        "backwards": lambda: [lstm(rng, 3, 4, go_backwards=True), dense(rng, 4, 2, activation="softmax")],
        "stacked": lambda: [
            *[lstm(rng, 3, 4, go_backwards=True, **seq), {"kind": "dropout"}],
            *[lstm(rng, 4, 5, **seq, **relu), lstm(rng, 5, 3, **up), dense(rng, 3, 2)],
        ],
        "concat": lambda: [bidirectional(rng, 3, 4, "concat"), dense(rng, 8, 1, activation="sigmoid")],
        "sum": lambda: [bidirectional(rng, 3, 4, "sum", bias=False), dense(rng, 4, 1)],
        "ave": lambda: [bidirectional(rng, 3, 4, "ave"), {"kind": "dropout"}, dense(rng, 4, 1)],
        "everything": lambda: [
            *[dense(rng, 3, 5, activation="tanh"), bidirectional(rng, 5, 3, "sum", **seq, **old), {"kind": "dropout"}],
            *[dense(rng, 3, 4, activation="relu"), bidirectional(rng, 4, 3, "concat", **seq)],
            *[lstm(rng, 6, 4, go_backwards=True, **seq), bidirectional(rng, 4, 3, "ave", **up)],
            *[dense(rng, 3, 6, activation="relu"), dense(rng, 6, 3, activation="softmax")],
        ],
        "gru": lambda: [gru(rng, 3, 4), dense(rng, 4, 1)],
        "gru, reset before": lambda: [gru(rng, 3, 4, reset_after=False, go_backwards=True), dense(rng, 4, 2)],
        "gru stacked": lambda: [
            *[gru(rng, 3, 4, **seq, bias=False), lstm(rng, 4, 5, **seq), gru(rng, 5, 4, **seq, **relu)],
            *[bidirectional(rng, 4, 3, "sum", gru, **seq, **old), dense(rng, 3, 4, activation="tanh")],
            *[bidirectional(rng, 4, 3, "concat", gru, **up, reset_after=False), dense(rng, 6, 2)],
        ],
    }[kind]()


LSTMS = ("plain", "no head, no bias", "backwards", "stacked", "concat", "sum", "ave", "everything")
KINDS = (*LSTMS, "gru", "gru, reset before", "gru stacked")


def names_for(layers):
    """The rules that go through these layers."""
    return ("arras",) if has_gru(layers) else ("arras", "rudder")


def test_imports_nothing_of_fastlrp():
    for name in ("reference.py", "oracles.py"):
        tree = ast.parse((Path(__file__).parent / name).read_text())
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [module for module in modules if "fastlrp" in module or module == "strategies"]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("stabilizer", ["paper", "absorbed"])
@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_one_unit_one_feature_two_steps_by_hand(delta, stabilizer):
    """Every number of both rules written out for the smallest network that has all paths."""
    (wi, wf, wg, wo), (ui, uf, ug, uo) = (0.5, -0.3, 0.8, 0.2), (0.1, 0.4, -0.6, 0.3)
    (bi, bf, bg, bo), v, d, (x1, x2), eps = (0.1, 0.7, -0.2, 0.0), 1.5, 0.9, (0.6, -2.0), 0.05
    layer = {"kind": "lstm", "W": [[wi, wf, wg, wo]], "U": [[ui, uf, ug, uo]], "b": [bi, bf, bg, bo]}
    layer |= {"return_sequences": False, "go_backwards": False}
    layer |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    layers = [layer, {"kind": "dense", "W": [[v]], "b": [d], "activation": "linear"}]

    zg1 = x1 * wg + bg
    in1 = sigmoid(x1 * wi + bi) * np.tanh(zg1)
    h1 = sigmoid(x1 * wo + bo) * np.tanh(in1)
    zg2 = x2 * wg + h1 * ug + bg
    f2, in2 = sigmoid(x2 * wf + h1 * uf + bf), sigmoid(x2 * wi + h1 * ui + bi) * np.tanh(zg2)
    c2 = f2 * in1 + in2
    h2 = sigmoid(x2 * wo + h1 * uo + bo) * np.tanh(c2)
    y = h2 * v + d
    assert c2 < 0 < y
    assert zg2 < 0 < zg1  # so that both signs of the stabiliser occur

    def share(s, b):
        return eps * s + delta * b if stabilizer == "paper" else delta * (eps * s + b)

    R_h2 = (h2 * v + share(1, d)) / (y + eps) * y
    cell2 = share(-1, 0) / 2
    R_c1, R_g2 = (f2 * in1 + cell2) / (c2 - eps) * R_h2, (in2 + cell2) / (c2 - eps) * R_h2
    rest2 = share(-1, bg) / 2
    R_x2, R_h1 = (x2 * wg + rest2) / (zg2 - eps) * R_g2, (h1 * ug + rest2) / (zg2 - eps) * R_g2
    R_c1 = R_c1 + R_h1
    R_c0, R_g1 = share(1, 0) / 2 / (in1 + eps) * R_c1, (in1 + share(1, 0) / 2) / (in1 + eps) * R_c1
    R_x1, R_h0 = (x1 * wg + share(1, bg) / 2) / (zg1 + eps) * R_g1, share(1, bg) / 2 / (zg1 + eps) * R_g1
    got = reference.explain(layers, np.array([[x1], [x2]]), Rule("arras", eps, delta, stabilizer))
    assert_allclose(got.prediction, [y], rtol=1e-14)
    assert_allclose(got.relevance[:, 0], [R_x1, R_x2], rtol=1e-13)
    assert_allclose(got.initial_state, R_c0 + R_h0, rtol=1e-13, atol=1e-16)
    assert_allclose(got.unattributed, y - R_x1 - R_x2 - R_c0 - R_h0, rtol=0, atol=1e-14)

    q = R_h2 / (c2 - eps)
    R_x1 = (x1 * wg + share(1, bg)) / (zg1 + eps) * in1 * q
    R_x2 = (x2 * wg + share(-1, bg)) / (zg2 - eps) * in2 * q
    got = reference.explain(layers, np.array([[x1], [x2]]), Rule("rudder", eps, delta, stabilizer))
    assert_allclose(got.relevance[:, 0], [R_x1, R_x2], rtol=1e-13)
    assert_allclose(got.unattributed, y - R_x1 - R_x2, rtol=0, atol=1e-14)
    assert got.initial_state == 0


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("stabilizer", ["paper", "absorbed"])
@pytest.mark.parametrize("delta", [0.0, 1.0])
def test_one_unit_of_a_gru_by_hand(delta, stabilizer, reset_after):
    """Every number of arras written out for the smallest GRU that has all paths."""
    (wz, wr, wh), (uz, ur, uh), (bz, br, bh) = (0.5, -0.3, 0.8), (0.1, 0.4, -0.6), (0.1, 0.7, -0.2)
    (kz, kr, kh), v, d, (x1, x2), eps = (0.2, -0.4, 0.3), 1.5, 0.9, (0.6, -2.0), 0.05
    layer = {"kind": "gru", "W": [[wz, wr, wh]], "U": [[uz, ur, uh]], "b": [[bz, br, bh], [kz, kr, kh]]}
    if not reset_after:
        layer["b"], kz, kr, kh = [bz, br, bh], 0.0, 0.0, 0.0
    layer |= {"return_sequences": False, "go_backwards": False, "reset_after": reset_after}
    layer |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    layers = [layer, {"kind": "dense", "W": [[v]], "b": [d], "activation": "linear"}]

    r1, r2_of = sigmoid(x1 * wr + br + kr), lambda h: sigmoid(x2 * wr + br + h * ur + kr)
    zh1 = x1 * wh + bh + r1 * kh
    new1 = (1 - sigmoid(x1 * wz + bz + kz)) * np.tanh(zh1)
    h1, r2 = new1, r2_of(new1)
    zh2 = x2 * wh + bh + r2 * (h1 * uh + kh)
    z2 = sigmoid(x2 * wz + bz + h1 * uz + kz)
    old2, new2 = z2 * h1, (1 - z2) * np.tanh(zh2)
    h2 = old2 + new2
    y = h2 * v + d

    def share(s, b):
        return eps * s + delta * b if stabilizer == "paper" else delta * (eps * s + b)

    s = {name: 1 if value >= 0 else -1 for name, value in {"y": y, "h1": h1, "h2": h2, "1": zh1, "2": zh2}.items()}
    R_h2 = (h2 * v + share(s["y"], d)) / (y + eps * s["y"]) * y
    even = share(s["h2"], 0) / 2
    R_h1, R_g2 = ((part + even) / (h2 + eps * s["h2"]) * R_h2 for part in (old2, new2))
    even = share(s["2"], bh + r2 * kh) / 2
    R_x2 = (x2 * wh + even) / (zh2 + eps * s["2"]) * R_g2
    R_h1 += (r2 * h1 * uh + even) / (zh2 + eps * s["2"]) * R_g2
    even = share(s["h1"], 0) / 2
    R_h0, R_g1 = ((part + even) / (h1 + eps * s["h1"]) * R_h1 for part in (0.0, new1))
    even = share(s["1"], bh + r1 * kh) / 2
    R_x1 = (x1 * wh + even) / (zh1 + eps * s["1"]) * R_g1
    R_h0 += even / (zh1 + eps * s["1"]) * R_g1
    got = reference.explain(layers, np.array([[x1], [x2]]), Rule("arras", eps, delta, stabilizer))
    assert_allclose(got.prediction, [y], rtol=1e-14)
    assert_allclose(got.relevance[:, 0], [R_x1, R_x2], rtol=1e-13)
    assert_allclose(got.initial_state, R_h0, rtol=1e-13, atol=1e-16)
    assert_allclose(got.unattributed, y - R_x1 - R_x2 - R_h0, rtol=0, atol=1e-14)


@pytest.mark.parametrize("merge_mode", ["sum", "ave"])
def test_a_merge_spreads_its_stabiliser_over_all_lower_outputs(rng, merge_mode):
    """The layer's own rule, with the relevance that reaches the two LSTMs written out."""
    layer = bidirectional(rng, 3, 2, merge_mode)
    x, eps, R = rng.normal(size=(4, 3)), 0.05, np.array([0.7, -1.1])
    out, tape = reference.recurrent_forward(layer, x)
    h = [oracles.gates(layer["forward"], x)["h"][-1], oracles.gates(layer["backward"], x[::-1])["h"][-1]]
    k = {"sum": 1.0, "ave": 0.5}[merge_mode]
    close(out, k * (h[0] + h[1]), 1e-14)
    s = np.where(out >= 0, 1, -1)
    for rule, share in [(Rule(eps=eps), eps * s), (Rule(eps=eps, **ABSORBED), 0 * s)]:
        q = R / (out + eps * s)
        got = reference.unmerge(layer, tape, R, rule, reference.Ledger())
        for k_part, part in enumerate(got):
            close(part, h[k_part] * k * q + (share * q).sum() / 4, 1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_arras_tends_to_x_times_gradient(kind, rng):
    layers = build(kind, rng)
    for x in rng.normal(size=(4, 6, 3)):
        want, _ = oracles.x_times_gradient(layers, x)
        got = {eps: reference.explain(layers, x, Rule(eps=eps, **ABSORBED)).relevance for eps in (1e-7, 1e-10, 1e-13)}
        close(got[1e-13], want, 1e-8)
        far, near = (np.abs(got[eps] - want).max() for eps in (1e-7, 1e-10))
        assert near < 2e-3 * far  # the difference is of the order of eps, not a small constant


@pytest.mark.parametrize("stabilizer", ["paper", "absorbed"])
@pytest.mark.parametrize("kind", KINDS)
def test_delta_of_one_conserves(kind, stabilizer, rng):
    layers = build(kind, rng)
    for x in rng.normal(size=(4, 6, 3)):
        got = reference.explain(layers, x, Rule(eps=0.02, delta=1.0, stabilizer=stabilizer))
        scale = np.abs(got.relevance).sum() + abs(got.initial_state)
        assert abs(got.relevance.sum() + got.initial_state - got.score) < 1e-12 * scale
        assert abs(got.unattributed) < 1e-12 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_totals_reconcile_for_every_combination_of_parameters(kind, rng):
    layers, x = build(kind, rng), rng.normal(size=(5, 3))
    combinations = itertools.product(
        names_for(layers), (0.3, 1e-3), (0.0, 1.0), ("paper", "absorbed"), (True, False), ("sequence", True, False)
    )
    for name, eps, delta, stabilizer, recurrent, aggregate in combinations:
        got = reference.explain(layers, x, Rule(name, eps, delta, stabilizer, recurrent), aggregate=aggregate)
        parts = np.array([got.relevance.sum(), got.initial_state, got.unattributed])
        scale = np.abs(got.relevance).sum() + np.abs(parts).sum()
        assert abs(parts.sum() - got.score) < 1e-12 * scale


@settings(max_examples=60)
@given(case=cases())
def test_totals_reconcile_for_drawn_networks(case: Case):
    for x in case.X[:3]:
        got = reference.explain(case.layers, x, case.rule, case.target, case.aggregate)
        parts = np.array([got.relevance.sum(), got.initial_state, got.unattributed])
        scale = np.abs(got.relevance).sum() + np.abs(parts).sum() + abs(got.score)
        # Layers between may hold more relevance than arrives: one denominator near eps creates it, another cancels it.
        assert abs(parts.sum() - got.score) <= 1e-10 * scale


@settings(max_examples=60)
@given(case=cases())
def test_arras_tends_to_x_times_gradient_for_drawn_networks(case: Case):
    for x in case.X[:2]:
        want, _ = oracles.x_times_gradient(case.layers, x, case.target)
        # eps counts beside the smallest z of all, and a drawn network may have one of 4e-8
        got = reference.explain(case.layers, x, Rule(eps=1e-30, **ABSORBED), case.target).relevance
        close(got, want, 1e-7)


def test_without_the_h_path_arras_is_the_forget_factor_discount(rng):
    layers = [lstm(rng, 3, 4), dense(rng, 4, 1)]
    for x in rng.normal(size=(6, 7, 3)):
        got = reference.explain(layers, x, Rule(eps=1e-13, **ABSORBED, recurrent=False)).relevance
        close(got, oracles.forget_factor_discount(layers, x), 1e-9)


@pytest.mark.parametrize("stabilizer", ["paper", "absorbed"])
def test_where_nothing_is_forgotten_rudder_equals_arras(rng, stabilizer):
    layers = [oracles.never_forgets(lstm(rng, 3, 4, return_sequences=True)), oracles.never_forgets(lstm(rng, 4, 3))]
    layers.append(dense(rng, 3, 1))
    options = {"eps": 1e-13, "stabilizer": stabilizer}
    for x in rng.normal(size=(6, 7, 3)):
        arras = reference.explain(layers, x, Rule("arras", **options, recurrent=False))
        rudder = reference.explain(layers, x, Rule("rudder", **options))
        close(rudder.relevance, arras.relevance, 1e-8)
        assert abs(rudder.unattributed - arras.unattributed) < 1e-8 * np.abs(arras.relevance).max()


def test_where_much_is_forgotten_rudder_says_by_how_much(rng):
    layers = [lstm(rng, 3, 4), dense(rng, 4, 1, bias=False)]
    layers[0]["b"][4:8] = -4
    gaps = [reference.explain(layers, x, Rule("rudder")) for x in rng.normal(size=(20, 7, 3))]
    assert np.median([abs(gap.unattributed / gap.score) for gap in gaps]) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_permuting_features_permutes_relevance(kind, rng):
    layers, x, order = build(kind, rng), rng.normal(size=(5, 3)), np.array([2, 0, 1])
    for name in names_for(layers):
        one = reference.explain(layers, x, Rule(name))
        two = reference.explain(oracles.with_features_permuted(layers, order), x[:, order], Rule(name))
        close(two.relevance, one.relevance[:, order], 1e-11)
        close(two.prediction, one.prediction, 1e-13)


@pytest.mark.parametrize(("name", "cell"), [("arras", lstm), ("rudder", lstm), ("arras", gru)])
def test_permuting_units_changes_nothing(name, cell, rng):
    for second in (dense(rng, 5, 2), None):
        first = cell(rng, 3, 5, return_sequences=second is None)
        layers = [first, second] if second else [first, lstm(rng, 5, 2), dense(rng, 2, 1)]
        x = rng.normal(size=(5, 3))
        one = reference.explain(layers, x, Rule(name))
        two = reference.explain(oracles.with_units_permuted(layers, np.array([3, 1, 4, 0, 2])), x, Rule(name))
        close(two.relevance, one.relevance, 1e-11)
        close(two.initial_state, np.array(one.initial_state), 1e-9)


@pytest.mark.parametrize("name", ["arras", "rudder"])
def test_reading_backwards_is_reading_the_reversed_window(name, rng):
    layer, head, x = lstm(rng, 3, 4), dense(rng, 4, 1), rng.normal(size=(5, 3))
    one = reference.explain([{**layer, "go_backwards": True}, head], x, Rule(name))
    two = reference.explain([layer, head], x[::-1], Rule(name))
    assert_allclose(one.relevance, two.relevance[::-1], rtol=1e-13)


@pytest.mark.parametrize("name", ["arras", "rudder"])
@pytest.mark.parametrize("merge_mode", ["concat", "sum", "ave"])
def test_a_bidirectional_layer_and_its_mirror_image_agree(name, merge_mode, rng):
    """Swap the two LSTMs, reverse the window, reorder the weights that read a concatenation: only the order changes."""
    layer, x = bidirectional(rng, 3, 4, merge_mode), rng.normal(size=(5, 3))
    head = dense(rng, 8 if merge_mode == "concat" else 4, 1)
    mirrored = {**layer, "forward": layer["backward"], "backward": layer["forward"]}
    turned = {**head, "W": np.roll(head["W"], 4, axis=0)} if merge_mode == "concat" else head
    one = reference.explain([layer, head], x, Rule(name))
    two = reference.explain([mirrored, turned], x[::-1], Rule(name))
    close(two.relevance[::-1], one.relevance, 1e-12)


def test_aggregate_keeps_an_average_or_the_last_step(rng):
    lower, upper = lstm(rng, 3, 4, return_sequences=True), lstm(rng, 4, 2)
    x = rng.normal(size=(5, 3))
    hidden, _ = reference.recurrent_forward(lower, x)
    above = reference.explain([upper], hidden, Rule()).relevance
    for aggregate, last in [(True, above.mean(axis=0)), (False, above[-1])]:
        got = reference.explain([lower, upper], x, Rule(), aggregate=aggregate)
        kept = np.vstack([np.zeros((4, 4)), last])
        want = reference.recurrent_relevance(lower, reference.lstm_forward(lower, x), kept, Rule(), reference.Ledger())
        close(got.relevance, want, 1e-13)
    whole = reference.explain([lower, upper], x, Rule(delta=1.0))
    part = reference.explain([lower, upper], x, Rule(delta=1.0), aggregate=False)
    assert abs(whole.unattributed) < 1e-12 < abs(part.unattributed)
