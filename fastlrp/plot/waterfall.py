"""The parts of one prediction, from the average of its cross-section, or from zero, to its score."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.plot.canvas import FAINT, GRID, INK, axes_for, header, name_rows, row_height, shortened
from fastlrp.plot.cross_section import (
    DOWN,
    REST,
    UP,
    Base,
    check_base,
    given_values,
    number,
    parts,
    row_named,
    row_text,
)
from fastlrp.plot.shown import Groups, checked_one, noun, panel_times, scope
from fastlrp.plot.timeline import counted
from fastlrp.relevance.parts import of_times
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]


class _Step(NamedTuple):
    """A bar: its name, and what it adds."""

    name: str
    size: float


def waterfall(
    relevance: Relevance,
    row: Any,
    *,
    base: Base = "mean",
    groups: Groups | None = None,
    values: Any = None,
    top: int = 12,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Why one prediction is what it is: bars that lead from the average of its cross-section to its score.

    The bars are the row's relevance less the mean relevance of its period's assets, and so lead exactly from the mean
    score to the row's: they answer why a stock is in the top decile of its month. From zero, they are the relevance
    itself.

    Parameters
    ----------
    relevance : Relevance
        The result.
    row : int or key
        The row, by position or by its key in the index, such as ("2020-03", "AAPL").
    base : {"mean", "zero"}
        Where bars begin: at the mean of the period's assets (of all rows, for arrays and where there is one row a
        time), or at 0.
    groups : mapping of name to features, or None
        Bars are of groups, each the sum of its features' relevance.
    values : DataFrame, array or None
        The panel or array that was explained: each feature's value at the last step is written beside its name.
    top : int
        Number of features (or groups) with a bar of their own; the others' sum has one.
    title : str or None
        None: a title that says which row is shown.
    ax : matplotlib Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure, or ``ax`` if it is given

    Raises
    ------
    ValueError
        If there is no such row, it has no relevance, or an option is not as described.
    ImportError
        If matplotlib is missing.
    """
    relevance = checked_one("waterfall", relevance, top=top)
    check_base("waterfall", base)
    at = row_named("waterfall", relevance, row)
    known = None if values is None else given_values("waterfall", relevance, values, np.array([at]))[0]
    rows, of = _beside(relevance, at)
    beside = relevance[rows]
    table = parts(beside, groups).to_numpy()
    score, place = beside.score.astype(np.float64), int(np.searchsorted(rows, at))
    start = table.mean(axis=0) if base == "mean" else np.zeros(table.shape[1])
    ends = (float(score.mean()) if base == "mean" else 0.0, float(score[place]))
    steps = _steps(table[place] - start, _names(relevance, groups, known), top, noun(groups))
    first = f"mean of {of}" if base == "mean" else "zero"
    (axes,) = axes_for("waterfall", ax, 1, 8.0, 0.3 * (len(steps) + 2))
    _draw(axes, steps, ends, (first, row_text(relevance, at)))
    less = " less its mean" if base == "mean" else ""
    lines = [
        _rank(score, place),
        f"{relevance.rule.name}: relevance{less}, summed over {counted(relevance.steps, scope(relevance).unit)}",
        *_missed(steps, ends),
    ]
    header(axes, title or f"Why {row_text(relevance, at)}", lines)
    return axes.figure if ax is None else ax


def _rank(score: Array, place: int) -> str:
    """The place of a score among those beside it."""
    rank = 1 + int((score > score[place]).sum())
    part = -(-100 * rank // len(score))
    return f"rank {rank:,} of {len(score):,} by score (top {part} %); red raises it, blue lowers it"


def _missed(steps: list[_Step], ends: tuple[float, float]) -> list[str]:
    """A note if bars do not lead to the score: that of a rule that approximates, and has too few steps."""
    size = np.array([step.size for step in steps])
    missed, largest = ends[1] - ends[0] - float(size.sum()), float(np.abs([*size, *ends]).max())
    return [f"the bars miss the score by {number(missed, largest)}"] if abs(missed) > 2e-3 * largest else []


def _beside(relevance: Relevance, at: int) -> tuple[Array, str]:
    """The rows of a row's cross-section that have relevance, and what they are."""
    of = scope(relevance)
    if of_times(relevance.index) and of.assets is not None:
        rank, _, times = panel_times(relevance)
        rows = np.flatnonzero((rank == rank[at]) & relevance.explained)
        if len(rows) > 1 or np.bincount(rank[relevance.explained]).max() > 1:
            return rows, f"{counted(len(rows), of.assets[:-1])}, {times.names[rank[at]]}"
    rows = np.flatnonzero(relevance.explained)
    return rows, counted(len(rows), of.window)


def _names(relevance: Relevance, groups: Groups | None, known: Array | None) -> list[str]:
    """The names of the parts of a score, with the features' values where they are known."""
    if groups is not None:
        return [*parts(relevance[:0], groups).columns]
    names = list(map(shortened, relevance.inputs))
    if known is not None:
        names = [f"{name} = {value:.3g}" for name, value in zip(names, known, strict=True)]
    return [*names, REST]


def _steps(sizes: Array, names: list[str], top: int, what: str) -> list[_Step]:
    """Bars: the largest features first, then the others' sum, then what no feature has."""
    n = len(sizes) - 1
    order = np.argsort(-np.abs(sizes[:n]), kind="stable")
    if n == top + 1:
        top = n
    steps = [_Step(names[j], float(sizes[j])) for j in order[:top]]
    if n > top:
        steps.append(_Step(counted(n - top, f"other {what}"), float(sizes[order[top:]].sum())))
    return [*steps, _Step(names[n], float(sizes[n]))]


def _draw(axes: Any, steps: list[_Step], ends: tuple[float, float], called: tuple[str, str]) -> None:
    """The bars, top to bottom, between the line of the base and that of the score."""
    size = np.array([step.size for step in steps])
    left = ends[0] + np.concatenate([[0.0], np.cumsum(size)[:-1]])
    n, largest = len(steps) + 2, float(np.abs([*size, *ends]).max())
    name_rows(axes, [called[0], *(step.name for step in steps), called[1]])
    places = np.arange(1, n - 1)
    axes.barh(places, size, left=left, height=0.7, color=np.where(size >= 0, UP, DOWN))
    reached = np.concatenate([[ends[0]], left + size])
    for place, x in zip(range(n - 1), reached, strict=True):  # from each bar to the next
        axes.plot([x, x], [place - 0.35, place + 1.35], color=FAINT, linewidth=0.7, zorder=1)
    axes.plot([ends[0], ends[1]], [0, n - 1], "o", color=INK, markersize=5)
    small = min(8.0, 0.75 * row_height(axes, n))
    axes.set_ylim(n - 0.4, -0.6)
    axes.use_sticky_edges = False  # margins are to hold numbers, on either side
    axes.margins(x=0.14)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("score", color=FAINT, fontsize=9)
    label: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": small, "color": INK}
    for place, x, step in zip(places.tolist(), left.tolist(), steps, strict=True):
        right = step.size >= 0
        text = number(step.size, largest)
        axes.annotate(text, (x + step.size, place), (4 if right else -4, 0), ha="left" if right else "right", **label)
    for place, x in ((0, ends[0]), (n - 1, ends[1])):
        axes.annotate(number(x, largest, sign=False), (x, place), (6, 0), ha="left", fontweight="bold", **label)
