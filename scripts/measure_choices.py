"""Measure the choices in ``fastlrp/kernels/machine.py`` on this machine: ``python scripts/measure_choices.py 20``.

Each choice is compared with what stands there, on one thread, in rounds that alternate. Counted is the thread's own
processor time, the least of all rounds, so that other work beside it disturbs little; what a choice costs in the caches
that threads share is not seen. A row whose choice gives the same tiles as the table's says so.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks stands beside, and is not installed

import fastlrp as fl
from benchmarks.cases import EPS, PANEL, SHAPES
from benchmarks.peers.fastlrp_peer import network
from benchmarks.sections.panel import Panels
from fastlrp.kernels import machine
from fastlrp.kernels.cpu import host

#: Samples of each shape: some tiles of the largest size.
SAMPLES = (4096, 2048, 512, 128)
L2 = machine.SECOND_LEVEL
CHOICES: dict[str, dict[str, Any]] = {
    "as chosen": {},
    "TILE_BYTES 256": {"TILE_BYTES": 256},
    "TILE_BYTES 1024": {"TILE_BYTES": 1024},
    **{f"LARGE_TILE {factor} x L2": {"LARGE_TILE": int(factor * L2)} for factor in (0.5, 1, 2, 4, 8)},
    "FEWEST_VECTORS 1": {"FEWEST_VECTORS": 1},
    "FEWEST_VECTORS 2": {"FEWEST_VECTORS": 2},
}


@dataclass
class Job:
    """A network and its input."""

    name: str
    explain: Callable[[], Any]


def jobs() -> list[Job]:
    """The benchmark's shapes in both dtypes, and its panel."""
    rule, found = fl.Arras(eps=EPS), []
    for shape, samples in zip(SHAPES, SAMPLES, strict=True):
        for dtype in ("float32", "float64"):
            case = shape.scaled(samples)
            net, X = network(case.weights(dtype)), case.inputs(dtype)
            found.append(Job(f"{case.label} {dtype}", lambda net=net, X=X: net.explain(X, rule=rule, threads=1)))
    panels = Panels(PANEL, 16, 240, 1)
    for kind, what in (("panel", panels.panel), ("windows", panels.windows)):
        explain = lambda what=what: panels.network.explain(what, rule=rule, threads=1)  # noqa: E731
        found.append(Job(f"{PANEL.label} {kind}", explain))
    return found


def choose(choice: dict[str, Any]) -> None:
    """Put a choice in the place of the table's."""
    host.TILE_BYTES = choice.get("TILE_BYTES", machine.TILE_BYTES)
    host.LARGE_TILE = choice.get("LARGE_TILE", machine.LARGE_TILE)
    machine.FEWEST_VECTORS = choice.get("FEWEST_VECTORS", FEWEST_VECTORS)


FEWEST_VECTORS = machine.FEWEST_VECTORS


def lanes_of(job: Job, choice: dict[str, Any]) -> list[int]:
    """The lanes of the tiles that a choice gives."""
    seen, fitted = [], host._fitted

    def noted(*arguments: Any) -> Any:
        cut = fitted(*arguments)
        seen.append(cut.lanes)
        return cut

    host._fitted = noted
    try:
        choose(choice)
        job.explain()
    finally:
        host._fitted = fitted
    return seen


def main(rounds: int) -> None:
    warnings.simplefilter("ignore", fl.ConservationWarning)
    print(f"{machine.UNITS} units, vectors of {machine.VECTOR_BYTES} bytes, L2 {L2 >> 10} KB")
    for job in jobs():
        tiles = {name: lanes_of(job, choice) for name, choice in CHOICES.items()}
        best: dict[str, float] = {}
        different = {
            name: CHOICES[name] for name in CHOICES if name == "as chosen" or tiles[name] != tiles["as chosen"]
        }
        for _ in range(rounds):
            for name, choice in different.items():
                choose(choice)
                for _ in range(3):
                    start = time.thread_time()
                    job.explain()
                    best[name] = min(best.get(name, 1e9), time.thread_time() - start)
        print(f"{job.name}: {1e3 * best['as chosen']:.2f} ms, {tiles['as chosen'][0]} lanes", flush=True)
        for name in CHOICES:
            if name in different and name != "as chosen":
                print(f"    {name}: {best[name] / best['as chosen']:.3f} of that, {tiles[name][0]} lanes", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
