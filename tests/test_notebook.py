"""What notebooks show: shares as bars, layers as tables, and fitted networks below scikit-learn's own display."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastlrp as fl
from fastlrp.learning.notebook import ShowsFit

HOSTILE = '<img src=x onerror="alert(1)">'


def network(name="plain", features=None, units=3):
    rng = np.random.default_rng(units)
    D = 2 if features is None else len(features)
    lstm = fl.LSTM(rng.normal(size=(D, 4 * units)), rng.normal(size=(units, 4 * units)), rng.normal(size=4 * units))
    return fl.Network([lstm, fl.Dropout(0.2), fl.Dense(np.ones((units, 1)))], steps=5, features=features, name=name)


def result(**changes):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 3, 12)).astype(np.float32) * np.arange(1, 13)
    lost = rng.normal(size=50)
    score = values.sum(axis=(1, 2), dtype=np.float64) + lost
    given = {"values": values, "prediction": score, "score": score, "initial_state": 0 * lost, "unattributed": lost}
    return fl.Relevance(**given | {"rule": fl.Arras(), "steps": 3} | changes)


class Balanced(HTMLParser):
    """Whether each tag is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("br", "img", "input", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag


def tags(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser.tags


def cells(page):
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_bars_are_as_long_as_mean_shares():
    rel = result()
    page = rel._repr_html_()
    share = rel.share().mean().sort_values(ascending=False)
    found = re.findall(r'<span>(x\d+)</span><span style="[^"]*width:([\d.]+)%"></span><span>([\d.]+) %</span>', page)
    assert [name for name, _, _ in found] == list(share.index[:8])
    np.testing.assert_allclose(
        [float(wide) for _, wide, _ in found], 100 * share[:8] / share.iloc[0], rtol=0, atol=0.06
    )
    np.testing.assert_allclose([float(part) for *_, part in found], 100 * share[:8], rtol=0, atol=0.06)
    assert {"div", "span", "table"} <= tags(page)


def test_totals_say_how_well_they_add_up():
    rel = result()
    bad = rel.score.copy()
    bad[7] += 3
    rows = result(score=bad)
    shown = float(re.search(r"unattributed, to (\S+) of a row's parts at worst", repr(rows))[1])
    assert shown == pytest.approx(rows.reconcile().relative_worst, rel=0.5)
    assert float(re.search(r"unattributed, to (\S+) of", repr(rel))[1]) < 1e-6
    median = 100 * np.median(np.abs(rel.unattributed / rel.score))
    assert f"unattributed is {median:.1f} % of |score| at the median" in rel._repr_html_()


def test_a_network_shows_its_layers():
    net = network(features=[f"f{j}" for j in range(20)])
    page = net._repr_html_()
    assert cells(page) == [
        ["layer", "kind", "output", "activation", "parameters"],
        ["input", "", "(5, 20)", "", ""],
        ["0", "LSTM", "(3,)", "tanh, sigmoid", "288"],
        ["1", "Dropout", "(3,)", "rate 0.2", "0"],
        ["2", "Dense", "(1,)", "linear", f"{net.layers[2].n_params}"],
    ]
    assert f"Network plain: {net.n_params} parameters, float64; 1 output" in page
    assert "inputs: f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11 and 8 more" in page
    assert tags(page) == {"div", "p", "table", "thead", "tbody", "tr", "th", "td"}


def test_an_ensemble_shows_each_kind_of_member_once():
    page = fl.Ensemble([network(), network(), network(units=4)])._repr_html_()
    assert page.count("<table") == 2
    assert "members 0, 1:" in page
    assert "member 2:" in page
    tags(page)


@pytest.mark.parametrize(
    "shown",
    [
        lambda: network(name=HOSTILE, features=[HOSTILE, "b"]),
        lambda: fl.Ensemble([network(name=HOSTILE), network()]),
        lambda: result(features=tuple(f"{HOSTILE}{j}" for j in range(12))),
    ],
)
def test_names_are_text(shown):
    page = shown()._repr_html_()
    assert "<img" not in page
    assert "&lt;img" in page
    tags(page)


# ------------------------------------------------------------------------------------------------------- estimators


def fitted(kind):
    """An estimator as if it were fitted: displays read its networks alone."""
    net = network(name="learnt")
    if kind is fl.RollingLSTM:
        model = fl.RollingLSTM()
        model.networks_, model.windows_ = [net, None], pd.DataFrame({"train_end": range(7), "setting": [HOSTILE] * 7})
    elif kind is fl.LRPTransformer:
        model = fl.LRPTransformer(net)
        model.network_, model.n_features_in_ = net, 2
    else:
        model = fl.LSTMRegressor()
        model._networks, model.n_iter_ = [net], 12
    return model


@pytest.mark.parametrize("kind", [fl.LSTMRegressor, fl.LRPTransformer, fl.RollingLSTM])
def test_a_fitted_estimator_shows_its_network_below_scikit_learns_display(kind):
    model = fitted(kind)
    own = super(ShowsFit, model)._repr_mimebundle_()
    bundle = model._repr_mimebundle_()
    assert set(bundle) == set(own) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == repr(model)
    for page in (bundle["text/html"], model._repr_html_()):
        assert "sk-top-container" in page
        below = page[page.index("Network learnt: ") :]
        assert ["0", "LSTM", "(3,)", "tanh, sigmoid", f"{model_layers(model)[0].n_params}"] in cells(below)
        assert "<img" not in page
    if kind is fl.LSTMRegressor:
        assert "network_, 12 epochs:" in page
    if kind is fl.RollingLSTM:
        assert "7 windows, the last 5, and the network of the last that was fitted:" in page


def model_layers(model):
    return (model.networks_[0] if hasattr(model, "networks_") else model.network_).layers


@pytest.mark.parametrize("model", [fl.LSTMRegressor(), fl.LRPTransformer(network()), fl.RollingLSTM()])
def test_an_estimator_that_is_not_fitted_shows_what_scikit_learn_shows(model):
    page = model._repr_mimebundle_()["text/html"]
    assert "sk-top-container" in page
    assert 'class="dataframe"' not in page
    make_pipeline(StandardScaler(), model)._repr_html_()


def test_as_text_where_scikit_learn_is_told_so():
    from sklearn import config_context

    with config_context(display="text"):
        assert set(fitted(fl.LSTMRegressor)._repr_mimebundle_()) == {"text/plain"}
        assert not hasattr(fitted(fl.LSTMRegressor), "_repr_html_")
