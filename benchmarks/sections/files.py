"""A panel in files, explained block by block: speed beside the kernels' own, and memory as the file grows."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.cases import PANEL, Case
from benchmarks.report import Options, at_least, at_most, goals, table
from benchmarks.timing import alternate, seconds
from benchmarks.workers import Worker

STOCKS, MONTHS, MEMORY = 2000, (120, 480, 1920), "500MB"
#: Rows a second on files over the kernels' own, and the largest file's peak over the smallest one's.
SPEED, FLAT = 0.7, 1.15


class Files:
    """A file of a panel, in one order, and its explanation."""

    def __init__(
        self, case: Case, stocks: int, months: int, order: str, threads: int, folder: str, memory: str = MEMORY
    ) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.threads, self.case, self.folder, self.memory = threads, case, Path(folder), memory
        names = [f"x{k}" for k in range(case.features)]
        self.network = network(case.weights(), case.steps).with_features(names)
        self.path, self.out = self.folder / f"{order}-{months}.parquet", self.folder / "out.parquet"
        self.stocks, self.months = stocks, months
        if not self.path.exists():
            self._write(stocks, months, order, names)
        self.network.explain(np.zeros((64, case.steps, case.features), np.float32), reduce="steps", threads=threads)

    def _write(self, stocks: int, months: int, order: str, names: list[str]) -> None:
        """Parquet as pandas' users write it, piece by piece: a month, or a hundred stocks."""
        import pyarrow
        from pyarrow import parquet

        rng = np.random.default_rng(self.case.seed)
        ends = (np.datetime64("1940-02") + np.arange(months)).astype("datetime64[D]") - 1
        ends = ends.astype("datetime64[ms]")
        by_month = order == "by month"
        writer = None
        for start in range(0, months if by_month else stocks, 1 if by_month else 100):
            permno = np.arange(stocks) if by_month else np.repeat(np.arange(start, start + 100), months)
            month = np.repeat(ends[start : start + 1], stocks) if by_month else np.tile(ends, 100)
            values = rng.standard_normal((len(names), len(permno)), dtype=np.float32)
            columns = {"permno": 10_000 + permno, "month": month, **dict(zip(names, values, strict=True))}
            piece = pyarrow.table(columns)
            writer = writer or parquet.ParquetWriter(self.path, piece.schema)
            writer.write_table(piece)
        if writer is not None:
            writer.close()

    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    def explain(self, reduce: str = "steps") -> float:
        """Seconds of the whole run."""
        import fastlrp

        options: dict[str, Any] = {"reduce": reduce, "memory": self.memory, "threads": self.threads, "progress": False}
        return seconds(lambda: fastlrp.explain_file(self.network, self.path, self.out, **options))

    def work(self, reduce: str) -> dict[str, float]:
        """Seconds of all cores that a whole run takes, and its parts alone: others' work at the time hardly counts."""
        self.kernels(reduce)  # the panel in memory is made

        def cores(what: Callable[[], object]) -> float:
            start = process_time()
            what()
            return process_time() - start

        found = {
            "file to file": cores(lambda: self.explain(reduce)),
            "kernels": 5 * cores(lambda: self.kernels(reduce)),
        }
        return found | {"reading": cores(self.reading), "plain writing": cores(self.plain_writing)}

    def plain_writing(self) -> None:
        """Write as many bytes as the result has, of nothing."""
        with (self.folder / "plain").open("wb") as file:
            for _ in range(0, self.out.stat().st_size, 1 << 24):
                file.write(bytes(1 << 24))

    def peak(self) -> tuple[float, float]:
        """The most memory that this process has had before and after a run, in MB."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.explain()
        return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    @cached_property
    def part(self) -> Any:
        """A tenth of such a panel, in memory."""
        from benchmarks.sections.panel import make

        return make(self.case, self.stocks // 10, self.months).swaplevel().sort_index()

    def kernels(self, reduce: str = "steps") -> float:
        """Seconds of explaining as many rows in memory, some at a time."""
        how: dict[str, Any] = {"reduce": None if reduce == "none" else reduce, "threads": self.threads}
        self.network.explain(self.part, **how)
        return 10 * seconds(lambda: self.network.explain(self.part, **how))

    def reading(self) -> float:
        """Seconds of reading the file's features alone, as explain_file reads them."""
        from fastlrp.files.kinds import open_source

        def read() -> None:
            source = open_source(self.path)
            for piece in source.pieces(self.path):
                for _ in source.read(piece, self.network.features or ()):
                    pass
            source.close()

        return seconds(read)

    def writing(self) -> float:
        """Seconds of writing the result's file again alone."""
        from pyarrow import parquet

        whole = parquet.read_table(self.out)
        return seconds(lambda: parquet.write_table(whole, self.out, use_dictionary=False, compression="none"))


def run(options: Options) -> str:
    rows, speeds, work, peaks = [], [], [], dict[str, list[float]]()
    stocks, kinds = 10 * options.samples(STOCKS // 10), ("explain", "kernels", "reading", "writing")
    with tempfile.TemporaryDirectory() as folder:
        for order in ("by month", "by stock"):
            for months in MONTHS:
                given = {"stocks": stocks, "months": months, "order": order, "folder": folder}
                with Worker(
                    "benchmarks.sections.files:Files", options.threads, case=PANEL, threads=options.threads, **given
                ) as worker:
                    before, after = worker.call("peak")
                    peaks.setdefault(order, []).append(after - before)
                    found: dict[str, Any] = dict.fromkeys(kinds, "")
                    if months == MONTHS[0]:
                        work += [(order, reduce, worker.call("work", reduce=reduce)) for reduce in ("steps", "none")]
                    if months == MONTHS[1]:
                        found = alternate({kind: partial(worker.call, kind) for kind in kinds}, options.rounds)
                        ratio = found["kernels"].median / found["explain"].median
                        speeds.append(at_least(f"{order}: speed over the kernels' own", ratio, SPEED, "{:.2f}"))
                rows.append((order, f"{stocks * months:,}", *found.values(), f"{before:.0f}", f"{after:.0f}"))
    flat = [at_most(f"{order}: memory of the largest file over the smallest's", found[-1] / found[0], FLAT, "{:.2f}")
            for order, found in peaks.items()]  # fmt: skip
    most = [at_most(f"{order}: MB more than before", max(found), 500, "{:.0f}") for order, found in peaks.items()]
    return "\n\n".join([*_text(options, rows, work), goals([*speeds, *most, *flat]),
                        machine.describe(("fastlrp", "Numba", "NumPy", "pyarrow"), options.threads)])  # fmt: skip


def _text(options: Options, rows: list[Any], work: list[tuple[str, str, dict[str, float]]]) -> list[str]:
    shares = [
        (order, reduce, *(f"{x:.2f}" for x in cpu.values()), f"{cpu['kernels'] / cpu['file to file']:.2f}",
         f"{cpu['kernels'] / (cpu['kernels'] + cpu['reading'] + cpu['plain writing']):.2f}")
        for order, reduce, cpu in work
    ]  # fmt: skip
    return [
        "## Files larger than memory",
        f"`explain_file` from Parquet to Parquet at ({PANEL.label}), summed over steps, in {MEMORY}: the whole run, "
        "with all keys read first, beside the kernels alone on a panel in memory, reading the features alone (one "
        "thread) and writing the result alone, by pyarrow. Peak is the most memory of the process, before (Python and "
        "its packages) and after. On a machine of two cores, reading and writing take their time from the kernels'.",
        table(("order", "rows", "file to file, s", "kernels, s", "reading, s", "writing, s", "before, MB", "peak, MB"),
              rows),
        "Seconds of all cores together for the smallest of these files: where all cores are busy, the speed over the "
        "kernels' own is the share. It cannot be more than if a run were kernels, reading by pyarrow and writing as "
        "many bytes of nothing: with a column a feature and step these are 4.6 KB a row.",
        table(("order", "reduce", "file to file", "kernels", "reading", "plain writing", "share", "at most"), shares),
    ]  # fmt: skip
