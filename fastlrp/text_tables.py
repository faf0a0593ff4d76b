"""Text tables, aligned for a prompt or as HTML for a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def text_table(rows: Sequence[Sequence[str]], n_names: int) -> list[str]:
    """Aligned lines: names flush left, numbers flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if k < n_names else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], n_names: int) -> str:
    """The same table as HTML, in the notebook's own style; cell contents are always shown as text."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(_cell(cell, "th" if k < n_names else tag, k < n_names) for k, cell in enumerate(cells))

    body = "".join(f"{line(row, 'td')}</tr>" for row in rows)
    return f'<table border="1" class="dataframe"><thead>{line(head, "th")}</tr></thead><tbody>{body}</tbody></table>'


def html_bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Names, bars as long as shares are beside the largest, and these as text; in a colour for light and dark pages."""
    largest = max((share for _, share, _ in rows), default=0.0) or 1.0
    bars = "".join(
        f"<span>{html.escape(name)}</span>"
        f'<span style="background:#5b8fb9;height:.7em;width:{100 * share / largest:.1f}%"></span>'
        f"<span>{html.escape(text)}</span>"
        for name, share, text in rows
    )
    grid = (
        "display:grid;grid-template-columns:max-content 12em max-content;gap:0 .8em;align-items:center;margin-top:.6em"
    )
    return f'<div style="{grid}">{bars}</div>' if rows else ""


def _cell(text: str, tag: str, left: bool) -> str:
    words = text.lstrip(" ")
    inside = "&nbsp;" * (len(text) - len(words)) + html.escape(words)  # indented names stay indented
    return f'<{tag} style="text-align: {"left" if left else "right"}">{inside}</{tag}>'
