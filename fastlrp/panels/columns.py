"""The columns of a panel: which are features, and their values as one matrix, a view where possible."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.checks import as_dtype
from fastlrp.messages import count, suggest
from fastlrp.objects import first_odd, real_numbers
from fastlrp.panels.periods import label

Array = npt.NDArray[Any]
_BLOCK = 4096  # rows converted or searched at once, so that temporaries stay in cache and add little to peak memory


def find_columns(
    frame: pd.DataFrame, features: Sequence[str] | None, n_features: int | None
) -> tuple[list[int], tuple[str, ...]]:
    """Positions and names of the columns to use."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise ValueError(
            f"the panel's columns have {frame.columns.nlevels} levels, expected one name a feature: "
            "flatten them, or select one part"
        )
    have = [str(name) for name in frame.columns]
    if len(set(have)) != len(have):
        twice = next(name for i, name in enumerate(have) if name in have[:i])
        raise ValueError(f"the panel has two columns called {twice!r}")
    if features is None:
        names, positions = tuple(have), list(range(len(have)))
    else:
        names = tuple(features)
        at = {name: i for i, name in enumerate(have)}
        missing = [name for name in names if name not in at]
        if missing:
            spare = [name for name in have if name not in names]
            raise ValueError(
                f"the panel lacks {len(missing)} of {count(len(names), 'feature')}: {suggest(missing, spare)}"
            )
        positions = [at[name] for name in names]
    if n_features is not None and len(names) != n_features:
        raise ValueError(
            f"the panel has {count(len(names), 'column')}, expected {count(n_features, 'feature')}: {_few(names)}"
        )
    if not names:
        raise ValueError("the panel has no columns, expected one for each feature")
    dtypes = list(frame.dtypes)
    plain = {dtype for dtype in set(dtypes) if _numeric(dtype)}
    odd = [i for i in positions if dtypes[i] not in plain]
    if odd:
        shown = _few([_odd_column(frame, i) for i in odd[:9]], len(odd))
        raise ValueError(f"the panel has columns that do not hold real numbers: {shown}")
    return positions, names


def objects_as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with object columns as float64 if they hold only numbers or missing values; a new frame if any do."""
    at = [i for i, dtype in enumerate(frame.dtypes) if pd.api.types.is_object_dtype(dtype)]
    columns = {i: frame.iloc[:, i].to_numpy() for i in at}
    converted = {i: real_numbers(column, "") for i, column in columns.items() if first_odd(column) is None}
    if converted:
        frame = frame.copy(deep=False)
        for i, numbers in converted.items():
            frame.isetitem(i, numbers)
    return frame


def _odd_column(frame: pd.DataFrame, i: int) -> str:
    """A column without real numbers as a message shows it: with its dtype and the first object that is not a number."""
    column = frame.iloc[:, i]
    shown = f"{str(frame.columns[i])!r} ({column.dtype})"
    at = first_odd(column.to_numpy()) if pd.api.types.is_object_dtype(column.dtype) else None
    if at is None:
        return shown
    where = ", ".join(map(label, frame.index[at[0]]))
    return f"{shown[:-1]}, {column.iloc[at[0]]!r:.40} at ({where}))"


def _few(names: Sequence[str], n: int | None = None) -> str:
    n = len(names) if n is None else n
    return ", ".join(names[:8]) + (f" and {n - 8} more" if n > 8 else "")


def _numeric(dtype: Any) -> bool:
    types = pd.api.types
    number = types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)
    return bool(number and not types.is_complex_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype))


def compute_dtype(dtypes: Collection[Any], asked: npt.DTypeLike | None) -> np.dtype[Any]:
    """The dtype asked for; by default float32 if every column is, else float64."""
    if asked is not None:
        return as_dtype(asked)
    small = all(str(getattr(dtype, "numpy_dtype", dtype)) in ("float32", "float16") for dtype in dtypes)
    return np.dtype(np.float32 if small else np.float64)


def matrix(frame: pd.DataFrame, positions: list[int], dtype: np.dtype[Any], row_major: bool) -> Array:
    """The columns as (rows, D): a view of the frame's memory if one will do, else one row-major copy."""
    columns = Columns.of(frame, positions)
    block = columns.block
    if block is not None and block.dtype == dtype and (not row_major or block.strides[1] == dtype.itemsize):
        return block
    values = np.empty((len(frame), len(positions)), dtype)
    for start in range(0, len(frame), _BLOCK):
        rows = slice(start, start + _BLOCK)
        columns.read(rows, values[rows])
    return values


class Columns(NamedTuple):
    """A frame's columns where they lie: a view of them all, or each one's own memory."""

    block: Array | None
    each: tuple[Any, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, positions: list[int]) -> Columns:
        """The columns at these positions."""
        block = _block(frame, positions)
        return cls(block, () if block is not None else tuple(_column(frame.iloc[:, i]) for i in positions))

    def read(self, rows: slice | Array, values: Array) -> None:
        """Copy some rows, as float32 or float64."""
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, which the caller reports
            if self.block is not None:
                values[:] = self.block[rows]
            for j, column in enumerate(self.each):
                part = column[rows]
                if isinstance(part, np.ndarray):
                    values[:, j] = part
                else:  # nullable, Arrow and sparse columns: missing values become NaN
                    values[:, j] = pd.Series(part).to_numpy(values.dtype, na_value=np.nan)


def _column(column: pd.Series[Any]) -> Any:
    """A column's own memory: an array, or an extension array."""
    return column.to_numpy(copy=False) if isinstance(column.dtype, np.dtype) else column.array


def _block(frame: pd.DataFrame, positions: list[int]) -> Array | None:
    """The columns as a view of the frame's memory, if they lie evenly spaced in one block."""
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    if step < 1 or positions != list(range(positions[0], positions[-1] + 1, step)):
        return None
    columns = slice(positions[0], positions[-1] + 1, step)
    dtypes = set(frame.dtypes.iloc[columns])
    if len(dtypes) > 1 or not isinstance(dtypes.pop(), np.dtype):
        return None
    row = frame.iloc[:1]  # one row shows whether pandas gives a view, before it could copy all rows
    if not np.shares_memory(row.iloc[:, columns].to_numpy(copy=False), row.iloc[:, columns.start].to_numpy(copy=False)):
        return None
    return cast(Array, frame.iloc[:, columns].to_numpy(copy=False))
