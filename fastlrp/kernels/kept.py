"""Machine code that Numba keeps for later processes, sealed: damage to its files costs a compilation, nothing else.

Numba itself unpickles what it finds: an empty or truncated file stops every later call, a flipped bit gives wrong
numbers, and a full disk fails the call whose code it cannot keep. It has no name for any of this in public; tests say
whether it works.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile

from fastlrp.messages import users_line

_SEAL = hashlib.sha256().digest_size


class SealedCacheFile(IndexDataCacheFile):  # type: ignore[misc]  # Numba has no types
    """Numba's files of one function, each with a checksum at its end: an index, and the code for each signature."""

    def save(self, key: Any, data: Any) -> None:
        """Keep an entry, if there is room for it."""
        try:
            super().save(key, data)
        except OSError as error:
            why = f"({error.strerror or error}): the next process compiles them anew"
            _warn(f"compiled kernels cannot be kept in {self._cache_path} {why}")

    def _load_index(self) -> dict[Any, str]:
        try:
            version, stamp, overloads = self._opened(self._index_path)
        except OSError:  # it is not there yet, or damaged
            return {}
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        with self._open_for_write(self._index_path) as file:
            file.write(self._dump((self._version, self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        return self._opened(self._data_path(name))

    def _dump(self, value: Any) -> bytes:
        data: bytes = super()._dump(value)
        return data + hashlib.sha256(data).digest()

    def _opened(self, path: str) -> Any:
        """What a file holds; OSError, which Numba takes for a file that is gone, where its seal is broken."""
        whole = Path(path).read_bytes()
        data, seal = whole[:-_SEAL], whole[-_SEAL:]
        if hashlib.sha256(data).digest() != seal:
            _warn(f"{path}, which keeps compiled kernels, is damaged: they are compiled anew, which takes some seconds")
            raise OSError("damaged")
        return pickle.loads(data)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=users_line())
