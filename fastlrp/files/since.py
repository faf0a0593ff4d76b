"""Times of a layout on the calendar: the first to explain, and years."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.layout import Layout
from fastlrp.panels.periods import Times, label, plain_level, read_dates, read_numbers

Array = npt.NDArray[Any]


def _months(times: Times) -> Array | None:
    """Months from year 0, also of years and quarters; None where times are counted."""
    return times.key * (12 // times.per_year) if times.month is None and times.per_year else times.month


def years(layout: Layout) -> Array:
    """The year of each rank.

    Raises
    ------
    ValueError
        If times are counted.
    """
    months = _months(layout.distinct)
    if months is None:
        raise ValueError(
            f"partition_by='year' needs dates, but the panel's times are {label(layout.times[0])!r} and such"
        )
    return np.asarray(months // 12)


def first_rank(times: Times, latest: str, since: object, name: str = "since") -> int:
    """The rank of the first of the distinct ``times`` at or after ``since``; ``latest`` is how the last one is written.

    Raises
    ------
    ValueError
        If it is no time of the panel's kind, or none is as late; the message calls it ``name``.
    """
    if re.search(r"\d:\d", str(since)) and pd.Timestamp(str(since)).normalize() != pd.Timestamp(str(since)):
        raise ValueError(f"{name}={since!r} names a time of day, expected a day, month, quarter or year")
    given = plain_level(pd.Index([since]))
    if isinstance(given, pd.PeriodIndex):
        given = given.to_timestamp()
    counted = _months(times) is None
    asked = None if given.hasnans else (read_numbers if counted else read_dates)(given)
    pairs: list[tuple[Any, Any]] = []
    if asked is not None:
        pairs = [(times.key, asked.key)] if counted else [(times.day, asked.day), (_months(times), _months(asked))]
    for have, want in pairs:
        if have is not None and want is not None:
            rank = int(np.searchsorted(have, want[0]))
            if rank == len(have):
                raise ValueError(f"{name}={since!r} is after the panel's last time, {latest}, expected one not later")
            return rank
    raise ValueError(f"{name}={since!r} is not understood as a time such as the panel's {latest!r}")
