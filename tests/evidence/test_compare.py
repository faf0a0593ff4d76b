"""Comparisons of explanations against loops over samples, and of networks on which rules must agree."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from helpers import close
from scipy.stats import spearmanr
from test_faithfulness import EXACT, D, H, T, linear, network, panel_of

import fastlrp as fl
from fastlrp.evidence import samples as sampled

RULES = ["arras", fl.Arras(recurrent=False), "rudder", "gradient_x_input", fl.IntegratedGradients(8)]
NAMES = ["arras", "arras, recurrent=False", "rudder", "gradient_x_input", "integrated_gradients, n_steps=8"]
pytestmark = pytest.mark.filterwarnings("ignore:rule '")  # explain's, of what is unattributed


def by_hand(one, other, top):
    """A row of the table but its number of samples, sample by sample."""
    rank, largest, sign = [], [], []
    for a, b in zip(one, other, strict=True):
        rank.append(spearmanr(a, b).statistic)
        first, second = (set(sorted(range(len(r)), key=lambda j, r=r: -abs(r[j]))[:top]) for r in (a, b))
        largest.append(len(first & second) / top)
        counted = [np.sign(p) == np.sign(q) for p, q in zip(a, b, strict=True) if p or q]
        sign.append(np.mean(counted))
    shares = [np.mean([abs(r) / abs(r).sum() for r in rows], axis=0) for rows in (one, other)]
    return [np.mean(rank), np.std(rank, ddof=1), spearmanr(*shares).statistic, np.mean(largest), np.mean(sign)]


@pytest.mark.parametrize("by", ["feature", "cell"])
def test_every_pair_is_as_the_loops_say(rng, monkeypatch, by):
    """A panel with gaps and missing values, cut into blocks; one feature is zero throughout, so that there are ties."""
    monkeypatch.setattr(sampled, "_BYTES", 8 * 5 * 7 * T * D * 8)
    net, _ = network(rng)
    panel = panel_of(rng)
    panel["c"] = panel["c"].where(panel["c"].isna(), 0.0)
    found = fl.compare(net, panel, RULES, by=by, top=3)
    units = {}
    for name, rule in zip(NAMES, RULES, strict=True):
        rel = net.explain(panel, rule=rule)
        rel = rel[~rel.missing]
        units[name] = rel.values.sum(axis=1) if by == "feature" else rel.values.reshape(len(rel), -1)
        share = np.mean([abs(r) / abs(r).sum() for r in units[name]], axis=0)
        close(found.shares[name], share, 1e-12)
        close(found.unattributed[name], np.median(abs(rel.unattributed / rel.score)), 1e-9)
    assert list(found.table.index) == [(one, other) for k, one in enumerate(NAMES) for other in NAMES[k + 1 :]]
    assert set(found.table["samples"]) == {len(rel)}
    for pair, row in found.table.drop(columns="samples").iterrows():
        close(row, by_hand(units[pair[0]], units[pair[1]], 3), 1e-9)
    if by == "cell":
        assert list(found.shares.index[:2]) == [(T - 1, "a"), (T - 1, "b")]
    square = found.matrix("top")
    assert list(square) == NAMES
    assert square.equals(square.T)
    assert square.loc[NAMES[1], NAMES[3]] == found.table["top"][NAMES[1], NAMES[3]]


def test_rules_agree_on_a_linear_network_and_networks_are_set_side_by_side(rng):
    """Every rule gives w x of a linear network; with the opposite weights all ranks and signs are reversed."""
    w, X = np.array([2.0, -1.0, 0.5, 0.1]), rng.normal(size=(40, T, D))
    nets = {"seed 0": linear(w), "seed 1": linear(-w)}
    found = fl.compare(nets, X, [EXACT, "gradient_x_input"], top=2)
    first, second = "arras, eps=1e-12, stabilizer=absorbed", "gradient_x_input"
    assert list(found.shares) == [f"{net}: {rule}" for net in nets for rule in (first, second)]
    own, others = found.matrix("spearman"), found.matrix("sign")
    close(own.loc[f"seed 0: {first}"], [1, 1, -1, -1], 1e-12)
    close(others.loc[f"seed 0: {first}"], [1, 1, 0, 0], 1e-12)
    close(found.table["top"], np.ones(6), 1e-12)
    close(found.unattributed, np.zeros(4), 1e-9, 1.0)


def test_shap_gives_the_contributions_of_a_linear_network(rng):
    pytest.importorskip("shap", reason="the extra fastlrp[shap] is not installed")
    w, X = np.array([2.0, -1.0, 0.5, 0.1]), 3 + rng.normal(size=(60, 2, D))
    net = linear(w, steps=2)
    truth = fl.IntegratedGradients(1, X.mean(axis=0))
    found = fl.compare(net, X, [truth, "gradient_x_input", "shap"], by="cell", random_state=0)
    assert list(found.table["samples"]) == [60, 50, 50]
    row = found.table.loc["integrated_gradients, n_steps=1, baseline=an array (2, 4)", "shap"]
    close(row[["spearman", "share_spearman", "top", "sign"]], np.ones(4), 1e-12)
    assert found.table.loc[("gradient_x_input", "shap"), "spearman"] < 0.9
    assert np.isnan(found.unattributed["shap"])


def test_some_samples_are_drawn_and_constant_relevance_has_no_rank(rng):
    net, _ = network(rng)
    X = rng.normal(size=(30, T, D))
    few = fl.compare(net, X, ["arras", "rudder"], n_samples=7, random_state=0)
    again = fl.compare(net, X, ["arras", "rudder"], n_samples=7, random_state=0)
    assert set(few.table["samples"]) == {7}
    pd.testing.assert_frame_equal(few.table, again.table)
    nothing = fl.compare(linear(np.zeros(D)), X, [EXACT, "gradient_x_input"], top=1).table
    assert nothing[["spearman", "share_spearman", "sign"]].isna().all(axis=None)


def test_the_picture_has_a_number_for_every_pair(rng):
    net, _ = network(rng)
    found = fl.compare(net, rng.normal(size=(9, T, D)), RULES[:3], top=2)
    axes = found.plot("sign").axes[0]
    numbers = found.matrix("sign").to_numpy().ravel()
    assert [text.get_text() for text in axes.texts[:9]] == [f"{number:.2f}" for number in numbers]
    assert axes.get_yticklabels()[1].get_text() == "arras, recurrent=False   2"
    assert "2 largest" in found.plot("top").axes[0].get_title(loc="left")
    assert "2 largest" in repr(found)


def test_what_does_not_fit_is_refused_in_a_sentence(rng, monkeypatch):
    net, _ = network(rng)
    X = rng.normal(size=(6, T, D))
    other = fl.Network([fl.LSTM(rng.normal(size=(3, 4 * H)), rng.normal(size=(H, 4 * H))), fl.Dense(np.ones((H, 1)))])
    calls = [
        ({"rules": "arras"}, r"compare\(rules=...\) takes a list of rules, not 'arras'"),
        ({"rules": ["arras"]}, r"compare takes at least two explanations, rules or networks, not 1: \['arras'\]"),
        ({"rules": ["arras", fl.Arras()]}, "compare was given 'arras' twice"),
        ({"rules": ["arras", "lime"]}, "rule= takes 'arras' or"),
        ({"net": {}}, "compare was given no network"),
        ({"net": {"a": net, "b": other}}, "compare: network 'b' has 3 features, but network 'a' has 4 features"),
        ({"net": "model.h5"}, "expected a fastlrp.Network, not str"),
        ({"top": 5}, "top=5 was given, but a sample has 4 features"),
        ({"by": "cell", "top": 13}, "top=13 was given, but a sample has 12 cells"),
        ({"by": "both"}, "by= takes 'feature' or 'cell', not 'both'"),
        ({"rules": ["arras", fl.IntegratedGradients(1, [0.0])]}, r"baseline=...\) has shape \(1,\)"),
        ({"target": "up"}, "target='up' is not an output"),
        ({"X": X[..., :2]}, "X has 2 features, expected 4 features"),
    ]  # fmt: skip
    for given, words in calls:
        with pytest.raises(ValueError, match=words):
            fl.compare(**{"net": net, "X": X, "top": 2, **given})
    with pytest.raises(ValueError, match=r"statistic= takes 'spearman', .* or 'sign', not 'kendall'"):
        fl.compare(net, X, ["arras", "rudder"], top=2).matrix("kendall")
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ImportError, match="the rule 'shap' needs the package shap: pip install shap"):
        fl.compare(net, X, ["arras", "shap"], top=2)
