"""What the commands share besides files: notes and warnings on stderr, a progress bar, and which extras there are."""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fastlrp.errors import ConservationWarning

_OPTIONS = "architecture|steps|target|threads|dtype|device|aggregate|eps|delta|stabilizer"


def say(text: str) -> None:
    """A note that is not the result."""
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def as_options(text: str) -> str:
    """The library's sentence with its arguments spelled as this command line's options."""
    text = re.sub(rf"\b(?:Arras|Rudder)\(({_OPTIONS})=\.\.\.\)", r"--\1", text)
    return re.sub(rf"(?<![-\w])({_OPTIONS})=(?:'([^' ]+)'|([\w.+-]+))?", _as_option, text)


def _as_option(match: re.Match[str]) -> str:
    value = match[2] or match[3]
    return f"--{match[1]} {value}" if value else f"--{match[1]}"


def shows_progress(arguments: argparse.Namespace) -> bool:
    """Whether a bar is wanted and can be seen: it would fill a log file."""
    seen = sys.stderr is not None and sys.stderr.isatty()
    return seen and not arguments.no_progress and installed("tqdm")


def is_of_stdout(error: OSError) -> bool:
    """Whether stdout could not be written: errors of files that are read or written have been told as such before."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def drop_stdout() -> None:
    """Let what stdout still holds go nowhere, so that leaving Python does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def as_notes() -> Iterator[None]:
    """Warnings meant for users become one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConservationWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, ConservationWarning):
            say(f"note: {warning.message}")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def installed(package: str) -> bool:
    """Whether an optional package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


@contextmanager
def quick_to_stop() -> Iterator[None]:
    """While packages are imported, Ctrl-C ends the process at once.

    Compiled modules that are interrupted as they load raise errors of their own, or none; no file is open then.
    """

    def stop(*_: object) -> None:
        os.write(2, b"\nfastlrp: interrupted\n")
        os._exit(130)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # another thread than the main one hears no signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
