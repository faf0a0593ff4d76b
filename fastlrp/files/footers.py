"""The footer of a Parquet file, its offsets moved: so that files written one after the other become one file.

A footer is a Thrift struct in the compact protocol (apache/thrift, doc/specs/thrift-compact-protocol.md; its fields
are in apache/parquet-format, parquet.thrift). Offsets count from the file's start; pyarrow cannot write a row group
into a file that holds something already, so it is written as a file of its own and its footer is moved here.
"""

from __future__ import annotations

_BOOLS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12
#: Fields that are offsets, each by the fields that lead to it: FileMetaData.row_groups (4) .columns (1) ...
_OFFSETS = {
    (4, 5),  # RowGroup.file_offset
    (4, 1, 4), (4, 1, 6),  # ColumnChunk.offset_index_offset, column_index_offset
    (4, 1, 3, 9), (4, 1, 3, 10), (4, 1, 3, 11), (4, 1, 3, 14),  # data, index and dictionary pages, Bloom filter
}  # fmt: skip


def moved(footer: bytes, by: int) -> bytes:
    """The footer of a file that begins ``by`` bytes further on.

    ColumnChunk.file_offset, deprecated and written as 0, stays.
    """
    return _Mover(footer, by).run()


class _Mover:
    def __init__(self, data: bytes, by: int) -> None:
        self.data, self.by, self.at, self.copied, self.out = data, by, 0, 0, bytearray()

    def run(self) -> bytes:
        self.struct(())
        self.out += self.data[self.copied : self.at]
        return bytes(self.out)

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
            self.value(head & 15, (*path, field))
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
                self.out += self.data[self.copied : start] + _varint(raw + 2 * self.by)  # zigzag: not negative
                self.copied = self.at
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
            self.struct(path)
        else:
            raise ValueError(f"a Parquet footer holds a field of the unknown kind {kind}")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
