"""The results of a backend, the spread of several, and a check whether a user's array lives on a GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Results(NamedTuple):
    """The results of a backend; without a rule only ``prediction`` has rows."""

    values: Array
    prediction: Array
    score: Array
    initial_state: Array
    unattributed: Array


class Spread(NamedTuple):
    """Standard deviations (ddof=1) over the ``n_members`` of an ensemble, beside their mean in ``Results``: of values
    and predictions, in their shapes, and of each feature's mean share of |relevance| (D,)."""

    values: Array
    prediction: Array
    share: Array
    n_members: int


def on_gpu(array: object) -> bool:
    """Whether an array lives on a GPU: arrays of CuPy, torch, JAX, Numba and others say so by the same attribute."""
    if type(array) is np.ndarray:  # asking it for what it lacks would take a microsecond, several times a call
        return False
    try:
        named = getattr(array, "__cuda_array_interface__", None) is not None
    except Exception:  # for an array on the host, some libraries fail rather than lack the attribute
        return False
    return named or getattr(array, "__cuda_ndarray__", False) is True
