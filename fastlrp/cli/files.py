"""Files that commands read and write: their kinds, and how one appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fastlrp.cli.console import installed
from fastlrp.messages import install_hint


def kind_of(path: Path) -> str | None:
    """csv, csv.gz or parquet, by the file's name."""
    return next((kind for kind in ("csv", "csv.gz", "parquet") if path.name.lower().endswith(f".{kind}")), None)


def check_kind(path: Path, what: str, purpose: str) -> None:
    """Refuse a file of a kind that cannot be read or written here.

    Raises
    ------
    ValueError
        If the name has none of the three endings, or for parquet without pyarrow.
    """
    kind = kind_of(path)
    if kind is None:
        raise ValueError(f"{what} a .csv, .csv.gz or .parquet file, not {str(path)!r}")
    if kind == "parquet" and not installed("pyarrow"):
        raise ValueError(f"{path} needs pyarrow {purpose}: {install_hint('pyarrow', 'parquet')}, or use csv")


def check_output(out: Path, inputs: Mapping[str, Path]) -> None:
    """Refuse, before anything is computed, what could not be written in the end.

    Raises
    ------
    ValueError
        If ``out`` is of no kind that can be written, no plain file, one of ``inputs``, or in a folder that refuses it.
    """
    check_kind(out, "relevance is written to", "to be written")
    if out.exists() and not out.is_file():
        raise ValueError(f"{out} is {'a folder' if out.is_dir() else 'not a plain file'}, expected a file to write")
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
