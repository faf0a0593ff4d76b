"""Blocks of relevance as the HDF5 file that ``Relevance.save`` writes: every dataset has its place from the start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.forms import Form
from fastlrp.files.stored import Stored
from fastlrp.relevance.as_hdf5 import SUMS, as_stored, blocks, checksum, stored_labels
from fastlrp.relevance.metadata import KEY

Array = npt.NDArray[Any]
_SUMMED = 1 << 20  # bytes read at once where a run goes on: few beside what it may use


class Hdf5(Form):
    """Numbers go to their places in the file without h5py, which may not be killed while it writes."""

    def __init__(self) -> None:
        self._rows = self._at = 0
        self._sums: dict[str, int] = {}  # checksums of the rows that are there, by dataset

    def expect(self, rows: int) -> None:
        """How many rows there will be."""
        self._rows = rows

    def append(self, path: Path, block: Stored) -> int:
        """Write a block to its place; the number of rows that are there."""
        if not path.stat().st_size:
            self._begin(path, block)
        with h5py.File(path, "r", locking=False) as file:
            places = {name: file[name].id.get_offset() for name in _parts(block)}
        with path.open("r+b") as raw:
            for name, part in _parts(block).items():
                part = np.ascontiguousarray(part)
                raw.seek(places[name] + self._at * part.nbytes // max(1, len(part)))
                raw.write(part.data)
                self._sums[name] = checksum(part, self._sums.get(name, 0))
            raw.flush()
            os.fsync(raw.fileno())
        self._at += len(block.relevance)
        return self._at

    def write(self, file: BinaryIO, block: Stored) -> None:
        """Never called: blocks have places."""
        raise NotImplementedError

    def cut(self, path: Path, end: int) -> None:
        """Go on at a row."""
        self._at, self._sums = end, {}
        with h5py.File(path, "r", locking=False) as file:
            for name in _summed(file):
                for rows in blocks(file[name], _SUMMED):
                    part = file[name][rows.start : min(rows.stop, end)]
                    self._sums[name] = checksum(part, self._sums.get(name, 0))

    def finish(self, path: Path, ends: Sequence[int]) -> Path:
        """All is there but for the checksums."""
        assert ends[-1] == self._rows
        with h5py.File(path, "r", locking=False) as file:
            places = {name: file[f"{SUMS}/{name}"].id.get_offset() for name in self._sums}
        with path.open("r+b") as raw:
            for name, total in self._sums.items():
                raw.seek(places[name])
                raw.write(as_stored(total).data)
            raw.flush()
            os.fsync(raw.fileno())
        return path

    def _begin(self, path: Path, block: Stored) -> None:
        create, early = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5d.ALLOC_TIME_EARLY
        create.set_alloc_time(early)
        create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        with h5py.File(path, "w") as file:
            file.attrs[KEY] = block.metadata[KEY.encode()].decode()
            for k, labels in enumerate(block.labels.values()):
                name, array = f"index/{k}/labels", stored_labels(pd.Index(labels.to_pandas()))
                file[name], file[f"{SUMS}/{name}"] = array, as_stored(checksum(array))
            for name, part in _parts(block).items():
                space = h5py.h5s.create_simple((self._rows, *part.shape[1:]))
                h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(part.dtype), space, create)
                file[f"{SUMS}/{name}"] = as_stored(0)


def _summed(file: Any) -> list[str]:
    """The datasets that grow, whose checksums do."""
    found: list[str] = []
    file[SUMS].visititems(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    return [name for name in found if not name.endswith("/labels")]


def _parts(block: Stored) -> dict[str, Array]:
    """The datasets with a row a sample."""
    codes = {f"index/{k}/codes": part for k, part in enumerate(block.codes.values())}
    return {name: np.asarray(getattr(block.relevance, name)) for name in block.columns} | codes
