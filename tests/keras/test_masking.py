"""Masking layers of Keras' files: what Keras predicts for windows with masked steps, and what is refused.

The files are those of ``scripts/make_keras_files.py --name masks-keras``; their windows have masked steps first, last,
in between and throughout.
"""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from helpers import TESTS
from keras_files import VERSIONS, folder
from numpy.testing import assert_allclose

import fastlrp as fl
from fastlrp.keras import describe_keras, read_keras, write_keras

ARCHIVES = sorted((TESTS / "data").glob("masks-keras-*.zip"))
CASES = ["masking", "masking_sequential", "masking_stacked", "masking_bidirectional", "masking_nested"]
ENDS = [".h5", ".keras", ".weights.h5", ".legacy.h5"]
VALUE = np.float32(-99.9)


def files(archive, case):
    with zipfile.ZipFile(archive) as bundle:
        return [name for name in bundle.namelist() if name in {case + end for end in ENDS}]


def unpacked(archive, folder):
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(folder)
        with np.load(io.BytesIO(bundle.read("outputs.npz"))) as found:
            return dict(found)


def test_files_of_both_kerases_are_there():
    assert {archive.stem.rpartition("-")[2][0] for archive in ARCHIVES} == {"2", "3"}


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
@pytest.mark.parametrize("case", CASES)
def test_predicts_what_keras_predicted(archive, case, tmp_path):
    found = unpacked(archive, tmp_path)
    X, want = found[f"{case}/input"], found[f"{case}/output"]
    assert (X == VALUE).all(axis=(1, 2)).any()
    for name in files(archive, case):
        weights = name.endswith((".weights.h5", ".legacy.h5"))
        net = read_keras(tmp_path / name, architecture=tmp_path / f"{case}.json" if weights else None)
        assert net.mask_value == pytest.approx(-99.9, rel=1e-7)
        assert net.layers[0].kind == "Masking"
        got = np.asarray(net.predict(X)).reshape(want.shape)
        assert_allclose(got, want, rtol=0, atol=2e-6 * max(1.0, np.abs(want).max()), err_msg=name)
        rel = net.explain(X, target=None if net.n_outputs == 1 else 0)
        assert not rel.values[(X == VALUE).all(axis=2)].any()


REFUSED = {
    "refused_masking_twice": "'second' .*put it first",
    "refused_masking_above": "'mask' .*put it first",
    "refused_masking_reshape": "'shape' .*loses in some versions of Keras",
    "refused_masking_backwards": "'lower' .*hands the mask on oldest first",
}


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
@pytest.mark.parametrize("case", REFUSED)
def test_what_differs_from_keras_is_refused(archive, case, tmp_path):
    unpacked(archive, tmp_path)
    assert files(archive, case)
    for name in files(archive, case):
        with pytest.raises(fl.ModelFileError, match=REFUSED[case]):
            read_keras(tmp_path / name)


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
def test_tables_show_the_layer(archive, tmp_path):
    unpacked(archive, tmp_path)
    shown = describe_keras(tmp_path / "masking.keras")
    assert shown.explainable
    assert "skips steps of -99.9" in repr(shown)


def test_an_edited_mask_is_no_mask(tmp_path):
    archive = ARCHIVES[-1]
    unpacked(archive, tmp_path)
    path = tmp_path / "masking.keras"
    with zipfile.ZipFile(path) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    config = json.loads(members["config.json"])
    layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "NotEqual")
    layer["inbound_nodes"][0]["args"][1] = 5.0  # the layers above would skip other steps than Masking's
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    with pytest.raises(fl.ModelFileError, match=r"branches|mask="):
        read_keras(path)


@pytest.mark.parametrize("version", VERSIONS)
def test_files_of_every_version_are_read(version):
    """Those that were made when Masking was refused."""
    path = folder(version) / "refused_masking.h5"
    if path.exists():
        net = read_keras(path)
        assert [layer.kind for layer in net] == ["Masking", "LSTM", "Dense"]
        assert net.mask_value == 0.0


def networks(rng):
    def lstm(D, H, **options):
        return fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)), rng.normal(size=4 * H), **options)

    both = fl.Bidirectional(lstm(4, 3, return_sequences=True), lstm(4, 3, return_sequences=True))
    layers = [fl.Masking(-99.9), lstm(3, 4, return_sequences=True), both, lstm(6, 3), fl.Dense(rng.normal(size=(3, 1)))]
    float32 = [
        fl.Masking(0.5),
        fl.LSTM(*(rng.normal(size=shape).astype(np.float32) for shape in ((3, 8), (2, 8), 8))),
        fl.Dense(rng.normal(size=(2, 1)).astype(np.float32)),
    ]
    return {"all": fl.Network(layers, steps=5), "one": fl.Network(float32)}


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("which", ["all", "one"])
def test_what_is_written_comes_back(tmp_path, suffix, which):
    net = networks(np.random.default_rng(1))[which]
    write_keras(net, tmp_path / f"net{suffix}")
    back = read_keras(tmp_path / f"net{suffix}")
    assert back.mask_value == net.mask_value
    for one, two in zip(net, back, strict=True):
        for a, b in zip(one.arrays, two.arrays, strict=True):
            assert np.array_equal(a, b)


def test_reversed_sequences_are_not_written(tmp_path):
    rng = np.random.default_rng(2)
    lower = fl.LSTM(rng.normal(size=(3, 8)), rng.normal(size=(2, 8)), return_sequences=True, go_backwards=True)
    net = fl.Network([fl.Masking(), lower, fl.LSTM(rng.normal(size=(2, 8)), rng.normal(size=(2, 8)))])
    with pytest.raises(ValueError, match="returns its steps newest first below a Masking layer"):
        write_keras(net, tmp_path / "net.keras")
