"""The work of a block: tiles one after the other, from X in global memory to results in global memory.

The counterpart of ``cpu/tiles.py``. Three kernels differ in where the rows of a tile and the packed weights stand:
in shared memory, if they fit, else in global memory. There a block has rows of its own and uses them again for its next
tile, so that most of them stay in the caches.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np
from numba import cuda

from fastlrp.kernels.cuda.block import execute
from fastlrp.kernels.cuda.product import product
from fastlrp.kernels.cuda.threads import SIMULATED, VECTOR, device_function, load4, store4

#: Threads that run in step; few in the simulator, where each is a Python thread.
WARP = 4 if SIMULATED else 32
#: All the whole numbers of a launch, as one record.
JOB = np.dtype(
    (
        np.record,
        np.dtype([(name, np.int64) for name in (
            # how windows are cut into tiles; row of X that the first window ends in, where windows share months
            "n", "n_rows", "lanes", "months", "skip", "tile_size", "given_starts",
            # of the plan
            "steps", "n_features", "n_outputs", "rows", "month_rows", "x", "rel_x", "output", "pre", "top", "lost",
            "initial", "zeros", "n_zeros", "bad", "width", "explains",
            "n_before", "n_forward", "n_relevance",
            # what is asked
            "target",
        )], align=True),
    )
)  # fmt: skip

JOB_FIELDS = JOB.names or ()


def odd_quads(lanes: int) -> int:
    """Numbers from row to row of a tile: an odd number of quads, so that a column of quads touches every bank."""
    quads = -(-lanes // VECTOR)
    return (quads + 1 - quads % 2) * VECTOR


def month_lanes(lanes: int, steps: int) -> int:
    """Lanes of months that a tile's windows need: whole vectors for those after the windows', the windows' own, and the
    vectors that shifts reach.

    A tile's windows end in consecutive rows, whose months are dealt to vectors like cards: with G vectors, vector h
    holds months h, G + h, 2G + h ..., so that a shift by one month is a shift by one whole vector. Vectors G, G + 1 ...
    that it reaches are the first ones moved by one lane, with a later month in the last lane. (``cpu/months.py`` also
    cuts windows into segments, so that no lane is spent where a history begins.)
    """
    return month_tail(steps) + lanes + (steps - 1) * VECTOR


def month_tail(steps: int) -> int:
    """Lanes of the months after the last dealt one, which stand first in a row of months."""
    return -(-(steps - 1) // VECTOR) * VECTOR


_row_length, _month_tail = device_function(odd_quads), device_function(month_tail)


@device_function
def dealt(k, lanes):
    """The window (or month) that stands in lane k, counted from the tile's first."""
    return k % VECTOR * (lanes // VECTOR) + k // VECTOR


@device_function
def _warp():
    """A thread's place in its warp, its warp, and the number of warps."""
    return cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP, cuda.blockDim.x // WARP


@device_function
def _load_quad(X, first, second, third, fourth, into, rows, bad, at, flag):
    """One feature of four rows of X into four lanes; NaN marks the lane, infinity ends everything."""
    into[0], into[1], into[2], into[3] = X[first], X[second], X[third], X[fourth]
    store4(into, 0, rows, at)
    for v in range(VECTOR):
        value = into[v]
        if value != value:
            rows[bad + v] = value
        elif value - value != value - value:
            flag[0] = 1


@device_function
def load_windows(job, X, starts, first, live, lanes, rows, ld, flag):
    """X of a tile as rows (step, feature); neighbouring threads read neighbouring features of the same windows.

    Lanes past the last sample repeat it.
    """
    T, D = job.steps, job.n_features
    width = T * D
    into = cuda.local.array(VECTOR, rows.dtype)
    beside, warp, warps = _warp()
    last = first + live - 1
    for k in range(warp * VECTOR, lanes, warps * VECTOR):
        a, b, c, d = min(first + k, last), min(first + k + 1, last), min(first + k + 2, last), min(first + k + 3, last)
        if job.given_starts:
            a, b, c, d = starts[a] * D, starts[b] * D, starts[c] * D, starts[d] * D
        else:
            a, b, c, d = a * width, b * width, c * width, d * width
        for e in range(beside, width, WARP):
            _load_quad(X, a + e, b + e, c + e, d + e, into, rows, job.bad * ld + k, (job.x + e) * ld + k, flag)


@device_function
def _month(job, c, first, tail):
    """The row of X that stands in column c of a tile's months; rows outside X repeat its first or last."""
    row = first + job.skip - (job.steps - 1) + (dealt(c - tail, job.lanes) if c >= tail else job.lanes + c)
    return min(max(row, 0), job.n_rows - 1)


@device_function
def _month_at(m, lanes, tail):
    """The first column in which the m-th month of a tile stands."""
    if m >= lanes:
        return m - lanes
    groups = lanes // VECTOR
    return tail + m % groups * VECTOR + m // groups


@device_function
def load_months(job, X, first, lanes, rows, months, ld, flag):
    """Load X of a tile's months, each once; the row after the months' last says which miss a value."""
    D, tail = job.n_features, _month_tail(job.steps)
    marks = months + job.month_rows * ld
    for c in range(cuda.threadIdx.x, ld, cuda.blockDim.x):
        rows[marks + c] = 0
    cuda.syncthreads()
    into = cuda.local.array(VECTOR, rows.dtype)
    beside, warp, warps = _warp()
    for c in range(warp * VECTOR, tail + lanes, warps * VECTOR):
        one, two = _month(job, c, first, tail) * D, _month(job, c + 1, first, tail) * D
        three, four = _month(job, c + 2, first, tail) * D, _month(job, c + 3, first, tail) * D
        for e in range(beside, D, WARP):
            _load_quad(X, one + e, two + e, three + e, four + e, into, rows, marks + c, months + e * ld + c, flag)
    cuda.syncthreads()


@device_function
def share_months(job, before, weights, ends, first, lanes, rows, ld, months, months_ld):
    """Compute x_t W + b of every LSTM that reads X, once per month; fill the columns that shifts reach; mark windows
    that miss a month."""
    T, tail = job.steps, _month_tail(job.steps)
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    half = ((tail + lanes) // VECTOR + 1) // 2
    worker, workers = thread // half, threads // half
    for i in range(job.n_before):
        do = before[i]
        a, out = months + do.a * months_ld, months + do.out * months_ld
        product(do, rows, weights, tail + lanes, out, months_ld, False, a, months_ld, a, months_ld, a, a, months_ld, a,
                half, thread % half, worker if worker < workers else do.units, workers)  # fmt: skip
        cuda.syncthreads()
    beside, warp, warps = _warp()
    groups = lanes // VECTOR
    for c in range(warp, (T - 1) * VECTOR, warps):
        source = months + _month_at(c % VECTOR * groups + groups + c // VECTOR, lanes, tail)
        for row in range(beside, job.month_rows + 1, WARP):
            rows[months + row * months_ld + tail + lanes + c] = rows[source + row * months_ld]
    cuda.syncthreads()
    marks = months + job.month_rows * months_ld + tail
    for k in range(thread, lanes, threads):
        for t in range(T):
            if rows[marks + k + t * VECTOR] != rows[marks + k + t * VECTOR]:
                rows[job.bad * ld + k] = rows[marks + k + t * VECTOR]
        if not ends[first + dealt(k, lanes)]:
            rows[job.bad * ld + k] = np.nan


@device_function
def store_tile(job, first, live, lanes, rows, ld, values, prediction, score, initial_state, unattributed):
    """Results of a tile, NaN where its window is missing; neighbouring threads write neighbouring features."""
    thread, threads = cuda.threadIdx.x, cuda.blockDim.x
    for k in range(thread, live, threads):
        row = first + (dealt(k, lanes) if job.months else k)
        missing = rows[job.bad * ld + k] != rows[job.bad * ld + k]
        for j in range(job.n_outputs):
            prediction[row * job.n_outputs + j] = np.nan if missing else rows[(job.output + j) * ld + k]
        if job.explains:
            score[row] = np.nan if missing else rows[(job.pre + job.target) * ld + k]
            initial_state[row] = np.nan if missing else rows[job.initial * ld + k]
            unattributed[row] = np.nan if missing else rows[job.lost * ld + k]
    if not job.explains:
        return
    width = job.width
    four = cuda.local.array(VECTOR, rows.dtype)
    beside, warp, warps = _warp()
    for k in range(warp * VECTOR, live, warps * VECTOR):
        # windows of a vector stand side by side, or as far apart as dealt ones do
        row, step = (first + dealt(k, lanes), lanes // VECTOR) if job.months else (first + k, 1)
        for e in range(beside, width, WARP):
            load4(rows, (job.rel_x + e) * ld + k, four, 0)
            for v in range(VECTOR):
                if k + v < live:
                    bad = rows[job.bad * ld + k + v]
                    values[(row + v * step) * width + e] = four[v] if bad == bad else np.nan


@device_function
def _fill_rows(rows, row, units, ld):
    for i in range(cuda.threadIdx.x, units * ld, cuda.blockDim.x):
        rows[row * ld + i] = 0


@device_function
def run_tiles(jobs, rule, before, forward, relevance, X, starts, ends, results, flag, rows, weights, partial):
    """Tiles one after the other: load, forward, relevance, store."""
    job = jobs[0]
    values, prediction, score, initial_state, unattributed = results
    thread, lanes = cuda.threadIdx.x, job.lanes
    ld = _row_length(lanes)
    months, months_ld = job.rows * ld, job.months
    dealt_months = months + _month_tail(job.steps)
    for tile in range(cuda.blockIdx.x, (job.n + lanes - 1) // lanes, cuda.gridDim.x):
        first = tile * lanes
        if months_ld:  # the last tile reaches back into the one before, and finds the same bits
            first = min(first, job.n - lanes)
        live = min(lanes, job.n - first)
        _fill_rows(rows, job.lost, 1, ld)
        _fill_rows(rows, job.initial, 1, ld)
        _fill_rows(rows, job.bad, 1, ld)
        _fill_rows(rows, job.zeros, job.n_zeros, ld)
        cuda.syncthreads()
        if months_ld:
            load_months(job, X, first, lanes, rows, months, months_ld, flag)
            share_months(job, before, weights, ends, first, lanes, rows, ld, months, months_ld)
        else:
            load_windows(job, X, starts, first, live, lanes, rows, ld, flag)
        cuda.syncthreads()
        some = 0
        if thread < live and rows[job.bad * ld + thread] == 0:
            some = 1
        if cuda.syncthreads_or(some):  # a tile without a whole window needs no arithmetic
            for part in range(2 if job.explains else 1):
                if part:
                    _fill_rows(rows, job.top, job.n_outputs, ld)
                    cuda.syncthreads()
                    if thread < lanes:
                        rows[(job.top + job.target) * ld + thread] = rows[(job.pre + job.target) * ld + thread]
                    cuda.syncthreads()
                program, size = (relevance, job.n_relevance) if part else (forward, job.n_forward)
                execute(program, size, rows, weights, rule, partial, lanes, ld, dealt_months, months_ld, job.lost)
        store_tile(job, first, live, lanes, rows, ld, values, prediction, score, initial_state, unattributed)
        cuda.syncthreads()


@device_function
def _copy(source, into):
    for i in range(cuda.threadIdx.x, source.size, cuda.blockDim.x):
        into[i] = source[i]
    cuda.syncthreads()


def tiles_all_shared(
    jobs, rule, before, forward, relevance, weights, X, starts, ends, scratch, values, prediction, score, initial, lost,
    flag,
):  # fmt: skip
    """Rows and weights in shared memory."""
    shared = cuda.shared.array(0, weights.dtype)
    n, w = 2 * cuda.blockDim.x, weights.size
    held = shared[n : n + w]
    _copy(weights, held)
    results = (values, prediction, score, initial, lost)
    run_tiles(jobs, rule, before, forward, relevance, X, starts, ends, results, flag, shared[n + w :], held, shared[:n])


def tiles_weights_shared(
    jobs, rule, before, forward, relevance, weights, X, starts, ends, scratch, values, prediction, score, initial, lost,
    flag,
):  # fmt: skip
    """Weights in shared memory, a block's rows in its part of ``scratch``."""
    shared = cuda.shared.array(0, weights.dtype)
    n, size = 2 * cuda.blockDim.x, jobs[0].tile_size
    held = shared[n : n + weights.size]
    _copy(weights, held)
    rows = scratch[cuda.blockIdx.x * size : (cuda.blockIdx.x + 1) * size]
    results = (values, prediction, score, initial, lost)
    run_tiles(jobs, rule, before, forward, relevance, X, starts, ends, results, flag, rows, held, shared[:n])


def tiles_none_shared(
    jobs, rule, before, forward, relevance, weights, X, starts, ends, scratch, values, prediction, score, initial, lost,
    flag,
):  # fmt: skip
    """Weights too large for shared memory: read through the caches."""
    shared = cuda.shared.array(0, weights.dtype)
    n, size = 2 * cuda.blockDim.x, jobs[0].tile_size
    rows = scratch[cuda.blockIdx.x * size : (cuda.blockIdx.x + 1) * size]
    results = (values, prediction, score, initial, lost)
    run_tiles(jobs, rule, before, forward, relevance, X, starts, ends, results, flag, rows, weights, shared[:n])
