"""Where an output may stand, and in which form it is written there."""

from __future__ import annotations

from pathlib import Path

from fastlrp.files.forms import PACKERS, TEXTS, Form, Parquet, Text
from fastlrp.files.hdf5_form import Hdf5


def form_of(out: Path, reduce: str) -> Form:
    """The form in which a file is written, by its name.

    Raises
    ------
    ValueError
        If it ends otherwise.
    """
    name = out.name.lower()
    plain = name.removesuffix(next((end for end in PACKERS if name.endswith(end)), ""))
    kind = plain.rpartition(".")[2]
    if kind in TEXTS:
        return Text(kind, out)
    if name.endswith(".parquet"):
        return Parquet()
    if not name.endswith((".h5", ".hdf5")):
        raise ValueError(
            f"relevance is written block by block to a .parquet, .csv, .csv.gz or .h5 file, not {str(out)!r}"
        )
    if reduce == "time":
        raise ValueError(f"{out}: means by period are a table, expected a .parquet or .csv file")
    return Hdf5()


def check_places(source: Path, out: Path, reduce: str, *, folder: bool) -> Form:
    """How the destination is written.

    Raises
    ------
    ValueError
        If it cannot be written, or is the source.
    """
    form = Parquet() if folder else form_of(out, reduce)
    if folder and out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "a folder that holds files" if out.is_dir() else "a file"
        raise ValueError(f"{out} is {what}, expected a new folder for partition_by=")
    if not folder and out.exists() and not out.is_file():
        raise ValueError(f"{out} is {'a folder' if out.is_dir() else 'not a plain file'}, expected a file to write")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"{out} cannot be written: there is no folder {out.resolve().parent}")
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise ValueError(f"{out} lies in the folder {source} that is read: choose another folder for the output")
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"{out} is the panel itself: choose another file for the output")
    return form
