"""A recurrent layer of its own, an LSTM or a GRU."""

from __future__ import annotations

from fastlrp.kernels.program.gru import run_gru
from fastlrp.kernels.program.lstm import run_lstm
from fastlrp.kernels.program.rows import Rows
from fastlrp.kernels.program.walk import Walk
from fastlrp.model.layers import LSTM, Recurrent


def recurrent(walk: Walk, layer: Recurrent, below: Rows) -> Rows:
    """Write a layer of its own; returns the place of its output."""
    sequence, kept = layer.return_sequences, walk.kept(layer.return_sequences, layer)
    out = walk.output(layer.units, sequence=sequence, kept=kept)
    walk.aggregated(out)
    run_cell(walk, layer, below, out, reverse=layer.go_backwards)
    return out if sequence else last_step(out, walk.T)


def last_step(out: Rows, T: int) -> Rows:
    """The last step alone, of rows that several steps used."""
    return Rows(out.row(T - 1), out.step, out.rel, out.rel_step, out.width, out.sequence)


def run_cell(
    walk: Walk, cell: Recurrent, below: Rows, out: Rows, *, reverse: bool, out_reverse: bool = False, adds: bool = False
) -> None:
    """Write one LSTM or GRU, forward and back; ``adds``: whether the layer below already has relevance from another
    one."""
    options = {"reverse": reverse, "out_reverse": out_reverse, "adds": adds}
    if isinstance(cell, LSTM):
        run_lstm(walk, cell, below, out, **options)
    else:
        run_gru(walk, cell, below, out, **options)
