"""Writing that leaves a whole file or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt


def write_all(file: Any, array: npt.NDArray[Any]) -> None:
    """Write an array to a file without a buffer, which may take less than it is given."""
    rest = array.data.cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A file beside ``out`` that replaces it at the end, or vanishes: nobody ever sees half a file.

    Raises
    ------
    ValueError
        If it cannot be written.
    """
    out = out.resolve()  # a link stays a link
    temporary = out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.open("xb").close()  # with the permissions of the user's umask
        yield temporary
        os.replace(temporary, out)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
