"""Opens HDF5 files of unknown origin: nothing outside them is touched, and no size in them is trusted.

The HDF5 library follows external links, external storage and virtual datasets into other files, allocates what a header
declares, and loads filter plugins. Keras writes none of these, so a file that holds one is refused before anything is
read: every object is visited once when the file is opened, with bounds on depth and number. Only hard links are ever
followed, one name at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.errors import ModelFileError
from fastlrp.keras.datasets import Stored, check_dataset
from fastlrp.keras.heap import check_bytes

MB = 1 << 20
MAX_OBJECTS, MAX_DEPTH = 20_000, 24
#: Bytes of text that may be read from one attribute; a model's list of layers takes kilobytes.
MAX_TEXT = 48 * MB
#: Bytes that may be read in all: a fixed allowance plus this many times the file's size (weights may be shared).
READ_ALLOWANCE, READ_FACTOR = 32 * MB, 4

Array = npt.NDArray[Any]


class HDF5File:
    """A file whose objects have all been checked; paths such as "a/b" name groups and datasets.

    Parameters
    ----------
    source : Path or bytes
        The file, or its contents.
    label : str
        Its name in messages.

    Raises
    ------
    ModelFileError
        If it is not an HDF5 file, is damaged, or holds something that Keras never writes.
    """

    def __init__(self, source: Path | bytes, label: str) -> None:
        import h5py

        self.label = label
        self.groups: dict[str, list[str]] = {}
        self.datasets: dict[str, Stored] = {}
        self._h5py: Any = h5py
        self._size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as raw:
            self._longest = check_bytes(raw, self._size, label)
        try:
            if isinstance(source, bytes):
                self._file: Any = h5py.File(io.BytesIO(source), "r")
            else:
                self._file = h5py.File(source, "r", locking=False)
        except Exception as error:  # the library reports damage with whatever exception comes first
            raise ModelFileError(f"{label} is not a readable HDF5 file: {_first_line(error)}") from None
        try:
            self._visit()
        except ModelFileError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise ModelFileError(f"{label} is damaged: {_first_line(error)}") from None

    def __enter__(self) -> HDF5File:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # ------------------------------------------------------------------ what is inside

    def _visit(self) -> None:
        """Visit every object once; refuse links, layouts and filters that Keras never writes, and impossible sizes."""
        seen: set[Any] = set()
        queue: list[tuple[str, Any, int]] = [("", self._file["/"], 0)]
        while queue:
            path, group, depth = queue.pop()
            names = []
            for name in self._names(group, path):
                where = f"{path}/{name}" if path else name
                child = self._child(group, name, where)
                address = self._h5py.h5o.get_info(child.id).addr
                if isinstance(child, self._h5py.Group):
                    if address in seen:
                        raise ModelFileError(f"{self.label}: group {where!r} is linked twice, which Keras never writes")
                    if depth >= MAX_DEPTH:
                        raise ModelFileError(f"{self.label}: groups are nested more than {MAX_DEPTH} deep at {where!r}")
                    queue.append((where, child, depth + 1))
                else:
                    self.datasets[where] = check_dataset(child, f"{self.label}: dataset {where!r}", self._size)
                names.append(name)
                seen.add(address)
                if len(self.datasets) + len(seen) > MAX_OBJECTS:
                    raise ModelFileError(f"{self.label} holds more than {MAX_OBJECTS} objects")
            self.groups[path] = names
        self._allowance = READ_ALLOWANCE + READ_FACTOR * self._size

    def _names(self, group: Any, path: str) -> Iterator[str]:
        if len(group) > MAX_OBJECTS:
            raise ModelFileError(f"{self.label}: group {path!r} holds {len(group)} objects, more than {MAX_OBJECTS}")
        for name in group:
            if not name or "/" in name or name == ".":  # the library would take it for a path and follow it
                raise ModelFileError(f"{self.label}: group {path!r} holds an object with the impossible name {name!r}")
            yield name

    def _child(self, group: Any, name: str, where: str) -> Any:
        """The object of that name; refused unless the file itself holds it."""
        link = group.id.links.get_info(name.encode("utf-8", "surrogateescape"))
        if link.type != self._h5py.h5l.TYPE_HARD:
            kind = {self._h5py.h5l.TYPE_SOFT: "a soft link", self._h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
            raise ModelFileError(
                f"{self.label}: {where!r} is {kind.get(link.type, 'a link of unknown kind')}, which is not followed; "
                "save the model again with Keras"
            )
        child = group[name]
        if not isinstance(child, self._h5py.Group | self._h5py.Dataset):
            raise ModelFileError(f"{self.label}: {where!r} is neither a group nor a dataset")
        return child

    # ------------------------------------------------------------------ reading

    def read(self, path: str, shape: tuple[int, ...] | None = None) -> Array:
        """The values of a dataset in float16, float32 or float64 (bfloat16 as float32), in the machine's byte order."""
        stored = self.datasets.get(path)
        if stored is None:
            raise ModelFileError(f"{self.label} lacks the weight {path!r}")
        if not stored.numeric:
            raise ModelFileError(f"{self.label}: {path!r} holds no numbers, expected weights")
        if shape is not None and stored.shape != shape:
            raise ModelFileError(f"{self.label}: weight {path!r} has shape {stored.shape}, expected {shape}")
        self._allowance -= stored.size * 8
        if self._allowance < 0:
            raise ModelFileError(f"{self.label} unfolds to far more weights than the file has room for")
        try:
            values: Array = np.asarray(self._file[path][()])
        except Exception as error:  # damage inside the data, which the library reports in its own ways
            raise ModelFileError(f"{self.label}: weight {path!r} cannot be read: {_first_line(error)}") from None
        if values.dtype.kind == "V":
            bits = np.frombuffer(values.tobytes(), "<u2").astype(np.uint32) << 16
            return bits.view(np.float32).reshape(values.shape)
        if values.dtype.kind in "iub" or values.dtype.itemsize not in (2, 4, 8):
            return values.astype(np.float64)
        return values.astype(values.dtype.newbyteorder("="))

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute of a group as a list of strings, or None where there is no such attribute."""
        try:
            return self._texts(path, name)
        except ModelFileError:
            raise
        except Exception as error:
            where = f"attribute {name!r} of {path or '/'!r}"
            raise ModelFileError(f"{self.label}: {where} cannot be read: {_first_line(error)}") from None

    def _texts(self, path: str, name: str) -> list[str] | None:
        group = self._file[path or "/"]
        if name not in group.attrs:
            return None
        attribute = self._h5py.h5a.open(group.id, name.encode())
        count = int(np.prod(attribute.shape or (), dtype=object))
        if count == 0:
            return []
        kind = attribute.get_type()
        if kind.get_class() != self._h5py.h5t.STRING:
            raise ModelFileError(f"{self.label}: attribute {name!r} of {path or '/'!r} is no text")
        # Texts of variable length may all point to the same one: the longest in the file bounds each.
        each = self._longest + 64 if kind.is_variable_str() else kind.get_size()
        if count * each > MAX_TEXT:
            where = f"{self.label}: attribute {name!r} of {path or '/'!r}"
            raise ModelFileError(f"{where} declares {count:,} texts of up to {each:,} bytes")
        values = np.atleast_1d(np.asarray(group.attrs[name], dtype=object)).ravel()
        return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one string, or None."""
        values = self.texts(path, name)
        return values[0] if values and len(values) == 1 else None


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
