"""Forms in which blocks of relevance are written: Parquet and text, which grow by a block at a time."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastlrp.files.arrow import parquet, pyarrow
from fastlrp.files.footers import moved_columns, row_group, split
from fastlrp.files.pages import write_columns
from fastlrp.files.spelling import write_text
from fastlrp.files.stored import Stored

TEXTS = {"csv": ",", "tsv": "\t"}
PACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class Form(ABC):
    """How a file grows."""

    def append(self, path: Path, block: Stored) -> int:
        """Write a block behind those that are there, and bring it to disk; where it ends."""
        with path.open("ab") as file:
            self.write(file, block)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def expect(self, rows: int) -> None:  # noqa: B027  # most need not know
        """How many rows there will be."""

    @abstractmethod
    def write(self, file: BinaryIO, block: Stored) -> None:
        """Write a block at the file's end."""

    def cut(self, path: Path, end: int) -> None:
        """Take away what is behind ``end``."""
        with path.open("ab") as file:
            file.truncate(end)

    def finish(self, path: Path, ends: Sequence[int]) -> Path:
        """Make the whole of blocks that end there; the file that holds it."""
        return path


class Text(Form):
    """Delimited text, packed as the name of the output says."""

    def __init__(self, kind: str, out: Path) -> None:
        self.separator, self.packer = TEXTS[kind], PACKERS.get(out.suffix.lower())

    def write(self, file: BinaryIO, block: Stored) -> None:
        """Write a block as lines; the first with a header."""
        header = file.tell() == 0
        with self.packer(file, "wb") if self.packer else nullcontext(file) as packed:
            text = io.TextIOWrapper(packed, "utf-8", newline="")
            write_text(text, [block.frame()], self.separator, header=header)
            text.detach()  # written, and left open


class Parquet(Form):
    """A row group a block: the keys as pyarrow writes them, then numbers; and behind it, its part of the footer.

    The file begins with a footer without row groups. At the end the whole one is written behind all.
    """

    def write(self, file: BinaryIO, block: Stored) -> None:
        """Write a row group and what describes it."""
        if file.tell() == 0:
            empty = _footer(_as_file(block.schema().empty_table(), []))
            file.write(b"PAR1" + len(empty).to_bytes(4, "little") + empty)
        start, keys = file.tell(), _as_file(block.keys(), list(block.labels))
        footer = _footer(keys)
        file.write(keys[4 : -8 - len(footer)])
        columns = moved_columns(footer, start - 4)
        for part, names in zip(block.matrices(), block.columns.values(), strict=True):
            columns += write_columns(file, part, names, ~np.isnan(part[:, 0]))  # a row has all of its numbers, or none
        n = len(block.relevance)
        group = row_group(columns, n, start, file.tell() - start)
        file.write(group + n.to_bytes(8, "little") + len(group).to_bytes(4, "little"))

    def finish(self, path: Path, ends: Sequence[int]) -> Path:
        """Write the footer."""
        with path.open("r+b") as file:
            file.seek(4)
            empty = file.read(_whole_number(file, 4))
            sizes = [(file.seek(end - 12), _whole_number(file, 8), _whole_number(file, 4)) for end in ends]
            before, after = split(empty, len(ends), sum(rows for _, rows, _ in sizes))
            start = file.seek(ends[-1])
            file.write(before)
            for place, _, size in sizes:
                at = file.tell()
                file.seek(place - size)
                group = file.read(size)
                file.seek(at)
                file.write(group)
            file.write(after)
            file.write((file.tell() - start).to_bytes(4, "little") + b"PAR1")
            file.flush()
            os.fsync(file.fileno())
        return path


def _as_file(table: Any, keys: list[str]) -> bytes:
    """A table as Parquet; of keys, a few values come often, and their ranges help to find rows."""
    sink = pyarrow.BufferOutputStream()
    with parquet.ParquetWriter(
        sink, table.schema, use_dictionary=keys, write_statistics=keys, compression="none"
    ) as to:
        if len(table):
            to.write_table(table, row_group_size=len(table))
    return bytes(sink.getvalue())


def _footer(file: bytes) -> bytes:
    size = int.from_bytes(file[-8:-4], "little")
    return file[-8 - size : -8]


def _whole_number(file: BinaryIO, size: int) -> int:
    return int.from_bytes(file.read(size), "little")
