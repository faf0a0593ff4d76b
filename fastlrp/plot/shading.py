"""Spans of time that pictures shade, such as recessions and regimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import read_dates
from fastlrp.plot.canvas import INK, entry
from fastlrp.plot.timeline import Timeline

Array = npt.NDArray[Any]
Spans = Sequence[tuple[Any, Any]]
Shade = Spans | Mapping[str, Spans]

_DARKER = 0.16
_HATCHES = (None, "///", "\\\\\\", "xxx")  # told apart without colours
_FORM = 'dates such as [("2007-12", "2009-06")], or a dict of name to such dates'


class Span(NamedTuple):
    """A span of time: its name, and its first and last day, counted from 1970."""

    name: str
    first: int
    last: int


def checked_shade(function: str, shade: Shade | None, several: Sequence[Timeline]) -> list[Span]:
    """The spans to shade on some axes of times, checked.

    Raises
    ------
    ValueError
        If they are not pairs of dates, have more than four names, or the times are not on a calendar.
    """
    if shade is None:
        return []
    where = f"{function}(shade=...)"
    for times in several:
        if times.month is None:
            raise ValueError(f"{where} needs times on a calendar, but the result has {times.span()}")
    named = shade if isinstance(shade, Mapping) else {"": shade}
    if len(named) > len(_HATCHES):
        raise ValueError(f"{where} has {len(named)} names, expected at most {len(_HATCHES)}, which can be told apart")
    return [_span(where, str(name), pair) for name, pairs in named.items() for pair in _pairs(where, pairs)]


def _pairs(where: str, pairs: Any) -> list[Any]:
    if isinstance(pairs, str) or not hasattr(pairs, "__iter__"):
        raise ValueError(f"{where} takes pairs of {_FORM}, not {pairs!r}")
    return list(pairs)


def _span(where: str, name: str, pair: Any) -> Span:
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise ValueError(f"{where} takes pairs of {_FORM}, but it holds {pair!r}")
    first, last = _days(where, pair[0])[0], _days(where, pair[1])[1]
    if first > last:
        raise ValueError(f"{where} has a span that ends before it begins: {pair[0]!r} to {pair[1]!r}")
    return Span(name, first, last)


def _days(where: str, value: Any) -> tuple[int, int]:
    """The first and the last day of a date, month, quarter or year."""
    if isinstance(value, pd.Period):
        return _days(where, value.start_time)[0], _days(where, value.end_time)[1]
    read = None
    try:
        if not pd.isna(value):
            read = read_dates(pd.Index([value]) if isinstance(value, str | int) else pd.DatetimeIndex([value]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} has a date that is not understood, {value!r}: {error}") from None
    if read is None:
        raise ValueError(f"{where} has a date that is not understood, {value!r}, expected one such as '2007-12'")
    if read.day is not None:
        return int(read.day[0]), int(read.day[0])
    months = 12 // (read.per_year or 12)
    ends_at = np.array([read.key[0] * months, (read.key[0] + 1) * months]) - 1970 * 12
    first, after = ends_at.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return int(first), int(after) - 1


def shade_axes(axes: Any, spans: Sequence[Span], times: Timeline, *, over: bool) -> list[str]:
    """Shade spans of an axis of times, below what is drawn or ``over`` it; return the names for the legend."""
    names, drawn = list(dict.fromkeys(span.name for span in spans)), []
    for span in spans:
        low, high = _places(span, times)
        if low >= high:
            continue
        hatch = _HATCHES[names.index(span.name)]
        look: dict[str, Any] = (
            {"facecolor": INK, "alpha": _DARKER} if hatch is None else {"facecolor": "none", "alpha": 0.4}
        )
        if span.name and span.name not in drawn:
            drawn.append(span.name)
            look["label"] = entry(span.name)
        axes.axvspan(low, high, hatch=hatch, edgecolor=INK, linewidth=0, zorder=3 if over else 0.5, **look)
    return drawn


def _places(span: Span, times: Timeline) -> tuple[float, float]:
    """The ends of a span on the axis of times, half a place before its first and after its last."""
    ends = np.array([span.first, span.last])
    key = times.month if times.day is None else times.day
    assert key is not None  # as checked_shade has made sure
    step = (float(np.median(np.diff(key))) if len(times) > 1 else 0.0) or 1.0
    if times.day is None:  # quarters and years are called by their first or by their last month: the middle counts
        ends = ends.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) + 1970 * 12
        key = key + (step - 1) / 2 * (float(key[0] % step == 0) - float(key[0] % step == step - 1))
    wide = np.concatenate([[key[0] - step], key, [key[-1] + step]])
    at = np.concatenate([[-1.0], times.position, [times.position[-1] + 1.0]])
    low, high = np.interp(ends + np.array([-0.5, 0.5]), wide, at)
    return max(low, -0.5), min(high, float(times.position[-1]) + 0.5)
