"""Rows of a panel that stay on disk, of which training reads the windows of some batches at a time."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastlrp.explain import predict_windows
from fastlrp.network import Network
from fastlrp.panels.samples import Samples, from_array
from fastlrp.whole import write_all

Array = npt.NDArray[Any]


class Rows:
    """An array (row, feature) in a file without a name, which vanishes with the process. Threads may share it.

    It is read and not mapped into memory, so that no page of it stays there.

    Parameters
    ----------
    folder : path
        Where the file lies.
    at_once : int
        Bytes of windows to read at a time.
    """

    def __init__(self, n: int, width: int, dtype: np.dtype[Any], folder: Path, at_once: int) -> None:
        self.shape, self.dtype, self.at_once = (n, width), dtype, at_once
        self._row = width * dtype.itemsize
        self._lock = threading.Lock()
        self._file: Any = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # lives as long as this

    def close(self) -> None:
        """Give the disk's space back."""
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return len(self) * self._row

    def write(self, places: Array, values: Array) -> None:
        """Put rows into their places, which ascend."""
        edges = np.append(np.flatnonzero(np.diff(places, prepend=-2) != 1), len(places)).tolist()
        for first, last in itertools.pairwise(edges):
            self._file.seek(int(places[first]) * self._row)
            write_all(self._file, values[first:last])

    def read(self, begin: Array, stop: Array, out: Array | None = None) -> Array:
        """The rows of some runs, one run after the other; each is not empty."""
        ends = np.cumsum(stop - begin)
        if out is None:
            out = np.empty((int(ends[-1]) if len(ends) else 0, self.shape[1]), self.dtype)
        whole = out.data.cast("B")
        with self._lock:
            for first, last, end in zip(begin.tolist(), stop.tolist(), (ends * self._row).tolist(), strict=True):
                self._file.seek(first * self._row)
                if self._file.readinto(whole[end - (last - first) * self._row : end]) != (last - first) * self._row:
                    raise OSError("the file of rows ends before its last row")
        return out

    def take(self, rows: Array) -> Array:
        """Some rows, by ascending numbers."""
        first = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        return self.read(rows[first], rows[np.append(first[1:], len(rows)) - 1] + 1)


def parts(samples: Samples, order: Array, batch: int) -> Iterator[tuple[Array, Array]]:
    """The samples of stored rows in some order, whole batches of them at a time: their numbers, and their windows
    (sample, step, feature), which are overwritten by those that follow."""
    rows, T = cast(Rows, samples.rows), samples.steps
    size = max(1, rows.at_once // (T * rows._row) // batch) * batch
    space = np.empty((min(size, len(order)), T, rows.shape[1]), rows.dtype)
    for k in range(0, len(order), size):
        which = order[k : k + size]
        windows = space[: len(which)]
        begin = samples.starts[which]
        rows.read(begin, begin + T, windows)
        yield which, windows


def predict(net: Network, samples: Samples, *, device: str, threads: int | None) -> Array:
    """Predictions (sample, output) of samples, of stored rows part by part."""
    each: Iterator[Samples] = iter([samples])
    if on_disk(samples):
        each = (from_array(X, samples.steps) for _, X in parts(samples, np.arange(len(samples)), 1))
    some = (predict_windows(net, part.in_place(), samples.steps, device=device, threads=threads) for part in each)
    return np.concatenate(list(some))


def on_disk(samples: Samples) -> bool:
    """Whether the samples' rows are stored ones."""
    rows: Any = samples.rows
    return isinstance(rows, Rows)
