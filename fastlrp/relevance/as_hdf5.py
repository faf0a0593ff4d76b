"""A result as an HDF5 file, a dataset an array, and back.

Datasets are plain, so that anything reads them, and may be mapped; the checksum of each stands in one of its own.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.relevance.arrays import SAMPLE_ARRAYS, RelevanceArrays, sample_arrays
from fastlrp.relevance.levels import restored, spelled, storable, taken
from fastlrp.relevance.metadata import KEY, described, first_line, understood

Array = npt.NDArray[Any]

_BLOCK = 64 << 20  # bytes written at once: values may be a file's own
#: The group of checksums: the CRC-32 of a dataset's bytes, by its name. Files of older versions lack it.
SUMS = "crc32"


def write(relevance: RelevanceArrays, path: Path) -> None:
    """Write a result, some rows at a time."""
    import h5py

    index, notes = storable(relevance, set())
    text = described(relevance, notes)
    with h5py.File(path, "w") as file:
        file.attrs[KEY] = text
        for name, array in sample_arrays(relevance):
            stored, total = file.create_dataset(name, array.shape, array.dtype), 0
            for rows in blocks(array):
                part = np.ascontiguousarray(array[rows])
                stored[rows], total = part, checksum(part, total)
            file[f"{SUMS}/{name}"] = as_stored(total)
        for k in range(len(notes or ())):
            found: Any = (index.codes[k], index.levels[k]) if isinstance(index, pd.MultiIndex) else index.factorize()
            codes = np.ascontiguousarray(found[0])  # -1 where one is missing
            for name, array in ((f"index/{k}/codes", codes), (f"index/{k}/labels", stored_labels(found[1]))):
                file[name], file[f"{SUMS}/{name}"] = array, as_stored(checksum(array))


def blocks(array: Any, most: int | None = None) -> list[slice]:
    """The rows of an array, or of a dataset, so many bytes at a time; None: as many as are written at once."""
    step = max(1, (most or _BLOCK) * len(array) // max(1, array.nbytes))
    return [slice(start, start + step) for start in range(0, len(array), step)]


def checksum(part: Array, total: int = 0) -> int:
    """The CRC-32 of a part's bytes, behind others whose own is ``total``."""
    return zlib.crc32(part.data, total)


def as_stored(total: int) -> Array:
    """A checksum as files have it."""
    return np.array([total], np.uint32)


def stored_labels(labels: pd.Index) -> Array:
    """Numbers, or text of a fixed length in UTF-8, which is read without following references."""
    import h5py

    values = spelled(labels)
    if values.dtype != object:
        return np.ascontiguousarray(values)
    texts = [text.encode() for text in values]
    if any(b"\0" in text for text in texts):
        raise ValueError("the result cannot be saved: a text in its index has a NUL character")
    return np.array(texts, h5py.string_dtype("utf-8", max([1, *map(len, texts)])))


# ------------------------------------------------------------------------------------------------------------ reading


def read(path: Path, *, mmap: bool) -> tuple[dict[str, Any], dict[str, Array], pd.Index | None]:
    """The fields, arrays and index of a result.

    Raises
    ------
    ValueError
        If it is not such a file, or is damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            text = file.attrs.get(KEY)
            if not isinstance(text, str):
                raise ValueError(f"{path} holds no relevance: it has no attribute called {KEY!r}")
            own, rest = understood(text, str(path))
            arrays = {name: _array(file, name, path, mmap=mmap) for name in SAMPLE_ARRAYS if name in file}
            return own, arrays, _index(file, rest["index"], path)
    except (OSError, KeyError, RuntimeError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {first_line(error)}") from None


def _array(file: Any, name: str, path: Path, *, mmap: bool = False) -> Array:
    """A dataset's numbers, or text; only one that lies in the file itself, whole, as :func:`write` leaves it. Its
    checksum is compared, unless it is mapped."""
    import h5py

    parts = name.split("/")
    links = [file.get("/".join(parts[: k + 1]), getlink=True) for k in range(len(parts))]
    stored = file[name] if all(isinstance(link, h5py.HardLink) for link in links) else None
    plain = isinstance(stored, h5py.Dataset) and stored.chunks is None and not stored.is_virtual and not stored.external
    if stored is None or not plain or stored.id.get_storage_size() != stored.nbytes:
        raise ValueError(f"{path} is damaged: it lacks the plain dataset {name!r}")
    if mmap and stored.size:
        return np.memmap(path, stored.dtype, "r", stored.id.get_offset(), stored.shape)
    found = np.asarray(stored[()])
    if SUMS in file and parts[0] != SUMS:
        total = _array(file, f"{SUMS}/{name}", path)
        if not np.array_equal(total, as_stored(checksum(found))):
            raise ValueError(f"{path} is damaged: {name!r} has changed since it was written")
    if h5py.check_string_dtype(stored.dtype):
        return np.array([text.decode() for text in found], object)
    return np.asarray(found, stored.dtype.newbyteorder("="))


def _index(file: Any, notes: list[dict[str, Any]] | None, path: Path) -> pd.Index | None:
    if notes is None:
        return None
    codes = [_array(file, f"index/{k}/codes", path) for k in range(len(notes))]
    levels = [
        restored(pd.Index(_array(file, f"index/{k}/labels", path)), note, str(path)) for k, note in enumerate(notes)
    ]
    names = [note.get("name") for note in notes]
    if any(code.dtype.kind != "i" or code.ndim != 1 or len(code) != len(codes[0]) for code in codes):
        raise ValueError(f"{path} is damaged: its index is not one code a row")
    try:
        if len(notes) > 1:
            return pd.MultiIndex(cast(Any, levels), cast(Any, codes), names=names)
        return taken(levels[0], codes[0]).set_names(names)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} is damaged: its index cannot be read ({first_line(error)})") from None
