"""A process of its own that explains a file and kills itself at the N-th moment of writing: python killed.py N OUT."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from file_cases import make_network

import fastlrp as fl
from fastlrp.files import door, output

door._MOST_ROWS, door._FEWEST_ROWS = 150, 1
last, moment = int(sys.argv[1]), 0


def passing() -> None:
    """Count a moment, and die at the last one."""
    global moment
    moment += 1
    if moment == last:
        os.kill(os.getpid(), signal.SIGKILL)


def watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Moments before and after a function."""

    def run(*args: Any, **options: Any) -> Any:
        passing()
        result = function(*args, **options)
        passing()
        return result

    return run


def note(self: Any, line: Any) -> None:
    """A line of the log, with a moment at which it is half there."""
    text = output.json.dumps(line) + "\n"
    self._log.seek(0, os.SEEK_END)
    for part in (text[: len(text) // 2], text[len(text) // 2 :]):
        passing()
        self._log.write(part)
        self._log.flush()


for owner, name in ((os, "fsync"), (os, "replace"), (output, "_write_parquet"), (output, "write_text")):
    setattr(owner, name, watched(getattr(owner, name)))
output.Output._note = note
output.Output._add_footer = watched(output.Output._add_footer)
fl.explain_file(make_network(), "panel.parquet", sys.argv[2], resume=True)
print(moment)
