"""The CPU backend: tiles of samples spread over threads, one compiled call a thread.

A tile of samples goes through forward pass and relevance in one go, in scratch that stays in cache: only X is read and
only results are written. Threads are plain Python threads that run compiled code without the interpreter lock: there is
no threading layer to choose, and they are safe after ``fork`` and when several Python threads explain at once.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import get_num_threads

from fastlrp.kernels import memory
from fastlrp.kernels.cpu.few_host import few_of
from fastlrp.kernels.cpu.months import LONGEST, extra_lanes, segment_size, segments
from fastlrp.kernels.cpu.tile import has_rare
from fastlrp.kernels.cpu.tiles import JOB, PLAN_FIELDS, run_tiles
from fastlrp.kernels.helpers import together
from fastlrp.kernels.machine import LARGE_TILE, TILE_BYTES, fewest_lanes
from fastlrp.kernels.memory import read_only
from fastlrp.kernels.program.inference import Plan, make_plan
from fastlrp.kernels.program.instructions import ACTIVATE, CELL, MULTIPLY, PRODUCT, Array
from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.results import Results
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows, runs
from fastlrp.rules import Aggregate, Rule

#: Most spans that a thread takes at once: progress is shown, and an interruption noticed, in between.
MOST_SPANS = 64
#: Fewest spans of a panel's windows that each thread should get, so that all end together.
SPANS_A_THREAD = 32
#: Rows without a window that a thread fills with NaN at once.
MISSING_ROWS = 1024


class Cut(NamedTuple):
    """The cut of windows into spans that share months, and of spans into tiles; and the arrays that tiles read."""

    n: int
    span: int
    lanes: int
    months: int
    data: tuple[Array, Array, Array, Array, Array]
    strides: tuple[int, int]


_NO_ROWS, _NO_ENDS = read_only(np.empty(0, np.int64)), read_only(np.empty(0, np.bool_))


def _cut(windows: Windows, steps: int, threads: int) -> Cut:
    rows = windows.rows
    if rows.flags.f_contiguous and not rows.flags.c_contiguous:
        flat, strides = rows.T.reshape(-1), (1, rows.shape[0])
    else:
        flat, strides = np.ascontiguousarray(rows).reshape(-1), (rows.shape[1], 1)
    flat = read_only(flat)
    order = _NO_ROWS if windows.order is None else read_only(windows.order)
    into = _NO_ROWS if windows.ends is None else order
    if windows.places is not None:
        into = read_only(windows.places)
    lanes = TILE_BYTES // rows.itemsize
    if windows.ends is None:
        return Cut(rows.shape[0] // steps, lanes, lanes, 0, (flat, _NO_ROWS, order, _NO_ENDS, into), strides)
    # Windows share x_t W where most of a segment's lanes have one. In a panel of short histories the other lanes would
    # cost more than sharing saves: there each window is loaded by itself.
    n = int(np.count_nonzero(windows.ends))
    if steps > 1 and n >= lanes:
        begin, stop = runs(windows.ends)
    if steps > 1 and n >= lanes and begin.size * lanes <= 2 * n * LANES:  # else too many lanes, whatever their size
        most = n // (LANES * SPANS_A_THREAD * threads) if threads > 1 else LONGEST
        size = segment_size(stop - begin, lanes // LANES, most)
        first = segments(begin, stop, size, windows.ends.size)
        if first.size * size <= 2 * n:
            data = (flat, read_only(first), order, read_only(windows.ends), into)
            return Cut(first.size * size, size * LANES, lanes, extra_lanes(steps), data, strides)
    starts = windows.starts(steps)
    return Cut(starts.size, lanes, lanes, 0, (flat, read_only(starts), order, _NO_ENDS, into), strides)


@memory.with_room
def run(
    net: Chain,
    windows: Windows,
    steps: int,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    at_step: int | None = None,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Results:
    """Predict every window, and explain it if there is a rule: of a network that predicts at every step, the step
    ``at_step``, 0 to T - 1.

    ``advance`` is called from the calling thread with the number of results done since its last call.

    Raises
    ------
    FloatingPointError
        If a value of X is infinite; the caller finds out where.
    """
    few = few_of(net, windows, steps, rule, aggregate, reduced=reduced, at_step=at_step)
    if few is not None:
        results = few.run(windows.rows, target + (at_step or 0) * net.n_outputs)
        if advance is not None:
            advance(len(results.prediction))
        return results
    threads = threads_of(threads)
    windows = windows if windows.places is None else windows._replace(places=None)
    plan, cut = _prepared(net, windows, steps, threads, rule, aggregate, reduced=reduced, at_step=at_step)
    return _run_plan(plan, windows, cut, rule, target + (at_step or 0) * net.n_outputs, threads, advance)


@memory.with_room
def run_into(
    results: Results,
    net: Chain,
    windows: Windows,
    steps: int,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    threads: int | None = None,
    kept: bool = False,
) -> None:
    """Do what :func:`run` does for a part of a whole, and write each result to its window's place in ``results``;
    other rows stay as they are."""
    threads = threads_of(threads)
    plan, cut = _prepared(net, windows, steps, threads, rule, aggregate, reduced=reduced, kept=kept)
    _run_plan(plan, windows, cut, rule, target, threads, None, results)


def threads_of(threads: int | None) -> int:
    """The number of threads that None stands for."""
    return get_num_threads() if threads is None else threads


def run_tasks(
    tasks: Sequence[Callable[[], int]],
    threads: int,
    advance: Callable[[int], object] | None = None,
    stop: Callable[[], object] | None = None,
) -> None:
    """Run tasks side by side, each of which returns the number of its results, for ``advance``. Once one fails or the
    user interrupts, no other begins, and ``stop`` asks those that run to end."""
    stopped = threading.Event()

    def halt() -> None:
        stopped.set()
        if stop is not None:
            stop()

    def work(turns: Iterator[int], report: Callable[[int], object] | None) -> None:
        for turn in turns:
            if turn >= len(tasks) or stopped.is_set():
                return
            done = tasks[turn]()
            if report is not None:
                report(done)

    _spread(work, min(threads, len(tasks)), advance, halt)


def _prepared(
    net: Chain,
    windows: Windows,
    steps: int,
    threads: int,
    rule: Rule | None,
    aggregate: Aggregate = "sequence",
    *,
    reduced: bool,
    kept: bool = True,
    at_step: int | None = None,
) -> tuple[Plan, Cut]:
    """The plan, and how windows are cut for it."""
    cut = _cut(windows, steps, threads)
    plan = make_plan(net, steps, windows.rows.dtype, rule=rule, aggregate=aggregate, reduced=reduced,
                     shared=cut.months > 0, kept=kept, at_step=at_step)  # fmt: skip
    return plan, _fitted(cut, plan)


def _fitted(cut: Cut, plan: Plan) -> Cut:
    """Give a network whose tile is large fewer lanes; as many windows share months as before."""
    lanes, itemsize = cut.lanes, plan.weights.itemsize
    fewest = fewest_lanes(itemsize, plan.weights.nbytes)
    while lanes > fewest and plan.rows * lanes * itemsize > LARGE_TILE:
        lanes //= 2
    return cut._replace(lanes=lanes, span=cut.span if cut.months else lanes)


def profile(
    net: Chain,
    windows: Windows,
    steps: int,
    *,
    rule: Rule,
    reduced: bool = False,
    threads: int | None = None,
    repeats: int = 5,
) -> dict[str, float]:
    """Where the time of an explanation goes: seconds (median) of its parts, each run alone, and of the whole.

    "moving data" is the time that empty programs take: X into tiles and results out of them. "rules" is all that is
    neither product nor activation, which includes some sums of a cell with unusual activations.
    """
    threads = threads_of(threads)
    plan, cut = _prepared(net, windows, steps, threads, rule, reduced=reduced)

    def seconds(*kinds: int, invert: bool = False) -> float:
        parts = {
            name: part[np.isin(part["kind"], kinds, invert=invert)]
            for name in ("before", "start", "forward", "relevance", "end")
            for part in [getattr(plan, name)]
        }
        # a plan with an empty relevance program still explains: it stores rows
        some = replace(plan, **parts, explains=True)
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            _run_plan(some, windows, cut, rule, 0, threads, None)
            times.append(time.perf_counter() - start)
        return float(np.median(times[1:]))

    moving = seconds()
    return {
        "matrix products": seconds(PRODUCT) - moving,
        "activations and cell": seconds(CELL, ACTIVATE, MULTIPLY) - moving,
        "rules": seconds(PRODUCT, CELL, ACTIVATE, MULTIPLY, invert=True) - moving,
        "moving data": moving,
        "whole": seconds(invert=True),
    }


def _run_plan(
    plan: Plan,
    windows: Windows,
    cut: Cut,
    rule: Rule | None,
    target: int,
    threads: int,
    advance: Callable[[int], object] | None,
    given: Results | None = None,
) -> Results:
    results = _allocate(plan, windows) if given is None else given
    jobs = _job(plan, cut, rule, target, own_rows=windows.ends is not None)
    month_lanes = cut.span + cut.months if cut.months else 0
    lanes = min(cut.lanes, -(-cut.n // LANES) * LANES)
    size = plan.rows * lanes + (plan.month_rows + 1) * month_lanes
    n_spans, total = -(-cut.n // cut.span), windows.n(plan.steps)
    threads = min(threads, n_spans)
    chunks = _chunks(n_spans, threads, MOST_SPANS // max(1, len(plan.nodes)))
    missing = _missing(windows) if given is None else _NO_ROWS
    pieces = range(0, missing.size, MISSING_ROWS)
    status = np.zeros(1, np.int64)
    programs = (plan.before, plan.start, plan.forward, plan.relevance, plan.end)
    more = _numbers_of(plan)[1]
    nodes, outputs = plan.nodes.reshape(-1), tuple([array.reshape(-1) for array in results])

    def work(turns: Iterator[int], report: Callable[[int], object] | None) -> None:
        scratch, places = memory.scratch(size, plan.weights.dtype), np.empty(max(lanes, month_lanes), np.int64)
        for turn in turns:
            if turn < len(pieces):
                rows = missing[pieces[turn] : pieces[turn] + MISSING_ROWS]
                for array in results:
                    if array.size:
                        array[rows] = np.nan
                continue
            if turn >= len(pieces) + len(chunks):
                return
            first, last = chunks[turn - len(pieces)]
            run_tiles(jobs, programs, nodes, plan.weights, cut.data, first, last, scratch, places, outputs, status,
                      more)  # fmt: skip
            if report is not None:
                report(total * last // n_spans - total * first // n_spans)

    def stop() -> None:
        status[0] = 1

    _spread(work, threads, advance, stop)
    if status[0]:
        raise FloatingPointError("infinite value")
    return results


def _numbers_of(plan: Plan) -> tuple[tuple[int, ...], bool | None]:
    """The plan's part of a job, and True if it has rare instructions, else None. Made once: it is most of the cost of
    one sample in Python."""
    if plan not in _NUMBERS:
        programs = (plan.before, plan.start, plan.forward, plan.relevance, plan.end)
        numbers = tuple([int(getattr(plan, name)) for name in PLAN_FIELDS])
        _NUMBERS[plan] = numbers, True if any(has_rare(program) for program in programs) else None
    return _NUMBERS[plan]


_NUMBERS: WeakKeyDictionary[Plan, tuple[tuple[int, ...], bool | None]] = WeakKeyDictionary()


def _job(plan: Plan, cut: Cut, rule: Rule | None, target: int, *, own_rows: bool) -> Array:
    """All the kernel's numbers, as one record."""
    numbers = (0.0, 0.0, 0.0) if rule is None else rule.numbers
    job = (cut.n, cut.span, cut.lanes, cut.months, *cut.strides, own_rows, *_numbers_of(plan)[0], target, *numbers)
    return np.array([job], JOB)


def _chunks(n_spans: int, threads: int, most: int) -> list[tuple[int, int]]:
    """Chunks of spans, first to last, that a thread takes at once: smaller and smaller, so that all threads end
    together.

    With chunks of equal size the last one kept one thread waiting for up to a sixteenth of all time.
    """
    chunks, first = [], 0
    while first < n_spans:
        last = first + max(1, min(most, (n_spans - first) // (4 * threads)))
        chunks.append((first, last))
        first = last
    return chunks


def _spread(
    work: Callable[..., None],
    threads: int,
    advance: Callable[[int], object] | None,
    stop: Callable[[], None],
) -> None:
    """Run ``work`` on this and ``threads - 1`` more threads, which take turns by one counter.

    ``stop`` makes all of them return soon; it is called where one fails or the user interrupts.
    """
    turns = itertools.count()
    if threads <= 1:
        work(turns, advance)
        return
    done: list[int] = []

    def report(count: int) -> None:
        assert advance is not None
        while done:
            count += done.pop()
        advance(count)

    helper = partial(work, turns, done.append if advance else None)
    together([helper] * (threads - 1), lambda _: work(turns, report if advance else None), stop)
    if advance and done:
        report(0)


def _missing(windows: Windows) -> Array:
    """Rows of a panel where no window ends: kernels never see them."""
    if windows.ends is None:
        return _NO_ROWS
    rows = np.flatnonzero(~windows.ends)
    rows = rows if windows.order is None else windows.order[rows]
    return rows if windows.wanted is None else rows[rows < windows.wanted]


def _allocate(plan: Plan, windows: Windows) -> Results:
    """Arrays for the results, uninitialised."""
    n, dtype = windows.n(plan.steps) if windows.wanted is None else windows.wanted, plan.weights.dtype
    if not plan.explains:
        nothing = [np.empty(0, dtype) for _ in range(3)]
        return Results(np.empty((0, *plan.shape), dtype), memory.results(n, plan.n_outputs, dtype=dtype), *nothing)
    totals = [memory.results(n, dtype=dtype) for _ in range(3)]
    values = memory.results(n, *plan.shape, dtype=dtype)
    return Results(values, memory.results(n, plan.n_outputs, dtype=dtype), *totals)
