"""The list of mutants: where, what stands there, what is put in its place, why, and the tests that should see it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A mistake. ``same``: the reason why it changes no result, for one that no test can see."""

    file: str
    old: str
    new: str
    why: str
    groups: tuple[str, ...]
    same: str = ""


def _of(file: str, groups: str, *changes: tuple[str, ...]) -> list[Mutant]:
    return [Mutant(file, old, new, why, tuple(groups.split()), *same) for old, new, why, *same in changes]


MUTANTS: list[Mutant] = [
    *_of(
        "kernels/formulas.py", "relevance compiled",
        ("return relevance / (z + signed(z, eps))", "return relevance / (z - signed(z, eps))", "the stabiliser's sign"),
        ("return relevance / (z + signed(z, eps))", "return relevance / (z + eps)", "the stabiliser without z's sign"),
        ("    given = delta * bias\n", "    given = bias\n", "delta is left out"),
        ("(signed(z, handed) + given) * q, ", "(signed(z, eps) + given) * q, ", "eps is handed down whatever the stabiliser"),
        ("(signed(z, eps - handed) + (bias - given)) * q", "(signed(z, handed) + (bias - given)) * q", "what is lost of eps"),
        ("    c = written + kept\n    q = per_unit(r_c, c, eps)\n    return written", "    c = written - kept\n    q = per_unit(r_c, c, eps)\n    return written", "the cell's denominator"),
        ("return written * q, kept * q, signed", "return kept * q, written * q, signed", "g and c_{t-1} swapped"),
        ("return even * (factor * handed), (eps - handed) * even", "return even * handed, (eps - handed) * even", "even shares without 1/N"),
        ("return per_unit(arrived, written + kept, eps)", "return per_unit(arrived, kept, eps)", "rudder divides by what was kept alone"),
        ("return (z - upper) * q", "return (upper - z) * q", "the sign of a path that is left out"),
        ("return fma(reset, recurrent, b)", "return fma(reset, b, recurrent)", "a GRU's two biases swapped"),
        ("return weight * a * q + share", "return a * q + share", "the weight of a merge"),
        ("return (above * (of - open_)) / (below * of), past * open_ / of", "return (above * open_) / (below * of), past * (of - open_) / of", "a GRU's update gate the other way round"),
    ),
    *_of(
        "kernels/formulas.py", "formulas",
        ("_fraction(t - n, by_type(t, _TWO32, _TWO64))", "_fraction(t - n, by_type(t, _E32, _E64))", "2^r taken for e^r in gates"),
        ("size = limit if size > limit else size\n    n, power", "size = size if size > limit else size\n    n, power", "no limit for tanh"),
        ("return zero if x < zero else x\n\n\n@inlined\ndef clip", "return x if x < zero else x\n\n\n@inlined\ndef clip", "relu lets negative numbers pass"),
        ("clip_to_one((x + type(x)(3)) / type(x)(6))", "clip_to_one((x + type(x)(2.5)) / type(x)(5))", "Keras 3's hard sigmoid with Keras 2's numbers"),
        ("clip_to_one(fma(x, type(x)(0.2), type(x)(0.5)))", "clip_to_one(fma(x, type(x)(0.25), type(x)(0.5)))", "Keras 2's hard sigmoid steeper"),
        ("return copysign(value, z + type(z)(0))", "return copysign(value, z)", "-0 counted as negative"),
    ),
    *_of(
        "kernels/curves.py", "curves steps",
        ("SELU_ALPHA, SELU_SCALE = 1.7580993408473766, 1.0507009873554805", "SELU_ALPHA, SELU_SCALE = 1.0507009873554805, 1.7580993408473766", "selu's two numbers swapped"),
        ("_GATE_A, _GATE_B = 1.5957691216057308, 0.07135481627260025", "_GATE_A, _GATE_B = 1.5957691216057308, 0.044715", "gelu's cubic term"),
    ),
    *_of(
        "kernels/program/rules.py", "programs relevance compiled",
        ("g = slice(2 * H, 3 * H)\n        W, bias", "g = slice(H, 2 * H)\n        W, bias", "the forget gate's weights for those of g"),
        ("inputs=2 * units)\n        )  # fmt: skip\n        for part", "inputs=units)\n        )  # fmt: skip\n        for part", "N of a merge"),
        ("inputs = D + H if self.recurrent else D\n", "inputs = D\n", "N without h_{t-1}"),
        ("m = Map(H, inputs, z + 2 * H, r_g, walk.share_c, W, bias, p.below, t, p.adds_at(k), -1, None)", "m = Map(H, inputs, z + 2 * H, r_g, walk.zeros, W, bias, p.below, t, p.adds_at(k), -1, None)", "g's even share of the cell's rule"),
        ("            if k in p.arrivals:\n                self.arrival(walk, H, z, p.out.relevance(p.written(k, T)))\n            self.cell(walk, H, z)\n", "            self.cell(walk, H, z)\n            if k in p.arrivals:\n                self.arrival(walk, H, z, p.out.relevance(p.written(k, T)))\n", "relevance arrives after the cell has handed it on"),
        ("            emit(add(1, a=share, out=walk.initial, factor=float(H)))", "            emit(add(1, a=share, out=walk.initial))", "the initial state's shares of one unit only"),
        ("        if self.recurrent:\n            emit(add(1, a=walk.share_c, out=walk.share))\n", "", "c_{t-1}'s even share is dropped"),
        ("        h = p.h(k - 1, T) if k else walk.zeros\n        self.past(walk, H, k, U, q=q, mul=h", "        h = p.h(k, T) if k else walk.zeros\n        self.past(walk, H, k, U, q=q, mul=h", "h of the same step for the step before"),
        ("            emit(lost)\n            self.share_evenly(walk, H)", "            self.share_evenly(walk, H)", "what a left-out path would carry is not counted"),
        ("            emit(lost)\n            self.share_evenly(walk, H)", "            emit(lost)", "no even share for c_{t-1} without the path"),
        ("        walk.down.append(fill(1, out=walk.share_c))\n        for k", "        for k", "a stale even share at the last step"),
        ("walk.down.append(add(H, a=p.out.relevance(p.written(k, T)), out=r_h))", "walk.down.append(add(H, a=p.out.relevance(p.written(k, T)), out=r_h, factor=0.5))", "half of what arrives at a GRU"),
        ("zh, last = state + 2 * H, state + 3 * H  # and r", "zh, last = state + 3 * H, state + 2 * H  # and r", "a GRU's rows swapped"),
        ("bias = walk.keep(np.concatenate([biases.of_W[g], *[biases.of_U] * layer.reset_after]))", "bias = walk.keep(np.concatenate([biases.of_W[:H], *[biases.of_U] * layer.reset_after]))", "the update gate's bias for the candidate's"),
        ("inputs = layer.n_inputs + (H if self.recurrent else 0)", "inputs = layer.n_inputs + H", "N of a GRU without the path"),
    ),
    *_of(
        "kernels/program/lstm.py", "programs relevance steps",
        ("factor = np.repeat([-LOG2E, -LOG2E, 1.0, -LOG2E], H)", "factor = np.repeat([-LOG2E, -LOG2E, -LOG2E, 1.0], H)", "Keras' gate order mistaken for another"),
        ("    emit(multiply(H, a=before, out=z + H))\n", "    emit(multiply(H, a=before, out=z))\n", "the forget gate multiplies the wrong rows"),
        ("    emit(add(H, a=z + H, out=c))\n", "", "c_{t-1} is forgotten"),
        ("    emit(activate(H, a=c, out=squashed, activation=signal))", "    emit(activate(H, a=c, out=squashed, activation=gate))", "the gate's activation around c"),
        ("z, c = p.state(k), p.cells + k % 2 * H\n", "z, c = p.state(k), p.cells\n", "c written over c_{t-1}"),
        ("_any_cell(walk, p.layer, z, before, c, h)\n        before = c\n", "_any_cell(walk, p.layer, z, before, c, h)\n", "c_0 at every step"),
        ("            walk.without([p.read(k, walk.T) for k in range(arrivals.stop, walk.T)], below)\n        rule.lstm", "            pass\n        rule.lstm", "stale relevance at steps that get none"),
    ),
    *_of(
        "kernels/program/gru.py", "programs relevance",
        ("return cls(of_W + np.concatenate([of_U[: 2 * H], np.zeros(H)]), of_U[2 * H :])", "return cls(of_W + of_U, of_U[2 * H :])", "the candidate's recurrent bias counted twice"),
        ("factor = np.repeat([-LOG2E, -LOG2E, 1.0], H)", "factor = np.repeat([-LOG2E, 1.0, -LOG2E], H)", "a GRU's gate order"),
        ("        before, h = h, p.h(k, walk.T)\n", "        before, h = p.h(k, walk.T), p.h(k, walk.T)\n", "h_{t-1} is h_t"),
        ("    emit(gru_cell(H, **cell, stage=RESET))\n", "", "no reset before the product"),
    ),
    *_of(
        "kernels/program/dense.py", "programs relevance",
        ("up, down, bias = walk.matrix(W.T, b), walk.matrix(W) if", "up, down, bias = walk.matrix(W.T, b), walk.matrix(np.abs(W)) if", "signs of weights on the way back"),
        ("up, down, bias = walk.matrix(W.T, b)", "up, down, bias = walk.matrix(W.T)", "a Dense layer without its bias"),
        ("Map(M, K, pre + t * M", "Map(M, M, pre + t * M", "N of a Dense layer is its units"),
    ),
    *_of(
        "kernels/program/bidirectional.py", "programs relevance",
        ("reverse=k == 1, out_reverse=k == 1 and sequence", "reverse=k == 1, out_reverse=False", "the backward half's steps in its own order"),
        ("adds=k == 1)", "adds=False)", "the backward half overwrites the forward half's relevance"),
        ("            emit(copy(H, a=at.rel + H, out=at.rel_two))", "            emit(copy(H, a=at.rel, out=at.rel_two))", "both halves get the first one's relevance"),
        ("emit(scale(H, out=at.out, factor=0.5))", "emit(scale(H, out=at.out, factor=1.0))", "an average that is a sum"),
        ("weight=0.5 if layer.merge_mode == \"ave\" else 1.0", "weight=1.0", "an average's relevance as a sum's"),
    ),
    *_of(
        "kernels/program/join.py", "static",
        ("static.place(walk.T - 1)", "static.place(0)", "static features of the first month"),
        ("    walk.down.append(copy(H, a=out.rel, out=below.rel))\n", "    walk.down.append(copy(H, a=out.rel + S, out=below.rel))\n", "the recurrent layer gets its neighbours' relevance"),
    ),
    *_of(
        "kernels/program/gradients.py", "gradients derivatives",
        ("emit(product(H, out=dh, weights=U, a=p.state(k + 1), a_depth=4 * H, init=init))", "emit(product(H, out=dh, weights=U, a=p.state(k + 1), a_depth=3 * H, init=init))", "the output gate's gradient through time"),
        ("init = arrived if k in p.arrivals else None\n                emit", "init = None\n                emit", "gradients that arrive at earlier steps"),
        ("before=p.cell(k - 1) if k else walk.zeros", "before=p.cell(k) if k else walk.zeros", "c_t for c_{t-1}"),
        ("if layer.activation != \"linear\" and not walk.last:", "if not walk.last and False:", "the slope of a hidden Dense layer"),
        ("if layer.activation != \"linear\" and not walk.last:", "if layer.activation != \"linear\":", "the slope of the explained output, too"),
        ("zip((1 + at) / 2, weights / 2, strict=True)", "zip((1 + at) / 2, weights, strict=True)", "node weights that sum to two"),
        ("zip((1 + at) / 2, weights / 2, strict=True)", "zip(at, weights / 2, strict=True)", "nodes on [-1, 1]"),
        ("less = [walk.matrix(np.eye(D), -np.array(row)) for row in self.baseline]", "less = [walk.matrix(np.eye(D), np.array(row)) for row in self.baseline]", "x plus the baseline"),
        ("weights = less[t % len(less)]", "weights = less[0]", "the first step's baseline at all steps"),
        ("if weight != 1.0:", "if weight == 1.0:", "an average's gradient not halved"),
        ("add(1, a=walk.share, out=walk.lost, factor=-1.0)", "add(1, a=walk.share, out=walk.lost)", "gradient times input's unattributed part with the wrong sign"),
    ),
    *_of(
        "kernels/gradients.py", "training",
        ("dc = fma(dh * o, fma(-t, t, one), dc)", "dc = fma(dh * o, fma(-t, t, one), dc - dc)", "the cell's gradient through time"),
        ("dc = fma(dh * o, fma(-t, t, one), dc)", "dc = fma(dh * o, fma(t, t, one), dc)", "the slope of tanh"),
        ("dc * g * (i * (one - i)),\n        dc * c", "dc * g * (i * (one + i)),\n        dc * c", "the slope of a sigmoid"),
        ("dc * c * (f * (one - f)),", "dc * g * (f * (one - f)),", "g for c_{t-1} in the forget gate's gradient"),
        ("        dc * f,\n", "        dc,\n", "the forget gate on the way back"),
        ("dh * t * (o * (one - o)),", "dh * c * (o * (one - o)),", "c_{t-1} for tanh(c)"),
        ("return dh * (h - g) * (z * (one - z))", "return dh * (g - h) * (z * (one - z))", "the sign of a GRU's update gate"),
        ("dh * (one - z) * fma(-g, g, one), dh * z", "dh * z * fma(-g, g, one), dh * z", "a GRU's candidate through the wrong gate"),
        ("return z, r, g, fma(z, h - g, g)", "return z, r, g, fma(z, g - h, h)", "a GRU's blend the other way round"),
    ),
    *_of(
        "kernels/gradients.py", "trainer",
        ("m = fma(gradient - m, one - beta_1, m)", "m = fma(gradient - m, beta_1, m)", "Adam's first decay"),
        ("return w - rate * m / (np.sqrt(v) + epsilon), m, v", "return w - rate * m / np.sqrt(v + epsilon), m, v", "Adam's epsilon inside the root"),
        ("return w - rate * m / (np.sqrt(v) + epsilon), m, v", "return w + rate * m / (np.sqrt(v) + epsilon), m, v", "up the hill"),
    ),
    *_of(
        "kernels/cpu/gates.py", "training gradients",
        ("cell[k] = zf[k] * before[k] + zi[k] * zg[k]", "cell[k] = zi[k] * before[k] + zf[k] * zg[k]", "i and f swapped with unusual activations"),
        ("    times(n, dc, before, df)\n", "    times(n, dc, zg, df)\n", "the forget gate's gradient with unusual activations"),
        ("        dc[k] *= zf[k]\n", "        dc[k] *= zi[k]\n", "the way back through the input gate"),
        ("    slope(signal, n, squashed, do)\n", "", "the slope around c with unusual activations"),
    ),
    *_of(
        "kernels/cpu/tile.py", "relevance compiled",
        ("        share[k] *= factor\n", "        share[k] *= factor * factor\n", "1/N twice"),
        ("            lost[k] += gone\n    for k in range(lanes):\n        share[k] *= factor", "            lost[k] = gone\n    for k in range(lanes):\n        share[k] *= factor", "only the last unit's loss"),
        ("            lost[k] -= value\n", "", "rudder's loss keeps what steps took"),
        ("            value = written[i] * q_sum[i]\n", "            value = written[k] * q_sum[i]\n", "the first unit's contribution for all"),
        ("lost[k] += formulas.left_out(z[j * lanes + k], upper[j * upper_lanes + k]", "lost[k] += formulas.left_out(z[j * lanes + k], upper[j * upper_lanes]", "the first sample's part for all"),
        ("zi[k], zf[k], new[k] = written, kept, written + kept", "zi[k], zf[k], new[k] = written, kept, written", "the cell forgets all"),
    ),
    *_of(
        "kernels/cpu/tile.py", "gradients",
        ("out[i] = fma(part, source[i], b)", "out[i] = fma(part, b, source[i])", "the way from a baseline"),
    ),
    *_of(
        "kernels/cpu/few.py", "few",
        ("    share[0], lost[0] = shared * factor, left\n", "    share[0], lost[0] = shared, left\n", "one sample's even share without 1/N"),
        ("    shared, left = eps - eps, lost[0]\n", "    shared, left = eps - eps, eps - eps\n", "one sample's losses so far"),
        ("                    top[job.target] = nodes[node + 1] if nodes.size else score", "                    top[0] = nodes[node + 1] if nodes.size else score", "always the first output"),
        ("    lost[0] += gone\n\n\n@compiled\ndef _rudder_arrival", "    lost[0] = gone\n\n\n@compiled\ndef _rudder_arrival", "one sample's losses of the last step alone"),
        ("missing = not _all_finite(job.inputs, at(X, i * job.inputs), spare)", "missing = not _all_finite(job.inputs, at(X, 0), spare)", "the first sample's missing values for all"),
        ("    some = False\n    for i", "    some = True\n    for i", "work for samples that are all missing", "it only saves time: all results of such samples are NaN"),
    ),
    *_of(
        "panels/order.py", "panels months rolling",
        ("(np.diff(position) == step))\n", "(np.diff(position) >= step))\n", "a window over a hole"),
        ("gap = ~((asset[1:] == asset[:-1]) & ", "gap = ~(", "a window over two assets"),
        ("ends = np.asarray(run >= steps - 1)", "ends = np.asarray(run >= steps)", "the first window of each asset is left out"),
        ("short = np.flatnonzero(~ends & (run >= least - 1))", "short = np.flatnonzero(~ends & (run >= least))", "a short history of one month more"),
        ("hole &= position[short] - position[before] <= (steps - 1) * step", "hole &= position[short] - position[before] < (steps - 1) * step", "a hole at the oldest month"),
        ("lengths[short] = run[short] + 1", "lengths[short] = run[short]", "a short history that loses a month"),
        ("complete[last] = bad[last + 1] == bad[last + 1 - (steps", "complete[last] = bad[last] == bad[last + 1 - (steps", "a missing value in the last month"),
        ("(time[1:] == time[:-1])) + 1\n    if len(twice)", "(time[1:] == time[:-1]))[:0] + 1\n    if len(twice)", "a row that stands twice is taken"),
    ),
    *_of(
        "panels/calendar.py", "panels",
        ("np.gcd.reduce(within)) if len(within) else 0)", "np.max(within)) if len(within) else 0)", "the largest step between months for the common one"),
        ("        rank = self._ranks(index.levels[0])[index.codes[0]]\n", "        rank = index.codes[0]\n", "a part's own times for the panel's"),
    ),
    *_of(
        "panels/static.py", "static",
        ("ends=windows.ends & fine, lengths=lengths)", "ends=windows.ends, lengths=lengths)", "a missing static value passes"),
        ("(lacks if windows.order is None else lacks[windows.order])", "lacks", "static values in another order than rows"),
    ),
    *_of(
        "kernels/cpu/months.py", "months",
        ("_copy_vectors(at(row, h * LANES + 1), into)", "_copy_vectors(at(row, h * LANES), into)", "months not dealt on by one"),
        ("into[apart[k]] = row[after + k * more + h]", "into[apart[k]] = row[after + h]", "the first segment's months for all"),
    ),
    *_of(
        "kernels/cpu/masked.py", "masks static",
        ("n_live, last = so_far[ends + 1] - so_far[ends + 1 - n_live], so_far[ends + 1] - 1", "n_live, last = so_far[ends] - so_far[ends - n_live], so_far[ends] - 1", "the last step is not counted"),
        ("is_live = steps_at > (at - lengths[at])[:, None]", "is_live = steps_at >= (at - lengths[at])[:, None]", "a step before a short history"),
        ("own[:, -1, -n_static:] = rows[ends, -n_static:]", "own[:, -1, -n_static:] = rows[live[-1], -n_static:]", "another window's static features"),
    ),
    *_of(
        "masks.py", "masks",
        ("== wanted).all(axis=1)", "== wanted).any(axis=1)", "one feature is enough to skip a step"),
        ("found[start + some]", "found[some]", "masked rows of the first block alone"),
    ),
    *_of(
        "relevance/arrays.py", "totals",
        ('(("score", 1), ("initial_state", -1), ("unattributed", -1))', '(("score", 1), ("initial_state", -1))', "a gap that counts what is unattributed"),
        ("            out[rows, 0] = -flat.sum(axis=1, dtype=np.float64)", "            out[rows, 0] = flat.sum(axis=1, dtype=np.float64)", "the sign of relevance in the gap"),
        ("return np.asarray(~(self.missing | np.isnan(self.unattributed)))", "return np.asarray(~self.missing)", "overflow counted as explained"),
        ("return part / whole if whole else part and float(\"inf\")", "return part / whole if whole else 0.0", "a score of 0 that is all unattributed"),
        ("relative = gap / scale\n", "relative = gap / scale.max()\n", "the largest row's scale for all"),
    ),
    *_of(
        "relevance/arrays.py", "ensemble",
        ("return float((between - within / n) / whole)", "return float(between / whole)", "agreement without the noise of the mean"),
        ("whole = between + within * (n - 1) / n", "whole = between + within", "agreement's denominator"),
    ),
    *_of(
        "relevance/averages.py", "averages",
        ("seen = weighed > 0\n", "seen = weighed >= 0\n", "periods without relevance are shown"),
        ("rank * np.int64(len(label)) + code", "rank + code", "cells of a period and a label mixed up"),
        ("        place = np.where(weights > 0, place, -1)\n", "        place = np.where(weights >= 0, place, -1)\n", "rows without weight", "their weight is 0, and so is what they add: relevance is finite, or NaN in a whole row, which is left out"),
        ("total[seen] / weighed[seen, None]", "total[seen] / len(relevance)", "a mean over all rows"),
        ("usable = usable[np.argsort(at[usable], kind=\"stable\")]", "usable = usable[np.argsort(at[usable])[::-1]]", "sums of cells that are not sorted"),
    ),
    *_of(
        "keras/fold.py", "keras",
        ("bias = self.offset @ W.astype(np.float64) + (0.0", "bias = 0 * self.offset @ W.astype(np.float64) + (0.0", "a normalisation's offset"),
        ("(self.scale[:, None] * W.astype(np.float64))", "(W.astype(np.float64) / self.scale[:, None])", "a normalisation's scale the other way round"),
        ('found["moving_variance"] + eps', 'found["moving_variance"]', "batch normalisation without its epsilon"),
        ('- scale * mean)', '- mean)', "batch normalisation's mean unscaled"),
        ("return Affine(node, 1 / deviation, -mean / deviation)", "return Affine(node, 1 / deviation, -mean)", "normalisation's mean unscaled"),
        ("below.offset * self.scale + self.offset)", "below.offset + self.offset)", "two maps joined without the scale between them"),
        ("b * self.scale + self.offset\n", "b + self.offset\n", "a bias folded without its scale"),
    ),
    *_of(
        "keras/cudnn.py", "keras",
        ("bias[: bias.size // 2] + bias[bias.size // 2 :]", "bias[: bias.size // 2]", "cuDNN's second bias"),
        ("U = np.concatenate([part.T for part in np.split(U, 4, axis=1)], axis=1)", "U = np.concatenate(np.split(U, 4, axis=1), axis=1)", "cuDNN's transposed matrices"),
    ),
    *_of(
        "learning/split.py", "split",
        ("stop = first - left_out\n", "stop = first\n", "no gap between training and test"),
        ("left_out, least = self.gap + self.embargo", "left_out, least = self.gap", "no embargo"),
        ("rows(opens[first:last].min(), last)", "rows(first, last)", "the test's windows without their history"),
        ("stop - self.window if self.window else 0", "0", "a rolling window that grows"),
        ("(rank >= start) & (rank < stop)", "(rank >= start) & (rank <= stop)", "a period of the test trains"),
    ),
    *_of(
        "learning/preprocessing.py", "preprocessing",
        ("np.argsort(rank, kind=\"stable\")\n        out", "np.arange(len(rank))\n        out", "periods that are not together"),
        ("(first + last) / 2", "first", "ties get the lowest rank"),
        ("np.maximum(count - 1, 1) - (count > 1)", "np.maximum(count, 1) - (count > 1)", "ranks that do not reach 1"),
        ("np.maximum(count - self.ddof, 1))", "np.maximum(count, 1))", "ddof is left out"),
        ("done = np.where(gaps, self._center(block), done)", "done = np.where(gaps, done, done)", "missing values stay where the middle was asked for"),
    ),
    *_of(
        "learning/rolling_data.py", "rolling",
        ("rows = self.rows(span.start, span.cut)\n        return scaling", "rows = self.rows(span.start, span.stop)\n        return scaling", "the scaler sees validation"),
        ("rows = self.rows(span.start, span.cut)\n        return scaling", "rows = self.rows(0, len(self.times))\n        return scaling", "the scaler sees the future"),
        ("self._part(rows, values, self.ends(span, span.start, span.cut))\n        held", "self._part(rows, values, self.ends(span, span.start, span.stop))\n        held", "held-out samples train"),
        ("weight[caller] / weight[caller].mean()", "weight[caller] / weight.mean()", "weights normalised over all periods"),
        ("self.lengths(last) + 1 >= span.start]", "self.lengths(last) + 1 >= 0]", "samples that reach back before the window"),
        ("y = (transform.fit if fit else transform.transform)(y, index)", "y = transform.fit(y, index)", "the target's transform fitted on held-out samples"),
        ("(self.period >= first) & (self.period < stop))\n        return last", "(self.period >= first) & (self.period <= stop))\n        return last", "a period too many trains"),
        ("spread = np.sqrt(squares[seen] / n[seen])", "spread = squares[seen] / n[seen]", "the variance for the deviation"),
        ("squares += np.nansum((block - center) ** 2, axis=0)", "squares += np.nansum(block**2, axis=0)", "squares around 0"),
    ),
]  # fmt: skip
