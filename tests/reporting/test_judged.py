"""Rank correlations, portfolios and R2, against plain loops, pandas.qcut and a case done by hand."""

import numpy as np
import pandas as pd
import pytest

from fastlrp.reporting.judged import by_period, judged, newey_west


@pytest.fixture
def some():
    """Seven months of up to 23 assets with missing values on either side, and ties."""
    rng = np.random.default_rng(3)
    index = pd.MultiIndex.from_product([pd.period_range("2001-01", periods=7, freq="M"), [f"s{k}" for k in range(23)]])
    frame = pd.DataFrame(rng.normal(size=(len(index), 2)), index, ["p", "y"]).round(1)
    return frame.mask(rng.random(frame.shape) < 0.15).sample(frac=1, random_state=0)


def test_each_period_against_plain_loops(some):
    table = by_period(some.index, some["p"].to_numpy(), some["y"].to_numpy(), 5)
    assert list(table.columns) == ["rank", "n", "ic", "error", "square", 1, 2, 3, 4, 5]
    assert list(table.index.astype(str)) == [f"2001-0{k}" for k in range(1, 8)]
    for month, row in table.iterrows():
        part = some.loc[month].dropna()
        ranks = [[sum(v < x) + (sum(v == x) + 1) / 2 for x in v] for v in (part["p"].to_numpy(), part["y"].to_numpy())]
        assert row["n"] == len(part)
        assert row["ic"] == pytest.approx(np.corrcoef(*ranks)[0, 1], rel=0, abs=1e-12)
        assert row["error"] == pytest.approx(sum((y - p) ** 2 for p, y in part.to_numpy()), rel=1e-12)


def test_portfolios_are_those_of_qcut():
    rng = np.random.default_rng(1)
    for n, q in ((20, 5), (23, 5), (101, 10), (7, 3)):
        index = pd.MultiIndex.from_product([pd.to_datetime(["2001-01-31"]), range(n)], names=["month", "stock"])
        p, y = rng.normal(size=(2, n))
        got = by_period(index, p, y, q).iloc[0, 5:].astype(float)
        np.testing.assert_allclose(got, pd.Series(y).groupby(pd.qcut(p, q, labels=False)).mean(), rtol=0, atol=1e-12)


def test_all_periods_together(some):
    table = by_period(some.index, some["p"].to_numpy(), some["y"].to_numpy(), 5)
    both = some.dropna()
    got = judged(table)
    assert got.r2 == pytest.approx(1 - ((both["y"] - both["p"]) ** 2).sum() / (both["y"] ** 2).sum(), rel=0, abs=1e-12)
    assert got.ic.mean == pytest.approx(table["ic"].mean(), rel=0, abs=1e-12)
    assert got.difference.mean == pytest.approx((table[5] - table[1]).mean(), rel=0, abs=1e-12)
    assert got.ic.n == 7


def test_newey_west_by_hand():
    # errors -1.5, -0.5, 0.5, 1.5: autocovariances 5, 1.25, -1.5; the rule gives int(4 * 0.04^(2/9)) = 1 lag
    t = 2.5 / (np.sqrt(5 + 2 * 0.5 * 1.25) / 4)
    assert newey_west(np.array([1.0, 2, 3, 4])) == pytest.approx((2.5, t, 4), rel=1e-12)
    t = 2.5 / (np.sqrt(5 + 2 * (2 / 3 * 1.25 - 1 / 3 * 1.5)) / 4)
    assert newey_west(np.array([1.0, 2, 3, 4]), 2) == pytest.approx((2.5, t, 4), rel=1e-12)
    assert np.isnan(newey_west(np.array([1.0])).t)
    assert newey_west(np.empty(0)).n == 0


def test_periods_that_say_nothing_are_left_out():
    index = pd.MultiIndex.from_product([[2001, 2002, 2003], ["a", "b", "c"]], names=["year", "firm"])
    p = np.array([1.0, 2, 3, 1, 1, 1, 1, 2, np.nan])
    y = np.array([1.0, 2, 3, 1, 2, 3, 1, 2, 3])
    table = by_period(index, p, y)
    np.testing.assert_array_equal(table["ic"], [1, np.nan, np.nan])
    assert list(table["n"]) == [3, 3, 2]
    assert judged(table).ic.n == 1
