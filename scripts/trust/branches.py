"""How many lines and branches of ``fastlrp/`` any test reaches, kernels as plain Python among them.

The whole suite runs once as users run it, its subprocesses too; compiled code is not seen by that. So the tests that
compare kernels with the reference run once more with Numba's compiler off. The package coverage has to be installed:
``pip install coverage``.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts.trust.mutants import GROUPS
from scripts.trust.rows import Options, Row

ROOT = Path(__file__).resolve().parents[2]
#: What is asked of lines and branches together, in percent.
ASKED = 95
#: The tests by which mistakes in kernels are seen in plain Python.
PLAIN = [run for group in GROUPS.values() if group.plain for run in group.runs]
#: It limits a process' time and memory, of which tracing takes several times as much.
NOT_TRACED = "tests/keras/test_hostile.py::test_bombs_end_within_two_seconds_and_200_mb"
SETTINGS = """\
[run]
branch = true
parallel = true
source = {source}
data_file = {data}
patch = subprocess
[report]
exclude_also =
    if TYPE_CHECKING:
    @overload
    ^\\s*\\.\\.\\.$
"""


def run_tests(arguments: str, settings: Path, *, plain: bool) -> bool:
    """Run some tests under coverage; whether all passed."""
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-W", "ignore:invalid value:RuntimeWarning"] if plain else []
    place = {"COVERAGE_RCFILE": str(settings), "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "1" if plain else "0"}
    done = subprocess.run(
        [*command, *shlex.split(arguments)], cwd=ROOT, env=os.environ | place, capture_output=True, text=True
    )
    print("\n".join([arguments, *done.stdout.splitlines()[-12:]]), file=sys.stderr, flush=True)
    return done.returncode == 0


def counted(settings: Path) -> dict[str, Any]:
    """What all runs together have reached, as coverage reports it."""
    report = settings.with_name("coverage.json")
    for command in (["combine", "-q"], ["json", "-q", "-o", str(report)]):
        subprocess.run([sys.executable, "-m", "coverage", *command, f"--rcfile={settings}"], cwd=ROOT, check=True)
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def least_reached(found: Mapping[str, Any], n: int = 12) -> list[str]:
    """The files with the most lines and branches that nothing reaches."""

    def missing(file: str) -> int:
        some = found["files"][file]["summary"]
        return int(some["missing_lines"] + some["missing_branches"])

    files = sorted(found["files"], key=missing, reverse=True)
    return [f"{file}: {found['files'][file]['summary']['percent_covered']:.1f} %" for file in files[:n]]


def run(options: Options) -> list[Row]:
    if find_spec("coverage") is None:
        raise ModuleNotFoundError("branches are counted by the package coverage: pip install coverage")
    with tempfile.TemporaryDirectory(prefix="fastlrp-branches-") as scratch:
        settings = Path(scratch, "settings")
        settings.write_text(SETTINGS.format(source=ROOT / "fastlrp", data=Path(scratch, "data")), encoding="utf-8")
        parts = [(arguments, True) for arguments in PLAIN]
        if not options.quick:
            parts.insert(0, (f"-n {options.processes} tests --deselect {NOT_TRACED}", False))
        passed = [run_tests(arguments, settings, plain=plain) for arguments, plain in parts]
        found = counted(settings)
    total = found["totals"]
    print("\n".join(least_reached(found)), file=sys.stderr, flush=True)
    size = f"{total['num_statements']:,} lines and {total['num_branches']:,} branches"
    lines, branches = total["percent_statements_covered"], total["percent_branches_covered"]
    said = f"{total['percent_covered']:.1f} % of both ({ASKED} asked): {lines:.1f} % of lines, {branches:.1f} %"
    return [
        Row(
            "Lines and branches of the library are reached by its tests, kernels as plain Python among them",
            f"{size}, {total['excluded_lines']} lines for type checkers left out",
            f"{said} of branches" + ("" if all(passed) else "; some tests failed meanwhile"),
            total["percent_covered"] >= ASKED and all(passed),
        )
    ]
