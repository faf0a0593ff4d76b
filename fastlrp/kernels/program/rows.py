"""The rows of a tile, handed out one after the other, and weights packed as a machine's products read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastlrp.kernels.program.instructions import (
    CELL,
    CURVED,
    FEW,
    GRADIENTS,
    GRUS,
    INFERENCE,
    LSTM_STEP,
    Array,
    At,
)

#: Lanes of a tile come in multiples of this, for every dtype and processor: whole vectors, no scalar tails.
LANES = 16
#: Rows of weights that a processor's product takes at once: the first of these that fits what is left of a matrix.
HEIGHTS = (6, 4, 2, 1)
#: Rows that a GPU's thread sums at once: the four gates of a unit.
QUAD = 4
#: Bytes of a panel of weights at most, and what it is a multiple of: a panel's sums stay in registers, and its weights
#: are whole cache lines, read one after the other, which every processor's vectors fill.
PANEL_BYTES, LINE_BYTES = 256, 64
#: log2(e). Gates that a sigmoid opens are multiplied by -LOG2E, so that their exponential is a power of two.
LOG2E = 1.4426950408889634


@dataclass(frozen=True)
class Rows:
    """The place of a layer's output: its first row, rows from step to step, its relevance, and its width.

    ``kept``: number of steps that have rows; later steps reuse them, those of the first steps first. ``months``:
    whether it is X of windows that share their months, step t shifted by t months.
    """

    at: int
    step: int
    rel: int
    rel_step: int
    width: int
    sequence: bool
    kept: int = 1
    months: bool = False

    def row(self, t: int) -> int:
        """The first row of step t."""
        if self.months:
            raise ValueError("these rows are the months that windows share: read step t by place(t), not by row(t)")
        return self.at + t % self.kept * self.step

    def place(self, t: int) -> int | At:
        """Step t as an operand."""
        return At(self.at, t) if self.months else self.row(t)

    def relevance(self, t: int) -> int:
        """The first row of step t's relevance."""
        return self.rel + t * self.rel_step


class Layout(NamedTuple):
    """A machine's packing of weights, and the instructions that it knows.

    Attributes
    ----------
    pack : function (matrix, bias, dtype) -> flat array
        Packs the weights of a product.
    kinds : the instructions that the machine knows
    pack_gates : function likewise, or None
        Does the same for the four gates of an LSTM (rows i, f, g, o) in a product that also computes the cell
        (``lstm_step``), while other threads still read h_{t-1}; None where there is no such product.
    align : the place of each packed array is a multiple of so many numbers
    ahead : whether x_t W + b of an LSTM is computed for all steps at once, in ``products``
    """

    pack: Callable[[Array, Array | None, np.dtype[Any]], Array]
    kinds: frozenset[int]
    pack_gates: Callable[[Array, Array | None, np.dtype[Any]], Array] | None = None
    align: int = 4
    ahead: bool = False


def block_height(rows_left: int) -> int:
    """Height of the next block of a matrix that has ``rows_left`` rows left."""
    return next(height for height in HEIGHTS if height <= rows_left)


def pack_blocks(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Weights of ``rows`` sums over ``depth`` inputs, as ``kernels/cpu/product.py`` reads them.

    Blocks have 6, 4, 2 or 1 rows. Each holds the biases, then, depth by depth, one weight per row, so that the kernel
    walks through memory once.
    """
    rows, depth = matrix.shape
    blocks, row = [], 0
    while row < rows:
        part = slice(row, row + block_height(rows - row))
        block = np.zeros((1 + depth, part.stop - row), dtype)
        if bias is not None:
            block[0] = bias[part]
        block[1:] = matrix[part].T
        blocks.append(block.ravel())
        row = part.stop
    return np.concatenate(blocks)


def pack_quads(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Biases, then, depth by depth, the weights of all rows, padded with zeros to whole quads."""
    rows, depth = matrix.shape
    packed = np.zeros((1 + depth, -(-rows // QUAD) * QUAD), dtype)
    if bias is not None:
        packed[0, :rows] = bias
    packed[1:, :rows] = matrix.T
    return packed.ravel()


def panel_width(rows_left: int, itemsize: int) -> int:
    """Rows of the next panel of a matrix that has ``rows_left`` rows left, padding included."""
    return min(-(-rows_left * itemsize // LINE_BYTES) * LINE_BYTES, PANEL_BYTES) // itemsize


def pack_panels(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Weights as ``kernels/cpu/vector_product.py`` reads them: panels of rows side by side, the last one padded with
    zeros. Each holds the biases, then, depth by depth, one weight per row."""
    rows, depth = matrix.shape
    panels, row = [], 0
    while row < rows:
        width = panel_width(rows - row, dtype.itemsize)
        part = slice(row, min(row + width, rows))
        panel = np.zeros((1 + depth, width), dtype)
        if bias is not None:
            panel[0, : part.stop - row] = bias[part]
        panel[1:, : part.stop - row] = matrix[part].T
        panels.append(panel.ravel())
        row += width
    return np.concatenate(panels)


def pack_gates(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """``pack_quads`` with the four gates of a unit side by side."""
    order = np.arange(matrix.shape[0]).reshape(QUAD, -1).T.ravel()
    return pack_quads(matrix[order], None if bias is None else bias[order], dtype)


#: Layouts of a processor, whose product leaves the gates in rows for a separate loop: for tiles of samples, and for a
#: few samples, one by one; and of a GPU, whose product also computes the cell.
BLOCKS = Layout(pack_blocks, INFERENCE | GRADIENTS | GRUS | CURVED | {CELL})
PANELS = Layout(pack_panels, FEW, align=LINE_BYTES // 4, ahead=True)
QUADS = Layout(pack_quads, INFERENCE | {LSTM_STEP}, pack_gates)
