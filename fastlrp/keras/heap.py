"""Checks of an HDF5 file's bytes before the HDF5 library sees them.

Texts of variable length, such as the configuration, lie in "global heap collections". The library (1.14 and 2.0) loops
forever on a collection with an entry of size zero, and reads whole collections into memory, so each is walked here
first. Their layout is given in the HDF5 File Format Specification, III.E: ``GCOL``, version 1, three zeros, the size
(8 bytes), then entries of a number (2), a reference count (2), four zeros, a size (8) and data padded to 8 bytes.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from fastlrp.errors import ModelFileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
COLLECTION = b"GCOL\x01"
MB = 1 << 20
#: Bound on all texts of a file together; a configuration takes kilobytes.
MAX_COLLECTION = 24 * MB
_CHUNK = 4 * MB
_HEADER = 16


def check_bytes(file: BinaryIO, size: int, label: str) -> int:
    """Check the superblock and all heap collections; return the size of the longest text that they may hold."""
    head = file.read(64)
    if not head.startswith(SIGNATURE):
        raise ModelFileError(f"{label} is not a Keras file: it starts neither as HDF5 nor as a .keras archive does")
    version = head[8] if len(head) == 64 else 255
    sizes = head[13:15] if version in (0, 1) else head[9:11]
    if version > 3 or sizes != b"\x08\x08":
        raise ModelFileError(f"{label} is truncated or damaged: its first block is not one that Keras' files have")
    longest = 0
    for at in _find(file, COLLECTION):
        longest = max(longest, _check_collection(file, at, size, label))
    return longest


def _find(file: BinaryIO, needle: bytes) -> list[int]:
    """The positions of some bytes in the file, found in bounded memory."""
    found, start, kept = [], 0, b""
    file.seek(0)
    while chunk := file.read(_CHUNK):
        block = kept + chunk
        at = block.find(needle)
        while at >= 0:
            found.append(start + at)
            at = block.find(needle, at + 1)
        kept = block[-len(needle) + 1 :]
        start += len(block) - len(kept)
    return found


def _check_collection(file: BinaryIO, at: int, size: int, label: str) -> int:
    """Walk one collection; return the size of its longest entry."""
    file.seek(at)
    head = file.read(_HEADER)
    total = struct.unpack("<Q", head[8:])[0] if len(head) == _HEADER else size + 1
    if total > size - at or total < _HEADER:
        raise ModelFileError(f"{label} is truncated or damaged: a block of texts reaches beyond its end")
    if total > MAX_COLLECTION:
        raise ModelFileError(
            f"{label} holds a text of {total / MB:.0f} MB, more than the {MAX_COLLECTION // MB} MB that any "
            "configuration needs"
        )
    block = file.read(total - _HEADER)
    place, longest = 0, 0
    while place + _HEADER <= len(block):
        number, length = struct.unpack_from("<H6xQ", block, place)
        need = length if number == 0 else _HEADER + (length + 7) // 8 * 8
        if need < _HEADER or place + need > len(block):
            raise ModelFileError(f"{label} is damaged: a block of texts holds an entry of impossible size")
        longest = max(longest, length if number else 0)
        place += need
    return longest
