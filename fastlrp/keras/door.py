"""The door: finds which of Keras' formats a file has, checks it before opening, and turns errors into one sentence."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastlrp.errors import ModelFileError
from fastlrp.keras.archive import is_zip, read_archive
from fastlrp.keras.config import parse_json
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.legacy import legacy_groups, legacy_root
from fastlrp.messages import FROM_TORCH, printable

MAX_FILE = 2 << 30
#: The start of torch's files until 1.5, a pickled magic number, and the member that each of its zip files has.
_TORCH_PICKLE, _DATA_PKL = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", b"/data.pkl"
_TAIL = 66_000  # a zip file lists its members at its end


@dataclass(frozen=True)
class ModelFile:
    """An open file: its weights, its configuration where it has one, and the version that wrote it."""

    path: Path
    format: str
    weights: HDF5File
    config: dict[str, Any] | None
    version: str | None


@contextmanager
def sentence(path: Path) -> Iterator[None]:
    """Turn any error from a file of unknown origin into one sentence that names the file."""
    try:
        yield
    except (MemoryError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged or far too large: {type(error).__name__}") from None
    except ValueError as error:  # a ModelFileError, or an error from a layer's own checks
        text = printable(str(error))
        raise ModelFileError(text if str(path) in text else f"{path}: {text}") from None
    except Exception as error:  # no case is known; even so, a damaged file must not end in a traceback
        raise ModelFileError(f"{path} cannot be read: {type(error).__name__}: {str(error)[:100]!a}") from error


@contextmanager
def open_model(path: Path) -> Iterator[ModelFile]:
    """Open a file in any of Keras' formats; raises ModelFileError if it is in none."""
    head = _head(path)
    _refuse_pickles(path, head)
    if is_zip(head):
        archive = read_archive(path)
        config = parse_json(archive.config, f"config.json in {path}")
        version = parse_json(archive.metadata, f"metadata.json in {path}").get("keras_version")
        with HDF5File(archive.weights, f"model.weights.h5 in {path}") as file:
            yield ModelFile(path, ".keras archive", file, config, version if isinstance(version, str) else None)
        return
    with HDF5File(path, str(path)) as file:
        text = file.text("", "model_config")
        root = legacy_root(file)
        version = file.text("", "keras_version") or (file.text(root, "keras_version") if root else None)
        whole = parse_json(text, f"the model_config of {path}") if text is not None else None
        kind = (
            "weights (v3)" if root is None else "weights (legacy .h5)" if whole is None else "whole model (legacy .h5)"
        )
        yield ModelFile(path, kind, file, whole, version)


def _head(path: Path) -> bytes:
    """The first bytes of a plain file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError(f"{path} is a folder, expected a Keras file")
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{path} is not a plain file")
        if not status.st_size:
            raise ModelFileError(f"{path} is empty")
        if status.st_size > MAX_FILE:
            raise ModelFileError(f"{path} is {status.st_size / 2**30:.0f} GiB, more than any model that is explained")
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be opened: {error.strerror or error}") from None
    if head.lstrip().startswith(b"{"):
        raise ModelFileError(f"{path} is JSON text, expected a file with weights (.h5 or .keras)")
    return head


def _refuse_pickles(path: Path, head: bytes) -> None:
    """Refuse torch's files, old (a pickle) and new (a zip of one), and other pickles; none is ever unpickled."""
    torch = head.startswith(_TORCH_PICKLE)
    if is_zip(head):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            torch = any(_DATA_PKL in part for part in (head, file.read()))
    if torch:
        raise ModelFileError(
            f"{path} is a torch file, whose pickle is never opened: load it with torch and {FROM_TORCH}"
        )
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise ModelFileError(
            f"{path} is a Python pickle, which is never opened, expected a Keras file (.h5 or .keras): load it where "
            "it is from, and save the model with Keras or give fastlrp.Network its arrays"
        )


def contents(file: HDF5File) -> str:
    """The weights that a file holds, for messages."""
    root = legacy_root(file)
    if root is None:
        items = [f"{path} {stored.shape}" for path, stored in file.datasets.items()]
    else:
        items = [
            f"{name} {', '.join(str(file.datasets[p].shape) for p in paths if p in file.datasets)}"
            for name, paths in legacy_groups(file, root)
            if paths
        ]
    return "; ".join(items[:8]) + ("; ..." if len(items) > 8 else "") if items else "no weights"
