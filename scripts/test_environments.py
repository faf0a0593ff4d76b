"""Run the test suite and the demo with the oldest and the newest packages that pyproject.toml allows, on each Python:
``python scripts/test_environments.py``; some only, ``python scripts/test_environments.py 3.12 --oldest``.

Each combination gets a fresh copy of this checkout, as it is on disk, and a fresh environment. "Oldest" is the lowest
version of each package named in ``pyproject.toml`` that its bound allows and that has a wheel for this Python; what
those packages need in turn is the newest that fits, as a user's installer would choose. To test the extra
for CUDA as well, pass ``--extra test-cuda``. The demo's tables must be the same everywhere.

A table of outcomes is printed, and the script exits with 1 if one is not fine. Lists of installed packages and pytest's
output stay in ``--folder``. Interpreters are found on the PATH and among pyenv's; a path to one may be given, too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
PROGRAMS = "Scripts" if os.name == "nt" else "bin"  # of an environment
SHOWN = ("numpy", "numba", "pandas", "h5py", "scikit-learn", "matplotlib", "pyarrow", "pytest")
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "build", "dist")


class Outcome(NamedTuple):
    """One line of the table."""

    python: str
    which: str
    suite: str
    minutes: float
    tables: str | None
    packages: str
    fine: bool


def numbers(path: str) -> list[int]:
    """The numbers in a path, so that 3.11.10 comes after 3.11.9."""
    return [int(part) for part in re.findall(r"\d+", path)]


def interpreter(given: str) -> str:
    """The interpreter of a version such as "3.12", or the one at a path."""
    if found := shutil.which(given):  # a path, too, which is no pattern for a folder
        return found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if versions := sorted(map(str, pyenv.glob(f"{given}.*/bin/python")), key=numbers):
        return versions[-1]
    if re.fullmatch(r"\d\.\d+", given) and (found := shutil.which(f"python{given}")):
        return found
    sys.exit(f"there is no Python {given} on the PATH or in {pyenv}: install it, or give the path of its interpreter")


def run(*command: str | Path, log: Path, cwd: Path = ROOT) -> int:
    """Run a command, append its output to ``log``, and return its exit code."""
    for_others = {"PYTHONPATH", "VIRTUAL_ENV", "NUMBA_CACHE_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in for_others}
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        return subprocess.run(
            list(map(str, command)), cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ).returncode


def install(uv: Path, python: str, folder: Path, which: str, extra: str, log: Path) -> bool:
    """Make a copy of the checkout and an environment for it; False if there is no such set of packages."""
    copy, environment, lock = folder / "checkout", folder / "environment", folder / "packages.txt"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    resolution = "lowest-direct" if which == "oldest" else "highest"
    chosen = ("--resolution", resolution, "--only-binary", ":all:", "--extra", extra, "--python", python)
    quiet = ("--quiet", "--no-python-downloads")
    into = ("--python", environment / PROGRAMS / "python")
    steps: list[tuple[str | Path, ...]] = [
        ("pip", "compile", *quiet, *chosen, "--no-header", "--no-annotate", "--output-file", lock, "pyproject.toml"),
        ("venv", *quiet, "--python", python, environment),
        ("pip", "install", *quiet, *into, "--only-binary", ":all:", "--requirement", lock),
        ("pip", "install", *quiet, *into, "--no-deps", "--editable", copy),
    ]
    return all(run(uv, *step, log=log, cwd=copy) == 0 for step in steps)


def demo_tables(python: Path, folder: Path) -> str | None:
    """The demo's output without its seconds and names of files; None if it fails."""
    log = folder / "demo.txt"
    if run(python, "-m", "fastlrp", "demo", "--out", folder / "pictures", log=log, cwd=folder / "checkout"):
        return None
    printed = log.read_text(encoding="utf-8").partition("Pictures:")[0]
    kept = [line for line in printed.splitlines() if not line.startswith(("$ ", "fastlrp: ", "Explained "))]
    # gaps are round-off; another processor's instructions or another NumPy may round differently
    return "\n".join(re.sub(r"\d\.\de-\d\d", "round-off", line) for line in kept)


def packages_of(folder: Path) -> str:
    """The relevant versions, in one line."""
    lock = folder / "packages.txt"
    pins = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)) if lock.exists() else {}
    )
    return ", ".join(f"{name} {pins[name]}" for name in SHOWN if name in pins)


def try_out(uv: Path, python: str, folder: Path, which: str, extra: str, pytest: list[str]) -> Outcome:
    """Install, test, run the demo."""
    folder.mkdir(parents=True)
    start, log = time.monotonic(), folder / "suite.txt"
    version = subprocess.run([python, "-c", "import platform; print(platform.python_version())"],
                             capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    print(f"Python {version}, {which} packages: {log}", flush=True)
    if not install(uv, python, folder, which, extra, log):
        return Outcome(version, which, f"not installed, see {log}", 0.0, None, packages_of(folder), False)
    mine = folder / "environment" / PROGRAMS / "python"
    code = run(mine, "-m", "pytest", "-q", *pytest, log=log, cwd=folder / "checkout")
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    suite = re.sub(r" in [\d.]+s.*|=+ ?", "", lines[-1])
    tables, minutes = demo_tables(mine, folder), (time.monotonic() - start) / 60
    fine = code == 0 and tables is not None
    return Outcome(version, which, suite, minutes, tables, packages_of(folder), fine)


def report(outcomes: list[Outcome]) -> bool:
    """Print the table; return whether all is fine."""
    first = next((outcome.tables for outcome in outcomes if outcome.tables is not None), None)
    rows = [("Python", "packages", "demo", "minutes", "suite")]
    for outcome in outcomes:
        demo = "fails" if outcome.tables is None else "same tables" if outcome.tables == first else "OTHER TABLES"
        rows.append((outcome.python, outcome.which, demo, f"{outcome.minutes:.0f}", outcome.suite))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
    for outcome in outcomes:
        print(f"{outcome.python} {outcome.which}: {outcome.packages}")
    return all(outcome.fine and outcome.tables == first for outcome in outcomes)


def main() -> None:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=f"{about}\n\n{more}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", nargs="*", default=VERSIONS, help=f"versions or interpreters, {' '.join(VERSIONS)}")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--oldest", action="store_const", const=["oldest"], dest="which", help="not with the newest")
    which.add_argument("--newest", action="store_const", const=["newest"], dest="which", help="not with the oldest")
    parser.add_argument("--extra", default="test", help='the extra to install: "test" (the default) or "test-cuda"')
    parser.add_argument("--folder", type=Path, default=None, help="a new folder for copies, environments and logs")
    parser.add_argument("--pytest", default="", help='more arguments for pytest, such as --pytest "tests/panels"')
    args = parser.parse_args()
    pythons = {given: interpreter(given) for given in args.python}
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="fastlrp-environments-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tool, log = folder / "tool", folder / "tool.txt"
    if run(sys.executable, "-m", "venv", tool, log=log) or run(tool / PROGRAMS / "pip", "install", "uv", log=log):
        sys.exit(f"uv, which chooses and installs packages, cannot be installed: see {log}")
    uv, outcomes = tool / PROGRAMS / "uv", []
    for which in args.which or ["newest", "oldest"]:
        for given, python in pythons.items():
            place = folder / f"{Path(given).name if os.sep not in given else len(outcomes)}-{which}"
            outcomes.append(try_out(uv, python, place, which, args.extra, args.pytest.split()))
    sys.exit(0 if report(outcomes) else 1)


if __name__ == "__main__":
    main()
