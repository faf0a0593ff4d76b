"""The look that all pictures share: the sheet, its title and small print, the legend, rows of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlrp.messages import install_hint

INK, FAINT = "#22313f", "#5f6c78"  # contrast on white: 13 and 5 to 1
GRID = "#e4e8ec"
# lightness 37, 65, 76, 18: distinct in grey, and to colour-blind readers
SERIES = ("#1f5a8a", "#e08a2e", "#8fc1de", "#2b2b2b")
#: Okabe and Ito's colours, which colour-blind readers can tell apart, without their yellow, which white swallows.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
TITLE = {"fontsize": 13, "fontweight": "bold", "color": INK}
_LEAST, _MOST = 1.6, 12.0  # height of all rows in inches: at most 1,920 pixels, however many features
_LINE = 13.5  # points from one line of a header to the next
_LONGEST = 32  # characters of a feature's name; a longer one loses its middle, as names often differ at the end


def sheet(width: float, rows: float, down: int = 1) -> Any:
    """An empty figure for ``down`` axes below each other, each with ``rows`` inches of rows."""
    try:
        from fastlrp.plot.figure import Picture
    except ImportError:
        raise ImportError(f"pictures need matplotlib: {install_hint('matplotlib', 'plot')}") from None
    height = down * (2.0 + min(max(rows, _LEAST), _MOST / down))
    figure: Any = Picture(figsize=(width, height), dpi=160, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.15)
    return figure


def axes_for(function: str, ax: Any, n: int, width: float, rows: float, across: int = 1) -> list[Any]:
    """The axes that were given, one a result, or those of a new figure, ``across`` beside each other."""
    if ax is not None:
        several = list(np.ravel(ax))
        if len(several) != n:
            raise ValueError(f"{function}(ax=...) takes one Axes a result, {n}, not {len(several)}")
        return several
    across = min(n, across)
    down = -(-n // across)
    several = sheet(width, rows, down).subplots(down, across, sharey=True, squeeze=False).ravel()
    for unused in several[n:]:
        unused.set_visible(False)
    return list(several[:n])


def headers(
    several: Sequence[Any], names: Sequence[str], lines: Sequence[Sequence[str]], title: str, *, own: bool,
    legend: Sequence[str] = (),
) -> None:  # fmt: skip
    """The header of each axes. Of several, each has its result's name, and their own figure has the title."""
    for axes, name, small in zip(several, names, lines, strict=True):
        alone = len(several) == 1
        header(axes, title if alone else name, small, legend, size=13 if alone else 11)
    if len(several) > 1 and own:
        head = several[0].figure.suptitle(title, x=0.01, ha="left", **TITLE)
        head.set_parse_math(False)


def shortened(name: str) -> str:
    """A name as pictures have room for it."""
    return name if len(name) <= _LONGEST else f"{name[:20]}…{name[21 - _LONGEST :]}"


def entry(name: str) -> str:
    """A name as a legend takes it: matplotlib leaves out those that begin with "_"."""
    return f" {name}" if name.startswith("_") else name


def name_rows(axes: Any, names: Sequence[str]) -> float:
    """Write names left of rows 0 ... n-1, the first on top, as large as rows allow; return a row's height in points."""
    height = row_height(axes, len(names))
    axes.set_yticks(range(len(names)), list(map(shortened, names)))
    for text in axes.get_yticklabels():
        text.set_parse_math(False)  # a "$" in a name is one
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(which="both", length=0, labelsize=9, colors=INK)
    axes.tick_params(axis="y", labelsize=min(9.0, max(3.0, 0.8 * height)))
    return height


def plain_axes(axes: Any, under: str, unit: str) -> None:
    """Two axes with their names, faint, and lines across at the vertical one's ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=9, colors=FAINT)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_xlabel(under, color=FAINT, fontsize=9)
    axes.set_ylabel(unit.replace("\n", " "), color=FAINT, fontsize=9)


def row_height(axes: Any, rows: int) -> float:
    """Approximate height of a row in points: before layout, header and labels have not yet taken their part."""
    inches = axes.get_window_extent().height / axes.figure.dpi
    return float(72 * inches / max(rows, 1))


def header(axes: Any, title: str, lines: Sequence[str], labels: Sequence[str] = (), *, size: int = 13) -> None:
    """Write a title, lines of small print below it, and a legend between them and the data, never over the data."""
    rows = _legend(axes, labels) if labels else 0
    for k, line in enumerate(reversed(lines)):
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        text = axes.annotate(line, (0, 1), (0, 6 + _LINE * (rows + k)), fontsize=9, color=FAINT, **place)
        text.set_parse_math(False)
        text.set_in_layout(False)  # a long line must not push the data aside; the title reserves its height
    head = axes.set_title(title, loc="left", pad=8 + _LINE * (rows + len(lines)), **TITLE | {"fontsize": size})
    head.set_parse_math(False)


def _legend(axes: Any, labels: Sequence[str]) -> int:
    """Draw the legend above the data, as many entries per row as fit; return the number of rows."""
    from matplotlib.transforms import ScaledTranslation

    width = axes.get_window_extent().width / axes.figure.dpi
    columns = max(1, min(len(labels), int(width / (0.5 + 0.08 * max(map(len, labels))))))
    above = axes.transAxes + ScaledTranslation(0, 3 / 72, axes.figure.dpi_scale_trans)
    legend = axes.legend(
        frameon=False, fontsize=9, labelcolor=INK, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1),
        bbox_transform=above, borderaxespad=0, borderpad=0, handlelength=1.2, columnspacing=1.6,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return -(-len(labels) // columns)
