"""Files that commands read and write: their kinds, and how one appears whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastlrp.cli.console import installed
from fastlrp.messages import install_hint

STDIN = STDOUT = Path("-")
_TEXTS = ("csv", "tsv")
_PACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_NEEDS = {"parquet": ("pyarrow", "parquet"), "xlsx": ("openpyxl", None)}  # a package, and the extra that brings it
#: Most rows that a sheet of a workbook holds, the header's among them.
SHEET_ROWS = 1_048_576


def kind_of(path: Path, *, reads: bool = False) -> str | None:
    """csv, tsv, parquet or xlsx, by the file's name; "csv" for stdin and stdout. A text in a zip can only be read."""
    if path == STDIN:
        return "csv"
    name = path.name.lower()
    for end in (*_PACKERS, *([".zip"] if reads else [])):
        if name.endswith(tuple(f".{text}{end}" for text in _TEXTS)):
            name = name.removesuffix(end)
    return next((kind for kind in (*_TEXTS, *_NEEDS) if name.endswith(f".{kind}")), None)


def packer(path: Path) -> Callable[..., Any]:
    """What opens the file for writing: by gzip, bz2 or lzma, or as it is."""
    return _PACKERS.get(path.suffix.lower(), open)


def check_kind(kind: str | None, path: Path, what: str, purpose: str) -> None:
    """Refuse a file of a kind that cannot be read or written here.

    Raises
    ------
    ValueError
        If it is of no known kind, or needs a package that is missing.
    """
    if kind is None:
        raise ValueError(f"{what} a .csv, .csv.gz or .parquet file (or .tsv, .xlsx, or -), not {str(path)!r}")
    if kind in _NEEDS and not installed(_NEEDS[kind][0]):
        package, extra = _NEEDS[kind]
        raise ValueError(f"{path} needs {package} {purpose}: {install_hint(package, extra)}, or use csv")


def check_output(out: Path, inputs: Mapping[str, Path]) -> None:
    """Refuse, before anything is computed, what could not be written in the end.

    Raises
    ------
    ValueError
        If ``out`` is of no kind that can be written, no plain file, one of ``inputs``, or in a folder that refuses it.
    """
    check_kind(kind_of(out), out, "relevance is written to", "to be written")
    if out == STDOUT:
        return
    if out.exists() and not out.is_file():
        what = "a folder" if out.is_dir() else "not a plain file"
        raise ValueError(f"{out} is {what}, expected a file to write, or - for stdout")
    for what, path in inputs.items():
        if out.exists() and path.exists() and out.samefile(path):
            raise ValueError(f"{out} is {what} itself: choose another file for the output")
    try:
        with tempfile.TemporaryFile(dir=out.resolve().parent):
            pass
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror}") from None


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A file beside ``out`` that becomes it at the end, or vanishes: nobody ever meets half a file.

    Raises
    ------
    ValueError
        If it cannot be written.
    """
    out = out.resolve()  # a link stays a link
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.open("xb").close()  # as the user's umask has it
        yield temporary
        os.replace(temporary, out)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
