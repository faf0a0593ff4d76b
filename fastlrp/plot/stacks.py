"""Shares of relevance through time as stacked areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlrp.plot.canvas import LINES, axes_for, headers, shortened
from fastlrp.plot.shading import Shade, checked_shade
from fastlrp.plot.shown import Groups, checked, noun
from fastlrp.plot.time_axes import GREY, few, finish, how, label
from fastlrp.plot.tracks import UNITS, track
from fastlrp.relevance.result import Relevance


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
    tracks = [track("stacked", relevance, "share", groups, smooth) for relevance in relevances]
    spans = checked_shade("stacked", shade, [one.times for one in tracks])
    chosen = few("stacked", tracks[0], order, top)
    several = axes_for("stacked", ax, len(tracks), 10.5, 3.2)
    small: list[list[str]] = []
    shaded: list[str] = []
    others = len(tracks[0].table.columns) - len(chosen)
    rest = [f"{others} others" if others > 1 else "1 other"] if others else []
    for axes, one, name in zip(several, tracks, names, strict=True):
        parts = one.table[chosen].to_numpy().T
        if others:
            parts = np.vstack([parts, one.table.drop(columns=chosen).sum(axis=1, skipna=False)])
        at: Any = one.table.index
        if len(at) == 1:  # one place is as wide as the axis
            at, parts = [-0.5, 0.5], np.repeat(parts, 2, axis=1)
        axes.stackplot(
            at, parts, colors=[*LINES[: len(chosen)], GREY], labels=[*map(label, chosen), *rest],
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        shaded = finish(axes, one, UNITS["share"], spans, over=True) or shaded
        axes.set_ylim(0, 100)
        small.append([how(one, name, len(names)), one.scope.text])
    main = title or f"Which {noun(groups)}s predictions rest on, through time"
    headers(several, names, small, main, own=ax is None, legend=[*map(shortened, chosen), *rest, *shaded])
    return several[0].figure if ax is None else ax
