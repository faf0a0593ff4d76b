"""The embedded panel and network: facts, no look-ahead, and agreement with PROVENANCE.md."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import statistics
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fastlrp import Dense, Dropout, data, read_keras

ROOT = Path(__file__).resolve().parents[1]
PROVENANCE = (data.panel_path().parent / "PROVENANCE.md").read_text(encoding="utf-8")

# Keras 2.15's predictions for the windows that end in 2022-11, printed by scripts/train_demo_model.py.
KERAS = {
    "AAPL": -0.0487403, "AMD": -0.0802711, "BAC": -0.1289157, "BBY": -0.0612623, "CVX": 0.0840865,
    "GE": -0.1207823, "HD": -0.1489871, "JNJ": -0.0385727, "JPM": -0.1719418, "KO": 0.0063815,
    "LLY": 0.0035886, "MRK": -0.0400174, "MSFT": -0.0225647, "PEP": -0.0021229, "PFE": 0.0202016,
    "PG": -0.019254, "RRC": 0.3168607, "UNH": 0.0683028, "WMT": -0.1105742, "XOM": 0.0725667,
}  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> tuple[pd.DataFrame, pd.Series]:
    return data.load_panel(target=True)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_panel", ROOT / "scripts" / "make_panel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prices() -> tuple[pd.DataFrame, pd.Series]:
    """Six stocks and a market, 1,300 days of a random walk from mid-month to mid-month."""
    rng = np.random.default_rng(0)
    market = rng.normal(0.0003, 0.01, 1300)
    returns = market[:, None] * rng.uniform(0.5, 1.5, 6) + rng.normal(0, 0.015, (1300, 6))
    days = pd.bdate_range("2000-01-12", periods=1300, name="day")
    stocks = pd.DataFrame(100 * np.exp(returns.cumsum(0)), index=days, columns=list("FABCDE"))
    return stocks, pd.Series(1000 * np.exp(market.cumsum()), index=days)


def rank(values: np.ndarray) -> list[float]:
    """Ranks in [-1, 1] by counting; ties get their average."""
    return [((values < v).sum() + (values <= v).sum() - 1) / (len(values) - 1) - 1 for v in values]


def test_panel_is_twenty_stocks_in_396_contiguous_months(panel):
    X, y = panel
    months, stocks = X.index.unique("month"), X.index.unique("stock")
    assert X.index.names == ["month", "stock"]
    assert X.shape == (7920, 20)
    assert len(months) == 396
    assert len(stocks) == 20
    assert X.index.is_unique
    assert X.index.is_monotonic_increasing
    assert list(months) == list(pd.date_range("1990-01-31", "2022-12-31", freq=pd.offsets.MonthEnd()))
    assert X.groupby("month").size().eq(20).all()
    assert y.index.equals(X.index)
    assert y.name == "ret_next"
    assert data.load_panel().equals(X)


def test_ranks_lie_between_minus_one_and_one_and_average_zero(panel):
    X, _ = panel
    assert (X.dtypes == np.float32).all()
    assert X.abs().max().eq(1).all()
    assert_allclose(X.groupby("month").mean().loc["1993":], 0, rtol=0, atol=1e-6)
    assert X.groupby("month").nunique().loc["1993":].min().min() >= 10  # ties are rare


def test_missing_only_where_history_is_short(panel):
    X, y = panel
    assert X.loc["1993-01":].notna().all().all()
    assert X.loc[:"1992-12", ["beta", "residmom", "mom36m"]].isna().all().all()
    assert X.loc["1990-01":"1990-12", "idiovol"].isna().all()
    assert y.isna().groupby("month").sum().to_dict() == {month: 20 * (month.year == 2022 and month.month == 12)
                                                       for month in X.index.unique("month")}  # fmt: skip


def test_returns_are_those_of_famous_months(panel):
    _, y = panel
    # Closes of the day, from the record: 60.94 to 25.75 (before later splits), and 2.28 to 5.83 dollars.
    assert y.idxmin() == (pd.Timestamp("2000-08-31"), "AAPL")
    assert_allclose(y.min(), 25.75 / 60.94 - 1, rtol=0, atol=2e-3)
    assert y.idxmax() == (pd.Timestamp("2020-03-31"), "RRC")
    assert_allclose(y.max(), 5.83 / 2.28 - 1, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "newest", "oldest"),
    [
        ("mom1m", 0, 1),
        ("mom6m", 1, 6),
        ("mom12m", 1, 12),
        ("intmom", 6, 12),
        ("momseasonshort", 11, 12),
        ("mom36m", 12, 36),
    ],
)
def test_momentum_follows_from_returns_already_known(panel, name, newest, oldest):
    X, y = panel
    known = np.vstack([np.full(20, np.nan), y.to_numpy().reshape(-1, 20)])  # row t: month t's return
    got = X[name].to_numpy().reshape(-1, 20)
    for t in range(oldest, len(got)):
        past = np.prod(1 + known[t - oldest + 1 : t - newest + 1], axis=0)
        # ret_next has six decimals, so two stocks a hair apart may change places.
        assert np.abs(got[t] - rank(past)).max() < 2.01 / 19
        assert np.abs(got[t] - rank(past)).mean() < 0.02


def test_script_uses_nothing_later_than_the_month(script, prices):
    stocks, market = prices
    full = script.make_panel(stocks, market)
    features = full.drop(columns="ret_next")
    for month in ("2003-01-31", "2003-10-31", "2004-06-30"):
        cut = script.make_panel(stocks.loc[:month], market.loc[:month])
        pd.testing.assert_frame_equal(cut.drop(columns="ret_next"), features.loc[:month], rtol=0, atol=1e-12)
        assert cut["ret_next"].loc[month].isna().all()
        pd.testing.assert_series_equal(cut["ret_next"].iloc[:-6], full["ret_next"].loc[:month].iloc[:-6])


def test_script_refuses_prices_too_short_for_beta(script, prices):
    with pytest.raises(ValueError, match="prices of 12 months were given, expected more than 36"):
        script.characteristics(prices[0].loc[:"2000"], prices[1].loc[:"2000"])


def test_script_sorts_stocks_and_labels_month_ends(script, prices):
    made = script.make_panel(*prices)
    assert made.index.is_monotonic_increasing
    assert made.index[0] == (pd.Timestamp("2000-01-31"), "A")
    closes = prices[0].loc["2002-05"].iloc[-1], prices[0].loc["2002-06"].iloc[-1]
    assert_allclose(made["ret_next"].loc["2002-05-31"], (closes[1] / closes[0] - 1)[list("ABCDEF")], rtol=1e-12, atol=0)


def test_script_characteristics_against_plain_formulas(script, prices):
    stocks, market = prices
    got = {name: frame.loc["2003-09-30"] for name, frame in script.characteristics(stocks, market).items()}
    r, m = stocks.pct_change().loc[:"2003-09"], market.pct_change().loc[:"2003-09"]
    monthly = stocks.groupby(stocks.index.to_period("M")).last().pct_change().loc[:"2003-09"].iloc[-36:]
    monthly_m = market.groupby(market.index.to_period("M")).last().pct_change().loc[:"2003-09"].iloc[-36:]
    for stock in stocks:
        year, year_m = r[stock].to_numpy()[-252:], m.to_numpy()[-252:]
        close = stocks[stock].loc[:"2003-09"].to_numpy()[-252:]
        inside = r[stock].loc["2003-09"]
        down = year_m < year_m.mean()
        slope, level = np.polyfit(year_m, year, 1)
        centred, centred_m = year - year.mean(), year_m - year_m.mean()
        lags = np.array([[1, *m.to_numpy()[t : t - 5 : -1]] for t in range(len(m) - 252, len(m))])
        full = year - lags @ np.linalg.solve(lags.T @ lags, lags.T @ year)
        unexplained = ((year - level - slope * year_m) ** 2).sum() / (centred**2).sum()
        beta, alpha = np.polyfit(monthly_m, monthly[stock], 1)
        resid = (monthly[stock] - alpha - beta * monthly_m).to_numpy()[-12:-1]
        want = {
            "retvol": statistics.stdev(inside),
            "maxret": max(inside),
            "returnskew": statistics.fmean(((inside - inside.mean()) / statistics.pstdev(inside)) ** 3),
            "idiovol": np.sqrt(((year - level - slope * year_m) ** 2).sum() / 250),
            "downvol": np.sqrt(sum(x * x for x in year if x < 0) / 252),
            "maxdd": max(1 - b / a for a, b in itertools.combinations_with_replacement(close, 2)),
            "high52": close[-1] / max(close),
            "mad": np.mean(close[-21:]) / np.mean(close[-200:]),
            "betadown": np.polyfit(year_m[down], year[down], 1)[0],
            "coskew": np.mean(centred * centred_m**2) / (centred.std() * centred_m.var()),
            "pricedelay": 1 - (1 - unexplained) / (1 - (full**2).sum() / (centred**2).sum()),
            "beta": beta,
            "residmom": resid.sum() / resid.std(ddof=1),
            "chmom": np.prod(1 + monthly[stock].iloc[-6:]) - np.prod(1 + monthly[stock].iloc[-12:-6]),
        }
        for name, value in want.items():
            assert_allclose(got[name][stock], value, rtol=1e-8, atol=1e-12, err_msg=f"{name} of {stock}")


def test_groups_name_every_characteristic_once(panel):
    named = list(itertools.chain.from_iterable(data.GROUPS.values()))
    assert sorted(named) == sorted(panel[0].columns)


def test_files_are_small_and_are_those_of_the_provenance():
    panel, models = data.panel_path(), [data.model_path(), data.model_path("volatility")]
    assert panel.stat().st_size < 600_000
    assert all(model.stat().st_size < 200_000 for model in models)
    for path in (panel, *models):
        assert path.name in PROVENANCE
        assert hashlib.sha256(path.read_bytes()).hexdigest() in PROVENANCE
    assert "fastlrp_features" in PROVENANCE


def test_codes_are_spelled_out_as_the_provenance_defines_them(panel):
    table = data.describe()
    assert list(table.index) == list(panel[0].columns)
    assert table.index.name == "factor"
    assert list(table.columns) == ["group", "meaning", "unit", "definition", "needs", "source"]
    assert (table.map(len) > 0).all(axis=None)
    assert table["meaning"].is_unique
    assert table["meaning"].str.len().max() <= 72  # fits a line of the demo
    for code, row in table.iterrows():
        assert f"| `{code}` | {row['definition']} | {row['needs']} | {row['source']} |" in PROVENANCE.splitlines()
        assert code in data.GROUPS[row["group"]]


def test_licence_of_the_prices_is_passed_on():
    notice, text = ((ROOT / name).read_text(encoding="utf-8") for name in ("NOTICE", "LICENSE"))
    assert "skfolio 1.12.2" in PROVENANCE
    assert "BSD 3-Clause" in PROVENANCE
    assert "Copyright (c) 2023-2026 The skfolio developers" in notice
    assert "Neither the name of the copyright holder" in notice
    assert "PROVIDED BY THE COPYRIGHT HOLDERS" in notice
    assert text.startswith("MIT License")
    assert "Copyright (c) 2026 The fastlrp developers" in text


def test_model_is_lstm_dropout_dense_and_knows_steps_and_features(panel):
    net = data.load_model()
    lstm, dropout, dense = net.layers
    assert (lstm.units, lstm.return_sequences) == (16, False)
    assert isinstance(dropout, Dropout)
    assert dropout.rate == 0.5
    assert isinstance(dense, Dense)
    assert dense.activation == "linear"
    assert net.steps == 12
    assert net.features == tuple(panel[0].columns)
    assert net.dtype == np.float32


def test_the_models_own_file_names_its_features(panel):
    """The file needs no table beside it: a reader gets the names from it, so columns may come in any order."""
    X = panel[0].loc["2020-01":]
    net = read_keras(data.model_path())
    assert net == data.load_model()
    assert net.features == tuple(X.columns)
    predicted = net.predict(X[X.columns[::-1]])
    assert predicted.equals(net.predict(X))
    assert not predicted.isna().all()


def test_model_predicts_what_keras_predicted(panel):
    predicted = data.load_model().predict(panel[0]).loc["2022-11-30"]
    want = pd.Series(KERAS)
    assert_allclose(predicted[want.index], want, rtol=0, atol=1e-6 * want.abs().max())


def test_model_scores_what_the_provenance_says(panel):
    X, y = panel
    predicted = data.load_model().predict(X)
    assert predicted.index.equals(X.index)
    assert predicted.notna().groupby("month").sum().loc["1993-12":].eq(20).all()
    assert predicted.loc[:"1993-11"].isna().all()
    by_month = y.groupby("month")
    target = (y - by_month.transform("mean")) / by_month.transform("std")
    frame = pd.DataFrame({"predicted": predicted, "target": target})
    for first, last, mse, spread, ic in [
        ("1993-12", "2009-12", "0.9186", "0.0990", "+0.1608"),
        ("2010-01", "2015-12", "0.9488", "0.0909", "+0.0210"),
        ("2016-01", "2022-11", "0.9642", "0.0991", "-0.0124"),
    ]:
        part = frame.loc[first:last]
        ranks = part.groupby("month").rank()
        ics = [month["predicted"].corr(month["target"]) for _, month in ranks.groupby("month")]
        assert_allclose(((part["predicted"] - part["target"]) ** 2).mean(), float(mse), rtol=0, atol=6e-5)
        assert_allclose(part["predicted"].groupby("month").std().mean(), float(spread), rtol=0, atol=6e-5)
        assert_allclose(np.mean(ics), float(ic), rtol=0, atol=1e-3)
        row = next(line for line in PROVENANCE.splitlines() if f"{first} to {last}" in line)
        assert f"| {mse} | 0.9500 | {spread} | {ic} (" in row


def test_volatility_is_ranked_out_of_sample_as_the_provenance_says(panel):
    X, y = data.load_panel(target="volatility")
    assert y.name == "retvol_next"
    whole = X["retvol"].to_numpy(np.float64).reshape(396, 20)
    np.testing.assert_array_equal(y.to_numpy().reshape(396, 20), np.vstack([whole[1:], np.full(20, np.nan)]))
    net = data.load_model("volatility")
    assert (net.steps, net.features, net.n_params) == (12, tuple(X.columns), 937)
    guesses = {"network": net.predict(X), "downvol": X["downvol"], "retvol": X["retvol"]}
    for span, first, last in (("training", "1993-12", "2009-11"), ("test", data.VOLATILITY_TEST_FROM, "2022-11")):
        row = next(line for line in PROVENANCE.splitlines() if line.startswith(f"| {span} | {first} to {last} | +"))
        for guess, said in zip(guesses.values(), row.split(" | ")[2:], strict=True):
            both = pd.DataFrame({"guess": guess, "y": y}).loc[first:last].groupby("month").rank()
            ics = [month["guess"].corr(month["y"]) for _, month in both.groupby("month")]
            assert_allclose(np.mean(ics), float(said.strip(" |")), rtol=0, atol=6e-5)


def test_unknown_networks_and_targets_are_refused():
    with pytest.raises(ValueError, match="predict 'returns' or 'volatility', not 'beta'"):
        data.load_model("beta")
    with pytest.raises(
        ValueError, match=r"load_panel\(target=...\) takes False, True, 'returns' or 'volatility', not 3"
    ):
        data.load_panel(target=3)
