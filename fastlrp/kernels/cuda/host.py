"""Batches of any size through the GPU: chunk after chunk, copied in, computed and copied out at the same time.

Each of a few slots has a stream, buffers on the GPU and page-locked buffers beside them, which alone are copied while
something else runs. A chunk's results are fetched from its slot when the slot's turn comes again. Arrays that live on
the GPU already are neither cut nor copied.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, get_num_threads

from fastlrp.kernels import Results, Windows
from fastlrp.kernels.cuda.device import Card, Launch, current_card, lay_out, start
from fastlrp.kernels.cuda.kernel import JOB, JOB_FIELDS
from fastlrp.kernels.cuda.product import QUADS
from fastlrp.kernels.plan import Array, Plan, rule_kind, rule_numbers
from fastlrp.kernels.program import make_plan
from fastlrp.network import Aggregate, Network
from fastlrp.rules import Rule

#: Bytes of X and results of a chunk: long enough that a copy runs at full speed, short enough that there are several.
CHUNK_BYTES = 64 << 20
SLOTS = 3


@dataclass(frozen=True)
class _Cut:
    """Which windows there are, and what of X a run of them needs.

    ``starts``: the row in which each window starts, where windows do not share months; None: they follow one another.
    """

    n: int
    steps: int
    windows: Windows
    starts: Array | None
    shared: bool

    def rows(self, first: int, last: int) -> tuple[int, int]:
        """The rows of X that windows ``first`` to ``last - 1`` need."""
        if self.shared:
            return max(0, first - (self.steps - 1)), last
        if self.starts is None:
            return first * self.steps, last * self.steps
        return int(self.starts[first]), int(self.starts[last - 1]) + self.steps

    def places(self, first: int, last: int) -> Array | slice:
        """Where results of windows ``first`` to ``last - 1`` belong."""
        order = self.windows.order
        if self.starts is not None:
            ends = self.starts[first:last] + (self.steps - 1)
            return ends if order is None else order[ends]
        return slice(first, last) if order is None else order[first:last]


def _cut(windows: Windows, steps: int, card: Card) -> _Cut:
    if windows.ends is None:
        return _Cut(windows.rows.shape[0] // steps, steps, windows, None, shared=False)
    # Where most rows end a window, windows share x_t W; in a panel of short histories each is loaded for itself.
    n = windows.ends.size
    if steps > 1 and n >= max(card.lanes) and 2 * int(np.count_nonzero(windows.ends)) >= n:
        return _Cut(n, steps, windows, None, shared=True)
    starts = np.flatnonzero(windows.ends) - (steps - 1)
    return _Cut(starts.size, steps, windows, starts, shared=False)


def run(
    net: Network,
    windows: Windows,
    steps: int,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Results:
    """Predict every window, and explain it if there is a rule.

    ``threads`` copy between users' arrays and page-locked buffers. Where ``windows.rows`` is on the GPU, results are
    too. ``advance`` is called with the number of samples done since its last call.

    Raises
    ------
    FloatingPointError
        If a value of X is infinite; where is for the caller to find out.
    MemoryError
        If the GPU's memory does not hold the smallest chunk, or results that are to stay there.
    RuntimeError
        If the GPU fails.
    """
    with _failures():
        card = current_card()
        cut = _cut(windows, steps, card)
        plan = make_plan(net, steps, windows.rows.dtype, rule=rule_kind(rule), aggregate=aggregate, reduced=reduced,
                         shared=cut.shared, layout=QUADS)  # fmt: skip
        launch = lay_out(plan, card, shared=cut.shared)
        if not isinstance(windows.rows, np.ndarray):
            return _run_resident(plan, launch, cut, rule, target, advance)
        return _run_chunks(plan, launch, cut, rule, target, get_num_threads() if threads is None else threads, advance)


@contextmanager
def _failures() -> Iterator[None]:
    """What Numba and the driver raise, as one exception of Python's own."""
    try:
        yield
    except (FloatingPointError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("numba", "numba_cuda", "cuda"):
            said = str(error).strip().splitlines()
            raise RuntimeError(f"the GPU failed: {said[0] if said else type(error).__name__}") from error
        raise


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "OUT_OF_MEMORY" in str(error)


class _Program:
    """What all chunks share on the GPU: instructions, weights, and room for the rows of every block's tile."""

    def __init__(self, plan: Plan, launch: Launch, cut: _Cut, rule: Rule | None, target: int) -> None:
        self.plan, self.launch, self.cut, self.target = plan, launch, cut, target
        dtype = plan.weights.dtype
        numbers = rule_numbers(rule)
        self.rule = cuda.to_device(np.array([numbers.get(name, 0.0) for name in ("eps", "handed", "delta")], dtype))
        programs = plan.before, plan.forward, plan.relevance
        self.sizes = {f"n_{name}": p.size for name, p in zip(("before", "forward", "relevance"), programs, strict=True)}
        # an empty array has no address on the GPU: kernels are told the sizes
        self.programs = [cuda.to_device(program if program.size else plan.forward[:1]) for program in programs]
        self.weights = cuda.to_device(plan.weights)
        self.scratch = cuda.device_array(max(1, launch.blocks * launch.tile_size if launch.scratch else 1), dtype)

    def job(self, n: int, n_rows: int, skip: int) -> Array:
        """All the numbers of a chunk of n windows, the first of which ends ``skip`` rows into its part of X."""
        plan, launch = self.plan, self.launch
        given = {"n": n, "n_rows": n_rows, "lanes": launch.lanes, "months": launch.months, "skip": skip,
                 "tile_size": launch.tile_size, "target": self.target, "given_starts": self.cut.starts is not None,
                 **self.sizes}  # fmt: skip
        job = np.zeros(1, JOB)
        job[0] = tuple([given[name] if name in given else getattr(plan, name) for name in JOB_FIELDS])
        return job

    def start(self, job: Any, X: Any, starts: Any, ends: Any, results: Any, flag: Any, stream: Any) -> None:
        """Launch the kernel; arguments as ``kernel.py`` has them."""
        arguments = job, self.rule, *self.programs, self.weights, X, starts, ends, self.scratch, *results, flag
        start(self.launch, arguments, stream)


def _shapes(plan: Plan, n: int) -> list[tuple[int, ...]]:
    """Shapes of the results of n windows, in the order of ``Results``."""
    values = (plan.n_features,) if plan.reduced else (plan.steps, plan.n_features)
    explained = n if plan.explains else 0
    return [(explained, *values), (n, plan.n_outputs), (explained,), (explained,), (explained,)]


# ---- X on the host --------------------------------------------------------------------------------------------------


class _Pair:
    """An array on the GPU and its page-locked twin on the host."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.device = cuda.device_array(max(size, 1), dtype)
        self.host = cuda.pinned_array(max(size, 1), dtype)

    def send(self, n: int, stream: Any) -> None:
        self.device[:n].copy_to_device(self.host[:n], stream=stream)

    def fetch(self, n: int, stream: Any) -> None:
        self.device[:n].copy_to_host(self.host[:n], stream=stream)


class _Slot:
    """Buffers for one chunk, and the stream that works on it."""

    def __init__(self, program: _Program, chunk: int, n_rows: int) -> None:
        plan, cut = program.plan, program.cut
        dtype = plan.weights.dtype
        self.program, self.stream = program, cuda.stream()
        self.X = _Pair(n_rows * plan.n_features, dtype)
        self.starts = _Pair(0 if cut.starts is None else chunk, np.int64)
        self.ends = _Pair(chunk if cut.shared else 0, np.bool_)
        self.job, self.flag = _Pair(1, JOB), _Pair(1, np.int64)
        self.results = [_Pair(math.prod(shape), dtype) for shape in _shapes(plan, chunk)]
        self.chunk: tuple[int, int] | None = None

    def begin(self, first: int, last: int, copy: Callable[..., None]) -> None:
        """Send a chunk, compute it and send its results back; all of it happens later, in the stream."""
        plan, cut = self.program.plan, self.program.cut
        low, high = cut.rows(first, last)
        n, rows, D = last - first, high - low, plan.n_features
        order, X = cut.windows.order, cut.windows.rows
        of = slice(low, high) if order is None else order[low:high]
        copy(self.X.host[: rows * D].reshape(rows, D), X, of, slice(0, rows), rows)
        self.X.send(rows * D, self.stream)
        if cut.starts is not None:
            self.starts.host[:n] = cut.starts[first:last] - low
            self.starts.send(n, self.stream)
        if cut.shared:
            assert cut.windows.ends is not None
            self.ends.host[:n] = cut.windows.ends[first:last]
            self.ends.send(n, self.stream)
        self.job.host[:] = self.program.job(n, rows, first - low)
        self.flag.host[:] = 0
        self.job.send(1, self.stream)
        self.flag.send(1, self.stream)
        results = [pair.device for pair in self.results]
        self.program.start(self.job.device, self.X.device, self.starts.device, self.ends.device, results,
                           self.flag.device, self.stream)  # fmt: skip
        for pair, shape in zip(self.results, _shapes(plan, n), strict=True):
            if math.prod(shape):
                pair.fetch(math.prod(shape), self.stream)
        self.flag.fetch(1, self.stream)
        self.chunk = first, last

    def finish(self, results: Results, copy: Callable[..., None]) -> int:
        """Wait for the slot's chunk and hand out its results; the number of its windows."""
        if self.chunk is None:
            return 0
        first, last = self.chunk
        self.chunk = None
        self.stream.synchronize()
        if self.flag.host[0]:
            raise FloatingPointError("infinite value")
        places = self.program.cut.places(first, last)
        for pair, shape, into in zip(self.results, _shapes(self.program.plan, last - first), results, strict=True):
            if math.prod(shape):
                copy(into, pair.host[: math.prod(shape)].reshape(shape), slice(0, last - first), places, last - first)
        return last - first


_Rows = Array | slice


def _copier(pool: ThreadPoolExecutor | None, threads: int) -> Callable[..., None]:
    """A copy of rows, ``into[places] = source[of]``, by several threads where there is much to copy."""

    def part(into: Array, source: Array, of: _Rows, places: _Rows) -> None:
        if isinstance(of, slice):
            into[places] = source[of]
        else:
            np.take(source, of, axis=0, out=into[places], mode="clip")  # "raise" would copy twice; all rows are X's

    def piece(which: _Rows, n: int, k: int) -> _Rows:
        start, stop = n * k // threads, n * (k + 1) // threads
        return slice(which.start + start, which.start + stop) if isinstance(which, slice) else which[start:stop]

    def copy(into: Array, source: Array, of: _Rows, places: _Rows, n: int) -> None:
        if pool is None or source.itemsize * math.prod(source.shape[1:]) * n < 1 << 20:
            part(into, source, of, places)
            return
        for done in [pool.submit(part, into, source, piece(of, n, k), piece(places, n, k)) for k in range(threads)]:
            done.result()

    return copy


def _chunk_of(plan: Plan, launch: Launch, cut: _Cut) -> int:
    """Windows of a chunk: whole tiles, as many as ``CHUNK_BYTES`` hold, or all."""
    n_values = plan.width if plan.explains else 0
    per_window = (
        plan.n_features * (1 if cut.shared else plan.steps) + n_values + plan.n_outputs + 3
    ) * plan.weights.itemsize
    tiles = max(1, CHUNK_BYTES // (per_window * launch.lanes))
    return min(-(-cut.n // launch.lanes), tiles) * launch.lanes


def _chunks(cut: _Cut, chunk: int, lanes: int) -> list[tuple[int, int]]:
    """First and last window of each chunk. Where windows share months a chunk has at least ``lanes`` of them, so the
    last may reach back into the one before, and finds the same bits."""
    chunks = [(first, min(first + chunk, cut.n)) for first in range(0, cut.n, chunk)]
    if cut.shared and chunks:
        first, last = chunks[-1]
        chunks[-1] = max(0, min(first, last - lanes)), last
    return chunks


def _make_slots(program: _Program, chunk: int) -> tuple[list[_Slot], list[tuple[int, int]]]:
    cut = program.cut
    chunks = _chunks(cut, chunk, program.launch.lanes)
    most_rows = max((high - low for low, high in itertools.starmap(cut.rows, chunks)), default=0)
    return [_Slot(program, chunk, most_rows) for _ in range(min(SLOTS, len(chunks)))], chunks


def _prepare(
    plan: Plan, launch: Launch, cut: _Cut, rule: Rule | None, target: int
) -> tuple[list[_Slot], list[tuple[int, int]]]:
    """Take all memory there is a need for; with smaller chunks, then fewer blocks, where the GPU has no room."""
    wanted = chunk = _chunk_of(plan, launch, cut)
    while True:
        try:
            program = _Program(plan, launch, cut, rule, target)
            slots, chunks = _make_slots(program, chunk)
            break
        except Exception as error:
            if not _out_of_memory(error):
                raise
        if chunk > launch.lanes:
            chunk = max(launch.lanes, chunk // 2 // launch.lanes * launch.lanes)
        elif launch.scratch and launch.blocks > 1:
            launch = launch._replace(blocks=launch.blocks // 2)
        else:
            size = (launch.tile_size * launch.scratch + plan.weights.size) * plan.weights.itemsize
            raise MemoryError(
                f"the GPU has no room for one tile of {launch.lanes} samples (about {size / 1e6:.0f} MB): free some of "
                "its memory, or compute with device='cpu'"
            )
    if chunk < wanted:
        warnings.warn(
            f"the GPU had no room for chunks of {wanted:,} samples: they are computed {chunk:,} at a time",
            RuntimeWarning,
            stacklevel=2,
        )
    return slots, chunks


def _run_chunks(
    plan: Plan,
    launch: Launch,
    cut: _Cut,
    rule: Rule | None,
    target: int,
    threads: int,
    advance: Callable[[int], object] | None,
) -> Results:
    n, dtype = cut.windows.n(cut.steps), plan.weights.dtype
    results = Results(*(np.empty(shape, dtype) for shape in _shapes(plan, n)))
    if cut.n < n:  # where no window ends
        for array in results:
            array.fill(np.nan)
    slots, chunks = _prepare(plan, launch, cut, rule, target)
    with ThreadPoolExecutor(threads) as pool:
        copy = _copier(pool if threads > 1 else None, threads)
        try:
            left = cut.n
            for chunk, slot in zip([*chunks, *[None] * len(slots)], itertools.cycle(slots), strict=False):
                done = min(left, slot.finish(results, copy))
                left -= done
                if done and advance is not None:
                    advance(done)
                if chunk is not None:
                    slot.begin(*chunk, copy)
        finally:
            for slot in slots:  # buffers must not go while the GPU still writes into them
                slot.stream.synchronize()
    return results


# ---- X on the GPU ---------------------------------------------------------------------------------------------------


def _run_resident(
    plan: Plan, launch: Launch, cut: _Cut, rule: Rule | None, target: int, advance: Callable[[int], object] | None
) -> Results:
    """All windows in one launch, with results on the GPU."""
    dtype = plan.weights.dtype
    shapes = _shapes(plan, cut.n)
    while True:
        try:
            program = _Program(plan, launch, cut, rule, target)
            flat = [cuda.device_array(max(1, math.prod(shape)), dtype) for shape in shapes]
            break
        except Exception as error:
            if not _out_of_memory(error):
                raise
        if not launch.scratch or launch.blocks == 1:
            size = sum(math.prod(shape) for shape in shapes) * dtype.itemsize
            raise MemoryError(
                f"the GPU has no room for the results of {cut.n:,} samples beside X ({size / 1e9:.2f} GB): explain "
                "fewer at a time, or sum over steps (reduce='steps')"
            )
        launch = launch._replace(blocks=launch.blocks // 2)
    flag, job = cuda.to_device(np.zeros(1, np.int64)), cuda.to_device(program.job(cut.n, cut.windows.rows.shape[0], 0))
    X = cut.windows.rows.reshape(-1)
    starts, ends = cuda.device_array(1, np.int64), cuda.device_array(1, np.bool_)
    program.start(job, X, starts, ends, flat, flag, 0)
    if flag.copy_to_host()[0]:  # waits for the kernel
        raise FloatingPointError("infinite value")
    if advance is not None:
        advance(cut.n)
    return Results(*(array[: math.prod(shape)].reshape(shape) for array, shape in zip(flat, shapes, strict=True)))
