"""Distinct times as pictures show them: their positions on an axis, their unit and their names.

``periods`` decides how times may be written and which months follow each other, for panels and pictures alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import common_step, label, month_step, period_step, plain_level, read_dates, read_numbers

Array = npt.NDArray[Any]

_YEARS, _MONTHS = (1, 2, 5, 10, 20, 50, 100), (1, 2, 3, 6, 12)  # labels may stand at multiples of these
_UNITS = {1: "month", 3: "quarter", 6: "half-year", 12: "year"}  # by number of months


@dataclass(frozen=True, eq=False)
class Timeline:
    """Distinct times, oldest first.

    Attributes
    ----------
    position : int64 array
        Place of each on an axis; one apart if they follow each other, more if some are missing between them.
    names : object array of str
        Such as "1990-01", "1990-Q1", "1990", "1990-01-31".
    unit : str
        Such as "month"; "period" if it has no name.
    month : int64 array or None
        Year * 12 + month - 1 of each, if they are on a calendar.
    day : int64 array or None
        Days since 1970 of each, if they are finer than months.
    """

    position: Array
    names: Array
    unit: str
    month: Array | None = None
    day: Array | None = None

    def __len__(self) -> int:
        """Number of times."""
        return len(self.names)

    def take(self, rows: Array) -> Timeline:
        """Some of the times, the first at position 0."""
        month, day = (None if part is None else part[rows] for part in (self.month, self.day))
        position = self.position[rows]
        return replace(self, position=position - position[:1], names=self.names[rows], month=month, day=day)

    def span(self) -> str:
        """Their number and unit, the first and the last: "12 months from 1990-01 to 1990-12"."""
        if len(self) == 1:
            return f"1 {self.unit}, {self.names[0]}"
        return f"{counted(len(self), self.unit)} from {self.names[0]} to {self.names[-1]}"

    def ticks(self, at_most: int) -> tuple[Array, list[str]]:
        """Positions and labels: every time if there are few; else round years, or round months if the years are few."""
        if len(self) > at_most and self.month is not None:
            year = self.month // 12
            of_years = year[-1] - year[0] >= 4
            found = _first_of_round(year if of_years else self.month, _YEARS if of_years else _MONTHS, at_most)
            found = found[(found == 0) | (np.diff(self.position, prepend=0)[found] <= 1)]  # else it began in a gap
            if len(found) >= 3:
                month = self.month[found]
                texts = _texts("{}", month // 12) if of_years else _texts("{}-{:02d}", month // 12, month % 12 + 1)
                return self.position[found], list(texts if of_years or self.unit != "quarter" else self.names[found])
        found = np.arange(0, len(self), -(-len(self) // at_most))
        return self.position[found], list(self.names[found])


def counted(n: int, unit: str) -> str:
    """A number and its noun: "1 month", "6,980 windows"."""
    return f"{n:,} {unit}" if n == 1 else f"{n:,} {unit}s"


def timeline(times: pd.Index) -> Timeline:
    """The timeline of distinct times, oldest first, however they are written."""
    plain = plain_level(times)
    if isinstance(plain, pd.PeriodIndex):
        return _of_periods(plain)
    read = read_dates(plain) or read_numbers(plain)
    if read is None:
        names = np.array([label(value) for value in times], object)
        return Timeline(np.arange(len(names)), names, "period")
    if read.day is not None and read.month is not None:
        return _of_dates(plain, read.month, read.day)
    if read.per_year is None:
        step = common_step(read.key) or 1
        return Timeline(_positions(read.key, step), read.key.astype(str).astype(object), "period")
    month = read.key * (12 // read.per_year)
    if read.per_year == 4:
        return Timeline(_positions(month, 3), _texts("{}-Q{}", month // 12, month % 12 // 3 + 1), "quarter", month)
    if read.per_year == 1:
        step = common_step(read.key) or 1
        return Timeline(_positions(read.key, step), _texts("{}", read.key), "year" if step == 1 else "period", month)
    return _of_months(month)


def _of_months(month: Array) -> Timeline:
    """At most one time per month: months, quarters, half-years or years, by the distance between them."""
    step = month_step(common_step(month))
    return Timeline(_positions(month, step), _texts("{}-{:02d}", month // 12, month % 12 + 1), _UNITS[step], month)


def _of_dates(plain: pd.Index, month: Array, day: Array) -> Timeline:
    """Dates: months if none holds two, else weeks, else days of a trading calendar."""
    if (np.diff(month) > 0).all():
        return _of_months(month)
    step, usual = common_step(day), float(np.median(np.diff(day)))
    unit = {1.0: "day", 7.0: "week"}.get(usual, "period")
    weekly = step % 7 == 0 and (np.diff(day) > 0).all()
    if (np.diff(day) > 0).all():
        names = day.astype("datetime64[D]").astype(str).astype(object)
    else:
        names = np.array([label(value) for value in plain], object)
    return Timeline(_positions(day, step) if weekly else np.arange(len(day)), names, unit, month, day)


def _of_periods(level: pd.PeriodIndex) -> Timeline:
    """Periods, by their own frequency."""
    letter = str(level.dtype).split("[")[1].lstrip("0123456789")[0]
    first = level.to_timestamp()
    month = np.asarray(first.year, np.int64) * 12 + np.asarray(first.month, np.int64) - 1
    width = {"Y": 12, "A": 12, "Q": 3, "M": 1}.get(letter)
    ordinal = np.array([period.ordinal for period in level], np.int64)
    if width is not None:
        step = period_step(level, ordinal)
        names = [str(period).replace("Q", "-Q") for period in level]
        return Timeline(_positions(ordinal, step), np.array(names, object), _UNITS.get(width * step, "period"), month)
    day = first.to_numpy().astype("datetime64[D]").astype(np.int64)
    if letter == "W":
        step = period_step(level, ordinal)
        names = [str(period).split("/")[0] for period in level]
        unit = "week" if step == 1 else "period"
        return Timeline(_positions(ordinal, step), np.array(names, object), unit, month, day)
    unit = {"D": "day", "B": "day", "h": "hour", "H": "hour"}.get(letter, "period")
    return Timeline(np.arange(len(level)), np.array([str(period) for period in level], object), unit, month, day)


def _positions(key: Array, step: int) -> Array:
    """Keys as steps from the first; without gaps if these would be most of the axis."""
    at = (key - key[:1]) // step
    return at if not len(at) or at[-1] < 4 * len(at) else np.arange(len(at))


def _texts(form: str, *parts: Array) -> Array:
    return np.array([form.format(*map(int, values)) for values in zip(*parts, strict=True)], object)


def _first_of_round(count: Array, rounds: tuple[int, ...], at_most: int) -> Array:
    """Where round years (or months) begin, of the least roundness that occurs at most ``at_most`` times."""
    first = np.flatnonzero(np.diff(count, prepend=count[0] - 1))
    found = next((at for by in rounds if len(at := first[count[first] % by == 0]) <= at_most), first[:0])
    gaps = np.diff(found)
    late = len(gaps) > 1 and gaps[0] < 0.92 * np.median(gaps[1:])  # 1990 begins in December: its label would mislead
    return found[int(late) :]
