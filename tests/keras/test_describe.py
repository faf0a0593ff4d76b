"""describe_keras describes a file's contents, even where read_keras refuses it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_files import VERSIONS, architecture, folder, names

import fastlrp as fl
import fastlrp.keras
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
    found = describe_keras(folder(VERSIONS[0]) / "refused_simple_rnn.h5")
    assert not found.explainable
    assert "SimpleRNN" in found.verdict
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


def test_a_file_shows_itself_as_a_table():
    found = fl.describe_keras(folder(VERSIONS[0]) / "nested.h5")
    assert repr(found) == str(found)
    page = found._repr_html_()
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    assert rows[0] == ["layer", "class", "weights", "parameters", ""]
    assert [row[3] for row in rows[1:]] == [f"{layer.n_params:,}" for layer in found.layers]
    assert any(row[0].endswith("&nbsp;&nbsp;lstm") and row[2] == "(3,16) (4,16) (16)" for row in rows)
    assert "can be explained: windows (5, 3) in" in page


def test_names_in_a_file_are_shown_as_text():
    layer = fastlrp.keras.LayerDescription("<b>\x1b[31m", "<i>", 0, ((1,),), 1, "<u>")
    found = fastlrp.keras.FileDescription("<p>.h5", "x", "<v>", (layer,), False, "<s>\x1b[0m")
    assert "\x1b" not in repr(found)
    page = found._repr_html_()
    assert "\x1b" not in page
    assert not re.search(r"<(b|i|u|v|s)>|<p>\.h5", page)


REFUSED = {  # weights of each layer, as Keras counts them, the same in every version and format
    "refused_attention": {"lstm": 128, "attention": 42, "lstm_1": 144, "dense": 5},
    "refused_conv": {"conv": None, "lstm": None, "dense": 5},
    "refused_layer_norm": {"lstm": 128, "norm": 8, "dense": 5},
    "refused_simple_rnn": {"rnn": 32, "dense": 5},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", REFUSED)
def test_weights_are_shown_where_a_network_is_refused(version: str, case: str) -> None:
    files = [name for name in names(version) if name.startswith(f"{case}.")]
    assert files
    for name in files:
        found = describe_keras(folder(version) / name)
        assert not found.explainable
        held = {layer.name: layer.n_params for layer in found.layers if layer.n_params}
        want = REFUSED[case]
        assert list(held) == list(want), name
        assert all(size in (None, held[layer]) for layer, size in want.items()), name
        assert "unknown" not in {layer.kind for layer in found.layers}
        assert str(found.n_params) in str(found).splitlines()[0]


def test_two_layers_of_a_refused_class_are_told_apart(tmp_path: Path) -> None:
    """Groups are numbered by class; from Keras 3.6 on they give the layer's name, and the name decides."""
    with h5py.File(folder(VERSIONS[0]) / "refused_simple_rnn.h5") as model:
        config = json.loads(model.attrs["model_config"])
    layers = config["config"]["layers"]
    rnn = next(layer for layer in layers if layer["class_name"] == "SimpleRNN")
    second = json.loads(json.dumps(rnn))
    second["config"]["name"] = "rnn_above"
    layers.insert(layers.index(rnn) + 1, second)
    path, arch = tmp_path / "model.weights.h5", tmp_path / "model.json"
    arch.write_text(json.dumps(config))
    for named in (False, True):
        with h5py.File(path, "w") as file:
            for group, size in (("simple_rnn", 3), ("simple_rnn_1", 4)):
                held = file.create_group(f"layers/{group}/cell/vars")
                held.create_dataset("0", data=np.zeros((size, 12), np.float32))
                if named:
                    text = "rnn" if group == "simple_rnn_1" else "rnn_above"
                    file.create_group(f"layers/{group}/vars").attrs["name"] = text
            file.create_dataset("layers/dense/vars/0", data=np.zeros((4, 1), np.float32))
            file.create_dataset("elsewhere/vars/0", data=np.zeros(7, np.float32))
        found = describe_keras(path, architecture=arch)
        held = {layer.name: layer.n_params for layer in found.layers if layer.n_params}
        first, above = (48, 36) if named else (36, 48)
        assert held == {rnn["config"]["name"]: first, "rnn_above": above, "dense": 4, "elsewhere": 7}
