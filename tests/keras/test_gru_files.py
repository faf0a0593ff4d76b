"""GRUs of real Keras files: read_keras predicts what Keras predicts, and what is written comes back.

The archives ``gru-*.zip`` are made by ``python scripts/make_keras_files.py tests/data --name gru --only gru
gru_stacked gru_bidirectional gru_cells gru_state``; of Keras 3 on JAX with ``JAX_ENABLE_X64=0``, without which it
computes no GRU that has no bias.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from keras_files import DATA, VERSIONS, case_of, folder, forward
from numpy.testing import assert_allclose

import fastlrp as fl
from fastlrp.keras import describe_keras, read_keras, write_keras

ARCHIVES = sorted(DATA.glob("gru-*.zip"))
FILES = [
    (path, name) for path in ARCHIVES for name in zipfile.ZipFile(path).namelist() if name.endswith((".h5", ".keras"))
]


def given(archive: Path, name: str, where: Path) -> tuple[fl.Network, np.ndarray, np.ndarray]:
    """A network, and Keras' input and output."""
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(where)
    case = case_of(name)
    alone = name.endswith((".weights.h5", ".legacy.h5"))
    with np.load(where / "outputs.npz") as found:
        X, y = found[f"{case}/input"], found[f"{case}/output"]
    return read_keras(where / name, architecture=where / f"{case}.json" if alone else None), X, y


def test_both_generations_of_keras_are_covered() -> None:
    assert [path.stem for path in ARCHIVES] == ["gru-2.15", "gru-3.15"]
    assert len(FILES) == 29


@pytest.mark.parametrize(("archive", "name"), FILES, ids=lambda one: getattr(one, "stem", one))
def test_predicts_what_keras_predicted(archive: Path, name: str, tmp_path: Path) -> None:
    net, X, want = given(archive, name, tmp_path)
    scale = np.abs(want).max()
    assert_allclose(forward(net, X), want, rtol=0, atol=1e-6 * scale)
    got = np.asarray(net.predict(X, device="cpu")).reshape(want.shape)
    assert_allclose(got, want, rtol=0, atol=2e-6 * scale)  # both are float32
    for suffix in (".h5", ".keras"):
        if suffix == ".keras" and "hard_sigmoid_keras2" in {cell.recurrent_activation for cell in net.cells}:
            continue
        write_keras(net, tmp_path / f"again{suffix}")
        assert read_keras(tmp_path / f"again{suffix}") == net
    assert describe_keras(tmp_path / "again.h5").explainable


def test_options_arrive(tmp_path: Path) -> None:
    net, *_ = given(ARCHIVES[-1], "gru_stacked.keras", tmp_path)
    first, second, third, *_, last = net.cells
    assert (first.reset_after, first.b.ndim) == (False, 1)
    assert (second.reset_after, second.b) == (True, None)
    assert (third.reset_after, third.go_backwards) == (False, True)
    assert third.b.shape == (12,)  # of the BatchNormalization below
    assert (last.activation, last.recurrent_activation) == ("relu", "hard_sigmoid")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_refused_once_is_read(version: str) -> None:
    net = read_keras(folder(version) / "refused_gru.keras")
    assert [layer.kind for layer in net] == ["GRU", "Dense"]
    assert net.n_params == 113
