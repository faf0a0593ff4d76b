"""read_keras predicts what Keras predicts, on files that real versions of Keras wrote (scripts/make_keras_files.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files import VERSIONS, architecture, case_of, folder, forward, names, outputs, zeroed
from numpy.testing import assert_allclose, assert_array_equal

import fastlrp as fl
from fastlrp.keras import read_keras

#: Keras computes these in half precision; fastlrp widens their weights, so it is more exact.
HALVES = {"float16": 3e-3, "mixed_float16": 3e-3, "bfloat16": 2e-2}
NO_CONFIG = {"unusable", "subclassed"}
READ = [
    (version, name)
    for version in VERSIONS
    for name in names(version)
    if not name.startswith("refused") and case_of(name) not in NO_CONFIG
]
#: Cases where, after some layer, fastlrp has already done Keras' next layer, or passes on less.
FOLDED = {"batchnorm", "identities", "activations", "last_state"}

REFUSED = {
    "refused_simple_rnn": r"'rnn' \(SimpleRNN\).*LSTM and GRU are explained",
    "refused_conv": r"'conv' \(Conv1D\).*convolutions",
    "refused_lambda": r"'twice' \(Lambda\).*never run",
    "refused_attention": r"'attention' \(MultiHeadAttention\).*attention",
    "refused_two_outputs": r"2 outputs \('mean', 'risk'\).*keras.Model",
    "refused_branch": r"'add' \(Add\).*train the model as one chain",
    "refused_flatten": r"'flat' \(Flatten\).*return_sequences=False",
    "refused_activation": r"'hidden' \(Dense\).*'mish'.*expected one of tanh",
    "refused_initial_state": r"'decoder' .*(initial_state|3 inputs)",
    "refused_layer_norm": r"'norm' \(LayerNormalization\).*BatchNormalization",
    "refused_no_lstm": r"takes windows of steps but has no recurrent layer, expected rows of features",
}
#: Files of older archives that were refused when they were made; their cases are other models since.
READ_SINCE = {"refused_sequence_output", "refused_activation", "refused_no_lstm"}


def load(version: str, name: str) -> fl.Network:
    return read_keras(folder(version) / name, architecture=architecture(version, name))


def tolerance(case: str) -> float:
    return HALVES.get(case, 1e-6)


def test_three_versions_at_least_are_covered() -> None:
    assert len(VERSIONS) >= 3
    assert VERSIONS[0].startswith("2.")


@pytest.mark.parametrize(("version", "name"), READ)
def test_predicts_what_keras_predicted(version: str, name: str) -> None:
    case, found = case_of(name), outputs(version)
    net = load(version, name)
    got, want = forward(net, found[f"{case}/input"]), found[f"{case}/output"]
    assert_allclose(got, want, rtol=0, atol=tolerance(case) * np.abs(want).max())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_layer_gives_what_keras_gave(version: str) -> None:
    found, compared = outputs(version), 0
    for case in sorted({case_of(name) for v, name in READ if v == version} - FOLDED):
        name = next(n for v, n in READ if v == version and case_of(n) == case)
        net = load(version, name)
        for k, layer in enumerate(net, 1):
            want = found.get(f"{case}/{layer.name}")
            if want is not None:
                got = forward(net.layers[:k], found[f"{case}/input"])
                assert_allclose(
                    got, want, rtol=0, atol=tolerance(case) * np.abs(want).max(), err_msg=f"{case} {layer.name}"
                )
                compared += 1
    assert compared >= 30


@pytest.mark.parametrize("version", VERSIONS)
def test_the_kernels_predict_it_too(version: str) -> None:
    found = outputs(version)
    for case in (
        "functional",
        "stacked",
        "bidirectional",
        "activations",
        "options",
        "batchnorm",
        "normalization",
        "float64",
    ):
        net, X, want = load(version, f"{case}.keras"), found[f"{case}/input"], found[f"{case}/output"]
        got = np.asarray(net.predict(X)).reshape(want.shape)
        scale = max(1.0, np.abs(want).max())  # both are float32: terms that cancel below the output leave rounding
        assert_allclose(got, want, rtol=0, atol=1e-6 * scale, err_msg=case)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_format_of_a_model_gives_the_same_bits(version: str) -> None:
    for case in {case_of(name) for v, name in READ if v == version}:
        nets = [load(version, name) for v, name in READ if v == version and case_of(name) == case]
        for other in nets[1:]:
            for one, two in zip(nets[0], other, strict=True):
                for a, b in zip(one.arrays, two.arrays, strict=True):
                    assert_array_equal(a, b)


def test_what_a_network_is_called_and_takes() -> None:
    net = load(VERSIONS[0], "functional.h5")
    assert [layer.name for layer in net] == ["lstm", "dropout", "dense"]
    assert (net.name, net.steps, net.n_features, net.n_outputs) == ("factor", 5, 3, 1)
    assert net.layers[1] == fl.Dropout(0.2, "dropout")
    assert load(VERSIONS[0], "sequential.h5").steps is None


@pytest.mark.parametrize("version", VERSIONS)
def test_options_arrive(version: str) -> None:
    gate = "hard_sigmoid_keras2" if version.startswith("2.") else "hard_sigmoid"
    first, second, third, dense, *_ = load(version, "activations.keras")
    assert first.recurrent_activation == gate
    assert (second.activation, second.recurrent_activation) == ("relu", "tanh")
    assert third.activation == "linear"
    assert dense.activation == "relu"
    backwards, *_ = load(version, "options.keras")
    assert (backwards.go_backwards, backwards.return_sequences, backwards.b) == (True, True, None)
    modes = [layer.merge_mode for layer in load(version, "bidirectional.keras") if isinstance(layer, fl.Bidirectional)]
    assert modes == ["concat", "sum", "ave"]


@pytest.mark.parametrize("version", VERSIONS)
def test_precision_is_that_of_the_file(version: str) -> None:
    for case, dtype in {
        "float64": "float64",
        "functional": "float32",
        "float16": "float32",
        "mixed_float16": "float32",
    }.items():
        assert load(version, f"{case}.keras").dtype == dtype


#: Masking was refused when these archives were made.
STILL = [(v, n) for v in VERSIONS for n in names(v) if case_of(n) in REFUSED and case_of(n) != "refused_masking"]


@pytest.mark.parametrize(("version", "name"), STILL)
def test_refused_by_name_with_what_to_do(version: str, name: str) -> None:
    path = folder(version) / name
    if case_of(name) in READ_SINCE and json.loads((folder(version) / "version.json").read_text())["keras"]:
        assert read_keras(path).n_features == 3
        return
    with pytest.raises(fl.ModelFileError, match=REFUSED[case_of(name)]) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# -- architecture= -----------------------------------------------------------------------------------------------------

LAYERS = [fl.LSTM(np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(16)), fl.Dense(np.zeros((4, 1)), np.zeros(1))]
WEIGHTS_ONLY = [(v, n) for v, n in READ if n.endswith((".weights.h5", ".legacy.h5"))]


@pytest.mark.parametrize(("version", "name"), [(v, n) for v in VERSIONS for n in names(v) if case_of(n) in NO_CONFIG])
def test_models_without_a_usable_config_need_an_architecture(version: str, name: str) -> None:
    with pytest.raises(fl.ModelFileError, match=r"\(3, 16\).*pass architecture="):
        read_keras(folder(version) / name)
    net = read_keras(folder(version) / name, architecture=fl.Network(LAYERS, steps=5))
    want = outputs(version)[f"{case_of(name)}/output"]
    got = forward(net, outputs(version)[f"{case_of(name)}/input"])
    assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(("version", "name"), WEIGHTS_ONLY)
def test_weights_alone_are_refused_without_one(version: str, name: str) -> None:
    with pytest.raises(fl.ModelFileError, match=r"weights alone.*pass architecture="):
        read_keras(folder(version) / name)


@pytest.mark.parametrize(
    ("version", "name"),
    [(v, n) for v, n in WEIGHTS_ONLY if case_of(n) in {"functional", "sequential", "stacked", "bidirectional"}],
)
def test_a_network_is_an_architecture(version: str, name: str) -> None:
    whole = load(version, name)
    net = read_keras(folder(version) / name, architecture=zeroed(whole))
    assert [layer.arrays for layer in net] != []
    for one, other in zip(whole, net, strict=True):
        for a, b in zip(one.arrays, other.arrays, strict=True):
            assert_array_equal(a, b)


def test_architecture_as_text_dict_and_path() -> None:
    version = VERSIONS[-1]
    path, text = (
        folder(version) / "functional.weights.h5",
        (folder(version) / "functional.json").read_text(encoding="utf-8"),
    )
    nets = [read_keras(path, architecture=a) for a in (text, json.loads(text), folder(version) / "functional.json")]
    assert nets[0] == nets[1] == nets[2]


@pytest.mark.parametrize("bad", ["{", "[]", '{"a": 1}', 7, "no such file.json", '{"class_name": "LSTM", "config": {}}'])
def test_bad_architectures(bad: Any) -> None:
    with pytest.raises(fl.ModelFileError, match="architecture="):
        read_keras(folder(VERSIONS[-1]) / "functional.weights.h5", architecture=bad)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_architecture_that_does_not_fit(version: str) -> None:
    wide = fl.Network(
        [fl.LSTM(np.zeros((3, 20)), np.zeros((5, 20)), np.zeros(20)), fl.Dense(np.zeros((5, 1)), np.zeros(1))]
    )
    deep = fl.Network(
        [
            fl.LSTM(np.zeros((3, 16)), np.zeros((4, 16)), np.zeros(16), return_sequences=True),
            fl.LSTM(np.zeros((4, 16)), np.zeros((4, 16)), np.zeros(16)),
            fl.Dense(np.zeros((4, 1)), np.zeros(1)),
        ]
    )
    for architecture_ in (wide, deep):
        for name in names(version):
            if case_of(name) == "functional":
                with pytest.raises(fl.ModelFileError, match="functional"):
                    read_keras(folder(version) / name, architecture=architecture_)


def test_a_nested_legacy_file_is_not_guessed_from_a_network() -> None:
    inner = [
        fl.LSTM(np.zeros((D, 4 * H)), np.zeros((H, 4 * H)), np.zeros(4 * H), return_sequences=s)
        for D, H, s in ((3, 3, True), (3, 4, True), (4, 4, False))
    ]
    path = folder("2.15") / "frozen.legacy.h5"
    with pytest.raises(fl.ModelFileError, match="json"):
        read_keras(path, architecture=fl.Network([*inner, fl.Dense(np.zeros((4, 1)), np.zeros(1))]))


# -- check= ------------------------------------------------------------------------------------------------------------


def test_check_passes_and_fails() -> None:
    version = VERSIONS[0]
    path, found = folder(version) / "functional.h5", outputs(version)
    X, want = found["functional/input"], found["functional/output"]
    assert read_keras(path, check=(X, want)) == read_keras(path, check=(X, want[:, 0]))
    with pytest.raises(fl.ModelFileError, match=r"predicts otherwise.*largest difference"):
        read_keras(path, check=(X, want + 0.01))
    with pytest.raises(fl.ModelFileError, match="expects"):
        read_keras(path, check=(X, want[:2]))
    with pytest.raises(ValueError, match="takes a pair"):
        read_keras(path, check=X)  # type: ignore[arg-type]


# -- folding -----------------------------------------------------------------------------------------------------------


def test_folding_keeps_far_inputs_exact(tmp_path: Path) -> None:
    """A mean far from zero would cancel in float32 once it is folded into the bias, so such layers become float64."""
    config = json.loads((folder(VERSIONS[-1]) / "normalization.json").read_text(encoding="utf-8"))
    rescaling = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Rescaling")
    rescaling["config"]["offset"] = 1e4
    net = read_keras(folder(VERSIONS[-1]) / "normalization.weights.h5", architecture=config)
    assert net.dtype == np.float64


# -- without Keras -----------------------------------------------------------------------------------------------------


def test_nothing_heavy_is_imported() -> None:
    path = folder(VERSIONS[0]) / "functional.h5"
    code = (
        "import sys, fastlrp.keras\n"
        "assert 'h5py' not in sys.modules, 'h5py is imported before it is needed'\n"
        f"fastlrp.keras.read_keras({str(path)!r})\n"
        "assert not {'keras', 'tensorflow', 'torch', 'jax', 'pickle5'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(fl.__file__).parents[1])
