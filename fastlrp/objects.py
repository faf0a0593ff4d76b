"""What users give: paths; arrays of Python objects, which pandas and lists produce, as numbers; whose frames are
whose."""

from __future__ import annotations

import numbers
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.messages import foreign_network

Array = npt.NDArray[Any]


def as_path(value: object, where: str) -> Path:
    """A path that a user gave as text or as a path.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise ValueError(
            f"{where} takes a path, as text or a pathlib.Path, not {foreign_network(value) or type(value).__name__}"
        )
    return Path(value)


def as_array(value: object, where: str, expected: str) -> Array:
    """A value as a NumPy array, objects as float64; its dtype may still be one that holds no real numbers.

    Raises
    ------
    ValueError
        If NumPy cannot convert the value, or an object in it is not a number; the message names the first.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # torch's, for a tensor that requires grad, says what to do
        raise ValueError(f"{where} must be {expected}: {error}") from None
    return real_numbers(array, where) if array.dtype == object else array


def real_numbers(array: Array, where: str) -> Array:
    """An array of objects as float64; None and pandas' NA are missing and become NaN.

    Raises
    ------
    ValueError
        If an object is not a number; the message says which and where. Text is not a number, even if it reads as one.
    """
    at = first_odd(array)
    if at is not None:
        place = f"{where}[{', '.join(map(str, at))}]" if at else where
        raise ValueError(f"{place} is {_shown(array[at])}, expected a number")
    if any(kind.__name__ == "NAType" for kind in set(map(type, array.flat))):
        array = array.copy()
        array[np.vectorize(_is_na, otypes=[bool])(array)] = None
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(f"{where} holds a whole number beyond float64's range: {error}") from None


def first_odd(array: Array) -> tuple[int, ...] | None:
    """The position of the first object that is neither a number nor missing; None if there is none."""
    usable = {kind: _usable(kind) for kind in set(map(type, array.flat))}
    if all(usable.values()):
        return None
    return next(at for at, value in np.ndenumerate(array) if not usable[type(value)])


def _usable(kind: type) -> bool:
    """Whether values of this type are numbers, or stand for a missing one."""
    return issubclass(kind, numbers.Real | Decimal | np.bool_ | type(None)) or kind.__name__ == "NAType"


def _is_na(value: object) -> bool:
    return type(value).__name__ == "NAType"


def _shown(value: object) -> str:
    """A value, or its type if the value is long."""
    if isinstance(value, np.ndarray):
        return f"itself an array, of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"of type {type(value).__name__}"


def is_polars(X: object) -> bool:
    """Whether it is of polars, which is not imported for it."""
    return type(X).__module__.startswith("polars.")
