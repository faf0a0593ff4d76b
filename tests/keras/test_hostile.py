"""Broken and hostile files: each gives a one-sentence ModelFileError, soon, in little memory, and does nothing else."""

from __future__ import annotations

import ast
import base64
import io
import json
import marshal
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_files import VERSIONS, folder

import fastlrp as fl
from fastlrp.keras import describe_keras, read_keras

ROOT = Path(fl.__file__).parents[1]
NEWEST = VERSIONS[-1]
KERNEL = "model_weights/lstm/lstm/lstm_cell/kernel"


def original(name: str, version: str = NEWEST) -> bytes:
    return (folder(version) / name).read_bytes()


def refused(path: Path, match: str | None = None, **options: Any) -> str:
    """The sentence with which read_keras refuses a file."""
    with pytest.raises(fl.ModelFileError, match=match) as caught:
        read_keras(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1000
    assert caught.value.__cause__ is None, f"an unforeseen error: {text}"
    return text


def edited(tmp_path: Path, edit: Callable[[h5py.File], None], name: str = "functional.h5") -> Path:
    """A copy of a real legacy file, edited."""
    path = tmp_path / "model.h5"
    path.write_bytes(original(name))
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def configured(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a real legacy file with another configuration."""

    def edit(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)

    return edited(tmp_path, edit)


def zipped(tmp_path: Path, change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> Path:
    """A copy of a real .keras archive with other members."""
    with zipfile.ZipFile(io.BytesIO(original("functional.keras"))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def layer(config: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(item for item in config["config"]["layers"] if item["class_name"] == kind)


def replaced(data: Any, path: str = KERNEL, **options: Any) -> Callable[[h5py.File], None]:
    """An edit that puts other values in place of a weight."""

    def edit(file: h5py.File) -> None:
        del file[path]
        file.create_dataset(path, data=data, **options)

    return edit


# -- no model at all ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "model.weights.h5"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\n" * 100,
        b"\x89HDF\r\n\x1a\n",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        bytes(4096),
        b"{}",
        b"\x80\x04].",
    ],
)
def test_something_else_under_the_right_name(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    refused(path, "model")


def test_a_folder_a_missing_file_and_a_pipe(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "absent.h5", "cannot be opened")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.h5")
        refused(tmp_path / "pipe.h5", "not a plain file")


@pytest.mark.parametrize("name", ["functional.h5", "functional.keras", "stacked.weights.h5"])
def test_truncated_anywhere(tmp_path: Path, name: str) -> None:
    data, path = original(name), tmp_path / name
    arch = folder(NEWEST) / "stacked.json" if name.startswith("stacked") else None
    for end in np.linspace(1, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:end])
        refused(path, "model|HDF5|truncated|damaged|archive", architecture=arch)


# -- the configuration -------------------------------------------------------------------------------------------------


def _set(value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file.attrs["model_config"] = value

    return edit


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
NESTED = '{"class_name":"Sequential","config":{"name":"s","layers":[' * 200 + "]}}" * 200


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("not json", "not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("{}", "without a class name"),
        ('{"class_name": "Sequential"}', "expected an object"),
        ('{"class_name": "Sequential", "config": {"layers": [1]}}', "without a class name"),
        ('{"class_name": "Sequential", "config": {"layers": []}}', "no LSTM|weights of layer|does not have"),
        ('{"class_name": "Sequential", "config": {"name": 3, "layers": []}}', "expected text"),
        (
            '{"class_name": "Functional", "config": {"layers": [], "input_layers": 1, "output_layers": []}}',
            "names no",
        ),
        (DEEP, "nested too deeply"),
        (NESTED, "nests models"),
        (7, "no text"),
        (np.array([b"a", b"b"]), None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_configurations_that_are_none(tmp_path: Path, value: Any, match: str) -> None:
    refused(edited(tmp_path, _set(value)), match)


def test_a_loop_of_layers(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        lstm, dense = layer(config, "LSTM"), layer(config, "Dense")
        lstm["inbound_nodes"] = json.loads(json.dumps(dense["inbound_nodes"]).replace("dropout", "dense"))
        layer(config, "Dropout")["inbound_nodes"] = []

    refused(configured(tmp_path, change))


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("LSTM", "units", "4"),
        ("LSTM", "units", 10**30),
        ("LSTM", "units", -4),
        ("LSTM", "units", 4.0),
        ("LSTM", "units", None),
        ("LSTM", "use_bias", "yes"),
        ("LSTM", "return_sequences", 1),
        ("LSTM", "time_major", True),
        ("LSTM", "activation", {"class_name": "function", "config": "tanh"}),
        ("LSTM", "activation", ["tanh"]),
        ("LSTM", "recurrent_activation", "softmax"),
        ("Dense", "units", 2),
        ("Dense", "activation", "mish"),
        ("Dense", "activation", {"class_name": "LeakyReLU", "config": {"negative_slope": -1}}),
        ("Dense", "activation", {"class_name": "LeakyReLU", "config": {"alpha": "steep"}}),
        ("Dense", "activation", {"class_name": "ELU", "config": {"alpha": float("inf")}}),
        ("Dense", "activation", {"class_name": "ReLU", "config": {"max_value": [6]}}),
        ("Dense", "activation", {"class_name": "ReLU", "config": {"max_value": 1.0}}),
        ("Dense", "activation", {"class_name": "LeakyReLU", "config": None}),
        ("Dense", "activation", {"class_name": "Lambda", "config": {}}),
        ("InputLayer", "batch_shape", [None, 5, 4]),
        ("InputLayer", "batch_shape", [None, 5, 10**18]),
        ("InputLayer", "batch_shape", [None, -5, 3]),
        ("InputLayer", "batch_shape", "large"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, kind: str, key: str, value: Any) -> None:
    def change(config: dict[str, Any]) -> None:
        layer(config, kind)["config"][key] = value

    refused(configured(tmp_path, change))


@pytest.mark.parametrize("kind", ["Bidirectional", "TimeDistributed"])
def test_wrappers_within_wrappers(tmp_path: Path, kind: str) -> None:
    """Without a bound, each level would be opened twice, which makes two to the power of a hundred."""

    def change(config: dict[str, Any]) -> None:
        entry = layer(config, "LSTM")
        inner = {"class_name": "LSTM", "config": dict(entry["config"])}
        for _ in range(100):
            inner = {"class_name": kind, "config": {"layer": inner}}
        entry |= {"class_name": kind, "config": {**inner["config"], "name": "lstm"}}

    refused(configured(tmp_path, change))


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["fastlrp_features", "fastlrp_outputs"])
@pytest.mark.parametrize(
    ("value", "match"),
    [
        ('["a"', "is not JSON"),
        ("beta", "is not JSON"),
        ("", "is not JSON"),
        ('{"a": 1}', "is a dict of 1, expected a json list of names"),
        ('"abc"', "is 'abc', expected a json list of names"),
        ("[1, 2, 3]", "is a list of 3, expected a json list of names"),
        ('["a", null, "c"]', "expected a json list of names"),
        ("[]", "expected [13]"),
        ('["a", "b"]', "has 2 name.*expected [13]"),
        ('["a", "b", "c", "d"]', "has 4 name.*expected [13]"),
        ('["a\\u001b[31m", "b", "c"]', "has a control character"),
        ('["a\\ud800"]', "has a control character"),
        ('["' + "x" * 5_000_000 + '"]', "5 MB of JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        (7, "no text"),
        (np.zeros(3), "no text"),
        (np.array([b"a", b"b", b"c"]), "holds 3 texts, expected one"),
        (np.array([], dtype="S1"), "holds 0 texts, expected one"),
        (h5py.Empty("f4"), "no text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_names_that_are_none(tmp_path: Path, attribute: str, value: Any, match: str) -> None:
    text = refused(edited(tmp_path, lambda file: file.attrs.__setitem__(attribute, value)), match)
    assert attribute in text
    assert text.isprintable()
    weights = io.BytesIO()

    def change(members: dict[str, bytes]) -> None:  # the same in an archive
        weights.write(members["model.weights.h5"])
        with h5py.File(weights, "r+") as file:
            file.attrs[attribute] = value
        members["model.weights.h5"] = weights.getvalue()

    refused(zipped(tmp_path, change), match)


def test_a_name_twice(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file.attrs["fastlrp_features"] = '["a", "b", "a"]'

    refused(edited(tmp_path, edit), "attribute 'fastlrp_features' of .* names 'a' twice")
    found = describe_keras(tmp_path / "model.h5")
    assert not found.explainable
    assert "names 'a' twice" in found.verdict


# -- the weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "match"),  # without a match the value is an unusual number, which may be read
    [
        (replaced(np.zeros((4, 16), "f4")), r"shape \(4, 16\), expected \(3, 16\)"),
        (replaced(np.zeros((3, 16, 1), "f4")), "expected"),
        (replaced(np.full((3, 16), np.nan, "f4")), "NaN or infinite"),
        (replaced(np.full((3, 16), np.inf, "f4")), "NaN or infinite"),
        (replaced(np.full((3, 16), 1e300)), None),
        (replaced(np.full((3, 16), "a", dtype=h5py.string_dtype())), "no numbers"),
        (replaced(np.full((3, 16), b"abcd")), "no numbers"),
        (replaced(np.zeros((3, 16), [("a", "f4")])), "no numbers"),
        (replaced(np.zeros((3, 16), complex)), "no numbers"),
        (replaced(h5py.Empty("f4")), r"shape \(\), expected"),
        (lambda f: f.__delitem__(KERNEL), "lacks .*kernel"),
        (lambda f: f.__delitem__("model_weights/lstm"), "no group"),
        (
            lambda f: f["model_weights/lstm"].attrs.__setitem__("weight_names", ["lstm/lstm_cell/kernel"]),
            "1 weight for",
        ),
        (
            lambda f: f["model_weights/lstm"].attrs.__setitem__("weight_names", ["../../x", "/etc/passwd", ".."]),
            "lacks",
        ),
        (lambda f: f["model_weights"].attrs.__setitem__("layer_names", ["dense"]), "no weights for layer 'lstm'"),
        (lambda f: f["model_weights"].attrs.__setitem__("layer_names", [1.0, 2.0]), "no text"),
        (lambda f: f["model_weights/dropout"].attrs.__setitem__("weight_names", ["x"]), "'dropout'"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, edit: Callable[[h5py.File], None], match: str) -> None:
    path = edited(tmp_path, edit)
    if match:
        refused(path, match)
    else:
        assert read_keras(path).dtype == np.float64


def test_extra_weights_in_v3_files(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    path.write_bytes(original("functional.weights.h5"))
    with h5py.File(path, "r+") as file:
        file["layers/gru/vars/0"] = np.zeros((2, 2), "f4")
    refused(path, "holds the weight 'layers/gru/vars/0'", architecture=folder(NEWEST) / "functional.json")


# -- other files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no model may read, of the right shape and with recognisable numbers."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["kernel"] = np.full((3, 16), 42, "f4")
    return path


def test_links_are_not_followed(tmp_path: Path, secret: Path) -> None:
    links = {
        "another file": h5py.ExternalLink(str(secret), "/kernel"),
        "soft": h5py.SoftLink(f"/{KERNEL}2"),
        "soft ": h5py.SoftLink(f"/{KERNEL}"),
    }
    for match, link in links.items():

        def edit(file: h5py.File, link: Any = link) -> None:
            file.move(KERNEL, f"{KERNEL}2")
            file[KERNEL] = link

        refused(edited(tmp_path, edit), match.strip())


def test_loops_of_links(tmp_path: Path) -> None:
    def hard(file: h5py.File) -> None:
        file["model_weights/lstm/loop"] = file["model_weights"]

    def soft(file: h5py.File) -> None:
        file["model_weights/loop"] = h5py.SoftLink("/model_weights")

    refused(edited(tmp_path, hard), "linked twice")
    refused(edited(tmp_path, soft), "soft link")


def test_values_kept_in_other_files(tmp_path: Path, secret: Path) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(bytes(192))

    def external(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, (3, 16), "f4", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])

    def virtual(file: h5py.File) -> None:
        del file[KERNEL]
        layout = h5py.VirtualLayout((3, 16), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "kernel", (3, 16))
        file.create_virtual_dataset(KERNEL, layout)

    for edit in (external, virtual):
        refused(edited(tmp_path, edit), "another file, which is not opened")
        with pytest.raises(fl.ModelFileError, match="another file"):
            describe_keras(tmp_path / "model.h5")


# -- archives ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "a/../../b", "C:\\outside", "..\\outside"])
def test_archives_that_lead_out(tmp_path: Path, name: str) -> None:
    refused(zipped(tmp_path, lambda members: members.update({name: b"x"})), "leads out of the archive")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.keras"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.pop("config.json"), "without config.json"),
        (lambda m: m.pop("model.weights.h5"), "no model.weights.h5"),
        (lambda m: m.update({"config.json": b"\xff\xfe"}), "not UTF-8"),
        (lambda m: m.update({"config.json": b"{"}), "not JSON"),
        (lambda m: m.update({"metadata.json": b"7"}), "must be a JSON object"),
        (lambda m: m.update({"model.weights.h5": b"junk"}), "not a Keras file"),
        (lambda m: m.update({"model.weights.npz": m.pop("model.weights.h5")}), "never unpickled"),
        (lambda m: m.update({"model.weights.json": m.pop("model.weights.h5")}), "shards"),
    ],
)
def test_archives_that_lack_something(tmp_path: Path, change: Callable[[dict[str, bytes]], None], match: str) -> None:
    refused(zipped(tmp_path, change), match)


def test_a_member_twice(tmp_path: Path) -> None:
    path = zipped(tmp_path, lambda members: None)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    refused(path, "two members of the same name")


# -- code --------------------------------------------------------------------------------------------------------------


def test_code_in_a_lambda_is_not_run(tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    code = compile(f"open({str(sentinel)!r}, 'w')", "<lambda>", "eval")
    packed = base64.b64encode(marshal.dumps(code)).decode()
    function = {"class_name": "__lambda__", "config": {"code": packed, "defaults": None, "closure": None}}

    def change(config: dict[str, Any]) -> None:
        layer(config, "Dropout").update({"class_name": "Lambda", "config": {"name": "dropout", "function": function}})

    refused(configured(tmp_path, change), r"\(Lambda\).*never run")
    assert not sentinel.exists()


def test_modules_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def change(config: dict[str, Any]) -> None:
        names = {"module": "evil_module", "registered_name": "evil_module>Evil"}
        config.update(names)
        for item in config["config"]["layers"]:
            item.update(names)
        layer(config, "Dense")["config"]["kernel_initializer"] = {
            **names,
            "class_name": "system",
            "config": {"command": "true"},
        }

    net = read_keras(configured(tmp_path, change))  # names are only data and change nothing
    assert net.n_params == 133
    assert not (tmp_path / "ran").exists()
    assert "evil_module" not in sys.modules


def test_text_in_names_cannot_break_the_sentence(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        entry = layer(config, "LSTM")
        entry["class_name"] = "GRU\n\x1b[31m\ud800"

    text = refused(configured(tmp_path, change))
    assert text.isprintable()
    text.encode("utf-8")


# -- time and memory ---------------------------------------------------------------------------------------------------


def _huge_config(path: Path) -> None:
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = "[" + "1," * 50_000_000 + "1]"


def _crowded_config(path: Path) -> None:
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps({"a": [[]] * 4_000_000})


def _huge_names(path: Path) -> None:
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs["fastlrp_features"] = json.dumps([""] * 1_000_000)


def _terabytes(path: Path) -> None:
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, (1 << 21, 1 << 19), "f4")


def _terabytes_of_chunks(path: Path) -> None:
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, (1 << 21, 1 << 19), "f4", chunks=(1, 1 << 10), compression="gzip")


def _deflated(path: Path) -> None:
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer(config, "InputLayer")["config"]["batch_shape"] = [None, 5, 4_000_000]
        file.attrs["model_config"] = json.dumps(config)
        del file[KERNEL]
        file.create_dataset(KERNEL, data=np.zeros((4_000_000, 16), "f4"), chunks=(100_000, 16), compression="gzip")


def _shared(path: Path) -> None:
    """One dataset of 8 MB under the name of every weight of a hundred layers."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        names = [f"dense_{i}" for i in range(100)]
        layers: list[dict[str, Any]] = [{"class_name": "InputLayer", "config": {"batch_shape": [None, 1, 1448]}}]
        big = file.create_dataset("big", data=np.zeros((1448, 1448), "f4"))
        for name in names:
            group = root.create_group(name)
            group["w"] = big
            group.attrs["weight_names"] = ["w"]
            layers.append({"class_name": "Dense", "config": {"name": name, "units": 1448, "use_bias": False}})
        root.attrs["layer_names"] = names
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})


def _many_names(path: Path) -> None:
    """A list of names that all point to one long text."""
    path.write_bytes(original("functional.h5"))
    with h5py.File(path, "r+") as file:
        file.attrs["filler"] = "x" * 1_000_000
        file["model_weights"].attrs["layer_names"] = ["y" * 100] * 4000


def _many_objects(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for i in range(25_000):
            file.create_group(f"g{i}")


def _deep_groups(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("/".join("g" * 3000))


def _zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(300):
                member.write(bytes(1 << 20))


def _config_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * (300 << 20))
        archive.writestr("model.weights.h5", b"")


def _lying_zip(path: Path) -> None:
    """A member that unpacks to more than its header declares."""
    _config_bomb(path)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 1000)
    path.write_bytes(bytes(data))


def _crowded_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(60_000):
            archive.writestr(f"{i}", b"")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(original("functional.h5"))
        file.truncate(1 << 40)


def _empty_heap(path: Path) -> None:
    """An entry of size zero in a block of texts, on which the HDF5 library loops forever."""
    data = bytearray(original("functional.h5"))
    at = data.find(b"GCOL")
    data[at + 16 : at + 32] = bytes(16)
    path.write_bytes(bytes(data))


BOMBS = {
    "huge.h5": _huge_config, "crowded.h5": _crowded_config, "names-of-features.h5": _huge_names,
    "terabytes.h5": _terabytes,
    "chunks.h5": _terabytes_of_chunks,
    "deflated.h5": _deflated, "shared.h5": _shared, "names.h5": _many_names, "objects.h5": _many_objects,
    "deep.h5": _deep_groups, "bomb.keras": _zip_bomb, "config.keras": _config_bomb, "lying.keras": _lying_zip,
    "crowded.keras": _crowded_zip, "sparse.h5": _sparse, "heap.h5": _empty_heap,
}  # fmt: skip

_LIMITED = """
import json, resource, sys, time
import h5py, numpy
from fastlrp import ModelFileError
from fastlrp.keras import describe_keras, read_keras
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
for read in (read_keras, describe_keras):
    start = time.process_time()
    try:
        found = read(sys.argv[1])
        if read is read_keras or found.explainable:
            sys.exit("it was read")
    except ModelFileError as error:
        if "MemoryError" in str(error) or error.__cause__ is not None:
            sys.exit(f"an unforeseen end: {error}")
        print(json.dumps([time.process_time() - start, str(error)]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory the way Linux does")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_within_two_seconds_and_200_mb(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    BOMBS[name](path)
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path)], capture_output=True, text=True, timeout=600, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for line in done.stdout.splitlines():
        seconds, text = json.loads(line)
        assert seconds < 2, text
        assert "\n" not in text


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="scripts/fuzz_keras.py limits memory the way Linux does"
)
def test_random_damage() -> None:
    """Eighty damaged files, always the same; scripts/fuzz_keras.py runs for as long as one likes."""
    command = [sys.executable, "scripts/fuzz_keras.py", "--files", "80", "--seed", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    ends = re.search(r"seed 5: (\{.*?\});", done.stdout)
    assert ends is not None, done.stdout
    assert sum(ast.literal_eval(ends[1]).values()) == 80
