"""A whole market at once: time, memory, and whether cost per sample stays flat."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.cases import GOALS, MARKET, Case
from benchmarks.report import Options, at_least, at_most, goals, table
from benchmarks.sections.panel import make
from benchmarks.timing import seconds
from benchmarks.workers import Worker

MONTHS = 600
SIZES = (10_000, 100_000, 1_000_000, 4_000_000)
METHOD = """\
A simulated market of {size:,} stock-months ({months} months, scale {scale:g} of 4.0 million), {D} features, {T} steps,
LSTM({H}) + Dense(1), arras, summed over steps, as one DataFrame, each size in its own process. Extra memory is the
growth of the process' peak resident memory during the call, less the result's own arrays. Counted operations are those
of the matrix products with x_t W once a month: {flops:.0f} thousand a window."""


def _status(key: str) -> float:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def grown(call: Callable[[], Any]) -> tuple[float, Any] | None:
    """The growth of the process' peak resident memory during a call, and its result; None where the system does not
    report it."""
    if not Path("/proc/self/status").exists():
        return None
    # Resets the peak to what is resident now; where that is not allowed, making the panel has set the old peak.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    result = call()
    return _status("VmHWM") - before, result


class Market:
    """One panel in one process."""

    def __init__(self, case: Case, stocks: int, threads: int) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.threads, self.network = threads, network(case.weights(), case.steps)
        self.case, self.panel = case, make(case, stocks, MONTHS)
        self._explain(make(case, 8, 2 * case.steps))  # compiles before anything is counted

    def _explain(self, panel: Any) -> Any:
        return self.network.explain(panel, reduce="steps", threads=self.threads)

    def time(self, repeats: int) -> float:
        return statistics.median(seconds(lambda: self._explain(self.panel)) for _ in range(repeats))

    def memory(self) -> dict[str, float] | None:
        """Bytes of the panel, of the result, and of the peak's growth; None where the system does not report them."""
        found = grown(lambda: self._explain(self.panel))
        if found is None:
            return None
        growth, result = found
        arrays = [result.values, result.prediction, result.score, result.initial_state, result.unattributed]
        own = float(sum(np.asarray(array).nbytes for array in arrays))
        return {"panel": float(self.panel.to_numpy().nbytes), "result": own, "grown": growth}


def scale() -> float:
    """The share of the full market that fits: panel, result and as much again, with half as much to spare."""
    needed = 3.5 * 1.5 * MARKET.samples * MARKET.features * 4 / 1e9
    available = machine.memory_gb()[1] or needed
    return next(part for part in (1.0, 0.5, 0.25, 0.1, 0.025) if part * needed <= available or part == 0.025)


class Point(NamedTuple):
    """One size's measurement."""

    samples: int
    seconds: float
    share: float
    memory: dict[str, float] | None

    @property
    def cost(self) -> float:
        return self.seconds / self.samples

    def row(self) -> tuple[str, ...]:
        memory = ["unknown"] * 3
        if self.memory is not None:
            extra = self.memory["grown"] - self.memory["result"]
            memory = [f"{value / 1e6:.0f}" for value in (self.memory["panel"], self.memory["result"], extra)]
        return f"{self.samples:,}", f"{self.seconds:.3g}", f"{1e6 * self.cost:.3f}", *memory, f"{self.share:.0%}"


def point(size: int, options: Options) -> Point:
    """Time, memory and share of peak; the peak is measured before and after."""
    stocks = round(size / MONTHS)
    args = {"case": MARKET, "stocks": stocks, "threads": options.threads}
    with (
        Worker("benchmarks.peak:Peak", options.threads, threads=options.threads) as fma,
        Worker("benchmarks.sections.market:Market", options.threads, **args) as worker,
    ):
        before = fma.call("rate")
        memory = worker.call("memory")
        taken = worker.call("time", repeats=3 if size >= 1_000_000 else 15)
        peak = (before + fma.call("rate")) / 2
    flops = MARKET.panel_flops * stocks * (MONTHS - MARKET.steps + 1)
    return Point(stocks * MONTHS, taken, flops / taken / peak, memory)


def run(options: Options) -> str:
    largest = int((0.025 if options.quick else scale()) * MARKET.samples)
    points = [point(size, options) for size in sorted({*(size for size in SIZES if size < largest), largest})]
    last, costs = points[-1], [point.cost for point in points]
    asked = [
        at_least("share of the arithmetic peak (time within 2x)", last.share, GOALS.market_share, "{:.0%}"),
        at_most("dearest cost per sample over the cheapest", max(costs) / min(costs), GOALS.market_flatness, "{:.2f}"),
    ]
    if last.memory is not None:
        extra = (last.memory["grown"] - last.memory["result"]) / last.memory["panel"]
        asked.append(at_most("extra memory over the panel's own bytes", extra, GOALS.market_memory, "{:.2f}"))
    T, D, H = MARKET.steps, MARKET.features, MARKET.units
    method = METHOD.format(
        size=last.samples, months=MONTHS, scale=largest / MARKET.samples, T=T, D=D, H=H, flops=MARKET.panel_flops / 1e3
    )
    head = ("stock-months", "time, s", "us a sample", "panel, MB", "result, MB", "extra, MB", "share of peak")
    parts = ["## A market at once", method, table(head, (point.row() for point in points)), goals(asked)]
    parts.append(machine.describe(("fastlrp", "Numba", "NumPy", "pandas"), options.threads))
    return "\n\n".join(parts)
