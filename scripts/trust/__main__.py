"""``python -m scripts.trust``: try everything, or one section, and write the README's table of what was found."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from benchmarks import machine
from scripts.trust import rows

#: The sections, in the table's order; each is a module here with ``run(options) -> list[Row]``.
SECTIONS = ("properties", "edges", "concurrency", "memory", "files", "mutants", "branches", "wheel")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.trust", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few cases of everything, written nowhere")
    parser.add_argument(
        "--only", metavar="SECTION", action="append", choices=SECTIONS, help=f"one of {', '.join(SECTIONS)}; repeatable"
    )
    usual = min(2, os.cpu_count() or 1)
    parser.add_argument("--processes", type=int, default=usual, help=f"processes at work (default: {usual})")
    parser.add_argument("--seed", type=int, default=0, help="where drawn cases begin (default: 0)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the requested sections; 1 if something is not as promised."""
    chosen = parse(arguments)
    options, fine = rows.Options(chosen.quick, chosen.processes, chosen.seed), True
    for name in chosen.only or SECTIONS:
        start = time.perf_counter()
        print(f"section {name}", file=sys.stderr, flush=True)
        found = import_module(f"scripts.trust.{name}").run(options)
        seconds = time.perf_counter() - start
        fine &= all(row.fine for row in found)
        for row in found:
            print(f"{'fine' if row.fine else 'WRONG'}: {row.what}: {row.cases}: {row.found}", flush=True)
        if not options.quick:
            where = machine.describe(("fastlrp", "Numba", "NumPy"), options.processes)
            entry = {"rows": [list(row) for row in found], "where": where, "seconds": round(seconds)}
            kept = rows.load() | {name: entry}
            kept = {section: kept[section] for section in SECTIONS if section in kept}
            rows.save(kept)
            rows.replace(rows.README, rows.embedded(rows.README.read_text(encoding="utf-8"), kept))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
