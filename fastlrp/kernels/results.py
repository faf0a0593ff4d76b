"""The results of a backend, and a check whether a user's array lives on a GPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

Array = npt.NDArray[Any]


class Results(NamedTuple):
    """The results of a backend; without a rule only ``prediction`` has rows."""

    values: Array
    prediction: Array
    score: Array
    initial_state: Array
    unattributed: Array


def on_gpu(array: object) -> bool:
    """Whether an array lives on a GPU: arrays of CuPy, torch, JAX, Numba and others say so by the same attribute."""
    try:
        named = getattr(array, "__cuda_array_interface__", None) is not None
    except Exception:  # for an array on the host, some libraries fail rather than lack the attribute
        return False
    return named or getattr(array, "__cuda_ndarray__", False) is True
