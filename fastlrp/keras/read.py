"""read_keras: the network in a file, or the ensemble in a folder, by its own architecture or a given one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.ensemble import Ensemble
from fastlrp.errors import ArchitectureWarning, ModelFileError
from fastlrp.keras.config import MAX_JSON, model_tree, parse_json, uses
from fastlrp.keras.door import ModelFile, contents, open_model, sentence
from fastlrp.keras.evident import CHAIN, evident_chain
from fastlrp.keras.folder import read_members
from fastlrp.keras.kinds import REFUSED, cannot, kind_of, refusal
from fastlrp.keras.layers import build
from fastlrp.keras.names import with_stored_names
from fastlrp.keras.template import tree_of
from fastlrp.keras.tree import Node
from fastlrp.keras.weights import WeightFile
from fastlrp.messages import users_line
from fastlrp.network import Network
from fastlrp.objects import as_path

Architecture = Network | Mapping[str, Any] | str | os.PathLike[str]


def read_keras(
    path: str | os.PathLike[str],
    *,
    architecture: Architecture | None = None,
    features: Sequence[str] | None = None,
    check: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Network | Ensemble:
    """Read the network in a file that Keras wrote, or an ensemble from a folder of such files.

    Neither Keras nor TensorFlow is needed, and no code in a file is run.

    Parameters
    ----------
    path : str or path
        A whole model (``.h5`` of Keras 2 or 3, ``.keras``), or weights alone (``.h5`` of Keras 2, ``.weights.h5``)
        together with ``architecture``. The file's contents decide, not its name. Or a folder of two or more such files
        (names that end in ``.keras``, ``.h5`` or ``.hdf5``; others are left alone): an Ensemble, members by name.
    architecture : Network, dict, str or path, optional
        The model's description, where the file has none: a Network of the same layers (its weights are ignored), or
        the result of ``model.to_json()`` as text, as a dict, or as a file. It replaces the file's own description.
        Or "chain", for models that are built in their own code: the chain of LSTM and Dense layers that the weights'
        shapes tell, refused where they allow more than one; activations, which they do not tell, are Keras' defaults.
    features : list of str, optional
        Names of the inputs, in the order in which the model was trained; panels' columns are then found by name.
        Files that :func:`fastlrp.write_keras` wrote bring their own.
    check : (X, expected), optional
        Windows (sample, step, feature), or the pair of inputs of a network with static features, and Keras' own
        predictions for them; the network's must agree to 1e-5 of the largest.

    Returns
    -------
    Network, or Ensemble of a folder
        Weights in float32 or float64 as stored (half precisions become float32). BatchNormalization, Normalization and
        Rescaling are folded into the layer beside them: predictions are the same to round-off, and relevance is that
        of the folded linear map, whose bias then holds their offsets.

    Warns
    -----
    ArchitectureWarning
        If ``architecture="chain"`` assumed what shapes do not tell, and no ``check`` has confirmed it.

    Raises
    ------
    ModelFileError
        If the file is damaged, holds something no Keras writes, lacks its architecture, has layers that cannot be
        explained (named, with the reason), or fails ``check``.
    ValueError
        If ``features`` do not name the network's inputs, or put the file's own names in another order.

    Examples
    --------
    >>> net = fl.read_keras("model.h5", check=(X[:10], predictions[:10]))            # doctest: +SKIP
    """
    where = as_path(path, "read_keras(path=...)")
    network: Network | Ensemble
    assumed: list[str] = []
    if where.is_dir():
        network = read_members(where, lambda member: _read(member, architecture, assumed))
    else:
        network = _read(where, architecture, assumed)
    if features is not None:
        network = network.with_features(features)
    if check is not None:
        _compare(network, check, where)
    elif assumed:
        warnings.warn(f"{where}: {assumed[0]}", ArchitectureWarning, stacklevel=users_line())
    return network


def _read(path: Path, architecture: Architecture | None, assumed: list[str]) -> Network:
    with sentence(path), open_model(path) as file:
        return network_of(file, architecture, assumed)


def network_of(file: ModelFile, architecture: Architecture | None, assumed: list[str]) -> Network:
    """The network of an open file; raises ModelFileError where it cannot be explained. What was assumed is added to
    ``assumed``."""
    if is_chain(architecture):
        network, said = evident_chain(file)
        assumed.append(said)
        return network
    tree, version = model_of(file, architecture)
    refused = [leaf for leaf in tree.leaves() if leaf is not tree.joining and refusal(leaf)]
    if refused:  # Keras 3 lists the operations of a Masking layer before it: name the layer that users know
        leaf = next((leaf for leaf in refused if kind_of(leaf) in REFUSED), refused[0])
        raise ModelFileError(cannot(leaf, refusal(leaf) or ""))
    with np.errstate(all="ignore"):  # the layers' own checks find values that overflow while folding
        built = build(list(uses(tree)), WeightFile(file.weights, tree), is_keras2(version))
    given = architecture if isinstance(architecture, Network) else None
    static = built.n_static or None
    network = Network(
        built.layers, steps=built.steps, static=static, outputs=given.outputs if given else None, name=tree.name
    )
    network = with_stored_names(network, file.weights)
    if given is not None and given.features is not None:
        network = network.with_features(given.features)
    return network if given is None or given.static is None else network.with_static(given.static)


def model_of(file: ModelFile, architecture: Architecture | None) -> tuple[Node, str | None]:
    """The tree of the model, from the given architecture or the file itself, and the version of Keras it is for."""
    if isinstance(architecture, Network):
        return tree_of(architecture), None  # activations have fastlrp's own names here, whoever wrote the file
    if architecture is not None:
        config = _architecture(architecture)
        version = config.get("keras_version")
        tree = model_tree(config, "architecture=")
        return tree, version if isinstance(version, str) else file.version or guess_version(config)
    todo = (
        "pass architecture=, the model's json (model.to_json()) or a fastlrp.Network of its layers, or 'chain' where "
        "it is a plain chain of LSTM and Dense layers"
    )
    if file.config is None:
        raise ModelFileError(f"{file.path} holds weights alone, {contents(file.weights)}; {todo}")
    try:
        return model_tree(file.config, "its configuration"), file.version or guess_version(file.config)
    except ModelFileError as error:
        raise ModelFileError(f"{file.path}: {error}; the file holds {contents(file.weights)}: {todo}") from None


def is_chain(architecture: Architecture | None) -> bool:
    """Whether the chain is asked for that shapes tell."""
    return isinstance(architecture, str) and architecture == CHAIN


def _architecture(value: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Any]:
    """The model's json, given as a dict, as text or as a file."""
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str | os.PathLike):
        raise ModelFileError(f"architecture= takes a Network or the model's json, not {type(value).__name__}")
    text = os.fspath(value)
    if text.lstrip().startswith("{"):
        return parse_json(text, "architecture=")
    try:
        if Path(text).stat().st_size > 4 * MAX_JSON:
            raise ModelFileError(f"architecture={text!r} is too large to be json")
        return parse_json(Path(text).read_text(encoding="utf-8"), f"architecture={text!r}")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"architecture={text!r} cannot be read as json: {error}") from None


def guess_version(config: dict[str, Any]) -> str:
    """Keras' likely version: only Keras 3 writes how layers are registered, and input shapes as ``batch_shape``."""
    text = str(config.get("config"))[:200_000]
    return "3" if "__keras_tensor__" in text or "'batch_shape'" in text or "DTypePolicy" in text else "2"


def is_keras2(version: str | None) -> bool:
    """Whether this is Keras 1 or 2, whose hard_sigmoid is another function."""
    return version is not None and version.lstrip("v").split(".")[0] in {"1", "2"}


def _compare(network: Network | Ensemble, check: tuple[npt.ArrayLike, npt.ArrayLike], path: Path) -> None:
    """Refuse a network whose predictions differ from Keras'."""
    if not isinstance(check, tuple | list) or len(check) != 2:
        raise ValueError("read_keras(check=...) takes a pair: windows X, and Keras' predictions for them")
    X: Any = check[0] if network.n_static else np.asarray(check[0])
    expected = np.asarray(check[1], dtype=np.float64)
    got = np.asarray(network.predict(X), dtype=np.float64)
    if got.size != expected.size:
        raise ModelFileError(f"{path}: {got.shape} predictions, but check= expects {expected.shape}")
    gap = float(np.abs(got.ravel() - expected.ravel()).max())
    scale = float(np.abs(expected).max())
    if not gap <= 1e-5 * max(scale, 1e-30):
        raise ModelFileError(
            f"{path} predicts otherwise than check= expects: the largest difference is {gap:.3g}, predictions reach "
            f"{scale:.3g}"
        )
