"""Row groups of a Parquet file, made one at a time, and the one footer that lists them all.

A footer is a Thrift struct in the compact protocol (apache/thrift, doc/specs/thrift-compact-protocol.md; its fields
are in apache/parquet-format, parquet.thrift). Offsets count from the file's start. pyarrow writes a file's keys as a
file of their own, whose columns are moved here; the columns of numbers are described here (``pages.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

_BOOLS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
_ROWS, _GROUPS, _COLUMNS = (3,), (4,), (4, 1)  # FileMetaData.num_rows, .row_groups, and their RowGroup.columns
#: Fields that are offsets, each by the fields that lead to it: FileMetaData.row_groups (4) .columns (1) ...
_OFFSETS = {
    (4, 5),  # RowGroup.file_offset
    (4, 1, 4), (4, 1, 6),  # ColumnChunk.offset_index_offset, column_index_offset
    (4, 1, 3, 9), (4, 1, 3, 10), (4, 1, 3, 11), (4, 1, 3, 14),  # data, index and dictionary pages, Bloom filter
}  # fmt: skip


def moved_columns(footer: bytes, by: int) -> list[bytes]:
    """The ColumnChunks of a file of one row group that stands ``by`` bytes further on.

    ColumnChunk.file_offset, deprecated and written as 0, stays.
    """
    walk = _Walk(footer, by)
    walk.struct(())
    return walk.columns


def row_group(columns: Sequence[bytes], rows: int, start: int, size: int) -> bytes:
    """A RowGroup of ColumnChunks that take ``size`` bytes from ``start`` on."""
    out = b"\x19" + _list(len(columns)) + b"".join(columns)
    return (
        out + b"\x16" + number(size) + b"\x16" + number(rows) + b"\x26" + number(start) + b"\x16" + number(size) + b"\0"
    )


def split(footer: bytes, groups: int, rows: int) -> tuple[bytes, bytes]:
    """What stands before and behind the row groups in the footer of a file that has none yet."""
    walk = _Walk(footer, 0)
    walk.struct(())
    (a, b), (c, d) = walk.spans[_ROWS], walk.spans[_GROUPS]
    return footer[:a] + number(rows) + footer[b:c] + _list(groups), footer[d:]


def number(value: int) -> bytes:
    """A whole number that is not negative, as Thrift's compact protocol has it."""
    return varint(2 * value)


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _list(size: int) -> bytes:
    """The head of a list of structs."""
    return bytes([size << 4 | _STRUCT]) if size < 15 else bytes([0xF0 | _STRUCT]) + varint(size)


class _Walk:
    """One way through a footer: its columns, with offsets moved, and where some fields stand."""

    def __init__(self, data: bytes, by: int) -> None:
        self.data, self.by, self.at = data, by, 0
        self.columns: list[bytes] = []
        self.spans: dict[tuple[int, ...], tuple[int, int]] = {}
        self._edits: list[tuple[int, int, bytes]] = []

    def varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def struct(self, path: tuple[int, ...]) -> None:
        field = 0
        while (head := self.data[self.at]) != 0:
            self.at += 1
            if head >> 4:
                field += head >> 4
            else:
                raw = self.varint()
                field = (raw >> 1) ^ -(raw & 1)
            start = self.at
            self.value(head & 15, (*path, field))
            if not path:
                self.spans[(field,)] = start, self.at
        self.at += 1

    def value(self, kind: int, path: tuple[int, ...], *, in_list: bool = False) -> None:
        if kind in _BOOLS:
            self.at += in_list  # a field's is in its head
        elif kind == _BYTE:
            self.at += 1
        elif kind in _INTEGERS:
            start = self.at
            raw = self.varint()
            if path in _OFFSETS and raw:
                self._edits.append((start, self.at, varint(raw + 2 * self.by)))
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            size = self.varint()
            self.at += size
        elif kind in _LISTS:
            head = self.data[self.at]
            self.at += 1
            for _ in range(head >> 4 if head >> 4 < 15 else self.varint()):
                self.value(head & 15, path, in_list=True)
        elif kind == _MAP:
            if size := self.varint():
                kinds = self.data[self.at]
                self.at += 1
                for _ in range(size):
                    self.value(kinds >> 4, (*path, 0), in_list=True)
                    self.value(kinds & 15, (*path, 0), in_list=True)
        elif kind == _STRUCT:
            start = self.at
            self.struct(path)
            if path == _COLUMNS:
                self.columns.append(self._edited(start))
        else:
            raise ValueError(f"a Parquet footer holds a field of the unknown kind {kind}")

    def _edited(self, start: int) -> bytes:
        """The bytes from ``start`` to here, with the offsets met since then moved."""
        out = b""
        for first, last, text in self._edits:
            if first >= start:
                out, start = out + self.data[start:first] + text, last
        self._edits.clear()
        return out + self.data[start : self.at]
