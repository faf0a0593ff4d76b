"""Keras files with static features, a second input: read as Keras predicts, written so that Keras does, or refused."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import reference
from helpers import TESTS, close, run_python
from keras_files import VERSIONS, case_of, folder, names, unpacked
from strategies import plain

import fastlrp as fl
from fastlrp.keras import describe_keras, read_keras, write_keras

MADE = sorted(path.stem for path in (TESTS / "data").glob("static-keras-*.zip"))


FILES = [
    (stem, name)
    for stem in MADE
    for name in sorted(zipfile.ZipFile(TESTS / "data" / f"{stem}.zip").namelist())
    if name.endswith((".h5", ".keras"))
]
READ = [(stem, name) for stem, name in FILES if not name.startswith("refused")]
REFUSED = {
    "refused_parallel": r"'(fast|slow)'.*branches|'merge' \(Concatenate\).*one chain",
    "refused_hidden": r"'embed' \(Dense\).*only what folds into that layer.*let them join as they are",
    "refused_above": r"'join' \(Concatenate\).*joins static features to a Dense layer's output.*last recurrent layer",
    "refused_each_step": r"'repeat' \(RepeatVector\)",
    "refused_three": r"'join' takes 3 inputs|'join' \(Concatenate\).*one chain|3 inputs",
    "refused_two_windows": r"2 inputs \('stock', 'other'\)|'join' \(Concatenate\).*one chain",
    "refused_unread": r"'join' \(Concatenate\).*no Dense layer reads what it joins",
}


def load(stem: str, name: str) -> fl.Network:
    alone = name.endswith((".weights.h5", ".legacy.h5"))
    return read_keras(
        unpacked(stem) / name, architecture=unpacked(stem) / f"{case_of(name)}.json" if alone else None
    )  # fmt: skip


def predicted(net: fl.Network, X: np.ndarray, S: np.ndarray) -> np.ndarray:
    return np.stack([reference.predict(plain(net), x, s) for x, s in zip(X, S, strict=True)])


def test_two_versions_at_least_are_covered() -> None:
    assert len(MADE) >= 2
    assert MADE[0].startswith("static-keras-2.")


@pytest.mark.parametrize(("stem", "name"), READ)
def test_predicts_what_keras_predicted(stem: str, name: str) -> None:
    with np.load(unpacked(stem) / "outputs.npz") as found:
        X, S, want = (found[f"{case_of(name)}/{key}"] for key in ("X", "S", "output"))
    net = load(stem, name)
    assert (net.n_features, net.n_static, net.steps) == (3, 2, 5)
    close(predicted(net, X, S), want, 1e-6, max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("stem", MADE)
def test_the_kernels_predict_it_too_and_a_check_takes_pairs(stem: str) -> None:
    with np.load(unpacked(stem) / "outputs.npz") as found:
        X, S, want = (found[f"static_first/{key}"] for key in ("X", "S", "output"))
    path = unpacked(stem) / "static_first.h5"
    close(load(stem, "static_first.h5").predict([X, S]), want, 1e-6)
    assert read_keras(path, check=([X, S], want)).n_static == 2
    with pytest.raises(fl.ModelFileError, match="predicts otherwise"):
        read_keras(path, check=([X, -S], want))


@pytest.mark.parametrize(("version", "name"), [(v, n) for v in VERSIONS for n in names(v) if "two_inputs" in n])
def test_files_of_every_version_are_read(version: str, name: str) -> None:
    net = read_keras(folder(version) / name)
    assert (net.n_static, [layer.kind for layer in net]) == (2, ["LSTM", "Dense"])


@pytest.mark.parametrize(("stem", "name"), [(stem, name) for stem, name in FILES if name.startswith("refused")])
def test_what_is_more_general_is_refused_in_a_sentence(stem: str, name: str) -> None:
    path = unpacked(stem) / name
    with pytest.raises(fl.ModelFileError, match=REFUSED[case_of(name)]) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not describe_keras(path).explainable


def a_network(**names: Any) -> fl.Network:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype("f4") for shape in ((3, 16), (4, 16), (16,), (6, 5), (5,), (5, 2))]
    lstm = fl.LSTM(*arrays[:3], name="lstm")
    head = [fl.Dense(*arrays[3:5], activation="tanh", name="static"), fl.Dense(arrays[5], name="dense")]
    return fl.Network([lstm, fl.Dropout(0.25, "drop"), *head], **{"static": 2, **names})


NAMED = {"steps": 5, "features": ["a", "b", "c"], "static": ["tech", "log size"], "outputs": ["up", "down"]}


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("names", [{}, NAMED])
def test_what_is_written_comes_back_the_same(suffix: str, names: dict[str, Any], tmp_path: Path) -> None:
    path, net = tmp_path / f"model{suffix}", a_network(**names)
    write_keras(net, path)
    back = read_keras(path)
    assert back.replaced(layers=net.layers, name=None) == net
    assert [layer.name for layer in back] == ["lstm", "drop", "static_1", "dense"]  # "static" is the input
    for one, two in zip(back, net, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.arrays, two.arrays, strict=True))
    assert read_keras(path, architecture=net).static == net.static
    described = describe_keras(path)
    assert described.explainable
    assert "2 static features in" in described.verdict
    assert described.static == net.static
    if names:
        assert "static features, in this order: tech, log size" in str(described)
        assert "static features, in this order: tech, log size" in described._repr_html_()
    assert {layer.name: layer.note for layer in described.layers}["concatenate"] == "joins static features"


def test_an_ensemble_is_a_folder(tmp_path: Path) -> None:
    nets = fl.Ensemble([a_network(**NAMED), a_network(**NAMED)])
    write_keras(nets, tmp_path / "nets")
    assert read_keras(tmp_path / "nets").static == ("tech", "log size")


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_real_keras_predicts_the_same(suffix: str, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("keras")
    if spec is None or spec.origin is None:
        pytest.skip("Keras is not installed here")
    net, rng = a_network(**NAMED), np.random.default_rng(1)
    X, S = rng.normal(size=(6, 5, 3)).astype("f4"), rng.normal(size=(6, 2)).astype("f4")
    write_keras(net, tmp_path / f"model{suffix}")
    np.savez(tmp_path / "given.npz", X=X, S=S)
    code = (
        f"import keras, numpy as np; given = np.load({str(tmp_path / 'given.npz')!r}); "
        f"model = keras.models.load_model({str(tmp_path / f'model{suffix}')!r}, compile=False); "
        f"np.save({str(tmp_path / 'found.npy')!r}, model.predict([given['X'], given['S']], verbose=0))"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    close(np.load(tmp_path / "found.npy"), predicted(net, X, S), 1e-6)


def changed(tmp_path: Path, change: Any) -> Path:
    """A file with another configuration."""
    path = tmp_path / "model.h5"
    write_keras(a_network(**NAMED), path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["config"]["name"]: layer for layer in config["config"]["layers"]}, config["config"])
        file.attrs["model_config"] = json.dumps(config)
    return path


HOSTILE = {
    "a static input of no size": lambda at, _: at["static"]["config"].update(batch_input_shape=[None, None]),
    "a static input of three axes": lambda at, _: at["static"]["config"].update(batch_input_shape=[None, 5, 2]),
    "a static input of another size": lambda at, _: at["static"]["config"].update(batch_input_shape=[None, 3]),
    "a shape that is none": lambda at, _: at["static"]["config"].update(batch_input_shape={"a": 1}),
    "an axis that is none": lambda at, _: at["concatenate"]["config"].update(axis="last"),
    "the steps' axis": lambda at, _: at["concatenate"]["config"].update(axis=0),
    "a join of itself": lambda at, _: at["concatenate"].update(
        inbound_nodes=[[["concatenate", 0, 0, {}], ["static", 0, 0, {}]]]
    ),
    "a join of the same twice": lambda at, _: at["concatenate"].update(
        inbound_nodes=[[["static", 0, 0, {}], ["static", 0, 0, {}]]]
    ),
    "a join of windows alone": lambda at, _: at["concatenate"].update(
        inbound_nodes=[[["drop", 0, 0, {}], ["features", 0, 0, {}]]]
    ),
    "a missing input": lambda at, config: config.update(input_layers=[["features", 0, 0], ["gone", 0, 0]]),
    "one input": lambda at, config: config.update(input_layers=[["features", 0, 0]]),
    "a thousand inputs": lambda at, config: config.update(input_layers=[["features", 0, 0]] * 1000),
    "no list of inputs": lambda at, config: config.update(input_layers=7),
    "text as tensors": lambda at, _: at["concatenate"].update(inbound_nodes=["features", "static"]),
    "an operation for a join": lambda at, _: at["concatenate"].update(class_name="Lambda"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    path = changed(tmp_path, HOSTILE[kind])
    with pytest.raises(fl.ModelFileError) as caught:
        read_keras(path)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    assert caught.value.__cause__ is None, f"an unforeseen error: {text}"


@pytest.mark.parametrize(
    ("names", "words"),
    [('["a", "tech"]', "'a', which is one of its features"), ('["tech"]', "has 1 name, expected 2"),
     ("7", "a json list")],
)  # fmt: skip
def test_names_that_do_not_fit_are_refused(names: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    write_keras(a_network(**NAMED), path)
    with h5py.File(path, "r+") as file:
        file.attrs["fastlrp_static"] = names
    with pytest.raises(fl.ModelFileError, match=words):
        read_keras(path)
