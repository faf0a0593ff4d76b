"""What lines and areas through time share: the few in colours, the axis of times with its shades, the small print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlrp.plot.canvas import LINES, entry, plain_axes, shortened
from fastlrp.plot.shading import Span, shade_axes
from fastlrp.plot.shown import ordered
from fastlrp.plot.tracks import Track

GREY = "#c9ced3"


def few(function: str, first: Track, order: Sequence[str] | None, top: int | None) -> list[str]:
    """The features or groups in colours: as many as there are colours that everybody can tell apart."""
    chosen = ordered(function, first.whole.abs().mean(), order, top or (len(LINES) if order is None else None))
    if len(chosen) > len(LINES):
        raise ValueError(
            f"{function} has {len(LINES)} colours that can be told apart, not {len(chosen)}: heat_map shows more"
        )
    return chosen


def label(name: str) -> str:
    """A name as an entry of a legend."""
    return entry(shortened(name))


def how(of: Track, name: str, results: int) -> str:
    """What means are of; of several results, each has its name as its title."""
    means = f"{name}: {of.how}" if results == 1 else of.how
    return means + (f"; gaps: no relevance in that {of.times.unit}" if of.table.isna().to_numpy().any() else "")


def finish(axes: Any, of: Track, unit: str, spans: Sequence[Span], *, over: bool) -> list[str]:
    """The axis of times and its shades; the names of these."""
    plain_axes(axes, f"last {of.scope.unit} of the window", unit)
    wide = axes.get_window_extent().width / axes.figure.dpi > 7
    axes.set_xticks(*of.times.ticks(10 if wide else 6))
    last = int(of.times.position[-1])
    axes.set_xlim(-0.5 if last == 0 else 0, last or 0.5)
    return shade_axes(axes, spans, of.times, over=over)
