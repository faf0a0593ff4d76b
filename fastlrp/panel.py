"""Panels: a DataFrame indexed by time and asset -> one feature matrix, a row order, and where full windows end.

A window is never copied: a kernel walks the sorted rows and writes each result to its caller's row. What counts as
consecutive is decided by :func:`_grid`, on distinct times, so that the cost per row is a few passes over integers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]

_TIME_WORDS = re.compile(
    "time|date|day|week|month|quarter|year|period|datetime|timestamp|yyyymm|yyyymmdd|yyyymon|yearmonth|yearmon|eom|"
    "datadate|m?caldt|ym"
)
_MONTH = re.compile(r"(\d{4})(?:[-/_. ]?[mM]?(?=\d\d)|[-/_. mM])(\d\d?)")  # 1990-01, 1990/1, 199001, 1990m1
_QUARTER = re.compile(r"(\d{4})[-/_. ]?[qQ](\d)")
_YEARS = (1700, 2300)  # numbers outside are no years: firm identifiers must not look like dates
_BLOCK = 4096  # rows converted or searched at once, so that temporaries stay in cache and out of the memory's peak


@dataclass(frozen=True, eq=False)
class Panel:
    """What kernels need of a frame. Rows of ``values`` are the caller's rows, in the caller's order.

    Attributes
    ----------
    values : array (rows, D)
        Features in the compute dtype, NaN where missing; any strides, maybe read-only, often the frame's own memory.
        Where ``order`` is not None its rows are contiguous.
    order : int64 array (rows,) or None
        ``values[order[r]]`` is sorted row r, and the result of sorted row r belongs at row ``order[r]``. None where
        the caller's rows are sorted already: each asset's rows together, oldest first.
    ends : bool array (rows,)
        Whether sorted row r ends a window: sorted rows r-steps+1 ... r are one asset's consecutive periods.
    index : MultiIndex
        The caller's own.
    features : tuple of str
        Names of the D columns.
    steps : int
        T, the length of a window.
    """

    values: Array
    order: Array | None
    ends: Array
    index: pd.MultiIndex
    features: tuple[str, ...]
    steps: int


def as_panel(
    frame: pd.DataFrame,
    steps: int,
    features: Sequence[str] | None = None,
    dtype: npt.DTypeLike | None = None,
    *,
    n_features: int | None = None,
) -> Panel:
    """Check a frame at the door and describe its windows.

    Consecutive are: months (quarters, half-years, years, as the panel has them) of datetimes, YYYYMM numbers and
    strings such as "1990-01", so a month that is missing for every asset is a gap too; Periods by their own
    frequency; whole numbers by their greatest common step. Several dates a month make a trading calendar: then the
    panel's own distinct dates follow each other, unless all are whole weeks apart.

    Parameters
    ----------
    frame : DataFrame
        Two index levels, a time and an asset, in either order and under any names; rows in any order.
    steps : int
        T, at least 1.
    features : sequence of str or None
        Columns to take, by name and in this order; None takes all.
    dtype : float32, float64 or None
        None: float32 where every column is, else float64.
    n_features : int or None
        How many columns are expected.

    Raises
    ------
    ValueError
        For anything that is no such panel: one sentence, with the first offending row or column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"a panel must be a pandas DataFrame, not {type(frame).__name__}")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps= takes a whole number of at least 1, not {steps!r}")
    positions, names = _columns(frame, features, n_features)
    if not len(frame):
        raise ValueError("the panel is empty: it has no rows")
    dtypes = list(frame.dtypes)
    compute = _compute_dtype({dtypes[i] for i in positions}, dtype)
    order, ends = _windows(frame.index, int(steps))
    values = _matrix(frame, positions, compute, row_major=order is not None)
    return Panel(values, order, ends, cast(pd.MultiIndex, frame.index), names, int(steps))


# ---------------------------------------------------------------------------------------------- columns and values


def _columns(
    frame: pd.DataFrame, features: Sequence[str] | None, n_features: int | None
) -> tuple[list[int], tuple[str, ...]]:
    """Positions and names of the columns to use."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise ValueError(
            f"the panel's columns have {frame.columns.nlevels} levels, expected one name a feature: "
            "flatten them, or select one part"
        )
    have = [str(name) for name in frame.columns]
    if len(set(have)) != len(have):
        twice = next(name for i, name in enumerate(have) if name in have[:i])
        raise ValueError(f"the panel has two columns called {twice!r}")
    if features is None:
        names, positions = tuple(have), list(range(len(have)))
    else:
        names = tuple(features)
        at = {name: i for i, name in enumerate(have)}
        missing = [name for name in names if name not in at]
        if missing:
            raise ValueError(f"the panel lacks {len(missing)} of {len(names)} features: {suggest(missing, have)}")
        positions = [at[name] for name in names]
    if n_features is not None and len(names) != n_features:
        raise ValueError(f"the panel has {len(names)} columns, expected {n_features} features: {_few(names)}")
    if not names:
        raise ValueError("the panel has no columns, expected one for each feature")
    dtypes = list(frame.dtypes)
    plain = {dtype for dtype in set(dtypes) if _numeric(dtype)}
    odd = [i for i in positions if dtypes[i] not in plain]
    if odd:
        shown = _few([f"{have[i]!r} ({dtypes[i]})" for i in odd])
        raise ValueError(f"the panel has columns that do not hold real numbers: {shown}")
    return positions, names


def suggest(missing: Sequence[str], have: Sequence[str]) -> str:
    """Unknown names, each with the known one that it may stand for."""
    shown = []
    for name in missing[:8]:
        close = difflib.get_close_matches(name, have, n=1)
        shown.append(f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name))
    return ", ".join(shown) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _numeric(dtype: Any) -> bool:
    types = pd.api.types
    number = types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)
    return bool(number and not types.is_complex_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype))


def _compute_dtype(dtypes: Collection[Any], asked: npt.DTypeLike | None) -> np.dtype[Any]:
    if asked is not None:
        try:
            dtype = np.dtype(asked)
        except TypeError:
            dtype = np.dtype(object)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype= takes float32 or float64, not {asked!r}")
        return dtype
    small = all(str(getattr(dtype, "numpy_dtype", dtype)) in ("float32", "float16") for dtype in dtypes)
    return np.dtype(np.float32 if small else np.float64)


def _matrix(frame: pd.DataFrame, positions: list[int], dtype: np.dtype[Any], row_major: bool) -> Array:
    """The columns as (rows, D): a view of the frame's memory where it has one that serves, else one copy by rows."""
    block = _block(frame, positions)
    if block is not None and block.dtype == dtype and (not row_major or block.strides[1] == dtype.itemsize):
        return block
    values = np.empty((len(frame), len(positions)), dtype)
    columns = [] if block is not None else [_column(frame.iloc[:, i]) for i in positions]
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the caller reports
        for start in range(0, len(frame), _BLOCK):
            rows = slice(start, start + _BLOCK)
            if block is not None:
                values[rows] = block[rows]
                continue
            for j, column in enumerate(columns):
                part = column[rows]
                if isinstance(part, np.ndarray):
                    values[rows, j] = part
                else:  # nullable, Arrow and sparse columns: what is not available becomes NaN
                    values[rows, j] = pd.Series(part).to_numpy(dtype, na_value=np.nan)
    return values


def _column(column: pd.Series[Any]) -> Any:
    """A column's own memory: an array, or an extension array."""
    return column.to_numpy(copy=False) if isinstance(column.dtype, np.dtype) else column.array


def _block(frame: pd.DataFrame, positions: list[int]) -> Array | None:
    """The columns as a view of the frame's memory, where they lie in one block at even distances."""
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    if step < 1 or positions != list(range(positions[0], positions[-1] + 1, step)):
        return None
    columns = slice(positions[0], positions[-1] + 1, step)
    dtypes = set(frame.dtypes.iloc[columns])
    if len(dtypes) > 1 or not isinstance(dtypes.pop(), np.dtype):
        return None
    row = frame.iloc[:1]  # one row tells whether pandas gives a view, before it could copy all of them
    if not np.shares_memory(row.iloc[:, columns].to_numpy(copy=False), row.iloc[:, columns.start].to_numpy(copy=False)):
        return None
    return cast(Array, frame.iloc[:, columns].to_numpy(copy=False))


def locate_infinite(panel: Panel) -> None:
    """Name the first infinite value of a panel; call it once something infinite has been met.

    Raises
    ------
    ValueError
        With the row's time and asset, the feature, and the value. Returns only where all values are finite or NaN.
    """
    found = _first_infinite(panel.values)
    if found is not None:
        row, column = found
        named = zip(panel.index.names, panel.index[row], strict=True)
        where = ", ".join(f"{name} {label(value)}" if name is not None else label(value) for name, value in named)
        raise ValueError(_infinite(panel.values[found], f"feature {panel.features[column]!r} at {where}"))


def locate_infinite_array(X: Array, features: Sequence[str] | None = None) -> None:
    """Name the first infinite value of an array (sample, ..., feature), as :func:`locate_infinite` does for a panel.

    Raises
    ------
    ValueError
        With the position, and the feature's name where ``features`` gives one.
    """
    found = _first_infinite(X)
    if found is not None:
        axes = ("sample", "step", "feature") if X.ndim == 3 else ("sample", "feature")
        where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, found, strict=True))
        name = f" ({features[found[-1]]!r})" if features is not None else ""
        raise ValueError(_infinite(X[found], where + name))


def _first_infinite(values: Array) -> tuple[int, ...] | None:
    for start in range(0, len(values), _BLOCK):
        bad = np.isinf(values[start : start + _BLOCK])
        if bad.any():
            row, *rest = np.unravel_index(int(bad.argmax()), bad.shape)
            return (start + int(row), *map(int, rest))
    return None


def _infinite(value: Any, where: str) -> str:
    too_large = ", or too large for float32" if value.dtype == np.float32 else ""
    return f"the input is infinite ({value}{too_large}) at {where}; expected finite numbers, or NaN where missing"


# ------------------------------------------------------------------------------------------------- rows and windows


def _windows(index: pd.Index, steps: int) -> tuple[Array | None, Array]:
    """Row order (None where sorted) and, for every sorted row, whether it ends a window."""
    level = time_level(index)
    index = cast(pd.MultiIndex, index)
    for k in (level, 1 - level):
        missing = np.flatnonzero(index.codes[k] < 0)
        if len(missing):
            raise ValueError(f"the panel's index has no {'asset' if k != level else 'time'} in row {missing[0]}")
    times, time, _ = _ranked_times(index, level)
    asset = np.asarray(index.codes[1 - level])
    order = _order(asset, time, len(index.levels[1 - level]), len(times.key))
    if order is not None:
        asset, time = asset[order], time[order]
    same = asset[1:] == asset[:-1]
    twice = np.flatnonzero(same & (time[1:] == time[:-1])) + 1
    if len(twice):
        row = int(twice[0] if order is None else order[twice].min())
        raise ValueError(f"the panel has row {_row(index, level, row)} twice, expected one row a time and asset")
    position, step = _grid(times, time, same, lambda r: _row(index, level, r if order is None else int(order[r])))
    gap = ~(same & (np.diff(position[time]) == step))
    rows: Array = np.arange(len(time), dtype=np.int32 if len(time) < 2**31 else np.int64)
    since: Array = np.zeros_like(rows)
    since[1:][gap] = rows[1:][gap]
    np.maximum.accumulate(since, out=since)
    return order, np.asarray(rows - since >= steps - 1)


def _row(index: pd.MultiIndex, level: int, row: int) -> str:
    return f"({label(index[row][level])}, {label(index[row][1 - level])})"


def label(value: Any) -> str:
    """A time or an asset, as a sentence shows it."""
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    return str(value)


def _order(asset: Array, time: Array, n_assets: int, n_times: int) -> Array | None:
    """What sorts rows by asset and time; None where each asset's rows are together and ascend already."""
    same = asset[1:] == asset[:-1]
    together = np.count_nonzero(~same) + 1 == np.count_nonzero(np.bincount(asset))
    if together and not (same & (time[1:] < time[:-1])).any():
        return None
    order = None if (time[1:] >= time[:-1]).all() else _stable_argsort(time, n_times, None)
    return _stable_argsort(asset, n_assets, order).astype(np.int64, copy=False)


def _stable_argsort(codes: Array, size: int, order: Array | None) -> Array:
    """Stable argsort of codes below ``size``, after ``order``: 16 bits a pass, where NumPy has a radix sort."""
    for shift in range(0, max(1, (size - 1).bit_length()), 16):
        digit = (codes >> shift if shift else codes).astype(np.uint16)  # the lowest 16 bits
        order = np.argsort(digit, kind="stable") if order is None else order[np.argsort(digit[order], kind="stable")]
    return cast(Array, order)


# ------------------------------------------------------------------------------------------------------------- time


@dataclass(frozen=True, eq=False)
class _Times:
    """Distinct times, oldest first: what orders them, and what tells which follow each other."""

    key: Array  # int64, ascending
    month: Array | None = None  # year * 12 + month - 1, where it is known
    day: Array | None = None  # days since 1970, for datetimes
    step: int | None = None  # between consecutive keys, where it is known

    def take(self, rows: Array) -> _Times:
        """Some of them."""
        month, day = (None if part is None else part[rows] for part in (self.month, self.day))
        return _Times(self.key[rows], month, day, self.step)


def _grid(times: _Times, time: Array, same: Array, row: Any) -> tuple[Array, int]:
    """A position for each distinct time, and the step between consecutive ones.

    ``time`` holds ranks of sorted rows; ``same`` says whether a row has the asset of the one before it.
    """
    if times.month is None:
        return times.key, times.step or _common_step(times.key) or 1
    month_of = times.month[time]
    within = np.diff(month_of)[same]
    if (np.diff(times.month) == 0).any():
        clash = int(np.count_nonzero(within == 0))
        if 0 < clash < 0.1 * len(within):  # 95 % of a daily and 77 % of a weekly panel's rows share a month
            r = int(np.flatnonzero(same & (np.diff(month_of) == 0))[0]) + 1
            raise ValueError(
                f"the panel has about one date a month for each asset, but rows {row(r - 1)} and {row(r)} share a "
                "month: drop one of them"
            )
        if clash:
            days = _common_step(times.day) if times.day is not None else 0
            if times.day is not None and days and days % 7 == 0 and (np.diff(times.day) > 0).all():
                return times.day, days
            return np.arange(len(times.key)), 1
    step = _month_step(_common_step(times.month))
    if len(within) >= 20:  # annual rows in months that differ from asset to asset, as fiscal years do
        step = max(step, _month_step(int(np.gcd.reduce(np.flatnonzero(np.bincount(within))))))
    return times.month, step


def _common_step(values: Array) -> int:
    """Greatest common divisor of the differences of ascending values; 0 where all are the same."""
    return int(np.gcd.reduce(np.diff(values))) if len(values) > 1 else 0


def _month_step(step: int) -> int:
    return next(size for size in (12, 6, 3, 1) if step % size == 0) if step else 1


def time_level(index: pd.Index) -> int:
    """Which level of a panel's index is the time, 0 or 1: by its type, else its name, else its values.

    Raises
    ------
    ValueError
        If the index has not two levels, or if it cannot be told.
    """
    if not isinstance(index, pd.MultiIndex) or index.nlevels != 2:
        levels = f"{index.nlevels} levels" if isinstance(index, pd.MultiIndex) else "one level"
        raise ValueError(
            f"the panel's index has {levels}, expected two, a time and an asset: use frame.set_index(['date', 'asset'])"
        )
    typed = [_is_time_type(level) for level in index.levels]
    named = [_is_time_name(name) for name in index.names]
    for mark in (typed, named):
        if sum(mark) == 1:
            return mark.index(True)
    dates = [_read_dates(_plain(level)) is not None for level in index.levels]
    if sum(dates) == 1:
        return dates.index(True)
    whole = [pd.api.types.is_integer_dtype(_plain(level).dtype) for level in index.levels]
    if not any(dates) and sum(whole) == 1:
        return whole.index(True)
    raise ValueError(
        f"which level of the panel's index is the time is not clear from its names {list(index.names)}: make it a "
        "datetime, or rename it with frame.rename_axis(index=['date', 'asset'])"
    )


def periods(index: pd.MultiIndex) -> tuple[Array, pd.Index]:
    """For every row the rank of its time (-1 where it has none), and the distinct times, oldest first."""
    level = time_level(index)
    _, rank, at = _ranked_times(index, level)
    return rank, index.levels[level][at]


def _ranked_times(index: pd.MultiIndex, level: int) -> tuple[_Times, Array, Array]:
    """The distinct times in use, each row's rank among them, and where in the level each is (its first spelling)."""
    codes, labels = np.asarray(index.codes[level]), index.levels[level]
    used = np.zeros(len(labels) + 1, bool)  # one more, for rows without a time (code -1)
    used[codes] = True
    at = np.flatnonzero(used[:-1])
    plain = _plain(labels[at])
    if plain.hasnans:
        raise ValueError(f"the panel's index has no time in row {int(np.flatnonzero(codes == at[plain.isna()][0])[0])}")
    times = _read_dates(plain) or _read_numbers(plain)
    if times is None:
        raise ValueError(
            f"the panel's time level {index.names[level]!r} is not understood as times (it holds {label(plain[0])!r}): "
            "make it a datetime with pd.to_datetime, or use months such as '1990-01'"
        )
    _, first, inverse = np.unique(times.key, return_index=True, return_inverse=True)
    rank = np.full(len(used), -1, np.int32)
    rank[at] = inverse
    return times.take(first), rank[codes], at[first]


def _is_time_type(level: pd.Index) -> bool:
    plain = _plain(level)
    return isinstance(plain, pd.DatetimeIndex | pd.PeriodIndex)


def _is_time_name(name: object) -> bool:
    return any(_TIME_WORDS.fullmatch(word) for word in re.split(r"[^a-z]+", str(name).lower()))


def _plain(level: pd.Index) -> pd.Index:
    """A level as datetimes, Periods, whole numbers or strings, whatever it was wrapped in."""
    if isinstance(level, pd.CategoricalIndex):
        level = pd.Index(level.categories.take(level.codes)) if (level.codes >= 0).all() else level.astype(object)
    if isinstance(level.dtype, pd.ArrowDtype) and level.dtype.kind == "M":
        return pd.DatetimeIndex(level.to_numpy())
    kind = pd.api.types.infer_dtype(level, skipna=True)
    if kind in ("date", "datetime", "datetime64") and not isinstance(level, pd.DatetimeIndex):
        return pd.DatetimeIndex(level)
    if kind == "period" and not isinstance(level, pd.PeriodIndex):
        return pd.PeriodIndex(level)
    if kind == "floating":
        numbers = level.to_numpy(np.float64)
        if (np.abs(numbers) < 2**53).all() and (numbers == np.floor(numbers)).all():
            return level.astype(np.int64)
    return level


def _read_dates(level: pd.Index) -> _Times | None:
    """Times on a calendar, or None."""
    if isinstance(level, pd.PeriodIndex):
        if str(level.dtype).split("[")[1].lstrip("0123456789")[0] in "AYQMW":
            ordinal = np.array([period.ordinal for period in level], np.int64)
            return _Times(ordinal, step=_period_step(level, ordinal))
        level = level.to_timestamp()
    if isinstance(level, pd.DatetimeIndex):
        local = level.tz_localize(None)
        day = local.to_numpy().astype("datetime64[D]").astype(np.int64)
        month = np.asarray(local.year, np.int64) * 12 + np.asarray(local.month, np.int64) - 1
        return _Times(level.asi8.astype(np.int64), month, day)
    kind = pd.api.types.infer_dtype(level, skipna=False)
    if kind == "integer":
        return _read_strings([str(int(value)) for value in level], digits=True)
    return _read_strings([str(value).strip() for value in level], digits=False) if kind == "string" else None


def _period_step(level: pd.PeriodIndex, ordinal: Array) -> int:
    """How far consecutive Periods' ordinals are apart: 3 for a frequency of "3M", if they keep to it."""
    n = int(cast(Any, level.freq).n)
    return n if n > 1 and not ((ordinal - ordinal.min()) % n).any() else 1


def _read_strings(texts: list[str], *, digits: bool) -> _Times | None:
    """Months, quarters, years or ISO dates, all of one kind; ``digits``: they were whole numbers."""
    if not texts:
        return None
    for pattern, per_year in ((_MONTH, 12), (_QUARTER, 4)):
        if pattern.fullmatch(texts[0]):
            found = [pattern.fullmatch(text) for text in texts]
            if not all(found):
                return None
            year, part = np.array([match.groups() for match in found if match], dtype=np.int64).T
            if not _are_years(year) or part.min() < 1 or part.max() > per_year:
                return None
            key = year * per_year + part - 1
            return _Times(key, month=key) if per_year == 12 else _Times(key, step=1)
    if all(text.isdecimal() and len(text) == 4 for text in texts):
        years = np.array(texts, dtype=np.int64)
        return _Times(years) if _are_years(years) else None
    number = all(text.isdecimal() and len(text) == 8 for text in texts)
    if digits and not number:
        return None
    try:
        dates = pd.DatetimeIndex(pd.to_datetime(texts, format="%Y%m%d" if number else "ISO8601"))
    except (ValueError, TypeError):
        return None
    return _read_dates(dates) if _are_years(np.asarray(dates.year)) else None


def _are_years(years: Array) -> bool:
    return bool(len(years)) and bool(((years >= _YEARS[0]) & (years < _YEARS[1])).all())


def _read_numbers(level: pd.Index) -> _Times | None:
    """Plain whole numbers, consecutive at their greatest common step; or None."""
    if pd.api.types.infer_dtype(level, skipna=False) != "integer" or max(map(abs, map(int, level))) >= 2**62:
        return None
    return _Times(np.array([int(value) for value in level], np.int64))
