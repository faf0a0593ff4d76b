"""The long leg against the short leg: what sets the highest predictions apart from the lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.plot.canvas import FAINT, GRID, SERIES, axes_for, header, name_rows, row_height
from fastlrp.plot.cross_section import Base, check_base, number, time_named
from fastlrp.plot.shown import Groups, checked_one, noun, ordered, panel_times, scope
from fastlrp.plot.timeline import counted
from fastlrp.relevance.display import explained
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
_LEGS = ("long", "short")


def long_short(
    relevance: Relevance,
    *,
    quantile: float = 0.1,
    time: Any = None,
    base: Base = "mean",
    groups: Groups | None = None,
    top: int | None = None,
    order: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Mean relevance of the assets with the highest and with the lowest predictions: two bars a feature.

    Each period's assets are sorted by prediction; a leg is as many of them, from either end, as ``quantile`` says, at
    least one. Bars are means over a leg's assets, averaged over periods.

    Parameters
    ----------
    relevance : Relevance
        The result of a panel; of a network with several outputs, assets are sorted by the one that was explained.
    quantile : float in (0, 0.5]
        The part of a period's assets in each leg.
    time : label or None
        One period, as the index has it; None averages over all of at least two assets.
    base : {"mean", "zero"}
        "mean": relevance less its mean over the period's assets, which adds up to the leg's mean score less theirs;
        "zero": the relevance itself.
    groups : mapping of name to features, or None
        Bars are of groups, each the sum of its features' relevance.
    top : int or None
        Number of rows; None shows all up to 40, and of more the 30 in which the legs differ most.
    order : sequence of str or None
        Features (or groups) from top to bottom; None sorts them by how far the legs differ.
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
        If the result is of an array, no period has two assets, or an option is not as described.
    ImportError
        If matplotlib is missing.
    """
    relevance = checked_one("long_short", relevance, top=top)
    check_base("long_short", base)
    if isinstance(quantile, bool) or not isinstance(quantile, float | int) or not 0 < quantile <= 0.5:
        raise ValueError(f"long_short(quantile=...) takes a number above 0 and up to 0.5, not {quantile!r}")
    if time is not None:
        relevance = relevance[time_named("long_short", relevance, time)[0]]
    legs = _legs(relevance, float(quantile))
    means, scores = _means(relevance, legs, groups, base)
    chosen = ordered("long_short", (means["long"] - means["short"]).abs(), order, top)
    (axes,) = axes_for("long_short", ax, 1, 8.0, 0.34 * len(chosen))
    what, of = noun(groups), scope(relevance)
    _draw(axes, chosen, means, f" less that of all {of.assets}" if base == "mean" else " (the score's unit)")
    lines = [
        f"{relevance.rule.name}: {100 * quantile:g} % of each {of.unit}'s {of.assets} from either end, by prediction",
        of.text,
    ]
    lines += [_line(leg, float(means[leg].sum()), scores[leg], base, what) for leg in _LEGS]
    if len(chosen) < len(means["long"]):
        lines.append(f"{len(chosen)} of {counted(len(means['long']), what)}")
    header(axes, title or f"Long leg against short leg, by {what}", lines, [f"{leg} leg" for leg in _LEGS])
    return axes.figure if ax is None else ax


def _legs(relevance: Relevance, quantile: float) -> pd.Categorical:
    """Each row's leg; missing for those between."""
    rank, _, _ = panel_times(relevance)
    prediction = explained(relevance)
    rows = np.flatnonzero(relevance.explained & (rank >= 0))
    rows = rows[np.lexsort((prediction[rows], rank[rows]))]
    _, first, each = np.unique(rank[rows], return_index=True, return_counts=True)
    first, n = np.repeat(first, each), np.repeat(each, each)
    nth, size = np.arange(len(rows)) - first, np.maximum(1, np.floor(quantile * n + 1e-9))
    code = np.full(len(relevance), -1)
    code[rows] = np.where(n < 2, -1, np.where(nth >= n - size, 0, np.where(nth < size, 1, -1)))
    if (code < 0).all():
        raise ValueError("long_short has nothing to show: no period has two assets with relevance")
    names: Any = list(_LEGS)
    return pd.Categorical.from_codes(code, names)


def _means(
    relevance: Relevance, legs: pd.Categorical, groups: Groups | None, base: Base
) -> tuple[dict[str, pd.Series[float]], dict[str, float]]:
    """Each leg's mean relevance, a column a feature or group, and its mean score, both averaged over periods."""
    by_leg = relevance.by_time("mean", groups=groups, by=legs)
    rank, _, _ = panel_times(relevance)
    score = pd.Series(relevance.score.astype(np.float64)).where(relevance.explained)
    leg_score = score.groupby([rank, np.asarray(legs, object)]).mean()
    if base == "mean":
        whole = relevance.by_time("mean", groups=groups)
        by_leg = by_leg - whole.reindex(by_leg.index.get_level_values(0)).to_numpy()
        leg_score = leg_score - score.groupby(rank).mean().reindex(leg_score.index.get_level_values(0)).to_numpy()
    legs_of = {leg: by_leg[by_leg.index.get_level_values(1) == leg] for leg in _LEGS}
    mean_score = leg_score.groupby(level=1).mean()
    return {leg: of.mean() for leg, of in legs_of.items()}, {leg: float(mean_score[leg]) for leg in _LEGS}


def _line(leg: str, features: float, score: float, base: Base, what: str) -> str:
    """How a leg's score is made up."""
    largest = max(abs(features), abs(score))
    against = " against the mean" if base == "mean" else ""
    return f"{leg} leg: score {number(score, largest)}{against}, of which all {what}s {number(features, largest)}"


def _draw(axes: Any, names: list[str], means: dict[str, pd.Series[float]], against: str) -> None:
    n, thick = len(names), 0.4
    largest = max(float(of[names].abs().max()) for of in means.values())
    small = min(7.0, 0.9 * thick * row_height(axes, n))
    for k, leg in enumerate(_LEGS):
        size = means[leg][names].to_numpy()
        drawn = axes.barh(
            np.arange(n) + (k - 0.5) * thick, size, height=0.9 * thick, color=SERIES[k], label=f"{leg} leg"
        )
        if small > 3:
            texts = [number(float(value), largest) for value in size]
            axes.bar_label(drawn, texts, padding=3, fontsize=small, color=FAINT)
    name_rows(axes, names)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.set_ylim(n - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_xlabel("mean relevance" + against, color=FAINT, fontsize=9)
