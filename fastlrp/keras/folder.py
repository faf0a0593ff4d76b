"""Ensembles as folders of Keras files, one a member, in the order of their names."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastlrp.ensemble import Ensemble
from fastlrp.errors import ModelFileError
from fastlrp.messages import count, printable
from fastlrp.model.ensemble import check_alike
from fastlrp.network import Network

_ENDINGS = (".keras", ".h5", ".hdf5")
_WRITTEN = re.compile(r"member_\d+\.(keras|h5)")


def member_files(folder: Path) -> list[Path]:
    """The Keras files in a folder, by name; hidden and other files are left alone.

    Raises
    ------
    ModelFileError
        If there are fewer than two, or the folder cannot be read.
    """
    try:
        found = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be opened: {error.strerror or error}") from None
    files = [path for path in found if path.name.lower().endswith(_ENDINGS) and not path.name.startswith(".")]
    if len(files) == 1:
        raise ModelFileError(f"{folder} is a folder with one Keras file, expected two or more: read {files[0]} itself")
    if not files:
        raise ModelFileError(
            f"{folder} is a folder without Keras files, expected one, or a folder of an ensemble's (.keras or .h5); "
            "TensorFlow's SavedModel folders are not read"
        )
    return files


def read_members(folder: Path, read: Callable[[Path], Network]) -> Ensemble:
    """The ensemble of the files in a folder; raises ModelFileError, also where they do not fit together."""
    files = member_files(folder)
    networks = [read(path) for path in files]
    try:
        check_alike(networks, [path.name for path in files], f"{folder}: ")
    except ValueError as error:
        raise ModelFileError(printable(str(error))) from None
    return Ensemble(networks)


def write_members(ensemble: Ensemble, folder: Path, member: Callable[[Network], tuple[str, bytes]]) -> None:
    """Write a file for each member into a folder, which is there with all of them or stays as it was.

    ``member`` gives the ending and the contents of a network's file.

    Raises
    ------
    ValueError
        If the folder's name is a file's, if it is there and holds anything but members, or a member cannot be written.
    """
    if folder.suffix.lower() in _ENDINGS:
        raise ValueError(
            f"write_keras(path=...) takes the name of a folder for an Ensemble, one without {folder.suffix}, not "
            f"{str(folder)!r}"
        )
    _refuse_others(folder)
    digits = max(3, len(str(len(ensemble) - 1)))
    with _whole(folder) as beside:
        for k, net in enumerate(ensemble):
            try:
                suffix, data = member(net)
            except ValueError as error:
                raise ValueError(f"member {k}: {error}") from None
            (beside / f"member_{k:0{digits}}{suffix}").write_bytes(data)


def _refuse_others(folder: Path) -> None:
    """Refuse to replace what is no folder, or holds anything but an ensemble that was written before."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is there and is no folder: an Ensemble is written as a folder of Keras files")
    others = sorted(path.name for path in folder.iterdir() if path.is_dir() or not _WRITTEN.fullmatch(path.name))
    if others:
        more = f" and {count(len(others) - 1, 'other')}" if others[1:] else ""
        raise ValueError(
            f"{folder} holds {printable(others[0])!r}{more}, expected a new folder, or one of members alone, which is "
            "replaced"
        )


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place at the end, or vanishes."""
    try:
        beside = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
        old, new = beside / "old", beside / "new"
        try:
            new.mkdir()  # with the permissions of the user's umask
            yield new
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be written: {error.strerror or error}") from None
