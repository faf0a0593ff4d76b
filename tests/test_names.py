"""Names of inputs: columns are found by name in any order, and those taken by position are reported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastlrp as fl

NAMES = ["beta", "mom12m", "size"]
BY_POSITION = "  columns were taken by position: the network has no names (net.with_features([...]))"


def net(features=None, **options):
    """Three inputs of very different weights, so that columns in another order cannot go unnoticed."""
    rng = np.random.default_rng(3)
    W = rng.normal(size=(3, 8)) * [[0.1], [1], [2]]
    head = fl.Dense(rng.normal(size=(2, options.pop("n_outputs", 1))))
    return fl.Network([fl.LSTM(W, rng.normal(size=(2, 8))), head], steps=2, features=features, name="three", **options)


@pytest.fixture(scope="module")
def panel():
    index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=4, freq="M"), list("ab")])
    return pd.DataFrame(np.random.default_rng(4).normal(size=(8, 3)), index, NAMES)


# ------------------------------------------------------------------------------------------------------ with_features


def test_with_features_is_the_same_network_with_names():
    bare = net(outputs=["up"])
    named = bare.with_features(NAMES)
    assert bare.features is None
    assert named == net(NAMES, outputs=["up"])
    assert (named.features, named.outputs, named.steps, named.name) == (tuple(NAMES), ("up",), 2, "three")
    assert all(one is other for one, other in zip(bare, named, strict=True))
    assert named.with_features(None) == bare
    assert named.with_features(pd.Index(NAMES)) == named
    assert bare.with_features([1, 2, 3]).features == ("1", "2", "3")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (["beta", "size"], "features has 2 names, expected 3: one for each input of the network"),
        (["a", "b", "a"], "features names 'a' twice"),
        ("abc", "features takes a list of names, not 'abc'"),
        (3, "features takes a list of names, not 3"),
        ({"a", "b", "c"}, "features takes a list of names, not a set, which has no order"),
    ],
)
def test_with_features_refuses_what_are_no_names_of_its_inputs(features, words):
    with pytest.raises(ValueError, match=words):
        net().with_features(features)


def test_names_cannot_put_inputs_in_another_order():
    """Passing a panel's columns in another order would give wrong results silently."""
    named = net(NAMES)
    with pytest.raises(
        ValueError, match=r"input 0 would be called 'size', which is the network's input 2: names stand"
    ):
        named.with_features(["size", "mom12m", "beta"])
    with pytest.raises(ValueError, match="input 2 would be called 'beta'"):
        named.with_features(["b", "mom", "beta"])
    assert named.with_features(["beta", "momentum", "log size"]).features == ("beta", "momentum", "log size")
    assert named.with_features(None).with_features(NAMES[::-1]).features == tuple(NAMES[::-1])


# ------------------------------------------------------------------------------------------------------------- frames


def test_a_named_network_finds_columns_by_name(panel):
    named, want = net(NAMES), net().predict(panel)
    shuffled = panel[["size", "beta", "mom12m"]].assign(ret_next=0.0)
    assert_array_equal(named.predict(shuffled), want)
    rel, by_place = named.explain(shuffled), net().explain(panel)
    assert rel.features == tuple(NAMES)
    assert_array_equal(rel.values, by_place.values)
    assert_array_equal(rel.prediction, want)
    wrong = net().predict(panel[["size", "beta", "mom12m"]])
    assert abs(wrong - want).max() > 0.01  # so a result says when columns were taken by position


def test_a_missing_name_is_refused_and_only_spare_columns_are_suggested(panel):
    renamed = panel.rename(columns={"mom12m": "mom6m"}).assign(mom12=0.0)
    for call in (net(NAMES).predict, net(NAMES).explain):
        with pytest.raises(ValueError, match=r"lacks 1 of 3 features: 'mom12m' \(did you mean 'mom12'\?\)$"):
            call(renamed)
        with pytest.raises(ValueError, match=r"lacks 1 of 3 features: 'beta'$"):
            call(panel.drop(columns="beta"))


@pytest.mark.parametrize("reduce", [None, "steps"])
def test_a_summary_says_once_that_columns_were_taken_by_position(panel, reduce):
    rel = net().explain(panel, reduce=reduce)
    assert rel.by_position
    assert rel.summary().splitlines().count(BY_POSITION) == 1
    assert BY_POSITION in rel[:4].summary()
    nothing = net().explain(panel.iloc[:2], reduce=reduce)
    assert BY_POSITION in nothing.summary()


def test_nothing_is_said_where_names_are_known_or_there_are_no_columns(panel):
    X = panel.to_numpy().reshape(4, 2, 3).transpose(1, 0, 2)[:, :2]
    for rel in (net(NAMES).explain(panel), net().explain(X), net(NAMES).explain(X)):
        assert not rel.by_position
        assert "by position" not in rel.summary()


# --------------------------------------------------------------------------------------------------------- estimators


def test_an_estimators_network_carries_the_panels_names_into_the_file(panel, tmp_path):
    y = panel.sum(axis=1).rename("y")
    model = fl.LSTMRegressor(units=(2,), steps=2, max_iter=1, random_state=0).fit(panel, y.to_frame())
    for name in ("model.h5", "model.keras"):
        fl.write_keras(model.network_, tmp_path / name)
        read = fl.read_keras(tmp_path / name)
        assert (read.features, read.outputs) == (tuple(NAMES), ("y",))
        want = model.predict(panel)["y"]
        assert_allclose(read.predict(panel[NAMES[::-1]], dtype="float32"), want, rtol=0, atol=1e-6 * want.abs().max())


def test_an_estimator_fitted_on_arrays_says_that_a_panel_is_taken_by_position(panel):
    rng = np.random.default_rng(0)
    model = fl.LSTMRegressor(units=(2,), max_iter=1, random_state=0).fit(rng.normal(size=(9, 2, 3)), rng.normal(size=9))
    assert model.network_.features is None
    assert BY_POSITION in model.explain(panel).summary()
    assert BY_POSITION not in model.set_params(steps=1).fit(panel, panel.sum(axis=1)).explain(panel).summary()
