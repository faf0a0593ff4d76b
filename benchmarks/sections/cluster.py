"""A panel in a folder of files on Dask: one worker and two, what a million stock-months costs, and memory."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.cases import PANEL
from benchmarks.report import Options, at_least, at_most, goals, table
from benchmarks.timing import alternate, seconds
from benchmarks.workers import cores

STOCKS, MONTHS, PARTS, MEMORY = 4000, 240, 8, "500MB"
#: Times as fast on two workers as on one; bytes that a worker may have, and a file's over them.
SCALES, LIMIT, LARGER = 1.7, 10**9, 1.5
#: Assumptions of what is only computed: dollars for a core's hour, machines and their cores, bytes a second that each
#: machine's share of the storage gives and takes.
PRICE, MACHINES, CORES, STORAGE = 0.05, 100, 16, 5e8


def write_parts(folder: Path, stocks: int, parts: int) -> None:
    """Parquet files as pandas' users write them, each of whole stocks."""
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(PANEL.seed)
    ends = ((np.datetime64("1990-02") + np.arange(MONTHS)).astype("datetime64[D]") - 1).astype("datetime64[ms]")
    folder.mkdir()
    for k in range(parts):
        writer = None
        for some in np.array_split(np.arange(stocks // parts * k, stocks // parts * (k + 1)), 10):
            values = rng.standard_normal((PANEL.features, len(some) * MONTHS), dtype=np.float32)
            keys = {"permno": 10_000 + np.repeat(some, MONTHS), "month": np.tile(ends, len(some))}
            piece = pyarrow.table({**keys, **{f"x{j}": column for j, column in enumerate(values)}})
            writer = writer or parquet.ParquetWriter(folder / f"{k:02d}.parquet", piece.schema)
            writer.write_table(piece)
        if writer is not None:
            writer.close()


@contextmanager
def workers(n: int, limit: Any = None) -> Iterator[Any]:
    """A client of so many processes of one thread each, every one pinned to a core of its own."""
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=n, threads_per_worker=1, memory_limit=limit, dashboard_address=":0",
                     silence_logs=50) as cluster,
        cluster.get_client() as client,
    ):  # fmt: skip
        client.wait_for_workers(n)
        for k, address in enumerate(client.run(os.getpid)):
            client.run(partial(os.sched_setaffinity, 0, {cores()[k % len(cores())]}), workers=[address])
        yield client


def peaks(client: Any) -> list[float]:
    """The most memory that each worker has had, in MB."""
    found = client.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return sorted(found.values())


def runs(net: Any, folder: Path, memory: str) -> dict[str, Callable[[], Any]]:
    """From files to files, by both ways."""
    import dask.dataframe as dd

    import fastlrp as fl

    def files() -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        fl.cluster.explain_files(folder / "in", folder / "out", net, reduce="steps", memory=memory).compute()

    def frame() -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)
        fl.cluster.explain(dd.read_parquet(folder / "in"), net, reduce="steps").to_parquet(folder / "out")

    return {"explain_files": files, "explain": frame}


def run(options: Options) -> str:
    from benchmarks.peers.fastlrp_peer import network, quiet

    quiet()
    net = network(PANEL.weights(), PANEL.steps).with_features([f"x{k}" for k in range(PANEL.features)])
    stocks = PARTS * 10 * max(1, options.samples(STOCKS) // (PARTS * 10))
    millions, found, most = stocks * MONTHS / 1e6, dict[tuple[str, int], Any](), dict[int, float]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_parts(folder / "in", stocks, PARTS)
        net.explain(np.zeros((64, PANEL.steps, PANEL.features), np.float32), reduce="steps")  # compiles
        with workers(1) as one, workers(2) as two:
            calls = {}
            for kind, call in runs(net, folder, MEMORY).items():
                for n, client in ((1, one), (2, two)):
                    with client.as_current():
                        call()  # each worker loads what is compiled
                    calls[kind, n] = partial(_timed, client, call)
            found = alternate(calls, options.rounds)
            most = {1: max(peaks(one)), 2: max(peaks(two))}
        shutil.rmtree(folder / "in")
        larger, size = _larger(net, folder, options)
    rows, verdicts = [], []
    for kind in ("explain_files", "explain"):
        one, two = (found[kind, n] for n in (1, 2))
        scale = one.median / two.median
        each = 2 * two.median / millions
        rows.append((kind, one, two, f"{scale:.2f}", f"{each:.2f}", f"{1e3 * each * PRICE / 3600:.3f}"))
        verdicts.append(at_least(f"{kind}: times as fast on two workers as on one", scale, SCALES))
    verdicts.append(at_most("peak over the limit of a worker that explains a larger file", larger / LIMIT, 1.0))
    parts = [
        "## Clusters",
        f"A folder of {PARTS} Parquet files, {stocks * MONTHS:,} stock-months at ({PANEL.label}), summed over steps, "
        "from files to files on a Dask cluster of processes of this machine, one thread and one core each: seconds on "
        "one worker and on two, core-seconds for a million stock-months on two, and their cost in thousandths of a "
        f"dollar, at an assumed {PRICE} dollars for a core's hour. explain_files has {MEMORY} for each part under way; "
        "explain holds whole partitions, reads by Dask and writes by its to_parquet.",
        table(("way", "1 worker, s", "2 workers, s", "times as fast", "core-seconds", "$/1000"), rows),
        f"Most memory of a worker after both ways: {most[1]:.0f} MB of one, {most[2]:.0f} MB of two. A worker limited "
        f"to {LIMIT / 1e9:.0f} GB explained a file of {size / 1e9:.2f} GB within {larger / 1e6:.0f} MB.",
        _on_paper(2 * found["explain_files", 2].median / millions),
        goals(verdicts),
        machine.describe(("fastlrp", "Numba", "dask", "distributed", "pandas", "pyarrow"), 1),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _timed(client: Any, call: Callable[[], Any]) -> float:
    with client.as_current():
        return seconds(call)


def _larger(net: Any, folder: Path, options: Options) -> tuple[float, int]:
    """Peak bytes of a worker that explains a file larger than its limit, and the file's size."""
    stocks = 10 * (options.samples(int(LARGER * LIMIT / (4 * PANEL.features * MONTHS))) // 10)
    write_parts(folder / "in", stocks, 1)
    with workers(1, LIMIT) as client, client.as_current():
        runs(net, folder, MEMORY)["explain_files"]()
        return 1024**2 * max(peaks(client)), (folder / "in" / "00.parquet").stat().st_size


def _on_paper(each: float) -> str:
    """What a large cluster would do with a billion stock-months."""
    compute = 1000 * each / (MACHINES * CORES)
    moved = 1e9 * 4 * (2 * PANEL.features + 4) / (MACHINES * STORAGE)
    return (
        f"On paper, not measured: {MACHINES} machines of {CORES} such cores explain a billion stock-months in "
        f"{max(compute, moved):.0f} s ({compute:.0f} s of computing, {moved:.0f} s of moving "
        f"{4 * (2 * PANEL.features + 4)} bytes a row, at once), for {1000 * each * PRICE / 3600:.2f} dollars of "
        f"computing. Assumed: cores as fast as these; storage that gives each machine {STORAGE / 1e6:.0f} MB a second; "
        "several files a core, of equal size; a scheduler that is not the bound, with a task a file. Compilation adds "
        "ten seconds once a machine, unless its cache is filled beforehand."
    )
