"""What a backend gives, and whether an array of a user's lives on a GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

Array = npt.NDArray[Any]


class Results(NamedTuple):
    """What a backend gives; without a rule only ``prediction`` has rows."""

    values: Array
    prediction: Array
    score: Array
    initial_state: Array
    unattributed: Array


def on_gpu(array: object) -> bool:
    """Whether an array lives on a GPU: CuPy's, torch's, JAX's, Numba's and others say so by the same attribute."""
    try:
        named = getattr(array, "__cuda_array_interface__", None) is not None
    except Exception:  # of an array on the host some libraries do not say that there is none, but fail
        return False
    return named or getattr(array, "__cuda_ndarray__", False) is True
