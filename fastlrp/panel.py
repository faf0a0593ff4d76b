"""Panels: a DataFrame indexed by time and asset -> one feature matrix, a row order, and where full windows end.

A window is never copied: a kernel walks the sorted rows and writes each result to its caller's row. What counts as
consecutive is decided by ``periods.grid``, on distinct times, so that the cost per row is a few passes over integers.
"""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.flat_panels import refuse_flat
from fastlrp.kernels import as_dtype, runs
from fastlrp.messages import count
from fastlrp.objects import first_odd, real_numbers
from fastlrp.periods import grid, ranked_times
from fastlrp.periods import label as label  # these three are imported from here, too
from fastlrp.periods import periods as periods
from fastlrp.periods import time_level as time_level

Array = npt.NDArray[Any]
_BLOCK = 4096  # rows converted or searched at once, so that temporaries stay in cache and out of the memory's peak


@dataclass(frozen=True, eq=False)
class Panel:
    """What kernels need of a frame. Rows of ``values`` are the caller's rows, in the caller's order.

    Attributes
    ----------
    values : array (rows, D)
        Features in the compute dtype, NaN where missing; any strides, maybe read-only, often the frame's own memory.
        Where ``order`` is not None its rows are contiguous.
    order : int64 array (rows,) or None
        ``values[order[r]]`` is sorted row r, and the result of sorted row r belongs at row ``order[r]``. None where
        the caller's rows are sorted already: each asset's rows together, oldest first.
    ends : bool array (rows,)
        Whether sorted row r ends a window: sorted rows r-steps+1 ... r are one asset's consecutive periods.
    index : MultiIndex
        The caller's own.
    features : tuple of str
        Names of the D columns.
    steps : int
        T, the length of a window.
    """

    values: Array
    order: Array | None
    ends: Array
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
) -> Panel:
    """Check a frame at the door and describe its windows.

    Consecutive are: months (quarters, half-years, years, as the panel has them) of datetimes, YYYYMM numbers and
    strings such as "1990-01", so a month that is missing for every asset is a gap too; Periods by their own
    frequency; whole numbers by their greatest common step. Several dates a month make a trading calendar: then the
    panel's own distinct dates follow each other, unless all are whole weeks apart.

    Parameters
    ----------
    frame : DataFrame
        Two index levels, a time and an asset, in either order and under any names; rows in any order.
    steps : int
        T, at least 1.
    features : sequence of str or None
        Columns to take, by name and in this order; None takes all.
    dtype : float32, float64 or None
        None: float32 where every column is, else float64.
    n_features : int or None
        How many columns are expected.

    Raises
    ------
    ValueError
        For anything that is no such panel: one sentence, with the first offending row or column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"a panel must be a pandas DataFrame, not {type(frame).__name__}")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps= takes a whole number of at least 1, not {steps!r}")
    refuse_flat(frame, features or ())
    index, frame = frame.index, _objects_as_numbers(frame)
    positions, names = _columns(frame, features, n_features)
    if not len(frame):
        raise ValueError("the panel is empty: it has no rows")
    dtypes = list(frame.dtypes)
    compute = _compute_dtype({dtypes[i] for i in positions}, dtype)
    order, ends = _windows(index, int(steps))
    values = _matrix(frame, positions, compute, row_major=order is not None)
    return Panel(values, order, ends, cast(pd.MultiIndex, index), names, int(steps))


# ---------------------------------------------------------------------------------------------- columns and values


def _columns(
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


def _objects_as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with columns of Python objects as float64 where all are numbers or missing; a new frame if any are."""
    at = [i for i, dtype in enumerate(frame.dtypes) if pd.api.types.is_object_dtype(dtype)]
    columns = {i: frame.iloc[:, i].to_numpy() for i in at}
    converted = {i: real_numbers(column, "") for i, column in columns.items() if first_odd(column) is None}
    if converted:
        frame = frame.copy(deep=False)
        for i, numbers in converted.items():
            frame.isetitem(i, numbers)
    return frame


def _odd_column(frame: pd.DataFrame, i: int) -> str:
    """A column that holds no real numbers, with its dtype and, where it holds objects, the first that is none."""
    column = frame.iloc[:, i]
    shown = f"{str(frame.columns[i])!r} ({column.dtype})"
    at = first_odd(column.to_numpy()) if pd.api.types.is_object_dtype(column.dtype) else None
    if at is None:
        return shown
    where = ", ".join(map(label, frame.index[at[0]]))
    return f"{shown[:-1]}, {column.iloc[at[0]]!r:.40} at ({where}))"


def suggest(missing: Sequence[str], have: Sequence[str]) -> str:
    """Unknown names, each with the known one that it may stand for."""
    shown = []
    for name in missing[:8]:
        close = difflib.get_close_matches(name, have, n=1)
        shown.append(f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name))
    return ", ".join(shown) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")


def _few(names: Sequence[str], n: int | None = None) -> str:
    n = len(names) if n is None else n
    return ", ".join(names[:8]) + (f" and {n - 8} more" if n > 8 else "")


def _numeric(dtype: Any) -> bool:
    types = pd.api.types
    number = types.is_numeric_dtype(dtype) or types.is_bool_dtype(dtype)
    return bool(number and not types.is_complex_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype))


def _compute_dtype(dtypes: Collection[Any], asked: npt.DTypeLike | None) -> np.dtype[Any]:
    if asked is not None:
        return as_dtype(asked)
    small = all(str(getattr(dtype, "numpy_dtype", dtype)) in ("float32", "float16") for dtype in dtypes)
    return np.dtype(np.float32 if small else np.float64)


def _matrix(frame: pd.DataFrame, positions: list[int], dtype: np.dtype[Any], row_major: bool) -> Array:
    """The columns as (rows, D): a view of the frame's memory where it has one that serves, else one copy by rows."""
    block = _block(frame, positions)
    if block is not None and block.dtype == dtype and (not row_major or block.strides[1] == dtype.itemsize):
        return block
    values = np.empty((len(frame), len(positions)), dtype)
    columns = [] if block is not None else [_column(frame.iloc[:, i]) for i in positions]
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which the caller reports
        for start in range(0, len(frame), _BLOCK):
            rows = slice(start, start + _BLOCK)
            if block is not None:
                values[rows] = block[rows]
                continue
            for j, column in enumerate(columns):
                part = column[rows]
                if isinstance(part, np.ndarray):
                    values[rows, j] = part
                else:  # nullable, Arrow and sparse columns: what is not available becomes NaN
                    values[rows, j] = pd.Series(part).to_numpy(dtype, na_value=np.nan)
    return values


def _column(column: pd.Series[Any]) -> Any:
    """A column's own memory: an array, or an extension array."""
    return column.to_numpy(copy=False) if isinstance(column.dtype, np.dtype) else column.array


def _block(frame: pd.DataFrame, positions: list[int]) -> Array | None:
    """The columns as a view of the frame's memory, where they lie in one block at even distances."""
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    if step < 1 or positions != list(range(positions[0], positions[-1] + 1, step)):
        return None
    columns = slice(positions[0], positions[-1] + 1, step)
    dtypes = set(frame.dtypes.iloc[columns])
    if len(dtypes) > 1 or not isinstance(dtypes.pop(), np.dtype):
        return None
    row = frame.iloc[:1]  # one row tells whether pandas gives a view, before it could copy all of them
    if not np.shares_memory(row.iloc[:, columns].to_numpy(copy=False), row.iloc[:, columns.start].to_numpy(copy=False)):
        return None
    return cast(Array, frame.iloc[:, columns].to_numpy(copy=False))


def has_infinity_aside(panel: Panel) -> bool:
    """Whether a row that no window reads, and so no kernel looks at, has an infinite value."""
    begin, stop = runs(panel.ends)
    reads = np.zeros(len(panel.ends), bool)
    if (stop - begin + panel.steps - 1).sum() == len(reads):  # each row has a window that reads it
        return False
    for first, last in zip((begin - panel.steps + 1).tolist(), stop.tolist(), strict=True):
        reads[first:last] = True
    aside = np.flatnonzero(~reads)
    rows = aside if panel.order is None else panel.order[aside]
    return any(np.isinf(panel.values[rows[k : k + _BLOCK]]).any() for k in range(0, len(rows), _BLOCK))


def locate_infinite(panel: Panel) -> None:
    """Name the first infinite value of a panel; call it once something infinite has been met.

    Raises
    ------
    ValueError
        With the row's time and asset, the feature, and the value. Returns only where all values are finite or NaN.
    """
    found = _first_infinite(panel.values)
    if found is not None:
        row, column = found
        named = zip(panel.index.names, panel.index[row], strict=True)
        where = ", ".join(f"{name} {label(value)}" if name is not None else label(value) for name, value in named)
        raise ValueError(_infinite(panel.values[found], f"feature {panel.features[column]!r} at {where}"))


def locate_infinite_array(X: Array, features: Sequence[str] | None = None) -> None:
    """Name the first infinite value of an array (sample, ..., feature), as :func:`locate_infinite` does for a panel.

    Raises
    ------
    ValueError
        With the position, and the feature's name where ``features`` gives one.
    """
    found = _first_infinite(X)
    if found is not None:
        axes = ("sample", "step", "feature") if X.ndim == 3 else ("sample", "feature")
        where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, found, strict=True))
        name = f" ({features[found[-1]]!r})" if features is not None else ""
        raise ValueError(_infinite(X[found], where + name))


def _first_infinite(values: Array) -> tuple[int, ...] | None:
    for start in range(0, len(values), _BLOCK):
        bad = np.isinf(values[start : start + _BLOCK])
        if bad.any():
            row, *rest = np.unravel_index(int(bad.argmax()), bad.shape)
            return (start + int(row), *map(int, rest))
    return None


def _infinite(value: Any, where: str) -> str:
    too_large = ", or too large for float32" if value.dtype == np.float32 else ""
    return f"the input is infinite ({value}{too_large}) at {where}; expected finite numbers, or NaN where missing"


# ------------------------------------------------------------------------------------------------- rows and windows


class _Known(NamedTuple):
    """The windows of the last panel, kept as long as its index is in use: users predict, then explain, then compare
    rules, and finding windows takes 3 % of a panel's explanation."""

    reference: weakref.ref[pd.Index]
    names: list[Any]
    steps: int
    windows: tuple[Array | None, Array]


_last: _Known | None = None


def _forget(reference: weakref.ref[pd.Index]) -> None:
    global _last
    known = _last  # another thread may set it
    if known is not None and known.reference is reference:
        _last = None


def _windows(index: pd.Index, steps: int) -> tuple[Array | None, Array]:
    """Row order (None where sorted) and, for every sorted row, whether it ends a window; read-only."""
    global _last
    known, names = _last, list(index.names)  # names can be set in place, and may tell which level is the time
    if known is not None and known.reference() is index and known.names == names and known.steps == steps:
        return known.windows
    windows = _find_windows(index, steps)
    for part in windows:
        if part is not None:
            part.flags.writeable = False
    _last = _Known(weakref.ref(index, _forget), names, steps, windows)
    return windows


def _find_windows(index: pd.Index, steps: int) -> tuple[Array | None, Array]:
    level = time_level(index)
    index = cast(pd.MultiIndex, index)
    for k in (level, 1 - level):
        missing = np.flatnonzero(index.codes[k] < 0)
        if len(missing):
            raise ValueError(f"the panel's index has no {'asset' if k != level else 'time'} in row {missing[0]}")
    times, time, _ = ranked_times(index, level)
    asset = np.asarray(index.codes[1 - level])
    order = _order(asset, time, len(index.levels[1 - level]), len(times.key))
    if order is not None:
        asset, time = asset[order], time[order]
    same = asset[1:] == asset[:-1]
    twice = np.flatnonzero(same & (time[1:] == time[:-1])) + 1
    if len(twice):
        row = int(twice[0] if order is None else order[twice].min())
        raise ValueError(f"the panel has row {_row(index, level, row)} twice, expected one row a time and asset")
    position, step = grid(times, time, same, lambda r: _row(index, level, r if order is None else int(order[r])))
    gap = ~(same & (np.diff(position[time]) == step))
    rows: Array = np.arange(len(time), dtype=np.int32 if len(time) < 2**31 else np.int64)
    since: Array = np.zeros_like(rows)
    since[1:][gap] = rows[1:][gap]
    np.maximum.accumulate(since, out=since)
    return order, np.asarray(rows - since >= steps - 1)


def _row(index: pd.MultiIndex, level: int, row: int) -> str:
    return f"({label(index[row][level])}, {label(index[row][1 - level])})"


def _order(asset: Array, time: Array, n_assets: int, n_times: int) -> Array | None:
    """What sorts rows by asset and time; None where each asset's rows are together and ascend already."""
    same = asset[1:] == asset[:-1]
    together = np.count_nonzero(~same) + 1 == np.count_nonzero(np.bincount(asset))
    if together and not (same & (time[1:] < time[:-1])).any():
        return None
    order = None if (time[1:] >= time[:-1]).all() else _stable_argsort(time, n_times, None)
    return _stable_argsort(asset, n_assets, order).astype(np.int64, copy=False)


def _stable_argsort(codes: Array, size: int, order: Array | None) -> Array:
    """Stable argsort of codes below ``size``, after ``order``: 16 bits a pass, where NumPy has a radix sort."""
    for shift in range(0, max(1, (size - 1).bit_length()), 16):
        digit = (codes >> shift if shift else codes).astype(np.uint16)  # the lowest 16 bits
        order = np.argsort(digit, kind="stable") if order is None else order[np.argsort(digit[order], kind="stable")]
    return cast(Array, order)
