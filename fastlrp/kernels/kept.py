"""Machine code that is kept for later processes: one file for each signature, whole and fit for use, or none.

Numba keeps an index beside numbered files of code, and writes the index first. Two processes that compile float32 and
float64 at the same time give both the number 1, and one killed between the two writes leaves an index that points to
older code: the next process then runs code that was made for something else, or dies (numba #4807). It also unpickles
what it finds: an empty or truncated file stops every later call, a flipped bit gives wrong numbers, and a full disk
fails the call whose code it cannot keep. Here the signature's hash names the file, which says itself what it holds,
so that nothing has to agree with anything, and is sealed, so that damage costs a compilation and nothing else.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime.nrt import rtsys

from fastlrp.messages import users_line

_SEAL = hashlib.sha256().digest_size


class KeptCode(IndexDataCacheFile):  # type: ignore[misc]  # Numba has no types
    """Numba's cache of one function, without its index: the place, the writing and the pickling are Numba's.

    A file is a checksum of all that follows, a hash of what the code was made from and for, and the code, pickled.

    Parameters
    ----------
    file : IndexDataCacheFile
        Numba's own.
    sources : object
        What changes when code would be compiled otherwise. (Numba's own stamp is a file's time, which a container's
        image rounds to seconds: all code that was compiled as the image was built would be outdated where it runs.)

    Attributes
    ----------
    used : dict
        Files that were read or written so far, and whether they were there before.
    failure : str or None
        Why code could not be kept, if it could not.
    """

    def __init__(self, file: IndexDataCacheFile, sources: object) -> None:
        self.__dict__.update(vars(file))
        self._source_stamp = (file._version, sources)
        self.used: dict[Path, bool] = {}
        self.failure: str | None = None

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self._cache_path)

    def save(self, key: object, data: object) -> None:
        """Keep code, if there is room, in place of any that was kept for the same signature and processor; another
        process that reads meanwhile finds one or the other."""
        content = self._origin(key) + self._dump(data)
        try:
            with self._open_for_write(self._path(key)) as file:
                file.write(hashlib.sha256(content).digest() + content)
            self.used.setdefault(Path(self._path(key)), False)
        except OSError as error:
            self.failure = error.strerror or str(error)
            why = f"({self.failure}): the next process compiles them anew"
            _warn(f"compiled kernels cannot be kept in {self._cache_path} {why}")

    def load(self, key: object) -> Any:
        """The code for a signature and processor; None where there is none, or it is outdated or damaged."""
        path = self._path(key)
        try:
            whole = Path(path).read_bytes()
        except OSError:
            return None
        seal, content = whole[:_SEAL], whole[_SEAL:]
        if hashlib.sha256(content).digest() != seal:
            _warn(f"{path}, which keeps compiled kernels, is damaged: they are compiled anew, which takes some seconds")
            return None
        # Of other sources or another Numba, it could do anything as it is unpickled.
        if content[:_SEAL] != self._origin(key):
            return None
        self.used.setdefault(Path(path), True)
        return pickle.loads(content[_SEAL:])  # noqa: S301

    def flush(self) -> None:
        """Nothing to do: there is no index, and code is replaced when it is compiled anew."""

    def _origin(self, key: object) -> bytes:
        return hashlib.sha256(repr((self._source_stamp, key)).encode()).digest()

    def _path(self, key: object) -> Any:
        number = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big")
        return self._data_path(self._data_name(number))


class KernelCache(FunctionCache):  # type: ignore[misc]  # Numba has no types
    """Numba's cache of one function, which does not prepare to compile before it looks for code."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The function for a signature, or None. Its code needs no more of Numba than its runtime; what compiling needs
        is imported by Numba where there is no code, and is two thirds of a first explanation's time where there is."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=users_line())
