"""Shares of features with their spread over an ensemble's members, beside the line of a null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastlrp.messages import suggest
from fastlrp.plot.canvas import FAINT, GRID, LINES, axes_for, header, name_rows, row_height
from fastlrp.plot.shares import mean_shares
from fastlrp.plot.shown import checked_one, ordered, scope
from fastlrp.plot.timeline import counted
from fastlrp.relevance.result import Relevance


def spread(
    relevance: Relevance,
    *,
    null: Any = None,
    top: int | None = None,
    order: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Mean share of |relevance| of each feature, with its spread over an ensemble's members and the line of a null.

    Parameters
    ----------
    relevance : Relevance
        The result of an ensemble, or of any network where ``null`` is given.
    null : NullRelevance, DataFrame or None
        What :func:`fastlrp.null_relevance` found of shares by feature, or its ``table()``: features whose share is
        above its line are filled, the others hollow.
    top : int or None
        Number of features to show; None shows all up to 40, and the 30 largest of more.
    order : sequence of str or None
        Features from top to bottom, such as another picture's; None sorts them by share.
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
        If there is neither a spread nor a null, the null is not of shares by feature, or an option is not as
        described.
    ImportError
        If matplotlib is missing.
    """
    relevance = checked_one("spread", relevance, top=top)
    if relevance.share_spread is None and null is None:
        raise ValueError("spread shows an ensemble's result, all its rows, or one beside null=; this one is neither")
    share = mean_shares("spread", relevance)
    line = None if null is None else _line(relevance, null)
    chosen = ordered("spread", share, order, top)
    wide = None
    if relevance.share_spread is not None:
        wide = 100 * pd.Series(relevance.share_spread, share.index)[chosen].to_numpy()
    (axes,) = axes_for("spread", ax, 1, 8.0, 0.24 * len(chosen))
    legend = _draw(axes, share[chosen].to_numpy(), wide, None if line is None else line[chosen].to_numpy())
    name_rows(axes, chosen)
    lines = [f"{relevance.rule.name}: {scope(relevance).text}"]
    if wide is not None:
        lines.append(f"mean of {counted(relevance.n_members or 0, 'network')}, and one standard deviation either way")
    if line is not None:
        above = int((share > line).sum())
        lines.append(f"{above} of {counted(len(share), 'feature')} {'is' if above == 1 else 'are'} above the null line")
    if len(chosen) < len(share):
        lines.append(f"{len(chosen)} of {counted(len(share), 'feature')} are shown")
    header(axes, title or "Which features predictions rest on", lines, legend)
    return axes.figure if ax is None else ax


def _line(relevance: Relevance, null: Any) -> pd.Series[float]:
    """The null's line of each feature, in percent."""
    given = (
        f"{null.statistic} by {null.by}" if hasattr(null, "statistic") and hasattr(null, "by") else "share by feature"
    )
    if given != "share by feature":
        raise ValueError(f"spread(null=...) takes shares by feature, not {given}: null_relevance(statistic='share')")
    table = null.table() if callable(getattr(null, "table", None)) else null
    if not isinstance(table, pd.DataFrame) or "line" not in table.columns:
        raise ValueError(
            f"spread(null=...) takes what null_relevance returns, or its table(), not {type(null).__name__}"
        )
    lacking = [name for name in relevance.inputs if name not in table.index]
    if lacking:
        raise ValueError(
            f"spread(null=...) is of other features: it has no {suggest(lacking, list(map(str, table.index)))}"
        )
    return 100 * table["line"].reindex(list(relevance.inputs))


def _draw(axes: Any, share: Any, wide: Any, line: Any) -> list[str]:
    """Points, whiskers, and behind them grey up to the null's line; the legend's entries."""
    places, legend = np.arange(len(share)), []
    above = np.ones(len(share), bool) if line is None else share > line
    size = min(5.0, 0.4 * row_height(axes, len(share)))
    if line is not None:
        legend.append("null line")
        axes.barh(places, line, height=0.8, color="#d5dade", zorder=1, label=legend[0])
        axes.plot([*line], places, "|", color=FAINT, markersize=2 * size, zorder=1)
    if wide is not None:
        axes.hlines(places, np.maximum(share - wide, 0), share + wide, color=LINES[0], linewidth=0.4 * size, zorder=2)
    for which, face, what in ((above, LINES[0], "above it"), (~above, "white", "not above it")):
        if which.any():
            legend += [what] if line is not None else []
            axes.plot(share[which], places[which], "o", color=LINES[0], markerfacecolor=face, markersize=size, zorder=3,
                      label=what if line is not None else None)  # fmt: skip
    axes.set_ylim(len(share) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.margins(x=0.06)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("% of a window's |relevance|", color=FAINT, fontsize=9)
    return legend
