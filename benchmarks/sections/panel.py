"""A panel against the same windows as an array: work that overlapping windows share is done only once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.cases import GOALS, PANEL, RULES, Array, Case
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import alternate, round_of
from benchmarks.workers import Worker

STOCKS, MONTHS = 300, 240


def make(case: Case, stocks: int, months: int) -> pd.DataFrame:
    """A full panel (month, stock), sorted by month, then stock, over one block of values, not copied."""
    values = _values(case, stocks * months)
    times = pd.period_range("1970-01", periods=months, freq="M").to_timestamp(how="end").normalize()
    index = pd.MultiIndex.from_product([times, np.arange(10_000, 10_000 + stocks)], names=["month", "permno"])
    return pd.DataFrame(values, index=index, columns=[f"x{k}" for k in range(case.features)], copy=False)


def _values(case: Case, rows: int) -> Array:
    return np.random.default_rng(case.seed).standard_normal((rows, case.features), dtype=np.float32)


class Panels:
    """The panel, its windows as an array, and both explained."""

    def __init__(self, case: Case, stocks: int, months: int, threads: int) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.threads, self.network = threads, network(case.weights(), case.steps)
        self.panel = make(case, stocks, months)
        grid = self.panel.to_numpy().reshape(months, stocks, case.features)
        view = np.lib.stride_tricks.sliding_window_view(grid, case.steps, axis=0)  # (ends, stocks, features, steps)
        self.windows = np.ascontiguousarray(np.moveaxis(view, 3, 2)).reshape(-1, case.steps, case.features)
        self.first = (case.steps - 1) * stocks  # earlier rows have no full window

    def _explain(self, what: Any, rule: str, reduce: Any) -> Any:
        return self.network.explain(what, rule=rule, threads=self.threads, reduce=reduce)

    def round(self, kind: str, rule: str, reduce: Any) -> float:
        what = self.windows if kind == "array" else self.panel
        if kind == "new panel":  # nothing about its index is cached
            what = self.panel.set_axis(self.panel.index.copy(), axis=0)
        return round_of(lambda: self._explain(what, rule, reduce))

    def difference(self, rule: str, reduce: Any) -> float:
        """Largest difference over the largest relevance; NaN must appear exactly where there is no window."""
        whole = self._explain(self.panel, rule, reduce).values
        array = self._explain(self.windows, rule, reduce).values
        missing = np.isnan(whole.reshape(len(whole), -1)).any(axis=1)
        if not missing[: self.first].all() or missing[self.first :].any() or np.isnan(array).any():
            raise RuntimeError("NaN does not stand exactly where there is no full window: these times mean nothing")
        return float(abs(whole[self.first :] - array).max() / abs(array).max())

    def warm(self) -> None:
        """Compile everything, for both rules and both forms."""
        for rule in RULES:
            for reduce in (None, "steps"):
                self.difference(rule, reduce)


def run(options: Options) -> str:
    stocks = options.samples(STOCKS)
    rows, asked = [], []
    with Worker(
        "benchmarks.sections.panel:Panels",
        options.threads,
        case=PANEL,
        stocks=stocks,
        months=MONTHS,
        threads=options.threads,
    ) as worker:
        worker.call("warm")
        for rule in RULES:
            for reduce in (None, "steps"):
                calls = {
                    kind: partial(worker.call, "round", kind=kind, rule=rule, reduce=reduce)
                    for kind in ("panel", "new panel", "array")
                }
                found = alternate(calls, options.rounds)
                ratio = found["panel"].median / found["array"].median
                what = f"{rule}, {'values in full' if reduce is None else 'summed over steps'}"
                apart = worker.call("difference", rule=rule, reduce=reduce)
                rows.append((what, *found.values(), f"{ratio:.2f}", f"{apart:.0e}"))
                asked.append(at_most(f"{what}: panel's time over the array's", ratio, GOALS.panel_ratio, "{:.2f}"))
    share = PANEL.panel_flops / PANEL.explain_flops("arras")
    parts = [
        f"## Panels: {stocks} stocks x {MONTHS} months at ({PANEL.label})",
        f"A DataFrame against the array of the same {stocks * (MONTHS - PANEL.steps + 1):,} windows, made before the "
        f"clock starts. A panel's matrix products are {share:.0%} of the windows'. Which rows end windows is found "
        "when a panel is first met, and remembered; a new panel is one that never was. The largest difference is "
        "relative to the largest relevance.",
        table(("relevance", "panel, s", "new panel, s", "array, s", "ratio", "difference"), rows),
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy", "pandas"), options.threads),
    ]
    return "\n\n".join(parts)
