"""Results as other libraries take them, against the real packages where they are installed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_relevance import FEATURES, GONE, T, made_up

from fastlrp.panels.periods import dates_of

KEPT = np.setdiff1d(np.arange(12), GONE)


def needs(package):
    return pytest.importorskip(package, reason=f"{package} is not installed: pip install {package}")


def panel_of(rel):
    return pd.DataFrame(np.random.default_rng(0).normal(size=(12, 4)), rel.index, list(FEATURES))


def test_shap_draws_a_beeswarm_and_a_waterfall_that_end_at_the_score():
    needs("matplotlib").use("Agg")
    shap = needs("shap")
    from matplotlib import pyplot

    rel = made_up()
    rel = replace(rel, score=rel.values.sum(axis=(1, 2)) + rel.initial_state + rel.unattributed)
    panel = panel_of(rel)
    given = rel.to_shap(panel[panel.columns[::-1]])
    np.testing.assert_array_equal(given.data, panel.to_numpy()[KEPT])
    shap.plots.beeswarm(given, show=False)
    rows = [text.get_text() for text in pyplot.gca().get_yticklabels()]
    order = np.argsort(-np.abs(rel.values.sum(axis=1)[KEPT]).mean(axis=0))
    assert [row for row in reversed(rows) if row] == [FEATURES[j] for j in order]
    pyplot.close("all")
    shap.plots.waterfall(given[3], show=False)
    words = "".join(text.get_text() for axes in pyplot.gcf().axes for text in axes.get_xticklabels())
    assert f"{rel.score[KEPT[3]]:.3f}".rstrip("0").replace("-", "\N{MINUS SIGN}") in words
    pyplot.close("all")


@pytest.mark.parametrize("shape", [(12, 4), (12, T, 4)])
def test_values_beside_relevance_are_those_of_the_last_step(shape):
    needs("shap")
    X = np.arange(np.prod(shape, dtype=float)).reshape(shape)
    np.testing.assert_array_equal(made_up().to_shap(X).data, (X if len(shape) == 2 else X[:, -1])[KEPT])


def test_xarray_selects_and_sums_by_name():
    needs("xarray")
    rel = made_up()
    data = rel.to_xarray()
    for (stock, month), row in rel.to_frame()[list(FEATURES)].iterrows():
        found = data.sel(stock=stock, month=month).relevance
        np.testing.assert_allclose(found.sum("step", skipna=False), row, rtol=1e-13)
        np.testing.assert_array_equal(
            found.sel(step=0, feature="size"), rel.values[rel.index.get_loc((stock, month)), 2, 2]
        )


@pytest.mark.parametrize("reduced", [False, True])
def test_polars_has_the_frames_columns_and_null_where_it_is_missing(reduced):
    polars = needs("polars")
    rel = made_up(reduced=reduced, dtype=np.float32)
    table, frame = rel.to_polars(), rel.to_frame().reset_index()
    assert table.columns == list(frame.columns)
    assert table["month"].to_list() == frame["month"].to_list()
    assert table["stock"].to_list() == frame["stock"].to_list()
    for name in frame.columns[2:]:
        assert table[name].dtype == (polars.Float32 if frame[name].dtype == np.float32 else polars.Float64)
        assert table[name].is_null().to_numpy().nonzero()[0].tolist() == GONE
        np.testing.assert_array_equal(table[name].to_numpy(), frame[name])
    dates = pd.PeriodIndex(rel.index.get_level_values(1).str.replace("m", "-"), freq="M")
    by_date = replace(rel, index=pd.MultiIndex.from_arrays([rel.index.get_level_values(0), dates], names=["a", "t"]))
    assert [str(day)[:10] for day in by_date.to_polars()["t"]] == [f"{day}-01" for day in dates]
    assert replace(rel, index=None).to_polars().columns == list(frame.columns[2:])
    if not reduced:
        cells = rel.to_polars(steps=True)
        assert cells.columns[2:6] == ["beta_lag2", "mom12m_lag2", "size_lag2", "value_lag2"]
        np.testing.assert_array_equal(cells["size_lag0"].to_numpy(), rel.values[:, 2, 2])
    else:
        with pytest.raises(ValueError, match=r"to_polars\(steps=True\) needs every step"):
            rel.to_polars(steps=True)


# -------------------------------------------------------------------------------------------------------- alphalens


@pytest.mark.parametrize("values", ["prediction", "score", "size"])
def test_a_factor_is_a_series_by_date_and_asset(values):
    rel = made_up()
    factor = rel.to_alphalens(values)
    assert factor.index.names == ["date", "asset"]
    assert factor.index.is_monotonic_increasing
    want = {"prediction": rel.prediction, "score": rel.score, "size": rel.values[:, :, 2].sum(axis=1)}[values]
    assert len(factor) == len(KEPT)
    for row in KEPT:
        stock, month = rel.index[row]
        year, number = month.split("m")
        assert factor[(pd.Timestamp(int(year), int(number), 1), stock)] == pytest.approx(want[row], rel=1e-13)


def test_alphalens_takes_the_factor_and_sorts_by_it():
    needs("alphalens")
    from alphalens import performance, utils

    days = pd.bdate_range("2020-01-01", periods=6)
    index = pd.MultiIndex.from_product([days, list("ABCDEFGHIJ")], names=["day", "stock"])
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, 2, 3))
    score = values.sum(axis=(1, 2))
    rel = replace(
        made_up(), values=values, score=score, prediction=score, initial_state=0 * score, unattributed=0 * score,
        index=index, features=("a", "b", "c"), steps=2,
    )  # fmt: skip
    forward = pd.DataFrame({"1D": rng.normal(size=60)}, index.set_names(["date", "asset"]))
    clean = utils.get_clean_factor(rel.to_alphalens("b"), forward, quantiles=5)
    assert len(clean) == 60
    means, _ = performance.mean_return_by_quantile(clean, by_date=True, demeaned=False)
    R = values.sum(axis=1)[:, 1].reshape(6, 10)
    sorted_returns = np.take_along_axis(forward["1D"].to_numpy().reshape(6, 10), np.argsort(R, axis=1), axis=1)
    want = sorted_returns.reshape(6, 5, 2).mean(axis=2)
    np.testing.assert_allclose(means["1D"].to_numpy().reshape(5, 6).T, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["1990-01", "1990-02"], "1990-01-01"),
        ([199001, 199002], "1990-01-01"),
        (["1990Q2", "1990Q3"], "1990-04-01"),
        ([1990, 1991], "1990-01-01"),
        (pd.period_range("1990-04", periods=2, freq="Q"), "1990-04-01"),
        ([19900131, 19900228], "1990-01-31"),
        (pd.to_datetime(["1990-01-31 16:00", "1990-02-28 16:00"]), "1990-01-31 16:00"),
    ],
)
def test_times_as_dates(times, first):
    assert dates_of(pd.Index(times))[0] == pd.Timestamp(first)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rel: rel.to_alphalens("sise"), r"takes a feature, 'prediction' or 'score', not 'sise' \(did you mean"),
        (lambda rel: made_up(panel=False).to_alphalens(), "to_alphalens needs the result of a panel"),
        (
            lambda rel: replace(rel, index=rel.index.set_levels(range(4), level=1)).to_alphalens(),
            "to_alphalens needs dates, but the result's times are such as '[0-3]'",
        ),
        (lambda rel: rel.to_shap(panel_of(rel).iloc[1:]), r"to_shap\(data=...\) has 11 rows, the result 12: align it"),
        (lambda rel: rel.to_shap(panel_of(rel).drop(columns="size")), "lacks 1 of 4 features, the first being 'size'"),
    ],
)
def test_refusals_are_sentences(call, words, monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "shap", types.ModuleType("shap"))
    with pytest.raises(ValueError, match=words):
        call(made_up())
