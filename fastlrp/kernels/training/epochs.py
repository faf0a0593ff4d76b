"""Whole epochs in one compiled call: batches, tiles, the sum of their gradients, Adam. Every thread runs the same call.

A batch is two or three phases: its tiles, the sum of their gradients with the update, and, where the gradient's norm
must be known before, the update apart. Each phase has a number of items (parts of the gradient, or blocks of weights).

Threads share two counters, each on a cache line of its own. ``sync[0]`` hands out tickets: its upper half counts phases
that were completed, its lower half items drawn of the present one, so that one atomic addition draws an item and tells
which phase it belongs to. ``sync[8]`` counts completed items. The thread that completes a phase's last item closes the
phase alone (sums in order, the epoch's loss), sets ``sync[8]`` to 0, and only then writes the next phase with no item
drawn into ``sync[0]``. A thread that draws a ticket beyond the last item waits until the upper half has moved, a little
while by looking, then by giving way to other threads. Its ticket is lost when ``sync[0]`` is written, and nothing with
it: a phase is closed only after all of its items were drawn, so whatever is drawn after that is a ticket beyond the
last. Nobody waits for a thread that the system has put aside, unless it holds an item; and all writes of a phase are
seen in the next, since the counters are read and written in sequentially consistent order.

What is computed, and in which order it is added up, depends on the batch alone: gradients are summed tile after tile
into one of at most CHUNKS parts, and those in their order; so weights have the same bits for any number of threads.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels import gradients
from fastlrp.kernels.cpu.elementwise import add, fill
from fastlrp.kernels.cpu.transpose import load
from fastlrp.kernels.lanes import at, distinct, least
from fastlrp.kernels.target import compiled, entry, merged
from fastlrp.kernels.training.threads import atomic_add, atomic_read, atomic_write, await_next
from fastlrp.kernels.training.tile import execute, loss_gradient

#: Phases of a batch.
TILES, SUM, MOVE = range(3)
#: What a call does: update weights batch by batch, only compute a gradient, or only the loss.
UPDATE, GRADIENT, LOSS = range(3)
#: Weights are updated in blocks, so that norms are summed in the same order by any number of threads.
BLOCK = 2048
#: Features loaded at once: few enough that the rows they go to stay in the first cache.
_FEATURES = 64

JOB = np.dtype(
    (
        np.record,
        [(name, np.int64) for name in (
            "mode", "phases", "samples", "batch", "lanes", "tiles", "width", "features", "outputs", "loss", "rows",
            "x", "output", "top", "zeros", "n_zeros", "ones", "params", "stride", "done", "seed", "drops",
        )]
        + [(name, np.float64) for name in (
            "huber_delta", "alpha", "rate", "beta_1", "beta_2", "epsilon", "clipnorm",
        )],
    )
)  # fmt: skip


@compiled
def _gather(n, index, flat, packed):
    """Weights in the order in which products read them."""
    distinct()
    for k in range(n):
        packed[k] = flat[index[k]]


@compiled
def _norms(n, flat, decays, factor, gradient):
    """Add the penalty's gradient; sums of squares of the penalised weights and of the gradient, in float64."""
    weights = squares = 0.0
    for k in range(n):
        if decays[k]:
            weights += np.float64(flat[k]) * np.float64(flat[k])
            gradient[k] += factor * flat[k]
        squares += np.float64(gradient[k]) * np.float64(gradient[k])
    return weights, squares


@compiled
def _adam(n, flat, gradient, m, v, clip, rate, beta_1, beta_2, epsilon):
    distinct()
    for k in range(n):
        flat[k], m[k], v[k] = gradients.adam(flat[k], clip * gradient[k], m[k], v[k], rate, beta_1, beta_2, epsilon)


@merged
def _load_tile(job, data, order, first, live, s, y, weight, places):
    """X, y and weights of a tile's samples as rows of lanes; lanes past the last sample repeat it with weight 0."""
    X, starts, targets, sample_weight = data
    lanes, number = job.lanes, type(X[0])
    for k in range(lanes):
        sample = order[first + least(k, live - 1)]
        places[k] = starts[sample] * job.features if starts.size else sample * job.width
        weight[k] = number(0) if k >= live else sample_weight[sample] if sample_weight.size else number(1)
        for j in range(job.outputs):
            y[j * lanes + k] = targets[sample * job.outputs + j]
    for d in range(0, job.width, _FEATURES):
        count = least(_FEATURES, job.width - d)
        load(at(X, d), places, 1, count, at(s, (job.x + d) * lanes), lanes, lanes)


@merged
def _run_tile(job, programs, data, order, offset, first, live, s, packed, places, factor, key, gradient, onto, stop):
    """One tile, forward and backward; returns the weighted sum of its losses."""
    lanes, number = job.lanes, type(factor)
    y = at(s, job.rows * lanes)
    weight = at(y, job.outputs * lanes)
    _load_tile(job, data, order, offset + first, live, s, y, weight, places)
    loss = 0.0
    for part in range(1 if job.mode == LOSS else 2):  # one call in the source: it is put in here as a whole
        execute(programs[part], s, lanes, packed, gradient, onto, first, key, stop)
        if part == 0:
            loss = loss_gradient(job.outputs, lanes, at(s, job.output * lanes), y, weight, job.loss,
                                 number(job.huber_delta), factor, at(s, job.top * lanes))  # fmt: skip
    return loss


@merged
def _sum_block(job, model, block, chunks, weight_sum, squares):
    """Sum the parts of one block of the gradient; add the penalty's; squares of both where they are asked for."""
    flat, _, _, _, decays, grads = model
    number = type(flat[0])
    lo = block * BLOCK
    n = least(BLOCK, job.params - lo)
    for c in range(1, chunks):
        add(n, at(grads, c * job.stride + lo), at(grads, lo), number(1))
    if job.alpha > 0 or job.clipnorm > 0:
        squares[2 * block], squares[2 * block + 1] = _norms(
            n, at(flat, lo), at(decays, lo), number(job.alpha / weight_sum if weight_sum > 0 else 0.0), at(grads, lo)
        )


@merged
def _move_block(job, model, block, step, clip):
    """Adam on one block of the weights."""
    flat, m, v, _, _, grads = model
    number = type(flat[0])
    lo = block * BLOCK
    rate = job.rate * np.sqrt(1.0 - job.beta_2**step) / (1.0 - job.beta_1**step)
    _adam(least(BLOCK, job.params - lo), at(flat, lo), at(grads, lo), at(m, lo), at(v, lo), number(clip),
          number(rate), number(job.beta_1), number(job.beta_2), number(job.epsilon))  # fmt: skip


@merged
def _close_phase(job, phase, chunks, blocks, weight_sum, totals, squares, sums):
    """What the thread that completes a phase does alone: sums over its items, in their order."""
    if phase == TILES:
        for c in range(chunks):
            sums[0] += totals[c]
        sums[1] += weight_sum
    elif phase == SUM and (job.alpha > 0 or job.clipnorm > 0):
        weights = norm = 0.0
        for block in range(blocks):
            weights += squares[2 * block]
            norm += squares[2 * block + 1]
        sums[0] += 0.5 * job.alpha * weights
        norm = np.sqrt(norm)
        sums[2] = job.clipnorm / norm if norm > job.clipnorm else 1.0


@merged
def _weight_sum(order, first, live, sample_weight):
    """What a batch's loss is divided by: its number of samples, or their weights' sum."""
    if sample_weight.size == 0:
        return np.float64(live)
    total = 0.0
    for k in range(live):
        total += np.float64(sample_weight[order[first + k]])
    return total


@entry
def run_epochs(jobs, programs, data, orders, model, scratch, places, totals, squares, sums, curve, sync, stop):
    """``curve[2 * e]``: the sum of epoch e's losses, with the penalty, each batch before its update; and beside it the
    number of samples, or their weights' sum. ``sums`` may hold those of the epoch's samples before these. Once
    ``stop[0]`` is not 0, all threads return soon, and leave numbers that mean nothing."""
    job = jobs[0]
    flat, _, _, index, _, grads = model
    lanes, number = job.lanes, type(flat[0])
    s = at(scratch, 0)
    packed = at(s, (job.rows + job.outputs + 1) * lanes)
    fill(lanes, at(s, job.ones * lanes), number(1))
    fill(job.n_zeros * lanes, at(s, job.zeros * lanes), number(0))
    blocks = (job.params + BLOCK - 1) // BLOCK
    an_epoch = (job.samples + job.batch - 1) // job.batch
    batches = orders.size // job.samples * an_epoch
    here, chunks, live, offset, has_packed = -1, 0, 0, 0, False
    weight_sum, factor, key = 1.0, number(0), np.uint64(0)
    while atomic_read(at(stop, 0)) == 0:
        ticket = atomic_add(at(sync, 0), 1)
        opened, item = ticket >> 32, ticket & 0xFFFFFFFF
        batch, phase = opened // job.phases, opened % job.phases
        if batch >= batches:
            return
        if batch != here:
            here, has_packed = batch, False
            offset = batch // an_epoch * job.samples + batch % an_epoch * job.batch
            live = least(job.batch, (batch // an_epoch + 1) * job.samples - offset)
            chunks = (live + job.tiles * lanes - 1) // (job.tiles * lanes)
            weight_sum = _weight_sum(orders, offset, live, data[3])
            factor = number(1.0 / (weight_sum * job.outputs)) if weight_sum > 0 else number(0)
            if job.drops:
                key = gradients.scattered(gradients.scattered(np.uint64(job.seed)) + np.uint64(job.done + batch + 1))
        count = chunks if phase == TILES else blocks
        if item >= count:
            await_next(at(sync, 0), opened, at(stop, 0))
            continue
        if phase == TILES:
            if not has_packed:  # while an item of this phase is not completed, no weight moves
                _gather(index.size, at(index, 0), at(flat, 0), packed)
                has_packed = True
            begin = item * job.tiles * lanes
            end = least(begin + job.tiles * lanes, live)
            gradient, total = at(grads, item * job.stride), 0.0
            for first in range(begin, end, lanes):
                total += _run_tile(job, programs, data, orders, offset, first, least(lanes, end - first), s, packed,
                                   places, factor, key, gradient, first - begin, at(stop, 0))  # fmt: skip
            totals[item] = total
        if phase == SUM:
            _sum_block(job, model, item, chunks, weight_sum, squares)
        if phase == MOVE or (phase == SUM and job.mode == UPDATE and job.clipnorm == 0):
            _move_block(job, model, item, job.done + batch + 1, sums[2] if job.clipnorm > 0 else 1.0)
        if atomic_add(at(sync, 8), 1) == count - 1:
            _close_phase(job, phase, chunks, blocks, weight_sum, totals, squares, sums)
            if phase == job.phases - 1 and (batch + 1) % an_epoch == 0:
                curve[batch // an_epoch * 2], curve[batch // an_epoch * 2 + 1] = sums[0], sums[1]
                sums[0] = sums[1] = 0.0
            atomic_write(at(sync, 8), 0)
            atomic_write(at(sync, 0), (opened + 1) << 32)
