"""Bars of mean shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastlrp.plot.canvas import FAINT, GRID, SERIES, entry, header, name_rows, row_height, sheet
from fastlrp.plot.shown import Groups, checked, checked_limits, noun, on_host, ordered, scope
from fastlrp.plot.timeline import counted
from fastlrp.relevance import tables
from fastlrp.relevance.groups import by_members, group_positions
from fastlrp.relevance.result import Relevance


def bars(
    *relevances: Relevance,
    groups: Groups | None = None,
    top: int | None = None,
    order: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Mean share of |relevance| of each feature: one bar per result, so that rules or networks stand side by side.

    Parameters
    ----------
    *relevances : Relevance
        One to four results with the same features; the first decides the order, largest on top.
    groups : mapping of name to features, or None
        Bars are of groups, each the sum of its features' shares; features in no group are summed as "Other".
    top : int or None
        Number of bars to show; None shows all up to 40, and the 30 largest of more. The sum of the others stands
        below them, as a number.
    order : sequence of str or None
        Features (or groups) from top to bottom, such as another picture's; None sorts them by size.
    limits : (low, high) or None
        Ends of the axis, in percent, such as another picture's; None fits them to the bars.
    labels : sequence of str or None
        Names for the results; None names their rules, with the parameters that are not the default.
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
        If there are none or more than four results, if one has no relevance, if features differ, or if an option is
        not as described.
    ImportError
        If matplotlib is missing.
    """
    names = checked("bars", relevances, labels, top=top)
    ends = checked_limits("bars", limits)
    shares = [mean_shares("bars", relevance, groups) for relevance in relevances]
    chosen = ordered("bars", shares[0], order, top)
    shown = [share[chosen].to_numpy() for share in shares]
    spreads = [None if groups is not None else _spread(relevance, chosen) for relevance in relevances]
    others = len(shares[0]) - len(chosen)
    rows = [*chosen, *([f"{others} others together" if others > 1 else "1 other"] if others else [])]
    axes = sheet(8.0, len(rows) * (0.13 + 0.09 * len(shares))).subplots() if ax is None else ax
    _draw(axes, shown, spreads, [100 - float(part.sum()) for part in shown] if others else [], names)
    name_rows(axes, rows)
    lines = _lines(relevances, names)
    if any(spread is not None for spread in spreads):
        lines.append("whiskers: one standard deviation over an ensemble's members, either way")
    if ends is not None:
        axes.set_xlim(ends)
        if (longest := max(map(np.max, shown))) > ends[1]:
            lines.append(f"the axis ends at {ends[1]:g} %, the longest bar at {longest:.1f} %")
    header(axes, title or f"Which {noun(groups)}s predictions rest on", lines, names[1:] and names)
    return axes.figure if ax is None else ax


def mean_shares(function: str, relevance: Relevance, groups: Groups | None = None) -> pd.Series[float]:
    """The mean share of each feature or group, in percent."""
    relevance = on_host(relevance)
    share = 100 * tables.mean_share(relevance)
    if np.isnan(share).any():
        raise ValueError(f"{function} has nothing to show: no row of the result has relevance")
    if groups is None:
        return pd.Series(share, list(relevance.inputs))
    members = group_positions(relevance.inputs, groups)
    return pd.Series(by_members(share, members), list(members))


def _spread(relevance: Relevance, chosen: Sequence[str]) -> Any:
    """The spread over an ensemble's members of the chosen features' shares, in percent; None for one network."""
    if relevance.share_spread is None:
        return None
    return 100 * pd.Series(relevance.share_spread, list(relevance.inputs))[list(chosen)].to_numpy()


def _draw(
    axes: Any, shares: Sequence[Any], spreads: Sequence[Any], others: Sequence[float], names: Sequence[str]
) -> None:
    thick, n = 0.8 / len(shares), len(shares[0])
    small = min(7.0, 0.9 * thick * row_height(axes, n + bool(others)))
    for k, (share, spread, name) in enumerate(zip(shares, spreads, names, strict=True)):
        at = -0.4 + (k + 0.5) * thick
        whiskers: dict[str, Any] = {}
        if spread is not None:  # a share is never below 0
            whiskers = {"xerr": [np.minimum(spread, share), spread], "ecolor": FAINT, "error_kw": {"elinewidth": 0.8}}
        drawn = axes.barh(np.arange(n) + at, share, height=0.9 * thick, color=SERIES[k], label=entry(name), **whiskers)
        if small > 3:
            axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=small, color=FAINT)
        if others:  # a number, not a bar, which would be longer than all the rest
            axes.annotate(
                f"{others[k]:.1f}", (0, n + at), (3, 0), textcoords="offset points", va="center", fontsize=small,
                color=FAINT, xycoords=axes.get_yaxis_transform(),
            )  # fmt: skip
    axes.set_ylim(n + bool(others) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("% of a window's |relevance|", color=FAINT, fontsize=9)


def _lines(relevances: Sequence[Relevance], names: Sequence[str]) -> list[str]:
    """What the bars show; the scope takes one line if all results are of the same rows."""
    scopes = [scope(relevance) for relevance in relevances]
    by = f"{names[0]}: " if len(names) == 1 else ""
    window = scopes[0].window
    how = f"{by}mean over {window}s, relevance summed over a {window}'s {counted(relevances[0].steps, scopes[0].unit)}"
    if len({each.text for each in scopes}) == 1:
        return [how, scopes[0].text]
    return [how, *(f"{name}: {each.text}" for name, each in zip(names, scopes, strict=True))]
