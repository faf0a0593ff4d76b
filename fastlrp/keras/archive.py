"""``.keras`` archives: three members of a zip file, read in memory and only where their sizes are plausible."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fastlrp.errors import ModelFileError

MB = 1 << 20
MAX_MEMBERS, MAX_DIRECTORY = 1000, MB
#: Weights hardly compress; a member that unpacks to more than this many times its size is a bomb.
MAX_RATIO, MAX_SMALL = 20, 4 * MB


@dataclass(frozen=True)
class Archive:
    """The parts of a ``.keras`` file."""

    config: str
    metadata: str
    weights: bytes


def is_zip(head: bytes) -> bool:
    """Whether a file that starts like this is a zip file."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read_archive(path: Path) -> Archive:
    """Configuration, metadata and weights of a ``.keras`` file; raises ModelFileError."""
    _check_directory(path)
    try:
        with zipfile.ZipFile(path) as bundle:
            members = _members(bundle, path)
            size = path.stat().st_size
            config = _text(bundle, members, "config.json", path)
            metadata = _text(bundle, members, "metadata.json", path) if "metadata.json" in members else "{}"
            if "model.weights.h5" not in members:
                raise ModelFileError(_no_weights(path, set(members)))
            return Archive(config, metadata, _member(bundle, members["model.weights.h5"], MAX_RATIO * size, path))
    except ModelFileError:
        raise
    except Exception as error:  # zipfile reports damage with many kinds of exception
        reason = str(error)[:150] or type(error).__name__
        raise ModelFileError(f"{path} is a damaged .keras archive: {reason}") from None


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of members alone would fill memory, before the list is read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 66_000))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise ModelFileError(f"{path} is a truncated .keras archive: its list of members is missing")
    length = struct.unpack("<L", tail[at + 12 : at + 16])[0]
    if b"PK\x06\x07" in tail[max(0, at - 20) : at] or length > MAX_DIRECTORY:
        raise ModelFileError(f"{path} lists far more members than a .keras archive has")


def _members(bundle: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members by name; names that point elsewhere are refused, though nothing is ever unpacked to disk."""
    infos = bundle.infolist()
    if len(infos) > MAX_MEMBERS:
        raise ModelFileError(f"{path} holds {len(infos)} members, more than a .keras archive has")
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name.split("/")[0]:
            raise ModelFileError(f"{path} holds a member named {info.filename[:60]!r}, which leads out of the archive")
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise ModelFileError(f"{path} holds two members of the same name")
    if "config.json" not in members:
        raise ModelFileError(f"{path} is a zip file without config.json, so no .keras model")
    return members


def _member(bundle: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, path: Path) -> bytes:
    """The contents of a member, never more than the limit, whatever size its header declares."""
    if info.flag_bits & 1:
        raise ModelFileError(f"{path}: {info.filename} is encrypted")
    ratio = info.file_size / max(info.compress_size, 1)
    if info.file_size > limit or (info.file_size > MAX_SMALL and ratio > MAX_RATIO):
        raise ModelFileError(f"{path}: {info.filename} unfolds to {info.file_size:,} bytes, more than a model needs")
    out = io.BytesIO()
    with bundle.open(info) as file:
        while chunk := file.read(MB):
            out.write(chunk)
            if out.tell() > info.file_size:
                raise ModelFileError(f"{path}: {info.filename} unfolds to more than it declares")
    return out.getvalue()


def _text(bundle: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, path: Path) -> str:
    data = _member(bundle, members[name], MAX_SMALL, path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelFileError(f"{path}: {name} is not UTF-8 text") from None


def _no_weights(path: Path, names: set[str]) -> str:
    if "model.weights.npz" in names:
        return (
            f"{path} keeps its weights as pickled NumPy arrays, which are never unpickled: install h5py beside Keras "
            "and save it again"
        )
    if any(name.startswith("model") and name.endswith((".json", ".h5")) and "weights" in name for name in names):
        return f"{path} keeps its weights in several shards: save it again in one (without max_shard_size)"
    return f"{path} holds no model.weights.h5"
