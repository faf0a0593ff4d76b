"""Which rows of features a Masking layer skips."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_BLOCK = 1 << 16  # rows compared at once: temporaries stay in cache


def masked_rows(rows: Array, value: float) -> Array | None:
    """Which rows (row, feature) have the value in every feature; None if there is none.

    Numbers are compared in float32, as Keras does: a value such as -99.9 is then found in float64, too, whether it came
    from float32 or not.
    """
    found, wanted = np.zeros(len(rows), bool), np.float32(value)
    with np.errstate(over="ignore"):
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            some = np.flatnonzero(block[:, 0].astype(np.float32, copy=False) == wanted)
            if some.size:
                found[start + some] = (block[some].astype(np.float32, copy=False) == wanted).all(axis=1)
    return found if found.any() else None
