"""Two LSTMs, or two GRUs, over the same input, and how their outputs meet."""

from __future__ import annotations

from fastlrp.kernels.program.instructions import add, copy, scale
from fastlrp.kernels.program.recurrent import run_cell
from fastlrp.kernels.program.rows import Rows
from fastlrp.kernels.program.walk import Meeting, Walk
from fastlrp.model.layers import Bidirectional


def bidirectional(walk: Walk, layer: Bidirectional, below: Rows) -> Rows:
    """Write both directions, forward and back; returns the place of their output."""
    H, sequence = layer.forward.units, layer.return_sequences
    joined = sequence and layer.merge_mode == "concat"
    if joined:  # each writes its half of each step's rows, so that nothing is left to merge
        out = walk.output(2 * H, sequence=True, kept=walk.T)
        parts = [Rows(out.at + half, 2 * H, out.rel + half, 2 * H, H, True, walk.T) for half in (0, H)]
        walk.aggregated(out)
    else:
        kept = walk.kept(sequence, layer.forward)
        parts = [walk.output(H, sequence=sequence, kept=kept) for _ in range(2)]
        out = walk.output(layer.n_outputs, sequence=sequence, kept=walk.T if sequence else 1)
        walk.aggregated(out)
        _hand_back(walk, layer, parts, out)
    for k, (cell, part) in enumerate(zip((layer.forward, layer.backward), parts, strict=True)):
        run_cell(walk, cell, below, part, reverse=k == 1, out_reverse=k == 1 and sequence, adds=k == 1)
    if not joined:
        _merge(walk, layer, parts, out)
    return out


def _meetings(walk: Walk, parts: list[Rows], out: Rows, steps: range) -> list[Meeting]:
    """The steps at which outputs meet: of a sequence these, else the last one."""
    one, two = parts
    steps = steps if out.sequence else range(walk.T - 1, walk.T)
    return [
        Meeting(one.row(t), two.row(t), out.row(t), one.relevance(t), two.relevance(t), out.relevance(t)) for t in steps
    ]


def _merge(walk: Walk, layer: Bidirectional, parts: list[Rows], out: Rows) -> None:
    H, emit = layer.forward.units, walk.forward.append
    for at in _meetings(walk, parts, out, range(walk.T)):
        emit(copy(H, a=at.one, out=at.out))
        if layer.merge_mode == "concat":
            emit(copy(H, a=at.two, out=at.out + H))
            continue
        emit(add(H, a=at.two, out=at.out))
        if layer.merge_mode == "ave":
            emit(scale(H, out=at.out, factor=0.5))


def _hand_back(walk: Walk, layer: Bidirectional, parts: list[Rows], out: Rows) -> None:
    """Concat hands each direction its own relevance; a sum or an average is a map whose relevance the rule decides."""
    if walk.rule is None:
        return
    H, emit = layer.forward.units, walk.down.append
    for at in _meetings(walk, parts, out, walk.arrivals):
        if layer.merge_mode == "concat":
            emit(copy(H, a=at.rel, out=at.rel_one))
            emit(copy(H, a=at.rel + H, out=at.rel_two))
        else:
            walk.rule.merge(walk, H, at, weight=0.5 if layer.merge_mode == "ave" else 1.0)
