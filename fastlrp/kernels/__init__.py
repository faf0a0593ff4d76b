"""The only place that computes: kernels, and the seam where a backend is chosen.

A backend is a module with ``run(net, windows, steps, *, rule, target, aggregate, reduced, threads, advance)``, which
gives ``Results``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Windows:
    """Which windows of which rows: all that kernels know of a batch or a panel.

    Attributes
    ----------
    rows : array (row, feature), C or Fortran order
    order : int64 array or None
        ``rows[order[r]]`` is the r-th row; None where they stand in order.
    ends : bool array or None
        Row r is the last of a full window; results are then one for each row, at ``order[r]``. None: the windows are
        rows 0 ... T-1, T ... 2T-1 and so on, each a sample.
    """

    rows: Array
    order: Array | None = None
    ends: Array | None = None

    def n(self, steps: int) -> int:
        """Number of results."""
        return self.rows.shape[0] // steps if self.ends is None else self.ends.size


class Results(NamedTuple):
    """What a backend gives; without a rule only ``prediction`` has rows."""

    values: Array
    prediction: Array
    score: Array
    initial_state: Array
    unattributed: Array


def get_backend(device: str) -> ModuleType:
    """The backend of a device: "cpu", "cuda", or "auto" for the best there is.

    Numba is imported here, when the first kernel is needed, and not with fastlrp.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device= takes 'auto', 'cpu' or 'cuda', not {device!r}")
    if device == "cuda":
        raise ValueError("device='cuda' is not available: this version of fastlrp has no CUDA kernels yet")
    from fastlrp.kernels import cpu

    return cpu


def as_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """float32 or float64, the two that kernels are compiled for."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype= takes float32 or float64, not {dtype!r}")
    return kind
