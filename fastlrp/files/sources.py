"""A source of rows: files of one kind with the same columns, read piece by piece."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastlrp.files.arrow import pyarrow
from fastlrp.messages import suggest

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 1000  # rows shown to whoever must recognise columns
_WRAPPED = pyarrow.BaseExtensionType


class Piece(NamedTuple):
    """A part of a source that can be read by itself: row groups from a file's ``number``-th on, or a whole file."""

    path: Path
    number: int
    groups: int = 1

    def follows(self, other: Piece) -> bool:
        """Whether it stands right behind the other in the same file."""
        return self.path == other.path and self.number == other.number + other.groups


class Source(ABC):
    """Files of one kind with the same columns, in the order of their names.

    Attributes
    ----------
    schema : pyarrow.Schema
        The first file's columns; the other files have them, too.
    says_types : bool
        Whether files say what their columns hold; of csv it is known from the first rows alone.
    """

    says_types = True

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        with readable(self.paths[0]):
            self.schema = self.schema_of(self.paths[0])

    @abstractmethod
    def schema_of(self, path: Path) -> Any:
        """A file's columns."""

    @abstractmethod
    def pieces(self, path: Path) -> list[Piece]:
        """A file's pieces, in its order."""

    @abstractmethod
    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        """A piece's record batches, with these columns."""

    def overhead(self, n: int) -> int:
        """About how many bytes it takes to read ``n`` columns, whatever the number of rows."""
        return 16 << 20

    def sample(self) -> pd.DataFrame:
        """The first rows, the levels of pandas' index first."""
        flat = [field.name for field in self.schema if not pyarrow.types.is_nested(field.type)]
        batch = next((batch for path in self.paths for batch in self._batches(path, flat) if len(batch)), None)
        table = self.schema.empty_table() if batch is None else pyarrow.Table.from_batches([batch[:_SAMPLE]])
        table = table.select([name for name in flat if name in table.schema.names])
        frame: pd.DataFrame = table.to_pandas()
        if any(name is not None for name in frame.index.names):
            frame = frame.reset_index()
        if not set(map(str, frame.columns)) <= set(self.schema.names):
            frame = table.to_pandas(ignore_metadata=True)
        return frame

    def _batches(self, path: Path, columns: Sequence[str]) -> Iterator[Any]:
        with readable(path):
            have = self.schema_of(path).names
            for piece in self.pieces(path):
                yield from self.read(piece, [name for name in columns if name in have])

    def declare(self, texts: Sequence[str], numbers: Sequence[str]) -> None:  # noqa: B027  # most files say it
        """Say which columns are read as they are written, and which as numbers."""

    def check(self, columns: Sequence[str]) -> None:
        """Refuse a file that lacks a column, or holds another type in it."""
        for path in self.paths:
            with readable(path):
                schema = self.schema if path == self.paths[0] else self.schema_of(path)
            refuse_twice(path, schema.names)
            missing = [name for name in columns if name not in schema.names]
            if missing:
                spare = [name for name in schema.names if name not in columns]
                raise ValueError(f"{path} lacks {len(missing)} of the columns to read: {suggest(missing, spare)}")
            wrapped = next((name for name in columns if isinstance(schema.field(name).type, _WRAPPED)), None)
            if wrapped is not None:
                raise ValueError(
                    f"{path} holds {schema.field(wrapped).type} in column {wrapped!r}, expected dates, texts or "
                    "numbers: write Periods as dates, with to_timestamp()"
                )
            odd = next((name for name in columns if schema.field(name).type != self.schema.field(name).type), None)
            if odd is not None:
                raise ValueError(
                    f"{path} holds {schema.field(odd).type} in column {odd!r}, expected {self.schema.field(odd).type} "
                    f"as in {self.paths[0].name}"
                )

    def close(self) -> None:  # noqa: B027  # most are closed as soon as they are read
        """Close what is open."""

    def stamps(self) -> list[list[Any]]:
        """What changes when a file does: names, sizes and times of change."""
        return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in self.paths]


class Wrapped(Source):
    """A source that gives what another reads, changed."""

    def __init__(self, source: Source) -> None:
        self.source, self.paths, self.schema = source, source.paths, source.schema
        self.says_types = source.says_types

    def overhead(self, n: int) -> int:
        """About how many bytes it takes to read ``n`` columns."""
        return self.source.overhead(n)

    def close(self) -> None:
        """Close what is open."""
        self.source.close()

    def sample(self) -> pd.DataFrame:
        """The first rows, as the other source has them."""
        return self.source.sample()

    def schema_of(self, path: Path) -> Any:
        """A file's columns."""
        return self.source.schema_of(path)

    def pieces(self, path: Path) -> list[Piece]:
        """A file's pieces."""
        return self.source.pieces(path)

    def declare(self, texts: Sequence[str], numbers: Sequence[str]) -> None:
        """Say what columns hold."""
        self.source.declare(texts, numbers)
        self.schema = self.source.schema


def refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Refuse a table with two columns of one name."""
    twice = next((name for name, n in Counter(names).items() if n > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: two columns are called {twice!r}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong as a file is read into one sentence.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        yield
    except (pyarrow.ArrowException, OSError, EOFError, UnicodeError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
