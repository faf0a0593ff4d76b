"""Shared by the commands, besides files: notes and warnings on stderr, a progress bar, and a check for extras."""

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

from fastlrp.errors import ArchitectureWarning, ConservationWarning, OverflowWarning
from fastlrp.messages import shown

_OPTIONS = (
    "architecture|steps|at_step|target|threads|dtype|device|aggregate|eps|delta|stabilizer|memory|since|resume|rule|unit|horizon|"
    "title|groups"
)
#: Warnings meant for users, who see each as a note.
_NOTED = (ArchitectureWarning, ConservationWarning, OverflowWarning)
#: What the library calls otherwise.
_SPELLED = {
    "index=(time, asset)": "--time and --asset",
    "columns=[...]": "--features",
    "resume=True": "--resume",
    "partition_by=": "--partition-by",
    "reduce='time'": "--by-time",
    "test_from=": "--test-from ",
}


def say(text: str) -> None:
    """Print a note that is not part of the result."""
    if sys.stderr is not None:
        print(shown(text), file=sys.stderr, flush=True)


def as_options(text: str) -> str:
    """The library's sentence, with its arguments spelled as options of this command line."""
    text = text.replace(", or None, not ", ", not ")  # an option that is not given has no value
    for name, option in _SPELLED.items():
        text = text.replace(name, option)
    text = re.sub(rf"\b(?:Arras|Rudder)\(({_OPTIONS})=\.\.\.\)", r"--\1", text)
    return re.sub(rf"(?<![-\w])({_OPTIONS})=(?:'([^' ]+)'|([\w.+-]+))?", _as_option, text)


def _as_option(match: re.Match[str]) -> str:
    value = match[2] or match[3]
    return f"--{match[1]} {value}" if value else f"--{match[1]}"


def shows_progress(arguments: argparse.Namespace) -> bool:
    """Whether a bar is wanted and can be seen; in a log file it would only fill space."""
    seen = sys.stderr is not None and sys.stderr.isatty()
    return seen and not arguments.no_progress and installed("tqdm")


def is_of_stdout(error: OSError) -> bool:
    """Whether the error means that stdout could not be written; errors of other files are reported earlier."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def drop_stdout() -> None:
    """Discard what stdout still holds, so that Python exits without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def as_notes() -> Iterator[None]:
    """Turn each warning meant for users into one line."""
    with warnings.catch_warnings(record=True) as caught:
        for kind in _NOTED:
            warnings.simplefilter("always", kind)
        yield
    for warning in caught:
        if issubclass(warning.category, _NOTED):
            say(f"note: {warning.message}")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def installed(package: str) -> bool:
    """Whether an optional package is installed, without importing it."""
    return importlib.util.find_spec(package) is not None


@contextmanager
def quick_to_stop() -> Iterator[None]:
    """Let Ctrl-C end the process at once while packages are imported.

    A compiled module that is interrupted as it loads raises an error of its own, or none; no file is open then.
    """

    def stop(*_: object) -> None:
        os.write(2, b"\nfastlrp: interrupted\n")
        os._exit(130)

    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # only the main thread receives signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
