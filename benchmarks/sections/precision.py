"""float64 against float32: speed, and the difference of each from float64 NumPy."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from benchmarks import machine
from benchmarks.cases import GOALS, KINDS, SHAPES
from benchmarks.report import Options, at_least, goals, table
from benchmarks.runner import deviation, oracle
from benchmarks.timing import alternate
from benchmarks.workers import Worker

DTYPES = ("float32", "float64")


def run(options: Options) -> str:
    rows, asked = [], []
    for shape in SHAPES:
        case = shape.scaled(options.samples(shape.samples))
        with ExitStack() as stack:
            workers = {
                dtype: stack.enter_context(
                    Worker(
                        "benchmarks.runner:PeerRunner",
                        options.threads,
                        peer="fastlrp",
                        case=case,
                        threads=options.threads,
                        dtype=dtype,
                    )
                )
                for dtype in DTYPES
            }
            for kind in KINDS:
                for worker in workers.values():
                    worker.call("tune", kind=kind, threaded="library")
                calls = {dtype: partial(worker.call, "round", kind=kind) for dtype, worker in workers.items()}
                found = alternate(calls, options.rounds)
                right = oracle(case, kind)
                errors = [deviation(worker.call("answer", kind=kind), right) for worker in workers.values()]
                ratio = found["float32"].median / found["float64"].median
                what = f"({case.label}) {kind}"
                rows.append((what, *(found[dtype] for dtype in DTYPES), f"{ratio:.2f}", *errors))
                if kind != "forward":
                    asked.append(at_least(f"{what}: float64's speed over float32's", ratio, GOALS.float64, "{:.2f}"))
    head = ("case", "float32, s", "float64, s", "speed ratio", "float32 error", "float64 error")
    parts = [
        "## float64 beside float32",
        "Errors are those of the first section: median / worst over samples, against float64 NumPy.",
        table(head, rows),
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy"), options.threads),
    ]
    return "\n\n".join(parts)
