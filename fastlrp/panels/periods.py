"""Times of a panel: which level of the index holds them, how they are written, and which of them follow each other.

:func:`grid` decides which times are consecutive, on distinct times, not on rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

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
_DAY = re.compile(r"(?P<first>\d\d?)([-/.])(?P<second>\d\d?)\2(?P<year>\d{4})")  # 31/01/2015, 31.01.2015, 1/31/2015
_NAMED = (  # months by their English names, and 01/2015
    re.compile(r"(?:(?P<day>\d\d?)[-/. ]*)?(?P<name>[a-z]{3,9})[-/., ]*(?P<year>\d{4})"),  # 31 Jan 2015, JAN2015
    re.compile(r"(?P<name>[a-z]{3,9})\.? (?P<day>\d\d?),? (?P<year>\d{4})"),  # January 31, 2015
    re.compile(r"(?P<year>\d{4})[-/. ]?(?P<name>[a-z]{3,9})\.?"),  # 2015 Jan
    re.compile(r"(?P<month>\d\d?)[-/.](?P<year>\d{4})"),  # 01/2015
)
_MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MIDNIGHT = re.compile(r"[T ]0?0:00(:00(\.0+)?)?$")
_YEARS = (1700, 2300)  # numbers outside are not years: firm identifiers must not look like dates


class AmbiguousDates(ValueError):
    """Dates such as 01/02/2015, where nothing shows whether the day or the month comes first."""


@dataclass(frozen=True, eq=False)
class Times:
    """Distinct times, oldest first: the key that orders them, and the values that decide which follow each other."""

    key: Array  # int64, ascending
    month: Array | None = None  # year * 12 + month - 1, if known
    day: Array | None = None  # days since 1970, for datetimes
    step: int | None = None  # between consecutive keys, if known
    per_year: int | None = None  # keys per year, if they count months, quarters or years from year 0

    def take(self, rows: Array) -> Times:
        """Some of the times."""
        month, day = (None if part is None else part[rows] for part in (self.month, self.day))
        return Times(self.key[rows], month, day, self.step, self.per_year)


class Jumps(NamedTuple):
    """The months between each asset's rows that follow each other: how many pairs, how many of 0, and their greatest
    common divisor. They are all that :func:`grid` asks of rows, so that parts of a panel can be added up."""

    pairs: int = 0
    none: int = 0
    step: int = 0

    def __add__(self, other: Jumps) -> Jumps:  # type: ignore[override]  # a sum, not a tuple of six
        return Jumps(self.pairs + other.pairs, self.none + other.none, math.gcd(self.step, other.step))


def month_jumps(months: Array, same: Array) -> Jumps:
    """Jumps of sorted rows' months; ``same`` says whether a row has the asset of the one before it."""
    within = np.diff(months)[same]
    step = int(np.gcd.reduce(np.flatnonzero(np.bincount(within)))) if len(within) else 0
    return Jumps(len(within), int(np.count_nonzero(within == 0)), step)


def grid(times: Times, jumps: Jumps, clash: Callable[[], tuple[str, str]]) -> tuple[Array, int]:
    """A position for each distinct time, and the step between consecutive ones.

    ``clash`` names two rows of an asset that share a month, for a message.
    """
    if times.month is None:
        return times.key, times.step or common_step(times.key) or 1
    if (np.diff(times.month) == 0).any():
        if 0 < jumps.none < 0.1 * jumps.pairs:  # 95 % of a daily and 77 % of a weekly panel's rows share a month
            one, two = clash()
            raise ValueError(
                f"the panel has about one date a month for each asset, but rows {one} and {two} share a month: "
                "drop one of them"
            )
        if jumps.none:
            days = common_step(times.day) if times.day is not None else 0
            if times.day is not None and days and days % 7 == 0 and (np.diff(times.day) > 0).all():
                return times.day, days
            return np.arange(len(times.key)), 1
    step = month_step(common_step(times.month))
    if jumps.pairs >= 20:  # annual rows in months that differ from asset to asset, as fiscal years do
        step = max(step, month_step(jumps.step))
    return times.month, step


def common_step(values: Array) -> int:
    """Greatest common divisor of the differences of ascending values; 0 if all are the same."""
    return int(np.gcd.reduce(np.diff(values))) if len(values) > 1 else 0


def month_step(step: int) -> int:
    """The length of a period in months, from the greatest common step: a year, a half, a quarter or a month."""
    return next(size for size in (12, 6, 3, 1) if step % size == 0) if step else 1


def time_level(index: pd.Index) -> int:
    """The level of a panel's index that is the time, 0 or 1: by its type, else its name, else its values.

    Raises
    ------
    ValueError
        If the index does not have two levels, or if the time cannot be told from the asset.
    """
    if not isinstance(index, pd.MultiIndex) or index.nlevels != 2:
        levels = f"{index.nlevels} levels" if isinstance(index, pd.MultiIndex) else "one level"
        raise ValueError(
            f"the panel's index has {levels}, expected two, a time and an asset: use frame.set_index(['date', 'asset'])"
        )
    typed = [is_time_type(level) for level in index.levels]
    named = [is_time_name(name) for name in index.names]
    for mark in (typed, named):
        if sum(mark) == 1:
            return mark.index(True)
    dates = [is_dates(level) for level in index.levels]
    if sum(dates) == 1:
        return dates.index(True)
    whole = [pd.api.types.is_integer_dtype(plain_level(level).dtype) for level in index.levels]
    if not any(dates) and sum(whole) == 1:
        return whole.index(True)
    raise ValueError(
        f"which level of the panel's index is the time is not clear from its names {list(index.names)}: make it a "
        "datetime, or rename it with frame.rename_axis(index=['date', 'asset'])"
    )


def of_one_asset(index: pd.Index) -> pd.MultiIndex:
    """Times that each stand once, as the index of a panel with one asset."""
    return pd.MultiIndex.from_arrays([index, ["series"] * len(index)], names=[index.name or "time", "asset"])


def periods(index: pd.MultiIndex) -> tuple[Array, pd.Index]:
    """The rank of each row's time (-1 if it has none), and the distinct times, oldest first."""
    level = time_level(index)
    _, rank, at = ranked_times(index, level)
    return rank, index.levels[level][at]


def ranked_times(index: pd.MultiIndex, level: int) -> tuple[Times, Array, Array]:
    """The distinct times in use, each row's rank among them, and each one's position in the level (first spelling)."""
    codes, labels = np.asarray(index.codes[level]), index.levels[level]
    used = np.zeros(len(labels) + 1, bool)  # one more, for rows without a time (code -1)
    used[codes] = True
    at = np.flatnonzero(used[:-1])
    plain = plain_level(labels[at])
    if plain.hasnans:
        raise ValueError(f"the panel's index has no time in row {int(np.flatnonzero(codes == at[plain.isna()][0])[0])}")
    times = read_dates(plain) or read_numbers(plain)
    if times is None:
        raise ValueError(
            f"the panel's time level {index.names[level]!r} is not understood as times (it holds {label(plain[0])!r}): "
            "make it a datetime with pd.to_datetime, or use months such as '1990-01'"
        )
    _, first, inverse = np.unique(times.key, return_index=True, return_inverse=True)
    rank = np.full(len(used), -1, np.int32)
    rank[at] = inverse
    return times.take(first), rank[codes], at[first]


def label(value: Any) -> str:
    """A time or an asset as a message shows it."""
    if isinstance(value, pd.Timestamp) and value == value.normalize():
        return str(value.date())
    return str(value)


def is_dates(level: pd.Index) -> bool:
    """Whether all values are calendar dates, even if it is unclear which dates."""
    try:
        return read_dates(plain_level(level)) is not None
    except AmbiguousDates:
        return True


def is_times(level: pd.Index) -> bool:
    """Whether all values are understood as times: on a calendar, or as whole numbers.

    Raises
    ------
    AmbiguousDates
        If it is unclear which dates they are.
    """
    plain = plain_level(level)
    return (read_dates(plain) or read_numbers(plain)) is not None


def written_dates(texts: list[str], *, day_first: bool | None = None) -> Array | None:
    """Dates in spreadsheet form (31/01/2015, 31.01.2015 or 1/31/2015) as datetime64[D]; None if they are not.

    Parameters
    ----------
    texts : list of str
    day_first : bool or None
        None: day and month are told apart by a number above 12, which some date must have in one place and no date in
        the other.

    Raises
    ------
    AmbiguousDates
        If ``day_first`` is None and both orders are possible and differ.
    """
    found = [_DAY.fullmatch(_MIDNIGHT.sub("", text)) for text in texts]
    if not texts or not all(found):
        return None
    first, second, year = np.array([match.group("first", "second", "year") for match in found if match], np.int64).T
    if day_first is None:
        if first.max() <= 12 and second.max() <= 12 and (first != second).any():
            text = texts[int(np.flatnonzero(first != second)[0])]
            raise AmbiguousDates(
                f"whether the day or the month comes first in {text!r} is not clear, as no date has a number above 12 "
                "there: make it a datetime with pd.to_datetime(..., dayfirst=True) or dayfirst=False"
            )
        day_first = bool(second.max() <= 12)
    day, month = (first, second) if day_first else (second, first)
    return _dates(year, month, day)


def _dates(year: Array, month: Array, day: Array) -> Array | None:
    """The dates as datetime64[D], or None if one is not a date."""
    if not _are_years(year) or month.min() < 1 or month.max() > 12 or day.min() < 1:
        return None
    start = (year * 12 + month - 1 - 1970 * 12).astype("datetime64[M]")
    dates = start.astype("datetime64[D]") + (day - 1)
    return dates if (dates.astype("datetime64[M]") == start).all() else None


def _read_named(texts: list[str]) -> Times | None:
    """Times with a month's name (Jan 2015, 31 January 2015, 31JAN2015) or of the form 01/2015; all of one kind."""
    lower = [_MIDNIGHT.sub("", text).lower() for text in texts]
    for pattern in _NAMED:
        found = [pattern.fullmatch(text) for text in lower]
        if not all(found):
            continue
        parts = [match.groupdict() for match in found if match]
        month = np.array([int(part["month"]) if "month" in part else _month_number(part["name"]) for part in parts])
        year = np.array([int(part["year"]) for part in parts])
        days = [part.get("day") for part in parts]
        dates = _dates(year, month, np.array([int(day or 1) for day in days]))
        if dates is None or (None in days and any(days)):
            return None
        return Times(year * 12 + month - 1, month=year * 12 + month - 1) if None in days else _of_days(dates)
    return None


def _month_number(name: str) -> int:
    """1 to 12; 0 if it is not a month's name."""
    return next((k for k, month in enumerate(_MONTHS, 1) if month.startswith(name)), 0)


def _of_days(dates: Array) -> Times | None:
    return read_dates(pd.DatetimeIndex(dates.astype("datetime64[s]")))


def is_time_type(level: pd.Index) -> bool:
    """Whether a level or column holds datetimes or Periods."""
    plain = plain_level(level)
    return isinstance(plain, pd.DatetimeIndex | pd.PeriodIndex)


def is_time_name(name: object) -> bool:
    """Whether the name of a level or column is one that times have."""
    return any(_TIME_WORDS.fullmatch(word) for word in re.split(r"[^a-z]+", str(name).lower()))


def plain_level(level: pd.Index) -> pd.Index:
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


def read_dates(level: pd.Index) -> Times | None:
    """The level as times on a calendar, or None if it is not."""
    if isinstance(level, pd.PeriodIndex):
        if str(level.dtype).split("[")[1].lstrip("0123456789")[0] in "AYQMW":
            ordinal = np.array([period.ordinal for period in level], np.int64)
            return Times(ordinal, step=period_step(level, ordinal))
        level = level.to_timestamp()
    if isinstance(level, pd.DatetimeIndex):
        local = level.tz_localize(None)
        day = local.to_numpy().astype("datetime64[D]").astype(np.int64)
        month = np.asarray(local.year, np.int64) * 12 + np.asarray(local.month, np.int64) - 1
        return Times(level.asi8.astype(np.int64), month, day)
    kind = pd.api.types.infer_dtype(level, skipna=False)
    if kind == "integer":
        return _read_strings([str(int(value)) for value in level], digits=True)
    return _read_strings([str(value).strip() for value in level], digits=False) if kind == "string" else None


def dates_of(level: pd.Index) -> pd.DatetimeIndex | None:
    """Times as dates: Periods, months, quarters and years as their first days; None if they are not on a calendar."""
    plain = plain_level(level)
    if isinstance(plain, pd.PeriodIndex):
        return plain.to_timestamp()
    if isinstance(plain, pd.DatetimeIndex):
        return plain
    read = read_dates(plain)
    if read is None:
        return None
    if read.day is not None:
        return pd.DatetimeIndex(read.day.astype("datetime64[D]").astype("datetime64[s]"))
    months = read.key * (12 // (read.per_year or 12)) - 1970 * 12
    return pd.DatetimeIndex(months.astype("datetime64[M]").astype("datetime64[s]"))


def distinct_months(level: pd.Index) -> Array | None:
    """The months, counted from 1970, of ascending times of which each has one of its own; None of all others."""
    try:
        dates = dates_of(level)
    except AmbiguousDates:
        return None
    if dates is None:
        return None
    months = dates.tz_localize(None).to_numpy().astype("datetime64[M]").astype(np.int64)
    return months if (np.diff(months) > 0).all() else None


def period_step(level: pd.PeriodIndex, ordinal: Array) -> int:
    """The distance between consecutive Periods' ordinals: 3 for a frequency of "3M", if they keep to it."""
    n = int(cast(Any, level.freq).n)
    return n if n > 1 and not ((ordinal - ordinal.min()) % n).any() else 1


def _read_strings(texts: list[str], *, digits: bool) -> Times | None:
    """Months, quarters, years or ISO dates, all of one kind; ``digits`` says that they were whole numbers."""
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
            return Times(key, month=key, per_year=12) if per_year == 12 else Times(key, step=1, per_year=4)
    if all(text.isdecimal() and len(text) == 4 for text in texts):
        years = np.array(texts, dtype=np.int64)
        return Times(years, per_year=1) if _are_years(years) else None
    number = all(text.isdecimal() and len(text) == 8 for text in texts)
    if digits and not number:
        return None
    written = written_dates(texts)
    if written is not None:
        return _of_days(written)
    if (named := _read_named(texts)) is not None:
        return named
    try:
        dates = pd.DatetimeIndex(pd.to_datetime(texts, format="%Y%m%d" if number else "ISO8601"))
    except (ValueError, TypeError):
        return None
    return read_dates(dates) if _are_years(np.asarray(dates.year)) else None


def _are_years(years: Array) -> bool:
    return bool(len(years)) and bool(((years >= _YEARS[0]) & (years < _YEARS[1])).all())


def read_numbers(level: pd.Index) -> Times | None:
    """The level as plain whole numbers, consecutive at their greatest common step; None if it is not."""
    kind = pd.api.types.infer_dtype(level, skipna=False)
    if kind != "integer" or max(map(abs, map(int, level)), default=0) >= 2**62:
        return None
    return Times(np.array([int(value) for value in level], np.int64))
