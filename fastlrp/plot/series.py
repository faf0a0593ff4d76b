"""Means of relevance through time as lines, and shares as stacked areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlrp.plot.canvas import FAINT, LINES, axes_for, entry, headers, plain_axes, shortened
from fastlrp.plot.shading import Shade, Span, checked_shade, shade_axes
from fastlrp.plot.shown import Groups, checked, checked_limits, noun, ordered
from fastlrp.plot.tracks import UNITS, Statistic, Track, left_out, track
from fastlrp.relevance.result import Relevance

_GREY = "#c9ced3"
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
    ends, spans = checked_limits("lines", limits), checked_shade("lines", shade)
    tracks = [track("lines", relevance, statistic, groups, smooth) for relevance in relevances]
    chosen = _few("lines", tracks[0], order, top)
    several = axes_for("lines", ax, len(tracks), 10.5, 3.2)
    small: list[list[str]] = []
    shaded: list[str] = []
    for axes, one, name in zip(several, tracks, names, strict=True):
        _draw_lines(axes, one, chosen)
        shaded = _finish(axes, "lines", one, UNITS[statistic], spans, over=False) or shaded
        others = left_out(one.whole, chosen, statistic, noun(groups))
        small.append([_how(one, name, len(names)), one.scope.text, *(f"in colours: {note}" for note in others)])
    if statistic == "mean":
        for axes in several:
            axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    _limit(several, ends, at_least=None if statistic == "mean" else 0.0)
    main = title or _TITLES[statistic].format(noun(groups))
    headers(several, names, small, main, own=ax is None, legend=[*map(shortened, chosen), *shaded])
    return several[0].figure if ax is None else ax


def stacked(
    *relevances: Relevance,
    groups: Groups | None = None,
    smooth: int = 1,
    shade: Shade | None = None,
    top: int | None = None,
    order: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Mean shares of |relevance| through time, stacked to 100 %: the largest on the ground, the others grey on top.

    Parameters
    ----------
    *relevances, groups, smooth, shade, labels, title, ax
        As in :func:`lines`.
    top : int or None
        Number of features (or groups) in colours, at most 7, which None shows, too; the others are summed.
    order : sequence of str or None
        Features (or groups) in colours from the ground up; None takes the largest.

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
    names = checked("stacked", relevances, labels, smooth=smooth, top=top)
    spans = checked_shade("stacked", shade)
    tracks = [track("stacked", relevance, "share", groups, smooth) for relevance in relevances]
    chosen = _few("stacked", tracks[0], order, top)
    several = axes_for("stacked", ax, len(tracks), 10.5, 3.2)
    small: list[list[str]] = []
    shaded: list[str] = []
    others = len(tracks[0].table.columns) - len(chosen)
    rest = [f"{others} others" if others > 1 else "1 other"] if others else []
    for axes, one, name in zip(several, tracks, names, strict=True):
        parts = one.table[chosen].to_numpy().T
        if others:
            parts = np.vstack([parts, one.table.drop(columns=chosen).sum(axis=1, skipna=False)])
        axes.stackplot(
            one.table.index, parts, colors=[*LINES[: len(chosen)], _GREY], labels=[*map(_label, chosen), *rest],
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        shaded = _finish(axes, "stacked", one, UNITS["share"], spans, over=True) or shaded
        axes.set_ylim(0, 100)
        small.append([_how(one, name, len(names)), one.scope.text])
    main = title or _TITLES["share"].format(noun(groups))
    headers(several, names, small, main, own=ax is None, legend=[*map(shortened, chosen), *rest, *shaded])
    return several[0].figure if ax is None else ax


def _few(function: str, first: Track, order: Sequence[str] | None, top: int | None) -> list[str]:
    """The features or groups in colours: as many as there are colours that everybody can tell apart."""
    chosen = ordered(function, first.whole.abs().mean(), order, top or (len(LINES) if order is None else None))
    if len(chosen) > len(LINES):
        raise ValueError(
            f"{function} has {len(LINES)} colours that can be told apart, not {len(chosen)}: heat_map shows more"
        )
    return chosen


def _label(name: str) -> str:
    return entry(shortened(name))


def _how(of: Track, name: str, results: int) -> str:
    how = f"{name}: {of.how}" if results == 1 else of.how
    return how + (f"; gaps: no relevance in that {of.times.unit}" if of.table.isna().to_numpy().any() else "")


def _draw_lines(axes: Any, of: Track, chosen: Sequence[str]) -> None:
    table = of.table
    others = table.drop(columns=list(chosen)).to_numpy()
    if others.shape[1]:
        axes.plot(table.index, others, color=_GREY, linewidth=0.6, zorder=1)
    alone = table.isna().shift(1, fill_value=True) & table.isna().shift(-1, fill_value=True)  # no line reaches them
    for colour, name in reversed(list(zip(LINES, chosen, strict=False))):  # the largest on top
        axes.plot(table.index, table[name], color=colour, linewidth=1.6, zorder=2)
        points = table[name].where(alone[name])
        axes.plot(table.index, points, ".", color=colour, markersize=4, zorder=2)
    for colour, name in zip(LINES, chosen, strict=False):  # legends are in the order of drawing
        axes.plot([], [], color=colour, linewidth=1.6, label=_label(name))


def _finish(axes: Any, function: str, of: Track, unit: str, spans: Sequence[Span], *, over: bool) -> list[str]:
    """The axis of times and its shades; the names of these."""
    plain_axes(axes, f"last {of.scope.unit} of the window", unit)
    wide = axes.get_window_extent().width / axes.figure.dpi > 7
    axes.set_xticks(*of.times.ticks(10 if wide else 6))
    last = int(of.times.position[-1])
    axes.set_xlim(-0.5 if last == 0 else 0, last or 0.5)
    return shade_axes(axes, function, spans, of.times, over=over)


def _limit(several: Sequence[Any], ends: tuple[float, float] | None, at_least: float | None) -> None:
    """The same limits for all axes."""
    if ends is None:
        found = [axes.get_ylim() for axes in several]
        low, high = min(low for low, _ in found), max(high for _, high in found)
        ends = (low if at_least is None else at_least, high)
    for axes in several:
        axes.set_ylim(ends)
