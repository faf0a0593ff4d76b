"""The kinds of files that are read piece by piece, and which of them a path holds: Parquet, Arrow IPC (Feather), csv,
HDF5.

Parquet is read page by page (``iter_batches`` without pre-buffering): pyarrow.dataset decodes whole row groups, which
pandas writes of a million rows, and takes twice the time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlrp.files.arrow import compute, csv, ipc, parquet, pyarrow
from fastlrp.files.foldered import Foldered, folder_values
from fastlrp.files.hdf5_source import Hdf5
from fastlrp.files.sources import Piece, Source, Wrapped, readable, refuse_twice
from fastlrp.files.text import MISSING, Text, find_text, unpacked
from fastlrp.objects import as_path

if TYPE_CHECKING:
    import pandas as pd

_PARQUET, _ARROW = (".parquet", ".pq"), (".arrow", ".feather", ".ipc")
_HDF5 = (".h5", ".hdf5", ".hdf")
_TEXT = tuple(f".{kind}{end}" for kind in ("csv", "tsv", "txt") for end in ("", ".gz", ".bz2", ".xz", ".zip"))
_ROWS = 1 << 15  # rows read at once
_PAGE = 3 << 20  # bytes of an open Parquet column: a page, packed and unpacked, and its dictionary


class _Parquet(Source):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._open: tuple[Path, Any] | None = None
        self._chunk = 0  # bytes of a column in the largest row group
        super().__init__(paths)

    def overhead(self, n: int) -> int:
        return n * (min(_PAGE, 2 * self._chunk) + 8 * _ROWS)

    def _file(self, path: Path) -> Any:
        if self._open is None or self._open[0] != path:
            self.close()
            file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
            groups = [file.metadata.row_group(k).total_byte_size for k in range(file.num_row_groups)]
            self._chunk = max([self._chunk, *(size // file.metadata.num_columns for size in groups)])
            self._open = path, file
        return self._open[1]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def schema_of(self, path: Path) -> Any:
        return self._file(path).schema_arrow

    def pieces(self, path: Path) -> list[Piece]:
        return [Piece(path, k) for k in range(self._file(path).num_row_groups)]

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        # On one thread: on several it takes a third more of their time, which the kernels need.
        file, rows = self._file(piece.path), list(range(piece.number, piece.number + piece.groups))
        yield from file.iter_batches(_ROWS, row_groups=rows, columns=list(columns), use_threads=False)


class _Arrow(Source):
    def schema_of(self, path: Path) -> Any:
        with pyarrow.OSFile(str(path)) as file:
            return ipc.open_file(file).schema

    def pieces(self, path: Path) -> list[Piece]:
        with pyarrow.OSFile(str(path)) as file:
            return [Piece(path, k) for k in range(ipc.open_file(file).num_record_batches)]

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        with pyarrow.OSFile(str(piece.path)) as file:
            own = ipc.open_file(file).schema  # files may have their columns in different orders
            options = ipc.IpcReadOptions(included_fields=[own.get_field_index(name) for name in columns])
            batches = ipc.open_file(file, options=options)
            for number in range(piece.number, piece.number + piece.groups):
                batch = batches.get_batch(number).select(list(columns))
                for start in range(0, len(batch), _ROWS):
                    yield batch[start : start + _ROWS]


class _Text(Source):
    says_types = False

    def __init__(self, paths: Sequence[Path]) -> None:
        self._types: dict[str, Any] = {}
        self.paths = list(paths)
        with readable(self.paths[0]):
            self._decimal = "," if self._text(self.paths[0]).has_decimal_commas(self.sample()) else "."
        super().__init__(paths)

    def _text(self, path: Path) -> Text:
        return find_text(path, lambda: path.open("rb"))

    def sample(self) -> pd.DataFrame:
        with readable(self.paths[0]):
            return self._text(self.paths[0]).sample()

    def declare(self, texts: Sequence[str], numbers: Sequence[str]) -> None:
        self._types = {name: pyarrow.string() for name in texts} | {name: pyarrow.float64() for name in numbers}
        with readable(self.paths[0]):
            self.schema = self.schema_of(self.paths[0])

    def schema_of(self, path: Path) -> Any:
        with self._reader(path, None) as reader:
            return reader.schema

    def pieces(self, path: Path) -> list[Piece]:
        return [Piece(path, 0)]

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        with self._reader(piece.path, list(columns)) as reader:
            yield from reader

    @contextmanager
    def _reader(self, path: Path, columns: list[str] | None) -> Iterator[Any]:
        text = self._text(path)
        with unpacked(text.source) as file:
            yield csv.open_csv(
                pyarrow.PythonFile(file, "r"),
                csv.ReadOptions(skip_rows=text.skipped, encoding=text.encoding.removesuffix("-sig")),
                csv.ParseOptions(delimiter=text.separator),
                csv.ConvertOptions(
                    include_columns=columns, column_types=self._types, null_values=MISSING, decimal_point=self._decimal
                ),
            )


def _expression(where: Any) -> Any:
    filters: Any = parquet.filters_to_expression
    return filters(where)


class Filtered(Wrapped):
    """The rows of a source for which an expression holds."""

    def __init__(self, source: Source, where: Any) -> None:
        super().__init__(source)
        try:
            self.where: Any = where if isinstance(where, compute.Expression) else _expression(where)
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(
                "where= takes a pyarrow.dataset expression or tuples such as [('region', '==', 'US')], "
                f"not {where!r} ({error})"
            ) from None
        self.columns = [name for name in self.schema.names if name in str(self.where)]  # some too many do no harm

    def overhead(self, n: int) -> int:
        """About how many bytes it takes to read ``n`` columns."""
        return self.source.overhead(n + len(self.columns))

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        """A piece's rows for which the expression holds."""
        both = [*columns, *(name for name in self.columns if name not in columns)]
        for batch in self.source.read(piece, both):
            kept = pyarrow.Table.from_batches([batch]).filter(self.where).select(list(columns))
            yield from kept.combine_chunks().to_batches()


def located(source: object, who: str) -> tuple[Path, str | None]:
    """A file or folder, and the place in it that "panel.h5::/group" names."""
    path = as_path(source, f"{who}(source=...)")
    name, mark, inside = os.fspath(path).partition("::")
    return (Path(name), inside) if mark and name.lower().endswith(_HDF5) else (path, None)


def open_source(path: Path, where: Any = None, inside: str | None = None) -> Source:
    """The tables of a file, or of all files of one kind in a folder; of HDF5, those at ``inside``.

    Raises
    ------
    ValueError
        If there is none, or their kinds are mixed or unknown.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist, expected a file or folder of tables")
    paths = [path]
    if path.is_dir():  # what begins with "." or "_" is others' bookkeeping
        found = (file for file in path.rglob("*") if file.is_file())
        paths = sorted(file for file in found if not any(part[0] in "._" for part in file.relative_to(path).parts))
    if not paths:
        raise ValueError(f"{path} is an empty folder, expected Parquet, Arrow or csv files in it")
    kinds: dict[Any, Path] = {}
    for file in paths:
        kinds.setdefault(_kind(file), file)
    if len(kinds) > 1:
        names = " and ".join(file.name for file in kinds.values())
        raise ValueError(f"{path} holds {names}, expected files of one kind")
    kind = next(iter(kinds))
    source: Source = Hdf5(paths, inside) if kind is Hdf5 else kind(paths)
    refuse_twice(paths[0], source.schema.names)
    values = folder_values(path, paths)
    if values:
        source = Foldered(source, values)
    return source if where is None else Filtered(source, where)


def _kind(path: Path) -> type[Source]:
    name = path.name.lower()
    for ends, kind in ((_PARQUET, _Parquet), (_ARROW, _Arrow), (_TEXT, _Text), (_HDF5, Hdf5)):
        if name.endswith(ends):
            return kind
    raise ValueError(
        f"{path} is of no kind that is read block by block, expected .parquet, .arrow, .feather, .h5 or .csv"
    )
