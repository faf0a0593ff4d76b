"""The CPU backend: tiles of samples spread over threads, one compiled call a thread.

A tile of samples goes through forward pass and relevance in one go, in scratch that stays in cache: only X is read and
only results are written. Threads are plain Python threads that run compiled code without the interpreter lock: no
threading layer to choose, safe after ``fork`` and when several Python threads explain at once.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import get_num_threads, njit

from fastlrp.kernels import Results, Windows
from fastlrp.kernels.lanes import LANES, STORE, at, distinct, load, product, store
from fastlrp.kernels.plan import LSTM_OP, Array, Plan, make_plan
from fastlrp.kernels.tile import fill, forward, relevance
from fastlrp.rules import Arras, Rudder, Rule

#: Lanes of a tile: enough that calls and loop overhead vanish, few enough that the tile stays in the L2 cache.
TILE_LANES = 64
#: Windows of a panel that share months: a tile computes x_t W once for its months and T - 1 before them.
SHARED_LANES = 128

__all__ = ["make_plan", "run"]

_JOB = np.dtype(
    (
        np.record,
        [(name, np.int64) for name in (
            "n", "lanes", "months", "steps", "features", "row_stride", "column_stride", "shared_rows", "own_rows", "rows",
            "x", "rel_x", "output", "pre", "rel_top", "work", "widest", "outputs", "target", "explains", "width",
            "rudder", "recurrent",
        )]
        + [(name, np.float64) for name in ("eps", "handed", "delta")],
    )
)  # fmt: skip

_compiled = njit(error_model="numpy", nogil=True)


@_compiled
def _row_of(order, r):
    return order[r] if order.size else r


@_compiled
def _load_windows(job, X, starts, order, first, live, lanes, s, places):
    """X of a tile as rows (step, feature): each lane its own window. Lanes past the last sample repeat it."""
    T, D = job.steps, job.features
    whole = order.size == 0 and job.column_stride == 1 and job.row_stride == D
    for t in range(1 if whole else T):
        for k in range(lanes):
            sample = first + min(k, live - 1)
            start = starts[sample] if starts.size else sample * T
            places[k] = _row_of(order, start + t) * job.row_stride
        load(at(X, 0), places, job.column_stride, T * D if whole else D, at(s, (job.x + t * D) * lanes), lanes, lanes)


@_compiled
def _load_months(job, X, order, first, x, x_lanes, places):
    """The months of a tile of windows that end in rows ``first`` ...: rows of features, lanes are months."""
    for k in range(x_lanes):
        row = min(max(first - (job.steps - 1) + k, 0), job.n - 1)
        places[k] = _row_of(order, row) * job.row_stride
    load(at(X, 0), places, job.column_stride, job.features, x, x_lanes, x_lanes)


@_compiled
def _share_products(job, operations, weights, x, x_lanes):
    """x_t W + b of every LSTM that reads X, once a month."""
    for i in range(operations.size):
        op = operations[i]
        if op.kind == LSTM_OP and op.from_x:
            out = at(x, (op.inputs + op.shared) * x_lanes)
            product(out, x_lanes, x_lanes, at(weights, op.w_x), 4 * op.units, out, -1, x, x_lanes, op.inputs,
                    x, x_lanes, 0, out, x_lanes, out, STORE)  # fmt: skip


@_compiled
def _mark_missing(rows, ld, width, lanes, bad):
    """bad += NaN in lanes that have a value that is not finite, else 0."""
    distinct()
    for d in range(width):
        for k in range(lanes):
            value = rows[d * ld + k]
            bad[k] += value - value


@_compiled
def _any_infinite(rows, ld, width, lanes, bad):
    for k in range(lanes):
        if bad[k] != bad[k]:
            for d in range(width):
                value = rows[d * ld + k]
                if value == value and value - value != value - value:
                    return True
    return False


@_compiled
def _missing_windows(job, ends, first, live, lanes, months, bad):
    """A window is missing where none ends, or where one of its months is; True if there is one that is not."""
    some = False
    for k in range(lanes):
        total = bad[k]
        for t in range(job.steps):
            total += months[k + t]
        if k >= live or not ends[first + k]:
            total = total + np.nan
        else:
            some = True
        bad[k] = total
    return some


@_compiled
def _store_rows(job, data, first, live, lanes, s, bad, lost, initial, places, results):
    """Results of a tile, sample by sample, NaN where its window is missing."""
    _, starts, order, _ = data
    values, prediction, score, initial_state, unattributed = results
    for k in range(live):
        row = first + k
        if job.own_rows:
            row = _row_of(order, starts[row] + job.steps - 1 if starts.size else row)
        places[k] = row * job.width
        for j in range(job.outputs):
            prediction[row * job.outputs + j] = s[(job.output + j) * lanes + k]
        if job.explains:
            score[row] = s[(job.pre + job.target) * lanes + k]
            initial_state[row], unattributed[row] = initial[k], lost[k]
        if bad[k] != bad[k]:  # one NaN for all, whatever arithmetic on missing values gave
            for j in range(job.outputs):
                prediction[row * job.outputs + j] = np.nan
            if job.explains:
                score[row] = initial_state[row] = unattributed[row] = np.nan
    if job.explains:
        store(at(s, job.rel_x * lanes), lanes, job.width, at(values, 0), places, live)
        for k in range(live):
            if bad[k] != bad[k]:
                for d in range(job.width):
                    values[places[k] + d] = np.nan


@_compiled
def _run_tile(job, operations, weights, data, first, scratch, places, results):
    """One tile: load, forward, relevance, store. True if a value is infinite: then nothing was stored."""
    X, starts, order, ends = data
    live = min(job.lanes, job.n - first)
    lanes = (live + LANES - 1) // LANES * LANES
    s = at(scratch, 0)
    work = at(s, job.work * lanes)
    zeros = at(work, 4 * job.widest * lanes)
    lost = at(zeros, job.widest * lanes)
    initial, share, share_c, bad = at(lost, lanes), at(lost, 2 * lanes), at(lost, 3 * lanes), at(lost, 4 * lanes)
    number = type(weights[0])
    fill(job.widest * lanes, zeros, number(0))
    fill(lanes, lost, number(0))
    fill(lanes, initial, number(0))
    fill(lanes, bad, number(0))
    x, x_lanes = at(s, job.rows * lanes), 0
    if job.months:
        x_lanes = lanes + job.months
        month_bad = at(x, (job.features + job.shared_rows) * x_lanes)
        _load_months(job, X, order, first, x, x_lanes, places)
        fill(x_lanes, month_bad, number(0))
        _mark_missing(x, x_lanes, job.features, x_lanes, month_bad)
        if _any_infinite(x, x_lanes, job.features, x_lanes, month_bad):
            return True
        some = _missing_windows(job, ends, first, live, lanes, month_bad, bad)
        if some:
            _share_products(job, operations, weights, x, x_lanes)
    else:
        width = job.steps * job.features
        rows = at(s, job.x * lanes)
        _load_windows(job, X, starts, order, first, live, lanes, s, places)
        _mark_missing(rows, lanes, width, lanes, bad)
        if _any_infinite(rows, lanes, width, lanes, bad):
            return True
        some = True
    if some:
        half = number(0.5)
        forward(operations, s, lanes, weights, zeros, x, x_lanes, half)
        if job.explains:
            rule = (number(job.eps), number(job.handed), number(job.delta))
            top = at(s, job.rel_top * lanes)
            fill(job.outputs * lanes, top, number(0))
            for k in range(lanes):
                top[job.target * lanes + k] = s[(job.pre + job.target) * lanes + k]
            relevance(operations, s, lanes, weights, x, x_lanes, work, (lost, initial, share, share_c, zeros), rule,
                      job.rudder, job.recurrent, half)  # fmt: skip
    _store_rows(job, data, first, live, lanes, s, bad, lost, initial, places, results)
    return False


@njit(error_model="numpy", nogil=True, cache=True)
def _run_tiles(jobs, operations, weights, data, first, last, scratch, places, results, status):
    """Tiles first ... last - 1. ``status`` is set, and everyone stops, once a value is infinite."""
    job = jobs[0]
    for tile in range(first, last):
        if status[0]:
            return
        if _run_tile(job, operations, weights, data, tile * job.lanes, scratch, places, results):
            status[0] = 1


def _aligned(n: int, dtype: Any) -> Array:
    """An uninitialised array that starts on a cache line."""
    size = np.dtype(dtype).itemsize
    raw = np.empty(n + 64 // size, dtype)
    skip = -raw.ctypes.data % 64 // size
    return raw[skip : skip + n]


def _frozen(array: Array) -> Array:
    """A read-only view: users' arrays may or may not be writable, and Numba would compile for each."""
    view = array.view()
    view.flags.writeable = False
    return view


def _numbers(rule: Rule | None) -> dict[str, float]:
    """A rule as what the kernel computes with: which share of the stabiliser is handed down, and of the bias."""
    if rule is None:
        return {}
    handed = rule.eps if rule.stabilizer == "paper" else rule.eps * rule.delta
    return {
        "eps": rule.eps,
        "handed": handed,
        "delta": rule.delta,
        "rudder": isinstance(rule, Rudder),
        "recurrent": isinstance(rule, Arras) and rule.recurrent,
    }


def _geometry(plan: Plan, windows: Windows) -> tuple[dict[str, int], tuple[Array, Array, Array, Array]]:
    """How tiles are cut from windows, and the arrays they read."""
    none, never = _frozen(np.empty(0, np.int64)), _frozen(np.empty(0, np.bool_))
    rows, T = windows.rows, plan.steps
    if rows.flags.f_contiguous and not rows.flags.c_contiguous:
        flat, strides = rows.T.reshape(-1), (1, rows.shape[0])
    else:
        flat, strides = np.ascontiguousarray(rows).reshape(-1), (rows.shape[1], 1)
    flat = _frozen(flat)
    order = none if windows.order is None else _frozen(windows.order)
    layout = {"row_stride": strides[0], "column_stride": strides[1], "own_rows": windows.ends is not None}
    if windows.ends is None:
        return {**layout, "n": rows.shape[0] // T, "lanes": TILE_LANES}, (flat, none, order, never)
    # Windows share x_t W where most rows end one. In a panel of short histories the lanes that end none would cost
    # more than sharing saves: there each window is loaded for itself.
    full = int(np.count_nonzero(windows.ends))
    if 2 * full >= windows.ends.size:
        months = -(-(T - 1) // LANES) * LANES
        return (
            {**layout, "n": windows.ends.size, "lanes": SHARED_LANES, "months": max(months, LANES)},
            (flat, none, order, _frozen(windows.ends)),
        )
    starts = _frozen(np.flatnonzero(windows.ends) - (T - 1))
    return {**layout, "n": starts.size, "lanes": TILE_LANES}, (flat, starts, order, never)


def run(
    plan: Plan,
    windows: Windows,
    rule: Rule | None = None,
    target: int = 0,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Results:
    """Predict, and explain if there is a rule, every window.

    ``advance`` is called from the calling thread with the number of samples done since its last call.

    Raises
    ------
    FloatingPointError
        If a value of X is infinite; where is for the caller to find out.
    """
    geometry, data = _geometry(plan, windows)
    results = _allocate(plan, windows, everywhere=data[1].size == 0)
    jobs = np.zeros(1, _JOB)
    given = {
        **{key: getattr(plan, key) for key in ("steps", "shared_rows", "rows", "x", "rel_x", "output", "pre", "rel_top", "work", "widest")},
        **geometry, **_numbers(rule), "features": plan.n_features, "outputs": plan.n_outputs, "target": target,
        "explains": rule is not None, "width": plan.n_features * (1 if plan.reduced else plan.steps),
    }  # fmt: skip
    for key, value in given.items():
        jobs[0][key] = value
    lanes = min(geometry["lanes"], -(-geometry["n"] // LANES) * LANES)
    months = lanes + geometry.get("months", -lanes)
    size = plan.rows * lanes + (plan.n_features + plan.shared_rows + 1) * months
    n_tiles = -(-geometry["n"] // geometry["lanes"])
    status = np.zeros(1, np.int64)
    outputs = tuple(array.reshape(-1) for array in results)

    def work(chunks: Any, report: Callable[[int], object] | None) -> None:
        scratch = _aligned(size, plan.weights.dtype)
        places = np.empty(max(lanes, months), np.int64)
        for first in chunks:
            if first >= n_tiles:
                return
            last = min(first + step, n_tiles)
            _run_tiles(jobs, plan.operations, plan.weights, data, first, last, scratch, places, outputs, status)
            if report is not None:
                report(min(last * geometry["lanes"], geometry["n"]) - first * geometry["lanes"])

    threads = min(get_num_threads() if threads is None else threads, n_tiles)
    step = max(1, min(64, n_tiles // (8 * max(threads, 1))))
    _spread(work, step, threads, advance)
    if status[0]:
        raise FloatingPointError("infinite value")
    return results


def _spread(work: Callable[..., None], step: int, threads: int, advance: Callable[[int], object] | None) -> None:
    """Run ``work`` on this and ``threads - 1`` more threads, which take chunks of tiles from one counter."""
    chunks = itertools.count(0, step)
    if threads <= 1:
        work(chunks, advance)
        return
    failures: list[BaseException] = []
    done: list[int] = []

    def helper() -> None:
        try:
            work(chunks, done.append if advance else None)
        except BaseException as error:  # raised again by the caller below
            failures.append(error)

    others = [threading.Thread(target=helper, name="fastlrp", daemon=True) for _ in range(threads - 1)]
    for thread in others:
        thread.start()

    def report(count: int) -> None:
        assert advance is not None
        while done:
            count += done.pop()
        advance(count)

    try:
        work(chunks, report if advance else None)
    finally:
        for thread in others:
            thread.join()
    if advance and done:
        report(0)
    if failures:
        raise failures[0]


def _allocate(plan: Plan, windows: Windows, everywhere: bool) -> Results:
    """Arrays for the results; filled with NaN only where no tile writes every row."""
    n = windows.n(plan.steps)
    dtype = plan.weights.dtype

    def array(*shape: int) -> Array:
        return np.empty(shape, dtype) if everywhere else np.full(shape, np.nan, dtype)

    shape = (n, plan.n_features) if plan.reduced else (n, plan.steps, plan.n_features)
    totals = [array(n) for _ in range(3)] if plan.explains else [np.empty(0, dtype) for _ in range(3)]
    values = array(*shape) if plan.explains else np.empty((0, *shape[1:]), dtype)
    return Results(values, array(n, plan.n_outputs), *totals)
