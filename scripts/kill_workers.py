"""Kills workers of a Dask cluster by SIGKILL at random moments of explain and explain_files, and compares with memory.

    python scripts/kill_workers.py [KILLS]

Every other kill finds an empty NUMBA_CACHE_DIR, so that all workers compile and fill it as one of them dies; float32
and float64 are compiled at once. In the end new processes run what is kept there.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fastlrp as fl

D, H, T = 20, 16, 12
_KEPT = """
import numpy as np, pandas as pd, fastlrp as fl
net, panel = fl.read_keras("model.h5"), pd.read_parquet("panel.parquet")
for dtype in ("float32", "float64"):
    assert np.array_equal(net.explain(panel, dtype=dtype).values, np.load(f"{dtype}.npy"), equal_nan=True), dtype
"""


def make(folder: Path) -> None:
    """A model, a panel of 24,000 stock-months, its relevance, and the panel again as eight files."""
    rng = np.random.default_rng(0)
    lstm = fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)), rng.normal(size=4 * H))
    net = fl.Network(
        [lstm, fl.Dense(rng.normal(size=(H, 1)), np.zeros(1))], steps=T, features=[f"x{j}" for j in range(D)]
    )
    fl.write_keras(net, folder / "model.h5")
    index = pd.MultiIndex.from_product(
        [range(10_000, 10_200), pd.date_range("2000-01-31", periods=120, freq="ME")], names=["permno", "month"]
    )
    panel = pd.DataFrame(rng.normal(size=(len(index), D)).astype(np.float32), index, net.features)
    panel.to_parquet(folder / "panel.parquet")
    for dtype in ("float32", "float64"):
        np.save(folder / f"{dtype}.npy", net.explain(panel, dtype=dtype).values)
    (folder / "in").mkdir()
    for k in range(8):
        panel.loc[10_000 + 25 * k : 10_024 + 25 * k].to_parquet(folder / "in" / f"{k}.parquet")


def explained(folder: Path, net: Any, panel: pd.DataFrame) -> list[Any]:
    """Three computations at once, in two dtypes, so that workers compile different code."""
    import dask.dataframe as dd

    frame = dd.from_pandas(panel.reset_index("month"), npartitions=8)
    lazy = [fl.cluster.explain(frame, net, dtype=dtype) for dtype in ("float32", "float64")]
    return [*lazy, fl.cluster.explain_files(folder / "in", folder / "out", net)]


def compare(folder: Path, found: list[Any]) -> None:
    for table, dtype in zip(found[:2], ("float32", "float64"), strict=True):
        got = table.reset_index().set_index(["permno", "month"]).sort_index().to_numpy()[:, : T * D]
        assert np.array_equal(got.reshape(-1, T, D), np.load(folder / f"{dtype}.npy"), equal_nan=True), dtype
    parts = [fl.load_relevance(folder / "out" / f"{k}.parquet").values for k in range(8)]
    assert np.array_equal(np.concatenate(parts), np.load(folder / "float32.npy"), equal_nan=True), "files"
    left = [path.name for path in (folder / "out").iterdir() if "unfinished" in path.name]
    assert not left, left


def once(folder: Path, cache: Path, net: Any, panel: pd.DataFrame, wait: float | None) -> tuple[float, int]:
    """Seconds of a run, and how many workers died of it; one is killed after ``wait`` seconds."""
    from distributed import LocalCluster

    shutil.rmtree(folder / "out", ignore_errors=True)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50,
                     env={"NUMBA_CACHE_DIR": str(cache)}) as cluster,
        cluster.get_client() as client,
    ):  # fmt: skip
        client.wait_for_workers(2)
        begun, killed = time.perf_counter(), 0
        futures = [client.compute(one) for one in explained(folder, net, panel)]
        if wait is not None:
            time.sleep(wait)
            killed = any(not future.done() for future in futures)
            os.kill(random.choice(list(cluster.workers.values())).pid, signal.SIGKILL)
        compare(folder, client.gather(futures))
        return time.perf_counter() - begun, killed


def main(kills: int) -> int:
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder, done, runs = Path(name), 0, 0
        make(folder)
        net, panel = fl.read_keras(folder / "model.h5"), pd.read_parquet(folder / "panel.parquet")
        cache = folder / "numba"
        lasts = {"cold": once(folder, cache, net, panel, None)[0], "warm": once(folder, cache, net, panel, None)[0]}
        print(", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in lasts.items()), flush=True)
        while done < kills:
            kind = ("cold", "warm")[runs % 2]
            if kind == "cold":
                shutil.rmtree(cache)
            done += once(folder, cache, net, panel, random.uniform(0, 0.8 * lasts[kind]))[1]
            runs += 1
            if kind == "cold":
                check = [sys.executable, "-c", _KEPT]
                subprocess.run(check, cwd=folder, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)}, check=True)
            print(f"{done} kills in {runs} runs", flush=True)
        print(f"{done} kills while work was under way, all results the same to the bit, kept code as well")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
