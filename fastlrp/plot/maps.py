"""Heat maps of features: through time, and over the lags of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlrp.plot.shown import Groups, checked, checked_limits, noun, ordered, scope
from fastlrp.plot.tiles import Tiles, draw_tiles
from fastlrp.plot.timeline import counted
from fastlrp.plot.tracks import SIGNS, Statistic, Track, by_lag, lag_axis, lag_ticks, left_out, track
from fastlrp.relevance.result import Relevance

_COLUMNS = 1300  # as many as a map has pixels for
_TITLES = {
    "share": "Which {}s predictions rest on, ",
    "abs": "How large relevance is, ",
    "mean": "Which way {}s push predictions, ",
}


def heat_map(
    *relevances: Relevance,
    statistic: Statistic = "share",
    groups: Groups | None = None,
    smooth: int = 1,
    top: int | None = None,
    order: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Relevance of features through time: one row per feature, the largest on top, one column per period.

    Several results are drawn beside each other, with the same rows and the same colours, so that rules or networks
    can be compared. Periods without relevance are grey.

    Parameters
    ----------
    *relevances : Relevance
        One to four results of panels, or of one row a time, with the same features; the first decides the order.
    statistic : {"share", "abs", "mean"}
        The quantity that :meth:`Relevance.by_time` averages over assets; "mean" keeps the sign, on a diverging scale
        around 0.
    groups : mapping of name to features, or None
        Rows are groups, each the sum of its features' numbers; features in no group are summed as "Other".
    smooth : int
        Number of periods in a trailing mean; 1 shows each period as it is.
    top : int or None
        Number of rows to show; None shows all up to 40, and the 30 largest of more. A note says what the others
        hold.
    order : sequence of str or None
        Features (or groups) from top to bottom, such as another picture's; None sorts them by size.
    limits : (low, high) or None
        Ends of the colours, in the colour bar's unit, such as another picture's. None: 0 (or as far below 0 as above)
        and the largest value. If values lie beyond, by default only single spikes, the colour bar says so.
    labels : sequence of str or None
        Names for the results; None names their rules, with the parameters that are not the default.
    title : str or None
        None: a title that says what is shown.
    ax : matplotlib Axes, a sequence of them (one per result), or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure, or ``ax`` if it is given

    Raises
    ------
    ValueError
        If a result is not of a panel or has no relevance, if features differ, or if an option is not as described.
    ImportError
        If matplotlib is missing.
    """
    names = checked("heat_map", relevances, labels, smooth=smooth, top=top)
    ends = checked_limits("heat_map", limits)
    tracks = [track("heat_map", relevance, statistic, groups, smooth) for relevance in relevances]
    chosen = ordered("heat_map", tracks[0].whole.abs().mean(), order, top)
    named = [f"{name}: " if len(names) == 1 else "" for name in names]
    maps = [_of_track(*pair, chosen, statistic, noun(groups)) for pair in zip(named, tracks, strict=True)]
    main = title or _TITLES[statistic].format(noun(groups)) + "through time"
    return draw_tiles("heat_map", maps, names, statistic, ends, main, ax)


def _of_track(named: str, of: Track, chosen: list[str], statistic: Statistic, what: str) -> Tiles:
    """A map through time. Columns are periods, missing ones too, or means of several if there are too few pixels."""
    shown, times = of.table[chosen], of.times
    wide = -(-len(shown) // _COLUMNS)
    if wide > 1:
        shown = shown.groupby(np.arange(len(shown)) // wide).mean()
    how = named + of.how
    if statistic == "mean":
        how += f"; {SIGNS}"
    if wide > 1:
        how += f", a column for {counted(wide, times.unit)}"
    ticks = {}
    for at_most in (10, 6):
        at, texts = times.ticks(at_most)
        ticks[at_most] = (at // wide, texts)
    lines = [how, of.scope.text, *left_out(of.whole, chosen, statistic, what)]
    values = shown.to_numpy().T
    if np.isnan(values).any():
        lines.append(f"grey: no relevance in that {times.unit}")
    return Tiles(chosen, values, ticks, f"last {of.scope.unit} of the window", lines)


def lag_map(
    *relevances: Relevance,
    statistic: Statistic = "share",
    groups: Groups | None = None,
    top: int | None = None,
    order: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Relevance of features by lag: one row per feature, the largest on top, one column per step, the oldest first.

    Parameters
    ----------
    *relevances : Relevance
        One to four results with every step and the same features; the first decides the order.
    statistic : {"share", "abs", "mean"}
        The quantity that :meth:`Relevance.by_lag` averages over all rows; the cells of a map of shares sum to 100 %.
    groups, top, order, limits, labels, title, ax
        As in :func:`heat_map`.

    Returns
    -------
    matplotlib.figure.Figure, or ``ax`` if it is given

    Raises
    ------
    ValueError
        If steps were summed inside the kernel, a result has no relevance, features differ, or an option is not as
        described.
    ImportError
        If matplotlib is missing.
    """
    names = checked("lag_map", relevances, labels, top=top)
    ends = checked_limits("lag_map", limits)
    frames = [by_lag("lag_map", relevance, statistic, groups) for relevance in relevances]
    chosen = ordered("lag_map", frames[0].abs().sum(), order, top)
    maps = []
    for relevance, frame, name in zip(relevances, frames, names, strict=True):
        of = scope(relevance)
        how = (f"{name}: " if len(names) == 1 else "") + f"mean over {of.window}s"
        if statistic == "mean":
            how += f"; {SIGNS}"
        lines = [how, of.text, *left_out(frame, chosen, statistic, noun(groups))]
        ticks = {at_most: lag_ticks(relevance.steps, at_most) for at_most in (10, 6)}
        maps.append(Tiles(chosen, frame[chosen].to_numpy().T, ticks, lag_axis(of), lines))
    main = title or _TITLES[statistic].format(noun(groups)) + "by lag"
    return draw_tiles("lag_map", maps, names, statistic, ends, main, ax)
