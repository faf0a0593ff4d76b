"""Limits and refusals of the readers' parts, one by one: HDF5, archives, and layers that are folded."""

from __future__ import annotations

import contextlib
import io
import json
import re
import struct
import zipfile

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastlrp as fl
from fastlrp.cli import main
from fastlrp.keras import archive, hdf5
from fastlrp.keras.fold import affine_of
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.tree import Node

CONFIG = b"{}"


def hdf5_of(edit) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        edit(file)
    return out.getvalue()


def deep(file):
    for _ in range(hdf5.MAX_DEPTH + 2):
        file = file.create_group("g")


def many(file):
    for k in range(3):
        for j in range(3):
            file.create_group(f"{k}/{j}")


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (deep, "m: groups are nested more than 24 deep at 'g/g"),
        (lambda file: file.create_group("x").update({str(k): np.zeros(1) for k in range(9)}), r"'x' holds 9 objects"),
        (many, "m holds more than 7 objects"),
        (lambda file: file.update({"out": h5py.ExternalLink("/etc/passwd", "/x")}), "'out' is a link to another file"),
        (lambda file: file.update({"out": h5py.SoftLink("/x")}), "'out' is a soft link"),
        (lambda file: file.update({"kind": np.dtype("f8")}), "'kind' is neither a group nor a dataset"),
    ],
)
def test_structures_that_keras_never_writes_are_refused(edit, match, monkeypatch):
    data = hdf5_of(edit)
    if edit is not deep:
        monkeypatch.setattr(hdf5, "MAX_OBJECTS", 7)
    with pytest.raises(fl.ModelFileError, match=match):
        HDF5File(data, "m")


def test_names_that_are_paths_are_refused():
    data = hdf5_of(lambda file: file.create_group("qzqz"))
    assert data.count(b"qzqz") == 1
    with pytest.raises(fl.ModelFileError, match=r"group '' holds an object with the impossible name '/zqz'"):
        HDF5File(data.replace(b"qzqz", b"/zqz"), "m")


def test_weights_and_attributes_that_are_none_are_refused():
    def edit(file):
        file["text"] = "words"
        file["w"] = np.arange(500_000.0)
        file.attrs["count"], file.attrs["none"] = 3, np.array([], "S1")

    with HDF5File(hdf5_of(edit), "m") as file:
        for path, shape, match in (
            ("absent", None, "m lacks the weight 'absent'"),
            ("text", None, "m: 'text' holds no numbers, expected weights"),
            ("w", (2, 3), r"m: weight 'w' has shape \(500000,\), expected \(2, 3\)"),
        ):
            with pytest.raises(fl.ModelFileError, match=match):
                file.read(path, shape)
        with pytest.raises(fl.ModelFileError, match="m: attribute 'count' of '/' is no text"):
            file.texts("", "count")
        assert file.texts("", "none") == []
        assert file.texts("", "absent") is None
        assert_allclose(file.read("w"), np.arange(500_000.0), rtol=0, atol=0)
        with pytest.raises(fl.ModelFileError, match="m unfolds to far more weights than the file has room for"):
            [file.read("w") for _ in range(20)]  # weights may be shared, but not without end


# -- archives ----------------------------------------------------------------------------------------------------------


def zip_of(members, compression=zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return out.getvalue()


def encrypted(data: bytes) -> bytes:
    """The same archive, whose headers say that its members are encrypted."""
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data = re.sub(re.escape(mark) + b".{%d}" % (at - 4) + b"..",
                      lambda found: found[0][:-2] + b"\x01\x00", data, flags=re.DOTALL)  # fmt: skip
    return data


def with_long_list(data: bytes) -> bytes:
    at = data.rfind(b"PK\x05\x06") + 12
    return data[:at] + struct.pack("<L", archive.MAX_DIRECTORY + 1) + data[at + 4 :]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (encrypted(zip_of({"config.json": CONFIG})), "config.json is encrypted"),
        (zip_of({"config.json": b" " * (5 << 20)}, zipfile.ZIP_DEFLATED), "config.json unfolds to 5,242,880 bytes"),
        (zip_of({"config.json": b"\xff\xfe"}), "config.json is not UTF-8 text"),
        (zip_of({"config.json": CONFIG})[:-30], "is a truncated .keras archive: its list of members is missing"),
        (with_long_list(zip_of({"config.json": CONFIG})), "lists far more members than a .keras archive has"),
        (zip_of({f"{k}": b"" for k in range(1001)}), "holds 1001 members, more than a .keras archive has"),
        (zip_of({"config.json": CONFIG, "../x": b""}), "'../x', which leads out of the archive"),
        (zip_of({"x": b""}), "is a zip file without config.json"),
        (zip_of({"config.json": CONFIG}), "holds no model.weights.h5"),
        (zip_of({"config.json": CONFIG, "model.weights.npz": b""}), "as pickled NumPy arrays, which are never"),
        (zip_of({"config.json": CONFIG, "model_0.weights.h5": b""}), "keeps its weights in several shards"),
    ],
    ids=lambda value: value if isinstance(value, str) else "zip",  # a zip holds the time, and names must not change
)  # fmt: skip
def test_archives_that_are_no_models_are_refused(data, match, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(data)
    with pytest.raises(fl.ModelFileError, match=match) as caught:
        fl.read_keras(path)
    assert str(caught.value).startswith(f"{path}")


# -- layers that are folded --------------------------------------------------------------------------------------------


def affine(kind, config, arrays=(), width=3, sequence=True):
    return affine_of(kind, Node(kind, "one", config), width, sequence, lambda node, shapes: list(arrays))


BATCHNORM = [np.ones(3), np.zeros(3), np.zeros(3)]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("BatchNormalization", {}, [*BATCHNORM, np.array([1, -1, 1.0])]), "has variances that are not positive"),
        (("BatchNormalization", {}, [*BATCHNORM, np.array([1, np.nan, 1])]), "has variances that are not positive"),
        (("BatchNormalization", {}, [*BATCHNORM, np.ones(2)]), "or weights of different sizes"),
        (("BatchNormalization", {}, [np.full(3, np.inf), *BATCHNORM[1:], np.ones(3)]), "NaN or infinite"),
        (("BatchNormalization", {"axis": 1}, [*BATCHNORM, np.ones(3)]), "normalises axis 1, expected the features"),
        (("Normalization", {"mean": [0.0] * 3, "variance": [1.0, -1.0, 1.0]}), "has a negative variance"),
        (("Normalization", {"mean": [0.0] * 2, "variance": 1.0}), "has no usable mean, expected one number or 3"),
        (("Normalization", {"mean": "x", "variance": 1.0}), "has no usable mean"),
        (("Rescaling", {"scale": {"config": 3}, "offset": 0.0}), "NaN or infinite"),
        (("Rescaling", {"scale": [1.0, 2.0], "offset": 0.0}), "has no usable scale"),
        (("Normalization", {"mean": 0.0, "variance": 1.0}, (), None), "is the first layer, but the model does not say"),
    ],
)
def test_affine_layers_that_are_none_are_refused(arguments, match):
    with pytest.raises(fl.ModelFileError, match=match):
        affine(*arguments)


def test_affine_layers_are_what_they_say(rng):
    gamma, beta, mean = rng.normal(size=(3, 3))
    variance, x = rng.uniform(1, 2, size=3), rng.normal(size=(5, 3))
    found = affine("BatchNormalization", {"epsilon": 0.01}, [gamma, beta, mean, variance])
    want = gamma * (x - mean) / np.sqrt(variance + 0.01) + beta
    assert_allclose(x * found.scale + found.offset, want, rtol=0, atol=1e-14 * abs(want).max())
    for invert in (False, True):
        found = affine("Normalization", {"mean": mean.tolist(), "variance": variance.tolist(), "invert": invert})
        want = x * np.sqrt(variance) + mean if invert else (x - mean) / np.sqrt(variance)
        assert_allclose(x * found.scale + found.offset, want, rtol=0, atol=1e-14 * abs(want).max())


# -- characters that control a terminal --------------------------------------------------------------------------------

CONTROL = "x\x1b[2J\x1b]0;title\x07\x9b\u202e"
PLACES = {
    "layer": lambda config, members: config["config"]["layers"][1]["config"].update(name=CONTROL),
    "class": lambda config, members: config["config"]["layers"][1].update(class_name=CONTROL),
    "activation": lambda config, members: config["config"]["layers"][1]["config"].update(activation=CONTROL),
    "model": lambda config, members: config["config"].update(name=CONTROL),
    "version": lambda config, members: members.update({"metadata.json": json.dumps({"keras_version": CONTROL})}),
    "member": lambda config, members: members.update({CONTROL: ""}),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_character_of_a_file_controls_the_terminal(rng, place, tmp_path):
    net = fl.Network([fl.LSTM(rng.normal(size=(3, 8)), rng.normal(size=(2, 8))), fl.Dense(np.ones((2, 1)))], steps=2)
    path = tmp_path / "m.keras"
    fl.write_keras(net, path)
    with zipfile.ZipFile(path) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    config = json.loads(members["config.json"])
    PLACES[place](config, members)
    path.write_bytes(zip_of({**members, "config.json": json.dumps(config)}))
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        main(["info", str(path)])
        print(found := fl.describe_keras(path), repr(found), found._repr_html_())
        if found.explainable:
            net = fl.read_keras(path)
            print(net, repr(net), net.summary(), repr(net.layers[0]), fl.Ensemble([net, net]))
    text = out.getvalue()
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert "explained" in text
