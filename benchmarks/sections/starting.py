"""The cost of a new process: the import, and the first explanation with a warm and with a cold cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.cases import GOALS
from benchmarks.report import Options, at_most, goals, table
from benchmarks.timing import alternate, seconds

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = {"nothing": "pass", "numpy, pandas": "import numpy, pandas", "fastlrp": "import numpy, pandas, fastlrp"}
FIRST = """
from benchmarks.cases import Case
from benchmarks.peers.fastlrp_peer import network
case = Case(5, 16, 32, 1_000)
network(case.weights()).explain(case.inputs())
"""


def python(code: str, cache: str | None = None) -> float:
    """Seconds of a whole new process that runs ``code``."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, **({"NUMBA_CACHE_DIR": cache} if cache else {})}
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=ROOT))


def cold() -> float:
    with tempfile.TemporaryDirectory() as fresh:
        return python(FIRST, fresh)


def run(options: Options) -> str:
    rounds = 5 if options.quick else 15
    python(IMPORTS["fastlrp"])  # fills byte code and the disk's cache
    imports = alternate({name: partial(python, code) for name, code in IMPORTS.items()}, rounds)
    with tempfile.TemporaryDirectory() as cache:
        python(FIRST, cache)
        firsts = alternate({"warm": partial(python, FIRST, cache)}, rounds)
    firsts |= alternate({"cold": cold}, 1 if options.quick else 3)
    rows = [(f"import {name}", timing) for name, timing in imports.items()]
    rows += [(f"first explanation, {name} cache", timing) for name, timing in firsts.items()]
    over = imports["fastlrp"].median - imports["numpy, pandas"].median
    parts = [
        "## Starting",
        f"Seconds of whole processes, interpreter included: medians of {rounds}, for the cold cache of "
        f"{len(firsts['cold'].rounds)}; imports alternate. The first explanation is of 1,000 samples at (5, 16, 32).",
        table(("process", "seconds"), rows),
        goals(
            (
                at_most("import fastlrp over import numpy, pandas", over, GOALS.import_s, "{:.2f} s"),
                at_most("first explanation, warm cache", firsts["warm"].median, GOALS.warm_s, "{:.2f} s"),
                at_most("first explanation, cold cache", firsts["cold"].median, GOALS.cold_s, "{:.1f} s"),
            )
        ),
        machine.describe(("fastlrp", "Numba", "NumPy", "pandas"), options.threads),
    ]
    return "\n\n".join(parts)
