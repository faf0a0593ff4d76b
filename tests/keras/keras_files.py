"""The Keras files in tests/data: their names, the files themselves, and Keras' outputs for them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import reference

import fastlrp as fl

DATA = Path(__file__).resolve().parents[1] / "data"
VERSIONS = sorted(path.stem.removeprefix("keras-") for path in DATA.glob("keras-*.zip"))
#: Every whole model that read_keras must read, as (version, file).
SUFFIXES = (".legacy.h5", ".weights.h5", ".h5", ".keras")


@functools.cache
def names(version: str) -> tuple[str, ...]:
    """The model files of a version, such as "functional.h5"."""
    with zipfile.ZipFile(DATA / f"keras-{version}.zip") as archive:
        return tuple(sorted(name for name in archive.namelist() if name.endswith((".h5", ".keras"))))


@functools.cache
def unpacked(stem: str) -> Path:
    """The files of an archive, unpacked for this session."""
    path = Path(tempfile.mkdtemp(prefix=stem))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    with zipfile.ZipFile(DATA / f"{stem}.zip") as archive:
        archive.extractall(path)
    return path


def folder(version: str) -> Path:
    """The files of a version of Keras, likewise."""
    return unpacked(f"keras-{version}")


@functools.cache
def outputs(version: str) -> dict[str, np.ndarray]:
    """Keras' inputs and outputs, keyed "case/layer"."""
    with np.load(folder(version) / "outputs.npz") as archive:
        return dict(archive)


def case_of(name: str) -> str:
    """The case that a file belongs to."""
    return next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix))


def architecture(version: str, name: str) -> Path | None:
    """The json beside a file of weights."""
    if not name.endswith((".legacy.h5", ".weights.h5")):
        return None
    path = folder(version) / f"{case_of(name)}.json"
    return path if path.exists() else None


def as_dict(layer: Any) -> dict[str, Any]:
    """A layer of fastlrp in the form that tests/reference.py takes."""
    found = {
        "kind": type(layer).__name__.lower(),
        **{key: value for key, value in vars(layer).items() if key != "name"},
    }
    return {key: as_dict(value) if isinstance(value, fl.LSTM | fl.GRU) else value for key, value in found.items()}


def forward(layers: Any, X: np.ndarray) -> np.ndarray:
    """The reference's output of a chain of layers, sample by sample, in float64."""
    dicts = [as_dict(layer) for layer in layers]
    return np.stack([reference.forward(dicts, x)[0] for x in X])


def zeroed(network: fl.Network) -> fl.Network:
    """The same layers with weights of zero, as a user would pass them as an architecture."""

    def blank(layer: Any) -> Any:
        parts = {}
        for key, value in vars(layer).items():
            parts[key] = np.zeros_like(value) if isinstance(value, np.ndarray) else value
            parts[key] = blank(value) if isinstance(value, fl.LSTM | fl.GRU) else parts[key]
        return type(layer)(**parts)

    return fl.Network([blank(layer) for layer in network], steps=network.steps)
