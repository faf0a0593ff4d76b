"""Layouts of versions that no longer install: real files from tf.keras 2.15, rewritten as those versions wrote them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_files import folder, forward, outputs
from numpy.testing import assert_allclose

import fastlrp as fl
from fastlrp.keras import read_keras

OLD = "2.15"


def rewritten(tmp_path: Path, name: str, edit: Callable[[h5py.File, dict[str, Any]], None]) -> Path:
    path = tmp_path / name
    path.write_bytes((folder(OLD) / name).read_bytes())
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(file, config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def check(path: Path, case: str) -> fl.Network:
    net, found = read_keras(path), outputs(OLD)
    want = found[f"{case}/output"]
    assert_allclose(forward(net, found[f"{case}/input"]), want, rtol=0, atol=1e-6 * np.abs(want).max())
    return net


def rename_weights(file: h5py.File, rename: Callable[[str], str], kind: str = "fixed") -> None:
    """Give the weights other names, as fixed-length bytes (h5py 2) or as texts."""
    root = file["model_weights"]
    for group in root.values():
        names = [name.decode() if isinstance(name, bytes) else name for name in group.attrs["weight_names"]]
        for name in names:
            if rename(name) != name:
                group.move(name, rename(name))
        new = [rename(name) for name in names]
        group.attrs["weight_names"] = np.array([n.encode() for n in new]) if kind == "fixed" and new else new


def test_names_of_keras_2_3_in_bytes(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        rename_weights(file, lambda name: name.replace("lstm_cell/", ""))
        layers = [name.encode() for name in file["model_weights"].attrs["layer_names"]]
        file["model_weights"].attrs["layer_names"] = np.array(layers)
        file.attrs["keras_version"] = np.bytes_(b"2.3.1")
        config["class_name"] = "Model"

    check(rewritten(tmp_path, "stacked.h5", edit), "stacked")


def test_names_of_keras_3_0(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        rename_weights(file, lambda name: name.rsplit("/", 1)[-1].split(":")[0], "text")

    check(rewritten(tmp_path, "stacked.h5", edit), "stacked")


def test_long_lists_of_names_are_split(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        root = file["model_weights"]
        names = list(root.attrs["layer_names"])
        del root.attrs["layer_names"]
        root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:3], names[3:]

    check(rewritten(tmp_path, "stacked.h5", edit), "stacked")


def test_a_sequential_that_is_a_bare_list(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        config["config"] = config["config"]["layers"]

    check(rewritten(tmp_path, "sequential.h5", edit), "sequential")


def test_a_sequential_without_an_input_shape(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        config["config"]["layers"] = config["config"]["layers"][1:]
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)

    net = check(rewritten(tmp_path, "sequential.h5", edit), "sequential")
    assert (net.steps, net.n_features) == (None, 3)


def test_dropouts_that_only_the_nodes_name(tmp_path: Path) -> None:
    """Custom models before 2.12 left out their Dropout layers; the next layer still gives their names."""

    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        config["class_name"] = "CustomModel"
        config["config"]["layers"] = [x for x in config["config"]["layers"] if x["class_name"] != "Dropout"]

    net = check(rewritten(tmp_path, "functional.h5", edit), "functional")
    assert [layer.kind for layer in net] == ["LSTM", "Dropout", "Dense"]


def test_another_missing_layer_is_not_guessed(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        text = json.dumps(config["config"]["layers"]).replace('"dropout"', '"relu"')
        config["config"]["layers"] = [x for x in json.loads(text) if x["class_name"] != "Dropout"]

    with pytest.raises(fl.ModelFileError, match="'relu', which is missing"):
        read_keras(rewritten(tmp_path, "functional.h5", edit))


def test_flat_ends_of_keras_3_12(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        for key in ("input_layers", "output_layers"):
            config["config"][key] = config["config"][key][0]

    check(rewritten(tmp_path, "functional.h5", edit), "functional")


def test_compressed_by_h5repack(tmp_path: Path) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        found: list[str] = []
        file.visititems(
            lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim == 2 else None
        )
        for name in found:
            values = file[name][()]
            del file[name]
            file.create_dataset(name, data=values, compression="gzip", shuffle=True)

    check(rewritten(tmp_path, "functional.h5", edit), "functional")


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2"])
def test_byte_orders_and_widths(tmp_path: Path, dtype: str) -> None:
    def edit(file: h5py.File, config: dict[str, Any]) -> None:
        values = file["model_weights/dense/dense/kernel:0"][()]
        del file["model_weights/dense/dense/kernel:0"]
        file["model_weights/dense/dense/kernel:0"] = np.round(values * 64).astype(dtype) / np.dtype(dtype).type(64)

    net = read_keras(rewritten(tmp_path, "functional.h5", edit))
    assert net.layers[-1].arrays[0].dtype == ("float64" if dtype == ">f8" else "float32")
    assert net.layers[-1].arrays[0].dtype.isnative
