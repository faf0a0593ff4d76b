"""From a network to what kernels run: packed weights, and a program over the rows of a tile.

A program is a flat list of instructions, one record each. An instruction reads and writes rows of a tile's scratch (or,
where the windows of a panel share months, rows of those months); ``tile.py`` holds one loop for each kind. What a layer
does forward, and how a rule walks back through it, is written in ``program.py``: a backend needs to know instructions,
not layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.kernels.product import block_height
from fastlrp.rules import Arras, Rule

Array = npt.NDArray[Any]

#: Kinds of instructions; ``tile.execute`` says what each does.
(
    PRODUCT,
    CELL,
    ACTIVATE,
    FILL,
    COPY,
    ADD,
    SCALE,
    SUM,
    LINEAR_RULE,
    ARRAS_CELL,
    RUDDER_ARRIVAL,
    RUDDER_CELL,
    MERGE_RULE,
    LEFT_OUT,
    LSTM_STEP,
    MULTIPLY,
) = range(16)
#: Codes of the activations are their places in ``network.DENSE_ACTIVATIONS``.
TANH, SIGMOID, RELU, LINEAR, HARD_SIGMOID, HARD_SIGMOID_KERAS2, SOFTMAX = range(7)

_INTEGERS = (
    # what, how many rows (units), where to
    "kind", "units", "out",
    # operands: rows; of a, init and mul also where (1: among the months), and by how many months they are shifted
    "a", "b", "c", "d", "e", "init", "mul", "a_months", "init_months", "mul_months", "shift",
    # product: depths, packed weights (or the bias of a rule), what becomes of the sums, the row of the even share
    "a_depth", "b_depth", "weights", "mode", "share",
    "activation",
)  # fmt: skip
INSTRUCTION = np.dtype(
    (np.record, np.dtype([(name, np.int64) for name in _INTEGERS] + [("factor", np.float64)], align=True))
)

RuleKind = Literal["", "arras", "arras without recurrence", "rudder"]


def rule_kind(rule: Rule | None) -> RuleKind:
    """What of a rule decides about the program; its numbers are given when it runs."""
    if rule is None:
        return ""
    if isinstance(rule, Arras):
        return "arras" if rule.recurrent else "arras without recurrence"
    return "rudder"


def rule_numbers(rule: Rule | None) -> dict[str, float]:
    """A rule as what the kernel computes with: which share of the stabiliser is handed down, and of the bias."""
    if rule is None:
        return {}
    handed = rule.eps if rule.stabilizer == "paper" else rule.eps * rule.delta
    return {"eps": rule.eps, "handed": handed, "delta": rule.delta}


@dataclass(frozen=True, eq=False)
class Plan:
    """A network made ready for one dtype, number of steps, rule and kind of input.

    Attributes
    ----------
    forward, relevance : record arrays of INSTRUCTION
        ``before`` is run once on the months that a span of windows shares.
    weights : array, packed
    rows, month_rows : number of rows of a tile's scratch, and of a span's months' (X, then x_t W + b of each LSTM on X)
    x, rel_x : first rows of X (step, feature) and of its relevance (step, feature), or (feature) where steps are summed
    output, pre, top : first rows of the prediction, of the last layer's pre-activation, and of its relevance
    lost, initial, zeros : rows of what is handed to nobody, of what reaches h_0 and c_0, and of ``n_zeros`` zeros
    explains : whether there is relevance
    """

    before: Array
    forward: Array
    relevance: Array
    weights: Array
    rows: int
    month_rows: int
    x: int
    rel_x: int
    output: int
    pre: int
    top: int
    lost: int
    initial: int
    zeros: int
    n_zeros: int
    bad: int
    steps: int
    n_features: int
    n_outputs: int
    reduced: bool
    explains: bool

    @property
    def width(self) -> int:
        """Relevance values a sample."""
        return self.n_features * (1 if self.reduced else self.steps)


class Layout(NamedTuple):
    """What a backend's product wants.

    Attributes
    ----------
    pack : function (matrix, bias, dtype) -> flat array
        How the weights of a product are packed.
    pack_gates : function likewise, or None
        The same for the four gates of an LSTM (rows i, f, g, o) in a product that computes the cell as well
        (``LSTM_STEP``), while other threads still read h_{t-1}; None where there is no such product.
    """

    pack: Callable[[Array, Array | None, np.dtype[Any]], Array]
    pack_gates: Callable[[Array, Array | None, np.dtype[Any]], Array] | None = None


def pack(matrix: Array, bias: Array | None, dtype: np.dtype[Any]) -> Array:
    """Weights of ``rows`` sums over ``depth`` inputs, in the order in which ``product.product`` reads them.

    Blocks of 6, 4, 2 or 1 rows; in each the biases, then depth by depth one weight a row, so that the kernel walks
    through memory once.
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


#: Of ``product.product``, which leaves the gates in rows for a loop of their own.
BLOCKS = Layout(pack)
