"""A panel several times larger than the memory that explaining it may take; only run where it is asked for."""

from __future__ import annotations

import tempfile
from functools import partial

from benchmarks import machine
from benchmarks.cases import PANEL
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import seconds
from benchmarks.workers import Worker

#: As many stocks as CRSP has had, almost; months, and what a run may take beside what the process had.
STOCKS, MONTHS, MEMORY, MOST = 20_000, 500, "1GB", 1000


def run(options: Options) -> str:
    stocks, rows = options.samples(STOCKS), list[tuple[str, ...]]()
    asked = []
    for order in ("by month", "by stock"):
        with tempfile.TemporaryDirectory() as folder:
            given = {"stocks": stocks, "months": MONTHS, "order": order, "folder": folder, "memory": MEMORY}
            with Worker(
                "benchmarks.sections.files:Files", options.threads, case=PANEL, threads=options.threads, **given
            ) as worker:
                size, before = worker.call("size"), 0.0
                found = list[tuple[float, float]]()
                taken = seconds(partial(_peak, worker, found))
                before, after = found[0]
        rows.append((order, f"{stocks * MONTHS:,}", f"{size / 1e9:.1f}", f"{taken:.0f}",
                     f"{stocks * MONTHS / taken:,.0f}", f"{before:.0f}", f"{after:.0f}"))  # fmt: skip
        asked.append(at_most(f"{order}: MB more than before", after - before, MOST, "{:.0f}"))
    parts = [
        "## A file larger than memory may be",
        f"`explain_file` from Parquet to Parquet at ({PANEL.label}), summed over steps, with memory={MEMORY!r}, once. "
        "Peak is the most resident memory of the process, before (Python and its packages) and after.",
        table(("order", "rows", "file, GB", "time, s", "rows a second", "before, MB", "peak, MB"), rows),
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy", "pyarrow"), options.threads),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _peak(worker: Worker, found: list[tuple[float, float]]) -> None:
    found.append(worker.call("peak"))
