"""The wheel as users get it: the checkout's files, an empty environment, and tests against what is installed there."""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from scripts.test_environments import interpreter
from scripts.test_wheel import build, check_files, try_out
from scripts.trust.rows import Options, Row

#: The oldest Python that is supported, and a new one.
PYTHONS = ("3.11", "3.13")


def run(options: Options) -> list[Row]:
    if find_spec("build") is None:
        raise ModuleNotFoundError("sdist and wheel are built by the package build: pip install build")
    with tempfile.TemporaryDirectory(prefix="fastlrp-wheel-") as scratch:
        folder = Path(scratch)
        sdist, wheel, direct = build(folder, folder / "build.txt")
        wrong, passed = check_files(folder / "checkout", wheel, direct), []
        for version in PYTHONS[: 1 if options.quick else None]:
            own = folder / version
            wrong += try_out(interpreter(version), own, wheel, sdist, [])
            counted = re.findall(r"(\d+) passed", (own / "log.txt").read_text(encoding="utf-8", errors="replace"))
            passed.append(f"{int(counted[-1]) if counted else 0:,} on Python {version}")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return [
        Row(
            "The wheel holds the checkout's files byte for byte, whether built from it or from the sdist; alone in an "
            "empty environment it explains the embedded panel, and the tests against it pass",
            f"tests that passed: {', '.join(passed)}",
            f"{len(wrong)} things wrong, such as: {wrong[0]}" if wrong else "nothing is wrong",
            not wrong,
        )
    ]
