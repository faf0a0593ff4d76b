"""A folder of finished windows, so that a rolling fit can stop and resume: one npz per window, one json, no pickles."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MANIFEST = "rolling.json"
_FORMAT = 1


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
        If the folder holds the windows of another fit, or is not readable; the message says what differs.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any], seed: int) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.seed = seed
        wanted = json.loads(json.dumps({"format": _FORMAT, **settings}))
        path = self._folder / _MANIFEST
        if not path.exists():
            self._write(_MANIFEST, json.dumps({**wanted, "seed": seed}, indent=1).encode())
            return
        try:
            found = json.loads(path.read_text())
            self.seed = int(found.pop("seed"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not the record of a rolling fit ({error}): choose another directory") from None
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
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not readable ({error}): delete it, and that window is trained again") from None

    def save(self, window: int, arrays: Mapping[str, Array]) -> None:
        """Save a window's arrays; its file is written completely or not at all."""
        path = self._path(window)
        half = path.with_suffix(".part")
        with half.open("wb") as file:
            np.savez(file, **cast(dict[str, Any], dict(arrays)))
        os.replace(half, path)

    def _path(self, window: int) -> Path:
        return self._folder / f"window_{window:05d}.npz"

    def _write(self, name: str, content: bytes) -> None:
        half = self._folder / f"{name}.part"
        half.write_bytes(content)
        os.replace(half, self._folder / name)


def _difference(key: str, there: object, here: object) -> str:
    return "the data differ" if key == "data" else f"{key} is {there!r} there and {here!r} here"
