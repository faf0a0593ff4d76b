"""Rows and their windows: all that kernels know of a batch or a panel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Windows(NamedTuple):
    """Rows and their windows: all that kernels know of a batch or a panel.

    Attributes
    ----------
    rows : array (row, feature), C or Fortran order; or one on a GPU, in C order
    order : int64 array or None
        ``rows[order[r]]`` is the r-th row; None if rows are in order already.
    ends : bool array or None
        Whether row r is the last of a full window; there is then one result per row, at ``order[r]``. None: the
        windows are rows 0 ... T-1, T ... 2T-1 and so on, each a sample.
    places : int64 array or None
        Where the result of row r (or sample r) goes, in results that are given; None: as above.
    wanted : int or None
        Only the first so many of ``rows`` get results; those after them are others' history, and end no window. On
        the CPU alone. None: all rows.
    lengths : int array or None
        How many rows the window has that ends in row r: T of a full one, fewer of a short history, whose steps before
        them are masked, 0 where none ends. For networks with Masking. None: all windows are full.
    """

    rows: Array
    order: Array | None = None
    ends: Array | None = None
    places: Array | None = None
    wanted: int | None = None
    lengths: Array | None = None

    def starts(self, steps: int) -> Array:
        """Sorted rows at which full windows begin, if each row may end one."""
        assert self.ends is not None
        return np.flatnonzero(self.ends) - (steps - 1)

    def n(self, steps: int) -> int:
        """Number of results."""
        return self.rows.shape[0] // steps if self.ends is None else self.ends.size


def runs(ends: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The first and one past the last of each run of rows that end a window; ``ends`` is ``Windows.ends``."""
    edges = np.flatnonzero(np.diff(ends, prepend=False, append=False))
    return edges[::2], edges[1::2]
