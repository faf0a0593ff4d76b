"""What a page is made of: sections of sentences, facts, tables and pictures; and how numbers are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from fastlrp.plot.timeline import timeline
from fastlrp.reporting.svg import inline_svg

_NONE = "\N{EN DASH}"
_ROWS = 40  # of a table through time; more are averaged by year, so that a page's size has a bound


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """An SVG, what it shows in words, and its numbers."""

    svg: str
    words: str
    table: Table


@dataclass
class Section:
    """A part of the page."""

    name: str
    title: str
    lead: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    stocks: Any = None  # of the latest cross-section alone: what its script reads

    def draw(self, figure: Any, words: str, table: Table) -> None:
        """Add a picture."""
        name = f"{self.name}{len(self.pictures) + 1}"
        self.pictures.append(Picture(inline_svg(figure, name, words), words, table))


def percent(x: float) -> str:
    """A share: "8.8 %", which no line break parts; a dash where there is none."""
    return f"{100 * x:.1f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}") if np.isfinite(x) else _NONE


def number(x: float) -> str:
    """Three digits, and all of a large number's; a dash where there is none."""
    if not np.isfinite(x):
        return _NONE
    x += 0.0  # zero has no sign
    text = f"{x:,.0f}" if 999.5 <= abs(x) < 1e6 else f"{x:#.3g}".rstrip(".").replace("e-0", "e-")
    return text.replace("-", "\N{MINUS SIGN}")


def signed(x: float) -> str:
    """Three digits and the sign."""
    return ("+" if x > 0 else "") + number(x)


def listed(names: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def as_table(caption: str, frame: pd.DataFrame, form: Callable[[float], str] = number, **forms: Any) -> Table:
    """A frame as text: a form for all its columns, or for those that are named."""
    head = [str(frame.index.name or ""), *map(str, frame.columns)]
    cells = [[forms.get(str(name), form)(value) for value in frame[name]] for name in frame]
    return Table(caption, head, [[str(at), *row] for at, *row in zip(frame.index, *cells, strict=True)])


def through_time(caption: str, frame: pd.DataFrame, form: Callable[[float], str] = number, **forms: Any) -> Table:
    """A frame with a row a period, as a table: of many periods, means by year, or by stretches of equal length."""
    line = timeline(frame.index)
    names = np.asarray(line.names).astype(str)
    if len(frame) > _ROWS:
        of = np.arange(len(frame)) * _ROWS // len(frame) if line.month is None else line.month // 12
        first = np.flatnonzero(np.diff(of, prepend=of[0] - 1))
        last = np.append(first[1:], len(of)) - 1
        spans = [a if a == b else f"{a} to {b}" for a, b in zip(names[first], names[last], strict=True)]
        names = np.array(spans if line.month is None else (line.month[first] // 12).astype(str))
        frame = frame.groupby(of).mean()
        caption += ", means over " + ("stretches of equal length" if line.month is None else "years")
    return as_table(caption, frame.set_axis(pd.Index(names, name="time"), axis=0), form, **forms)


def largest(sizes: Mapping[str, float] | pd.Series, form: Callable[[float], str], most: int = 5) -> str:
    """The largest few in words: "beta 8.8 %, size 7.1 % and value 3.0 %"."""
    order = pd.Series(sizes).sort_values(ascending=False, kind="stable")
    return listed([f"{name} {form(size)}" for name, size in order.iloc[:most].items()])
