"""Kills workers of a Dask cluster by SIGKILL at random moments of explain and explain_files, and compares with memory.

    python scripts/kill_workers.py [KILLS]

Every fifth kill finds an empty NUMBA_CACHE_DIR, so that all workers compile and fill it as one of them dies; float32
and float64 are compiled at once. In the end a new process runs what is kept there.
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


def once(
    folder: Path, cluster: Any, net: Any, panel: pd.DataFrame, most: float, rng: random.Random
) -> tuple[float, int]:
    """Seconds of a run, and whether a worker died of it: one is killed within ``most`` seconds, if that is not 0."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    with cluster.get_client() as client:
        client.wait_for_workers(2)
        begun, killed = time.perf_counter(), 0
        futures = [client.compute(one) for one in explained(folder, net, panel)]
        if most:
            time.sleep(rng.uniform(0, most))
            killed = any(not future.done() for future in futures)
            os.kill(rng.choice(list(cluster.workers.values())).pid, signal.SIGKILL)
        compare(folder, client.gather(futures))
        return time.perf_counter() - begun, killed


def killed_workers(kills: int, seed: int = 0) -> int:
    """Kill at least so many workers while work is under way; how many were killed.

    Raises
    ------
    AssertionError
        If a result differs in a bit from one in memory, a file is left behind, or a computation fails.
    """
    from distributed import LocalCluster

    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder, done, cold, cache = Path(name), 0, 0.0, Path(name) / "numba"
        make(folder)
        net, panel = fl.read_keras(folder / "model.h5"), pd.read_parquet(folder / "panel.parquet")
        options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
        while done < kills:
            shutil.rmtree(cache, ignore_errors=True)
            with LocalCluster(n_workers=2, env={"NUMBA_CACHE_DIR": str(cache)}, **options) as cluster:
                seconds, killed = once(folder, cluster, net, panel, 0.6 * cold, rng)
                cold, done = max(cold, seconds), done + killed
                print(f"{done} kills; from an empty cache on {seconds:.1f} s", file=sys.stderr, flush=True)
                warm, _ = once(folder, cluster, net, panel, 0, rng)
                for _ in range(4):
                    done += once(folder, cluster, net, panel, warm, rng)[1]
                print(f"{done} kills; all compiled {warm:.1f} s", file=sys.stderr, flush=True)
            check = [sys.executable, "-c", _KEPT]
            subprocess.run(check, cwd=folder, env=os.environ | {"NUMBA_CACHE_DIR": str(cache)}, check=True)
    return done


def main(kills: int) -> int:
    done = killed_workers(kills)
    print(f"{done} kills while work was under way, all results the same to the bit, kept code as well")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
