"""Rolling models' predictions and relevance against one network's on the rows that they read."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.report import Options, at_most, goals, table
from benchmarks.sections.market import grown
from benchmarks.timing import alternate, seconds
from benchmarks.workers import Worker

MONTHS, FEATURES, UNITS, STEPS, WINDOW = 240, 30, 16, 12, 60
#: Stocks, and months between refits.
SIZES = ((500, 12), (500, 1), (20, 12), (20, 1))
METHOD = f"""\
A panel of {MONTHS} months, {FEATURES} features, float64, rows by date; windows of {STEPS} steps, LSTM({UNITS}) +
Dense(1), models of {WINDOW} months. One network predicts and explains (arras) the same windows of the rows that the
models read. "own" is the same windows as an array, float32 and scaled: nothing is gathered, and no month is shared,
as none can be where every month has its own model. First calls: networks that were never used. Extra memory is the
growth of the process' peak resident memory in its first predictions, less the result's, over the panel's bytes; the
scratch of a thread, 2 to 4 MiB, is in it."""
GOAL, MEMORY = 1.3, 0.2


class Rolling:
    """Rolling models, a panel, and one of their networks."""

    def __init__(self, stocks: int, step: int, threads: int) -> None:
        import fastlrp as fl

        rng, dates = np.random.default_rng(1), pd.date_range("2000-01-31", periods=MONTHS, freq=pd.offsets.MonthEnd())
        index = pd.MultiIndex.from_product([dates, range(stocks)], names=["date", "stock"])
        X = pd.DataFrame(rng.standard_normal((len(index), FEATURES)), index, [f"f{k}" for k in range(FEATURES)])
        few = X[X.index.get_level_values("stock") < 5]  # networks do not depend on how many stocks they have seen
        estimator = fl.LSTMRegressor(units=(UNITS,), steps=STEPS, max_iter=1, random_state=1, threads=threads)
        self.model = fl.RollingLSTM(estimator, window=WINDOW, step=step).fit(few, few["f0"])
        self.X, self.threads, self.net = X, threads, self.model.networks_[0]
        self.same = X[X.index.get_level_values("date") >= dates[WINDOW - STEPS + 1]]
        self.own = rng.standard_normal((stocks * (MONTHS - WINDOW), STEPS, FEATURES)).astype(np.float32)
        self.model.predict(few), self.model.explain(few)  # compiles before anything is counted

    def memory(self) -> float | None:
        """The growth of the peak, over the panel's bytes; None where the system does not report it."""
        found = grown(lambda: self.model.predict(self.X))
        return None if found is None else (found[0] - found[1].to_numpy().nbytes) / self.X.to_numpy().nbytes

    def time(self, who: str, what: str, fresh: bool = False) -> float:
        if who == "rolling":
            if fresh:
                self.model.networks_ = [net and net.replaced() for net in self.model.networks_]
            return seconds(lambda: getattr(self.model, what)(self.X))
        X: Any = self.own if who == "own" else self.same
        return seconds(lambda: getattr(self.net, what)(X, dtype="float32", threads=self.threads))


def measure(stocks: int, step: int, options: Options) -> tuple[list[tuple[str, ...]], list[Any]]:
    """Rows of the table and goals, of one size."""
    rows, asked = [], []
    size = f"{stocks} stocks, refitted every {step} months" if step > 1 else f"{stocks} stocks, refitted every month"
    with Worker("benchmarks.sections.rolling:Rolling", options.threads, stocks=stocks, step=step,
                threads=options.threads) as worker:  # fmt: skip
        memory = worker.call("memory")
        for what in ("predict", "explain"):
            calls = {who: partial(worker.call, "time", who=who, what=what) for who in ("rolling", "one", "own")}
            first = worker.call("time", who="rolling", what=what, fresh=True)
            for call in calls.values():
                call()
            found = alternate(calls, 5 if options.quick else 15)
            ratio = found["rolling"].median / found["one"].median
            times = (f"{1e3 * found[who].median:.1f}" for who in calls)
            rows.append((f"{size}: {what}", *times, f"{ratio:.2f}", f"{1e3 * first:.1f}"))
            asked.append(at_most(f"{size}, {what}: times one network's", ratio, GOAL))
        if memory is not None:
            asked.append(at_most(f"{size}: extra memory over the panel's bytes", memory, MEMORY, "{:.2f}"))
    return rows, asked


def run(options: Options) -> str:
    """The section's text."""
    found = [measure(stocks, step, options) for stocks, step in SIZES]
    head = ("case", "rolling, ms", "one network, ms", "own, ms", "rolling / one", "first call, ms")
    return "\n\n".join([
        "## Rolling models",
        METHOD,
        table(head, [row for rows, _ in found for row in rows]),
        goals([goal for _, asked in found for goal in asked]),
        machine.describe(("fastlrp", "Numba", "NumPy", "pandas"), options.threads),
    ])  # fmt: skip
