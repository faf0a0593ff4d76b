"""A cross-section as a swarm of points: relevance of each asset, coloured by the rank of its feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.plot.canvas import FAINT, GRID, axes_for, header, name_rows
from fastlrp.plot.cross_section import given_values, time_named
from fastlrp.plot.shown import checked_one, ordered, scope
from fastlrp.plot.timeline import counted
from fastlrp.relevance.parts import feature_values, of_times
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]

_TOP, _POINTS = 20, 5000  # rows, and points in each, at most
_COLOURS = ("#0072b2", "#b4b4b4", "#d55e00")  # low, middle, high: blue and orange, which everybody tells apart
_BINS = 120  # of a row's width: points in one bin lie beside each other


def beeswarm(
    relevance: Relevance,
    values: Any,
    *,
    time: Any = None,
    top: int | None = None,
    order: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Relevance of each asset of a cross-section: a row a feature, a point an asset, coloured by its feature's rank.

    Parameters
    ----------
    relevance : Relevance
        The result.
    values : DataFrame or array
        The panel or the array that was explained, on the result's rows: colours are ranks of its values at the last
        step among the rows that are shown.
    time : label or None
        The period to show, as the index has it; None: the last with relevance, or all rows of an array and of one row
        a time. Of more than 5,000 rows, 5,000 are shown.
    top : int or None
        Number of features; None: the 20 with the largest mean |relevance|.
    order : sequence of str or None
        Features from top to bottom; None sorts them by mean |relevance|.
    title : str or None
        None: a title that says what is shown.
    ax : matplotlib Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure, or ``ax`` if it is given

    Raises
    ------
    ValueError
        If ``values`` are not of the result's rows and features, there is no such time, or no row has relevance.
    ImportError
        If matplotlib is missing.
    """
    relevance = checked_one("beeswarm", relevance, top=top)
    of = scope(relevance)
    if of_times(relevance.index) and (of.assets is not None or time is not None):
        rows, when = time_named("beeswarm", relevance, time)
        who = f"{counted(len(rows), (of.assets or of.window + 's')[:-1])}, {when}"
    else:
        rows, who = np.flatnonzero(relevance.explained), of.text
    if not len(rows):
        raise ValueError("beeswarm has nothing to show: no row of the result has relevance")
    given = given_values("beeswarm", relevance, values, rows)
    numbers = pd.DataFrame(feature_values(relevance[rows]).astype(np.float64), columns=list(relevance.inputs))
    chosen = ordered("beeswarm", numbers.abs().mean(), order, top or (_TOP if order is None else None))
    ranks = pd.DataFrame(given, columns=numbers.columns)[chosen].rank(pct=True)
    some = np.linspace(0, len(rows) - 1, min(len(rows), _POINTS)).astype(np.int64)
    (axes,) = axes_for("beeswarm", ax, 1, 8.0, 0.34 * len(chosen))
    _draw(axes, numbers[chosen].to_numpy()[some], ranks.to_numpy()[some], chosen)
    lines = [f"{relevance.rule.name}: {who}"]
    if len(chosen) < len(numbers.columns):
        lines.append(f"{len(chosen)} of {counted(len(numbers.columns), 'feature')}")
    if len(some) < len(rows):
        lines.append(f"{len(some):,} of them are drawn; ranks are among all")
    if ranks.isna().to_numpy().any():
        lines.append("black: the feature's value is missing")
    header(axes, title or "What each feature does, asset by asset", lines)
    return axes.figure if ax is None else ax


def _draw(axes: Any, numbers: Array, ranks: Array, names: Sequence[str]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    palette = LinearSegmentedColormap.from_list("rank", _COLOURS).with_extremes(bad="#000000")
    edges = np.linspace(numbers.min(), numbers.max(), _BINS + 1)
    name_rows(axes, names)
    axes.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
    places = np.stack([_spread_out(column, edges) for column in numbers.T], axis=1) + np.arange(len(names))
    drawn = axes.scatter(
        numbers.ravel(), places.ravel(), c=np.ma.masked_invalid(ranks.ravel()), cmap=palette, vmin=0, vmax=1,
        s=16 if len(numbers) < 200 else 5, linewidths=0, plotnonfinite=True, zorder=2, rasterized=numbers.size > 2000,
    )  # fmt: skip
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("relevance (the score's unit)", color=FAINT, fontsize=9)
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.012, aspect=40, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    bar.ax.set_yticklabels(["low", "median", "high"])
    bar.ax.tick_params(length=0, labelsize=8, colors=FAINT)
    bar.set_label("the feature's rank", color=FAINT, fontsize=9)


def _spread_out(numbers: Array, edges: Array) -> Array:
    """How far each point stands from its row's middle, so that points beside each other do not hide each other."""
    bins = np.clip(np.searchsorted(edges, numbers, side="right"), 1, len(edges) - 1)
    order = np.lexsort((np.random.default_rng(0).random(len(numbers)), bins))
    first = np.searchsorted(bins[order], bins[order])
    nth = np.empty(len(numbers), np.int64)
    nth[order] = np.arange(len(numbers)) - first
    most = max(np.bincount(bins).max(), 8)
    out: Array = np.where(nth % 2 == 0, 1, -1) * ((nth + 1) // 2) * (0.8 / most)
    return out
