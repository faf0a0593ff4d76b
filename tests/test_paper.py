"""The paper's experiment (scripts/paper): its inputs, truths and judgements against numbers had another way."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LinearRegression

import fastlrp as fl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
pytest.importorskip("matplotlib", reason="matplotlib is not installed; the experiment draws with it")
from paper import data, figures, forecasts, judge, relevance, simulated, tasks, write


@pytest.fixture(scope="module")
def months() -> pd.DataFrame:
    """Months like the study's, of noise."""
    rng = np.random.default_rng(0)
    index = pd.period_range("1990-01", periods=data.WINDOW + 12, freq="M", name="date")
    return pd.DataFrame(rng.normal(size=(len(index), 14)), index, [*data.PORTFOLIOS, "market"])


def test_inputs_are_joined_on_the_month(shared_data):
    pytest.importorskip("arch", reason="arch is not installed; it ships the market's returns before 1990")
    pytest.importorskip("skfolio", reason="skfolio is not installed; it ships the market's returns since 1990")
    months = data.read_months(shared_data / "PredictorLSretWide.csv")
    assert months.shape == (428, 14)
    assert not months.isna().to_numpy().any()
    X, y = data.samples(months)
    raw = pd.read_csv(shared_data / "PredictorLSretWide.csv", index_col="date")
    assert X.loc[pd.Period("2008-11"), "Mom12m"] == raw.loc["2008-10-31", "Mom12m"]
    assert y[pd.Period("2008-10")] == pytest.approx(968.75 / 1166.36 - 1, abs=5e-4)  # the S&P 500's closes
    assert y[pd.Period("1987-10")] == pytest.approx(-0.2324 + 0.0060, abs=1e-9)  # Ken French: Mkt-RF, RF
    errors = {"study": forecasts.study_ols(months), "mean": data.standardized(months)["market"].iloc[65:].pow(2).mean()}
    assert errors["study"] == pytest.approx(1.335, abs=5e-4)  # published from other sources of returns: 1.3338
    assert errors["mean"] == pytest.approx(0.922, abs=5e-4)


def test_what_is_not_the_data_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"nowhere.csv is not there: expected Chen & Zimmermann's"):
        data.read_months(Path("nowhere.csv"))
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit, match=r"other.csv is not Chen & Zimmermann's"):
        data.read_months(other)


def test_no_forecast_sees_its_month_or_a_later_one(months):
    X, y = data.samples(months)
    predicted = forecasts.each_month(LinearRegression(), X, y, jobs=1)
    assert_array_equal(predicted.index, y.index[data.WINDOW :])
    month, X_later, y_later = predicted.index[5], X.copy(), y.copy()
    X_later[X.index > month], y_later[y.index >= month] = 9.0, 9.0
    poisoned = forecasts.each_month(LinearRegression(), X_later, y_later, jobs=1)
    assert_array_equal(poisoned.iloc[:6], predicted.iloc[:6])
    assert (poisoned.iloc[6:] != predicted.iloc[6:]).all()
    # the first one by hand: targets 5 ... 64 on all 14 columns of the five months before each
    lags = np.array([months.iloc[t - 5 : t].to_numpy().ravel() for t in range(5, 66)])
    fitted = LinearRegression().fit(lags[:60], months["market"].iloc[5:65])
    assert predicted.iloc[0] == pytest.approx(fitted.predict(lags[60:])[0], rel=1e-9)


def test_the_rolling_ensemble_is_its_members(months):
    X, y = data.samples(months)
    small = forecasts.Architecture(4, (), 0.01)
    model = forecasts.rolling(small, 2, 0).fit(X, y)
    each = [forecasts.member(model, m).predict(X) for m in range(2)]
    assert not np.allclose(each[0].dropna(), each[1].dropna())
    assert_allclose(np.mean(each, axis=0), model.predict(X), rtol=0, atol=1e-6)
    told = forecasts.lstm_forecasts(small, months, 2, 0)
    assert_array_equal(told[1], each[1].dropna())
    assert_array_equal(told["validation"], model.windows_["validation_score"])


def test_the_architecture_is_chosen_by_the_validation():
    index = pd.period_range("2000-01", periods=2, freq="M")
    one = pd.DataFrame({0: [1.0, 2.0], 1: [3.0, 4.0], "validation": [0.5, -0.5]}, index)
    other = pd.DataFrame({0: [7.0, 8.0], "validation": [0.1, 0.2]}, index)
    assert_array_equal(forecasts.chosen_forecasts({"one": one, "other": other}), [2.0, 8.0])


def test_forecasts_are_judged_as_the_papers_say():
    rng = np.random.default_rng(1)
    actual = pd.Series(rng.normal(size=40))
    some = pd.DataFrame({"zero": 0.0, "good": 0.5 * actual + 0.1 * rng.normal(size=40)})
    table = judge.judged(some, actual, 2.0, "zero")
    d = actual**2 - (actual - some["good"]) ** 2
    n, variance = len(d), ((d - d.mean()) ** 2).mean()
    t = d.mean() / np.sqrt(variance / n) * np.sqrt((n - 1) / n)  # Harvey, Leybourne, Newbold (1997), h = 1
    assert table.loc["good", "t"] == pytest.approx(t, rel=1e-12)
    assert table.loc["good", "p"] < 0.01
    assert np.isnan(table.loc["zero", "t"])
    assert table.loc["good", "R2"] == pytest.approx(1 - ((actual - some["good"]) ** 2).sum() / (actual**2).sum())
    assert table.loc["zero", "MSE"] == pytest.approx((actual**2).mean() / 2)


def test_the_markets_truth_is_what_moves_it():
    whole = simulated.market(0.5, 3)
    at = {name: k for k, name in enumerate(simulated.FEATURES)}
    k = 1234
    x = whole.X[k]
    now = {name: x[-1, at[name]] for name in ("linear", "left", "right", "regime", "switched")}
    signal = now["linear"] - x[-4, at["lagged"]] + now["left"] * now["right"] + now["regime"] * now["switched"]
    assert whole.parts[k].sum() == pytest.approx(signal)
    assert whole.parts[k][-1, at["left"]] == pytest.approx(now["left"] * now["right"] / 2)
    assert np.count_nonzero(whole.parts[k]) == 6
    signals = whole.parts.sum(axis=(1, 2))
    assert signals.var() / whole.y.var() == pytest.approx(0.5, abs=0.02)
    assert_array_equal(whole.X[simulated.STOCKS :, :-1], whole.X[: -simulated.STOCKS, 1:])  # windows of the same stocks
    flat = whole.X[:, -1]
    assert np.corrcoef(flat[:, at["linear"]], flat[:, at["twin"]])[0, 1] == pytest.approx(0.8, abs=0.02)


def test_truth_is_found_and_noise_is_not():
    whole = simulated.market(0.5, 3)
    some = whole.of(whole.month % 8 == 0)
    assert simulated.found(some.parts, some.parts) == pytest.approx(
        {"drivers": 1, "lag": 1, "sign": 1, "cells": 1, "twin": 0}
    )
    turned = simulated.found(-some.parts, some.parts)
    assert (turned["sign"], turned["cells"]) == pytest.approx((0, -1))
    noise = simulated.found(np.random.default_rng(0).normal(size=some.X.shape), some.parts)
    assert noise["cells"] == pytest.approx(0, abs=0.02)
    assert noise["sign"] == pytest.approx(0.5, abs=0.05)
    reversed_ = simulated.found(some.parts[:, ::-1], some.parts)  # newest step first, as the study returned it
    assert reversed_["drivers"] == 1
    assert reversed_["lag"] == 0


@pytest.mark.parametrize("kind", ["add", "subtract", "by order"])
def test_two_marked_numbers(kind):
    X, y, parts = tasks.marked(50, kind, 0)
    for x, target, part in zip(X, y, parts, strict=True):
        there = np.flatnonzero(x[:, 1:].any(axis=1))
        assert len(there) == 2
        first, second = x[there, 1:].sum(axis=1)
        if kind == "subtract" and x[there[0], 2]:  # the one to subtract comes first
            first, second = second, first
        assert target == pytest.approx(first + second if kind == "add" else first - second)
        assert_array_equal(np.flatnonzero(part), there)
        assert (abs(x).sum(axis=1) >= 0.5).all()


def test_a_late_reward_is_the_sum_of_what_was_earned():
    X, y, parts = tasks.delayed(200, 1)
    assert_array_equal(parts, X[:, :, 0])
    assert_allclose(y, parts.sum(axis=1))
    assert (parts != 0).sum(axis=1).mean() == pytest.approx(6, abs=0.5)


def test_open_forget_gates_stay_open():
    X, y, _ = tasks.delayed(300, 1)
    start = tasks.open_gates(3, 4, 0)
    model = fl.LSTMRegressor(network=start, max_iter=3, n_iter_no_change=3, dtype="float32", learning_rate_init=0.05)
    trained = model.fit(X.astype("f4"), y).network_
    assert not np.allclose(trained.layers[0].W, start.layers[0].W)
    assert tasks.mean_gate(trained, X) == pytest.approx(1, abs=1e-6)
    shut = fl.Network(
        [fl.LSTM(np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8)), fl.Dense(np.zeros((2, 1)), np.zeros(1))]
    )
    assert tasks.mean_gate(shut, X) == pytest.approx(0.5)


def shares(seed: int) -> relevance.Shares:
    rng = np.random.default_rng(seed)
    index = pd.MultiIndex.from_product(
        [pd.period_range("2015-01", periods=16, freq="M"), range(2)], names=["month", "network"]
    )
    frames = [rng.random((len(index), 14)) for _ in range(2)]
    columns = [*data.PORTFOLIOS, "market"]
    return relevance.Shares(*(pd.DataFrame(f / f.sum(axis=1, keepdims=True), index, columns) for f in frames))


def test_shares_by_group():
    told = shares(0)
    grouped = told.grouped(data.GROUPS)
    assert_allclose(grouped.members.sum(axis=1), 1)  # every factor has its group
    assert_allclose(grouped.null["Value"], told.null[["SP", "EP", "AM", "cfp"]].sum(axis=1))
    table = relevance.table(told)
    mean = [told.members["EP"].xs(m, level="network").mean() for m in range(2)]
    assert table.loc["EP", "share"] == pytest.approx(np.mean(mean))
    assert table.loc["EP", "spread"] == pytest.approx(abs(mean[0] - mean[1]) / np.sqrt(2))
    assert told.to("2015-03").members.index.get_level_values("month").max() == pd.Period("2015-03")
    same = told.members.xs(0, level="network")
    twice = pd.concat({0: same, 1: same}, names=["network"]).swaplevel().sort_index()
    assert relevance.agreement(relevance.Shares(twice, told.null)) == pytest.approx(1)
    assert abs(relevance.agreement(told)) < 0.3


def test_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "ENDS", {"2015": "2015-12"})  # the other end doubles the time
    paths = figures.draw({"arras": shares(0), "rudder": shares(1)}, tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert [path.name for path in paths] == [
        f"{name}-2015.png" for name in ("factors", "groups", "moving-average", "median")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_tables():
    table = pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]}, ["one", "two"]).rename_axis("name")
    assert write.markdown(table, 1) == "| name | a | b |\n| --- | ---: | ---: |\n| one | 1.0 | x |\n| two |  | y |"
    assert write.spread([1.0, 3.0]) == "2.000 (1.414)"
    assert write.spread([1.0]) == "1.000"
