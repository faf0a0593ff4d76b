"""One thread's work: tiles one after the other, from X in memory to results in memory, in one compiled call.

A tile is scratch of one thread that stays in cache. A row is one unit (or feature) at one step, a lane one sample;
``program/walk.py`` hands out the rows. With an LSTM of H units below a Dense layer of M, T steps and D features::

                        lane 0   lane 1   lane 2  ...   lane 127
      lost, initial       .        .        .             .        1 row each: handed to nobody; arrived at h_0 and c_0
      share, share_c      .        .        .             .        1 each: even shares of the map and the cell at hand
      bad                 0        0       NaN            0        1: this sample's window misses a value
      zeros               0        0        0             0        as many as the widest layer has units
      r_c, r_g, q         .        .        .             .        as many each, rewritten step by step
      x               x[0, 0, :] x[1, 0, :] ...                    T D rows: step by step, feature by feature
      rel_x               .        .        .             .        the same, or D rows where steps are summed
      h                   .        .        .             .        T H; H where neither a layer nor the rule reads all
      rel_h               .        .        .             .        T H or H
      state 0 ... T-1     .        .        .             .        3 H a step: i*g, f*c', zg (3 H in all without a rule;
                                                                   6 H for gradients: i, f, g, o, c, tanh(c));
                                                                   of a GRU 4 H, see ``gru_cell``
      c                   .        .        .             .        2 H: this step's and the last one's, in turn
      z, out, rel_out     .        .        .             .        M each: the Dense layer and its relevance

Rows lie behind each other without a gap: row r, lane k is number ``r*lanes + k``. Where windows of a panel share their
months there is no x: X and x_t W + b stand once a month, behind the tile (see ``months.py``).
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels.cpu.elementwise import fill
from fastlrp.kernels.cpu.months import deal_on, lanes_of, load_months, row_of, share_products, window
from fastlrp.kernels.cpu.tile import execute
from fastlrp.kernels.cpu.transpose import load, store
from fastlrp.kernels.lanes import at, distinct, least, most
from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.target import compiled, entry, merged

#: What a job takes of the plan.
PLAN_FIELDS = (
    "steps", "n_features", "n_outputs", "rows", "month_rows", "x", "rel_x", "output", "pre", "top", "lost", "initial",
    "zeros", "n_zeros", "bad", "width", "explains",
)  # fmt: skip
#: All the numbers of a run, as one record: compiled functions take few arguments fast.
JOB = np.dtype(
    (
        np.record,
        [(name, np.int64) for name in (
            # how many windows share months, and go through the program at once; how rows of X lie in memory
            "n", "span", "lanes", "months", "row_stride", "column_stride", "own_rows", *PLAN_FIELDS, "target",
        )]
        + [(name, np.float64) for name in ("eps", "handed", "delta")],
    )
)  # fmt: skip

#: Results of more bytes are written past the caches, which would otherwise read each line before it is overwritten, and
#: lose what the next tile needs.
STREAM_BYTES = 1 << 24


@compiled
def _sample_size(job, starts, order):
    """Numbers of a sample of X, where samples follow one another in memory; else 0."""
    if starts.size or order.size or job.column_stride != 1:
        return 0
    return job.steps * job.row_stride


@compiled
def _load_windows(job, X, starts, order, first, live, lanes, s, places):
    """X of a tile as rows (step, feature): each lane its own window. Lanes past the last sample repeat it."""
    T, D = job.steps, job.n_features
    whole = order.size == 0 and job.column_stride == 1 and job.row_stride == D
    for t in range(1 if whole else T):
        for k in range(lanes):
            sample = first + least(k, live - 1)
            start = starts[sample] if starts.size else sample * T
            places[k] = row_of(order, start + t) * job.row_stride
        load(
            at(X, 0),
            at(places, 0),
            job.column_stride,
            T * D if whole else D,
            at(s, (job.x + t * D) * lanes),
            lanes,
            lanes,
        )


@compiled
def _mark_missing(rows, ld, width, lanes, bad):
    """bad += NaN in lanes that have a value that is not finite, else 0."""
    distinct()
    for d in range(width):
        for k in range(lanes):
            value = rows[d * ld + k]
            bad[k] += value - value


@compiled
def _any_infinite(rows, ld, width, lanes, bad):
    for k in range(lanes):
        if bad[k] != bad[k]:
            for d in range(width):
                value = rows[d * ld + k]
                if value == value and value - value != value - value:
                    return True
    return False


@compiled
def _load_span(job, X, order, starts, months, ld, places):
    """X of the months that a span of windows shares, checked: -1 if a value is infinite, else how many segments' last
    months stand apart; ``places`` holds their lanes."""
    T, D, span = job.steps, job.n_features, job.span
    marks, after = at(months, job.month_rows * ld), span + (T - 1) * LANES
    fill(ld, marks, type(months[0])(0))
    n = load_months(X, order, job.row_stride, job.column_stride, starts, T, D, span, months, ld, places)
    for part in range(2):
        begin, lanes = (after, lanes_of(n * (T - 1))) if part else (0, span)
        _mark_missing(at(months, begin), ld, D, lanes, at(marks, begin))
        if _any_infinite(at(months, begin), ld, D, lanes, at(marks, begin)):
            return -1
    return n


@compiled
def _mark_windows(job, marks, ends, starts, begin, lanes, bad):
    """bad += NaN where no window ends, or one of its months is missing; ``marks`` are those of the tile's lanes."""
    for k in range(lanes):
        for t in range(job.steps):
            bad[k] += marks[k + t * LANES]
        if not ends[window(starts, begin + k)]:
            bad[k] = np.nan


@compiled
def _some(lanes, bad):
    """Whether any lane has a window: a tile without one needs no arithmetic."""
    some = False
    for k in range(lanes):
        some = some or bad[k] == bad[k]
    return some


@compiled
def _ending(job, ends, starts, first, live):
    """The first lane where a window ends; ``live`` if there is none."""
    for k in range(live if job.months else 0):
        if ends[window(starts, first + k)]:
            return k
    return live if job.months else 0


@compiled
def _mark_overflow(job, lanes, s, lost, initial, over):
    """over = NaN in lanes where the score, or a part that it is handed to, is not finite, else 0."""
    distinct()
    score, relevance = at(s, (job.pre + job.target) * lanes), at(s, job.rel_x * lanes)
    for k in range(lanes):
        over[k] = (score[k] - score[k]) + (lost[k] - lost[k]) + (initial[k] - initial[k])
    for d in range(job.width):
        for k in range(lanes):
            value = relevance[d * lanes + k]
            over[k] += value - value


@compiled
def _infinite(value):
    """A number of a complete window: NaN there means that numbers on its way were too large."""
    return value if value == value else type(value)(np.inf)


@compiled
def _store_rows(job, data, segment, first, live, lanes, s, bad, over, lost, initial, places, results):
    """Results of a tile, sample by sample: all NaN where its window is missing; where its numbers were too large, the
    relevance and all it is handed to. ``first`` is the tile's first sample, or its first lane in the span that begins
    with ``segment``.

    A lane where no window ends repeats one where one does: the result at its row may be another network's.
    """
    _, starts, _, ends, into = data
    values, prediction, score, initial_state, unattributed = results
    ending = _ending(job, ends, at(starts, segment), first, live)
    if ending == live:
        return
    for k in range(live):
        lane, row = k, window(at(starts, segment), first + k) if job.months else first + k
        if job.months and not ends[row]:
            lane, row = ending, window(at(starts, segment), first + ending)
            for d in range(job.width if job.explains else 0):
                s[(job.rel_x + d) * lanes + k] = s[(job.rel_x + d) * lanes + lane]
        if job.own_rows and not job.months:
            row = starts[row] + job.steps - 1
        row = row_of(into, row)
        places[k] = row * job.width
        bad[k] = bad[lane]
        for j in range(job.n_outputs):
            prediction[row * job.n_outputs + j] = _infinite(s[(job.output + j) * lanes + lane])
        if job.explains:
            over[k] = over[lane]
            score[row] = _infinite(s[(job.pre + job.target) * lanes + lane])
            initial_state[row], unattributed[row] = initial[lane], lost[lane]
            if over[k] != over[k]:
                initial_state[row] = unattributed[row] = np.nan
        if bad[k] != bad[k]:  # one NaN for all, whatever arithmetic on missing values gave
            for j in range(job.n_outputs):
                prediction[row * job.n_outputs + j] = np.nan
            if job.explains:
                score[row] = initial_state[row] = unattributed[row] = np.nan
    if job.explains:
        stream = values.size * values.itemsize > STREAM_BYTES
        store(at(s, job.rel_x * lanes), lanes, job.width, at(values, 0), at(places, 0), live, stream)
        for k in range(live):
            if bad[k] != bad[k] or over[k] != over[k]:
                for d in range(job.width):
                    values[places[k] + d] = np.nan


@merged
def _run_programs(job, programs, nodes, weights, s, lanes, months, ld, lost, rule, ahead, n_ahead, more):
    """A tile's programs: start; forward and, if it explains, relevance; end. A gradient goes forward and back at every
    node, with the part of the way in the place of the rule's numbers; nodes of no weight are there for their score."""
    _, start, forward, relevance, end = programs
    number, top, score = type(weights[0]), at(s, job.top * lanes), at(s, (job.pre + job.target) * lanes)
    last = 2 * most(nodes.size // 2, 1) + 1
    for part in range(last + 1):  # a loop: each call of ``execute`` in the source would become a copy of it
        node, program = (part - 1) // 2 * 2, start if part == 0 else end
        if 0 < part < last:
            program = forward if part % 2 else relevance
            if nodes.size:
                rule = (nodes[node], number(0), number(0))
            if part % 2 == 0:
                if not job.explains or (nodes.size and nodes[node + 1] == 0):
                    continue
                fill(job.n_outputs * lanes, top, number(0))
                for k in range(lanes):
                    top[job.target * lanes + k] = nodes[node + 1] if nodes.size else score[k]
        execute(program, s, lanes, months, ld, weights, lost, rule, ahead, n_ahead if part == 1 else 0, more)
        if nodes.size and part == 1:
            for k in range(lanes):
                lost[k] = score[k]


@entry
def run_tiles(jobs, programs, nodes, weights, data, first_span, last_span, scratch, places, results, status, more):
    """Spans of windows one after the other, tile by tile: load, forward, relevance, store; gradients go forward and
    back at each of ``nodes``. ``status`` is set, and everyone stops, once a value is infinite."""
    job = jobs[0]
    X, starts, order, ends, _ = data
    number = type(weights[0])
    rule = (number(job.eps), number(job.handed), number(job.delta))
    s = at(scratch, 0)
    months, ld = at(s, job.rows * job.lanes), job.span + job.months
    apart, size = job.span + (job.steps - 1) * LANES, _sample_size(job, starts, order)
    for span in range(first_span, last_span):
        if status[0]:
            return
        first, segment = span * job.span, span * LANES
        if job.months:
            n = _load_span(job, X, order, at(starts, segment), months, ld, places)
            if n < 0:
                status[0] = 1
                return
            for part in range(2):
                begin, width = (apart, lanes_of(n * (job.steps - 1))) if part else (0, job.span)
                share_products(programs[0], weights, begin, width, months, ld)
            deal_on(job.month_rows + 1, places, n, job.steps, job.span, months, ld)
        windows = least(job.span, job.n - first)
        for begin in range(0, windows, job.lanes):
            live = least(job.lanes, windows - begin)
            lanes = lanes_of(live)
            lost, initial, bad = at(s, job.lost * lanes), at(s, job.initial * lanes), at(s, job.bad * lanes)
            fill(lanes, lost, number(0))
            fill(lanes, initial, number(0))
            fill(lanes, bad, number(0))
            fill(job.n_zeros * lanes, at(s, job.zeros * lanes), number(0))
            if job.months:
                marks = at(months, job.month_rows * ld + begin)
                _mark_windows(job, marks, ends, at(starts, segment), begin, lanes, bad)
            else:
                rows, width = at(s, job.x * lanes), job.steps * job.n_features
                _load_windows(job, X, starts, order, first + begin, live, lanes, s, places)
                _mark_missing(rows, lanes, width, lanes, bad)
                if _any_infinite(rows, lanes, width, lanes, bad):
                    status[0] = 1
                    return
            if _some(lanes, bad):
                _run_programs(job, programs, nodes, weights, s, lanes, at(months, begin), ld, lost, rule,
                              at(X, (first + begin + lanes) * size), lanes * size, more)  # fmt: skip
            over = at(s, job.top * lanes)  # whose relevance has been handed down
            if job.explains:
                _mark_overflow(job, lanes, s, lost, initial, over)
            place = begin if job.months else first + begin
            _store_rows(job, data, segment, place, live, lanes, s, bad, over, lost, initial, places, results)
