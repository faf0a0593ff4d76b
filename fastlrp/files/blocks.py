"""A source in blocks that are explained one at a time: whole assets, or times with the history that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.arrow import pyarrow
from fastlrp.files.keys import Keys
from fastlrp.files.layout import Layout, cut
from fastlrp.files.sources import Piece, Source, readable
from fastlrp.kernels.memory import aligned
from fastlrp.panels.order import sorted_order, windows_of
from fastlrp.panels.panel import Panel
from fastlrp.panels.windows import Windows

Array = npt.NDArray[Any]
_STRIP = 256  # rows turned from columns at once: they stay in cache


class Block(NamedTuple):
    """Some rows of a source, ready for kernels: the first ``n`` of the panel's are to be explained."""

    number: int
    panel: Panel | None  # none once it is explained
    n: int
    time: Array  # codes of all rows
    asset: Array
    by: Array | None = None  # of those to be explained, where an output is parted


class _History(NamedTuple):
    """The last T-1 rows of every asset that later windows may read."""

    values: Array
    time: Array
    asset: Array


class Blocks:
    """The blocks of a source.

    Parameters
    ----------
    size : int
        Most rows in a block, unless one asset has more.
    since : int
        The lowest rank of time that is explained.
    least : int or None
        Fewest rows of a window where an asset's history is short.
    """

    def __init__(
        self, source: Source, keys: Keys, layout: Layout, *, features: Sequence[str], dtype: np.dtype[Any], steps: int,
        size: int, since: int, least: int | None = None,
    ) -> None:  # fmt: skip
        self.source, self.keys, self.layout = source, keys, layout
        self.features, self.dtype, self.steps, self.since = list(features), dtype, steps, since
        self.size, self.least = size, least
        if layout.by_asset:
            self.ranges = cut(layout.first, 0, len(keys), size)
        else:
            start = int(layout.first[since])
            self.ranges = [(at, min(at + size, len(keys))) for at in range(start, len(keys), size)]
        self._oldest = layout.history(since, steps)

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.ranges)

    def rows(self) -> int:
        """Number of rows to explain."""
        if not (self.layout.by_asset and self.since):
            return sum(stop - start for start, stop in self.ranges)
        times = (self.keys[start:stop][0] for start, stop in self.ranges)
        return sum(int((self.layout.rank[time] >= self.since).sum()) for time in times)

    def read(self, begin: int = 0) -> Iterator[Block]:
        """The blocks from the ``begin``-th on; reading starts with the rows that their windows need."""
        if begin == len(self.ranges):
            return
        start, history = self.ranges[begin][0], None
        warm: list[tuple[int, int]] = []
        if not self.layout.by_asset and self.steps > 1:
            rank = int(self.layout.rank[self.keys[start : start + 1][0][0]])
            first = int(self.layout.first[self.layout.history(rank, self.steps)])
            warm = [(at, min(at + self.size, start)) for at in range(first, start, self.size)]
        stream = Stream(self.source, self.keys, self.features, warm[0][0] if warm else start)
        for k, (first, last) in enumerate([*warm, *self.ranges[begin:]]):
            block, history = self._block(begin + k - len(warm), first, last, stream, history, warm=k < len(warm))
            if k >= len(warm):
                yield block

    def _block(
        self, number: int, start: int, stop: int, stream: Stream, history: _History | None, *, warm: bool
    ) -> tuple[Block, _History | None]:
        time, asset = self.keys[start:stop]
        rank, own = self.layout.rank[time], None
        n = 0 if warm else stop - start
        by = None if self.keys.by is None else self.keys.by_codes(slice(start, stop))
        if self.layout.by_asset and self.since:
            wanted = rank >= self.since
            own = np.concatenate([np.flatnonzero(wanted), np.flatnonzero(~wanted & (rank >= self._oldest))])
            n, time, asset = int(wanted.sum()), time[own], asset[own]
            by = None if by is None else by[wanted]
        size = len(time)
        if history is not None:
            time, asset = np.append(time, history.time), np.append(asset, history.asset)
        rank = self.layout.rank[time]
        order = sorted_order(asset, rank, len(self.layout.assets), len(self.layout.position))
        place = np.arange(len(time)) if order is None else order
        position = self.layout.position[rank[place]]
        ends, lengths = windows_of(asset[place], position, self.layout.step, self.steps, self.least)
        ends, lengths = ends & (place < n), None if lengths is None else np.where(place < n, lengths, 0)
        values = self._matrix(len(time), by_column=order is None)
        stream.fill(values[:size], stop - start, own)
        if history is not None:
            values[size:] = history.values
        index = self._index(time, asset)
        panel = Panel(Windows(values, order, ends, wanted=n, lengths=lengths), index, tuple(self.features), self.steps)
        if self.layout.by_asset:
            return Block(number, panel, n, time, asset, by), None
        keep = place[self._needed(asset[place], rank[place])]
        return Block(number, panel, n, time, asset, by), _History(values[keep], time[keep], asset[keep])

    def _matrix(self, n: int, *, by_column: bool) -> Array:
        """Room for features, in memory that an earlier block had, if it can be; a sorted panel's are read by column."""
        flat = aligned(n * len(self.features), self.dtype)
        return flat.reshape(len(self.features), n).T if by_column else flat.reshape(n, len(self.features))

    def _needed(self, asset: Array, rank: Array) -> Array:
        """Which sorted rows windows that end after this block, or with it, may read."""
        last = np.append(asset[1:] != asset[:-1], True)
        end = np.flatnonzero(last)[np.cumsum(last) - last]
        recent = end - np.arange(len(asset)) < self.steps - 1
        return np.asarray(recent & (rank >= self.layout.history(int(rank.max()), self.steps)))

    def _index(self, time: Array, asset: Array) -> pd.MultiIndex:
        """Names of rows, as the file has them; making it costs little, as labels are shared."""
        both = {self.keys.time.name: (self.layout.times, time), self.keys.asset.name: (self.layout.assets, asset)}
        levels: Any = [both[name][0] for name in self.keys.written]
        codes: Any = [both[name][1] for name in self.keys.written]
        return pd.MultiIndex(levels, codes, names=self.keys.written, verify_integrity=False)


class Stream:
    """The features of a source's rows, in order, from a row on."""

    def __init__(self, source: Source, keys: Keys, features: list[str], start: int) -> None:
        self._batches = self._read(source, keys, features, start)
        self._left: Any = None

    @staticmethod
    def _read(source: Source, keys: Keys, features: list[str], start: int) -> Iterator[Any]:
        for piece, skip, expected in _runs(keys, start):
            rows = 0
            with readable(piece.path):
                for batch in source.read(piece, features):
                    drop = min(max(skip - rows, 0), len(batch))
                    rows += len(batch)
                    if drop < len(batch):
                        yield batch[drop:]
            if rows != expected:
                raise ValueError(f"{piece.path} has changed while it was read: it has {rows:,} rows where it had "
                                 f"{expected:,}")  # fmt: skip

    def fill(self, values: Array, n: int, own: Array | None) -> None:
        """The next ``n`` rows, all of them or those at ``own``, in that order."""
        target = None
        if own is not None:
            target = np.full(n, -1)
            target[own] = np.arange(len(own))
        at = 0
        while at < n:
            batch = self._left if self._left is not None else next(self._batches)
            part, rest = batch[: n - at], batch[n - at :]
            self._left = rest if len(rest) else None
            with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused
                if target is None:
                    _copy(part, values[at : at + len(part)])
                else:
                    to = target[at : at + len(part)]
                    for j in range(values.shape[1]):
                        values[to[to >= 0], j] = as_numbers(part.column(j))[to >= 0]
            at += len(part)


def _runs(keys: Keys, start: int) -> Iterator[tuple[Piece, int, int]]:
    """Pieces from a row on, those behind each other as one; rows to skip in each, and how many it has.

    Small row groups take half as long again to read one by one.
    """
    found: list[tuple[Piece, int, int]] = []
    for part, skip, _ in keys.within(start, len(keys)):
        if found and part.piece.follows(found[-1][0]):
            piece, first, rows = found[-1]
            found[-1] = piece._replace(groups=piece.groups + part.piece.groups), first, rows + part.rows
        else:
            found.append((part.piece, skip, part.rows))
    return iter(found)


def _copy(batch: Any, values: Array) -> None:
    """A batch's columns as numbers; into rows, some at a time, which stay in cache."""
    if values.strides[0] < values.strides[1]:
        for j in range(values.shape[1]):
            values[:, j] = as_numbers(batch.column(j))
        return
    turned = aligned(values.size, values.dtype).reshape(values.shape[::-1])
    for j, column in enumerate(turned):
        column[:] = as_numbers(batch.column(j))
    for row in range(0, len(values), _STRIP):
        values[row : row + _STRIP] = turned[:, row : row + _STRIP].T


def as_numbers(column: Any) -> Array:
    """An Arrow column as numbers, NaN where missing."""
    kind = column.type
    if pyarrow.types.is_boolean(kind) or pyarrow.types.is_decimal(kind):
        column = column.cast(pyarrow.uint8() if pyarrow.types.is_boolean(kind) else pyarrow.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False))
