"""Writing that leaves a whole file or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
