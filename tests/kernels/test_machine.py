"""Choices by machine: found in what the system says, and the same bits whatever is chosen."""

import platform
from pathlib import Path

import machine_cases
import numpy as np
import pytest
from helpers import close, run_python, same_bits

from fastlrp.kernels import machine
from fastlrp.kernels.cpu import host
from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.target import FEATURES, FUSED

CASES = Path(machine_cases.__file__)
X86 = platform.machine().lower() in ("x86_64", "amd64")
AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+sse4.2,+popcnt,+lzcnt"
AVX512 = f"{AVX2},+avx512f,+avx512vl,+avx512dq,+avx512bw,+avx512cd"


@pytest.fixture(scope="module")
def usual():
    return machine_cases.results()


def elsewhere(tmp_path, *arguments, **environment):
    """The results of a process of its own, whose machine code nobody else uses."""
    file = tmp_path / "results.npz"
    place = {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "PYTHONPATH": str(CASES.parents[2])}
    done = run_python(str(CASES), str(file), *arguments, **place, **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(file) as found:
        return dict(found)


@pytest.mark.parametrize(
    ("row", "large", "vectors"),
    [
        (256, 1 << 21, 1),
        (512, 1 << 21, 1),
        (2048, 1 << 30, 1),
        (512, 0, 1),
        (1024, 0, 2),
        (1024, 0, 4),
        (512, 1 << 17, 2),
    ],
)
def test_tiles_of_every_size_give_the_same_bits(usual, monkeypatch, row, large, vectors):
    monkeypatch.setattr(host, "TILE_BYTES", row)
    monkeypatch.setattr(host, "LARGE_TILE", large)
    monkeypatch.setattr(machine, "FEWEST_VECTORS", vectors)
    for key, found in machine_cases.results().items():
        same_bits(found, usual[key])


def test_wider_blocks_of_products_give_the_same_bits(usual, tmp_path):
    found = elsewhere(tmp_path, "f4", str(2 * machine.WIDE))  # a dtype, of which each compiles all kernels
    for key, array in found.items():
        same_bits(array, usual[key])


@pytest.mark.skipif(not (X86 and FEATURES.get("avx2") and FUSED), reason="runs code for x86 with AVX2")
def test_code_for_avx2_gives_the_bits_of_this_processor(usual, tmp_path):
    found = elsewhere(tmp_path, "f4,f8", NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=AVX2)
    for key, want in usual.items():
        same_bits(found[key], want)


@pytest.mark.skipif(not X86, reason="runs code for x86")
def test_code_for_the_oldest_x86_gives_the_same_numbers(usual, tmp_path):
    """It has no fused multiply-add: every product rounds twice. The stabiliser divides by numbers near zero, so the
    relevance has fewer digits than the prediction."""
    found = elsewhere(tmp_path, "f8", NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+sse2")
    for key, array in found.items():
        close(array, usual[key], 4e-15 if "prediction" in key or "score" in key else 4e-14)


def test_a_small_tile_has_whole_blocks_where_two_units_wait_for_them(monkeypatch):
    for size, vectors, itemsize, lanes in [
        (64, 2, 4, 32),
        (64, 2, 8, 16),
        (64, 1, 4, 16),
        (32, 2, 4, 16),
        (16, 4, 4, 16),
    ]:
        monkeypatch.setattr(machine, "VECTOR_BYTES", size)
        monkeypatch.setattr(machine, "FEWEST_VECTORS", vectors)
        assert machine.fewest_lanes(itemsize, 1 << 20) == lanes
        far = max(lanes, 2 * machine.VECTOR_BYTES // itemsize)
        assert machine.fewest_lanes(itemsize, machine.FAR_WEIGHTS + 1) == far
        assert lanes % LANES == 0


def test_the_second_level_cache_is_what_linux_says(tmp_path):
    def cache(number, level, size):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "level").write_text(f"{level}\n")
        (tmp_path / f"index{number}" / "size").write_text(f"{size}\n")

    assert machine.second_level(tmp_path) == machine.CACHE_BYTES
    cache(0, 1, "32K")
    cache(1, 2, "512K")
    cache(2, 3, "8192K")
    assert machine.second_level(tmp_path) == 512 << 10
    for told, believed in (("64K", machine.LEAST_CACHE), ("16384K", machine.MOST_CACHE), ("many", machine.CACHE_BYTES)):
        (tmp_path / "index1" / "size").write_text(told)
        assert machine.second_level(tmp_path) == believed


@pytest.mark.skipif(not X86, reason="compiles for x86")
@pytest.mark.parametrize(
    ("processor", "units", "far"), [("skylake-avx512", 2, True), ("znver4", 1, False), ("znver5", 2, False)]
)
def test_choices_follow_the_processor(processor, units, far):
    """Loops over numbers take whole vectors, too: for Intel's processors LLVM by itself makes them half as wide."""
    check = f"""
import numba
from fastlrp.kernels import machine
from fastlrp.kernels.cpu.tile import read_cell
from fastlrp.kernels.lanes import at
run = numba.njit(lambda s, n: read_cell(n, at(s, 0), at(s, n)), error_model="numpy")
run.compile((numba.types.Array(numba.float32, 1, "C"), numba.int64))
code = [line for line in "".join(run.inspect_asm().values()).splitlines() if "vdivps" in line]
assert any("zmm" in line for line in code) and not any("ymm" in line for line in code), code
assert machine.UNITS == {units}
assert machine.LARGE_TILE == (machine.SECOND_LEVEL // 2 if {far} else 2 * machine.SECOND_LEVEL)
"""
    done = run_python("-c", check, NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=AVX512)
    assert done.returncode == 0, done.stderr[-2000:]
