"""The study's eight figures, by both rules, each with the spread over seeds and the line of no information."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from paper.data import GROUPS
from paper.relevance import Shares

COLORS = {"arras": "#0072b2", "rudder": "#d55e00"}  # Okabe and Ito's, which the colour-blind tell apart
ENDS = {"2015": "2015-03", "2021": "2021-10"}
SMOOTH = 12
NOTE = (
    "coloured bands, whiskers: standard deviation over {} networks; dashed, grey: mean and two standard deviations "
    "of networks trained on permuted returns"
)


def _small_multiples(by_rule: dict[str, Shares], smooth: int, title: str) -> Figure:
    """A panel a column: its share through time by each rule."""
    first = next(iter(by_rule.values()))
    names, across = list(first.members), 2 if first.members.shape[1] < 8 else 3
    down = -(-len(names) // across)
    figure = Figure(figsize=(11, 1.2 + 1.7 * down), layout="constrained")
    axes = np.ravel(figure.subplots(down, across, sharex=True, squeeze=False))
    for axis, name in zip(axes, names, strict=False):
        for rule, shares in by_rule.items():
            wide = 100 * shares.members[name].unstack("network").rolling(smooth).mean()
            when, mean, spread = wide.index.to_timestamp(), wide.mean(axis=1), wide.std(axis=1)
            axis.plot(when, mean, color=COLORS[rule], linewidth=0.9, label=rule)
            axis.fill_between(when, mean - spread, mean + spread, color=COLORS[rule], alpha=0.2, linewidth=0)
            null = 100 * shares.null[name].unstack("network").rolling(smooth).mean().stack()
            axis.axhline(null.mean(), color=COLORS[rule], linestyle="--", linewidth=0.9)
            axis.axhspan(
                null.mean() - 2 * null.std(), null.mean() + 2 * null.std(), color="0.5", alpha=0.12, linewidth=0
            )
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    axes[0].legend(fontsize=8, frameon=False, ncols=2, loc="upper right")
    return _labelled(figure, title, first)


def _medians(by_rule: dict[str, Shares], title: str) -> Figure:
    """A bar a column and rule: the median over months of the mean share, and the spread over seeds of that median."""
    first = next(iter(by_rule.values()))
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axis, at = figure.subplots(), np.arange(first.members.shape[1])
    for k, (rule, shares) in enumerate(by_rule.items()):
        medians = 100 * shares.members.groupby("network").median()
        where = at + 0.38 * (k - 0.5)
        axis.bar(where, medians.mean(), 0.36, yerr=medians.std(), color=COLORS[rule], capsize=3, label=rule)
        null = 100 * shares.null.groupby("network").median()
        axis.hlines(null.mean(), where - 0.18, where + 0.18, color="black", linestyle="--", linewidth=1.2)
        for x, low, high in zip(where, null.mean() - 2 * null.std(), null.mean() + 2 * null.std(), strict=True):
            axis.fill_between([x - 0.18, x + 0.18], low, high, color="0.5", alpha=0.5, linewidth=0, zorder=3)
    axis.set_xticks(at, list(first.members))
    axis.legend(frameon=False)
    return _labelled(figure, title, first)


def _labelled(figure: Figure, title: str, shares: Shares) -> Figure:
    months = shares.members.index.get_level_values("month")
    members = shares.members.index.get_level_values("network").nunique()
    figure.suptitle(f"{title}, {months.min()} to {months.max()}\n{NOTE.format(members)}", fontsize=10)
    figure.supylabel("% of |relevance|", fontsize=9)
    return figure


def draw(by_rule: dict[str, Shares], folder: Path) -> list[Path]:
    """Write the eight figures, and return where they are."""
    groups = {rule: shares.grouped(GROUPS) for rule, shares in by_rule.items()}
    pictures: dict[str, Callable[[str], Figure]] = {
        "factors": lambda end: _small_multiples(
            {r: s.to(end) for r, s in by_rule.items()}, SMOOTH, f"Factors, moving average of {SMOOTH} months"
        ),
        "groups": lambda end: _small_multiples({r: s.to(end) for r, s in groups.items()}, 1, "Groups of factors"),
        "moving-average": lambda end: _small_multiples(
            {r: s.to(end) for r, s in groups.items()}, SMOOTH, f"Groups of factors, moving average of {SMOOTH} months"
        ),
        "median": lambda end: _medians({r: s.to(end) for r, s in groups.items()}, "Median share of groups of factors"),
    }
    paths = []
    for name, picture in pictures.items():
        for year, end in ENDS.items():
            paths.append(folder / f"{name}-{year}.png")
            drawn = BytesIO()
            picture(end).savefig(drawn, dpi=75)
            Image.open(drawn).convert("RGB").quantize(64).save(paths[-1], optimize=True)  # a third of the bytes
    return paths
