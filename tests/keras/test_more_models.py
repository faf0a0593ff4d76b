"""Networks that predict at every step, other activations, rows of features and evident chains: files of real Keras.

The archives ``steps-keras-*.zip`` are made by ``scripts/make_keras_files.py --name steps-keras --only ...``.
"""

from __future__ import annotations

import functools
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from keras_files import DATA, VERSIONS, architecture, case_of, folder, forward, names, outputs, unpacked
from numpy.testing import assert_allclose

import fastlrp as fl
from fastlrp.cli import main
from fastlrp.keras import describe_keras, read_keras, write_keras

ARCHIVES = sorted(path.stem for path in DATA.glob("steps-keras-*.zip"))


@functools.cache
def keras_outputs(stem: str) -> dict[str, np.ndarray]:
    with np.load(unpacked(stem) / "outputs.npz") as archive:
        return dict(archive)


FILES = [
    (stem, path.name)
    for stem in ARCHIVES
    for path in sorted(unpacked(stem).iterdir())
    if path.suffix in (".h5", ".keras")
]
DESCRIBED = [(stem, name) for stem, name in FILES if not name.startswith("subclassed")]


def load(stem: str, name: str) -> fl.Network:
    path = unpacked(stem) / name
    json = path.with_name(f"{case_of(name)}.json")
    return read_keras(path, architecture=json if name.endswith((".weights.h5", ".legacy.h5")) else None)


def rows(X: np.ndarray) -> np.ndarray:
    """Rows of features as the reference takes them."""
    return X[:, None] if X.ndim == 2 else X


def test_both_versions_of_keras_are_covered() -> None:
    assert {stem.removeprefix("steps-keras-").split(".")[0] for stem in ARCHIVES} == {"2", "3"}


@pytest.mark.parametrize(("stem", "name"), DESCRIBED)
def test_predicts_what_keras_predicted(stem: str, name: str) -> None:
    case, found = case_of(name), keras_outputs(stem)
    X, want = found[f"{case}/input"], found[f"{case}/output"]
    got = np.asarray(load(stem, name).predict(X)).reshape(want.shape)
    assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("stem", ARCHIVES)
def test_kinds_of_models_are_recognised(stem: str) -> None:
    assert load(stem, "every_step.h5").sequence
    assert load(stem, "every_step_two_ways.keras").steps is None
    table, rows = load(stem, "rows.keras"), load(stem, "rows_sequential.h5")
    assert (table.recurrent, table.steps, table.n_features) == (False, 1, 3)
    assert rows.layers[0].activation == "silu"
    found = [(layer.activation, layer.alpha) for layer in load(stem, "curves.h5") if isinstance(layer, fl.Dense)]
    names = ["leaky_relu", "elu", "selu", "silu", "gelu", "softplus", "softsign", "exponential", "relu6"]
    assert [name for name, _ in found[:9]] == names
    assert [alpha for _, alpha in found[:9]] == [0.2, 1.0, *[None] * 7]
    assert [name for name, _ in found[9:]] == ["leaky_relu", "elu", "leaky_relu", "relu6", "leaky_relu"]
    assert [round(alpha or 0, 6) for _, alpha in found[9:]] == [0.3, 0.7, 0.1, 0, 0.05]
    described = describe_keras(unpacked(stem) / "curves.h5").layers
    notes = [one.note for one in described if one.kind in {"LeakyReLU", "ELU", "ReLU"}]
    assert notes == ["leaky_relu(0.3)", "elu(0.7)", "leaky_relu(0.1)", "relu6"]
    assert described[-1].note == "leaky_relu(0.05)"  # a Dense layer's, given to it as a layer
    assert "rows of 3 features in, 2 outputs" in describe_keras(unpacked(stem) / "rows.keras").verdict
    assert "1 output at every step" in describe_keras(unpacked(stem) / "every_step.h5").verdict


@pytest.mark.parametrize(("stem", "name"), DESCRIBED)
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_written_and_read_again_it_is_the_same(tmp_path: Path, stem: str, name: str, suffix: str) -> None:
    net = load(stem, name)
    write_keras(net, tmp_path / f"model{suffix}")
    assert read_keras(tmp_path / f"model{suffix}") == net
    weights = tmp_path / "w.weights.h5"
    if suffix == ".keras":
        weights.write_bytes(zipfile.ZipFile(tmp_path / "model.keras").read("model.weights.h5"))
        again = read_keras(weights, architecture=net)
        for one, other in zip(net, again, strict=True):
            assert getattr(one, "activation", None) == getattr(other, "activation", None)
            assert getattr(one, "alpha", None) == getattr(other, "alpha", None)


def test_an_activation_that_keras_has_no_name_for_is_not_written(tmp_path: Path) -> None:
    net = fl.Network([fl.Dense(np.ones((2, 1)), activation="gelu_tanh")])
    with pytest.raises(ValueError, match="gelu_tanh, for which Keras' files have no name"):
        write_keras(net, tmp_path / "model.keras")


# -- the evident chain -------------------------------------------------------------------------------------------------

NO_CONFIG = [(v, n) for v in VERSIONS for n in names(v) if case_of(n) in {"unusable", "subclassed"}]


@pytest.mark.parametrize(("version", "name"), NO_CONFIG)
def test_the_evident_chain_predicts_what_keras_predicted(version: str, name: str) -> None:
    assert architecture(version, name) is None
    with pytest.warns(fl.ArchitectureWarning, match=r"read as the chain LSTM\(4\) '.*', Dense\(1\) '.*', assuming"):
        net = read_keras(folder(version) / name, architecture="chain")
    found = outputs(version)
    got, want = forward(net, found[f"{case_of(name)}/input"]), found[f"{case_of(name)}/output"]
    assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("stem", ARCHIVES)
@pytest.mark.parametrize("kind", [".weights.h5", ".legacy.h5"])
def test_widths_put_layers_in_order_where_the_file_does_not(stem: str, kind: str) -> None:
    """The attributes of this model stand in the opposite order of its calls."""
    path, found = unpacked(stem) / f"subclassed_chain{kind}", keras_outputs(stem)
    if not path.exists():
        pytest.skip("Keras 3 writes no legacy weights")
    X, want = found["subclassed_chain/input"], found["subclassed_chain/output"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = read_keras(path, architecture="chain", check=(X, want))  # confirmed, so nothing is left to be warned of
    assert [layer.kind for layer in net] == ["LSTM", "LSTM", "Dense", "Dense"]
    assert [layer.return_sequences for layer in net.layers[:2]] == [True, False]


@pytest.mark.parametrize("stem", ARCHIVES)
def test_what_allows_more_than_one_reading_is_refused(stem: str) -> None:
    with pytest.raises(fl.ModelFileError, match=r"allows more than one order of its layers, .* or .*: give the arch"):
        read_keras(unpacked(stem) / "subclassed_unclear.weights.h5", architecture="chain")
    with pytest.raises(fl.ModelFileError, match=r"are those of a GRU, which shapes alone do not tell apart"):
        read_keras(unpacked(stem) / "subclassed_gru.weights.h5", architecture="chain")
    for name, words in (("bidirectional", "belong to a Bidirectional layer"), ("batchnorm", None)):
        for file in names(VERSIONS[-1]):
            if case_of(file) == name and file.endswith((".weights.h5", ".keras")):
                with pytest.raises(fl.ModelFileError, match=words or "are neither an LSTM's|belong to a Bid"):
                    read_keras(folder(VERSIONS[-1]) / file, architecture="chain")


def weights(tmp_path: Path, **groups: list[tuple[int, ...]]) -> Path:
    """A v3 file of weights of these shapes."""
    path = tmp_path / "m.weights.h5"
    with h5py.File(path, "w") as file:
        for name, shapes in groups.items():
            where = f"{name}/cell/vars" if len(shapes) > 2 else f"{name}/vars"
            for k, shape in enumerate(shapes):
                file[f"{where}/{k}"] = np.full(shape, 0.1, "f4")
    return path


LSTM4, HEAD = [(3, 16), (4, 16), (16,)], [(4, 1), (1,)]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "holds no weights, expected those of LSTM and Dense layers"),
        ({"a": [(3, 5)]}, r"'a', \(3, 5\), may be a Dense layer's without a bias or an Embedding's"),
        ({"a": [(5,), (5,)]}, r"'a', \(5,\), \(5,\), are neither an LSTM's"),
        ({"a": [(3, 16), (4, 16), (32,)]}, "are neither an LSTM's"),
        ({"a": [(3, 12), (4, 12), (12,)]}, "are those of a GRU"),
        ({"a": LSTM4, "b": [(5, 1), (1,)]}, r"layers whose widths make no chain \(.*Dense 5 to 1"),
        ({"a": LSTM4, "b": HEAD, "c": HEAD}, "make no chain"),
        (
            {"a": [(4, 4), (4,)], "b": [(4, 16), (4, 16), (16,)]},
            r"more than one order of its layers, [ab] - [ab] or [ab] - [ab]:",
        ),
        ({f"a{k}": [(4, 4), (4,)] for k in range(65)}, "holds 65 layers, more than"),
        ({"a": [(2, 3, 4)]}, "are neither"),
    ],
)
def test_shapes_that_tell_no_chain_are_refused(tmp_path: Path, groups: dict, message: str) -> None:
    with pytest.raises(fl.ModelFileError, match=message) as caught:
        read_keras(weights(tmp_path, **groups), architecture="chain")
    assert "\n" not in str(caught.value)


def test_a_search_without_end_ends(tmp_path: Path) -> None:
    """Sixty layers of one width fit in any order, but none of them fits the last."""
    groups = {f"x{k}y": [(4, 4), (4,)] for k in range(60)} | {"z": [(7, 7), (7,)]}
    with pytest.raises(fl.ModelFileError, match=r"holds 61 layers .*fit in too many orders"):
        read_keras(weights(tmp_path, **groups), architecture="chain")


def test_numbers_of_groups_give_the_order_of_equal_layers(tmp_path: Path) -> None:
    second = [(4, 16), (4, 16), (16,)]
    path = weights(tmp_path, lstm=LSTM4, lstm_1=second, lstm_2=second, dense=HEAD)
    with pytest.warns(fl.ArchitectureWarning, match=r"all LSTMs but the last.*the order in which the file has its"):
        net = read_keras(path, architecture="chain")
    assert [layer.name for layer in net] == ["lstm", "lstm_1", "lstm_2", "dense"]


def test_it_is_described_and_told_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    path = folder(VERSIONS[-1]) / "subclassed.weights.h5"
    found = describe_keras(path, architecture="chain")
    assert found.explainable
    assert "assuming tanh and sigmoid in LSTMs, linear Dense layers" in found.verdict
    assert main(["info", str(path), "--architecture", "chain"]) == 0
    assert "can be explained: windows (any, 3) in" in capsys.readouterr().out
    assert not describe_keras(path).explainable
