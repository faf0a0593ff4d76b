"""Panels: a DataFrame indexed by time and asset -> one feature matrix, a row order, and where full windows end.

A window is never copied: a kernel walks the sorted rows and writes each result to its caller's row. Which times are
consecutive is decided by ``periods.grid``, on distinct times, so that the cost per row is a few passes over integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.checks import check
from fastlrp.panels.calendar import Calendar
from fastlrp.panels.columns import Columns, compute_dtype, find_columns, matrix, objects_as_numbers
from fastlrp.panels.flat import refuse_flat
from fastlrp.panels.order import find_windows
from fastlrp.panels.windows import Windows

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Panel:
    """A frame as kernels and labels need it.

    Attributes
    ----------
    windows : Windows
        Windows of the caller's rows, in the caller's order: features in the compute dtype, NaN where missing. Rows may
        have any strides, may be read-only, and are often the frame's own memory; with an ``order`` they are contiguous.
    index : MultiIndex
        The caller's index.
    features : tuple of str
        Names of the D columns.
    steps : int
        T, the length of a window.
    """

    windows: Windows
    index: pd.MultiIndex
    features: tuple[str, ...]
    steps: int


def as_panel(
    frame: pd.DataFrame,
    steps: int,
    features: Sequence[str] | None = None,
    dtype: npt.DTypeLike | None = None,
    *,
    n_features: int | None = None,
    calendar: Calendar | None = None,
    least: int | None = None,
) -> Panel:
    """Check a frame and describe its windows.

    The form of times decides which are consecutive. Datetimes, YYYYMM numbers and strings such as "1990-01" follow each
    other by month (quarter, half-year, year, as the panel has them), so a month that is missing for every asset is a
    gap too. Periods follow their own frequency, whole numbers their greatest common step. Several dates in a month make
    a trading calendar: the panel's own distinct dates then follow each other, unless all are whole weeks apart.

    Parameters
    ----------
    frame : DataFrame
        Two index levels, a time and an asset, in either order and under any names; rows in any order.
    steps : int
        T, at least 1.
    features : sequence of str or None
        Columns to take, by name and in this order; None takes all.
    dtype : float32, float64 or None
        None: float32 if every column is, else float64.
    n_features : int or None
        Number of columns expected.
    calendar : Calendar or None
        Which times follow each other, where the frame is a part of a panel; its index is then (time, asset).
    least : int or None
        Fewest rows of a window where an asset's history is short; None: all ``steps``.

    Raises
    ------
    ValueError
        If the frame is not such a panel. The message is one sentence, with the first offending row or column.
    """
    index, frame, positions, names = _checked(frame, steps, features, n_features)
    order, ends, lengths = (
        find_windows(index, int(steps), least) if calendar is None else calendar.windows(index, int(steps), least)
    )
    values = matrix(frame, positions, _dtype(frame, positions, dtype), row_major=order is not None)
    return Panel(Windows(values, order, ends, lengths=lengths), index, names, int(steps))


@dataclass(frozen=True, eq=False)
class Unread:
    """A frame as :class:`Panel` has it, but with its columns where they lie: rows are read part by part.

    ``dtype``: the smaller of float32 and float64 that holds the columns. ``order``, ``ends``, ``lengths``: as
    ``Windows`` has them.
    """

    columns: Columns
    dtype: np.dtype[Any]
    order: Array | None
    ends: Array
    index: pd.MultiIndex
    features: tuple[str, ...]
    lengths: Array | None = None

    def read(self, rows: Array) -> Array:
        """A copy of some of the caller's rows."""
        values = np.empty((len(rows), len(self.features)), self.dtype)
        self.columns.read(rows, values)
        return values


def unread_panel(
    frame: pd.DataFrame, steps: int, features: Sequence[str] | None, n_features: int | None, least: int | None = None
) -> Unread:
    """Check a frame and describe its windows, as :func:`as_panel` does, without a copy of its values."""
    index, frame, positions, names = _checked(frame, steps, features, n_features)
    columns, dtype = Columns.of(frame, positions), _dtype(frame, positions, None)
    order, ends, lengths = find_windows(index, int(steps), least)
    return Unread(columns, dtype, order, ends, index, names, lengths)


def _checked(
    frame: pd.DataFrame, steps: int, features: Sequence[str] | None, n_features: int | None
) -> tuple[pd.MultiIndex, pd.DataFrame, list[int], tuple[str, ...]]:
    """A frame's index, itself with numbers only, and the positions and names of its features."""
    if not isinstance(frame, pd.DataFrame):
        given = type(frame).__name__
        if type(frame).__module__.startswith("dask."):
            given = "a dask one, which fl.cluster.explain and fl.cluster.predict take"
        raise ValueError(f"a panel must be a pandas DataFrame, not {given}")
    check("steps", steps, required=True)
    refuse_flat(frame, features or ())
    index, frame = frame.index, objects_as_numbers(frame)
    positions, names = find_columns(frame, features, n_features)
    if not len(frame):
        raise ValueError("the panel is empty: it has no rows")
    return cast(pd.MultiIndex, index), frame, positions, names


def _dtype(frame: pd.DataFrame, positions: Sequence[int], asked: npt.DTypeLike | None) -> np.dtype[Any]:
    dtypes = list(frame.dtypes)
    return compute_dtype({dtypes[i] for i in positions}, asked)
