"""The order of a panel's rows, each asset's together and oldest first, and which of them end a full window."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import Jumps, grid, label, month_jumps, ranked_times, time_level

Array = npt.NDArray[Any]


class Found(NamedTuple):
    """A panel's row order (None if sorted), whether each sorted row ends a full window, and, where short histories
    count, how many rows the window has that ends there."""

    order: Array | None
    ends: Array
    lengths: Array | None


class _Known(NamedTuple):
    """The windows of the last panel, kept as long as its index is in use: users predict, then explain, then compare
    rules, and finding windows takes 3 % of the time of explaining a panel."""

    reference: weakref.ref[pd.Index]
    names: list[Any]
    steps: int
    least: int | None
    windows: Found


_last: _Known | None = None


def _forget(reference: weakref.ref[pd.Index]) -> None:
    global _last
    known = _last  # another thread may set it
    if known is not None and known.reference is reference:
        _last = None


def find_windows(index: pd.Index, steps: int, least: int | None = None) -> Found:
    """The windows of ``steps`` rows, and of at least ``least`` where histories are short; arrays are read-only."""
    global _last
    known, names = _last, list(index.names)  # names can be set in place, and may tell which level is the time
    if known is not None and known.reference() is index and known[1:4] == (names, steps, least):
        return known.windows
    windows = _search(index, steps, least)
    for part in windows:
        if part is not None:
            part.flags.writeable = False
    _last = _Known(weakref.ref(index, _forget), names, steps, least, windows)
    return windows


class Sorted(NamedTuple):
    """A panel's rows by asset and time: their order (None if they are sorted), and each one's codes in that order."""

    order: Array | None
    time: Array
    asset: Array


def sorted_rows(index: pd.MultiIndex, level: int, rank: Array, n_times: int) -> Sorted:
    """Rows sorted by asset and by ``rank``, which each row's time has.

    Raises
    ------
    ValueError
        If a row has no time or no asset, or occurs twice.
    """
    for k in (level, 1 - level):
        missing = np.flatnonzero(index.codes[k] < 0)
        if len(missing):
            raise ValueError(f"the panel's index has no {'asset' if k != level else 'time'} in row {missing[0]}")
    time, asset = rank, np.asarray(index.codes[1 - level])
    order = sorted_order(asset, time, len(index.levels[1 - level]), n_times)
    if order is not None:
        asset, time = asset[order], time[order]
    twice = np.flatnonzero((asset[1:] == asset[:-1]) & (time[1:] == time[:-1])) + 1
    if len(twice):
        row = int(twice[0] if order is None else order[twice].min())
        raise ValueError(f"the panel has row {_row(index, level, row)} twice, expected one row a time and asset")
    return Sorted(order, time, asset)


def _search(index: pd.Index, steps: int, least: int | None) -> Found:
    level = time_level(index)
    index = cast(pd.MultiIndex, index)
    times, rank, _ = ranked_times(index, level)
    order, time, asset = sorted_rows(index, level, rank, len(times.key))
    same = asset[1:] == asset[:-1]
    months = None if times.month is None else times.month[time]

    def clash() -> tuple[str, str]:
        r = int(np.flatnonzero(same & (np.diff(cast(Array, months)) == 0))[0])
        first, second = (r, r + 1) if order is None else order[[r, r + 1]].tolist()
        return _row(index, level, first), _row(index, level, second)

    position, step = grid(times, Jumps() if months is None else month_jumps(months, same), clash)
    return Found(order, *windows_of(asset, position[time], step, steps, least))


def window_ends(asset: Array, position: Array, step: int, steps: int) -> Array:
    """Whether each row, sorted by asset and time, ends a full window; bool."""
    return windows_of(asset, position, step, steps, None)[0]


def windows_of(
    asset: Array, position: Array, step: int, steps: int, least: int | None
) -> tuple[Array, Array | None]:  # fmt: skip
    """Whether each row, sorted by asset and time, ends a full window; and the lengths of windows if some may be short.

    The rows of a short one are the last, without a hole, of the ``steps`` periods that end with it, of which the asset
    has no other: where it had a row before a hole, the window is incomplete.
    """
    gap = ~((asset[1:] == asset[:-1]) & (np.diff(position) == step))
    rows: Array = np.arange(len(asset), dtype=np.int32 if len(asset) < 2**31 else np.int64)
    since: Array = np.zeros_like(rows)
    since[1:][gap] = rows[1:][gap]
    np.maximum.accumulate(since, out=since)
    run = rows - since
    ends = np.asarray(run >= steps - 1)
    if least is None or least >= steps:
        return ends, None
    short = np.flatnonzero(~ends & (run >= least - 1))
    before = since[short] - 1  # the row before the hole; -1, the last row, where there is none
    hole = (before >= 0) & (asset[before] == asset[short])
    hole &= position[short] - position[before] <= (steps - 1) * step
    short = short[~hole]
    lengths = np.where(ends, steps, 0).astype(np.int32)
    lengths[short] = run[short] + 1
    return ends, lengths


def complete_ends(ends: Array, usable: Array, steps: int, lengths: Array | None = None) -> Array:
    """Whether each sorted row ends a full window, or one of ``lengths``, all of whose rows are usable."""
    bad = np.zeros(len(usable) + 1, np.int32)
    np.cumsum(~usable, out=bad[1:])
    complete = np.array(ends if lengths is None else lengths > 0)
    last = np.flatnonzero(complete)
    complete[last] = bad[last + 1] == bad[last + 1 - (steps if lengths is None else lengths[last])]
    return complete


def _row(index: pd.MultiIndex, level: int, row: int) -> str:
    return f"({label(index[row][level])}, {label(index[row][1 - level])})"


def sorted_order(asset: Array, time: Array, n_assets: int, n_times: int) -> Array | None:
    """The order that sorts rows by asset and time; None if each asset's rows are already together and ascending."""
    same = asset[1:] == asset[:-1]
    together = np.count_nonzero(~same) + 1 == np.count_nonzero(np.bincount(asset))
    if together and not (same & (time[1:] < time[:-1])).any():
        return None
    order = None if (time[1:] >= time[:-1]).all() else _stable_argsort(time, n_times, None)
    return _stable_argsort(asset, n_assets, order).astype(np.int64, copy=False)


def _stable_argsort(codes: Array, size: int, order: Array | None) -> Array:
    """Stable argsort of codes below ``size``, after ``order``: 16 bits per pass, which NumPy sorts by radix."""
    for shift in range(0, max(1, (size - 1).bit_length()), 16):
        digit = (codes >> shift if shift else codes).astype(np.uint16)  # the lowest 16 bits
        order = np.argsort(digit, kind="stable") if order is None else order[np.argsort(digit[order], kind="stable")]
    return cast(Array, order)
