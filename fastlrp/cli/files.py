"""Files that commands read and write, and their kinds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastlrp.cli.console import installed
from fastlrp.messages import install_hint

STDIN = STDOUT = Path("-")
TEXTS = ("csv", "tsv")
_PACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_NEEDS = {"parquet": ("pyarrow", "parquet"), "xlsx": ("openpyxl", None)}  # a package, and the extra that installs it
#: The most rows that a workbook's sheet can hold, the header included.
SHEET_ROWS = 1_048_576


def kind_of(path: Path, *, reads: bool = False) -> str | None:
    """csv, tsv, parquet or xlsx, by the file's name; "csv" for stdin and stdout. Text in a zip can only be read."""
    if path == STDIN:
        return "csv"
    name = path.name.lower()
    for end in (*_PACKERS, *([".zip"] if reads else [])):
        if name.endswith(tuple(f".{text}{end}" for text in TEXTS)):
            name = name.removesuffix(end)
    return next((kind for kind in (*TEXTS, *_NEEDS) if name.endswith(f".{kind}")), None)


def packer(path: Path) -> Callable[..., Any]:
    """The function that opens the file for writing: through gzip, bz2 or lzma, or plain."""
    return _PACKERS.get(path.suffix.lower(), open)


def check_kind(kind: str | None, path: Path, what: str, purpose: str) -> None:
    """Refuse a kind of file that cannot be read or written here.

    Raises
    ------
    ValueError
        If the kind is unknown, or needs a package that is missing.
    """
    if kind is None:
        raise ValueError(f"{what} a .csv, .csv.gz or .parquet file (or .tsv, .xlsx, or -), not {str(path)!r}")
    if kind in _NEEDS and not installed(_NEEDS[kind][0]):
        package, extra = _NEEDS[kind]
        raise ValueError(f"{path} needs {package} {purpose}: {install_hint(package, extra)}, or use csv")


def check_output(out: Path, inputs: Mapping[str, Path]) -> None:
    """Refuse an output that could not be written, before anything is computed.

    Raises
    ------
    ValueError
        If ``out`` is of no kind that can be written, is no plain file, is one of ``inputs``, or its folder refuses it.
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
