"""What the commands share besides files: notes and warnings on stderr, a progress bar, and which extras there are."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fastlrp.errors import ConservationWarning


def say(text: str) -> None:
    """A note that is not the result."""
    print(text, file=sys.stderr, flush=True)


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
