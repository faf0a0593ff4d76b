"""Build the sdist and the wheel, install the wheel into an empty environment and try it there, away from the checkout:
``python scripts/test_wheel.py``; on other Pythons, ``python scripts/test_wheel.py 3.11 3.13``.

The wheel that is built from the sdist must hold the same files as one from a copy of this checkout, byte for byte, and
every file of ``fastlrp/``. Without an extra it must bring only what fastlrp itself needs, and explain the embedded
panel. Then tests run against the installed wheel, in a copy of the checkout without its ``fastlrp/``; and the README's
first command runs in the unpacked sdist, as a reader would type it there.

It needs the package ``build``, and exits with 1 if something is not fine; what is printed meanwhile is in ``--folder``.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.test_environments import LEFT_OUT, PROGRAMS, ROOT, interpreter, run

WITHOUT_PACKAGE = shutil.ignore_patterns("fastlrp", ".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "dist")
#: Tests of what a wheel may lack or break: commands, embedded data and templates, every module's import, files.
SELECTION = (
    "tests/cli/test_commands.py", "tests/test_data.py", "tests/test_names.py", "tests/test_networks.py",
    "tests/keras/test_read.py", "tests/relevance/test_storage.py", "tests/files/test_parquet.py",
    "tests/reporting/test_judged.py", "tests/panels/test_explain_panels.py",
)  # fmt: skip
#: What an environment without an extra holds and does: one line if all is well, else an exception.
BARE = """
import re, sys
from importlib import metadata

def needs(name):
    found = (re.match(r"[\\w.-]+", text)[0] for text in metadata.requires(name) or () if "extra ==" not in text)
    return {re.sub(r"[-_.]+", "-", one).lower() for one in found}

there = {re.sub(r"[-_.]+", "-", one.name).lower() for one in metadata.distributions()}
wanted, new = set(), {"fastlrp"}
while new:
    wanted |= new
    new = {other for one in new for other in needs(one) & there} - wanted
beside = there - wanted - {"pip", "setuptools"}
assert not beside, f"installed beside what fastlrp needs: {sorted(beside)}"

import fastlrp as fl
from fastlrp.data import load_model, load_panel
assert fl.__file__.startswith(sys.prefix), fl.__file__
rel = load_model().explain(load_panel())
assert rel.reconcile().relative_worst < 1e-5
assert "Reconciles" in rel.summary()
versions = (f"{name} {metadata.version(name)}" for name in sorted(wanted - {"fastlrp"}))
print(f"without an extra: {', '.join(versions)}; {len(rel):,} samples explained")
"""


def build(folder: Path, log: Path) -> tuple[Path, Path, Path]:
    """The sdist, the wheel made from it, and the wheel made from the copy of the checkout itself."""
    copy = folder / "checkout"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for out, which in ((folder / "dist", ()), (folder / "direct", ("--wheel",))):
        if run(sys.executable, "-m", "build", *which, "--outdir", out, copy, log=log):
            sys.exit(f"the sdist or the wheel cannot be built (pip install build): see {log}")
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    (direct,) = (folder / "direct").glob("*.whl")
    return sdist, wheel, direct


def content(wheel: Path) -> dict[str, str]:
    """A wheel's files, with the hash of each."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def check_files(copy: Path, wheel: Path, direct: Path) -> list[str]:
    """What is wrong with the wheel's files, one sentence each."""
    held, other = content(wheel), content(direct)
    differing = sorted(name for name in held.keys() | other.keys() if held.get(name) != other.get(name))
    package = {
        path.relative_to(copy).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (copy / "fastlrp").rglob("*")
        if path.is_file()
    }
    lacking = sorted(name for name, digest in package.items() if held.get(name) != digest)
    beside = sorted(name for name in held if name not in package and ".dist-info/" not in name)
    print(f"{wheel.name}: {len(held)} files, {len(package)} of them fastlrp's, {wheel.stat().st_size / 1e6:.1f} MB")
    found = {
        "the wheels from the sdist and from the checkout differ": differing,
        "the wheel lacks, or has changed": lacking,
        "the wheel holds what is no part of fastlrp": beside,
    }
    return [f"{what}: {', '.join(names)}" for what, names in found.items() if names]


def readme_command() -> str:
    """The README's first command: it sets up an environment and runs the demo."""
    found = re.search(
        r"^ {4}(python3 -m venv .* demo)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else sys.exit("the README has no command that sets up and runs the demo")


def try_out(python: str, folder: Path, wheel: Path, sdist: Path, pytest: list[str]) -> list[str]:
    """What is wrong on one Python, one sentence each."""
    folder.mkdir()
    log, mine = folder / "log.txt", folder / "environment" / PROGRAMS / "python"
    if run(python, "-m", "venv", folder / "environment", log=log) or run(mine, "-m", "pip", "install", wheel, log=log):
        return [f"the wheel cannot be installed, see {log}"]
    found, elsewhere = [], folder / "elsewhere"
    shutil.copytree(ROOT, elsewhere, ignore=WITHOUT_PACKAGE)
    bare = subprocess.run(
        [mine, "-I", "-W", "error::UserWarning", "-c", BARE], cwd=elsewhere, capture_output=True, text=True
    )
    print(bare.stdout.strip(), flush=True)
    if bare.returncode:
        found.append(f"without an extra: {bare.stderr.strip().splitlines()[-1]}")
    command = folder / "environment" / PROGRAMS / "fastlrp"
    if run(command, "--version", log=log, cwd=elsewhere):
        found.append(f"the command fastlrp fails without an extra, see {log}")
    if run(mine, "-m", "pip", "install", f"{wheel}[test]", log=log):
        return [*found, f"the wheel's extra for tests cannot be installed, see {log}"]
    failed = run(mine, "-m", "pytest", "-q", *(pytest or SELECTION), log=log, cwd=elsewhere)
    print(f"{log.read_text(encoding='utf-8', errors='replace').strip().splitlines()[-1]}", flush=True)
    if failed:
        found.append(f"tests fail, see {log}")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked, start = folder / sdist.name.removesuffix(".tar.gz"), time.monotonic()
    line = readme_command().replace("python3", python, 1)
    if run("sh", "-c", line, log=folder / "demo.txt", cwd=unpacked):
        found.append(f"the README's command fails in the unpacked sdist, see {folder / 'demo.txt'}")
    else:
        print(f"{line}: fine in {time.monotonic() - start:.0f} s", flush=True)
    return found


def main() -> None:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=f"{about}\n\n{more}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", nargs="*", default=[sys.executable], help="versions or interpreters (default: this)")
    parser.add_argument("--folder", type=Path, default=None, help="a new folder for builds, environments and logs")
    parser.add_argument("--pytest", default="", help='pytest\'s arguments, such as --pytest "-n0 tests/cli"')
    args = parser.parse_args()
    folder = (args.folder or Path(tempfile.mkdtemp(prefix="fastlrp-wheel-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sdist, wheel, direct = build(folder, folder / "build.txt")
    wrong = check_files(folder / "checkout", wheel, direct)
    for number, given in enumerate(args.python):
        python = interpreter(given)
        print(f"{python}: {folder / str(number) / 'log.txt'}", flush=True)
        wrong += [
            f"{given}: {sentence}"
            for sentence in try_out(python, folder / str(number), wheel, sdist, args.pytest.split())
        ]
    print("\n".join(wrong) or "all is fine")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
