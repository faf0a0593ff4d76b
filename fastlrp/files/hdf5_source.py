"""Panels in HDF5: pandas' table format, and datasets by their path in the file, "panel.h5::/group". Read by h5py alone.

PyTables keeps attributes pickled; of these only lists of names are read, and nothing that a pickle could call.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from fastlrp.files.arrow import compute, pyarrow
from fastlrp.files.sources import Piece, Source, refuse_twice

Array = npt.NDArray[Any]
_ROWS = 1 << 15  # rows read at once


class _Column(NamedTuple):
    """Where a column stands: a dataset, a field of it, a position in the second axis; and the dtype it stands for."""

    dataset: str
    field: str | None
    position: int | None
    dtype: np.dtype[Any]


class Hdf5(Source):
    """Files with the same datasets at the same place, which is found where ``inside`` is None."""

    def __init__(self, paths: Sequence[Path], inside: str | None) -> None:
        self.inside = inside
        super().__init__(paths)

    def overhead(self, n: int) -> int:
        """About how many bytes it takes to read ``n`` columns."""
        return (16 << 20) + 2 * 8 * _ROWS * len(self.schema)

    def schema_of(self, path: Path) -> Any:
        """A file's columns."""
        with h5py.File(path, "r", locking=False) as file:
            columns, _ = self._columns(file, path)
            return pyarrow.schema([pyarrow.field(name, _arrow_type(one.dtype)) for name, one in columns.items()])

    def pieces(self, path: Path) -> list[Piece]:
        """A file's pieces of equal length."""
        with h5py.File(path, "r", locking=False) as file:
            return [Piece(path, k) for k in range(-(-self._columns(file, path)[1] // _ROWS))]

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        """A piece's record batches, with these columns."""
        with h5py.File(piece.path, "r", locking=False) as file:
            found, n = self._columns(file, piece.path)
            wanted = [found[name] for name in columns]
            for k in range(piece.number, piece.number + piece.groups):
                rows = slice(k * _ROWS, min((k + 1) * _ROWS, n))
                parts = {name: file[name][rows] for name in dict.fromkeys(one.dataset for one in wanted)}
                arrays = [_arrow_array(_cut(parts[one.dataset], one), one.dtype) for one in wanted]
                yield pyarrow.RecordBatch.from_arrays(arrays, names=list(columns))

    def _columns(self, file: Any, path: Path) -> tuple[dict[str, _Column], int]:
        """The columns and the number of rows.

        Raises
        ------
        ValueError
            If there are none, or it is not clear which are meant.
        """
        at = file if self.inside is None else file.get(self.inside)
        if at is None:
            raise ValueError(f"{path} has nothing at {self.inside!r}: it holds {', '.join(file) or 'nothing'}")
        if self.inside is None and not any(isinstance(one, h5py.Dataset) for one in file.values()):
            if len(file) != 1:
                example = f", as {path}::/{next(iter(file))}" if len(file) else ""
                raise ValueError(f"{path} holds {', '.join(file) or 'nothing'}: say which to read{example}")
            at = next(iter(file.values()))
        kind = _text(at.attrs.get("pandas_type", ""))
        if kind not in ("", "frame_table"):
            raise ValueError(f"{path} has {at.name} in pandas' format {kind!r}, which cannot be read in parts: write "
                             "it with to_hdf(..., format='table')")  # fmt: skip
        datasets = [at["table"]] if kind else [at] if isinstance(at, h5py.Dataset) else _datasets(at)
        lengths = {one.name: len(one) for one in datasets}
        if not lengths:
            raise ValueError(f"{path} has no dataset of one axis or two at {at.name}, expected a row a time and asset: "
                             f"it holds {', '.join(at) or 'nothing'}")  # fmt: skip
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} of {n:,}" for name, n in lengths.items())
            raise ValueError(
                f"{path} has datasets of different lengths at {at.name} ({said}), expected a row a time and asset"
            )
        of = _table_columns if kind else _plain_columns
        found = [pair for dataset in datasets for pair in of(dataset)]
        refuse_twice(path, [name for name, _ in found])
        return dict(found), next(iter(lengths.values()))


def _datasets(group: Any) -> list[Any]:
    return [one for one in group.values() if isinstance(one, h5py.Dataset) and one.ndim in (1, 2)]


def _plain_columns(dataset: Any) -> Iterator[tuple[str, _Column]]:
    """A dataset of one axis is a column; of two, its attribute "columns" names them, else NAME0, NAME1 ..."""
    name, kind = dataset.name.rpartition("/")[2], dataset.dtype
    if kind.names:
        yield from ((field, _Column(dataset.name, field, None, kind[field])) for field in kind.names)
    elif dataset.ndim == 1:
        yield name, _Column(dataset.name, None, None, kind)
    else:
        names = [_text(one) for one in dataset.attrs.get("columns", [f"{name}{j}" for j in range(dataset.shape[1])])]
        if len(names) != dataset.shape[1]:
            raise ValueError(f"{dataset.file.filename} has {dataset.name} with {dataset.shape[1]:,} columns, of which "
                             f"its attribute 'columns' names {len(names):,}")  # fmt: skip
        yield from ((one, _Column(dataset.name, None, j, kind)) for j, one in enumerate(names))


def _table_columns(table: Any) -> Iterator[tuple[str, _Column]]:
    """The fields of pandas' table; its index has a column of its own unless it counts rows."""
    for field in table.dtype.names:
        kind = table.dtype[field]
        if field == "index" and _text(table.attrs.get("index_kind", "")) == "integer":
            continue
        names = _names(table.attrs.get(f"{field}_kind")) if field != "index" else [field]
        stands = _text(table.attrs.get("index_kind" if field == "index" else f"{field}_dtype", ""))
        dates = re.match(r"datetime64(\[\w+)?", stands)
        base = np.dtype(f"{dates[0]}]" if dates[1] else "datetime64[ns]") if dates else kind.base
        for j, name in enumerate(names):
            yield name, _Column(table.name, field, j if kind.shape else None, base)


#: Instructions of a pickled list: names, and what holds them together. No other is followed.
_NAMES = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "INT", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"}
_LIST = {"PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "PUT", "BINPUT", "MEMOIZE", "STOP"}


def _names(value: Any) -> list[str]:
    """A list of names that PyTables has pickled, read without unpickling, which could run what it finds."""
    try:
        found = [(code.name, argument) for code, argument, _ in pickletools.genops(bytes(value))]
    except (ValueError, TypeError) as error:
        raise OSError(f"its names of columns cannot be read ({error})") from None
    odd = [code for code, _ in found if code not in _NAMES | _LIST]
    if odd:
        raise OSError(f"its names of columns cannot be read (a pickled {odd[0]}, expected a list of names)")
    return [str(argument) for code, argument in found if code in _NAMES]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _arrow_type(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "SO":
        return pyarrow.string()
    return pyarrow.from_numpy_dtype(dtype.newbyteorder("="))


def _cut(part: Array, column: _Column) -> Array:
    part = part if column.field is None else part[column.field]
    return part if column.position is None else part[:, column.position]


def _arrow_array(values: Array, dtype: np.dtype[Any]) -> Any:
    """A column as Arrow has it; of texts, an empty one and pandas' "nan" are missing."""
    if dtype.kind in "SO":
        texts = pyarrow.array(values.tolist(), pyarrow.binary()).cast(pyarrow.string())
        return compute.if_else(compute.is_in(texts, pyarrow.array(["", "nan"])), None, texts)
    if dtype.kind == "M":
        values = np.ascontiguousarray(values).view(dtype)
    return pyarrow.array(np.ascontiguousarray(values.astype(dtype.newbyteorder("="), copy=False)))
