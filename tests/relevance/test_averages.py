"""Means of relevance by period, label and lag, against pandas' groupby on long tables."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import close
from test_relevance import FEATURES, GONE, MONTHS, T, made_up

import fastlrp as fl
import fastlrp.relevance.arrays
from fastlrp import data, plot
from fastlrp.relevance.device import DeviceRelevance

GROUPS = {"Risk": ["value", "beta"], "Momentum": "mom12m"}
MEMBERS = {"Risk": ["value", "beta"], "Momentum": ["mom12m"], "Other": ["size"]}
SECTOR = {"A": "tech", "B": "energy", "C": "tech"}
RNG = np.random.default_rng(8)
WEIGHT = np.where(np.arange(12) == 3, np.nan, np.where(np.arange(12) == 8, 0.0, RNG.uniform(0.1, 5, 12)))


def numbers_of(rel, statistic):
    """What is averaged, a row a sample, in float64."""
    summed = pd.DataFrame(rel.values.astype(np.float64).sum(axis=1), columns=list(rel.features))
    if statistic == "mean":
        return summed
    size = summed.abs()
    return size if statistic == "abs" else size.div(size.sum(axis=1), axis=0)


def oracle(rel, statistic, *, members=None, per_column=False, keys, weight=None):
    """Weighted means by keys, a group at a time: slow, and by pandas."""
    table = numbers_of(rel, statistic)
    weight = pd.Series(1.0 if weight is None else weight, table.index)
    keep = table.notna().all(axis=1) & (weight > 0)
    for key in keys:
        keep &= ~pd.isna(key)
    out = {}
    for at, part in table[keep].groupby([pd.Series(key)[keep] for key in keys]):
        mean = part.mul(weight[part.index], axis=0).sum() / weight[part.index].sum()
        if members is not None:
            mean = pd.Series({name: mean[columns].sum() for name, columns in members.items()})
            if per_column:
                mean /= pd.Series({name: len(columns) for name, columns in members.items()})
                mean = mean / mean.sum() if statistic == "share" else mean
        out[at if len(keys) > 1 else at[0]] = mean
    return pd.DataFrame(out).T


def months(rel):
    return [MONTHS.index(month) for _, month in rel.index]


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
@pytest.mark.parametrize("statistic", ["abs", "mean", "share"])
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize(
    ("groups", "members", "per_column"), [(None, None, False), (GROUPS, MEMBERS, False), (GROUPS, MEMBERS, True)]
)
def test_means_by_time(statistic, chunk, reduced, weight, groups, members, per_column, monkeypatch):
    monkeypatch.setattr(fastlrp.relevance.arrays, "_CHUNK", chunk)
    rel = made_up()
    got = made_up(reduced=reduced).by_time(statistic, groups=groups, per_column=per_column, weight=weight)
    want = oracle(rel, statistic, members=members, per_column=per_column, keys=[months(rel)], weight=weight)
    assert list(got.index) == [MONTHS[at] for at in want.index]
    assert list(got.columns) == list(want.columns)
    close(got, want, 1e-14)
    if statistic == "share":
        close(got.sum(axis=1), np.ones(len(got)), 1e-14)


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("statistic", ["abs", "mean", "share"])
def test_means_by_time_and_label(statistic, weight, chunk, monkeypatch):
    monkeypatch.setattr(fastlrp.relevance.arrays, "_CHUNK", chunk)
    rel = made_up()
    sector = [SECTOR[stock] for stock, _ in rel.index]
    want = oracle(rel, statistic, members=MEMBERS, keys=[months(rel), sector], weight=weight)
    ways = {
        "mapping": SECTOR,
        "by asset": pd.Series(SECTOR, name="sector"),
        "on the index": pd.Series(sector, rel.index, name="sector"),
        "array": np.array(sector),
        "objects": np.array(sector, object),
        "list": sector,
        "column": "sector",
    }
    for way, by in ways.items():
        frame = pd.DataFrame({"sector": sector, "size": 1.0}, rel.index)
        got = rel.by_time(statistic, groups=GROUPS, by=by, weight=weight, panel=frame)
        assert list(got.index) == [(MONTHS[at], label) for at, label in want.index], way
        assert got.index.names == ["month", "sector" if way in ("by asset", "on the index", "column") else "label"]
        close(got, want, 1e-14)


def test_weights_by_name_as_numbers_and_as_series():
    rel = made_up()
    want = rel.by_time("share", weight=WEIGHT)
    frame = pd.DataFrame({"market_cap": WEIGHT}, rel.index)
    nullable = frame["market_cap"].astype("Float64").mask(frame["market_cap"].isna())
    for given in (list(WEIGHT), frame["market_cap"], nullable, pd.Index(WEIGHT)):
        pd.testing.assert_frame_equal(rel.by_time("share", weight=given), want)
    pd.testing.assert_frame_equal(rel.by_time("share", weight="market_cap", panel=frame), want)
    for factor in (1e-300, 1e307):  # no sum of weights leaves float64's range
        close(rel.by_time("share", weight=WEIGHT * factor / 5), want, 1e-14)
    same = rel.by_time(weight=np.full(12, 7))
    close(same, rel.by_time(), 1e-15)


def test_rows_without_a_label_or_a_weight_are_left_out():
    rel = made_up()
    only = rel.by_time(by={"A": 1}, weight=np.where(np.arange(12) == 1, np.nan, 1.0))
    of_a = [row for row, (stock, _) in enumerate(rel.index) if stock == "A" and row not in [*GONE, 1]]
    assert list(only.index) == sorted(((rel.index[row][1], 1) for row in of_a), key=lambda key: MONTHS.index(key[0]))
    size = np.abs(rel.values.sum(axis=1))
    close(only, size[sorted(of_a, key=lambda row: MONTHS.index(rel.index[row][1]))], 1e-15)
    nothing = rel.by_time(weight=np.zeros(12))
    assert nothing.shape == (0, 4)
    assert rel.by_time(by=np.full(12, np.nan)).shape == (0, 4)


def test_labels_keep_the_order_of_categories_and_levels_of_the_index_have_names():
    rel = made_up()
    sizes = pd.CategoricalDtype(["small", "big"], ordered=True)
    bucket = pd.Series({"A": "big", "B": "small", "C": "big"}).astype(sizes)
    for by in (bucket, bucket.loc[rel.index.get_level_values("stock")].set_axis(rel.index)):
        table = rel.by_time(by=by)
        assert list(table.loc["1990m12"].index) == ["small", "big"]
        assert list(table.index.levels[1]) == ["small", "big"]
    by_stock = rel.by_time("mean", by="stock")
    assert by_stock.index.names == ["month", "stock"]
    kept = np.setdiff1d(np.arange(12), GONE)
    want = pd.DataFrame(rel.values.sum(axis=1)[kept], rel.index[kept].swaplevel(), list(FEATURES))
    close(by_stock, want.loc[by_stock.index], 1e-15)


@pytest.mark.parametrize("statistic", ["abs", "mean", "share"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
@pytest.mark.parametrize("panel", [True, False])
def test_means_by_lag(statistic, weight, chunk, panel, monkeypatch):
    monkeypatch.setattr(fastlrp.relevance.arrays, "_CHUNK", chunk)
    rel = made_up(panel=panel)
    kept = [row for row in range(12) if row not in GONE and (weight is None or weight[row] > 0)]
    weights = np.ones(12) if weight is None else weight
    want = np.zeros((T, 4))
    for row in kept:
        numbers = rel.values[row] if statistic == "mean" else np.abs(rel.values[row])
        want += weights[row] * (numbers / numbers.sum() if statistic == "share" else numbers)
    want /= sum(weights[row] for row in kept)
    got = rel.by_lag(statistic, weight=weight)
    assert (list(got.index), got.index.name, tuple(got.columns)) == ([2, 1, 0], "lag", FEATURES)
    close(got, want, 1e-14)
    grouped = rel.by_lag(statistic, groups=GROUPS, weight=weight)
    close(grouped, np.stack([want[:, [3, 0]].sum(axis=1), want[:, 1], want[:, 2]], axis=1), 1e-14)
    fair = rel.by_lag(statistic, groups=GROUPS, per_column=True, weight=weight)
    scale = (grouped / [2, 1, 1]).to_numpy().sum() if statistic == "share" else 1.0
    close(fair, grouped / [2, 1, 1] / scale, 1e-14)
    if statistic == "share":
        close([got.to_numpy().sum(), fair.to_numpy().sum()], [1.0, 1.0], 1e-14)


def test_a_lag_profile_of_nothing_and_of_summed_steps():
    nothing = made_up(values=np.full((12, T, 4), np.nan))
    assert nothing.by_lag().isna().all(axis=None)
    with pytest.raises(ValueError, match="by_lag needs every step, but steps were summed: call explain without"):
        made_up(reduced=True).by_lag()


def test_a_network_without_steps_has_no_lag_profile_and_nothing_to_leave_out():
    rel = fl.Network([fl.Dense(np.ones((3, 1)))]).explain(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"^by_lag needs steps, but this result is of one alone: each feature has one"):
        rel.by_lag()
    with pytest.raises(ValueError, match=r"^to_frame\(steps=True\) needs steps, but this result is of one alone"):
        rel.to_frame(steps=True)


def test_many_equal_features_do_not_make_a_group_relevant():
    """Six equally relevant features in groups of one and of five: by their number alone, the second has 5/6."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4000, 1, 6))
    index = pd.MultiIndex.from_product([range(2000, 2004), range(1000)], names=["year", "firm"])
    zero = np.zeros(4000)
    rel = fl.Relevance(
        values=values, prediction=zero, score=zero, initial_state=zero, unattributed=zero, rule=fl.Arras(), steps=1,
        index=index,
    )  # fmt: skip
    groups = {"few": ["x0"], "many": ["x1", "x2", "x3", "x4", "x5"]}
    np.testing.assert_allclose(rel.by_time("share", groups=groups)["many"], 5 / 6, rtol=0, atol=0.02)
    np.testing.assert_allclose(rel.by_time("share", groups=groups, per_column=True)["many"], 1 / 2, rtol=0, atol=0.02)


def test_float32_is_summed_in_float64():
    n = 300_000
    values = np.full((n, 1, 1), 0.1, np.float32)
    zero = np.zeros(n, np.float32)
    index = pd.MultiIndex.from_product([range(2000, 2003), range(n // 3)], names=["year", "firm"])
    rel = fl.Relevance(
        values=values, prediction=zero, score=zero, initial_state=zero, unattributed=zero, rule=fl.Arras(), steps=1,
        index=index,
    )  # fmt: skip
    exact = np.float64(np.float32(0.1))
    for table in (rel.by_time(weight=np.full(n, 3.0)), rel.by_time(by=np.zeros(n)), rel.by_lag()):
        np.testing.assert_allclose(table, exact, rtol=1e-12, atol=0)


def test_the_real_panel_by_group_size_and_year():
    panel, _ = data.load_panel(target=True)
    rel = data.load_model().explain(panel.loc["2015":])
    size = np.random.default_rng(2).lognormal(size=len(rel))
    bucket = pd.Series(np.where(size > np.median(size), "big", "small"), rel.index, name="size")
    got = rel.by_time("share", groups=data.GROUPS, by=bucket, weight=size)
    share = rel.share().astype(np.float64)
    share = share.div(share.sum(axis=1), axis=0)
    long = pd.DataFrame({name: share[columns].sum(axis=1) for name, columns in data.GROUPS.items()})
    long = long.assign(weight=size, size=bucket)[~rel.missing]
    want = long.groupby(["month", "size"]).apply(
        lambda part: part[list(data.GROUPS)].mul(part["weight"], axis=0).sum() / part["weight"].sum()
    )
    assert got.index.equals(want.index)
    close(got, want, 1e-6)  # share() is float32, by_time is not
    close(got.sum(axis=1), np.ones(len(got)), 1e-14)


# ------------------------------------------------------------------------------------------------------ one row a time


@pytest.fixture(scope="module")
def single():
    """Out-of-sample relevance of a single series, one row a month, as a panel of one asset and as a plain frame."""
    rng = np.random.default_rng(3)
    months = pd.period_range("2000-01", periods=40, freq="M")
    frame = pd.DataFrame(rng.normal(size=(40, 3)), months, ["a", "b", "c"])
    y = pd.Series(rng.normal(size=40), months)
    model = fl.RollingLSTM(
        fl.LSTMRegressor(units=(2,), steps=3, max_iter=2, random_state=0, tol=0.0), window=20, step=5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that training this short has not converged
        return model.fit(frame, y).explain(frame)


def test_a_single_series_is_averaged_by_time(single):
    table = single.by_time("mean")
    assert isinstance(single.index, pd.PeriodIndex)
    assert list(table.index) == list(single.index[~single.missing])
    close(table, single.values.sum(axis=1, dtype=np.float64)[~single.missing], 1e-15)
    quarter = pd.Series(single.index.quarter, single.index, name="quarter")
    by = single.by_time("mean", by=quarter, weight=np.ones(len(single)))
    close(by, table, 1e-15)
    assert list(by.index.get_level_values("quarter")) == [month.quarter for month in table.index]
    assert "sample" not in single.summary().split("worst rows")[1]


def test_a_single_series_is_drawn(single):
    pytest.importorskip("matplotlib")
    for picture, how in ((plot.heat_map, "one series"), (plot.bars, "mean over windows")):
        words = [text.get_text() for text in picture(single).axes[0].texts]
        assert any(how in line for line in words)
        assert any(re.search(r"\d+ months from 2001-\d\d to 2003-04: \d+ windows of 3 months", line) for line in words)


def test_arrays_have_no_times():
    rel = made_up(panel=False)
    for one in (rel, rel[2:5], rel[[4, 1]]):
        with pytest.raises(ValueError, match="by_time needs the result of a panel: this one is of an array"):
            one.by_time()
        with pytest.raises(ValueError, match="by_time needs the result of a panel: this one is of an array"):
            plot.heat_map(one)


def test_results_on_the_gpu_are_averaged_on_the_host():
    parts = vars(made_up())
    rel = DeviceRelevance(**{name: parts[name] for name in parts if name in made_up().__dataclass_fields__})
    object.__setattr__(rel, "_copy", made_up())
    pd.testing.assert_frame_equal(rel.by_lag("share"), made_up().by_lag("share"))


# ----------------------------------------------------------------------------------------------------------- refusals

ONE = made_up()
OTHER = pd.Series(1.0, made_up().index[::-1])
TWICE = pd.DataFrame(np.ones((12, 2)), ONE.index, ["cap", "cap"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "median"}, "takes 'abs', 'mean' or 'share', not 'median'"),
        ({"statistic": ["abs"]}, r"takes 'abs', 'mean' or 'share', not \['abs'\]"),
        ({"per_column": True}, r"by_time\(per_column=True\) divides groups .* but groups= is missing"),
        ({"per_column": "yes", "groups": GROUPS}, r"per_column=...\) takes True or False, not 'yes'"),
        ({"groups": {"Risk": ["bet"]}}, r"group 'Risk' names what is no feature: 'bet'"),
        ({"weight": -np.arange(12.0)}, r"finite and at least 0, not -1 in row \([ABC], 1990m\d+\)"),
        (
            {"weight": np.full(12, np.inf)},
            "takes weights that are finite and at least 0, not inf in row",
        ),
        ({"weight": np.ones(11)}, r"by_time\(weight=...\) has shape \(11,\), expected \(12,\): one value a row"),
        ({"weight": np.ones((12, 1))}, r"has shape \(12, 1\), expected \(12,\)"),
        ({"weight": 2.0}, r"has shape \(\), expected \(12,\)"),
        ({"weight": ["heavy"] * 12}, r"by_time\(weight=...\) takes numbers, not values of dtype <U5"),
        ({"weight": pd.Series(["heavy"] * 12, ONE.index)}, r"weight=...\)\[0\] is 'heavy', expected a number"),
        (
            {"weight": OTHER},
            r"is not on the result's index: its row 0 is \(.*\), not \(.*\): align it with",
        ),
        (
            {"weight": OTHER[:5]},
            r"weight=...\) has 5 rows, the result 12: align it with .reindex\(rel.index\)",
        ),
        (
            {"weight": "cap"},
            r"is 'cap', which is no level of the result's index \('stock', 'month'\), and",
        ),
        ({"weight": "cap", "panel": TWICE}, r"panel= has 2 columns called 'cap'"),
        ({"weight": "mcap", "panel": TWICE}, "'mcap', which is no column of panel= and no level .* weight=frame"),
        ({"weight": "cap", "panel": TWICE.iloc[:3, :1]}, r"weight=...\) has 3 rows, the result 12"),
        ({"weight": "cap", "panel": {"cap": 1}}, "panel= takes the DataFrame that has the columns, not dict"),
        ({"by": "sector"}, r"by=frame\['sector'\], or the frame that has it as panel="),
        ({"by": {"D": "tech"}}, "by=...\\) names none of the result's assets: it has 'D', expected such as 'A'"),
        ({"by": {}}, "names none of the result's assets: it has nothing"),
        ({"by": pd.Series(["x", "y"], ["A", "A"])}, "names the asset 'A' twice"),
        ({"by": pd.Series([[1], [2]], ["A", "B"])}, "takes labels such as texts or numbers: unhashable"),
        ({"by": np.arange(3)}, r"by_time\(by=...\) has shape \(3,\), expected \(12,\)"),
        ({"by": OTHER}, r"by=...\) is not on the result's index"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        ONE.by_time(**options)
    assert "\n" not in str(caught.value)


def test_lags_refuse_in_their_own_name():
    with pytest.raises(ValueError, match=r"by_lag\(statistic=...\) takes"):
        ONE.by_lag("median")
    with pytest.raises(ValueError, match=r"by_lag\(weight=...\) has shape \(3,\)"):
        ONE.by_lag(weight=np.ones(3))
    with pytest.raises(ValueError, match="by_time needs the result of a panel"):
        replace(ONE, index=None).by_time(by=np.ones(12))


def test_a_column_without_its_index_is_not_taken_for_assets():
    """Whole numbers as assets: a Series numbered by rows must not be looked up by asset."""
    index = pd.MultiIndex.from_product([pd.period_range("2001-01", periods=4, freq="M"), range(6)], names=["m", "id"])
    rng = np.random.default_rng(0)
    net = fl.LSTMRegressor((2,), steps=2, max_iter=1, n_iter_no_change=1, random_state=0)
    X = pd.DataFrame(rng.standard_normal((24, 2)), index, ["a", "b"])
    rel = net.fit(X, X["a"]).explain(X)
    by = pd.Series(rng.permutation(np.repeat(["x", "y"], 12)))
    with pytest.raises(ValueError, match="has a value a row, but its index is not the result's"):
        rel.by_time(by=by)
    assert rel.by_time(by=by.set_axis(index)).equals(rel.by_time(by=by.to_numpy()))
