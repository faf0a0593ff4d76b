"""Paths that are none: one sentence at every door, and nothing is written."""

from __future__ import annotations

import numpy as np
import pytest

import fastlrp as fl
from fastlrp.data import load_panel, model_path

NET = fl.read_keras(model_path())
DOORS = {
    "read_keras": fl.read_keras,
    "describe_keras": fl.describe_keras,
    "write_keras": lambda path: fl.write_keras(NET, path),
    "load_relevance": fl.load_relevance,
    "save": lambda path: NET.explain(np.zeros((1, 12, 20))).save(path),
    "explain_file(source": lambda path: fl.explain_file(NET, path, "out.parquet"),
    "explain_file(destination": lambda path: fl.explain_file(NET, "panel.parquet", path),
    "report": lambda path: fl.report(NET, load_panel(), path),
}


@pytest.mark.parametrize("path", [None, 3, b"x.h5", ["x.h5"]], ids=repr)
@pytest.mark.parametrize("door", DOORS)
def test_a_path_that_is_none_is_refused_in_a_sentence(door, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=rf"takes a path, as text or a pathlib.Path, not {type(path).__name__}$"
    ) as refused:
        DOORS[door](path)
    assert door.rpartition("(")[2] in str(refused.value)
    assert not list(tmp_path.iterdir())
