"""Estimators with static features: columns of a panel of which a window has one value, that of its last month."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import close, same_bits
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import fastlrp as fl

T = 3
NAMES = ["beta", "mom", "bm"]
STATIC = ["tech", "log_size"]


def panel_of(rng, n_assets=20, n_months=24):
    months = pd.period_range("2000-01", periods=n_months, freq="M")
    index = pd.MultiIndex.from_product([[f"A{k}" for k in range(n_assets)], months], names=["asset", "month"])
    return pd.DataFrame(rng.normal(size=(len(index), 5)), index, ["log_size", "bm", "tech", "mom", "beta"])


def target_of(panel):
    return panel["log_size"] * 0.7 - 0.4 * panel["tech"] + 0.2 * panel["beta"]


def model_of(**options):
    given = {"units": (4,), "steps": T, "static": STATIC, "max_iter": 30, "learning_rate_init": 0.02, "tol": 0.0,
             "n_iter_no_change": 30, "random_state": 0, "dtype": "float64"}  # fmt: skip
    return fl.LSTMRegressor(**{**given, **options})


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def test_it_learns_what_static_features_say(rng):
    panel = panel_of(rng)
    y = target_of(panel)
    model = model_of().fit(panel, y)
    net = model.network_
    assert (net.features, net.static) == (("bm", "mom", "beta"), tuple(STATIC))
    assert (model.n_features_in_, list(model.feature_names_in_)) == (5, ["bm", "mom", "beta", *STATIC])
    assert model.score(panel, y) > 0.9
    relevance = model.explain(panel)
    assert relevance.static_features == tuple(STATIC)
    assert relevance.reconcile().relative_worst < 1e-11
    shares = relevance.share().mean()
    assert shares[STATIC].sum() > shares[NAMES].sum()
    close(net.predict(panel.sample(frac=1, random_state=1)).reindex(panel.index), model.predict(panel), 1e-12)


def test_a_static_value_of_an_earlier_month_does_not_matter(rng):
    panel = panel_of(rng)
    y = target_of(panel)
    model = model_of(max_iter=3).fit(panel, y)
    holes = panel.copy()
    first = holes.groupby(level="asset").cumcount() < T - 1
    holes.loc[first, STATIC] = np.nan
    other = model_of(max_iter=3).fit(holes, y)
    for one, two in zip(model.network_, other.network_, strict=True):
        for a, b in zip(one.arrays, two.arrays, strict=True):
            same_bits(a, b)
    assert other.n_windows_ == model.n_windows_
    holes.iloc[T + 2, 0] = np.nan
    fewer = model_of(max_iter=1, early_stopping=True).fit(holes, y)
    assert fewer.n_windows_ == model.n_windows_ - 1
    assert fewer.predict(holes).isna().sum() == first.sum() + 1


def test_a_network_brings_its_own(rng):
    panel = panel_of(rng)
    y = target_of(panel)
    trained = model_of(max_iter=2).fit(panel, y).network_
    again = model_of(static=None, units=(9,), network=trained, max_iter=1).fit(panel, y).network_
    assert (again.static, again.n_static) == (tuple(STATIC), 2)
    unnamed = trained.with_static(None).with_features(None)
    named = model_of(network=unnamed, max_iter=1).fit(panel, y).network_
    assert named.static == tuple(STATIC)
    for bad, words in (
        ({"network": unnamed, "static": None}, "2 static features without names"),
        ({"network": trained, "static": ["a", "b"]}, r"names a, b, but its network has 2 static features \(tech"),
        ({"network": trained, "static": ["tech"]}, "names tech, but its network has 2"),
        ({"static": "tech"}, "takes a list of names"),
        ({"static": 2}, "takes a list of names, not 2"),
        ({"static": ["tech", "tech"]}, "names 'tech' twice"),
        ({"static": ["tech", "size"]}, "lacks 1 of 6 features: 'size'|lacks 1 of"),
    ):
        with pytest.raises(ValueError, match=words):
            model_of(**bad).fit(panel, y)


def test_members_dropout_and_copies(rng):
    panel = panel_of(rng)
    y = target_of(panel)
    model = model_of(n_members=3, dropout=0.2, bidirectional=True, dense_units=(5,), max_iter=2).fit(panel, y)
    copy = pickle.loads(pickle.dumps(model))
    assert copy.network_ == model.network_
    same_bits(copy.explain(panel).static, model.explain(panel).static)
    assert clone(model).static == STATIC
    more = model.set_params(warm_start=True, max_iter=1).fit(panel, y)
    assert more.network_[0].static == tuple(STATIC)
    assert model.partial_fit(panel, y).network_.n_static == 2


def test_what_is_not_there_yet_is_refused_in_a_sentence(rng, tmp_path):
    panel = panel_of(rng)
    y = target_of(panel)
    with pytest.raises(ValueError, match=r"has static features, tech, log_size, which are columns of a panel.*ndarray"):
        model_of().fit(rng.normal(size=(9, T, 5)), np.zeros(9))
    with pytest.raises(ValueError, match="fit_file does not train with static features"):
        model_of().fit_file(tmp_path / "panel.parquet", "y")
    with pytest.raises(ValueError, match="fit_file does not train with static features"):
        fl.RollingLSTM(model_of(), window=12).fit_file(tmp_path / "panel.parquet", "y")
    model = model_of(max_iter=1).fit(panel, y)
    for one in (model.network_, model_of(max_iter=1)):
        with pytest.raises(ValueError, match="LRPTransformer does not take networks with static features"):
            fl.LRPTransformer(one).fit(panel, y)


@pytest.mark.parametrize("members", [1, 2])
def test_rolling_fits_scale_them_and_look_at_nothing_to_come(members, rng):
    panel = panel_of(rng)
    y = target_of(panel)
    panel.iloc[30, 0] = np.nan
    model = fl.RollingLSTM(model_of(max_iter=2, n_members=members), window=12, step=4).fit(panel, y)
    predicted, relevance = model.predict(panel), model.explain(panel)
    columns = ["bm", "mom", "beta", *STATIC]
    assert relevance.inputs == tuple(columns)
    assert relevance.reconcile().relative_worst < 1e-11
    month = np.asarray(panel.index.codes[1])
    for k, net in enumerate(model.networks_):
        scaled = (panel[columns] - model.centers_[k]) / model.scales_[k]
        mine = (month >= 12 + 4 * k) & (month < 16 + 4 * k if k < len(model.networks_) - 1 else month >= 0)
        close(predicted[mine].to_numpy(), np.asarray(net.predict(scaled))[mine], 1e-10)
        want = net.explain(scaled)
        close(relevance.static[mine], want.static[mine], 1e-9)
        close(relevance.values[mine], want.values[mine], 1e-9)
        seen = panel[columns][(month >= 4 * k) & (month < 12 + 4 * k)]
        close(model.centers_[k], seen.mean().to_numpy(), 1e-12, 1.0)
    changed = panel.copy()
    changed.loc[month >= 16, STATIC] += 5.0
    other = fl.RollingLSTM(model_of(max_iter=2, n_members=members), window=12, step=4).fit(changed, y)
    same_bits(other.predict(changed)[month < 16].to_numpy(), predicted[month < 16].to_numpy())
    assert not np.allclose(other.predict(changed)[month >= 20], predicted[month >= 20])


def test_a_null_has_them_among_its_features(rng):
    panel = panel_of(rng, 10, 10)
    found = fl.null_relevance(model_of(max_iter=1), panel, target_of(panel), n=2, random_state=0)
    assert list(found.actual.index) == ["bm", "mom", "beta", *STATIC]
    assert found.actual.sum() == pytest.approx(1.0)
