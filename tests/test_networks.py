"""Layers, networks and ensembles that do not fit are refused in one sentence, before anything is computed."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastlrp as fl


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def lstm(inputs=3, units=2, **options):
    return fl.LSTM(ones(inputs, 4 * units), ones(units, 4 * units), ones(4 * units), **options)


def gru(inputs=3, units=2, **options):
    return fl.GRU(ones(inputs, 3 * units), ones(units, 3 * units), ones(2, 3 * units), **options)


def dense(inputs=2, units=1, **options):
    return fl.Dense(ones(inputs, units), ones(units), **options)


def net(*layers, **options):
    return fl.Network(layers or (lstm(), dense()), **options)


LAYERS = {
    "not numbers": (lambda: fl.Dense(ones(2, 1).astype(str)), "Dense: W must be an array of real numbers, not of"),
    "no matrix": (lambda: fl.Dense(ones(2)), "Dense: W must have 2 dimensions, not shape (2,)"),
    "empty": (lambda: fl.Dense(ones(0, 1)), "Dense: W is empty: shape (0, 1)"),
    "one NaN": (
        lambda: fl.Dense(np.array([[1.0], [np.nan]])), "Dense: W has 1 weight that is NaN or infinite, of 2",
    ),
    "two infinite": (
        lambda: fl.Dense(np.full((2, 1), np.inf), name="top"),
        "Dense 'top': W has 2 weights that are NaN or infinite, of 2",
    ),
    "short bias": (lambda: fl.Dense(ones(2, 3), ones(2)), "Dense: b has shape (2,), expected (3,)"),
    "activation": (lambda: dense(activation="tan"), "Dense: activation takes one of tanh, sigmoid"),
    "alpha without use": (lambda: dense(activation="relu", alpha=0.1), "Dense: alpha=0.1 was given, but relu has no"),
    "alpha below 0": (
        lambda: dense(activation="elu", alpha=-1), "Dense: alpha takes a finite number of at least 0, not -1",
    ),
    "alpha that is a word": (lambda: dense(activation="leaky_relu", alpha=True), "at least 0, not True"),
    "U of no LSTM": (
        lambda: fl.LSTM(ones(3, 8), ones(2, 6)), "LSTM: U has shape (2, 6), expected (H, 4H) with H units",
    ),
    "W of other units": (
        lambda: fl.LSTM(ones(3, 4), ones(2, 8), name="low"),
        "LSTM 'low': W has shape (3, 4), expected (D, 8) since U has 2 units",
    ),
    "sequences as number": (
        lambda: lstm(return_sequences=1), "LSTM: return_sequences takes True or False, not 1",
    ),
    "gate": (lambda: lstm(recurrent_activation="softmax"), "LSTM: recurrent_activation takes one of tanh, sigmoid"),
    "GRU's bias": (
        lambda: fl.GRU(ones(3, 6), ones(2, 6), ones(6), reset_after=True),
        "GRU: b has shape (6,), expected (2, 6), biases of W and of U: reset_after=True has both",
    ),
    "reset_after": (lambda: gru(reset_after="yes"), "GRU: reset_after takes True or False, not 'yes'"),
    "backward Dense": (
        lambda: fl.Bidirectional(lstm(), dense()), "Bidirectional: backward must be an LSTM or a GRU, not Dense",
    ),
    "two kinds": (
        lambda: fl.Bidirectional(lstm(), gru()),
        "Bidirectional: takes two layers of one kind, not LSTM forward and GRU backward",
    ),
    "two widths": (
        lambda: fl.Bidirectional(lstm(), lstm(units=3), name="both"),
        "Bidirectional 'both': units of the two LSTMs differ: 2 forward, 3 backward",
    ),
    "forward that goes backwards": (
        lambda: fl.Bidirectional(lstm(go_backwards=True), lstm()),
        "Bidirectional: the forward LSTM has go_backwards=True; give it as the backward one",
    ),
    "merge_mode": (
        lambda: fl.Bidirectional(lstm(), lstm(), "mul"), "merge_mode takes one of concat, sum, ave, not 'mul'",
    ),
    "rate": (lambda: fl.Dropout(1), "Dropout: rate takes a number from 0 to below 1, not 1"),
    "mask": (lambda: fl.Masking(np.nan), "Masking: value takes a finite number, not nan"),
}  # fmt: skip

NETWORKS = {
    "a layer alone": (lambda: fl.Network(dense()), "Network takes a list of layers, not Dense"),
    "a number": (lambda: fl.Network(3), "Network takes a list of layers, not int"),
    "no layers": (lambda: fl.Network([]), "no layer with weights was given, expected at least one LSTM, GRU or Dense"),
    "a text among layers": (lambda: net(lstm(), "Dense"), "Network: layer 1 is str, expected fastlrp's LSTM, GRU,"),
    "Masking above": (
        lambda: net(lstm(return_sequences=True), fl.Masking(), lstm(2), dense()),
        "Network: layer 1 (Masking) stands above layer 0 (LSTM), but the network's input alone shows which steps are",
    ),
    "widths": (
        lambda: net(lstm(), dense(5)), "Network: layer 1 (Dense) takes 5 inputs, but layer 0 (LSTM) below it gives 2",
    ),
    "fewer inputs": (
        lambda: net(lstm(units=4), dense(3)), "layer 1 (Dense) takes 3 inputs, but layer 0 (LSTM) below it gives 4",
    ),
    "widths with static": (
        lambda: net(lstm(), dense(2), static=1),
        "layer 1 (Dense) takes 2 inputs, but layer 0 (LSTM) below it gives 2 and 1 static feature joins it",
    ),
    "the last step alone": (
        lambda: net(lstm(name="low"), lstm(2, name="high"), dense()),
        "Network: layer 1 (LSTM 'high') needs a sequence, but the recurrent layer below it gives only its last step: "
        "set return_sequences=True there",
    ),
    "softmax inside": (
        lambda: net(lstm(), dense(2, 2, activation="softmax"), dense()),
        "Network: layer 1 (Dense) has softmax, which only the last layer may have",
    ),
    "a sequence beside Masking": (
        lambda: net(fl.Masking(), lstm(return_sequences=True), dense()),
        "Network: the output is a sequence, which is not explained beside Masking",
    ),
    "a sequence beside static": (
        lambda: net(lstm(return_sequences=True), dense(3), static=1), "which is not explained beside static features",
    ),
    "Masking alone": (lambda: net(fl.Masking(), dense()), "Masking skips steps of recurrent layers, of which there is"),
    "static with no Dense": (lambda: net(lstm(), static=1), "in front of a Dense layer above it, and there is none"),
    "static with no LSTM": (lambda: net(dense(), static=1), "in front of a Dense layer above it, and there is none"),
    "a negative number of static": (
        lambda: net(static=-1), "Network(static=...) takes a number of static features, or their names, not -1",
    ),
    "static as a text": (lambda: net(static="size"), "takes a list of names, or the number of static features, not"),
    "static named as a feature": (
        lambda: net(lstm(), dense(3), features=list("abc"), static=["b"]),
        "Network(static=...) names 'b', which is one of its features, too",
    ),
    "names without an order": (
        lambda: net(features={"a", "b", "c"}), "features=...) takes a list of names, not a set, which has no order",
    ),
    "names as a text": (lambda: net(features="abc"), "Network(features=...) takes a list of names, not 'abc'"),
    "names as a number": (lambda: net(outputs=1), "Network(outputs=...) takes a list of names, not 1"),
    "too few names": (
        lambda: net(features=["a", "b"]), "Network(features=...) has 2 names, expected 3: one for each input of its",
    ),
    "a name twice": (lambda: net(features=["a", "b", "a"]), "Network(features=...) names 'a' twice"),
    "steps": (lambda: net(steps=0), "steps"),
    "steps of Dense layers": (
        lambda: net(dense(), steps=3), "Network(steps=3) was given, but without a recurrent layer a window is one step",
    ),
    "a name that moves": (
        lambda: net(features=list("abc")).with_features(list("acb")),
        "features: input 1 would be called 'c', which is the network's input 2",
    ),
}  # fmt: skip

A = net()
ENSEMBLES = {
    "a network": (lambda: fl.Ensemble(A), "Ensemble takes a list of networks, not Network"),
    "one": (lambda: fl.Ensemble([A]), "Ensemble takes at least two networks, not 1"),
    "a text": (lambda: fl.Ensemble([A, "b.h5"]), "Ensemble: member 1 is str, expected a fastlrp.Network"),
    "an ensemble in it": (
        lambda: fl.Ensemble([fl.Ensemble([A, A]), A]), "Ensemble: member 0 is an Ensemble: give its .networks",
    ),
    "features": (
        lambda: fl.Ensemble([A, net(lstm(4), dense())]), "member 1 has 4 features, but member 0 has 3 features",
    ),
    "outputs": (lambda: fl.Ensemble([A, net(lstm(), dense(2, 2))]), "member 1 has 2 outputs, but member 0 has 1"),
    "outputs at steps": (
        lambda: fl.Ensemble([A, net(lstm(return_sequences=True), dense())]), "member 1 has 1 output at every step, but",
    ),
    "steps": (
        lambda: fl.Ensemble([net(steps=4), A]), "member 1 has windows of any length, but member 0 has windows of 4",
    ),
    "none recurrent": (
        lambda: fl.Ensemble([A, net(dense(3))]), "member 1 has no recurrent layer, but member 0 has windows of any",
    ),
    "names on one side": (
        lambda: fl.Ensemble([A, net(features=list("abc"))]),
        "member 1 has names for its features, but member 0 has none: members must agree",
    ),
    "other names": (
        lambda: fl.Ensemble([net(features=list("abc")), net(features=list("abd"))]),
        "features[2] is 'd' in member 1, but 'c' in member 0: members must have the same names in the same order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", [*LAYERS.values(), *NETWORKS.values(), *ENSEMBLES.values()],
                         ids=[*LAYERS, *NETWORKS, *(f"ensemble, {name}" for name in ENSEMBLES)])  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(case):
    make, sentence = case
    with pytest.raises(ValueError, match=re.escape(sentence)) as said:
        make()
    assert "\n" not in str(said.value)


def test_networks_are_equal_where_all_that_makes_them_is():
    one = {"steps": 4, "features": list("abc"), "outputs": ["y"], "name": "n"}
    assert net(**one) == net(**one)
    for key, other in (("steps", 5), ("features", list("abd")), ("outputs", ["z"]), ("name", "m")):
        assert net(**one) != net(**{**one, key: other}), key
    assert net() != net(lstm(), dense(activation="tanh"))
    assert net() != "a network"
    assert fl.Ensemble([A, A]) == fl.Ensemble([net(), net()])
    assert fl.Ensemble([A, A]) != [A, A]


def test_names_come_and_go():
    named = net(lstm(), dense(4), static=2).with_columns(["a", "b", "c", "s", "t"])
    assert (named.features, named.static) == (("a", "b", "c"), ("s", "t"))
    assert named.columns == ("a", "b", "c", "s", "t")
    assert named.with_features(None).columns is None
    assert named.with_features(None).with_features(list("cba")).features == ("c", "b", "a")
    with pytest.raises(ValueError, match="static"):
        named.with_static(["t", "s"])
