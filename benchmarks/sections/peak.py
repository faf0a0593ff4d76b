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
needs fewer and is counted so. OpenBLAS's product of two 1536 x 1536 matrices stands beside the peak, below which it
must stay on a quiet machine."""


class Share(NamedTuple):
    """The operations a second at one shape."""

    case: Case
    rates: dict[str, float]
    peak: float
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
    rates = {rule: case.explain_flops(rule) * case.samples / found[rule].median for rule in RULES}
    return Share(case, rates, found["rate"].median, found["blas"].median)


def rows(share: Share) -> list[tuple[str, ...]]:
    numbers = [(f"({share.case.label}) {rule}", rate, share.peak, share.blas) for rule, rate in share.rates.items()]
    return [(name, *(f"{x / 1e9:.1f}" for x in (mine, *top)), f"{mine / top[0]:.0%}") for name, mine, *top in numbers]


def run(options: Options) -> str:
    parts = ["## Share of the arithmetic peak", METHOD]
    for threads in dict.fromkeys((1, options.threads)):
        tell(f"peak with {threads} threads")
        cases = [shape.scaled(options.samples(shape.samples)) for shape in SHAPES]
        shares = [measure(case, threads, options.rounds) for case in cases]
        parts.append(f"### Peak with {threads} thread{'s' * (threads > 1)}")
        head = ("case", "fastlrp, GFLOP/s", "peak, GFLOP/s", "OpenBLAS, GFLOP/s", "share")
        parts.append(table(head, [row for share in shares for row in rows(share)]))
        if any(share.blas > share.peak for share in shares):
            parts.append("OpenBLAS passed the peak: the machine was not quiet, and these shares mean little.")
        if threads == options.threads:
            asked = [
                at_least(f"({share.case.label}) {rule}: share of peak", rate / share.peak, goal, "{:.0%}")
                for share, goal in zip(shares, GOALS.share_of_peak, strict=True)
                for rule, rate in share.rates.items()
            ]
            parts.append(goals(asked))
    parts.append(machine.describe(("fastlrp", "Numba", "NumPy"), options.threads))
    return "\n\n".join(parts)
