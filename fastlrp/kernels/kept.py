"""Compiled code that is kept for later processes: one file for each signature, whole and fit for use, or none.

Numba keeps an index beside numbered files of code, and writes the index first. Two processes that compile float32 and
float64 at the same time give both the number 1, and one killed between the two writes leaves an index that points to
older code: the next process then runs code that was made for something else, or dies (numba #4807). Here the
signature's hash names the file, whose checksum takes in what the code was made of and for: nothing has to agree.
"""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

from numba.core.caching import IndexDataCacheFile


class KeptCode(IndexDataCacheFile):  # type: ignore[misc]  # Numba has no types
    """Numba's cache of one function, without its index: the place, the writing and the pickling are Numba's.

    Parameters
    ----------
    file : IndexDataCacheFile
        Numba's own.
    sources : tuple
        What changes when code would be compiled otherwise, though the function's own file is the same.
    """

    def __init__(self, file: IndexDataCacheFile, sources: object) -> None:
        self.__dict__.update(vars(file))
        self._source_stamp = (file._source_stamp, file._version, sources)

    def save(self, key: object, data: object) -> None:
        """Keep code in place of any that was kept for the same signature and processor; another process that reads
        meanwhile finds one or the other."""
        content = self._dump(data)
        with self._open_for_write(self._path(key)) as file:
            file.write(self._digest(key, content) + content)

    def load(self, key: object) -> Any:
        """The code for a signature and processor; None where there is none, or it is outdated or damaged."""
        try:
            with open(self._path(key), "rb") as file:
                digest, content = file.read(32), file.read()
        except OSError:
            return None
        # Of another version or damaged, it could do anything as it is unpickled.
        return pickle.loads(content) if digest == self._digest(key, content) else None

    def flush(self) -> None:
        """Nothing to do: there is no index, and code is replaced when it is compiled anew."""

    def _digest(self, key: object, content: bytes) -> bytes:
        return hashlib.sha256(repr((self._source_stamp, key)).encode() + content).digest()

    def _path(self, key: object) -> Any:
        number = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big")
        return self._data_path(self._data_name(number))
