"""Panels against loops over a dictionary of rows: windows by calendar, columns by name, and refusals."""

from __future__ import annotations

import datetime
import gc
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlrp.panels import order
from fastlrp.panels.infinities import locate_infinite, locate_infinite_array
from fastlrp.panels.order import complete_ends
from fastlrp.panels.panel import as_panel
from fastlrp.panels.periods import periods, time_level


def windows(panel):
    """Every window as {the caller's row at its end: the caller's rows, oldest first}."""
    order = np.arange(len(panel.windows.ends)) if panel.windows.order is None else panel.windows.order
    return {
        int(order[r]): tuple(order[r - panel.steps + 1 : r + 1].tolist()) for r in np.flatnonzero(panel.windows.ends)
    }


def windows_by_search(rows, steps, stride=1):
    """The same from rows [(asset, period number)], looking up each month in turn."""
    at = {row: i for i, row in enumerate(rows)}
    found = {}
    for (asset, period), i in at.items():
        window = [at.get((asset, period - stride * lag)) for lag in range(steps - 1, -1, -1)]
        if None not in window:
            found[i] = tuple(window)
    return found


def frame_of(rows, time_of, *, time_first=True, names=("date", "asset"), dtype=np.float64, width=3):
    """A panel of rows [(asset, period number)], with times as ``time_of`` spells them."""
    times, assets = [time_of(period) for _, period in rows], [asset for asset, _ in rows]
    index = pd.MultiIndex.from_arrays([times, assets], names=names)
    index = index if time_first else index.swaplevel()
    values = np.arange(len(rows) * width, dtype=dtype).reshape(len(rows), width)
    return pd.DataFrame(values, index=index, columns=[f"f{j}" for j in range(width)])


SPELLINGS = {
    "month end": lambda m: pd.Timestamp(1990 + m // 12, m % 12 + 1, 1) + pd.offsets.MonthEnd(0),
    "any day": lambda m: pd.Timestamp(1990 + m // 12, m % 12 + 1, 1 + (7 * m) % 28),
    "time zone": lambda m: pd.Timestamp(1990 + m // 12, m % 12 + 1, 1, tz="America/New_York"),
    "date": lambda m: datetime.date(1990 + m // 12, m % 12 + 1, 15),
    "period": lambda m: pd.Period(year=1990 + m // 12, month=m % 12 + 1, freq="M"),
    "YYYYMM": lambda m: (1990 + m // 12) * 100 + m % 12 + 1,
    "YYYYMM float": lambda m: float((1990 + m // 12) * 100 + m % 12 + 1),
    "YYYYMMDD": lambda m: (1990 + m // 12) * 10000 + (m % 12 + 1) * 100 + 28,
    "ISO month": lambda m: f"{1990 + m // 12}-{m % 12 + 1:02d}",
    "slash": lambda m: f"{1990 + m // 12}/{m % 12 + 1}",
    "Stata": lambda m: f"{1990 + m // 12}m{m % 12 + 1}",
    "digits": lambda m: f"{1990 + m // 12}{m % 12 + 1:02d}",
    "ISO date": lambda m: f"{1990 + m // 12}-{m % 12 + 1:02d}-20",
    "ISO time": lambda m: f"{1990 + m // 12}-{m % 12 + 1:02d}-20T16:00:00",
    "counter": lambda m: m,
}

MESSY = [("B", 0), ("A", 5), ("A", 3), ("C", 1), ("B", 1), ("A", 4), ("B", 2), ("A", 14), ("B", 4), ("A", 0)]
MESSY += [("A", 13), ("B", 5), ("C", 2), ("A", 12), ("A", 15), ("B", 6), ("A", 11)]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("time_first", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_windows_of_a_messy_panel(spelling, time_first, steps):
    frame = frame_of(MESSY, SPELLINGS[spelling], time_first=time_first)
    panel = as_panel(frame, steps)
    assert windows(panel) == windows_by_search(MESSY, steps)
    assert panel.index is frame.index
    assert panel.features == ("f0", "f1", "f2")
    np.testing.assert_array_equal(panel.windows.rows, frame.to_numpy())


rows_of_panels = st.lists(st.tuples(st.sampled_from("XYZ"), st.integers(0, 30)), max_size=60, unique=True).map(
    lambda rows: [*rows, ("W", 8), ("W", 7)]  # two consecutive months, so that no coarser grid fits
)


@given(rows=rows_of_panels, steps=st.integers(1, 5), spelling=st.sampled_from(sorted(SPELLINGS)), first=st.booleans())
def test_windows_of_any_panel(rows, steps, spelling, first):
    panel = as_panel(frame_of(rows, SPELLINGS[spelling], time_first=first), steps)
    assert windows(panel) == windows_by_search(rows, steps)


@given(rows=rows_of_panels, steps=st.integers(1, 4))
def test_sorted_rows_are_recognised(rows, steps):
    for ordered in (sorted(rows), sorted(rows, key=lambda row: (-ord(row[0]), row[1]))):
        panel = as_panel(frame_of(ordered, SPELLINGS["month end"]), steps)
        assert panel.windows.order is None
        assert windows(panel) == windows_by_search(ordered, steps)


def test_a_month_that_is_missing_for_all_is_a_gap():
    rows = [(asset, month) for asset in "AB" for month in (0, 1, 2, 4, 5, 6)]
    for spelling in set(SPELLINGS):
        panel = as_panel(frame_of(rows, SPELLINGS[spelling]), 3)
        assert sorted(windows(panel)) == [2, 5, 8, 11], spelling


@pytest.mark.parametrize(("stride", "count"), [(3, 5), (6, 4), (12, 4)])
def test_quarters_half_years_and_years_by_their_own_step(stride, count):
    months = [stride * k for k in range(count)] + [stride * (count + 1 + k) for k in range(count)]
    rows = [(asset, month) for month in months for asset in "AB"]
    panel = as_panel(frame_of(rows, SPELLINGS["month end"]), 3)
    assert windows(panel) == windows_by_search(rows, 3, stride)


def test_fiscal_years_that_end_in_different_months():
    rows = [(f"firm {k}", k + 12 * year) for year in (0, 1, 2, 4, 5, 6, 7) for k in range(12)]
    panel = as_panel(frame_of(rows, SPELLINGS["month end"]), 2)
    assert windows(panel) == windows_by_search(rows, 2, 12)
    assert len(windows(panel)) == 12 * 5


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        (["1990Q1", "1990Q2", "1990Q3", "1990Q4", "1991Q1", "1991Q3"], 5),
        (["1989", "1990", "1991", "1993"], 3),
        ([1989, 1990, 1991, 1993], 3),
        ([10, 20, 30, 50], 3),
        (list(pd.period_range("1990Q3", periods=4, freq="Q").delete(2)), 2),
        (list(pd.period_range("1990", periods=4, freq="Y").delete(2)), 2),
        (list(pd.period_range("1990-01", periods=5, freq="3M").delete(3)), 3),
        (list(pd.period_range("1990-01-05", periods=6, freq="W").delete(4)), 4),
        (list(pd.date_range("1990-01-05", periods=12, freq="7D").delete(9)), 9),
    ],
)
def test_other_grids(times, gap):
    index = pd.MultiIndex.from_product([["a", "b"], times], names=["firm", "period"])
    panel = as_panel(pd.DataFrame({"x": np.ones(len(index))}, index=index), 2)
    ends = np.ones(len(times), bool)
    ends[[0, gap]] = False
    np.testing.assert_array_equal(panel.windows.ends, np.tile(ends, 2))


@pytest.mark.parametrize("kind", ["datetime", "period"])
def test_several_dates_a_month_are_a_trading_calendar(kind):
    days = pd.bdate_range("1990-01-02", periods=50).delete([20, 33])  # holidays, shared by all
    if kind == "period":
        days = days.to_period("D")
    rows = [(asset, k) for k in range(len(days)) for asset in "AB" if (asset, k) != ("B", 30)]
    panel = as_panel(frame_of(rows, lambda k: days[k]), 5)
    assert windows(panel) == windows_by_search(rows, 5)
    assert len(windows(panel)) == 2 * 44 - 5


def test_month_ends_that_differ_by_asset_are_months():
    rows = [(asset, month) for month in range(24) for asset in "AB" if (asset, month) != ("A", 7)]
    frame = frame_of(rows, SPELLINGS["month end"])
    dates = [date - pd.Timedelta(days=2 * (asset == "B")) for date, asset in frame.index]
    frame.index = pd.MultiIndex.from_arrays([dates, frame.index.get_level_values(1)], names=["date", "asset"])
    assert windows(as_panel(frame, 4)) == windows_by_search(rows, 4)


def test_a_stray_second_date_in_a_month_is_named():
    rows = [("A", month) for month in range(24)]
    frame = frame_of(rows, SPELLINGS["month end"])
    frame.loc[(pd.Timestamp("1990-06-12"), "A"), :] = 1.0
    with pytest.raises(ValueError, match=r"about one date a month.*\(1990-06-12, A\) and \(1990-06-30, A\) share"):
        as_panel(frame, 3)


def test_unused_and_unsorted_levels_do_no_harm():
    rows = [(asset, month) for month in range(24) for asset in "CAB"]
    frame = frame_of(rows, SPELLINGS["month end"])
    part = frame[(np.arange(72) % 24 != 5) & (np.arange(72) > 9)]
    kept = [row for i, row in enumerate(rows) if i % 24 != 5 and i > 9]
    shuffled = part.index.set_levels(part.index.levels[1].rename("asset"), level=1)
    assert windows(as_panel(part.set_axis(shuffled), 3)) == windows_by_search(kept, 3)
    categorical = part.reset_index()
    categorical["asset"] = pd.Categorical(categorical["asset"], ["C", "Z", "B", "A"])
    categorical["date"] = pd.Categorical(categorical["date"])
    assert windows(as_panel(categorical.set_index(["asset", "date"]), 3)) == windows_by_search(kept, 3)


def test_more_assets_than_sixteen_bits(rng):
    n = 70_000
    asset, month = np.tile(rng.permutation(n), 2), np.repeat([1, 0], n)
    index = pd.MultiIndex.from_arrays([asset, 199001 + month], names=["permno", "yyyymm"])
    panel = as_panel(pd.DataFrame({"x": np.zeros(2 * n)}, index=index), 2)
    np.testing.assert_array_equal(panel.windows.order, np.lexsort((month, asset)))
    np.testing.assert_array_equal(panel.windows.ends, np.tile([False, True], n))


# ------------------------------------------------------------------------------------------------- which level is time


@pytest.mark.parametrize(
    ("first", "second", "names", "level"),
    [
        (pd.to_datetime(["1990-01-31"]), pd.Index([7]), (None, None), 0),
        (pd.Index(["x"]), pd.PeriodIndex(["1990-01"], freq="M"), (None, None), 1),
        (pd.Index([1]), pd.Index([2]), ("permno", "month"), 1),
        (pd.Index([1]), pd.Index([2]), ("Month-End", "stock"), 0),
        (pd.Index([199001]), pd.Index([10001]), (None, None), 0),
        (pd.Index(["AAPL"]), pd.Index(["1990-01"]), (None, None), 1),
        (pd.Index(["001690"]), pd.Index(["199001"]), (None, None), 1),
        (pd.Index([10001]), pd.Index([2001]), ("a", "b"), 1),
        (pd.Index(["AAPL"]), pd.Index([3]), ("a", "b"), 1),
        (pd.to_datetime(["1990-01-31"]), pd.to_datetime(["1970-01-01"]), ("listed", "date"), 1),
    ],
)
def test_time_level(first, second, names, level):
    assert time_level(pd.MultiIndex.from_arrays([first, second], names=names)) == level


@pytest.mark.parametrize(("first", "second"), [([1], [2]), (["AAPL"], ["MSFT"]), (["1990"], [199001])])
def test_time_level_that_cannot_be_told(first, second):
    with pytest.raises(ValueError, match="which level of the panel's index is the time is not clear"):
        time_level(pd.MultiIndex.from_arrays([first, second], names=["a", "b"]))


def test_periods_are_in_time_order_and_merge_spellings():
    index = pd.MultiIndex.from_arrays([["1990m10", "1990m2", "1990-02", None], list("AABA")], names=["month", "asset"])
    rank, labels = periods(index)
    np.testing.assert_array_equal(rank, [1, 0, 0, -1])
    assert list(labels) in (["1990m2", "1990m10"], ["1990-02", "1990m10"])


# ------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_are_a_view_where_they_can_be(dtype, order):
    rows = [(asset, month) for asset in "AB" for month in range(13)]
    plain = frame_of(rows, SPELLINGS["month end"])
    X = np.array(plain.to_numpy(), dtype, order=order)
    frame = pd.DataFrame(X, plain.index, plain.columns, copy=False)
    for names, columns in ((None, [0, 1, 2]), (["f1", "f2"], [1, 2]), (["f0", "f2"], [0, 2]), (["f1"], [1])):
        panel = as_panel(frame, 3, names)
        assert np.shares_memory(panel.windows.rows, X)
        assert panel.windows.rows.dtype == dtype
        np.testing.assert_array_equal(panel.windows.rows, X[:, columns])
    backwards = as_panel(frame, 3, ["f2", "f0"])
    np.testing.assert_array_equal(backwards.windows.rows, X[:, [2, 0]])
    unsorted = as_panel(frame.iloc[::-1].copy(), 3)
    assert unsorted.windows.rows.strides[1] == unsorted.windows.rows.itemsize
    np.testing.assert_array_equal(unsorted.windows.rows, X[::-1])


def test_columns_of_every_numeric_dtype():
    rows = [("A", month) for month in range(13)]
    index = frame_of(rows, SPELLINGS["month end"]).index
    want = np.arange(13.0) % 2
    columns = {f"c{i}": want.astype(d) for i, d in enumerate(["bool", "i1", "u8", "f2", "f4", "f8", ">f8", ">i4"])}
    frame = pd.DataFrame(columns, index=index)
    for dtype in ("Int64", "Float32", "boolean", "int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]"):
        if "pyarrow" in dtype:
            pytest.importorskip("pyarrow")
        column = pd.Series(want.astype(bool if dtype.startswith("bool") else float), index=index).astype(dtype)
        column.iloc[3] = pd.NA
        frame[dtype] = column
    frame["sparse"] = pd.Series(pd.arrays.SparseArray(want), index=index)
    panel = as_panel(frame, 2)
    expected = np.repeat(want[:, None], len(frame.columns), axis=1)
    expected[3, [8, 9, 10, 11, 12, 13]] = np.nan
    assert panel.windows.rows.dtype == np.float64
    np.testing.assert_array_equal(panel.windows.rows, expected)
    assert as_panel(frame, 2, dtype="float32").windows.rows.dtype == np.float32
    np.testing.assert_array_equal(as_panel(frame, 2, dtype="float32").windows.rows, expected)


@pytest.mark.parametrize(
    ("dtypes", "asked", "want"),
    [
        (["f4", "f4"], None, "f4"),
        (["f4", "f2"], None, "f4"),
        (["f4", "Float32"], None, "f4"),
        (["f4", "f8"], None, "f8"),
        (["f4", "i1"], None, "f8"),
        (["f8", "f8"], np.float32, "f4"),
        (["f4", "f4"], "float64", "f8"),
    ],
)
def test_compute_dtype(dtypes, asked, want):
    frame = frame_of([("A", month) for month in range(3)], SPELLINGS["month end"], width=2)
    frame = frame.astype(dict(zip(frame.columns, dtypes, strict=True)))
    assert as_panel(frame, 2, dtype=asked).windows.rows.dtype == want


def test_missing_values_do_not_end_a_run():
    frame = frame_of([("A", month) for month in range(6)], SPELLINGS["month end"])
    frame.iloc[2] = np.nan
    panel = as_panel(frame, 3)
    assert panel.windows.ends.tolist() == [False, False, True, True, True, True]
    assert np.isnan(panel.windows.rows[2]).all()


def test_features_are_taken_by_name():
    frame = frame_of([("A", month) for month in range(3)], SPELLINGS["month end"])
    frame["ticker"] = "text that is not asked for"
    panel = as_panel(frame, 2, ["f2", "f0"], n_features=2)
    assert panel.features == ("f2", "f0")
    np.testing.assert_array_equal(panel.windows.rows, frame[["f2", "f0"]].to_numpy())
    numbered = frame_of([("A", month) for month in range(3)], SPELLINGS["month end"]).set_axis([0, 1, 2], axis=1)
    assert as_panel(numbered, 2).features == ("0", "1", "2")


def test_memory_is_at_most_one_copy_and_a_little():
    n, D = 200_000, 32
    months = pd.period_range("1900-01", periods=400, freq="M")
    index = pd.MultiIndex.from_product([months, range(500)], names=["month", "stock"])
    X = np.zeros((n, D), np.float32, order="F")
    frame = pd.DataFrame(X, index, copy=False)
    separate = pd.DataFrame({j: X[:, j] for j in range(D)}, index)
    as_panel(frame, 3)
    tracemalloc.start()
    try:
        for case, copies in ((frame, 1), (separate, 1), (frame.set_axis(index.swaplevel().sort_values()), 0)):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            as_panel(case, 3)
            extra = tracemalloc.get_traced_memory()[1] - before
            assert extra < copies * X.nbytes + 60 * n
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------------ refusals


def monthly(**columns):
    frame = frame_of([(asset, month) for asset in "AB" for month in range(4)], SPELLINGS["month end"])
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (np.zeros((3, 2)), {}, "must be a pandas DataFrame, not ndarray"),
        (monthly().reset_index("asset", drop=True), {}, "has one level, expected two.*set_index"),
        (monthly().set_index("f0", append=True), {}, "has 3 levels, expected two.*set_index"),
        (monthly().iloc[:0], {}, "the panel is empty"),
        (monthly().drop(columns=["f0", "f1", "f2"]), {}, "no columns"),
        (monthly(), {"steps": 0}, "steps= takes a whole number of at least 1, not 0"),
        (monthly(), {"steps": 2.0}, "not 2.0"),
        (monthly(), {"steps": True}, "not True"),
        (monthly(), {"dtype": "int32"}, "dtype= takes float32 or float64, not 'int32'"),
        (monthly(), {"dtype": "nonsense"}, "dtype= takes float32 or float64, not 'nonsense'"),
        (monthly(), {"n_features": 4}, "has 3 columns, expected 4 features: f0, f1, f2"),
        (
            monthly(),
            {"features": ["f0", "ff1", "zzz"]},
            r"lacks 2 of 3 features: 'ff1' \(did you mean 'f1'\?\), 'zzz'$",
        ),
        (
            monthly(a="x", b=1j),
            {},
            r"do not hold real numbers: 'a' \((str|object, 'x' at \(1990-01-31, A\))\), 'b' \(complex128\)",
        ),
        (monthly(when=pd.Timestamp("1990-01-01")), {}, "do not hold real numbers: 'when'"),
        (monthly().set_axis(["f0", "f1", "f0"], axis=1), {}, "two columns called 'f0'"),
        (monthly().set_axis([1, "1", "f0"], axis=1), {}, "two columns called '1'"),
        (pd.concat({"k": monthly()}, axis=1), {}, "columns have 2 levels"),
        (monthly().rename(index={"A": "B"}), {}, r"row \(1990-01-31, B\) twice"),
        (monthly().rename(index={"A": None}), {}, "no asset in row 0"),
        (monthly().rename(index={pd.Timestamp("1990-03-31"): pd.NaT}), {}, "no time in row 2"),
        (
            monthly().rename(index=str.lower, level=1).rename(index=lambda t: "soon", level=0),
            {},
            "not understood .*'soon'",
        ),
    ],
)
def test_refusals_are_one_sentence(frame, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        as_panel(frame, **{"steps": 2, **options})
    assert "\n" not in str(caught.value)


def test_the_first_duplicate_in_the_callers_order_is_named():
    rows = [("B", 3), ("A", 1), ("B", 2), ("B", 2), ("A", 1)]
    with pytest.raises(ValueError, match=r"\(1990-03-31, B\) twice"):
        as_panel(frame_of(rows, SPELLINGS["month end"]), 1)


def test_infinite_values_are_named():
    frame = monthly()
    assert locate_infinite(as_panel(frame, 2)) is None
    frame.iloc[6, 1] = -np.inf
    with pytest.raises(ValueError, match=r"infinite \(-inf\) at feature 'f1' at date 1990-03-31, asset B;"):
        locate_infinite(as_panel(frame, 2))
    frame.iloc[6, 1] = 1e300
    with pytest.raises(ValueError, match=r"\(inf, or too large for float32\) at feature 'f1'"):
        locate_infinite(as_panel(frame, 2, dtype=np.float32))
    with pytest.raises(ValueError, match=r"at 1990-03-31, B;"):
        locate_infinite(as_panel(frame.rename_axis([None, None]), 2, dtype=np.float32))


def test_infinite_values_of_arrays_are_named():
    X = np.zeros((5000, 3, 2))
    X[:, 0, 0] = np.nan
    assert locate_infinite_array(X) is None
    X[4500, 2, 1] = np.inf
    with pytest.raises(ValueError, match=r"infinite \(inf\) at sample 4500, step 2, feature 1;"):
        locate_infinite_array(X)
    with pytest.raises(ValueError, match=r"feature 1 \('b'\);"):
        locate_infinite_array(X, ["a", "b"])
    with pytest.raises(ValueError, match=r"at sample 4500, feature 1;"):
        locate_infinite_array(X[:, 2])


@pytest.mark.parametrize("missing", [[None] * 3, [np.nan] * 3, [pd.NaT] * 3])
def test_an_index_without_any_time_is_refused_in_words(missing):
    index = pd.MultiIndex.from_arrays([missing, ["a", "b", "c"]], names=["date", "stock"])
    with pytest.raises(ValueError, match=r"date|time"):
        as_panel(pd.DataFrame(np.zeros((3, 2)), index=index, columns=["x", "y"]), 1)


def test_the_windows_of_the_last_panel_are_remembered_as_long_as_it_lives():
    rows = [(asset, period) for period in range(30) for asset in "ABC"]
    frame = frame_of(rows, SPELLINGS["month end"])
    first = as_panel(frame, 4)
    again = as_panel(frame * 2, 4, ["f2", "f0"])  # other values and columns on the same index
    assert (again.windows.order is first.windows.order, again.windows.ends is first.windows.ends) == (True, True)
    np.testing.assert_array_equal(again.windows.rows, 2 * first.windows.rows[:, [2, 0]])
    assert not np.array_equal(as_panel(frame, 5).windows.ends, first.windows.ends)
    other = as_panel(frame.iloc[3:], 4)
    assert len(other.windows.ends) == len(frame) - 3
    np.testing.assert_array_equal(as_panel(frame, 4).windows.ends, first.windows.ends)
    for part in (first.windows.order, first.windows.ends):
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 0
    assert order._last is not None
    del frame, first, again, other
    gc.collect()
    assert order._last is None


def test_an_index_renamed_in_place_is_looked_at_again():
    rows = [(asset, period) for asset in range(190_001, 190_004) for period in range(12)]
    frame = frame_of(rows, lambda m: 199_001 + m, names=("month", "asset"))
    assert as_panel(frame, 3).windows.ends.sum() == 3 * 10
    frame.index.names = ["asset", "month"]
    assert as_panel(frame, 3).windows.ends.sum() != 3 * 10


WRITTEN = {
    "%d/%m/%Y": "31/01/1994", "%m/%d/%Y": "01/31/1994", "%d.%m.%Y": "31.01.1994", "%d/%m/%Y 00:00": "31/01/1994 00:00",
    "%b %Y": "Jan 1994", "%d%b%Y": "31Jan1994", "%B %d, %Y": "January 31, 1994", "%m/%Y": "01/1994",
}  # fmt: skip


@pytest.mark.parametrize("form", WRITTEN)
def test_dates_as_spreadsheets_write_them_are_months(form):
    months = pd.date_range("1994-01-31", periods=14, freq=pd.offsets.MonthEnd())
    assert months[0].strftime(form) == WRITTEN[form]
    index = pd.MultiIndex.from_product([["a", "b"], months], names=["id", "when"])
    texts = pd.MultiIndex.from_product([["a", "b"], months.strftime(form)], names=["id", "when"])
    values = np.zeros((28, 2))
    got, want = (as_panel(pd.DataFrame(values, i, ["x", "y"]).drop(i[5]), 4) for i in (texts, index))
    np.testing.assert_array_equal(got.windows.ends, want.windows.ends)
    assert 0 < want.windows.ends.sum() < 27


@pytest.mark.parametrize("mark", ["/", ".", "-"])
def test_dates_of_which_day_and_month_may_change_places_are_refused(mark):
    texts = [f"01{mark}{k:02d}{mark}1994" for k in range(1, 13)]  # the first days of months, or twelve days of January
    index = pd.MultiIndex.from_product([texts, ["a"]], names=["date", "id"])
    with pytest.raises(ValueError, match=r"'01.02.1994' is not clear.*dayfirst=True"):
        as_panel(pd.DataFrame(np.zeros((12, 1)), index, ["x"]), 2)
    both = pd.MultiIndex.from_product([["01/01/1994", "02/02/1994"], ["a"]], names=["date", "id"])
    assert as_panel(pd.DataFrame(np.zeros((2, 1)), both, ["x"]), 2).windows.ends.tolist() == [False, True]


@pytest.mark.parametrize(
    "texts", [["31/02/1994"], ["31/01/1994", "01/31/1994"], ["31/01/94"], ["Foo 1994"], ["13/1994"]]
)
def test_what_is_no_date_is_refused(texts):
    index = pd.MultiIndex.from_product([texts, ["a"]], names=["date", "id"])
    with pytest.raises(ValueError, match=r"not understood as times.*pd\.to_datetime"):
        as_panel(pd.DataFrame(np.zeros((len(texts), 1)), index, ["x"]), 1)


def test_a_window_is_complete_where_all_its_rows_are_usable_the_last_one_too():
    usable = np.array([True, True, True, False, True, True, True])
    ends = np.array([False, True, True, True, True, True, True])
    np.testing.assert_array_equal(complete_ends(ends, usable, 2), [False, True, True, False, False, True, True])
    lengths = np.array([1, 2, 2, 1, 1, 2, 2])
    np.testing.assert_array_equal(complete_ends(ends, usable, 2, lengths), [True, True, True, False, True, True, True])
