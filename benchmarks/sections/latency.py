"""One sample at a time: the cost of a call."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import machine, peers
from benchmarks.cases import GOALS, KINDS, RULES, SMALL, Case
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import seconds
from benchmarks.workers import Worker, WorkerError


class Single:
    """``explain`` as a user calls it, with only the rule as an argument."""

    def __init__(self, case: Case) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.network, self.x = network(case.weights(), case.steps), case.inputs()

    def kinds(self) -> tuple[str, ...]:
        return KINDS

    def once(self, kind: str, repeats: int) -> Any:
        def call() -> Any:
            return self.network.predict(self.x) if kind == "forward" else self.network.explain(self.x, rule=kind)

        for _ in range(repeats // 10):
            call()
        return np.array([seconds(call) for _ in range(repeats)])


def worker_of(name: str, threads: int) -> Worker:
    if name == "fastlrp":
        return Worker("benchmarks.sections.latency:Single", threads, case=SMALL)
    return Worker("benchmarks.runner:PeerRunner", 1, peer=name, case=SMALL, threads=1)


def run(options: Options) -> str:
    calls = 1_000 if options.quick else 10_000
    rows: list[tuple[str, ...]] = []
    medians: dict[tuple[str, str], float] = {}
    for name in peers.NAMES:
        repeats = calls if name == "fastlrp" else calls // 10
        try:
            with worker_of(name, options.threads) as worker:
                for kind in worker.call("kinds"):
                    quantiles = 1e6 * np.quantile(worker.call("once", kind=kind, repeats=repeats), (0.5, 0.95, 0.99))
                    medians[name, kind] = float(quantiles[0])
                    rows.append((f"{name}, {kind}", *(f"{value:.1f}" for value in quantiles)))
        except WorkerError as error:
            rows.append((f"{name}: not measured: {error}", "", "", ""))
    asked = [
        at_most(f"{rule}: median of one sample", medians["fastlrp", rule], GOALS.latency_us, "{:.1f} us")
        for rule in RULES
        if ("fastlrp", rule) in medians
    ]
    parts = [
        f"## Latency of one sample at ({SMALL.label})",
        f"Microseconds of a warm call, checks included; quantiles of {calls:,} calls (peers: a tenth, at one thread, "
        "which suits one sample best). fastlrp is called with its defaults.",
        table(("call", "median", "95th percentile", "99th percentile"), rows),
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy", "torch", "JAX"), options.threads),
    ]
    return "\n\n".join(parts)
