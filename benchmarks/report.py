"""Tables and verdicts in Markdown, and the file that holds them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PASS, MISS = "pass", "**miss**"
_MARK = "<!-- section: {} on {} -->"


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


Key = tuple[str, str]  # a section, and the kind of machine that it was measured on


def sections(text: str) -> dict[Key, str]:
    """The sections of a written file, in its order."""
    parts = re.split(r"<!-- section: (\w+) on (.+?) -->\n", text)
    found = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {(name, kind): body.strip() for name, kind, body in found}


def tally(bodies: Iterable[str], kind: str) -> str:
    """The number of goals passed on a kind of machine, and each goal missed."""
    rows, missed, heading = 0, [], ""
    for line in (line for body in bodies for line in body.splitlines()):
        if line.startswith("#"):
            heading = line.lstrip("# ").removesuffix(f" ({kind})")
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if cells[-1] in (PASS, MISS):
            rows += 1
            if cells[-1] == MISS:
                missed.append(f"- {heading}: {cells[0]}: {cells[1]}, asked {cells[2]}")
    if not rows:
        return "No goal was measured."
    lines = [f"Goals: {rows - len(missed)} of {rows} passed."]
    return "\n".join([*lines, *(["", "Missed:", "", *missed] if missed else [])])


def compose(bodies: dict[Key, str]) -> str:
    """The whole file, in the order given."""
    head = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks`; do not edit. Wins and losses stand beside each other. Every section names",
        "the machine, versions and date of its own measurement; where several kinds of processor were measured, each",
        "has its own, the latest. Kinds are the compiler's names: znver4 is AMD's Zen 4.",
    ]
    for kind in dict.fromkeys(kind for _, kind in bodies):
        head += ["", f"**{kind}.** {tally([body for (_, other), body in bodies.items() if other == kind], kind)}"]
    parts = [f"{_MARK.format(name, kind)}\n{body}" for (name, kind), body in bodies.items()]
    return "\n\n".join(["\n".join(head), *parts]) + "\n"


def write(path: Path, name: str, kind: str, body: str, order: Sequence[str]) -> None:
    """Put a section into the file in the place of the one from the same kind of machine, if any, and keep the others;
    nobody ever sees half a file."""
    heading, _, rest = body.partition("\n")
    both = sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    both[name, kind] = f"{heading} ({kind})\n{rest}".strip()
    text = compose({key: both[key] for name in order for key in both if key[0] == name})
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
