"""write_keras: read_keras reads its files back bit for bit, and real Keras, if installed, predicts the same."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_files import VERSIONS, case_of, folder, names

import fastlrp as fl
from fastlrp.keras import describe_keras, read_keras, write_keras

ROOT = Path(fl.__file__).parents[1]
MODELS = [
    (version, name)
    for version in VERSIONS
    for name in names(version)
    if name.endswith(".keras") and not name.startswith("refused") and case_of(name) not in {"unusable", "subclassed"}
]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(("version", "name"), MODELS)
def test_what_was_read_comes_back_the_same(tmp_path: Path, version: str, name: str, suffix: str) -> None:
    net, path = read_keras(folder(version) / name), tmp_path / f"model{suffix}"
    if suffix == ".keras" and any(getattr(layer, "recurrent_activation", "") == "hard_sigmoid_keras2" for layer in net):
        with pytest.raises(ValueError, match=r"Keras 2's hard_sigmoid.*\.h5"):
            write_keras(net, path)
        assert not path.exists()
        return
    write_keras(net, path)
    assert read_keras(path) == net


@st.composite
def drawn(draw: st.DrawFn) -> fl.Network:
    """Networks of every shape."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    gate = draw(st.sampled_from(["hard_sigmoid", "hard_sigmoid_keras2"]))
    activations = ["tanh", "sigmoid", "relu", "linear", gate]
    width = features = draw(st.integers(1, 4))

    def cell(kind: str, sequences: bool, name: str | None = None) -> fl.LSTM | fl.GRU:
        units, gates, after = draw_units, 4 * draw_units if kind == "lstm" else 3 * draw_units, draw(st.booleans())
        bias = (2, gates) if kind == "gru" and after else (gates,)
        arrays = [rng.normal(size=shape).astype(dtype) for shape in ((width, gates), (units, gates), bias)]
        b = arrays[2] if draw(st.booleans()) else None
        acts = draw(st.sampled_from(activations)), draw(st.sampled_from(activations))
        if kind == "gru":
            return fl.GRU(arrays[0], arrays[1], b, after, sequences, False, *acts, name=name)
        return fl.LSTM(arrays[0], arrays[1], b, sequences, False, *acts, name=name)

    layers: list[Any] = []
    depth = draw(st.integers(1, 3))
    for i in range(depth):
        draw_units, sequences, name = draw(st.integers(1, 3)), i < depth - 1, f"layer_{i}"
        kind = draw(st.sampled_from(["lstm", "gru"]))
        if draw(st.booleans()):
            mode = draw(st.sampled_from(["concat", "sum", "ave"]))
            layers.append(fl.Bidirectional(cell(kind, sequences, name), cell(kind, sequences, name), mode, name))
        else:
            layers.append(cell(kind, sequences, name))
        width = layers[-1].n_outputs
        if draw(st.booleans()):
            layers.append(fl.Dropout(0.25, f"dropout_{i}"))
    head = rng.normal(size=(width, 2)).astype(dtype)
    layers.append(fl.Dense(head, activation=draw(st.sampled_from([*activations, "softmax"])), name="head"))
    text = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from("\n\t"), max_size=30)

    def called(size: int) -> list[str] | None:
        return draw(st.none() | st.lists(text, min_size=size, max_size=size, unique=True))

    steps = draw(st.none() | st.integers(1, 6))
    return fl.Network(layers, steps=steps, features=called(features), outputs=called(2), name="drawn")


@settings(max_examples=40)
@given(net=drawn())
def test_any_network_comes_back_the_same(tmp_path_factory: pytest.TempPathFactory, net: fl.Network) -> None:
    for suffix in (".h5", ".keras"):
        path = tmp_path_factory.mktemp("written") / f"model{suffix}"
        used = {part for layer in net for part in _activations(layer)}
        if suffix == ".keras" and "hard_sigmoid_keras2" in used:
            continue  # no .keras file can express this, as tested above
        write_keras(net, path)
        assert read_keras(path) == net
        assert describe_keras(path).n_params == net.n_params


def _activations(layer: Any) -> list[Any]:
    parts = [layer.forward, layer.backward] if isinstance(layer, fl.Bidirectional) else [layer]
    return [getattr(part, key, None) for part in parts for key in ("activation", "recurrent_activation")]


def _net(**options: Any) -> fl.Network:
    return fl.Network([fl.LSTM(np.ones((2, 4)), np.ones((1, 4)), **options), fl.Dense(np.ones((1, 1)))])


def test_layers_without_or_with_the_same_names(tmp_path: Path) -> None:
    lstm = fl.LSTM(np.ones((2, 4)), np.ones((1, 4)), name="a/b")
    dense = fl.Dense(np.ones((1, 1)))
    write_keras(fl.Network([lstm, dense, dense, fl.Dropout(0.5)]), tmp_path / "m.keras")
    assert [layer.name for layer in read_keras(tmp_path / "m.keras")] == ["a_b", "dense", "dense_1", "dropout"]


def test_the_same_network_is_the_same_bytes(tmp_path: Path) -> None:
    for path in ("a.keras", "b.keras"):
        write_keras(_net(), tmp_path / path)
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_names_come_back_and_can_be_given_or_changed_on_reading(tmp_path: Path, suffix: str) -> None:
    path, net = tmp_path / f"model{suffix}", _net()
    write_keras(net, path)
    assert read_keras(path).features is None
    assert read_keras(path, features=["beta", "size"]).features == ("beta", "size")
    named = fl.Network(net.layers, features=["beta", "größe, log"], outputs=["return"])
    write_keras(named, path)
    assert (read_keras(path).features, read_keras(path).outputs) == (("beta", "größe, log"), ("return",))
    assert read_keras(path, features=["beta", "size"]).features == ("beta", "size")
    assert read_keras(path, architecture=net).features == named.features
    renamed = fl.Network(net.layers, features=["beta", "size"], outputs=["y"])
    assert read_keras(path, architecture=renamed).features == ("beta", "size")
    for wrong, words in [
        (["beta"], "features has 1 name.* expected 2"),
        (["x", "x"], "features names 'x' twice"),
        (["größe, log", "beta"], "input 0 would be called 'größe, log', which is the network's input 1"),
    ]:
        with pytest.raises(ValueError, match=words) as caught:
            read_keras(path, features=wrong)
        assert not isinstance(caught.value, fl.ModelFileError)  # the file itself is correct


def test_more_names_than_an_attribute_of_hdf5_holds(tmp_path: Path) -> None:
    """HDF5 would refuse an array of texts from 64 KiB on."""
    names = [f"characteristic number {j} of a very wide panel" for j in range(4000)]
    net = fl.Network([fl.LSTM(np.ones((4000, 4), "f4"), np.ones((1, 4), "f4")), fl.Dense(np.ones((1, 1), "f4"))])
    for suffix in (".h5", ".keras"):
        write_keras(net.with_features(names), tmp_path / f"model{suffix}")
        assert read_keras(tmp_path / f"model{suffix}").features == tuple(names)


def test_names_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    for name in ("a\x1b[31m", "\0", "\ud800"):
        with pytest.raises(ValueError, match="holds a control character, which is not written") as caught:
            write_keras(_net().with_features(["beta", name]), tmp_path / "model.keras")
        assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match="names take 5 MB, more than is written"):
        write_keras(_net().with_features(["beta", "x" * 5_000_000]), tmp_path / "model.h5")
    assert not list(tmp_path.iterdir())


def test_bad_paths_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.h5 or \.keras, not .*model.onnx"):
        write_keras(_net(), tmp_path / "model.onnx")
    with pytest.raises(fl.ModelFileError, match="cannot be written"):
        write_keras(_net(), tmp_path / "absent" / "model.h5")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(fl.ModelFileError, match="cannot be written"):
        write_keras(_net(), tmp_path / "folder.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.h5"]


def test_a_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.h5"
    write_keras(_net(), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(fl.ModelFileError, match="No space left"):
        write_keras(_net(recurrent_activation="tanh"), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.h5"]


def test_mixed_hard_sigmoids_are_refused(tmp_path: Path) -> None:
    net = fl.Network([fl.LSTM(np.ones((2, 4)), np.ones((1, 4)), recurrent_activation="hard_sigmoid"),
                      fl.Dense(np.ones((1, 1)), activation="hard_sigmoid_keras2")])  # fmt: skip
    with pytest.raises(ValueError, match="both as Keras 2 and as Keras 3"):
        write_keras(net, tmp_path / "model.h5")


def test_real_keras_predicts_the_same() -> None:
    spec = importlib.util.find_spec("keras")
    if spec is None or spec.origin is None:
        pytest.skip("Keras is not installed here; scripts/check_written_keras.py makes this check where it is")
    done = subprocess.run(
        [sys.executable, "scripts/check_written_keras.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
