"""Short histories of a panel: min_steps=, against windows padded by hand and against the panel without it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import reference
from helpers import TOTALS, close, same_bits
from strategies import dense, lstm, network

import fastlrp as fl

VALUE, T = -7.0, 5
FEATURES = ["a", "b", "c"]


def layers(rng):
    return [{"kind": "masking", "value": VALUE}, lstm(rng, 3, 6), dense(rng, 6, 1)]


def make_panel(rng, shuffled=True):
    """Assets of 1 to 14 months from various months on, some with a hole, a missing value or a month of the mask's
    value."""
    months, parts = pd.period_range("2001-01", periods=14, freq="M").to_timestamp(), []
    for k in range(40):
        first, n = rng.integers(0, 10), rng.integers(1, 15)
        times = months[first : first + n]
        if k % 3 == 0 and len(times) > 4:
            times = times.delete(rng.integers(1, len(times) - 1, size=1 + k % 4))
        frame = pd.DataFrame(rng.normal(size=(len(times), 3)), times, FEATURES)
        if k % 5 == 0 and len(frame) > 2:
            frame.iloc[1, 1] = np.nan
        if k % 4 == 0:
            frame.iloc[rng.integers(0, len(frame))] = VALUE
        parts.append(frame.assign(asset=f"s{k:02d}").rename_axis("date").set_index("asset", append=True))
    panel = pd.concat(parts)
    return panel.sample(frac=1, random_state=1) if shuffled else panel


def naive_window(panel, date, asset, least):
    """(T, D) left-padded, from the rows of the T months that end here, or None: a row a month, looked up by name."""
    months = pd.period_range(end=date.to_period("M"), periods=T, freq="M").to_timestamp()
    own = panel.xs(asset, level="asset")
    have = [month in own.index for month in months]
    n = have[::-1].index(False) if False in have else T
    if n < least or any(have[: T - n]):
        return None
    window = np.full((T, 3), VALUE)
    window[T - n :] = own.loc[months[T - n :]].to_numpy()
    return window


@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize("rule", ["arras", "rudder"])
@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
def test_short_windows_are_padded_ones(shuffled, least, rule):
    rng = np.random.default_rng(least)
    plain, panel = layers(rng), make_panel(rng, shuffled)
    net = network(plain, features=FEATURES)
    rel = net.explain(panel, steps=T, min_steps=least, rule=rule)
    assert rel.index.equals(panel.index)
    found = 0
    for row, (date, asset) in enumerate(panel.index):
        window = naive_window(panel, date, asset, least)
        if window is None or np.isnan(window).any():
            assert np.isnan(rel.values[row]).all()
            assert np.isnan(rel.prediction[row])
            continue
        found += 1
        want = reference.explain(plain, window, reference.Rule(rule))
        close(rel.values[row], want.relevance, 1e-9)
        close(rel.prediction[row], want.prediction[0], 1e-10)
        scale = max(abs(getattr(want, key)) for key in TOTALS) or 1.0
        for key in TOTALS:
            close(getattr(rel, key)[row], getattr(want, key), 1e-9, scale)
    full = net.explain(panel, steps=T, rule=rule)
    both = ~np.isnan(full.prediction)
    assert 0 < both.sum() < found < len(panel)
    for key in ("values", "prediction", *TOTALS):
        same_bits(getattr(rel, key)[both], getattr(full, key)[both])
    same_bits(net.predict(panel, steps=T, min_steps=least).to_numpy(), rel.prediction)
    summed = net.explain(panel, steps=T, min_steps=least, rule=rule, reduce="steps")
    close(summed.values, rel.values.sum(axis=1), 1e-12)
    same_bits(summed.score, rel.score)


def test_it_is_the_padded_array_bit_for_bit():
    rng = np.random.default_rng(3)
    net, panel = network(layers(rng), features=FEATURES), make_panel(rng)
    rel = net.explain(panel.astype(np.float32), steps=T, min_steps=2)
    rows = np.flatnonzero(~np.isnan(rel.prediction))
    X = np.stack([naive_window(panel, *panel.index[row], 2) for row in rows]).astype(np.float32)
    array = net.explain(X)
    for key in ("values", "prediction", *TOTALS):
        same_bits(getattr(rel, key)[rows], getattr(array, key))


def test_a_first_row_after_a_long_absence_begins_a_history():
    months = pd.to_datetime(["2001-01-31", "2001-02-28", "2001-12-31", "2002-01-31", "2002-02-28"])
    other = pd.date_range("2001-01-31", "2002-02-28", freq="ME")
    index = pd.MultiIndex.from_tuples([*((m, "x") for m in months), *((m, "y") for m in other)], names=["date", "id"])
    rng = np.random.default_rng(4)
    panel = pd.DataFrame(rng.normal(size=(len(index), 3)), index, FEATURES)
    y = network(layers(rng)).predict(panel, steps=T, min_steps=2).xs("x", level="id")
    assert y.notna().tolist() == [False, True, False, True, True]
    late = network(layers(rng)).predict(panel, steps=12, min_steps=2).xs("x", level="id")
    assert late.notna().tolist() == [False, True, False, False, True]  # twelve months reach back behind the hole


def test_time_averages_and_frames_take_padding():
    rng = np.random.default_rng(5)
    rel = network(layers(rng), features=FEATURES).explain(make_panel(rng), steps=T, min_steps=1)
    assert np.isfinite(rel.by_time("share").dropna(how="all").to_numpy()).all()
    assert np.isfinite(rel.by_lag().to_numpy()).all()
    frame = rel.to_frame(steps=True)
    assert frame.notna().any(axis=1).sum() == (~np.isnan(rel.prediction)).sum()
    assert "reconcile" in rel.summary() or rel.summary()


def test_ensembles_take_short_histories():
    rng = np.random.default_rng(6)
    nets, panel = [network(layers(rng), features=FEATURES) for _ in range(3)], make_panel(rng)
    rel = fl.Ensemble(nets).explain(panel, steps=T, min_steps=2)
    each = np.mean([net.explain(panel, steps=T, min_steps=2).values for net in nets], axis=0)
    close(rel.values, each, 1e-12)


def test_infinities_are_named_wherever_they_are():
    rng = np.random.default_rng(7)
    net, panel = network(layers(rng), features=FEATURES), make_panel(rng)
    for row in (0, 5, 50):
        broken = panel.copy()
        broken.iloc[row, 2] = np.inf
        with pytest.raises(ValueError, match="the input is infinite"):
            net.explain(broken, steps=T, min_steps=2)


def test_what_cannot_be_is_refused():
    rng = np.random.default_rng(8)
    net, panel = network(layers(rng), features=FEATURES), make_panel(rng)
    with pytest.raises(ValueError, match=re.escape("min_steps=6 was given, expected at most the 5 steps of a window")):
        net.predict(panel, steps=T, min_steps=6)
    with pytest.raises(ValueError, match=re.escape("min_steps= takes a whole number of at least 1, or None, not 0")):
        net.predict(panel, steps=T, min_steps=0)
    with pytest.raises(ValueError, match="X is an array, whose windows are all there"):
        net.predict(rng.normal(size=(4, T, 3)), min_steps=2)
    plain = fl.Network(net.layers[1:], features=FEATURES)
    with pytest.raises(ValueError, match="min_steps=2 was given, but the network has no Masking layer"):
        plain.explain(panel, steps=T, min_steps=2)
    with pytest.raises(ValueError, match="no Masking layer"):
        fl.Ensemble([net, plain]).explain(panel, steps=T, min_steps=2)
