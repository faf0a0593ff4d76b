"""fastlrp against its peers at the four shapes: forward alone, and forward plus relevance with both rules."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from benchmarks import machine, peers
from benchmarks.cases import GOALS, KINDS, RULES, SHAPES, Case
from benchmarks.report import Options, at_least, at_most, goals, table, tell
from benchmarks.runner import deviation, oracle
from benchmarks.timing import Timing, alternate
from benchmarks.workers import Worker, WorkerError

HEAD = (
    "library",
    "forward, s",
    "arras, s",
    "rudder, s",
    "error forward",
    "error arras",
    "error rudder",
    "samples a chunk",
)
METHOD = """\
Network LSTM(H) + Dense(1), float32 throughout (no reduced precision anywhere), seconds for the whole batch: median of
{rounds} rounds and half the distance between quartiles. "arras" and "rudder" are forward plus relevance. Each library
lives in its own process with the same {threads} threads and cores and meets the same inputs; rounds alternate (A B C
A B C), and a process is stopped while it is not its turn, so that no thread pool disturbs another. Peers get their best
chunk size of up to nine, searched before and for each column, inputs where they want them, and need not join their
chunks; fastlrp gets one call for everything, its checks and totals included. A row "Python threads" has chunks worked
on by {threads} Python threads with the library itself at one thread, where a user goes to that length. Errors are each
sample's largest difference from float64 NumPy over its largest relevance (for forward, over the largest prediction):
median / worst of the first 512 samples. torch runs eagerly (no torch.compile); its forward is nn.LSTM's own."""

PHYSIOEX = (
    "its rule puts the stabiliser at other places and hands none of the stabiliser's share down, so most of its error "
    "is the rule's and not rounding; it has no rudder, and its forward is torch's."
)

RUNTIMES = "ONNX Runtime and OpenVINO run an ONNX graph, which only predicts."
MEASURED = ("fastlrp", "Numba", "NumPy", "torch", "JAX", "jaxlib", "physioex", "ONNX Runtime", "OpenVINO")

Way = tuple[str, str]  # a peer, and what runs its threads


class Measured(NamedTuple):
    """All results for one shape."""

    times: dict[tuple[str, Way], Timing]
    chunks: dict[tuple[str, Way], str]
    errors: dict[tuple[str, str], str]
    absent: dict[str, str]

    def best(self, kind: str, *, threaded: str | None = None, only: str | None = None) -> tuple[float, Way]:
        """The fastest peer's median."""
        fits = {
            way: timing.median
            for (what, way), timing in self.times.items()
            if what == kind and way[0] != "fastlrp" and threaded in (None, way[1]) and only in (None, way[0])
        }
        if not fits:
            return float("nan"), ("no peer", "")
        way = min(fits, key=lambda way: fits[way])
        return fits[way], way


def tuned(worker: Worker, name: str) -> dict[tuple[str, Way], str]:
    """The best cut for every kind and way of threading, in words."""
    found = {}
    for kind in worker.call("kinds"):
        for threaded in ("library", "python"):
            chunk = worker.call("tune", kind=kind, threaded=threaded)
            if chunk is not None:
                found[kind, (name, threaded)] = chunk
    return found


def measure(case: Case, options: Options, names: tuple[str, ...] = peers.NAMES) -> Measured:
    """Tune every peer, alternate their rounds, compare them with float64."""
    found = Measured({}, {}, {}, {})
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name in names:
            tell(f"({case.label}): preparing {name}")
            args = {"peer": name, "case": case, "threads": options.threads}
            try:
                worker = stack.enter_context(Worker("benchmarks.runner:PeerRunner", options.threads, **args))
                found.chunks.update(tuned(worker, name))
                workers[name] = worker
            except WorkerError as error:
                found.absent[name] = str(error)
        calls = {
            (kind, (name, threaded)): partial(workers[name].call, "round", kind=kind, threaded=threaded)
            for kind, (name, threaded) in sorted(found.chunks, key=lambda key: KINDS.index(key[0]))
        }
        tell(f"({case.label}): {options.rounds} rounds of {len(calls)}")
        found.times.update(alternate(calls, options.rounds))
        for name, worker in workers.items():
            for kind in worker.call("kinds"):
                found.errors[name, kind] = str(deviation(worker.call("answer", kind=kind), oracle(case, kind)))
    return found


def results_table(found: Measured) -> str:
    """A row for each library and way of threading."""
    ways = list(dict.fromkeys(way for _, way in found.times))
    rows = []
    for way in sorted(ways, key=lambda way: (way[1] != "library", peers.NAMES.index(way[0]))):
        times = [str(found.times.get((kind, way), "")) for kind in KINDS]
        errors = [found.errors.get((way[0], kind), "") for kind in KINDS]
        cut = " / ".join(found.chunks.get((kind, way), "-") for kind in KINDS)
        label = way[0] if way[1] == "library" else f"{way[0]}, Python threads"
        rows.append((label, *times, *errors, "all" if way[0] == "fastlrp" else cut))
    return table(HEAD, rows)


def goal_rows(found: Measured, shape: int) -> list[tuple[str, str, str, str]]:
    """Ratios of medians, beside their goals."""
    mine = {kind: found.times[kind, ("fastlrp", "library")].median for kind in KINDS}
    rows = []
    for rule in RULES:
        peer, way = found.best(rule, threaded="library")
        what = f"{rule}: times faster than the best peer's forward plus relevance ({way[0]})"
        rows.append(at_least(what, peer / mine[rule], GOALS.over_best_peer[shape]))
    if ("forward", ("torch", "library")) in found.times:
        torch, _ = found.best("forward", threaded="library", only="torch")
        for rule in RULES:
            what = f"{rule}: time over torch's forward alone"
            rows.append(at_most(what, mine[rule] / torch, GOALS.over_torch_forward))
        rows.append(at_least("forward: times faster than torch's", torch / mine["forward"], GOALS.forward_over_torch))
    return rows


def by_hand(found: Measured) -> str:
    """The same ratios against the best of all ways, those with Python threads included; they have no goals."""
    mine = {kind: found.times[kind, ("fastlrp", "library")].median for kind in KINDS}
    words = []
    for kind in KINDS:
        peer, (name, threaded) = found.best(kind)
        words.append(f"{kind} {peer / mine[kind]:.2f}x ({name}{', Python threads' if threaded == 'python' else ''})")
    return "Against the best of all rows: " + ", ".join(words) + "."


def run(options: Options) -> str:
    parts = [
        "## Shapes: forward and relevance against peers",
        METHOD.format(rounds=options.rounds, threads=options.threads),
    ]
    absent: dict[str, str] = {}
    for k, shape in enumerate(SHAPES):
        case = shape.scaled(options.samples(shape.samples))
        found = measure(case, options)
        absent |= found.absent
        parts += [f"### Shape (T, D, H) = ({case.label}), {case.samples:,} samples", results_table(found)]
        if ("forward", ("fastlrp", "library")) in found.times:
            parts += [goals(goal_rows(found, k)), by_hand(found)]
    parts += [f"Not measured: {name}: {why}" for name, why in absent.items()]
    if "physioex" not in absent:
        parts.append(f"physioex: {PHYSIOEX}")
    if not {"ONNX Runtime", "OpenVINO"} <= set(absent):
        parts.append(RUNTIMES)
    parts.append(machine.describe(MEASURED, options.threads))
    return "\n\n".join(parts)
