"""A folder of finished windows, so that a rolling fit can stop and resume: one npz per window, one json, no pickles.

Each npz ends with a hash of itself, of its window's number and of the fit that it belongs to, where zip files have a
comment: a file that is damaged, of another window or of another fit is refused before anything of it is understood.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastlrp.whole import whole

Array = npt.NDArray[Any]

_MANIFEST = "rolling.json"
_FORMAT = 2
_DIGEST = hashlib.sha256().digest_size


def fingerprint(arrays: Iterable[Array], labels: Iterable[str]) -> str:
    """A hash that tells one data set from another."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for text in labels:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


class Checkpoints:
    """The folder of one rolling fit.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    settings : mapping
        Everything that decides the result, as JSON values; ``data`` is the data's fingerprint.
    seed : int
        Used unless the folder already has one.

    Attributes
    ----------
    seed : int
        The folder's seed.

    Raises
    ------
    ValueError
        If the folder holds the windows of another fit, is not readable or cannot be written, by a full disk for
        instance; the message says what differs, or why.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any], seed: int) -> None:
        self._folder = Path(folder)
        wanted = json.loads(json.dumps({"format": _FORMAT, **settings}))
        path = self._folder / _MANIFEST
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                _write(path, json.dumps({**wanted, "seed": seed}, indent=1).encode())
            found = json.loads(path.read_text("utf-8"))
            self.seed = int(found.pop("seed"))
        except OSError as error:
            raise ValueError(f"directory={str(folder)!r} cannot be used: {error.strerror or error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not the record of a rolling fit ({error}): choose another directory") from None
        self._whose = json.dumps({**wanted, "seed": self.seed}, sort_keys=True).encode()
        differing = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        if differing:
            shown = ", ".join(_difference(key, found.get(key), wanted.get(key)) for key in differing)
            raise ValueError(
                f"the directory {self._folder} holds the windows of another fit: {shown}; choose another directory, or "
                "delete this one"
            )

    def load(self, window: int) -> dict[str, Array] | None:
        """The arrays of a window, or None if it is not finished."""
        path = self._path(window)
        if not path.exists():
            return None
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        if self._digest(window, content[:-_DIGEST]) != content[-_DIGEST:]:
            raise ValueError(
                f"{path} is damaged, or was not written for window {window} of this fit: delete it, and that window is "
                "trained again"
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def save(self, window: int, arrays: Mapping[str, Array]) -> None:
        """Save a window's arrays; its file is written completely or not at all."""
        file = io.BytesIO()
        np.savez(file, **cast(dict[str, Any], dict(arrays)))
        content = file.getvalue()[:-2] + _DIGEST.to_bytes(2, "little")  # a zip file ends with its comment's length
        _write(self._path(window), content + self._digest(window, content))

    def _digest(self, window: int, content: bytes) -> bytes:
        return hashlib.sha256(b"%d %d " % (window, len(content)) + content + self._whose).digest()

    def _path(self, window: int) -> Path:
        return self._folder / f"window_{window:05d}.npz"


def _write(path: Path, content: bytes) -> None:
    with whole(path) as file:
        file.write_bytes(content)


def _difference(key: str, there: object, here: object) -> str:
    return "the data differ" if key == "data" else f"{key} is {there!r} there and {here!r} here"
