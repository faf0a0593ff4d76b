"""Evidence on the embedded panel and network: what it takes, and what it says of the rules."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import alternate, seconds
from benchmarks.workers import Worker

RULES = ("arras", "rudder", "gradient_x_input", "integrated_gradients")
NUMBERS = (
    "gain_relative", "months_won", "infidelity_relative", "infidelity_scaled_relative", "max_sensitivity_relative",
)  # fmt: skip
POINTS, DRAWS = 20, 10
METHOD = f"""\
`fl.faithfulness` with its defaults but for sensitivity, which is left out: {POINTS} points, {DRAWS} random orders, so
that each sample is predicted {1 + POINTS * (2 + DRAWS)} times. "Predictions alone" is `predict` on as many windows.
`fl.compare` with its five rules."""
GOAL = 4.0


class Evidence:
    """The embedded panel, or its last rows, and their windows."""

    def __init__(self, rows: int, threads: int) -> None:
        import fastlrp as fl
        from fastlrp.data import load_panel, model_path

        warnings.simplefilter("ignore")  # rudder's own
        self.net, self.panel, self.threads = fl.read_keras(model_path()), load_panel().iloc[-rows:], threads
        self.rel = self.net.explain(self.panel, threads=threads)
        self.n = int(np.count_nonzero(~self.rel.missing))
        rng = np.random.default_rng(1)
        shape = (POINTS * self.n, self.rel.steps, self.net.n_features)
        self.windows = rng.standard_normal(shape, dtype=np.float32)

    def samples(self) -> int:
        return self.n

    def time(self, what: str, by: str) -> float:
        import fastlrp as fl

        ask: dict[str, Any] = {"by": by, "random_state": 0, "threads": self.threads}
        calls = {
            "predictions": lambda: self.net.predict(self.windows, threads=self.threads),
            "faithfulness": lambda: fl.faithfulness(self.net, self.panel, self.rel, radius=None, **ask),
            "compare": lambda: fl.compare(self.net, self.panel, **ask),
        }
        return seconds(calls[what])

    def numbers(self, rule: str, by: str) -> list[float]:
        """What faithfulness says of a rule."""
        import fastlrp as fl

        rel = self.net.explain(self.panel, rule=rule, threads=self.threads)
        found = fl.faithfulness(self.net, self.panel, rel, by=by, random_state=0, threads=self.threads).table()
        return [float(found[name]) for name in NUMBERS]


def run(options: Options) -> str:
    """The section's text."""
    rows, asked, said = [], [], []
    with Worker("benchmarks.sections.evidence:Evidence", options.threads, rows=options.samples(7_920),
                threads=options.threads) as worker:  # fmt: skip
        n = worker.call("samples")
        for by in ("feature", "cell"):
            names = ("predictions", "faithfulness", "compare")
            calls = {what: partial(worker.call, "time", what=what, by=by) for what in names}
            for call in calls.values():
                call()
            found = alternate(calls, options.rounds)
            alone = found["predictions"].median * (1 + POINTS * (2 + DRAWS)) / POINTS
            rows.append((by, f"{alone:.3g}", str(found["faithfulness"]), str(found["compare"])))
            asked.append(at_most(f"{by}: over predictions alone", found["faithfulness"].median / alone, GOAL))
            for rule in RULES:
                said.append((f"{by}: {rule}", *(f"{x:.3f}" for x in worker.call("numbers", rule=rule, by=by))))
    return "\n\n".join([
        "## Evidence",
        f"Seconds for the embedded panel's {n:,} windows of 12 x 20, LSTM(16), float32. {METHOD}",
        table(("units", "predictions alone", "faithfulness", "compare"), rows),
        "What faithfulness says of the rules on that network, by deletion towards each month's mean:",
        table(("rule", *NUMBERS), said),
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy", "pandas"), options.threads),
    ])  # fmt: skip
