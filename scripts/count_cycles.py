"""Estimate what kernels reach on processors that are not here: ``python scripts/count_cycles.py``, or with the names of
some, as LLVM calls them.

Kernels are compiled for each processor, and llvm-mca (Debian: llvm-19) counts the cycles that their innermost loops
take by LLVM's own model of it: of the product's blocks in float32, as a share of the multiply-adds that the model
allows, and of an LSTM's cell, for a vector of numbers. Caches and memory are not in the model, nor are pairs of
instructions that a processor joins. LLVM has no model of Zen 5, for which it takes Zen 4's, and its model of Sapphire
Rapids knows one of its two units; a Skylake-SP, which has two as well, stands for both. Zen 4's model takes a broadcast
from memory to 512 bits for one that occupies a unit, so its blocks of two vectors are better than that: whole
explanations were measured at 85 to 87 % of the peak where it says 71 %.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+sse4.2,+popcnt,+lzcnt"
AVX512 = f"{AVX2},+avx512f,+avx512vl,+avx512dq,+avx512bw,+avx512cd"
PROCESSORS = {"haswell": AVX2, "znver1": AVX2, "znver4": AVX512, "skylake-avx512": AVX512}
ROUNDS = 200

COMPILE = """
import numba, sys
from numba import types
from fastlrp.kernels.cpu.product import _make_block
from fastlrp.kernels.cpu.tile import read_cell, write_cell
from fastlrp.kernels.lanes import at

def code(function, *kinds):
    compiled = numba.njit(function, error_model="numpy")
    compiled.compile(kinds)
    return "".join(compiled.inspect_asm().values())

i = types.int64
for wide in (True, False):
    block = _make_block(6, wide)
    array = types.Array(types.float32, 1, "C")
    def run(o, w, a, n, depth, mode):
        p, q, x = at(o, 0), at(w, 0), at(a, 0)
        block(p, n, q, p, -1, x, n, depth, x, n, 0, p, n, x, mode)
    print("# block", 2 if wide else 1)
    print(code(run, array, array, array, i, i, i))
for dtype in (types.float32, types.float64):
    array = types.Array(dtype, 1, "C")
    def write(s, n):
        write_cell(n, at(s, 0), at(s, n), at(s, 2 * n), at(s, 3 * n), at(s, 4 * n))
    def read(s, n):
        read_cell(n, at(s, 0), at(s, n))
    print("# cell", dtype)
    print(code(write, array, i))
    print("# cell", dtype)
    print(code(read, array, i))
"""


def loops(code: str) -> Iterator[list[str]]:
    """Innermost loops: from a label to a jump back to it, with no other label in between."""
    lines = [line.split("#")[0].rstrip() for line in code.splitlines()]
    lines = [line for line in lines if line.strip() and not line.strip().startswith(".p2align")]
    label, at = "", 0
    for n, line in enumerate(lines):
        if found := re.match(r"(\.LBB\w+):", line):
            label, at = found[1], n
        elif (found := re.match(r"\s+j\w+\s+(\.LBB\w+)", line)) and found[1] == label:
            yield lines[at + 1 : n + 1]


def cycles(body: list[str], processor: str, mca: str) -> float:
    """Cycles that one round of a loop takes."""
    text = "\n".join([".L0:", *(re.sub(r"(j\w+\s+)\.LBB\w+", r"\1.L0", line) for line in body), ""])
    how = [mca, "-mtriple=x86_64", f"-mcpu={processor}", f"-iterations={ROUNDS}"]
    done = subprocess.run(how, input=text, text=True, capture_output=True, check=True)
    found = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert found, done.stdout[:500]
    return int(found[1]) / ROUNDS


def estimate(processor: str, features: str, mca: str) -> list[str]:
    """A row of the table."""
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "PYTHONPATH": str(ROOT)}
    how = [sys.executable, "-c", COMPILE]
    done = subprocess.run(how, env=environment, text=True, capture_output=True, check=True)
    vector = "zmm" if features == AVX512 else "ymm"
    alone = [f"\tvfmadd231ps\t%{vector}0, %{vector}1, %{vector}{k}" for k in range(2, 14)]
    best = cycles(alone, processor, mca) / len(alone)
    found: dict[str, float] = {}
    for part in done.stdout.split("# ")[1:]:
        name, _, code = part.partition("\n")
        bodies = list(loops(code))
        if name.startswith("block"):
            body = max(bodies, key=lambda body: sum("vfmadd" in line for line in body))
            found[name] = best * sum("vfmadd" in line for line in body) / cycles(body, processor, mca)
        else:
            whole = [body for body in bodies if any("vdivp" in line and vector in line for line in body)]
            found[name] = found.get(name, 0.0) + min(cycles(body, processor, mca) for body in whole)
    blocks = [f"{found[name]:.0%}" for name in ("block 2", "block 1")]
    return [processor, f"{1 / best:.1f}", *blocks, *(f"{found[f'cell {name}']:.0f}" for name in ("float32", "float64"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processors", nargs="*", default=list(PROCESSORS))
    parser.add_argument("--mca", default="llvm-mca-19")
    asked = parser.parse_args()
    head = ["processor", "multiply-adds a cycle", "6 x 2", "6 x 1", "cell, float32", "cell, float64"]
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for name in asked.processors:
        print("| " + " | ".join(estimate(name, PROCESSORS.get(name, AVX512), asked.mca)) + " |", flush=True)


if __name__ == "__main__":
    main()
