"""Whole epochs in one compiled call: batches, tiles, the sum of their gradients, Adam. Every thread runs the same call.

Threads share the tiles of each batch and then the update, and meet twice a batch. What is computed, and in which
order it is added up, depends on the batch alone: gradients are summed tile after tile into one of at most CHUNKS
parts, and those in their order; so weights have the same bits for any number of threads.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np
from numba import njit

from fastlrp.kernels import gradients
from fastlrp.kernels.lanes import at, distinct, load
from fastlrp.kernels.tile import add, fill
from fastlrp.kernels.train_lanes import atomic_add, meet
from fastlrp.kernels.train_tile import _compiled, _merged, execute, loss_gradient

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
            "mode", "threads", "samples", "batch", "lanes", "tiles", "width", "features", "outputs", "loss", "rows",
            "x", "output", "top", "zeros", "n_zeros", "ones", "params", "stride", "done", "seed", "drops",
        )]
        + [(name, np.float64) for name in (
            "huber_delta", "alpha", "rate", "beta_1", "beta_2", "epsilon", "clipnorm",
        )],
    )
)  # fmt: skip


@_compiled
def _gather(n, index, flat, packed):
    """Weights in the order in which products read them."""
    distinct()
    for k in range(n):
        packed[k] = flat[index[k]]


@_compiled
def _norms(n, flat, decays, factor, gradient):
    """Add the penalty's gradient; sums of squares of the penalised weights and of the gradient, in float64."""
    weights = squares = 0.0
    for k in range(n):
        if decays[k]:
            weights += np.float64(flat[k]) * np.float64(flat[k])
            gradient[k] += factor * flat[k]
        squares += np.float64(gradient[k]) * np.float64(gradient[k])
    return weights, squares


@_compiled
def _adam(n, flat, gradient, m, v, clip, rate, beta_1, beta_2, epsilon):
    distinct()
    for k in range(n):
        flat[k], m[k], v[k] = gradients.adam(flat[k], clip * gradient[k], m[k], v[k], rate, beta_1, beta_2, epsilon)


@_merged
def _load_tile(job, data, order, first, live, s, y, weight, places):
    """X, y and weights of a tile's samples as rows of lanes; lanes past the last sample repeat it with weight 0."""
    X, starts, targets, sample_weight = data
    lanes, number = job.lanes, type(X[0])
    for k in range(lanes):
        sample = order[first + min(k, live - 1)]
        places[k] = starts[sample] * job.features if starts.size else sample * job.width
        weight[k] = number(0) if k >= live else sample_weight[sample] if sample_weight.size else number(1)
        for j in range(job.outputs):
            y[j * lanes + k] = targets[sample * job.outputs + j]
    for d in range(0, job.width, _FEATURES):
        count = min(_FEATURES, job.width - d)
        load(at(X, d), places, 1, count, at(s, (job.x + d) * lanes), lanes, lanes)


@_merged
def _run_tile(job, programs, data, order, offset, first, live, s, packed, places, factor, key, gradient, onto):
    """One tile, forward and backward; returns the weighted sum of its losses."""
    lanes, number = job.lanes, type(factor)
    y = at(s, job.rows * lanes)
    weight = at(y, job.outputs * lanes)
    _load_tile(job, data, order, offset + first, live, s, y, weight, places)
    loss = 0.0
    for part in range(1 if job.mode == LOSS else 2):  # one call in the source: it is put in here as a whole
        execute(programs[part], s, lanes, packed, gradient, onto, first, key)
        if part == 0:
            loss = loss_gradient(job.outputs, lanes, at(s, job.output * lanes), y, weight, job.loss,
                                 number(job.huber_delta), factor, at(s, job.top * lanes))  # fmt: skip
    return loss


@_merged
def _update(job, thread, model, chunks, weight_sum, step, squares, sync):
    """Sum the parts of the gradient and, in training, move the weights: each thread its blocks."""
    flat, m, v, _, decays, grads = model
    number = type(flat[0])
    blocks = (job.params + BLOCK - 1) // BLOCK
    normed = job.alpha > 0 or job.clipnorm > 0
    for block in range(thread, blocks, job.threads):
        lo = block * BLOCK
        n = min(BLOCK, job.params - lo)
        for c in range(1, chunks):
            add(n, at(grads, c * job.stride + lo), at(grads, lo), number(1))
        if normed:
            squares[2 * block], squares[2 * block + 1] = _norms(
                n, at(flat, lo), at(decays, lo), number(job.alpha / weight_sum), at(grads, lo)
            )
    if job.mode == UPDATE:
        clip = 1.0
        if job.clipnorm > 0:
            meet(at(sync, 0), job.threads)
            total = 0.0
            for block in range(blocks):
                total += squares[2 * block + 1]
            norm = np.sqrt(total)
            clip = job.clipnorm / norm if norm > job.clipnorm else 1.0
        rate = job.rate * np.sqrt(1.0 - job.beta_2**step) / (1.0 - job.beta_1**step)
        for block in range(thread, blocks, job.threads):
            lo = block * BLOCK
            _adam(min(BLOCK, job.params - lo), at(flat, lo), at(grads, lo), at(m, lo), at(v, lo), number(clip),
                  number(rate), number(job.beta_1), number(job.beta_2), number(job.epsilon))  # fmt: skip


@_merged
def _weight_sum(order, first, live, sample_weight):
    """What a batch's loss is divided by: its number of samples, or their weights' sum; 1 where that is 0."""
    if sample_weight.size == 0:
        return np.float64(live)
    total = 0.0
    for k in range(live):
        total += np.float64(sample_weight[order[first + k]])
    return total


@njit(error_model="numpy", nogil=True, cache=True)
def run_epochs(jobs, programs, data, orders, model, scratch, places, totals, squares, curve, sync, thread):
    """``curve[e]``: the mean loss of epoch e, with the penalty, each batch before its update."""
    job = jobs[0]
    flat, _, _, index, _, grads = model
    lanes, number = job.lanes, type(flat[0])
    s = at(scratch, 0)
    packed = at(s, (job.rows + job.outputs + 1) * lanes)
    fill(lanes, at(s, job.ones * lanes), number(1))
    fill(job.n_zeros * lanes, at(s, job.zeros * lanes), number(0))
    step = job.done
    for epoch in range(orders.size // job.samples):
        loss = weights = 0.0
        for offset in range(epoch * job.samples, (epoch + 1) * job.samples, job.batch):
            batch = min(job.batch, (epoch + 1) * job.samples - offset)
            step += 1
            key = np.uint64(0)
            if job.drops:
                key = gradients.scattered(gradients.scattered(np.uint64(job.seed)) + np.uint64(step))
            weight_sum = _weight_sum(orders, offset, batch, data[3])
            factor = number(1.0 / (weight_sum * job.outputs)) if weight_sum > 0 else number(0)
            _gather(index.size, at(index, 0), at(flat, 0), packed)
            chunk, chunks = thread, (batch + job.tiles * lanes - 1) // (job.tiles * lanes)
            if job.threads > 1:
                chunk = atomic_add(at(sync, 8), 1)
            while chunk < chunks:
                begin = chunk * job.tiles * lanes
                end = min(begin + job.tiles * lanes, batch)
                gradient, part = at(grads, chunk * job.stride), 0.0
                for first in range(begin, end, lanes):
                    part += _run_tile(job, programs, data, orders, offset, first, min(lanes, end - first), s, packed,
                                      places, factor, key, gradient, first - begin)  # fmt: skip
                totals[chunk] = part
                chunk = atomic_add(at(sync, 8), 1) if job.threads > 1 else chunk + 1
            meet(at(sync, 0), job.threads)
            if thread == 0:
                sync[8] = 0
                for c in range(chunks):
                    loss += totals[c]
                weights += weight_sum
            if job.mode != LOSS:
                _update(job, thread, model, chunks, max(weight_sum, 1e-300), step, squares, sync)
                meet(at(sync, 0), job.threads)
                if thread == 0 and job.alpha > 0:
                    for block in range((job.params + BLOCK - 1) // BLOCK):
                        loss += 0.5 * job.alpha * squares[2 * block]
        if thread == 0:
            curve[epoch] = loss / weights if weights > 0 else 0.0
