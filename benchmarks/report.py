"""Tables and verdicts in Markdown, and the file that holds them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PASS, MISS = "pass", "**miss**"
_MARK = "<!-- section: {} -->"


@dataclass(frozen=True)
class Options:
    """The options that a user gave the benchmarks."""

    threads: int = 2
    quick: bool = False

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 5

    def samples(self, full: int) -> int:
        """A case's number of samples: a tenth when quick."""
        return max(1, full // 10) if self.quick else full


def tell(what: str) -> None:
    """Report progress, apart from the printed result."""
    print(what, file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} cells, expected {len(head)}: {row}")
        lines.append("| " + " | ".join(str(cell) for cell in row) + " |")
    return "\n".join(lines)


def verdict(fine: bool) -> str:
    return PASS if fine else MISS


def at_least(what: str, value: float, goal: float, form: str = "{:.2f}x") -> tuple[str, str, str, str]:
    """A table row for a goal where more is better."""
    return what, form.format(value), "at least " + form.format(goal), verdict(value >= goal)


def at_most(what: str, value: float, goal: float, form: str = "{:.2f}x") -> tuple[str, str, str, str]:
    """A table row for a goal where less is better."""
    return what, form.format(value), "at most " + form.format(goal), verdict(value <= goal)


def goals(rows: Iterable[Sequence[object]]) -> str:
    return table(("goal", "measured", "asked", "verdict"), rows)


def sections(text: str) -> dict[str, str]:
    """The sections of a written file, by name."""
    parts = re.split(r"<!-- section: (\w+) -->\n", text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def tally(bodies: Iterable[str]) -> str:
    """The number of goals passed, and each goal missed."""
    rows, missed, heading = 0, [], ""
    for line in (line for body in bodies for line in body.splitlines()):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if cells[-1] in (PASS, MISS):
            rows += 1
            if cells[-1] == MISS:
                missed.append(f"- {heading}: {cells[0]}: {cells[1]}, asked {cells[2]}")
    if not rows:
        return "No goal was measured."
    lines = [f"Goals: {rows - len(missed)} of {rows} passed."]
    return "\n".join([*lines, *(["", "Missed:", "", *missed] if missed else [])])


def compose(bodies: dict[str, str]) -> str:
    """The whole file, in the order given."""
    head = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks`; do not edit. Wins and losses stand beside each other. Every section names",
        "the machine, versions and date of its own measurement.",
        "",
        tally(bodies.values()),
    ]
    parts = [f"{_MARK.format(name)}\n{body}" for name, body in bodies.items()]
    return "\n\n".join(["\n".join(head), *parts]) + "\n"


def write(path: Path, new: dict[str, str], order: Sequence[str]) -> None:
    """Put new sections into the file and keep the others; nobody ever sees half a file."""
    old = sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    both = {**old, **new}
    text = compose({name: both[name] for name in order if name in both})
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
