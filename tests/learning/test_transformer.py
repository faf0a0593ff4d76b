"""LRPTransformer: relevance as features, from networks and estimators, in scikit-learn's tools."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastlrp as fl
from fastlrp import LSTM, Arras, Dense, Network
from fastlrp.data import load_model, load_panel
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.transformer import LRPTransformer

SMALL = LSTMRegressor(units=(3,), max_iter=3, n_iter_no_change=3, batch_size=128, dtype="float64", random_state=0)


@pytest.mark.filterwarnings("ignore:rule 'rudder' leaves", "ignore:y is constant")
@parametrize_with_checks(
    [LRPTransformer(SMALL), LRPTransformer(SMALL, "rudder", by="step"), LRPTransformer(SMALL, by="both")]
)
def test_scikit_learn_suite(estimator, check):
    check(estimator)


@pytest.fixture
def net(rng) -> Network:
    W, U, b = rng.standard_normal((3, 16)), rng.standard_normal((4, 16)), rng.standard_normal(16)
    return Network([LSTM(W, U, b), Dense(rng.standard_normal((4, 2)))], steps=5, outputs=["low", "high"])


@pytest.mark.parametrize("by", ["feature", "step", "both"])
@pytest.mark.parametrize("flat", [False, True])
def test_arrays(net, rng, by, flat):
    X = rng.standard_normal((7, 5, 3))
    relevance = net.explain(X, rule=Arras(eps=0.01), target="high").values
    expected = {"feature": relevance.sum(1), "step": relevance.sum(2), "both": relevance.reshape(7, 15)}[by]
    transformer = LRPTransformer(net, Arras(eps=0.01), by=by, target="high")
    given = X.reshape(7, 15) if flat else X
    out = transformer.fit(given).transform(given)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-12 * abs(expected).max())
    names = {"feature": ["x0", "x1", "x2"], "step": ["lag4", "lag3", "lag2", "lag1", "lag0"]}
    if by == "both":
        first = "x0" if flat else "lag4_x0"
        assert (transformer.get_feature_names_out()[0], len(transformer.get_feature_names_out())) == (first, 15)
    else:
        assert list(transformer.get_feature_names_out()) == names[by]


def test_panel_and_network():
    panel, net = load_panel().iloc[-400:], load_model()
    transformer = LRPTransformer(net).fit(panel)
    out = transformer.transform(panel)
    pd.testing.assert_index_equal(out.index, panel.index)
    assert list(out.columns) == list(panel.columns) == list(transformer.get_feature_names_out())
    assert_array_equal(out.to_numpy(), net.explain(panel, reduce="steps").values)
    assert out.isna().all(axis=1).sum() == 20 * 11
    again = LRPTransformer(net, by="both").set_output(transform="pandas").fit_transform(panel)
    assert list(again.columns[:2]) == ["lag11_mom1m", "lag11_mom6m"]


def test_set_output_of_arrays(net, rng):
    X = rng.standard_normal((7, 15))
    out = LRPTransformer(net, target=0, by="step").set_output(transform="pandas").fit_transform(X)
    assert list(out.columns) == ["lag4", "lag3", "lag2", "lag1", "lag0"]


def test_estimators_are_cloned_and_networks_kept(rng):
    X, y = rng.standard_normal((40, 6)), rng.standard_normal(40)
    base = clone(SMALL).set_params(steps=2)
    transformer = LRPTransformer(base).fit(X, y)
    assert not hasattr(base, "network_")
    base.fit(X, y)
    expected = transformer.transform(X)
    for one in (LRPTransformer(FrozenEstimator(base)), LRPTransformer(base.network_)):
        np.testing.assert_allclose(clone(one).fit(X).transform(X), expected, rtol=0, atol=1e-12 * abs(expected).max())


def test_in_pipelines(rng):
    X = rng.standard_normal((60, 6))
    y = X[:, 0] + X[:, 4]
    both = FeatureUnion([("lrp", LRPTransformer(clone(SMALL).set_params(steps=2))), ("raw", FunctionTransformer())])
    pipe = make_pipeline(both, LinearRegression())
    assert np.isfinite(cross_val_score(pipe, X, y, cv=3, error_score="raise")).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": LinearRegression()}, "an estimator with fit and explain .* not LinearRegression"),
        ({"by": "unit"}, r"LRPTransformer\(by=...\) takes 'feature', 'step' or 'both', not 'unit'"),
        ({"steps": 4}, r"LRPTransformer\(steps=4\) was given, but the network takes 5 steps"),
        ({"target": None}, "the network has 2 outputs: choose the one to explain with target="),
        ({"rule": "ig"}, "rule= takes 'arras' or 'rudder'"),
    ],
)
def test_bad_parameters(net, rng, changes, message):
    given = {"estimator": net, "target": "low", **changes}
    with pytest.raises(ValueError, match=message):
        LRPTransformer(**given).fit_transform(rng.standard_normal((7, 5, 3)))


def test_bad_data(net, rng):
    with pytest.raises(ValueError, match="X has 2 features a step, but the network takes 3"):
        LRPTransformer(net, target=0).fit(rng.standard_normal((7, 5, 2)))
    with pytest.raises(ValueError, match="X has 4 steps, expected steps=5"):
        LRPTransformer(net, target=0).fit(rng.standard_normal((7, 4, 3)))
    with pytest.raises(ValueError, match="X has 14 columns, which steps=5 does not divide"):
        LRPTransformer(net, target=0).fit(rng.standard_normal((7, 14)))


def test_a_networks_columns_are_found_by_name_however_they_stand(rng):
    """Names of the network, or those of the first panel."""
    months, names = pd.period_range("2000-01", periods=6, freq="M"), ["a", "b", "c"]
    index = pd.MultiIndex.from_product([months, ["X", "Y"]], names=["month", "stock"])
    panel = pd.DataFrame(rng.normal(size=(12, 3)), index, names)
    W, U, V = (rng.normal(size=shape) for shape in ((3, 16), (4, 16), (4, 1)))
    nameless = fl.Network([fl.LSTM(W, U), fl.Dense(V)], steps=2)
    named = nameless.with_features(names)
    for net in (nameless, named):
        fitted = LRPTransformer(net).fit(panel)
        want = fitted.transform(panel)
        assert list(want.columns) == names
        pd.testing.assert_frame_equal(fitted.transform(panel[["c", "a", "b"]]), want)
    beside = panel.assign(sector="x", spare=np.inf)
    pd.testing.assert_frame_equal(LRPTransformer(named).fit(beside).transform(beside), want)
    single = fl.Network([fl.LSTM(W, U), fl.Dense(V)], steps=1, features=names)
    flat = panel.reset_index(drop=True)
    assert LRPTransformer(single).fit(flat).transform(flat).shape == (12, 3)
    with pytest.raises(ValueError, match="X's columns are not the network's inputs in their order, a, b, c"):
        LRPTransformer(single).fit(flat[["c", "a", "b"]])
