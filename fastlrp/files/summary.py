"""What a run over a file says at its end, summed over its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastlrp.messages import count, shown
from fastlrp.relevance.arrays import row_name
from fastlrp.relevance.result import Relevance
from fastlrp.relevance.tables import mean_share

_EVERY = 16  # rows of which one is looked at for shares and gaps: looking at all would take half the kernels' time

#: The notes of a block without a row to write.
EMPTY = {"rows": 0, "explained": 0, "overflowed": 0, "unattributed": 0, "looked": 0}


def noted(relevance: Relevance) -> dict[str, Any]:
    """A block's numbers of rows, sums of shares, and largest gap, as a log keeps them."""
    found = np.flatnonzero(relevance.explained)
    some = relevance[found[::_EVERY]]
    rows, over = len(some), np.flatnonzero(relevance.overflowed)
    notes: dict[str, Any] = {
        "rows": len(relevance),
        "explained": len(found),
        "overflowed": len(over),
        "unattributed": relevance._n_unattributed,
        "looked": rows,
    }
    if len(over):
        notes["over"] = row_name(relevance.index[over[0]])  # type: ignore[index]
    if rows:
        worst = some.reconcile()
        at = int(worst.worst_rows[0])
        notes["shares"] = (rows * mean_share(some)).tolist()
        notes["median"] = worst.relative_median
        notes["gap"], notes["at"] = worst.relative_worst, row_name(some.index[at])  # type: ignore[index]
    return notes


@dataclass(frozen=True)
class FileSummary:
    """What was written.

    Attributes
    ----------
    path : Path
        The file.
    rows, explained, overflowed : int
        Its rows, those of them that have relevance, and those whose numbers were too large for it.
    shares : dict of str to float
        Each feature's mean share of |relevance|, the largest first; of every 16th explained row.
    gap, worst_row : float, str
        The largest |score - sum of its parts| over its scale in every 16th explained row, and whose it is.
    """

    path: Path
    rows: int
    explained: int
    shares: dict[str, float]
    gap: float
    worst_row: str
    overflowed: int = 0

    def __str__(self) -> str:
        """A few lines for a prompt."""
        lines = [f"{self.path}: {count(self.rows, 'row')}, {self.explained:,} of them explained"]
        if self.overflowed:
            lines.append(f"{count(self.overflowed, 'row')} overflowed: numbers inside were too large")
        if self.shares:
            lines.append(f"Mean share of |relevance|, in every {_EVERY}th explained row")
            top = list(self.shares.items())[:10]
            width = max(len(name) for name, _ in top)
            lines += [f"  {name:<{width}}  {100 * share:5.1f} %" for name, share in top]
            rest = len(self.shares) - len(top)
            if rest:
                lines.append(f"  {rest} more: {100 * (sum(self.shares.values()) - sum(s for _, s in top)):.1f} %")
            lines.append("Reconciles: score = sum of relevance + initial_state + unattributed")
            lines.append(f"  gap / scale    worst {self.gap:.1e}, at {self.worst_row}")
        return shown("\n".join(lines))


def summed(path: Path, blocks: Sequence[dict[str, Any]], features: Sequence[str]) -> FileSummary:
    """The summary of what was noted of every block."""
    looked = [block for block in blocks if block.get("looked")]
    usable = [block for block in looked if not np.isnan(block["shares"]).any()]
    total = np.sum([block["shares"] for block in usable], axis=0) / max(1, sum(block["looked"] for block in usable))
    order: Any = np.argsort(-total, kind="stable") if usable else []
    nothing: dict[str, Any] = {"gap": float("nan"), "at": ""}
    worst = max(looked, key=lambda block: float(block["gap"]), default=nothing)
    return FileSummary(
        path, sum(block["rows"] for block in blocks), sum(block["explained"] for block in blocks),
        {features[j]: float(total[j]) for j in order}, worst["gap"], worst["at"],
        sum(block["overflowed"] for block in blocks),
    )  # fmt: skip
