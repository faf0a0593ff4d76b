"""One sample at a time: the cost of a call."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks import machine, peers
from benchmarks.cases import GOALS, KINDS, RULES, SINGLE, SMALL, Case
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import seconds
from benchmarks.workers import Worker, WorkerError

RUNTIME, ROUNDS = "ONNX Runtime", 10


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


def beside_runtime(case: Case, calls: int) -> tuple[dict[tuple[str, str], Any], str]:
    """Microseconds of calls with one sample on one thread, by library and kind, in rounds that alternate; and why the
    runtime is not among them, if it is not."""
    taken: dict[tuple[str, str], Any] = {}
    with ExitStack() as stack:
        workers = {"fastlrp": stack.enter_context(Worker("benchmarks.sections.latency:Single", 1, case=case))}
        absent = "" if RUNTIME in peers.NAMES else "there is no such peer"
        if not absent:
            try:
                args = {"peer": RUNTIME, "case": case, "threads": 1}
                workers[RUNTIME] = stack.enter_context(Worker("benchmarks.runner:PeerRunner", 1, **args))
            except WorkerError as error:
                absent = str(error)
        ways = [(name, kind) for name, worker in workers.items() for kind in worker.call("kinds")]
        rounds = [
            {way: workers[way[0]].call("once", kind=way[1], repeats=calls // ROUNDS) for way in ways}
            for _ in range(ROUNDS)
        ]
        for way in ways:
            taken[way] = 1e6 * np.concatenate([one[way] for one in rounds])
    return taken, absent


def single(case: Case, at: int, calls: int) -> tuple[list[tuple[str, ...]], list[tuple[str, str, str, str]]]:
    """Rows of the table and of the goals for one shape."""
    taken, absent = beside_runtime(case, calls)
    least = {way: float(array.min()) for way, array in taken.items()}
    runtime = least.get((RUNTIME, "forward"))
    rows = [
        (
            f"({case.label}): {name}, {kind}",
            *(f"{value:.1f}" for value in (least[name, kind], *np.quantile(array, (0.5, 0.99)))),
            f"{least[name, kind] / runtime:.2f}" if runtime else "",
        )
        for (name, kind), array in taken.items()
    ]
    if absent:
        rows.append((f"({case.label}): {RUNTIME}: not measured: {absent}", "", "", "", ""))
    asked = []
    if at == 0:
        for kind, goal in (("forward", GOALS.single_predict_us), ("arras", GOALS.single_explain_us)):
            asked.append(at_most(f"{kind}: minimum at ({case.label})", least["fastlrp", kind], goal, "{:.1f} us"))
    if runtime and GOALS.single_over_runtime[at]:
        over = least["fastlrp", "arras"] / runtime
        asked.append(at_most(f"arras over {RUNTIME}'s forward at ({case.label})", over, GOALS.single_over_runtime[at]))
    over = least["fastlrp", "forward"] / least["fastlrp", "arras"]
    asked.append(at_most(f"predict over explain at ({case.label})", over, 1.0))
    for kind in KINDS[:2]:
        middle, late = np.quantile(taken["fastlrp", kind], (0.5, 0.99))
        asked.append(at_most(f"{kind}: 99th percentile over median at ({case.label})", late / middle, GOALS.single_p99))
    return rows, asked


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
    found = [single(case, at, calls // 10 if case.steps > 12 else calls) for at, case in enumerate(SINGLE)]
    asked += [row for _, rows_asked in found for row in rows_asked]
    parts = [
        f"## Latency of one sample at ({SMALL.label})",
        f"Microseconds of a warm call, checks included; quantiles of {calls:,} calls (peers: a tenth, at one thread, "
        "which suits one sample best). fastlrp is called with its defaults.",
        table(("call", "median", "95th percentile", "99th percentile"), rows),
        f"Beside a runtime that predicts, both on one thread, in {ROUNDS} rounds that alternate: minimum, median and "
        f"99th percentile, and the minimum over that of {RUNTIME}'s forward pass.",
        table(("call", "minimum", "median", "99th percentile", "over it"), [row for some, _ in found for row in some]),
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy", "torch", "JAX"), options.threads),
    ]
    return "\n\n".join(parts)
