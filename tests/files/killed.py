"""A process whose children explain a file and kill themselves at the N-th moment of writing: python killed.py OUT N ...

"whole" goes to the end, after which OUT is taken away; -N counts from the moments of the first such run. It prints for
each whether it was killed, and what OUT then holds. Children are forked, so that everything is imported once.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from file_cases import FEATURES, STEPS, make_network

import fastlrp as fl
from fastlrp.files import door, forms, output

door._MOST_ROWS, door._FEWEST_ROWS = 150, 1
last, moment = 0, 0


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


for owner, name in ((os, "fsync"), (os, "replace"), (forms.Parquet, "write"), (forms.Text, "write")):
    setattr(owner, name, watched(getattr(owner, name)))
output.Output._note = note
forms.Parquet.finish = watched(forms.Parquet.finish)
make_network().explain(np.zeros((9, STEPS, len(FEATURES)), np.float32), threads=1)  # kernels are loaded, or compiled
moment = 0  # compiled ones are written to files, too
out, moments = Path(sys.argv[1]), 0
for given in sys.argv[2:]:
    reader, writer = os.pipe()
    last = -1 if given == "whole" else int(given) + (moments if given.startswith("-") else 0)
    child = os.fork()
    if not child:
        fl.explain_file(make_network(), "panel.parquet", out, resume=True, threads=1)
        os.write(writer, str(moment).encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.close(writer)
    moments = moments or int(os.read(reader, 99) or 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or status == 0, status
    digest = hashlib.sha256(out.read_bytes()).hexdigest() if out.exists() else None
    print(json.dumps([given, killed, digest]))
    if given == "whole":
        out.unlink()
