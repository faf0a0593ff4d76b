"""``python -m benchmarks``: measure everything, or one section, and (re)write results.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    from benchmarks.sections import SECTIONS
    from benchmarks.workers import cores

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a tenth of the samples, few rounds; written nowhere unless --output is given",
    )
    parser.add_argument(
        "--only",
        metavar="SECTION",
        action="append",
        choices=list(SECTIONS),
        help=f"one of {', '.join(SECTIONS)}; may be repeated; other sections stay; else 'large' is left out",
    )
    usual = min(2, len(cores()))
    parser.add_argument("--threads", type=int, default=usual, help=f"threads for every library (default: {usual})")
    parser.add_argument("--output", type=Path, help="the file to write (default: benchmarks/results.md)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested sections and return the exit code."""
    from benchmarks import machine, report
    from benchmarks.sections import ON_DEMAND, SECTIONS
    from benchmarks.workers import WorkerError, cores, environment

    chosen = parse(arguments)
    if not 1 <= chosen.threads <= len(cores()):
        print(f"--threads takes 1 to {len(cores())}, the cores usable here, not {chosen.threads}", file=sys.stderr)
        return 2
    output = chosen.output or (None if chosen.quick else Path(__file__).with_name("results.md"))
    options, failed = report.Options(chosen.threads, chosen.quick), False
    # A fresh cache, because Numba keeps a caller's machine code even when a function in another file has changed.
    with tempfile.TemporaryDirectory(prefix="fastlrp-benchmarks-") as cache, environment({"NUMBA_CACHE_DIR": cache}):
        for name in chosen.only or [name for name in SECTIONS if name not in ON_DEMAND]:
            start = time.perf_counter()
            report.tell(f"section {name}")
            try:
                body = SECTIONS[name](options)
            except (WorkerError, subprocess.CalledProcessError) as error:
                print(f"section {name} failed: {error}", file=sys.stderr)
                failed = True
                continue
            if chosen.quick:
                body += "\n\nA quick run: a tenth of the samples and few rounds."
            print(body, f"\n({name}: {time.perf_counter() - start:.0f} s)\n", flush=True)
            if output is not None:
                report.write(output, name, machine.kind(), body, list(SECTIONS))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
