"""Machine code on disk: whatever happens to its files, the next call is right and the one after it is quick again."""

from __future__ import annotations

import errno
import importlib.util
import itertools
import warnings
from pathlib import Path

import pytest

from fastlrp.kernels.kept import SealedCacheFile

SOURCE = """
from fastlrp.kernels.target import entry

@entry
def cube(x):
    return x * x * x
"""
_names = itertools.count()


@pytest.fixture
def cube(tmp_path):
    """A kernel as a new process would see it, whenever it is called."""
    source = tmp_path / "cubes.py"
    source.write_text(SOURCE)

    def fresh():
        spec = importlib.util.spec_from_file_location(f"cubes_{next(_names)}", source)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.cube

    return fresh


def files(kernel) -> dict[str, Path]:
    """The index, and the code of the only signature."""
    return {ending: next(Path(kernel.stats.cache_path).glob(f"*.{ending}")) for ending in ("nbi", "nbc")}


def hits(kernel) -> int:
    return sum(kernel.stats.cache_hits.values())


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "short of the last byte": lambda data: data[:-1],
    "garbled": lambda data: bytes(reversed(data)),
    "zeros": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"\0",
}


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_compiled_anew(cube, ending, damage):
    first = cube()
    assert first(3.0) == 27.0
    file = files(first)[ending]
    whole = file.read_bytes()
    assert hits(kernel := cube()) == 0
    assert kernel(2.0) == 8.0
    assert hits(kernel) == 1
    file.write_bytes(DAMAGES[damage](whole))
    again = cube()
    with pytest.warns(RuntimeWarning, match=f"{file.name}, which keeps compiled kernels, is damaged") as caught:
        assert again(2.0) == 8.0
    assert {Path(one.filename).name for one in caught} == {Path(__file__).name}
    assert hits(again) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last = cube()
        assert last(2.0) == 8.0
    assert hits(last) == 1


def test_no_flipped_bit_is_run_or_unpickled(cube):
    first = cube()
    first(3.0)
    for file in files(first).values():
        whole = file.read_bytes()
        held = first._cache._cache_file
        for bit in range(0, 8 * len(whole), 8 * len(whole) // 300):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            file.write_bytes(data)
            with pytest.warns(RuntimeWarning, match="is damaged"), pytest.raises(OSError, match="damaged"):
                held._opened(str(file))
        file.write_bytes(whole)


def test_a_full_disk_costs_a_compilation_and_no_call(cube, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(SealedCacheFile, "_open_for_write", full)
        with pytest.warns(RuntimeWarning, match=r"cannot be kept in .* \(No space left on device\): the next process"):
            assert cube()(3.0) == 27.0
    kernel = cube()
    assert kernel(3.0) == 27.0
    assert hits(kernel) == 0
    later = cube()
    assert later(3.0) == 27.0
    assert hits(later) == 1


def test_another_version_of_numba_finds_nothing_and_says_nothing(cube, monkeypatch):
    cube()(3.0)
    kernel = cube()
    kernel._cache._cache_file._version = "0.0"
    assert kernel(3.0) == 27.0
    assert hits(kernel) == 0
