"""The gain from a second thread, and a check that it changes no bit of the answer."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.cases import GOALS, RULES, SHAPES, Case
from benchmarks.report import Options, at_least, goals, table, verdict
from benchmarks.timing import alternate, round_of
from benchmarks.workers import Worker, cores


class Threaded:
    """One process that may use all threads and is asked for fewer."""

    def __init__(self, case: Case) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.network, self.X = network(case.weights()), case.inputs()
        for rule in RULES:
            self._explain(self.X, rule, 1)  # compiles before the first round

    def _explain(self, X: Any, rule: str, threads: int) -> Any:
        return self.network.explain(X, rule=rule, threads=threads)

    def round(self, rule: str, threads: int) -> float:
        return round_of(lambda: self._explain(self.X, rule, threads))

    def same(self, rule: str, threads: int) -> bool:
        """Whether one thread, all threads and a batch cut at an odd place give the same bits."""
        X = self.X[: min(len(self.X), 4097)]
        cut = len(X) * 2 // 7 + 1
        whole, one = self._explain(X, rule, threads), self._explain(X, rule, 1)
        parts = [self._explain(part, rule, threads) for part in (X[:cut], X[cut:])]
        return all(
            np.array_equal(getattr(whole, name), getattr(one, name))
            and np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
            for name in ("values", "prediction", "initial_state", "unattributed")
        )


def run(options: Options) -> str:
    many = max(2, options.threads)
    parts = [
        "## Threads",
        f"The same process with `threads=1` and `threads={many}`, rounds alternating. Bits are compared between one "
        "thread, all threads, and a batch cut in two at an odd place: values, predictions and totals.",
    ]
    if len(cores()) < many:
        return "\n\n".join([*parts, f"Not measured: {len(cores())} core is usable here, {many} are needed."])
    rows, asked = [], []
    for k, shape in enumerate(SHAPES):
        case = shape.scaled(options.samples(shape.samples))
        with Worker("benchmarks.sections.threads:Threaded", many, case=case) as worker:
            for rule in RULES:
                calls = {n: partial(worker.call, "round", rule=rule, threads=n) for n in (1, many)}
                found = alternate(calls, options.rounds)
                same, gain = worker.call("same", rule=rule, threads=many), found[1].median / found[many].median
                what = f"({case.label}) {rule}"
                rows.append((what, found[1], found[many], f"{gain:.2f}x", "yes" if same else "no"))
                if GOALS.threads[k]:
                    asked.append(at_least(f"{what}: {many} threads over one", gain, GOALS.threads[k]))
                asked.append((f"{what}: same bits", "yes" if same else "no", "yes", verdict(same)))
    parts.append(table(("case", "1 thread, s", f"{many} threads, s", "gain", "same bits"), rows))
    parts += [goals(asked), machine.describe(("fastlrp", "Numba", "NumPy"), many)]
    return "\n\n".join(parts)
