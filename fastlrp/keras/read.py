"""The door: which kind of file this is, and the network in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.errors import ModelFileError
from fastlrp.keras.archive import is_zip, read_archive
from fastlrp.keras.config import Node, model_tree, parse_json, uses
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.kinds import REFUSED, cannot, kind_of, refusal
from fastlrp.keras.layers import build
from fastlrp.keras.legacy import legacy_groups, legacy_root
from fastlrp.keras.template import tree_of
from fastlrp.keras.weights import WeightFile
from fastlrp.network import Network

MAX_FILE = 8 << 30
Architecture = Network | Mapping[str, Any] | str | os.PathLike[str]


@dataclass(frozen=True)
class ModelFile:
    """An open file: its weights, its configuration where it has one, and who wrote it."""

    path: Path
    format: str
    weights: HDF5File
    config: dict[str, Any] | None
    version: str | None


def read_keras(
    path: str | os.PathLike[str],
    *,
    architecture: Architecture | None = None,
    check: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Network:
    """The network in a file that Keras wrote; neither Keras nor TensorFlow is needed, and nothing in it is run.

    Parameters
    ----------
    path : str or path
        A whole model (``.h5`` of Keras 2 or 3, ``.keras``), or weights alone (``.h5`` of Keras 2, ``.weights.h5``)
        together with ``architecture``. What the file holds decides, not its name.
    architecture : Network, dict, str or path, optional
        What the file does not say itself: a Network of the same layers (its weights are ignored), or what
        ``model.to_json()`` gives as text, as a dict, or as a file. It replaces the file's own description.
    check : (X, expected), optional
        Windows (sample, step, feature) and Keras' own predictions for them; the network must give the same to 1e-5 of
        the largest.

    Returns
    -------
    Network
        Weights in float32 or float64 as stored (half precisions become float32). BatchNormalization, Normalization and
        Rescaling are folded into the layer beside them: predictions are the same to round-off, and relevance is that
        of the folded linear map, whose bias then holds their offsets.

    Raises
    ------
    ModelFileError
        If the file is damaged, holds what no Keras writes, lacks its architecture, has layers that cannot be
        explained (named, with the reason), or fails ``check``.

    Examples
    --------
    >>> net = fl.read_keras("model.h5", check=(X[:10], predictions[:10]))            # doctest: +SKIP
    """
    where = Path(path)
    with sentence(where), open_model(where) as file:
        network = network_of(file, architecture)
    if check is not None:
        _compare(network, check, where)
    return network


@contextmanager
def sentence(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file of unknown origin becomes one sentence that names it."""
    try:
        yield
    except (MemoryError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged or far too large: {type(error).__name__}") from None
    except ValueError as error:  # a ModelFileError, or what a layer's own checks say
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
        raise ModelFileError(text if str(path) in text else f"{path}: {text}") from None
    except Exception as error:  # no case is known; a damaged file must still not end in a traceback
        raise ModelFileError(f"{path} cannot be read: {type(error).__name__}: {str(error)[:100]!a}") from error


@contextmanager
def open_model(path: Path) -> Iterator[ModelFile]:
    """Open a file of any of Keras' formats; raises ModelFileError if it is none."""
    head = _head(path)
    if is_zip(head):
        archive = read_archive(path)
        config = parse_json(archive.config, f"config.json in {path}")
        version = parse_json(archive.metadata, f"metadata.json in {path}").get("keras_version")
        with HDF5File(archive.weights, f"model.weights.h5 in {path}") as file:
            yield ModelFile(path, ".keras archive", file, config, version if isinstance(version, str) else None)
        return
    with HDF5File(path, str(path)) as file:
        text = file.text("", "model_config")
        root = legacy_root(file)
        version = file.text("", "keras_version") or (file.text(root, "keras_version") if root else None)
        whole = parse_json(text, f"the model_config of {path}") if text is not None else None
        kind = "weights (v3)" if root is None else "weights (legacy .h5)" if whole is None else "whole model (legacy .h5)"
        yield ModelFile(path, kind, file, whole, version)


def _head(path: Path) -> bytes:
    """The first bytes of a plain file."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError(f"{path} is a folder, expected a Keras file; TensorFlow's SavedModel folders are not read")
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{path} is not a plain file")
        if not status.st_size:
            raise ModelFileError(f"{path} is empty")
        if status.st_size > MAX_FILE:
            raise ModelFileError(f"{path} is {status.st_size / 2**30:.0f} GiB, more than any model that is explained")
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be opened: {error.strerror or error}") from None
    if head.lstrip().startswith(b"{"):
        raise ModelFileError(f"{path} is JSON text, expected a file with weights (.h5 or .keras)")
    return head


def network_of(file: ModelFile, architecture: Architecture | None) -> Network:
    """The network of an open file; raises ModelFileError where it cannot be explained."""
    tree, version = model_of(file, architecture)
    refused = [leaf for leaf in tree.leaves() if refusal(leaf)]
    if refused:  # Keras 3 lists the operations of a Masking layer before it: the one that a user knows is named
        leaf = next((leaf for leaf in refused if kind_of(leaf) in REFUSED), refused[0])
        raise ModelFileError(cannot(leaf, refusal(leaf) or ""))
    built = build(list(uses(tree)), WeightFile(file.weights, tree), is_keras2(version))
    return Network(built.layers, steps=built.steps, name=tree.name)


def model_of(file: ModelFile, architecture: Architecture | None) -> tuple[Node, str | None]:
    """The tree of the model, from the architecture given or the file itself, and the version of Keras it is for."""
    if isinstance(architecture, Network):
        return tree_of(architecture), file.version or "3"
    if architecture is not None:
        config = _architecture(architecture)
        version = config.get("keras_version")
        tree = model_tree(config, "architecture=")
        return tree, version if isinstance(version, str) else file.version or guess_version(config)
    todo = "pass architecture=, the model's json (model.to_json()) or a fastlrp.Network of its layers"
    if file.config is None:
        raise ModelFileError(f"{file.path} holds weights alone, {contents(file.weights)}; {todo}")
    try:
        return model_tree(file.config, "its configuration"), file.version or guess_version(file.config)
    except ModelFileError as error:
        raise ModelFileError(f"{file.path}: {error}; the file holds {contents(file.weights)}: {todo}") from None


def _architecture(value: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Any]:
    """The model's json, from a dict, its text or a file of it."""
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str | os.PathLike):
        raise ModelFileError(f"architecture= takes a Network or the model's json, not {type(value).__name__}")
    text = os.fspath(value)
    if text.lstrip().startswith("{"):
        return parse_json(text, "architecture=")
    try:
        if Path(text).stat().st_size > MAX_FILE:
            raise ModelFileError(f"architecture={text!r} is too large to be json")
        return parse_json(Path(text).read_text(encoding="utf-8"), f"architecture={text!r}")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"architecture={text!r} cannot be read as json: {error}") from None


def guess_version(config: dict[str, Any]) -> str:
    """Keras 3 writes how layers are registered and input shapes as ``batch_shape``; Keras 2 does not."""
    text = str(config.get("config"))[:200_000]
    return "3" if "__keras_tensor__" in text or "'batch_shape'" in text or "DTypePolicy" in text else "2"


def is_keras2(version: str | None) -> bool:
    """Whether this is Keras 1 or 2, whose hard_sigmoid is another function."""
    return version is not None and version.lstrip("v").split(".")[0] in {"1", "2"}


def contents(file: HDF5File) -> str:
    """What weights a file holds, for messages."""
    root = legacy_root(file)
    if root is None:
        items = [f"{path} {stored.shape}" for path, stored in file.datasets.items()]
    else:
        items = [
            f"{name} {', '.join(str(file.datasets[p].shape) for p in paths if p in file.datasets)}"
            for name, paths in legacy_groups(file, root)
            if paths
        ]
    return "; ".join(items[:8]) + ("; ..." if len(items) > 8 else "") if items else "no weights"


def _compare(network: Network, check: tuple[npt.ArrayLike, npt.ArrayLike], path: Path) -> None:
    """Raise where the network does not predict what Keras predicted."""
    if not isinstance(check, tuple | list) or len(check) != 2:
        raise ValueError("read_keras(check=...) takes a pair: windows X, and Keras' predictions for them")
    X, expected = np.asarray(check[0]), np.asarray(check[1], dtype=np.float64)
    got = np.asarray(network.predict(X), dtype=np.float64)
    if got.size != expected.size:
        raise ModelFileError(f"{path}: {got.shape} predictions, but check= expects {expected.shape}")
    gap = float(np.abs(got.ravel() - expected.ravel()).max())
    scale = float(np.abs(expected).max())
    if not gap <= 1e-5 * max(scale, 1e-30):
        raise ModelFileError(
            f"{path} predicts otherwise than check= expects: the largest difference is {gap:.3g}, predictions reach {scale:.3g}"
        )
