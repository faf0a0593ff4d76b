"""Heat maps, once their numbers are known: colours that several share, tiles, and the colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.plot.canvas import FAINT, axes_for, headers, name_rows
from fastlrp.plot.tracks import UNITS, Statistic

Array = npt.NDArray[Any]
_SPIKE = 1.25  # a largest value above this many times the 99.5th percentile would fade all others


@dataclass(frozen=True, eq=False)
class Tiles:
    """A heat map before it is drawn."""

    rows: list[str]
    values: Array  # (row, column), NaN where there is no relevance
    ticks: dict[int, tuple[Array, list[str]]]  # places and labels, by at most how many there are
    under: str  # the name of the axis of columns
    lines: list[str]  # the small print


@dataclass(frozen=True)
class _Colours:
    """The ends of the colours, and those of the values."""

    low: float
    high: float
    least: float
    largest: float


def draw_tiles(
    function: str, maps: Sequence[Tiles], names: Sequence[str], statistic: Statistic,
    limits: tuple[float, float] | None, title: str, ax: Any,
) -> Any:  # fmt: skip
    """Draw maps beside each other in the same colours; return the figure, or ``ax`` if it is given."""
    wide = 14.0 if len(maps) > 1 else 10.5
    several = axes_for(function, ax, len(maps), wide, 0.27 * len(maps[0].rows), across=2)
    colours = _colours(maps, statistic, limits)
    for axes, one in zip(several, maps, strict=True):
        _draw(axes, one, colours, signed=statistic == "mean")
    headers(several, names, [one.lines for one in maps], title, own=ax is None)
    _colour_bar(several, colours, statistic)
    return several[0].figure if ax is None else ax


def _colours(maps: Sequence[Tiles], statistic: Statistic, ends: tuple[float, float] | None) -> _Colours:
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


def _draw(axes: Any, one: Tiles, colours: _Colours, signed: bool) -> None:
    from matplotlib import colormaps

    palette = colormaps["RdBu_r" if signed else "YlGnBu"].with_extremes(bad="#c9ced3")
    axes.imshow(
        np.ma.masked_invalid(one.values), aspect="auto", interpolation="nearest", cmap=palette, vmin=colours.low,
        vmax=colours.high,
    )  # fmt: skip
    height = name_rows(axes, one.rows)
    axes.set_yticks(np.arange(len(one.rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=min(1.2, 0.06 * height))
    wide = axes.get_window_extent().width / axes.figure.dpi > 7
    axes.set_xticks(*one.ticks[10 if wide else 6])
    axes.set_xlabel(one.under, color=FAINT, fontsize=9)


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
    bar.set_label(UNITS[statistic], color=FAINT, fontsize=9)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "color": FAINT, "fontsize": 8}
    if above:
        bar.ax.annotate(f"values up\nto {colours.largest:.3g}", (0, 1 + arrow), (0, 3), va="bottom", **place)
    if below:
        bar.ax.annotate(f"values down\nto {colours.least:.3g}", (0, -arrow), (0, -3), va="top", **place)
