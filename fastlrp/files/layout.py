"""How a source's rows are ordered, by asset or by time, which times follow each other, and where blocks may end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.keys import Keys
from fastlrp.panels.calendar import Calendar
from fastlrp.panels.order import sorted_order
from fastlrp.panels.periods import (
    Jumps,
    Times,
    grid,
    label,
    month_jumps,
    ranked_times,
)

Array = npt.NDArray[Any]
_ROWS = 1 << 20  # rows looked at at once
_TWICE = "the panel has row {} twice, expected one row a time and asset"


class UnsortedError(ValueError):
    """A source's rows are neither by asset nor by time."""


@dataclass(frozen=True, eq=False)
class Layout:
    """What all of a source's rows say together.

    Attributes
    ----------
    by_asset : bool
        Whether each asset's rows are together; else rows are by time.
    first : int64 array
        The first row of each asset, or of each time; ascending.
    rank : int32 array (time codes,)
        The rank of each time code.
    position : array (times,)
        Each rank's place on the grid; those ``step`` apart follow each other.
    step : int
    times, assets : pandas Index
        The values that codes stand for.
    distinct : Times
        The times by rank.
    """

    by_asset: bool
    first: Array
    rank: Array
    position: Array
    step: int
    times: pd.Index
    assets: pd.Index
    distinct: Times

    @property
    def latest(self) -> str:
        """The last time, as it is written."""
        return label(self.times[int(np.argmax(self.rank))])

    def history(self, rank: int, steps: int) -> int:
        """The lowest rank that a window ending at ``rank`` may read."""
        return int(np.searchsorted(self.position, self.position[rank] - (steps - 1) * self.step))

    def names_of_times(self, name: str) -> pd.Index:
        """The times by rank."""
        return self.times.take(np.unique(self.rank, return_index=True)[1]).rename(name)


def find_layout(keys: Keys, name: str, calendar: Calendar | None = None) -> Layout:
    """The order of a source's rows, and the grid of its times, as a panel in memory has it: its own, or the calendar's.

    Raises
    ------
    UnsortedError
        If rows are neither by asset nor by time.
    ValueError
        If times are not understood, or a row occurs twice.
    """
    times, assets = (pd.Index(level.values.to_pandas()) for level in (keys.time, keys.asset))
    both: Any = [times, pd.Index(["-"])]
    codes: Any = [np.arange(len(times)), np.zeros(len(times), int)]
    index = pd.MultiIndex(both, codes, names=[keys.time.name, keys.asset.name])
    distinct, rank, at = ranked_times(index, 0)
    by_asset, first = _order(keys, rank, times, assets, name)
    jumps = _look(keys, by_asset, first, rank, distinct, times, assets)
    if calendar is None:
        position, step = grid(distinct, jumps[0], lambda: jumps[1])
    else:
        position, step = calendar.positions(times[at]), calendar.step
    return Layout(by_asset, first, rank, np.asarray(position), step, times, assets, distinct)


def _order(keys: Keys, rank: Array, times: pd.Index, assets: pd.Index, name: str) -> tuple[bool, Array]:
    """Whether rows are by asset, and where each asset (else each time) begins; parts are put in the order of time."""
    starts, back = _starts(keys, lambda time, asset: asset, len(assets))
    if back is None:
        return True, starts
    lead = [int(rank[keys._codes(part.start, part.rows)[:, 0]].min()) for part in keys.parts]
    if len(lead) > 1 and lead != sorted(lead):
        keys.parts = [keys.parts[k] for k in np.argsort(lead, kind="stable")]
    starts, later = _starts(keys, lambda time, asset: rank[time], int(rank.max()) + 1, ascending=True)
    if later is None:
        return False, starts
    for row in (back, later):
        _refuse_twice(keys, row, times, assets)
    asset = keys[back : back + 1][1][0]
    raise UnsortedError(
        f"{name} is sorted neither by asset nor by time: asset {label(assets[asset])!r} comes back in row {back + 1:,} "
        f"after others, and row {later + 1:,} is older than the one before it; sort the table by asset and time, as "
        "with frame.sort_index(), and write it again, or give one file for each month"
    )


def _refuse_twice(keys: Keys, row: int, times: pd.Index, assets: pd.Index) -> None:
    """Refuse a row that is out of place because it stands there a second time."""
    time, asset = (int(code[0]) for code in keys[row : row + 1])
    for start in range(0, row, _ROWS):
        have = keys[start : min(start + _ROWS, row)]
        if ((have[0] == time) & (have[1] == asset)).any():
            raise ValueError(_TWICE.format(keys.named(time, asset, times, assets)))


def _starts(keys: Keys, of: Any, n: int, *, ascending: bool = False) -> tuple[Array, int | None]:
    """The first row of each run of equal values, and the first row at which a value comes back (or falls)."""
    seen, last, found = np.zeros(n, bool), -1, []
    for start in range(0, len(keys), _ROWS):
        values = of(*keys[start : min(start + _ROWS, len(keys))])
        at = np.flatnonzero(np.diff(values, prepend=last))
        heads = values[at]
        _, once = np.unique(heads, return_index=True)
        back = np.ones(len(heads), bool)
        back[once] = False
        back |= seen[heads]
        if ascending:
            back |= np.diff(heads, prepend=last) < 0
        if back.any():
            return np.empty(0, np.int64), start + int(at[back.argmax()])
        seen[heads], last = True, values[-1]
        found.append(start + at)
    return np.concatenate(found), None


def cut(first: Array, start: int, stop: int, size: int) -> list[tuple[int, int]]:
    """Ranges of at most ``size`` rows that begin at ``start`` or a row of ``first``; one run is never cut."""
    edges, ranges = np.append(first[first > start], stop), []
    while start < stop:
        k = max(0, int(np.searchsorted(edges, start + size, side="right")) - 1)
        if edges[k] <= start:
            k += 1
        ranges.append((start, int(edges[k])))
        start = int(edges[k])
    return ranges


def _look(
    keys: Keys, by_asset: bool, first: Array, rank: Array, distinct: Times, times: pd.Index, assets: pd.Index
) -> tuple[Jumps, tuple[str, str]]:
    """The sum of all months' jumps, two rows that share a month, and a refusal of rows that occur twice."""
    last = np.full(len(assets), -1, np.int32)  # the rank of each asset's row before
    total, clash = Jumps(), ("", "")
    ranges = (
        cut(first, 0, len(keys), _ROWS)
        if by_asset
        else [(start, min(start + _ROWS, len(keys))) for start in range(0, len(keys), _ROWS)]
    )
    for start, stop in ranges:
        code, asset = keys[start:stop]
        time = rank[code]
        order = sorted_order(asset, time, len(assets), int(rank.max()) + 1)
        if order is not None:
            asset, time, code = asset[order], time[order], code[order]
        head = np.diff(asset, prepend=-1) != 0
        before = np.where(head, last[asset], np.concatenate([[-1], time[:-1]]))
        follows = before >= 0
        last[asset[np.flatnonzero(np.append(head[1:], True))]] = time[np.append(head[1:], True)]
        twice = np.flatnonzero(follows & (before == time))
        if len(twice):
            raise ValueError(_TWICE.format(keys.named(code[twice[0]], asset[twice[0]], times, assets)))
        if distinct.month is None:
            continue
        months = np.stack([distinct.month[before[follows]], distinct.month[time[follows]]], axis=1).reshape(-1)
        here = month_jumps(months, np.arange(len(months) - 1) % 2 == 0)
        if here.none and not clash[0]:
            at = int(np.flatnonzero(follows)[np.flatnonzero(np.diff(months)[::2] == 0)[0]])
            earlier = times[int(np.flatnonzero(rank == before[at])[0])]
            clash = f"({label(earlier)}, {label(assets[asset[at]])})", keys.named(code[at], asset[at], times, assets)
        total += here
    return total, clash
