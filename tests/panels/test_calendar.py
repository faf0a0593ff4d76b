"""The calendar of a whole panel, found from parts of it, against the windows that the whole panel has."""

import numpy as np
import pandas as pd
import pytest

from fastlrp.panels.calendar import calendar_of, part_keys
from fastlrp.panels.order import find_windows
from fastlrp.panels.periods import common_step, dates_of, month_step, period_step

STEPS = 3
MONTHS = pd.date_range("2000-01-31", periods=40, freq="ME")
KINDS = {
    "months": MONTHS,
    "numbers of months": MONTHS.year * 100 + MONTHS.month,
    "texts of months": MONTHS.strftime("%Y-%m"),
    "Periods": MONTHS.to_period("M"),
    "trading days": pd.bdate_range("2000-01-03", periods=40),
    "weeks": pd.date_range("2000-01-07", periods=40, freq="W-FRI"),
    "counted": pd.Index(np.arange(0, 400, 10)),
}


def ends(order, ends):
    """Whether each of the caller's rows ends a window."""
    out = np.empty_like(ends)
    out[slice(None) if order is None else order] = ends
    return out


def index_of(times, rng, every=1):
    """Ten assets with gaps; the last five have only every so many of the times, and one time nobody of them has."""
    index = pd.MultiIndex.from_product([times, range(10)], names=["date", "asset"])
    at = np.repeat(np.arange(len(times)), 10)
    sparse = index.get_level_values(1) >= 5
    return index[np.where(sparse, (at % every == 0) & (at != 12), rng.random(len(index)) < 0.9)]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_have_the_windows_of_the_whole(rng, kind, every):
    whole = index_of(KINDS[kind], rng, every)
    whole = whole[rng.permutation(len(whole))]
    want = ends(*find_windows(whole, STEPS)[:2])
    assert 0 < want.sum() < len(want)
    asset = whole.get_level_values(1)
    rows = [np.flatnonzero((asset >= low) & (asset < high)) for low, high in ((5, 10), (0, 2), (2, 5))]
    calendar = calendar_of([part_keys(whole[some]) for some in rows], ["a", "b", "c"], "")
    alone = 0
    for some in rows:
        got = ends(*calendar.windows(whole[some], STEPS)[:2])
        assert np.array_equal(got, want[some])
        alone += np.sum(ends(*find_windows(whole[some].copy(), STEPS)[:2]) != got)
    if every == 3 and kind != "Periods":  # these say themselves which follow each other
        assert alone > 0, "parts alone tell the same, so that this shows nothing"


def test_annual_rows_in_months_that_differ_follow_each_other():
    """Fiscal years: what decides is how many months lie between each asset's rows, in all parts together."""
    rows = [(pd.Timestamp(2000 + year, 1 + asset, 28), asset) for asset in range(8) for year in range(5)]
    whole = pd.MultiIndex.from_tuples(rows, names=["date", "asset"])
    parts = [whole[5 * k : 5 * k + 5] for k in range(8)]  # 4 pairs each, of which 20 are asked
    calendar = calendar_of([part_keys(part) for part in parts], list("abcdefgh"), "")
    assert calendar.step == 12
    got = np.concatenate([ends(*calendar.windows(part, STEPS)[:2]) for part in parts])
    assert np.array_equal(got, ends(*find_windows(whole, STEPS)[:2]))
    assert got.sum() == 24


def test_refusals():
    index = pd.MultiIndex.from_product([MONTHS, ["A", "B"]], names=["date", "asset"])
    keys = part_keys(index)
    with pytest.raises(ValueError, match=r"asset A stands in one and in two, expected .* one part: do this"):
        calendar_of([keys, keys], ["one", "two"], "do this")
    with pytest.raises(ValueError, match="twice, expected one row a time and asset"):
        part_keys(index.append(index[:1]))
    with pytest.raises(ValueError, match="the panel is empty"):
        calendar_of([], [], "")
    with pytest.raises(ValueError, match="the panel has changed while it was read: 2010-01-31 is a new time"):
        calendar_of([keys], ["one"], "").positions(pd.DatetimeIndex(["2010-01-31"]))
    daily = pd.MultiIndex.from_tuples([*index, (pd.Timestamp("2000-02-28"), "B")], names=["date", "asset"])
    with pytest.raises(ValueError, match=r"rows \(2000-02-28, B\) and \(2000-02-29, B\) share a month"):
        calendar_of([part_keys(daily)], ["one"], "")


@pytest.mark.parametrize(
    ("written", "dates"),
    [
        (["2019-01", "2019-12"], ["2019-01-01", "2019-12-01"]),
        ([201901, 201912], ["2019-01-01", "2019-12-01"]),
        (["2019Q1", "2019Q4"], ["2019-01-01", "2019-10-01"]),
        ([2019, 2020], ["2019-01-01", "2020-01-01"]),
        (["31/01/2019", "01/02/2019"], ["2019-01-31", "2019-02-01"]),
    ],
)
def test_dates_of_what_is_written(written, dates):
    assert list(dates_of(pd.Index(written))) == list(pd.DatetimeIndex(dates))


def test_common_steps():
    assert common_step(np.array([0, 4, 10])) == 2
    assert common_step(np.array([7])) == 0
    assert [month_step(step) for step in (0, 1, 2, 3, 6, 12, 18, 24)] == [1, 1, 1, 3, 6, 12, 6, 12]


def test_periods_of_several_months_that_keep_to_them_or_not():
    for kept, step in ((["2019-01", "2019-04", "2019-10"], 3), (["2019-01", "2019-03", "2019-10"], 1)):
        level = pd.PeriodIndex(kept, freq="3M")
        assert period_step(level, np.array([period.ordinal for period in level])) == step
