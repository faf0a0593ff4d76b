"""Which times of a whole panel follow each other, for panels that are worked on part by part.

A part alone may tell otherwise: where none of its assets has a row in some month, or all of them report each quarter.
Parts hold whole assets, and each says in few numbers what :func:`fastlrp.panels.periods.grid` asks of its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.order import Found, sorted_rows, windows_of
from fastlrp.panels.periods import Jumps, grid, label, ranked_times

Array = npt.NDArray[Any]


class PartKeys(NamedTuple):
    """What a part says of a panel's times and assets.

    ``times``, ``assets``: the distinct ones, as written. ``pairs`` (pair, 4): positions among ``times`` of two times of
    an asset that follow each other, how often they do, and the first asset's position among ``assets``.
    """

    times: pd.Index
    assets: pd.Index
    pairs: Array


def part_keys(index: pd.MultiIndex) -> PartKeys:
    """A part's keys; its index is (time, asset).

    Raises
    ------
    ValueError
        If times are not understood, or a row has no time or asset or occurs twice.
    """
    index = index.remove_unused_levels()
    times, rank, at = ranked_times(index, 0)
    _, time, asset = sorted_rows(index, 0, rank, len(times.key))
    same = np.flatnonzero(asset[1:] == asset[:-1])
    both = time[same].astype(np.int64) * len(at) + time[same + 1]
    pair, row, n = np.unique(both, return_index=True, return_counts=True)
    before, after = np.divmod(pair, max(1, len(at)))
    return PartKeys(index.levels[0], index.levels[1], np.stack([at[before], at[after], n, asset[same[row]]], axis=1))


@dataclass(frozen=True, eq=False)
class Calendar:
    """A panel's times: all as they are written, the rank of each, each rank's position, and the step between
    consecutive positions."""

    times: pd.Index
    rank: Array
    position: Array
    step: int

    def positions(self, times: pd.Index) -> Array:
        """The positions of some times.

        Raises
        ------
        ValueError
            If the panel did not have one of them.
        """
        return np.asarray(self.position[self._ranks(times)])

    def windows(self, index: pd.MultiIndex, steps: int, least: int | None = None) -> Found:
        """The windows of a part, as :func:`fastlrp.panels.order.find_windows` has them of a panel."""
        index = index.remove_unused_levels()
        rank = self._ranks(index.levels[0])[index.codes[0]]
        order, time, asset = sorted_rows(index, 0, rank, len(self.position))
        return Found(order, *windows_of(asset, self.position[time], self.step, steps, least))

    def _ranks(self, times: pd.Index) -> Array:
        at = self.times.get_indexer(times)
        if (at < 0).any():
            raise ValueError(f"the panel has changed while it was read: {label(times[at < 0][0])} is a new time")
        return np.asarray(self.rank[at])

    @cached_property
    def said(self) -> str:
        """A text that is the same for calendars that say the same of the same times."""
        rows = zip(map(str, self.times), self.position[self.rank].tolist(), strict=True)
        return hashlib.sha256(repr((sorted(rows), self.step)).encode()).hexdigest()


def calendar_of(parts: Sequence[PartKeys], names: Sequence[str], todo: str) -> Calendar:
    """The calendar of a panel, from all its parts.

    Parameters
    ----------
    parts : sequence of PartKeys
    names : sequence of str
        What a message calls each part.
    todo : str
        What it says to do where an asset stands in two parts.

    Raises
    ------
    ValueError
        If an asset stands in two parts, times are not understood, or few assets have two rows in a month.
    """
    filled = [(part, name) for part, name in zip(parts, names, strict=True) if len(part.assets)]
    if not filled:
        raise ValueError("the panel is empty: it has no rows")
    _refuse_shared([part.assets for part, _ in filled], [name for _, name in filled], todo)
    times = _joined([part.times for part, _ in filled]).unique()
    levels: Any = [times, pd.Index(["-"])]
    codes: Any = [np.arange(len(times)), np.zeros(len(times), int)]
    distinct, rank, _ = ranked_times(pd.MultiIndex(levels, codes, names=["time", "asset"]), 0)
    if distinct.month is None:
        return Calendar(times, rank, *grid(distinct, Jumps(), lambda: ("", "")))
    total, clash = Jumps(), ("", "")
    for part, _ in filled:
        before, after = rank[times.get_indexer(part.times)][part.pairs[:, :2]].T
        within, n = distinct.month[after] - distinct.month[before], part.pairs[:, 2]
        total += Jumps(int(n.sum()), int(n[within == 0].sum()), int(np.gcd.reduce(within)) if len(within) else 0)
        if (within == 0).any() and not clash[0]:
            one, two, _, asset = part.pairs[np.flatnonzero(within == 0)[0]]
            clash = cast(
                tuple[str, str], tuple(f"({label(part.times[k])}, {label(part.assets[asset])})" for k in (one, two))
            )
    return Calendar(times, rank, *grid(distinct, total, lambda: clash))


def _refuse_shared(assets: Sequence[pd.Index], names: Sequence[str], todo: str) -> None:
    whole = _joined(assets)
    twice = np.flatnonzero(whole.duplicated())
    if len(twice):
        part = np.repeat(np.arange(len(assets)), [len(some) for some in assets])
        asset = whole[twice[0]]
        one, two = part[np.flatnonzero(whole == asset)[:2]]
        raise ValueError(
            f"asset {label(asset)} stands in {names[one]} and in {names[two]}, expected all rows of an asset in one "
            f"part: {todo}"
        )


def _joined(indices: Sequence[pd.Index]) -> pd.Index:
    return indices[0].append(list(indices[1:]))
