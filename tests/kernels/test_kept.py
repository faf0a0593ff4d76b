"""Compiled code as it is kept between processes: never another signature's, never outdated, never damaged."""

import os
import pickle
from types import SimpleNamespace

import pytest

from fastlrp.kernels.kept import KeptCode


def make(folder, stamp="now", sources="these"):
    """A cache of one function, beside Numba's index, which has to be left alone."""
    numbas = SimpleNamespace(
        _cache_path=str(folder), _data_name_pattern="f.{number:d}.nbc", _source_stamp=stamp, _version="1"
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


@pytest.mark.parametrize("changed", [{"stamp": "later"}, {"sources": "others"}])
def test_code_of_other_sources_is_not_used_and_is_replaced(tmp_path, changed):
    make(tmp_path).save("float32", "old")
    new = make(tmp_path, **changed)
    assert new.load("float32") is None
    new.save("float32", "new")
    assert new.load("float32") == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_code_is_compiled_anew(tmp_path):
    kept = make(tmp_path)
    kept.save("float32", list(range(100)))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", whole[:20], whole[:-1], bytes(flipped), b"\0" * len(whole), whole + b"\0"):
        path.write_bytes(content)
        assert kept.load("float32") is None
    path.write_bytes(whole)
    assert kept.load("float32") == list(range(100))


def test_a_process_that_dies_as_it_writes_leaves_what_was_there(tmp_path, monkeypatch):
    kept = make(tmp_path)
    kept.save("float32", "old")

    def dies(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        kept.save("float32", "new")
    assert kept.load("float32") == "old"
