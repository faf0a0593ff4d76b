"""Folders whose names say what all rows in them have: "month=2020-01/part.parquet", as Spark and pyarrow write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fastlrp.files.arrow import pyarrow
from fastlrp.files.sources import Piece, Source, Wrapped

if TYPE_CHECKING:
    import pandas as pd

_YEAR, _MONTH = "year", "month"


def folder_values(root: Path, paths: Sequence[Path]) -> dict[Path, dict[str, str]]:
    """What the names of folders say of each file; a year and a month are one time, "2020-01".

    Raises
    ------
    ValueError
        If they do not say the same of all files.
    """
    found = {}
    for path in paths:
        folders = path.relative_to(root).parts[:-1] if path != root else ()
        values = {
            unquote(name): unquote(value) for name, mark, value in (part.partition("=") for part in folders) if mark
        }
        if _MONTH in values and values.get(_YEAR, "").isdecimal() and values[_MONTH].isdecimal():
            values = {f"{_YEAR}-{_MONTH}": f"{values.pop(_YEAR)}-{int(values.pop(_MONTH)):02d}", **values}
        found[path] = values
    for path, values in found.items():
        if values.keys() != found[paths[0]].keys():
            said = [" and ".join(found[one]) or "nothing" for one in (paths[0], path)]
            raise ValueError(f"{root} is parted by {said[0]} at {paths[0].relative_to(root)}, but by {said[1]} at "
                             f"{path.relative_to(root)}")  # fmt: skip
    return found if found[paths[0]] else {}


class Foldered(Wrapped):
    """A source with the columns that its folders' names are; a column of a file goes before one of that name."""

    def __init__(self, source: Source, values: dict[Path, dict[str, str]]) -> None:
        super().__init__(source)
        self.values = values
        have = source.schema.names
        texts = {
            name: [said[name] for said in values.values()] for name in next(iter(values.values())) if name not in have
        }
        whole = {
            name: all(text.isdecimal() and str(int(text)) == text and len(text) < 19 for text in said)
            for name, said in texts.items()
        }
        self.types = {name: pyarrow.int64() if whole[name] else pyarrow.string() for name in texts}
        self.schema = self._with(source.schema)

    def _with(self, schema: Any) -> Any:
        fields = [pyarrow.field(name, kind) for name, kind in self.types.items()]
        return pyarrow.schema([*fields, *schema], metadata=schema.metadata)

    def _value(self, path: Path, name: str) -> Any:
        text = self.values[path][name]
        return int(text) if self.types[name] == pyarrow.int64() else text

    def schema_of(self, path: Path) -> Any:
        """A file's columns, and those of its folders."""
        return self._with(self.source.schema_of(path))

    def declare(self, texts: Sequence[str], numbers: Sequence[str]) -> None:
        """Say what columns hold."""
        self.source.declare(*([name for name in names if name not in self.types] for names in (texts, numbers)))
        self.schema = self._with(self.source.schema)

    def sample(self) -> pd.DataFrame:
        """The first rows; what folders say comes first."""
        frame = self.source.sample()
        for k, name in enumerate(self.types):
            frame.insert(k, name, self._value(self.paths[0], name))
        return frame

    def read(self, piece: Piece, columns: Sequence[str]) -> Iterator[Any]:
        """A piece's record batches, with these columns."""
        own = [name for name in columns if name not in self.types]
        for batch in self.source.read(piece, own or self.source.schema.names[:1]):
            arrays = [
                pyarrow.repeat(pyarrow.scalar(self._value(piece.path, name), self.types[name]), len(batch))
                if name in self.types
                else batch.column(own.index(name))
                for name in columns
            ]
            yield pyarrow.RecordBatch.from_arrays(arrays, names=list(columns))
