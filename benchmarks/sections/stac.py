"""The network shapes of finance's own inference benchmark: one sample's latency, and batches, beside other runtimes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.cases import GOALS, STAC, Case
from benchmarks.report import Options, at_least, at_most, goals, table, tell
from benchmarks.runner import deviation, oracle
from benchmarks.sections.shapes import tuned
from benchmarks.timing import Timing, alternate
from benchmarks.workers import Worker, WorkerError

NAMES = ("fastlrp", "ONNX Runtime", "OpenVINO", "torch")
KINDS = ("forward", "arras")
#: Samples that are compared with float64, and the seconds that one-sample calls of a kind and library may take.
CHECKED, LASTING = 64, 6.0

METHOD = """\
LSTM_A, LSTM_B and LSTM_C of STAC-ML Markets (Inference), by the shapes of their public files
([UlyssesModel/STAC-ML-Markets-Inference-Models](https://github.com/UlyssesModel/STAC-ML-Markets-Inference-Models):
160,901, 1,002,601 and 30,017,001 parameters), with weights as Keras draws them, float32 throughout. These are no STAC
results: neither its harness nor its weights nor its auditors were there. One sample: microseconds of a warm call on one
thread with X in memory, p50 and p99 of as many calls as fit into {lasting:g} s, 1,000 at most; the fewest were
{fewest}. "Explain" is forward plus arras, totals and checks included. Batches: samples a second on {threads} threads,
median of {rounds} rounds that alternate; runtimes get their best chunks, cut beforehand, and the best of their own
threads and Python's. Errors as in the first section, of {checked} samples: median / worst.
ONNX Runtime and OpenVINO run the same ONNX graph, written by `benchmarks/peers/onnx_graph.py`."""

PUBLISHED = """\
As published, for the scale of it: the audited 99th percentile in STAC's report
[MRTL221125](https://stacresearch.com/news/MRTL221125) of 14 December 2022 (suite Sumaco, in which each window is new,
with 1 to 4 instances of a model) is 24.0 to 24.1 us for LSTM_A, 64.8 us for LSTM_B and 1.35 ms for LSTM_C, on an FPGA:
Myrtle.ai's VOLLO SDK 0.1.0 on 4 x BittWare IA-840f cards (Intel Agilex AGF027) in a BittWare TeraBox 1402B server. It
predicts and does not explain."""
AUDITED = {"LSTM_A": "24.0", "LSTM_B": "64.8", "LSTM_C": "1,350"}


def lasting(options: Options) -> float:
    """The seconds for one-sample calls of a kind and library."""
    return LASTING / 10 if options.quick else LASTING


class Measured(NamedTuple):
    """All results for one model."""

    single: dict[tuple[str, str], tuple[float, float, int]]  # p50 and p99 in us, calls
    batch: dict[tuple[str, str], Timing]
    errors: dict[tuple[str, str], str]
    absent: dict[str, str]


def single(case: Case, names: tuple[str, ...], most: float, found: Measured) -> None:
    """One sample at a time, on one thread, library by library, ``most`` seconds each."""
    for name in names:
        try:
            with Worker("benchmarks.runner:PeerRunner", 1, peer=name, case=case.scaled(1), threads=1) as worker:
                for kind in worker.call("kinds"):
                    about = float(np.median(worker.call("once", kind=kind, repeats=3)))
                    taken = worker.call("once", kind=kind, repeats=max(10, min(1000, int(most / about))))
                    p50, p99 = 1e6 * np.quantile(taken, (0.5, 0.99))
                    found.single[name, kind] = float(p50), float(p99), len(taken)
        except WorkerError as error:
            found.absent[name] = str(error)


def batches(case: Case, names: tuple[str, ...], options: Options, found: Measured) -> None:
    """Whole batches, on all threads, in rounds that alternate; and the errors."""
    with ExitStack() as stack:
        workers, ways = dict[str, Worker](), dict[tuple[str, tuple[str, str]], str]()
        for name in (name for name in names if name not in found.absent):
            args = {"peer": name, "case": case, "threads": options.threads}
            try:
                worker = stack.enter_context(Worker("benchmarks.runner:PeerRunner", options.threads, **args))
                ways |= tuned(worker, name)
                workers[name] = worker
            except WorkerError as error:
                found.absent[name] = str(error)
        calls = {
            (kind, way): partial(workers[way[0]].call, "round", kind=kind, threaded=way[1])
            for kind, way in sorted(ways, key=lambda key: KINDS.index(key[0]))
        }
        times = alternate(calls, options.rounds)
        for kind, (name, threaded) in times:
            best = found.batch.get((name, kind))
            if best is None or times[kind, (name, threaded)].median < best.median:
                found.batch[name, kind] = times[kind, (name, threaded)]
        wanted = {kind: oracle(case, kind, CHECKED) for kind in KINDS}
        for name, kind in found.batch:
            got = workers[name].call("answer", kind=kind, samples=CHECKED)
            found.errors[name, kind] = str(deviation(got, wanted[kind]))


def measure(case: Case, options: Options, names: tuple[str, ...] = NAMES) -> Measured:
    found = Measured({}, {}, {}, {})
    single(case, names, lasting(options), found)
    batches(case, names, options, found)
    return found


def results_table(case: Case, found: Measured, audited: str) -> str:
    rows = []
    for name, kind in (key for key in found.single if key in found.batch):
        p50, p99, _ = found.single[name, kind]
        batch, error = found.batch[name, kind], found.errors[name, kind]
        label = f"{name}, {'predict' if kind == 'forward' else 'explain'}"
        speed = f"{case.samples / batch.median:,.0f} ±{100 * batch.spread:.0f} %"
        rows.append((label, f"{p50:,.1f}", f"{p99:,.1f}", speed, error))
    rows.append(("FPGA, predict, as published", "", audited, "", ""))
    return table(("library and call", "one sample: p50, us", "p99, us", "batch: samples a second", "error"), rows)


def goal_rows(model: str, found: Measured, k: int) -> list[tuple[str, str, str, str]]:
    """Explaining beside ONNX Runtime's predictions, where a goal is set and both were measured."""
    mine, theirs, rows = ("fastlrp", "arras"), ("ONNX Runtime", "forward"), []
    if not {mine, theirs} <= found.batch.keys():
        return rows
    if goal := GOALS.stac_over_onnx_batch[k]:
        ratio = found.batch[theirs].median / found.batch[mine].median
        rows.append(at_least(f"{model}: explained a second over ONNX Runtime's predicted a second", ratio, goal))
    if goal := GOALS.stac_over_onnx_single[k]:
        ratio = found.single[mine][0] / found.single[theirs][0]
        rows.append(at_most(f"{model}: explaining one sample over ONNX Runtime's predicting it", ratio, goal))
    return rows


def run(options: Options) -> str:
    parts, asked, absent, fewest = [], list[tuple[str, str, str, str]](), dict[str, str](), 1000
    for k, (model, shape) in enumerate(STAC.items()):
        tell(model)
        case = shape.scaled(options.samples(shape.samples))
        found = measure(case, options)
        absent |= found.absent
        fewest = min(fewest, *(calls for *_, calls in found.single.values()))
        what = f"{case.steps} steps x {case.features} features, {case.layers} x LSTM({case.units}), Dense(1)"
        parts += [f"### {model}: {what}; batches of {case.samples:,}", results_table(case, found, AUDITED[model])]
        asked += goal_rows(model, found, k)
    said = METHOD.format(
        lasting=lasting(options), fewest=fewest, threads=options.threads, rounds=options.rounds, checked=CHECKED
    )
    parts = ["## The shapes of STAC-ML Markets (Inference)", said, *parts, PUBLISHED]
    parts += [goals(asked)] if asked else []
    parts += [f"Not measured: {name}: {why}" for name, why in absent.items()]
    parts.append(machine.describe(("fastlrp", "Numba", "NumPy", "ONNX Runtime", "OpenVINO", "torch"), options.threads))
    return "\n\n".join(parts)
