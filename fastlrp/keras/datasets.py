"""Checks what one HDF5 dataset declares, before any of its values is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlrp.errors import ModelFileError

#: Deflate, shuffle and checksum are built into the library; any other filter would be loaded from a plugin.
SAFE_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
#: A compressed dataset may declare this many times the bytes it occupies, or this many: zeros compress a thousandfold.
MAX_RATIO, MAX_UNFOLDED = 20, 16 << 20
#: An uncompressed dataset in chunks occupies whole chunks, and nothing where no chunk was written.
MAX_UNWRITTEN = 64 << 10


@dataclass(frozen=True)
class Stored:
    """A dataset as declared: its shape, its dtype's name and whether it can hold weights."""

    shape: tuple[int, ...]
    dtype: str
    numeric: bool

    @property
    def size(self) -> int:
        """Number of values."""
        return _product(self.shape)


def check_dataset(dataset: Any, where: str, file_size: int) -> Stored:
    """A dataset as declared; raises ModelFileError where it lies elsewhere or declares what the file cannot hold."""
    import h5py

    plist, kind = dataset.id.get_create_plist(), dataset.id.get_type()
    if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count():
        raise ModelFileError(
            f"{where} keeps its values in another file, which is not opened; save the model again with Keras"
        )
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    unknown = [code for code in filters if code not in SAFE_FILTERS]
    if unknown:
        raise ModelFileError(f"{where} is compressed by an unknown filter (number {unknown[0]})")
    empty = dataset.shape is None
    shape = tuple(int(n) for n in dataset.shape or ())
    item, held = int(kind.get_size()), int(dataset.id.get_storage_size())
    declared, limit = 0 if empty else item * _product(shape), held
    if plist.get_layout() == h5py.h5d.CHUNKED:
        declared = max(declared, item * _product(dataset.chunks))
        limit = max(held * MAX_RATIO, MAX_UNFOLDED if filters else MAX_UNWRITTEN)
    if declared > limit or held > file_size:
        raise ModelFileError(f"{where} declares {declared:,} bytes, but the file holds {min(held, file_size):,} for it")
    bfloat16 = kind.get_class() == h5py.h5t.OPAQUE and item == 2
    numeric = bfloat16 or kind.get_class() in (h5py.h5t.FLOAT, h5py.h5t.INTEGER)
    dtype = "bfloat16" if bfloat16 else str(dataset.dtype) if numeric else "no number"
    return Stored(shape, dtype, numeric and not empty)


def _product(shape: tuple[int, ...]) -> int:
    """The product as an int of any size; NumPy's own integers would wrap around."""
    return int(np.prod(shape, dtype=object)) if shape else 1
