"""Whether gates are saturated, told from some of the rows that were explained.

Relevance is a sum of large terms of both signs over what gates let through. Where most gates are 0 or 1 to the last
digit, as features in other units than in training make them, what is left of that sum may be rounding: in float64, of
networks with random weights, 1 in 100 samples was off by 20 % of its largest relevance and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.masks import masked_rows
from fastlrp.messages import count
from fastlrp.model.chain import Chain
from fastlrp.model.layers import WEIGHTLESS, Bidirectional, Recurrent
from fastlrp.relevance.arrays import RelevanceArrays

Array = npt.NDArray[Any]
#: Rows that are looked at, and the share of saturated gates from which it is said.
_ROWS, _SHARE = 64, 0.1


def some_rows(rows: Array) -> Array:
    """A copy of some of the rows of features, evenly spread."""
    return (rows if len(rows) <= _ROWS else rows[:: len(rows) // _ROWS][:_ROWS]).copy()


def saturation(relevance: RelevanceArrays, rows: Array | None) -> str | None:
    """A sentence for a summary where more than a tenth of the gates that read X are saturated by X alone."""
    if rows is None or not isinstance(relevance.origin, tuple):
        return None
    rows = rows[:, : len(relevance.features)]  # without static features, which gates do not read
    dtype, rows = rows.dtype, rows[np.isfinite(rows).all(axis=1)].astype(np.float64)
    if not len(rows):
        return None
    limit = -np.log(np.finfo(dtype).eps)  # a sigmoid of more than this is 1 to the last digit
    with np.errstate(over="ignore", invalid="ignore"):
        gates = [~(np.abs(z) <= limit) for net in relevance.origin for z in _gates(net, rows)]
        size = np.sqrt(np.square(rows).mean(axis=0))
    gates = [gate for gate in gates if gate.size]
    share = np.mean([gate.mean() for gate in gates]) if gates else 0.0
    if share <= _SHARE:
        return None
    j = int(size.argmax())
    return (
        f"gates are saturated: {100 * share:.0f} % of what X gives them, in {count(len(rows), 'row')}, is beyond "
        f"+-{limit:.0f}; relevance may be rounding. Are features scaled as in training? {relevance.features[j]!r} is "
        f"{size[j]:.2g} at the root mean square"
    )


def _gates(net: Chain, rows: Array) -> Iterator[Array]:
    """What rows of X give the sigmoid gates of the LSTMs or GRUs that read them."""
    if net.mask_value is not None and (masked := masked_rows(rows, net.mask_value)) is not None:
        rows = rows[~masked]
    first = next(layer for layer in net.layers if not isinstance(layer, WEIGHTLESS))
    for cell in (first.forward, first.backward) if isinstance(first, Bidirectional) else (first,):
        if isinstance(cell, Recurrent) and cell.recurrent_activation == "sigmoid":
            z = rows @ cell.W + (0.0 if cell.b is None else np.atleast_2d(cell.b).sum(axis=0))
            yield np.delete(z, np.s_[2 * cell.n_outputs : 3 * cell.n_outputs], axis=1)  # but the signal
