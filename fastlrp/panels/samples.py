"""The data that training works on: arrays and panels as one matrix of rows, and the start of each complete window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import count
from fastlrp.panels.infinities import locate_infinite
from fastlrp.panels.order import complete_ends
from fastlrp.panels.panel import as_panel
from fastlrp.panels.periods import label, periods
from fastlrp.panels.static import fill_static
from fastlrp.panels.windows import Windows

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Complete windows of a matrix of rows; nothing is copied T times.

    Attributes
    ----------
    rows : array (R, D)
        Sample k is ``rows[starts[k] : starts[k] + steps]``, oldest first.
    starts : int64 array (n,)
    caller : int64 array (n,)
        The caller's row of each sample.
    n_given : int
        Number of rows (samples, for arrays) that the caller gave.
    steps : int
        T.
    period : int array (n,) or None
        Rank of the time at which each sample ends, for panels.
    features : tuple of str or None
        Names of the D features.
    """

    rows: Array
    starts: Array
    caller: Array
    n_given: int
    steps: int
    period: Array | None = None
    features: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, which: Array) -> Samples:
        """Some of the samples, from the same rows."""
        period = None if self.period is None else self.period[which]
        return replace(self, starts=self.starts[which], caller=self.caller[which], period=period)

    def in_place(self) -> Windows:
        """The samples as windows of the rows, each with its number as its place; nothing is copied."""
        last, n = self.starts + (self.steps - 1), len(self.rows)
        ends, places = np.zeros(n, bool), np.zeros(n, np.int64)
        ends[last], places[last] = True, np.arange(len(last))
        return Windows(self.rows, None, ends, places)


def is_panel(X: object) -> TypeGuard[pd.DataFrame]:
    """Whether X is a DataFrame with two index levels."""
    return isinstance(X, pd.DataFrame) and isinstance(X.index, pd.MultiIndex)


def from_array(X: Array, steps: int) -> Samples:
    """Samples of an array (n, T, D), or (n, T*D) with step-major columns."""
    n = len(X)
    rows = np.ascontiguousarray(X).reshape(n * steps, -1)
    return Samples(rows, np.arange(n, dtype=np.int64) * steps, np.arange(n, dtype=np.int64), n, steps)


def from_panel(
    X: pd.DataFrame,
    steps: int,
    features: Sequence[str] | None,
    dtype: npt.DTypeLike,
    n_features: int | None = None,
    n_static: int = 0,
    *,
    least: int | None = None,
    padding: float = 0.0,
) -> Samples:
    """The complete windows of a panel: full, and without a missing value; of the last ``n_static`` columns, without one
    in the last row. With ``least``, also those of so many rows and more where an asset has no earlier one, behind steps
    of ``padding``.

    Raises
    ------
    ValueError
        If X is not a panel, or holds an infinite value; the message says where.
    """
    panel = as_panel(X, steps, features, dtype, n_features=n_features, least=least)
    # Made contiguous once, not in every epoch; a frame's own memory is often column-major.
    given, order = panel.windows.rows, panel.windows.order
    rows = np.ascontiguousarray(given if order is None else given[order])
    usable = np.isfinite(rows).all(axis=1)
    if np.isinf(rows[~usable]).any():
        locate_infinite(panel)
    ends, lengths = panel.windows.ends, panel.windows.lengths
    assert ends is not None
    if n_static:
        fine, usable, rows = usable, np.isfinite(rows[:, :-n_static]).all(axis=1), np.array(rows)
        fill_static(rows, n_static)
        ends, lengths = ends & fine, None if lengths is None else np.where(fine, lengths, 0)
    complete = complete_ends(ends, usable, steps, lengths)
    last = np.flatnonzero(complete)
    caller = last if order is None else order[last]
    rank, _ = periods(panel.index)
    if lengths is None:
        starts = last - (steps - 1)
    else:
        rows, starts = padded(rows, last, lengths[last], steps, padding)
    return Samples(rows, starts, caller, len(X), steps, rank[caller], panel.features)


def padded(rows: Array, last: Array, lengths: Array, steps: int, padding: float) -> tuple[Array, Array]:
    """Rows with steps of ``padding`` before those where short windows begin, and the starts of all windows.

    Parameters
    ----------
    rows : array (row, feature), sorted
    last, lengths : int array (window,)
        The row where a window ends, and how many it has; short ones begin where no other reads an earlier row.
    """
    more, short = np.zeros(len(rows), np.int64), np.flatnonzero(lengths < steps)
    if not short.size:
        return rows, last - (steps - 1)
    first = last[short] - lengths[short] + 1
    np.maximum.at(more, first, steps - lengths[short])
    at = np.arange(len(rows)) + np.cumsum(more)
    whole = np.full((len(rows) + int(more.sum()), rows.shape[1]), padding, rows.dtype)
    whole[at] = rows
    return whole, at[last] - (steps - 1)


def refuse_other_index(X: pd.DataFrame, y: object, name: str) -> None:
    """Refuse a target or weight whose own index is not the panel's, row by row.

    Raises
    ------
    ValueError
        If the indices differ; the message names the first row that does.
    """
    if not isinstance(y, pd.Series | pd.DataFrame) or y.index.equals(X.index):
        return
    if len(y) != len(X):
        raise ValueError(
            f"{name} has {count(len(y), 'row')}, but the panel has {len(X)}: align it with {name}.reindex(X.index)"
        )
    row = next((k for k, (a, b) in enumerate(zip(y.index, X.index, strict=True)) if a != b), 0)
    raise ValueError(
        f"{name} is not on the panel's index: row {row} is {_shown(y.index[row])} in {name} and {_shown(X.index[row])} "
        f"in X; align it with {name}.reindex(X.index)"
    )


def _shown(key: object) -> str:
    return f"({', '.join(map(label, key))})" if isinstance(key, tuple) else label(key)
