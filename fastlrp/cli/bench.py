"""The speed of this machine: the checkout's benchmarks where there are any, else fastlrp alone."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fastlrp
from fastlrp.errors import ConservationWarning
from fastlrp.model.layers import LSTM, Dense
from fastlrp.network import Network


def run_bench(arguments: argparse.Namespace) -> int:
    """``fastlrp bench``: windows a second on this machine, as a table on stdout."""
    root = Path(fastlrp.__file__).resolve().parents[1]
    if (root / "benchmarks" / "__main__.py").is_file() and (root / "pyproject.toml").is_file():
        asked = ["--quick"] * arguments.quick
        asked += [] if arguments.threads is None else ["--threads", str(arguments.threads)]
        command = [sys.executable, "-m", "benchmarks", *asked]
        return subprocess.call(command, cwd=root)  # noqa: S603  # this interpreter, and numbers that were parsed
    import numba

    threads = numba.get_num_threads() if arguments.threads is None else arguments.threads
    print(f"Windows a second, float32, {threads} threads; random weights, LSTM(units) and Dense(1)\n")
    kinds = ("predict", "arras", "rudder")
    print("  steps  features  units" + "".join(f"{kind:>12}" for kind in kinds))
    rng = np.random.default_rng(0)
    for T, D, H, n in ((5, 16, 16, 40_000), (5, 16, 32, 40_000), (12, 96, 64, 4_000), (60, 96, 128, 500)):
        weights = [rng.standard_normal(shape) / np.sqrt(D + H) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,), (H, 1))]
        W, U, b, V = (array.astype(np.float32) for array in weights)
        net, X = Network([LSTM(W, U, b), Dense(V)], steps=T), rng.standard_normal((n, T, D), dtype=np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConservationWarning)
            rates = [n / _seconds(net, X, kind, threads) for kind in kinds]
        print(f"  {T:>5}  {D:>8}  {H:>5}" + "".join(f"{rate:>12,.0f}" for rate in rates), flush=True)
    print("\nThis is fastlrp alone, compared with no other library; `fastlrp bench` in a checkout compares.")
    return 0


def _seconds(net: Network, X: Any, kind: str, threads: int) -> float:
    """Median time of one call over about 0.2 s of calls; the first, which compiles, is not counted."""
    taken: list[float] = []
    for i in range(1000):
        start = time.perf_counter()
        if kind == "predict":
            net.predict(X, threads=threads)
        else:
            net.explain(X, rule=kind, threads=threads)
        if i:
            taken.append(time.perf_counter() - start)
        if len(taken) > 2 and sum(taken) > 0.2:
            break
    return float(np.median(taken))
