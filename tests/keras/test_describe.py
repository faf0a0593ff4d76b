"""describe_keras says what is inside, also where read_keras refuses."""

from __future__ import annotations

import numpy as np
import pytest
from keras_files import VERSIONS, architecture, folder, names

import fastlrp as fl
from fastlrp.keras import describe_keras, read_keras


@pytest.mark.parametrize("version", VERSIONS)
def test_agrees_with_read_keras_on_every_file(version: str) -> None:
    for name in names(version):
        path, arch = folder(version) / name, architecture(version, name)
        try:
            network: fl.Network | None = read_keras(path, architecture=arch)
        except fl.ModelFileError:
            network = None
        found = describe_keras(path, architecture=arch)
        assert found.explainable == (network is not None), name
        assert found.layers, name
        assert str(path) in str(found)
        if name.endswith(".keras") or (name.endswith(".h5") and "weights" not in name and "legacy" not in name):
            assert found.version.startswith(version)
        if network is not None and not name.startswith(("batchnorm", "normalization", "nested", "frozen", "cudnn")):
            assert found.n_params == network.n_params, name


def test_a_table_that_a_person_can_read() -> None:
    text = str(describe_keras(folder(VERSIONS[0]) / "nested.h5"))
    lines = text.splitlines()
    assert "whole model (legacy .h5), Keras 2." in lines[0]
    assert any(line.startswith("    lstm ") and "(3,16) (4,16) (16)" in line and "128" in line for line in lines)
    assert any("batch_normalization" in line and "folded" in line for line in lines)
    assert lines[-1] == "can be explained: windows (5, 3) in, 1 output, float32"


def test_inputs_are_listed_in_their_order_where_the_file_names_them(tmp_path) -> None:
    names = [f"factor {j}" for j in range(20, 0, -1)]
    net = fl.Network([fl.LSTM(np.ones((20, 4)), np.ones((1, 4))), fl.Dense(np.ones((1, 1)))], features=names)
    for path in (tmp_path / "model.h5", tmp_path / "model.keras"):
        fl.write_keras(net, path)
        found = describe_keras(path)
        assert found.features == tuple(names)
        table, listed = str(found).split("inputs, in this order: ")
        assert table.splitlines()[-1] == "can be explained: windows (any, 20) in, 1 output, float64"
        assert " ".join(listed.split()) == ", ".join(names)
        assert max(map(len, str(found).splitlines()[-3:])) <= 100
    assert describe_keras(folder(VERSIONS[0]) / "nested.h5").features is None


def test_says_which_layer_is_in_the_way() -> None:
    found = describe_keras(folder(VERSIONS[0]) / "refused_gru.keras")
    assert not found.explainable
    assert "GRU" in found.verdict
    assert [layer.note.startswith("not explained") for layer in found.layers] == [False, True, False]


def test_lists_weights_without_a_config_and_takes_an_architecture() -> None:
    path = folder(VERSIONS[-1]) / "subclassed.weights.h5"
    found = describe_keras(path)
    assert {shape for layer in found.layers for shape in layer.shapes} == {(3, 16), (4, 16), (16,), (4, 1), (1,)}
    assert "architecture=" in found.verdict
    layers = [fl.LSTM(np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(16)), fl.Dense(np.zeros((4, 1)), np.zeros(1))]
    assert describe_keras(path, architecture=fl.Network(layers)).explainable


def test_a_broken_file_is_an_error(tmp_path) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(b"not a model")
    with pytest.raises(fl.ModelFileError, match="not a Keras file"):
        describe_keras(path)
