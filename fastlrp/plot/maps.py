"""Heat maps of features through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.plot.canvas import FAINT, TITLE, header, name_rows, sheet
from fastlrp.plot.shown import Scope, checked, checked_limits, ordered, panel_times, scope
from fastlrp.plot.timeline import counted
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
Statistic = Literal["share", "abs", "mean"]

_COLUMNS = 1300  # as many as a map has pixels for
_SPIKE = 1.25  # a largest value above this many times the 99.5th percentile would fade all others
_TITLES = {
    "share": "Which features predictions rest on, through time",
    "abs": "How large relevance is, through time",
    "mean": "Which way features push predictions, through time",
}
_UNITS = {
    "share": "% of a window's\n|relevance|",
    "abs": "mean |relevance|\n(the score's unit)",
    "mean": "mean relevance\n(the score's unit)",
}


def heat_map(
    *relevances: Relevance,
    statistic: Statistic = "share",
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
    smooth : int
        Number of periods in a trailing mean; 1 shows each period as it is.
    top : int or None
        Number of features to show; None shows all up to 40, and the 30 largest of more. A note says what the others
        hold.
    order : sequence of str or None
        Features from top to bottom, such as another picture's; None sorts them by size.
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
    frames = [relevance.by_time(statistic) for relevance in relevances]
    if not all(map(len, frames)):
        raise ValueError("heat_map has nothing to show: no period of the panel has relevance")
    chosen = ordered("heat_map", frames[0].abs().mean(), order, top)
    maps = [_map(*pair, chosen, statistic, smooth) for pair in zip(relevances, frames, strict=True)]
    several = _new_axes(len(maps), len(chosen)) if ax is None else list(np.ravel(ax))
    if len(several) != len(maps):
        raise ValueError(f"heat_map(ax=...) takes one Axes a result, {len(maps)}, not {len(several)}")
    colours = _colours(maps, statistic, ends)
    main = title or _TITLES[statistic]
    for axes, one, name in zip(several, maps, names, strict=True):
        _draw(axes, one, colours, signed=statistic == "mean")
        if len(maps) == 1:
            header(axes, main, [f"{name}: {one.how}", one.scope.text, *one.notes])
        else:
            header(axes, name, [one.how, one.scope.text, *one.notes], size=11)
    if len(maps) > 1 and ax is None:
        several[0].figure.suptitle(main, x=0.01, ha="left", **TITLE)
    _colour_bar(several, colours, statistic)
    return several[0].figure if ax is None else ax


def _new_axes(maps: int, rows: int) -> list[Any]:
    """Axes of a new figure: side by side, two per row."""
    down, across = (maps + 1) // 2, min(maps, 2)
    figure = sheet(14.0 if maps > 1 else 10.5, 0.27 * rows, down)
    several = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for unused in several[maps:]:
        unused.set_visible(False)
    return list(several[:maps])


# --------------------------------------------------------------------------------------------------- before drawing


@dataclass(frozen=True, eq=False)
class _Map:
    """A heat map before it is drawn."""

    features: list[str]
    values: Array  # (feature, column), NaN where a period has no relevance
    ticks: dict[int, tuple[Array, list[str]]]
    scope: Scope
    how: str
    notes: list[str]


def _map(relevance: Relevance, frame: pd.DataFrame, chosen: list[str], statistic: Statistic, smooth: int) -> _Map:
    """The map of a result. Columns are periods, missing ones too, or means of several if there are too few pixels."""
    of = scope(relevance)
    _, all_times, times = panel_times(relevance)
    times = times.take(all_times.get_indexer(frame.index))
    table = frame[chosen].set_axis(times.position).reindex(range(int(times.position[-1]) + 1))
    shown = table.rolling(smooth, min_periods=1).mean().where(table.notna())
    wide = -(-len(shown) // _COLUMNS)
    if wide > 1:
        shown = shown.groupby(np.arange(len(shown)) // wide).mean()
    how = f"mean over {of.assets}" if of.assets else "one series"
    if smooth > 1:
        how += f", trailing mean of {counted(smooth, times.unit)}"
    if statistic == "mean":
        how += "; red raises the score, blue lowers it"
    if wide > 1:
        how += f", a column for {counted(wide, times.unit)}"
    ticks = {}
    for at_most in (10, 6):
        at, texts = times.ticks(at_most)
        ticks[at_most] = (at // wide, texts)
    values = shown.to_numpy().T * (100 if statistic == "share" else 1)
    notes = _notes(frame, chosen, statistic)
    if np.isnan(values).any():
        notes.append(f"grey: no relevance in that {times.unit}")
    return _Map(chosen, values, ticks, of, how, notes)


def _notes(frame: pd.DataFrame, chosen: list[str], statistic: Statistic) -> list[str]:
    """Notes on the features that are not shown."""
    others = len(frame.columns) - len(chosen)
    if not others:
        return []
    said = f"{len(chosen)} of {counted(len(frame.columns), 'feature')}"
    if statistic == "mean":
        return [said]
    held = 1 - float(frame[chosen].to_numpy().sum() / frame.to_numpy().sum())
    return [f"{said}; the other {others} hold{'' if others > 1 else 's'} {100 * held:.1f} % of |relevance|"]


@dataclass(frozen=True)
class _Colours:
    """The ends of the colours, and those of the values."""

    low: float
    high: float
    least: float
    largest: float


def _colours(maps: Sequence[_Map], statistic: Statistic, ends: tuple[float, float] | None) -> _Colours:
    values = np.concatenate([one.values[~np.isnan(one.values)] for one in maps])
    least, largest = float(values.min()), float(values.max())
    if ends is not None:
        return _Colours(*ends, least, largest)
    size = np.abs(values)
    high, usual = float(size.max()), float(np.percentile(size, 99.5))
    if usual and high > _SPIKE * usual:
        high = usual
    high = high or 1.0
    return _Colours(-high if statistic == "mean" else 0.0, high, least, largest)


# ---------------------------------------------------------------------------------------------------------- drawing


def _draw(axes: Any, one: _Map, colours: _Colours, signed: bool) -> None:
    from matplotlib import colormaps

    palette = colormaps["RdBu_r" if signed else "YlGnBu"].with_extremes(bad="#c9ced3")
    axes.imshow(
        np.ma.masked_invalid(one.values), aspect="auto", interpolation="nearest", cmap=palette, vmin=colours.low,
        vmax=colours.high,
    )  # fmt: skip
    rows = len(one.features)
    height = name_rows(axes, one.features)
    axes.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=min(1.2, 0.06 * height))
    wide = axes.get_window_extent().width / axes.figure.dpi > 7
    axes.set_xticks(*one.ticks[10 if wide else 6])
    axes.set_xlabel(f"last {one.scope.unit} of the window", color=FAINT, fontsize=9)


def _colour_bar(several: Sequence[Any], colours: _Colours, statistic: Statistic) -> None:
    """Draw the colour bar beside the last map: the unit and, at its ends, how far values go beyond the colours."""
    figure, below, above = several[0].figure, colours.least < colours.low, colours.largest > colours.high
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    inches = sum(axes.get_window_extent().height for axes in several[::2]) / figure.dpi  # there are two per row
    arrow = min(0.05, 0.12 / inches)
    bar = figure.colorbar(
        several[-1].images[-1], ax=list(several), pad=0.012, aspect=inches / 0.15, extend=extend, extendfrac=arrow
    )
    bar.outline.set(edgecolor=FAINT, linewidth=0.4)  # the palest colour is almost the page's
    bar.ax.tick_params(length=0, labelsize=8, colors=FAINT)
    bar.set_label(_UNITS[statistic], color=FAINT, fontsize=9)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "color": FAINT, "fontsize": 8}
    if above:
        bar.ax.annotate(f"values up\nto {colours.largest:.3g}", (0, 1 + arrow), (0, 3), va="bottom", **place)
    if below:
        bar.ax.annotate(f"values down\nto {colours.least:.3g}", (0, -arrow), (0, -3), va="top", **place)
