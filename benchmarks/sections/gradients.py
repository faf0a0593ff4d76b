"""The controls that follow gradients: gradient x input over arras, and integrated gradients over gradient x input."""

from __future__ import annotations

from functools import partial

from benchmarks import machine
from benchmarks.cases import SHAPES, Case
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import Timing, alternate, round_of
from benchmarks.workers import Worker

#: Nodes of integrated gradients, and the part of a shape's samples that is measured: a call takes that much longer.
N_STEPS, PART = 32, 8
#: At most: gradient x input over arras, and a node of integrated gradients over gradient x input.
OVER_ARRAS, OVER_NODES = 2.0, 1.0


class Controls:
    """The three rules on the same samples, in turn."""

    def __init__(self, case: Case) -> None:
        from benchmarks.peers.fastlrp_peer import network, quiet

        quiet()
        self.network, self.X = network(case.weights()), case.inputs()

    def times(self, rounds: int, threads: int) -> dict[str, Timing]:
        """Seconds of each rule."""
        import fastlrp as fl

        rules = {
            "arras": fl.Arras(),
            "gradient x input": fl.GradientXInput(),
            "integrated gradients": fl.IntegratedGradients(N_STEPS),
        }
        calls = {
            name: partial(self.network.explain, self.X, rule=rule, threads=threads) for name, rule in rules.items()
        }
        return alternate({name: partial(round_of, call) for name, call in calls.items()}, rounds)


def run(options: Options) -> str:
    rows, asked = [], []
    for shape in SHAPES:
        case = shape.scaled(options.samples(shape.samples // PART))
        with Worker("benchmarks.sections.gradients:Controls", options.threads, case=case) as worker:
            found = worker.call("times", rounds=options.rounds, threads=options.threads)
        arras, gradient, integrated = (timing.median for timing in found.values())
        rows.append((f"{case.samples:,} x ({case.label})", *map(str, found.values())))
        asked += [
            at_most(f"({case.label}): gradient x input over arras", gradient / arras, OVER_ARRAS),
            at_most(f"({case.label}): a node over gradient x input", integrated / N_STEPS / gradient, OVER_NODES),
        ]
    return "\n\n".join(
        (
            "## Gradient x input and integrated gradients",
            f"Seconds of `explain`, float32; integrated gradients at {N_STEPS} nodes. Products with the weights that "
            "read X are made once for all nodes, so a node costs less than gradient x input does, most of all where "
            "features outnumber units.",
            table(("case", *found), rows),
            goals(asked),
            machine.describe(("fastlrp", "Numba"), options.threads),
        )
    )
