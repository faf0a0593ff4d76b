"""Pictures of evidence: deletion curves, and the square of agreements. Results draw themselves by these functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlrp.messages import count
from fastlrp.plot.canvas import FAINT, INK, SERIES, header, name_rows, sheet
from fastlrp.rules import described

_UNITS = {"feature": "features", "cell": "(step, feature) cells"}
_CURVES = {"most": "most relevant first", "random": "random order", "least": "least relevant first"}
_TITLES = {
    "spearman": "Whether explanations rank a sample's {units} alike",
    "share_spearman": "Whether explanations rank {units} alike on average",
    "top": "Whether explanations have the same {top} largest {units}",
    "sign": "Whether explanations give {units} the same sign",
}
_LIGHTNESS = np.array([0.299, 0.587, 0.114])  # of red, green and blue
_LOWEST = {"spearman": -1.0, "share_spearman": -1.0, "top": 0.0, "sign": 0.0}


def draw_curves(result: Any, ax: Any) -> Any:
    """``Faithfulness.plot``."""
    axes = sheet(8.0, 3.4).subplots() if ax is None else ax
    curves, share = result.curves, 100 * result.curves.index.to_numpy()
    for (name, label), colour in zip(_CURVES.items(), (SERIES[0], FAINT, SERIES[1]), strict=True):
        dashes = {"linestyle": "--"} if name == "random" else {}
        axes.plot(share, curves[name], color=colour, linewidth=2, label=label, **dashes)
    spread = curves["random_std"]
    axes.fill_between(share, curves["random"] - spread, curves["random"] + spread, color=FAINT, alpha=0.25, linewidth=0)
    axes.set_xlim(0, 100)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    units, change = _UNITS[result.by], "|change|" if result.order == "abs" else "fall"
    axes.set_xlabel(f"% of {units} replaced by {'their mean' if result.replace == 'mean' else 'zero'}", color=FAINT)
    axes.set_ylabel(f"mean {change} of the score\n(the score's unit)", color=FAINT)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.grid(axis="y", color="#e4e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    numbers = result.table()
    gain = f"{count(len(result.samples), 'sample')}; area above random order: {numbers['gain']:.3g}"
    if result.order == "abs":
        gain += f" ({100 * numbers['gain_relative']:+.0f} %)"
    if result.by_time is not None:
        gain += f", positive in {100 * numbers['months_won']:.0f} % of {count(len(result.by_time), 'period')}"
    title = "How the score changes as what is relevant is taken away"
    header(axes, title, [described(result.rule), gain], list(_CURVES.values()))
    return axes.figure if ax is None else ax


def draw_agreement(result: Any, statistic: str, ax: Any) -> Any:
    """``Comparison.plot``."""
    from matplotlib import colormaps

    square = result.matrix(statistic)
    numbers, names = square.to_numpy(), list(square.columns)
    n, low = len(names), _LOWEST[statistic]
    axes = sheet(max(8.0, 3.5 + 0.9 * n), 0.55 * n).subplots() if ax is None else ax
    palette = colormaps["RdBu" if low < 0 else "YlGnBu"].with_extremes(bad="#c9ced3")
    image = axes.imshow(np.ma.masked_invalid(numbers), aspect="auto", cmap=palette, vmin=low, vmax=1.0)
    size = min(10.0, 0.4 * name_rows(axes, [f"{name}   {k}" for k, name in enumerate(names, 1)]))
    axes.set_xticks(range(n), [str(k) for k in range(1, n + 1)])  # names may be long
    for (row, column), number in np.ndenumerate(numbers):
        light = image.to_rgba(number)[:3] @ _LIGHTNESS > 0.5
        axes.text(
            column, row, f"{number:.2f}", ha="center", va="center", fontsize=size, color=INK if light else "white"
        )
    samples = sorted(set(result.table["samples"]))
    text = count(samples[-1], "sample") + (f"; pairs with shap: {samples[0]:,}" if len(samples) > 1 else "")
    units = _UNITS[result.by]
    header(axes, _TITLES[statistic].format(units=units, top=result.top), [text])
    return axes.figure if ax is None else ax
