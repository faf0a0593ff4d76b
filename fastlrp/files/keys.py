"""The times and assets of a source's rows: read once, kept on disk as codes, and read again block by block."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.arrow import pyarrow
from fastlrp.files.columns import whole_numbers
from fastlrp.files.sources import Piece, Source, readable
from fastlrp.messages import count
from fastlrp.panels.periods import label
from fastlrp.whole import write_all

Array = npt.NDArray[Any]


class NoRows(ValueError):
    """A source without rows."""


class Level:
    """The distinct values of a key column, in the order in which they are first met."""

    def __init__(self, name: str) -> None:
        self.name, self._codes, self._type = name, dict[Any, int](), None
        self._last: tuple[Any, Array, Array] | None = None  # a dictionary, its codes, and which are missing

    def encode(self, column: Any, where: str, row: int) -> Array:
        """Codes of a batch's column, new values included; ``where`` and the first one's ``row`` are for a message."""
        if self._type is None:
            self._type = getattr(column.type, "value_type", column.type)
            if str(self._type) == "string_view":  # which pyarrow cannot take rows of; before 16 it has no such type
                self._type = pyarrow.string()
        if not isinstance(column, pyarrow.DictionaryArray):
            column = column.dictionary_encode()
        if self._last is None or not self._last[0].equals(column.dictionary):
            values = column.dictionary.to_pylist()
            codes = np.array([self._codes.setdefault(value, len(self._codes)) for value in values], np.int32)
            absent = np.array([value is None or value == "" or value != value for value in values], bool)
            self._last = column.dictionary, np.append(codes, -1), np.append(absent, True)
        at = column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
        bad = self._last[2][at]
        if bad.any():
            raise ValueError(f"{where} has no {self.name!r} in row {row + int(bad.argmax()) + 1:,}")
        codes_of: Array = self._last[1][at]
        return codes_of

    def __len__(self) -> int:
        """Number of distinct values."""
        return len(self._codes)

    @cached_property
    def values(self) -> Any:
        """The values as an Arrow array of the column's type, once all are met; whole numbers where texts are."""
        values = pyarrow.array(list(self._codes), self._type)
        if not pyarrow.types.is_string(values.type):
            return values
        plain = whole_numbers(pd.Index(list(self._codes), dtype=object))
        return pyarrow.array(plain.to_numpy()) if plain.dtype == np.int64 else values


class Part(NamedTuple):
    """A piece with its rows: how many, and where their codes lie on disk."""

    piece: Piece
    rows: int
    start: int


class Keys:
    """Codes of every row's time and asset, 8 bytes a row in a file without a name, which vanishes with the process.

    ``parts`` may be put into another order: rows are counted through them as they stand. ``by`` is a third column, by
    which an output is parted.
    """

    def __init__(self, source: Source, time: str, asset: str, folder: Path, by: str | None = None) -> None:
        self.time, self.asset = Level(time), Level(asset)
        self.by = None if by is None else Level(by)
        self._levels = [level for level in (self.time, self.asset, self.by) if level is not None]
        self.written = sorted((time, asset), key=source.schema.names.index)  # the order of columns in the source
        self.parts: list[Part] = []
        self._folder = folder
        with self._writing():
            self._file: Any = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # lives as long as this
        start = 0
        for path in source.paths:
            before = start
            with readable(path):
                for piece in source.pieces(path):
                    rows = 0
                    for batch in source.read(piece, [level.name for level in self._levels]):
                        rows += self._add(batch, path, start + rows - before)
                    if rows:
                        self.parts.append(Part(piece, rows, start))
                        start += rows
        if not start:
            raise NoRows(f"{source.paths[0]} has no rows to explain")

    def _add(self, batch: Any, path: Path, row: int) -> int:
        codes = np.empty((len(batch), len(self._levels)), np.int32)
        for k, level in enumerate(self._levels):
            codes[:, k] = level.encode(batch.column(k), str(path), row)
        with self._writing():
            write_all(self._file, codes)
        return len(batch)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say where rows' codes cannot be kept."""
        try:
            yield
        except OSError as error:
            raise ValueError(
                f"times and assets of rows cannot be kept in {self._folder}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Give the disk's space back."""
        self._file.close()

    def __len__(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    def __getitem__(self, rows: slice) -> tuple[Array, Array]:
        """Codes of time and asset of some rows, from ``rows.start`` to ``rows.stop``."""
        time, asset, *_ = self._all(rows)
        return time, asset

    def by_codes(self, rows: slice) -> Array:
        """Likewise of ``by``."""
        return self._all(rows)[2]

    def _all(self, rows: slice) -> list[Array]:
        found = [self._codes(part.start + first, n) for part, first, n in self.within(rows.start, rows.stop)]
        return [np.ascontiguousarray(column) for column in np.concatenate(found).T]

    def within(self, start: int, stop: int) -> Iterator[tuple[Part, int, int]]:
        """The parts that hold some rows, the first of them in each, and how many there are."""
        at = 0
        for part in self.parts:
            first, last = max(start - at, 0), min(stop - at, part.rows)
            if first < last:
                yield part, first, last - first
            at += part.rows

    def _codes(self, start: int, n: int) -> Array:
        width = len(self._levels)
        self._file.seek(4 * width * start)
        return np.fromfile(self._file, np.int32, width * n).reshape(n, width)

    def named(self, time: int, asset: int, times: Any, assets: Any) -> str:
        """A row as a message shows it."""
        return f"({label(times[time])}, {label(assets[asset])})"

    def said(self) -> str:
        """The size, for messages."""
        return f"{count(len(self), 'row')} of {count(len(self.asset), 'asset')}"
