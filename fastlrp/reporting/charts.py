"""Charts of numbers that are no relevance: gaps, rank correlations, portfolios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fastlrp.plot.canvas import FAINT, SERIES, header, plain_axes, sheet
from fastlrp.plot.timeline import timeline

_POINTS = 1000  # a line has no more; periods beyond are averaged


def line_chart(
    table: pd.DataFrame, title: str, notes: Sequence[str], unit: str, *, smooth: int = 1, shown_from: int | None = None
) -> Any:
    """A line a column, as a trailing mean of ``smooth`` periods; what is before the period ``shown_from`` is shaded."""
    times = timeline(table.index)
    values = table.rolling(smooth, min_periods=1).mean()
    wide = -(-len(values) // _POINTS)
    of = np.arange(len(values)) // wide
    axes = sheet(9.0, 2.2).subplots()
    for k, name in enumerate(values):
        at, line = pd.Series(times.position).groupby(of).mean(), values[name].groupby(of).mean()
        axes.plot(at.to_numpy(), line.to_numpy(), color=SERIES[k], linewidth=1.4, label=str(name))
    if shown_from is not None and shown_from > 0:
        axes.axvspan(times.position[0], times.position[shown_from], facecolor=FAINT, alpha=0.12, linewidth=0)
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.set_xticks(*times.ticks(10))
    plain_axes(axes, "", unit)
    header(axes, title, notes, [str(name) for name in values] if values.shape[1] > 1 else ())
    return axes.figure


def bar_chart(sizes: pd.Series[float], title: str, notes: Sequence[str], unit: str, below: str) -> Any:
    """A bar an entry, named below it."""
    axes = sheet(9.0, 1.8).subplots()
    axes.bar(np.arange(len(sizes)), sizes.to_numpy(), width=0.7, color=SERIES[0])
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.set_xticks(range(len(sizes)), list(map(str, sizes.index)))
    plain_axes(axes, below, unit)
    header(axes, title, notes)
    return axes.figure
