"""Pictures of relevance: each function takes results and returns a matplotlib Figure, with no pyplot state.

``figure.savefig("name.png")`` writes one. Needs the extra ``fastlrp[plot]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastlrp.messages import install_hint

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance import Relevance

_INK, _FAINT = "#22313f", "#7b8794"
_COLOURS = ("#1f5a8a", "#e08a2e", "#3c8d5a", "#8a4f7d")  # told apart in grey, too
_DPI = 160


def heat_map(
    relevance: Relevance,
    *,
    statistic: Literal["share", "abs", "mean"] = "share",
    smooth: int = 1,
    top: int | None = None,
    title: str | None = None,
) -> Any:
    """Relevance of features through time: a row a feature, the largest on top, a column a period.

    Parameters
    ----------
    relevance : Relevance
        Of a panel.
    statistic : {"share", "abs", "mean"}
        What :meth:`Relevance.by_time` averages over assets; "mean" keeps the sign, on a diverging scale around 0.
    smooth : int
        Periods in a trailing mean; 1 shows each as it is.
    top : int or None
        How many features to show; None shows all.
    title : str or None
        None names the rule.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the result is not of a panel, has no period with relevance, or ``smooth`` or ``top`` is below 1.
    ImportError
        If matplotlib is missing.
    """
    for name, value in (("smooth", smooth), ("top", top)):
        if value is not None and value < 1:
            raise ValueError(f"heat_map({name}=...) takes a whole number of at least 1, not {value!r}")
    frame = relevance.by_time(statistic)
    if not len(frame):
        raise ValueError("heat_map has nothing to show: no period of the panel has relevance")
    order = frame.abs().mean().sort_values(ascending=False, kind="stable").index[:top]
    shown = frame[order].rolling(smooth, min_periods=1).mean()
    figure = _figure(width=10.5, height=1.5 + 0.27 * len(order))
    axes = figure.subplots()
    values = shown.to_numpy().T * (100 if statistic == "share" else 1)
    low, high = np.percentile(values, (0.5, 99.5))  # single spikes must not fade all the rest
    if statistic == "mean":
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    colours = "RdBu_r" if statistic == "mean" else "YlGnBu"
    image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high)
    axes.set_yticks(range(len(order)), list(order))
    at, labels = _time_ticks(shown.index)
    axes.set_xticks(at, labels)
    axes.set_yticks(np.arange(len(order) - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="y", color="white", linewidth=1.2)
    _plain(axes)
    bar = figure.colorbar(image, ax=axes, pad=0.012, aspect=30, extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors=_FAINT)
    what = {"share": "% of a window's |relevance|", "abs": "mean |relevance|", "mean": "mean relevance"}
    bar.set_label(what[statistic], color=_FAINT, fontsize=9)
    trailing = f", trailing mean of {smooth} periods" if smooth > 1 else ""
    _title(axes, title or f"Relevance through time, by {relevance.rule.name}", f"mean over assets{trailing}")
    return figure


def bars(*relevances: Relevance, top: int | None = None, title: str | None = None) -> Any:
    """Mean share of |relevance| of each feature: a bar a result, so that rules or networks stand side by side.

    Parameters
    ----------
    *relevances : Relevance
        One to four results with the same features; the first decides the order, largest on top.
    top : int or None
        How many features to show; None shows all.
    title : str or None
        None names what is shown.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are none or more than four, if their features differ, or if ``top`` is below 1.
    ImportError
        If matplotlib is missing.
    """
    if not 1 <= len(relevances) <= len(_COLOURS):
        raise ValueError(f"bars takes one to {len(_COLOURS)} results, not {len(relevances)}")
    if any(set(other.features) != set(relevances[0].features) for other in relevances[1:]):
        raise ValueError("bars compares results with the same features, but theirs differ")
    if top is not None and top < 1:
        raise ValueError(f"bars(top=...) takes a whole number of at least 1, not {top!r}")
    shares = [100 * relevance.share().mean() for relevance in relevances]
    order = shares[0].sort_values(ascending=False, kind="stable").index[:top]
    thick = 0.8 / len(shares)
    figure = _figure(width=8.0, height=1.5 + 0.22 * len(order) * (0.6 + 0.4 * len(shares)))
    axes = figure.subplots()
    for k, (share, label) in enumerate(zip(shares, _labels(relevances), strict=True)):
        at = np.arange(len(order)) - 0.4 + (k + 0.5) * thick
        drawn = axes.barh(at, share[order], height=0.9 * thick, color=_COLOURS[k], label=label)
        axes.bar_label(drawn, fmt="%.1f", padding=3, fontsize=7, color=_FAINT)
    axes.set_yticks(range(len(order)), list(order))
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#e4e8ec", linewidth=0.8)
    axes.set_xlabel("% of a window's |relevance|", color=_FAINT, fontsize=9)
    _plain(axes)
    if len(shares) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="lower right")
    _title(axes, title or "Which features a prediction rests on", "mean share over all windows, summed over steps")
    return figure


def _labels(relevances: Sequence[Relevance]) -> list[str]:
    names = [relevance.rule.name for relevance in relevances]
    return names if len(set(names)) == len(names) else [repr(relevance.rule) for relevance in relevances]


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"pictures need matplotlib: {install_hint('matplotlib', 'plot')}") from None
    figure: Any = Figure(figsize=(width, max(height, 2.4)), dpi=_DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    return figure


def _plain(axes: Any) -> None:
    """No frame, no tick marks: the data alone."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(which="both", length=0, labelsize=9, colors=_INK)


def _title(axes: Any, title: str, below: str) -> None:
    axes.set_title(f"{title}\n", loc="left", fontsize=13, fontweight="bold", color=_INK)
    axes.annotate(below, (0, 1), (0, 6), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=_FAINT)


def _time_ticks(times: pd.Index) -> tuple[list[int], list[str]]:
    """At most about ten labelled positions: the first period of round years for dates, else evenly spread."""
    from fastlrp.panel import label

    years = getattr(times, "year", None)
    if years is not None and len(set(years)) > 3:
        first = {int(year): i for i, year in reversed(list(enumerate(years)))}
        span = max(first) - min(first)
        step = next((step for step in (1, 2, 5, 10, 20, 50) if span / step <= 10), 100)
        at = [(i, str(year)) for year, i in sorted(first.items()) if year % step == 0]
        return [i for i, _ in at], [text for _, text in at]
    step = max(1, -(-len(times) // 8))
    return list(range(0, len(times), step)), [label(times[i]) for i in range(0, len(times), step)]
