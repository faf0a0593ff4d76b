"""A section's findings, the file that keeps them, and the tables written from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).with_name("results.json")
README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- trust: written by python -m scripts.trust -->", "<!-- end of trust -->"


class Row(NamedTuple):
    """One line of the table: what was tried, on how many cases, what was found, and whether that is what is promised.

    All are words for readers; numbers in them were measured by the run that made the row.
    """

    what: str
    cases: str
    found: str
    fine: bool


@dataclass(frozen=True)
class Options:
    """How much to try. A quick run tries a few cases of everything and is written nowhere."""

    quick: bool = False
    processes: int = 2
    seed: int = 0

    def cases(self, full: int) -> int:
        """A number of cases: a twentieth when quick, five at least."""
        return max(5, full // 20) if self.quick else full


Section = Callable[[Options], list[Row]]


def load(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What each section found last: ``{"section": {"rows": [...], "where": ..., "seconds": ...}}``."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def save(found: Mapping[str, Any], path: Path = RESULTS) -> None:
    replace(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table in Markdown, sections in the order given, each line with the section that measures it again."""
    lines = ["| tried | cases | found | section |", "|---|---|---|---|"]
    for section, entry in found.items():
        for row in (Row(*cells) for cells in entry["rows"]):
            found_out = row.found if row.fine else f"**not as promised:** {row.found}"
            lines.append(f"| {row.what[:1].upper()}{row.what[1:]} | {row.cases} | {found_out} | `{section}` |")
    return "\n".join(lines)


def embedded(text: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """A page whose table between the two marks is written anew."""
    before, _, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no table: expected {BEGIN} and, below it, {END}")
    return f"{before}{BEGIN}\n{table(found)}\n{END}{after}"
