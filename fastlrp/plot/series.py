"""Means of relevance through time as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastlrp.plot.canvas import FAINT, LINES, axes_for, headers, shortened
from fastlrp.plot.shading import Shade, checked_shade
from fastlrp.plot.shown import Groups, checked, checked_limits, noun
from fastlrp.plot.time_axes import GREY, few, finish, how, label
from fastlrp.plot.timeline import counted
from fastlrp.plot.tracks import UNITS, Statistic, Track, left_out, track
from fastlrp.relevance.result import Relevance

_TITLES = {
    "share": "Which {}s predictions rest on, through time",
    "abs": "How large relevance is, through time",
    "mean": "Which way {}s push predictions, through time",
}


def lines(
    *relevances: Relevance,
    statistic: Statistic = "share",
    groups: Groups | None = None,
    smooth: int = 1,
    shade: Shade | None = None,
    members: Sequence[Relevance] = (),
    top: int | None = None,
    order: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Relevance of features or groups through time: a line each, the largest in colours, the others thin and grey.

    Several results are drawn below each other, with the same colours and the same limits.

    Parameters
    ----------
    *relevances : Relevance
        One to four results of panels, or of one row a time, with the same features; the first decides the order.
    statistic : {"share", "abs", "mean"}
        The quantity that :meth:`Relevance.by_time` averages over assets; "mean" keeps the sign.
    groups : mapping of name to features, or None
        Lines are of groups, each the sum of its features' numbers; features in no group are summed as "Other".
    smooth : int
        Number of periods in a trailing mean; 1 shows each period as it is.
    shade : sequence of (first, last), mapping of name to such, or None
        Spans of time to shade, such as recessions: dates, months, quarters or years, both included. At most four names.
    members : sequence of Relevance
        Results of an ensemble's members, ``[net.explain(panel) for net in ensemble]``, beside the ensemble's own: bands
        around the lines in colours, one standard deviation over members (ddof=1) either way.
    top : int or None
        Number of lines in colours, at most 7, which None shows, too.
    order : sequence of str or None
        Features (or groups) in colours, such as another picture's; None takes the largest.
    limits : (low, high) or None
        Ends of the vertical axis, in its unit; None fits them to the lines.
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
    names = checked("lines", relevances, labels, smooth=smooth, top=top)
    ends = checked_limits("lines", limits)
    tracks = [track("lines", relevance, statistic, groups, smooth) for relevance in relevances]
    spans = checked_shade("lines", shade, [one.times for one in tracks])
    chosen = few("lines", tracks[0], order, top)
    bands = _bands(tracks, members, chosen, statistic, groups, smooth)
    several = axes_for("lines", ax, len(tracks), 10.5, 3.2)
    small: list[list[str]] = []
    shaded: list[str] = []
    for axes, one, name in zip(several, tracks, names, strict=True):
        _draw_lines(axes, one, chosen, bands)
        shaded = finish(axes, one, UNITS[statistic], spans, over=False) or shaded
        others = left_out(one.whole, chosen, statistic, noun(groups))
        small.append([how(one, name, len(names)), one.scope.text, *(f"in colours: {note}" for note in others)])
        if bands is not None:
            small[-1].append(f"bands: one standard deviation over {counted(len(members), 'network')}, either way")
    if statistic == "mean":
        for axes in several:
            axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    _limit(several, ends, at_least=None if statistic == "mean" else 0.0)
    main = title or _TITLES[statistic].format(noun(groups))
    headers(several, names, small, main, own=ax is None, legend=[*map(shortened, chosen), *shaded])
    return several[0].figure if ax is None else ax


def _bands(
    tracks: Sequence[Track], members: Sequence[Relevance], chosen: list[str], statistic: Statistic,
    groups: Groups | None, smooth: int,
) -> pd.DataFrame | None:  # fmt: skip
    """The standard deviation over members of what the lines show; None without members."""
    if not len(members):
        return None
    if len(tracks) > 1 or len(members) < 2:
        raise ValueError(
            f"lines(members=...) takes two or more members of one result, not {len(members)} of {len(tracks)}"
        )
    tables = []
    for k, member in enumerate(members):
        checked("lines", [member], None)
        one = track("lines", member, statistic, groups, smooth)
        if list(one.times.names) != list(tracks[0].times.names) or not {*chosen} <= {*one.table.columns}:
            raise ValueError(f"lines: members[{k}] is not of the same periods and features as the result")
        tables.append(one.table[chosen].to_numpy())
    return pd.DataFrame(np.std(tables, axis=0, ddof=1), tracks[0].table.index, chosen)


def _draw_lines(axes: Any, of: Track, chosen: Sequence[str], bands: pd.DataFrame | None) -> None:
    table = of.table
    others = table.drop(columns=list(chosen)).to_numpy()
    if others.shape[1]:
        axes.plot(table.index, others, color=GREY, linewidth=0.6, zorder=1)
    alone = table.isna().shift(1, fill_value=True) & table.isna().shift(-1, fill_value=True)  # no line reaches them
    for colour, name in reversed(list(zip(LINES, chosen, strict=False))):  # the largest on top
        axes.plot(table.index, table[name], color=colour, linewidth=1.6, zorder=2)
        if bands is not None:
            low, high = table[name] - bands[name], table[name] + bands[name]
            axes.fill_between(table.index, low, high, color=colour, alpha=0.2, linewidth=0, zorder=1.5)
        points = table[name].where(alone[name])
        axes.plot(table.index, points, ".", color=colour, markersize=4, zorder=2)
    for colour, name in zip(LINES, chosen, strict=False):  # legends are in the order of drawing
        axes.plot([], [], color=colour, linewidth=1.6, label=label(name))


def _limit(several: Sequence[Any], ends: tuple[float, float] | None, at_least: float | None) -> None:
    """The same limits for all axes."""
    if ends is None:
        found = [axes.get_ylim() for axes in several]
        low, high = min(low for low, _ in found), max(high for _, high in found)
        ends = (low if at_least is None else at_least, high)
    for axes in several:
        axes.set_ylim(ends)
