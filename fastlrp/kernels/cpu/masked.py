"""The entries of the CPU backend: windows as they are, or, of a network with Masking, their live steps alone.

A masked step changes nothing, so a window that has some is the shorter window of its live steps, bit for bit. Windows
with equally many live steps are a group, which kernels take as windows of so many steps: the rows of live steps, in
order, each window a run of them; full windows of a panel still share their months. What kernels give goes to each
window's row, its relevance to the steps that are live, and masked ones get zero. A group is taken some windows at a
time, so that no more than these are held twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastlrp.gradient_rules import IntegratedGradients
from fastlrp.kernels import memory
from fastlrp.kernels.cpu import host
from fastlrp.kernels.program.instructions import Array
from fastlrp.kernels.results import Results
from fastlrp.masks import masked_rows
from fastlrp.model.chain import Chain
from fastlrp.model.layers import Bidirectional, Recurrent
from fastlrp.panels.windows import Windows
from fastlrp.rules import Aggregate, Rule

#: Bytes of relevance, and as many of X, of the windows that are taken at once.
AT_ONCE_BYTES = 1 << 25


class _Part(NamedTuple):
    """Some windows with equally many live steps.

    Attributes
    ----------
    steps : int
        How many these are.
    rows : int64 array (window,)
        The windows' places in the results.
    runs : Windows or None
        The runs of live rows, whose places are those of the results, or, where ``which`` is given, count the runs; None
        where no step is live.
    which : int array (window,) or None
        Which of the runs is a window's own: windows that end in masked steps may have the same.
    live : bool array (window, T) or None
        Whether a step is live, likewise.
    static : array (window, static) or None
        Static features, where there are some and no step is live.
    """

    steps: int
    rows: Array
    runs: Windows | None
    which: Array | None = None
    live: Array | None = None
    static: Array | None = None


def run(
    net: Chain,
    windows: Windows,
    steps: int,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
    at_step: int | None = None,
) -> Results:
    """Predict every window, and explain it if there is a rule; arguments and errors are those of ``host.run``.

    Raises
    ------
    ValueError
        If windows have masked steps, and the rule a baseline for each step.
    """
    ask: dict[str, Any] = {"target": target, "aggregate": aggregate}
    parts = _parts(net, windows, steps, rule, reduced=reduced)
    if parts is None:
        return host.run(net, windows, steps, rule=rule, reduced=reduced, threads=threads, advance=advance,
                        at_step=at_step, **ask)  # fmt: skip
    results = _empty(net, windows, steps, rule, reduced=reduced)
    for rows in _without_window(windows):
        for array in results:
            if len(array):
                array[rows] = np.nan
        if advance is not None:
            advance(len(rows))
    for part in parts:
        _run_part(results, net, part, steps, rule=rule, reduced=reduced, threads=threads, kept=True, **ask)
        if advance is not None:
            advance(len(part.rows))
    return results


def run_into(
    results: Results, net: Chain, windows: Windows, steps: int, *, rule: Rule | None = None, reduced: bool = False,
    **ask: Any,
) -> None:  # fmt: skip
    """Do what :func:`run` does for a part of a whole, and write each result to its window's place in ``results``;
    other rows stay as they are."""
    parts = _parts(net, windows, steps, rule, reduced=reduced)
    if parts is None:
        host.run_into(results, net, windows, steps, rule=rule, reduced=reduced, **ask)
        return
    for part in parts:
        _run_part(results, net, part, steps, rule=rule, reduced=reduced, **ask)


def _empty(net: Chain, windows: Windows, steps: int, rule: Rule | None, *, reduced: bool) -> Results:
    """Arrays for the results, uninitialised; without a rule only predictions have rows."""
    n, kind = windows.n(steps) if windows.wanted is None else windows.wanted, windows.rows.dtype
    return _room(n if rule else 0, n, steps, net, kind, reduced=reduced)


def _room(n: int, n_predictions: int, steps: int, net: Chain, kind: np.dtype[Any], *, reduced: bool) -> Results:
    values = memory.results(n, *net.relevance_shape(steps, reduced=reduced), dtype=kind)
    totals = (memory.results(n, dtype=kind) for _ in range(3))
    return Results(values, memory.results(n_predictions, net.n_outputs, dtype=kind), *totals)


def _without_window(windows: Windows) -> Iterator[Array]:
    """Rows of a panel where no window ends, some at a time."""
    if windows.ends is None:
        return
    rows = np.flatnonzero(~windows.ends if windows.lengths is None else windows.lengths == 0)
    rows = rows if windows.order is None else windows.order[rows]
    rows = rows if windows.wanted is None else rows[rows < windows.wanted]
    yield from (rows[k : k + host.MISSING_ROWS] for k in range(0, len(rows), host.MISSING_ROWS))


# ---- from windows to parts ------------------------------------------------------------------------------------------


def _parts(
    net: Chain, windows: Windows, steps: int, rule: Rule | None, *, reduced: bool
) -> Iterator[_Part] | None:  # fmt: skip
    """The parts of windows that have masked steps; None where none has, or the network skips none."""
    if net.mask_value is None:
        return None
    masked = masked_rows(windows.rows[:, : net.n_features], net.mask_value)
    if masked is None and windows.lengths is None:
        return None
    if isinstance(rule, IntegratedGradients) and rule.rows is not None and len(rule.rows) > 1:
        raise ValueError(
            f"IntegratedGradients(baseline=...) has a value for each of {len(rule.rows)} steps, but some of X's steps "
            "are masked: give it a value a feature, the same at every step"
        )
    by_step = rule is not None and not reduced
    find = _of_array if windows.ends is None else _of_panel
    return find(windows, None if masked is None else ~masked, steps, n_static=net.n_static, by_step=by_step)


def _some(windows: Windows, steps: int) -> int:
    """How many windows are taken at once."""
    return max(1024, int(AT_ONCE_BYTES // (steps * windows.rows.shape[1] * windows.rows.itemsize)))


def _of_array(
    windows: Windows, live: Array | None, steps: int, *, n_static: int, by_step: bool
) -> Iterator[_Part]:  # fmt: skip
    assert live is not None
    live = live.reshape(-1, steps)
    n_live, some = live.sum(axis=1), _some(windows, steps)
    for count in np.unique(n_live).tolist():
        group = np.flatnonzero(n_live == count)
        for k in range(0, len(group), some):
            samples = group[k : k + some]
            rows = samples if windows.places is None else windows.places[samples]
            if not count:
                ends = samples * steps + (steps - 1)
                yield _Part(0, rows, None, static=windows.rows[ends, -n_static:] if n_static else None)
                continue
            at = np.flatnonzero(live[samples])
            order, last = samples[at // steps] * steps + at % steps, np.arange(count - 1, len(at), count)
            if n_static and count < steps:
                ends, numbers = samples * steps + (steps - 1), np.arange(len(samples))
                runs = _own(windows.rows, order, ends, count, n_static)
                yield _Part(count, rows, runs, numbers, live[samples])
            elif count == steps or not by_step:
                yield _Part(count, rows, _ending(windows.rows, order, last, count, rows))
            else:
                numbers = np.arange(len(samples))
                yield _Part(count, rows, _ending(windows.rows, order, last, count, numbers), numbers, live[samples])


def _of_panel(
    windows: Windows, live: Array | None, steps: int, *, n_static: int, by_step: bool
) -> Iterator[_Part]:  # fmt: skip
    assert windows.ends is not None
    order, lengths = windows.order, windows.lengths
    matrix = windows.rows
    if not (matrix.flags.c_contiguous or matrix.flags.f_contiguous):  # once, and not in every group
        matrix = np.ascontiguousarray(matrix)
    lengths = np.where(windows.ends, steps, 0) if lengths is None else lengths
    ends = np.flatnonzero(lengths)
    n_live, last = lengths[ends], ends
    if live is not None:  # live rows alone are a panel, whose runs are the windows
        live = live if order is None else live[order]
        so_far = np.concatenate([[0], np.cumsum(live)])
        n_live, last = so_far[ends + 1] - so_far[ends + 1 - n_live], so_far[ends + 1] - 1
        order = np.flatnonzero(live) if order is None else order[live]
    places = windows.order if windows.places is None else windows.places

    def row_of(at: Array) -> Array:
        return at if windows.order is None else windows.order[at]

    for count in np.unique(n_live).tolist():
        if count == steps and live is None:
            full = ends[n_live == steps]
            rows = full if places is None else places[full]
            yield _Part(steps, rows, Windows(matrix, order, windows.ends, windows.places))
            continue
        group = np.flatnonzero(n_live == count)
        some = _some(windows, steps)
        for k in range(0, len(group), some):
            which = group[k : k + some]
            at, runs = ends[which], last[which]
            rows = at if places is None else places[at]
            if not count:
                yield _Part(0, rows, None, static=matrix[row_of(at), -n_static:] if n_static else None)
                continue
            new = np.diff(runs, prepend=-1) != 0
            if new.all() and (count == steps or not by_step) and not (n_static and live is not None):
                yield _Part(count, rows, _ending(matrix, order, runs, count, rows))
                continue
            steps_at = at[:, None] + np.arange(1 - steps, 1)
            is_live = steps_at > (at - lengths[at])[:, None]
            if live is not None:
                is_live &= live[np.maximum(steps_at, 0)]
            if n_static and live is not None:
                part = _own(matrix, row_of(steps_at[is_live]), row_of(at), count, n_static)
                yield _Part(count, rows, part, np.arange(len(at)), is_live)
                continue
            runs, own = runs[new], np.cumsum(new) - 1
            yield _Part(count, rows, _ending(matrix, order, runs, count, np.arange(len(runs))), own, is_live)


def _own(rows: Array, live: Array, ends: Array, steps: int, n_static: int) -> Windows:
    """Windows of the rows ``live``, so many each, with the static features of the rows ``ends``, where windows end."""
    own = rows[live].reshape(len(ends), steps, -1)
    own[:, -1, -n_static:] = rows[ends, -n_static:]
    last = np.zeros((len(ends), steps), bool)
    last[:, -1] = True
    places = np.zeros((len(ends), steps), np.int64)
    places[:, -1] = np.arange(len(ends))
    return Windows(own.reshape(-1, own.shape[2]), None, last.reshape(-1), places.reshape(-1))


def _ending(rows: Array, order: Array | None, last: Array, steps: int, places: Array) -> Windows:
    """Windows that end in the sorted rows ``last``, with the places of their results."""
    begin, stop = (0 if order is None else int(last[0]) - steps + 1), int(last[-1]) + 1
    ends, to = np.zeros(stop - begin, bool), np.zeros(stop - begin, np.int64)
    ends[last - begin], to[last - begin] = True, places
    return Windows(rows, None if order is None else order[begin:stop], ends, to)


# ---- from parts to results ------------------------------------------------------------------------------------------


def _run_part(
    results: Results, net: Chain, part: _Part, steps: int, *, rule: Rule | None, reduced: bool, **ask: Any
) -> None:
    """Compute a part, and put its results where they belong."""
    if part.runs is None:
        found = _without_steps(net, results.prediction.dtype, rule, part.static, **ask)
        for whole, one in zip(results[1:], found[1:], strict=True):
            if len(whole):
                whole[part.rows] = one
        if rule is not None:
            whole = np.zeros((len(part.rows), *results.values.shape[1:]), results.values.dtype)
            if net.n_static:
                whole[:, -net.n_static :] = found.values
                whole[np.isnan(found.values[:, 0])] = np.nan
            results.values[part.rows] = whole
        return
    if part.which is None:
        host.run_into(results, net, part.runs, part.steps, rule=rule, reduced=reduced, **ask)
        return
    n, kind = int(part.which[-1]) + 1, results.prediction.dtype
    found = _room(n if rule else 0, n, part.steps, net, kind, reduced=reduced)
    host.run_into(found, net, part.runs, part.steps, rule=rule, reduced=reduced, **ask)
    for whole, own in zip(results[1:], found[1:], strict=True):
        if len(whole):
            whole[part.rows] = own[part.which]
    if rule is None:
        return
    values = found.values[part.which]
    if reduced:
        results.values[part.rows] = values
        return
    D, S, missing = net.n_features, net.n_static, np.isnan(values.reshape(len(values), -1)[:, 0])
    whole = np.zeros((len(part.rows), steps, D), kind)
    whole[part.live] = (values[:, : values.shape[1] - S] if S else values).reshape(-1, D)
    whole[missing] = np.nan  # a value is missing, or numbers were too large
    if S:
        whole = np.concatenate([whole.reshape(len(whole), -1), values[:, -S:]], axis=1)
    results.values[part.rows] = whole


def _without_steps(net: Chain, kind: np.dtype[Any], rule: Rule | None, beside: Array | None, **ask: Any) -> Results:
    """The results of windows without a live step: the head reads h_0 = 0, and what relevance arrives there has arrived
    at the initial state; static features, if there are some, are ``beside`` it, a row a window."""
    recurrent = [k for k, layer in enumerate(net.layers) if isinstance(layer, Recurrent | Bidirectional)]
    head = net.layers[recurrent[-1] + 1 :]
    ask = {key: ask[key] for key in ("target", "threads") if key in ask}
    nothing = np.zeros(1 if rule else 0, kind)
    if not any(layer.arrays for layer in head):
        prediction = np.zeros((1, net.n_outputs), kind)
        return Results(np.zeros((len(nothing), 1), kind), prediction, nothing, nothing, nothing)
    first, S = next(layer for layer in head if layer.arrays), net.n_static
    H = first.arrays[0].shape[0] - S
    rows = np.zeros((1 if beside is None else len(beside), H + S), kind)
    if beside is not None:
        rows[:, H:] = beside
    of_head = rule if rule is None or rule.hands_down else _gradient_of_head(rule, H, S)
    found = host.run(Chain(head), Windows(rows), 1, rule=of_head, **ask)
    if rule is None:
        return found
    values, static = found.values[:, 0, :H], found.values[:, 0, H:]
    if not rule.hands_down:  # h_0 is no input
        return Results(static, found.prediction, found.score, 0 * found.score, found.unattributed)
    return Results(static, found.prediction, found.score, values.sum(axis=1), found.unattributed)


def _gradient_of_head(rule: Rule, H: int, S: int) -> Rule:
    """A rule of gradients for the layers that read h_0 = 0 and S static features."""
    if not isinstance(rule, IntegratedGradients):
        return rule
    return IntegratedGradients(rule.n_steps, (*[0.0] * H, *(rule.static or [0.0] * S)))
