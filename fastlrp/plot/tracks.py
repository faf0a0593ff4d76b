"""Means through time and over lags, as pictures show them: a column a feature or group, a row a place on an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.plot.shown import Groups, Scope, panel_times, scope
from fastlrp.plot.timeline import Timeline, counted
from fastlrp.relevance.result import Relevance

Statistic = Literal["share", "abs", "mean"]

UNITS = {
    "share": "% of a window's\n|relevance|",
    "abs": "mean |relevance|\n(the score's unit)",
    "mean": "mean relevance\n(the score's unit)",
}
SIGNS = "red raises the score, blue lowers it"


@dataclass(frozen=True, eq=False)
class Track:
    """Means over assets through time.

    Attributes
    ----------
    whole : DataFrame
        The means as :meth:`Relevance.by_time` has them, a row a period with relevance.
    table : DataFrame
        The same, smoothed, in the unit that pictures show, a row a period, with NaN where one is missing.
    times : Timeline
        The times of ``whole``, the first at position 0.
    """

    whole: pd.DataFrame
    table: pd.DataFrame
    times: Timeline
    scope: Scope
    how: str


def track(function: str, relevance: Relevance, statistic: Statistic, groups: Groups | None, smooth: int) -> Track:
    """A result's means through time.

    Raises
    ------
    ValueError
        If the result is not of a panel, or no period of it has relevance.
    """
    whole = relevance.by_time(statistic, groups=groups)
    if not len(whole):
        raise ValueError(f"{function} has nothing to show: no period of the panel has relevance")
    of = scope(relevance)
    _, all_times, times = panel_times(relevance)
    times = times.take(all_times.get_indexer(whole.index))
    table = whole.set_axis(times.position).reindex(range(int(times.position[-1]) + 1))
    table = table.rolling(smooth, min_periods=1).mean().where(table.notna())
    how = f"mean over {of.assets}" if of.assets else "one series"
    if smooth > 1:
        how += f", trailing mean of {counted(smooth, times.unit)}"
    return Track(whole, table * (100 if statistic == "share" else 1), times, of, how)


def left_out(whole: pd.DataFrame, chosen: Sequence[str], statistic: Statistic, noun: str) -> list[str]:
    """A note on the columns of a table that are not shown, if there are any."""
    others = len(whole.columns) - len(chosen)
    if not others:
        return []
    said = f"{len(chosen)} of {counted(len(whole.columns), noun)}"
    if statistic == "mean":
        return [said]
    held = 1 - float(whole[list(chosen)].to_numpy().sum() / whole.to_numpy().sum())
    return [f"{said}; the other {others} hold{'' if others > 1 else 's'} {100 * held:.1f} % of |relevance|"]


def by_lag(function: str, relevance: Relevance, statistic: Statistic, groups: Groups | None) -> pd.DataFrame:
    """A result's means by lag, a row a step, the oldest first, in the unit that pictures show.

    Raises
    ------
    ValueError
        If steps were summed, or the result has no relevance.
    """
    table = relevance.by_lag(statistic, groups=groups)
    if table.isna().to_numpy().any():
        raise ValueError(f"{function} has nothing to show: no row of the result has relevance")
    return table * (100 if statistic == "share" else 1)


def lag_ticks(steps: int, at_most: int) -> tuple[npt.NDArray[Any], list[str]]:
    """Places and labels of lags on an axis from the oldest to 0; 0 has one, and labels stand at round distances."""
    apart = next(apart for apart in (1, 2, 3, 6, 12, 24, 60, 120, steps) if -(-steps // apart) <= at_most)
    lags = np.arange(0, steps, apart)[::-1]
    return steps - 1 - lags, [str(lag) for lag in lags]


def lag_axis(of: Scope) -> str:
    """The name of an axis of lags."""
    return f"{of.unit}s before the last of the {of.window}"
