"""A few samples, all the way: the same programs as a tile's, with the units of a step side by side in the lanes.

In a tile of fewer samples than a vector has lanes most lanes would be idle. Here each sample has rows of its own, one
number each; row r of sample i is number ``i*ld + r``. An instruction is done for all samples before the next, so that
a product loads its weights once for several. Sums over units are in the order of a tile's, and all arithmetic of one
number is the same: a sample has the same bits whichever machine computes it.

Which machine computes how many samples is ``host.py``'s choice. Panels whose windows share months stay with tiles.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels import formulas
from fastlrp.kernels.cpu.elementwise import activate, add, copy, fill, multiply, scale, softmax
from fastlrp.kernels.cpu.gates import gates_step
from fastlrp.kernels.cpu.gates import slope as times_slope
from fastlrp.kernels.cpu.tile import read_cell, write_cell
from fastlrp.kernels.cpu.vector_product import SPARE, product
from fastlrp.kernels.lanes import at, distinct, fma, most
from fastlrp.kernels.program.instructions import (
    ACTIVATE,
    ADD,
    ALONG,
    ARRAS_CELL,
    CELL,
    COPY,
    FILL,
    GATES,
    GATES_GRADIENT,
    LEFT_OUT,
    LINEAR_RULE,
    MERGE_RULE,
    MULTIPLY,
    PRODUCT,
    PRODUCTS,
    RUDDER_ARRIVAL,
    RUDDER_CELL,
    SCALE,
    SLOPE,
    SOFTMAX,
    SUM,
)
from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.target import compiled, entry, merged

#: What a job takes of the plan.
PLAN_FIELDS = (
    "rows", "n_outputs", "x", "rel_x", "output", "pre", "top", "lost", "initial", "zeros", "n_zeros", "width",
    "explains",
)  # fmt: skip
#: All the numbers of a run, as one record.
JOB = np.dtype(
    (
        np.record,
        [(name, np.int64) for name in ("n", "ld", "inputs", "scratch", *PLAN_FIELDS, "target")]
        + [(name, np.float64) for name in ("eps", "handed", "delta")],
    )
)


def spare_numbers(widest: int) -> int:
    """Numbers of scratch behind the samples' rows: for a product's sums, two numbers of each unit, or marks."""
    return max(SPARE, 2 * widest, LANES) + LANES


@compiled
def _sum_of(n, numbers, total):
    """total + the numbers, in order."""
    for k in range(n):
        total += numbers[k]
    return total


@compiled
def _linear_rule(units, z, relevance, extra, bias, q, share, lost, rule, factor, even, gone):
    """``tile.linear_rule`` of one sample; ``even`` and ``gone`` hold each unit's part of the sums."""
    distinct()
    eps, handed, delta = rule
    more = extra[0]
    for j in range(units):
        q[j], even[j], gone[j] = formulas.linear_unit(relevance[j] + more, z[j], bias[j], eps, handed, delta)
    shared, left = eps - eps, lost[0]
    for j in range(units):
        shared += even[j]
        left += gone[j]
    share[0], lost[0] = shared * factor, left


@compiled
def _arras_cell(units, written, kept, r_c, r_g, share, lost, rule, factor, even):
    """``tile.arras_cell`` of one sample."""
    distinct()
    eps, handed, _ = rule
    for j in range(units):
        r_g[j], r_c[j], even[j] = formulas.arras_unit(written[j], kept[j], r_c[j], eps)
    share[0], gone = formulas.even_shares(_sum_of(units, even, eps - eps), eps, handed, factor)
    lost[0] += gone


@compiled
def _rudder_arrival(units, written, kept, arrived, q_sum, lost, rule):
    """``tile.rudder_arrival`` of one sample."""
    distinct()
    for j in range(units):
        q_sum[j] += formulas.rudder_arrival(arrived[j], written[j], kept[j], rule[0])
    lost[0] = _sum_of(units, arrived, lost[0])


@compiled
def _rudder_cell(units, written, q_sum, r_g, lost):
    """``tile.rudder_cell`` of one sample."""
    distinct()
    for j in range(units):
        r_g[j] = written[j] * q_sum[j]
    left = lost[0]
    for j in range(units):
        left -= r_g[j]
    lost[0] = left


@compiled
def _left_out(units, upper, z, q, lost, gone):
    """``tile.left_out`` of one sample."""
    distinct()
    for j in range(units):
        gone[j] = formulas.left_out(z[j], upper[j], q[j])
    lost[0] = _sum_of(units, gone, lost[0])


@compiled
def _merge_rule(units, source, q, share, out, weight):
    """``tile.merge_rule`` of one sample."""
    distinct()
    even = share[0]
    for j in range(units):
        out[j] = formulas.merged(weight, source[j], q[j], even)


@compiled
def _along(units, source, bias, out, part):
    """``tile.along`` of one sample."""
    distinct()
    for j in range(units):
        out[j] = fma(part, source[j], bias[j])


@compiled
def execute(program, n, s, ld, weights, lost, rule, spare):
    """Run a program on n samples: row r of sample i stands at ``s + i*ld + r``."""
    number = type(weights[0])
    for i in range(program.size):
        do = program[i]
        kind, units, factor = do.kind, do.units, number(do.factor)
        if kind in (PRODUCT, PRODUCTS):  # samples share each load of weights, or a sample's steps do
            ahead = kind == PRODUCTS
            inputs, from_a, to_out, other = (do.steps, do.stride, units, 0) if ahead else (n, ld, ld, ld)
            init_ld = -1 if ahead or do.init < 0 else ld
            for sample in range(n if ahead else 1):
                t = at(s, sample * ld)
                product(inputs, at(t, do.out), to_out, at(weights, do.weights), units, at(t, most(do.init, 0)), init_ld,
                        at(t, do.a), from_a, do.a_depth, at(t, do.b), other, do.b_depth, at(t, do.mul), other,
                        at(t, do.share), other, do.mode, spare)  # fmt: skip
            continue
        for sample in range(n):
            t, gone = at(s, sample * ld), at(lost, sample * ld)
            out, a = at(t, do.out), at(t, do.a)
            if kind == CELL:
                z, c, h = at(t, do.z), at(t, do.c), at(t, do.h)
                write_cell(units, z, at(z, units), at(z, 2 * units), at(t, do.before), h)
                read_cell(units, c, h)
            elif kind == LINEAR_RULE:
                _linear_rule(units, at(t, do.z), at(t, do.relevance), at(t, do.extra), at(weights, do.bias),
                             at(t, do.q), at(t, do.share), gone, rule, factor, spare, at(spare, units))  # fmt: skip
            elif kind == ARRAS_CELL:
                state = at(t, do.state)
                _arras_cell(units, state, at(state, units), at(t, do.r_c), at(t, do.r_g), at(t, do.share), gone, rule,
                            factor, spare)  # fmt: skip
            elif kind == RUDDER_ARRIVAL:
                state = at(t, do.state)
                _rudder_arrival(units, state, at(state, units), at(t, do.arrived), at(t, do.q_sum), gone, rule)
            elif kind == RUDDER_CELL:
                _rudder_cell(units, at(t, do.state), at(t, do.q_sum), at(t, do.r_g), gone)
            elif kind == LEFT_OUT:
                _left_out(units, at(t, do.upper), at(t, do.z), at(t, do.q), gone, spare)
            elif kind == ADD:
                add(units, a, out, factor)
            elif kind == MULTIPLY:
                multiply(units, a, out)
            elif kind == SUM:
                out[0] = _sum_of(units, a, out[0])
            elif kind == FILL:
                fill(units, out, number(0))
            elif kind == COPY:
                copy(units, a, out)
            elif kind == SCALE:
                scale(units, out, factor)
            elif kind == MERGE_RULE:
                _merge_rule(units, a, at(t, do.q), at(t, do.share), out, factor)
            elif kind == ACTIVATE:
                if do.activation == SOFTMAX:
                    softmax(units, 1, a, out)
                else:
                    activate(do.activation, units, a, out)
            elif kind in (GATES, GATES_GRADIENT):
                gates_step(do, kind == GATES_GRADIENT, t, 1, units)
            elif kind == SLOPE:
                times_slope(do.activation, units, a, out)
            elif kind == ALONG:
                _along(units, a, at(weights, do.bias), out, rule[0])


@merged
def _run_programs(job, programs, nodes, weights, s, lost, rule, spare):
    """The programs, as ``tiles.py`` runs them on a tile."""
    _, start, forward, relevance, end = programs
    number = type(weights[0])
    last = 2 * most(nodes.size // 2, 1) + 1
    for part in range(last + 1):  # a loop, since Numba compiles a callee as often as it is called
        node, program = (part - 1) // 2 * 2, start if part == 0 else end
        if 0 < part < last:
            program = forward if part % 2 else relevance
            if nodes.size:
                rule = (nodes[node], number(0), number(0))
            if part % 2 == 0:
                if not job.explains or (nodes.size and nodes[node + 1] == 0):
                    continue
                for i in range(job.n):
                    top, score = at(s, i * job.ld + job.top), s[i * job.ld + job.pre + job.target]
                    fill(job.n_outputs, top, number(0))
                    top[job.target] = nodes[node + 1] if nodes.size else score
        execute(program, job.n, s, job.ld, weights, lost, rule, spare)
        if nodes.size and part == 1:
            for i in range(job.n):
                lost[i * job.ld] = s[i * job.ld + job.pre + job.target]


@compiled
def _all_finite(n, numbers, marks):
    """Whether all numbers are finite; ``marks`` has room for LANES."""
    distinct()
    whole = n // LANES * LANES
    for k in range(LANES):
        marks[k] = type(marks[0])(0)
    for j in range(0, whole, LANES):
        for k in range(LANES):
            value = numbers[j + k]
            marks[k] += value - value
    for k in range(n - whole):
        value = numbers[whole + k]
        marks[k] += value - value
    total = marks[0]
    for k in range(1, LANES):
        total += marks[k]
    return total == total


@compiled
def _any_infinite(n, numbers):
    for k in range(n):
        value = numbers[k]
        if value == value and value - value != value - value:
            return True
    return False


@compiled
def _infinite(value):
    """A number of a complete window: NaN there means that numbers on its way were too large."""
    return value if value == value else type(value)(np.inf)


@compiled
def _store(job, t, row, missing, marks, results):
    """A sample's results, as ``tiles.py`` stores them: all NaN where its window misses a value; where its numbers were
    too large, the relevance and all it is handed to."""
    values, prediction, score, initial_state, unattributed = results
    nan = type(t[0])(np.nan)
    for j in range(job.n_outputs):
        prediction[row * job.n_outputs + j] = nan if missing else _infinite(t[job.output + j])
    if not job.explains:
        return
    whole, lost, initial = t[job.pre + job.target], t[job.lost], t[job.initial]
    relevance = at(t, job.rel_x)
    fine = whole - whole == lost - lost == initial - initial == 0
    fine = not missing and fine and _all_finite(job.width, relevance, marks)
    score[row] = nan if missing else _infinite(whole)
    initial_state[row], unattributed[row] = (initial, lost) if fine else (nan, nan)
    if fine:
        copy(job.width, relevance, at(values, row * job.width))
    else:
        fill(job.width, at(values, row * job.width), nan)


@entry
def run_few(jobs, programs, nodes, weights, X, scratch, results):
    """A few samples: load, forward, relevance, store. False, and nothing is stored, if a value is infinite."""
    job = jobs[0]
    number = type(weights[0])
    rule = (number(job.eps), number(job.handed), number(job.delta))
    s = at(scratch, 0)
    spare = at(s, job.n * job.ld)
    some = False
    for i in range(job.n):
        t, x = at(s, i * job.ld), at(X, i * job.inputs)
        fill(job.n_zeros, at(t, job.zeros), number(0))
        t[job.lost] = t[job.initial] = number(0)
        if not _all_finite(job.inputs, x, spare):
            if _any_infinite(job.inputs, x):
                return False
        else:
            some = True
        copy(job.inputs, x, at(t, job.x))
    if some:
        _run_programs(job, programs, nodes, weights, s, at(s, job.lost), rule, spare)
    for i in range(job.n):
        missing = not _all_finite(job.inputs, at(X, i * job.inputs), spare)
        _store(job, at(s, i * job.ld), i, missing, spare, results)
    return True
