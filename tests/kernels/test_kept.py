"""Machine code on disk: whatever happens to its files, the next call is right and the one after it is quick again."""

from __future__ import annotations

import errno
import importlib.util
import itertools
import os
import pickle
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import ROOT

from fastlrp.kernels import target
from fastlrp.kernels.kept import KeptCode

SOURCE = """
from fastlrp.kernels.target import entry

@entry
def cube(x):
    return x * x * x
"""
_names = itertools.count()


def kernels(folder: Path):
    """A kernel as a new process would see it, whenever it is called."""
    source = folder / "cubes.py"
    source.write_text(SOURCE)

    def fresh():
        spec = importlib.util.spec_from_file_location(f"cubes_{next(_names)}", source)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.cube

    return fresh


@pytest.fixture
def cube(tmp_path):
    return kernels(tmp_path)


def kept_file(kernel) -> Path:
    """The code of the only signature."""
    (path,) = Path(kernel.stats.cache_path).iterdir()
    return path


def hits(kernel) -> int:
    return sum(kernel.stats.cache_hits.values())


def test_kept_code_runs_without_what_compiling_needs(tmp_path):
    """Numba imports that, and SciPy with it, when it compiles; it takes longer than all else of a first explanation."""
    (tmp_path / "cubes.py").write_text(SOURCE)
    call = (
        "import sys; from cubes import cube;"
        "print(cube(3.0), sum(cube.stats.cache_hits.values()), 'numba.np.arraymath' in sys.modules)"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    for said in (["27.0", "0", "True"], ["27.0", "1", "False"]):
        run = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, env=environment)
        assert run.stdout.split() == said, run.stderr


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "short of the last byte": lambda data: data[:-1],
    "garbled": lambda data: bytes(reversed(data)),
    "zeros": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_compiled_anew(cube, damage):
    first = cube()
    assert first(3.0) == 27.0
    file = kept_file(first)
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


def kept_code(cube):
    """What reads the code of the only signature from its file, and the file."""
    cube()(3.0)
    kernel, asked = cube(), []
    held = kernel._cache._cache_file
    held.load = lambda key: asked.append(key) or KeptCode.load(held, key)
    kernel(3.0)
    del held.load
    (key,) = asked
    return lambda: held.load(key), kept_file(kernel)


def test_no_flipped_bit_is_run_or_unpickled(cube):
    load, file = kept_code(cube)
    whole = file.read_bytes()
    assert load() is not None
    for bit in range(0, 8 * len(whole), 8 * len(whole) // 300):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        with pytest.warns(RuntimeWarning, match="is damaged"):
            assert load() is None


def test_a_full_disk_costs_a_compilation_and_no_call(cube, monkeypatch):
    def full(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(KeptCode, "_open_for_write", full)
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
    kernel._cache._cache_file._source_stamp = "another version"
    assert kernel(3.0) == 27.0
    assert hits(kernel) == 0


def make(folder, version="1", sources="these"):
    """A cache of one function, beside Numba's index, which has to be left alone."""
    numbas = SimpleNamespace(
        _cache_path=str(folder), _data_name_pattern="f.{number:d}.nbc", _source_stamp="now", _version=version
    )
    kept = KeptCode(numbas, sources)
    kept._dump = pickle.dumps
    return kept


def test_signatures_that_are_compiled_at_the_same_time_do_not_meet(tmp_path):
    """Numba's index gives both the number 1, and each process then runs what the other has compiled (numba #4807)."""
    one, two = make(tmp_path), make(tmp_path)
    assert one.load("float32") is None
    assert two.load("float64") is None
    one.save("float32", "single"), two.save("float64", "double")
    for kept in (one, two, make(tmp_path)):
        assert kept.load("float32") == "single"
        assert kept.load("float64") == "double"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("changed", [{"version": "2"}, {"sources": "others"}])
def test_code_of_other_sources_is_not_used_and_is_replaced(tmp_path, changed):
    make(tmp_path).save("float32", "old")
    new = make(tmp_path, **changed)
    assert new.load("float32") is None
    new.save("float32", "new")
    assert new.load("float32") == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_that_dies_as_it_writes_leaves_what_was_there(tmp_path, monkeypatch):
    kept = make(tmp_path)
    kept.save("float32", "old")

    def dies(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        kept.save("float32", "new")
    assert kept.load("float32") == "old"


def test_code_is_known_again_by_what_files_say_and_not_by_their_time(cube, tmp_path):
    """A container's image rounds times to seconds, after code was compiled in it."""
    cube()(3.0)
    source = tmp_path / "cubes.py"
    os.utime(source, (1e9, 1e9))
    target._content.cache_clear()
    kernel = cube()
    assert kernel(3.0) == 27.0
    assert hits(kernel) == 1
    source.write_text(SOURCE.replace("x * x * x", "x * x"))
    target._content.cache_clear()
    kernel = cube()
    assert kernel(3.0) == 9.0
    assert hits(kernel) == 0


def test_processes_that_compile_at_once_keep_one_file(cube, tmp_path):
    """Each finds right code, whichever of the others writes meanwhile."""
    ready = tmp_path / "ready"
    code = "\n".join(
        [
            "import pathlib, time, numba.core.registry, cubes",
            f"pathlib.Path(r'{tmp_path}', 'at' + str(__import__('os').getpid())).touch()",
            f"while not pathlib.Path(r'{ready}').exists(): time.sleep(0.01)",
            "print(cubes.cube(3.0), cubes.cube(3.0))",
        ]
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": path}
    command = [sys.executable, "-W", "error", "-c", code]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    while len(list(tmp_path.glob("at*"))) < 4 and all(one.poll() is None for one in started):
        time.sleep(0.05)
    ready.touch()
    assert [one.communicate()[0].split() for one in started] == [["27.0", "27.0"]] * 4
    assert len([path for path in (tmp_path / "kept").rglob("*") if path.is_file()]) == 1
