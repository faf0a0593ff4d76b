"""The share of the machine's measured arithmetic peak that explaining reaches."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from benchmarks import machine
from benchmarks.cases import GOALS, RULES, SHAPES, Case
from benchmarks.report import Options, at_least, goals, table, tell
from benchmarks.timing import alternate
from benchmarks.workers import Worker

METHOD = """\
The peak is a loop of independent fused multiply-adds that never touches memory, on every thread at once, measured in
rounds that alternate with fastlrp's, each the best of eight bursts; the share compares medians of rounds. Counted are
only the matrix products: the forward's, and for arras a quarter of them again; rudder, which has no path through h,
needs fewer and is counted so. "best" is the fastest round beside the fastest of the peak's: on a shared machine
neighbours take room in caches and on the way to memory, which slows everything but the peak's loop. OpenBLAS's product
of two 1536 x 1536 matrices stands beside the peak, below which it must stay on a quiet machine."""


class Share(NamedTuple):
    """The operations a second at one shape."""

    case: Case
    rates: dict[str, float]
    best: dict[str, float]
    peak: float
    best_peak: float
    blas: float


def measure(case: Case, threads: int, rounds: int) -> Share:
    """Measure fastlrp with both rules, the peak and OpenBLAS in alternating rounds."""
    with (
        Worker("benchmarks.peak:Peak", threads, threads=threads) as peak,
        Worker("benchmarks.runner:PeerRunner", threads, peer="fastlrp", case=case, threads=threads) as mine,
    ):
        for rule in RULES:
            mine.call("tune", kind=rule, threaded="library")
        calls = {rule: partial(mine.call, "round", kind=rule) for rule in RULES}
        calls |= {name: partial(peak.call, name) for name in ("rate", "blas")}
        found = alternate(calls, rounds)
    work = {rule: case.explain_flops(rule) * case.samples for rule in RULES}
    rates = {rule: work[rule] / found[rule].median for rule in RULES}
    best = {rule: work[rule] / min(found[rule].rounds) for rule in RULES}
    peaks = found["rate"]
    return Share(case, rates, best, peaks.median, max(peaks.rounds), found["blas"].median)


def rows(share: Share) -> list[tuple[str, ...]]:
    found = []
    for rule, rate in share.rates.items():
        numbers = (f"{x / 1e9:.1f}" for x in (rate, share.peak, share.blas))
        shares = (f"{rate / share.peak:.0%}", f"{share.best[rule] / share.best_peak:.0%}")
        found.append((f"({share.case.label}) {rule}", *numbers, *shares))
    return found


def run(options: Options) -> str:
    parts = ["## Share of the arithmetic peak", METHOD]
    for threads in dict.fromkeys((1, options.threads)):
        tell(f"peak with {threads} threads")
        cases = [shape.scaled(options.samples(shape.samples)) for shape in SHAPES]
        shares = [measure(case, threads, options.rounds) for case in cases]
        parts.append(f"### Peak with {threads} thread{'s' * (threads > 1)}")
        head = ("case", "fastlrp, GFLOP/s", "peak, GFLOP/s", "OpenBLAS, GFLOP/s", "share", "best")
        parts.append(table(head, [row for share in shares for row in rows(share)]))
        if any(share.blas > share.peak for share in shares):
            parts.append("OpenBLAS passed the peak: the machine was not quiet, and these shares mean little.")
        if threads == options.threads:
            asked_of_rules = {"arras": GOALS.share_of_peak_arras, "rudder": GOALS.share_of_peak_rudder}
            asked = [
                at_least(f"({share.case.label}) {rule}: share of peak", share.rates[rule] / share.peak, goal, "{:.0%}")
                for rule, asked_of in asked_of_rules.items()
                for share, goal in zip(shares, asked_of, strict=True)
            ]
            parts.append(goals(asked))
    parts.append(machine.describe(("fastlrp", "Numba", "NumPy"), options.threads))
    return "\n\n".join(parts)
