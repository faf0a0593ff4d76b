"""The v3 layout of weights, in ``.weights.h5`` and inside ``.keras``.

Layers lie in ``layers/<class in snake case>[_<count>]/.../vars/<number>`` (``_layer_checkpoint_dependencies`` until
tf.keras 2.14, with gaps in the count), so they are found by class and order. From Keras 3.6 each group ``vars`` has the
layer's name as an attribute, which decides. Models of other classes keep layers under attribute names instead; there a
layer is found where only one group fits it, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fastlrp.errors import ModelFileError
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.kinds import RECURRENT, kind_of
from fastlrp.keras.options import label, roles
from fastlrp.keras.tree import Node

#: Groups that hold the layers of a model.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
NOT_MODEL = {"optimizer", "_optimizer", "compiled_metrics", "metrics", "optimizer_weights", "loss_tracker"}


def v3_weights(file: HDF5File, model: Node) -> dict[Node, tuple[str, ...]]:
    """Weights by layer from a v3 file."""
    found: dict[Node, tuple[str, ...]] = {}
    try:
        _container(file, model, "", found)
    except _Missing:
        found = _by_shape(file, model)
    used = {path for item in found.values() for path in item}
    extra = [
        p for p in file.datasets if p not in used and p.split("/")[0] not in NOT_MODEL and "seed_generator" not in p
    ]
    if extra:
        raise ModelFileError(f"{file.label} holds the weight {extra[0]!r}, which the model does not have")
    return found


class _Missing(Exception):
    """Raised where a layer is not in the place given by its class and order."""


def _container(file: HDF5File, model: Node, path: str, found: dict[Node, tuple[str, ...]]) -> None:
    """Collect the layers of one model, which lie in one group."""
    base = next((p for c in CONTAINERS if (p := _join(path, c)) in file.groups), None)
    if base is None:
        raise _Missing
    by_class: dict[str, list[Node]] = {}
    for layer in model.layers or ():
        if any(roles(leaf)[0] or roles(leaf)[1] for leaf in layer.leaves()):
            by_class.setdefault(snake_case(layer.class_name), []).append(layer)
    for prefix, nodes in by_class.items():
        groups = numbered_groups(file, base, prefix)
        if len(groups) != len(nodes):
            raise _Missing
        names = [
            file.text(_join(group, "vars"), "name") if _join(group, "vars") in file.groups else None for group in groups
        ]
        if all(names) and sorted(map(str, names)) == sorted(node.name for node in nodes):
            groups = [groups[names.index(node.name)] for node in nodes]
        for node, group in zip(nodes, groups, strict=True):
            if node.layers is not None:
                _container(file, node, group, found)
            else:
                found[node] = _variables(file, group, _stored_as(node))


def numbered_groups(file: HDF5File, base: str, prefix: str) -> list[str]:
    """The groups ``prefix``, ``prefix_1``, ... that hold any weights, by number."""
    pattern = re.compile(rf"{re.escape(prefix)}(?:_(\d{{1,6}}))?")
    hits = [(int(m[1] or 0), name) for name in file.groups[base] if (m := pattern.fullmatch(name))]
    paths = [_join(base, name) for _, name in sorted(hits)]
    return [path for path in paths if any(dataset.startswith(path + "/") for dataset in file.datasets)]


def _stored_as(node: Node) -> str:
    """The kind of a layer as far as its groups tell: LSTMs and GRUs both have a cell."""
    return "recurrent" if kind_of(node) in RECURRENT else kind_of(node)


def _variables(file: HDF5File, group: str, kind: str) -> tuple[str, ...]:
    """The variables of one layer, in order."""
    if kind == "Bidirectional":
        sides = (_join(group, side) for side in ("forward_layer", "backward_layer"))
        return tuple(path for side in sides for path in _variables(file, side, "recurrent"))
    inner = {"recurrent": "cell/vars", "TimeDistributed": "layer/vars"}.get(kind, "vars")
    path = _join(group, inner)
    numbers = sorted((int(name), name) for name in file.groups.get(path, []) if name.isdecimal() and len(name) < 4)
    return tuple(_join(path, name) for _, name in numbers)


def _by_shape(file: HDF5File, model: Node) -> dict[Node, tuple[str, ...]]:
    """Weights of a model whose classes or attributes have other names in the file: a layer takes the group that fits.

    Groups of the same class are taken in order; where groups of two different names fit, nothing is guessed.
    """
    todo = "pass the model's own json (model.to_json()) as architecture="
    spots = [spot for path in file.groups if (spot := _spot(file, path)) is not None]
    found: dict[Node, tuple[str, ...]] = {}
    leaves = [leaf for leaf in model.leaves() if any(roles(leaf))]
    for leaf in leaves:
        kind, sizes = _stored_as(leaf), len(roles(leaf)[0]) + len(roles(leaf)[1])
        fits = [s for s in spots if s.kind == kind and len(s.paths) == sizes and _fits(file, leaf, s.paths)]
        named = [s for s in fits if s.name is not None and s.name == leaf.name]
        fits = named or fits
        if not fits:
            raise ModelFileError(f"{file.label} holds no weights that fit {label(leaf)}; {todo}")
        if len({(s.parent, s.prefix) for s in fits}) > 1:
            names = ", ".join(repr(s.path) for s in fits[:4])
            raise ModelFileError(f"{file.label} does not tell which of {names} is {label(leaf)}; {todo}")
        spot = min(fits, key=lambda s: s.number)
        spots.remove(spot)
        found[leaf] = spot.paths
    return found


@dataclass(frozen=True)
class _Spot:
    """A group of a v3 file that may be a layer."""

    path: str
    parent: str
    prefix: str
    number: int
    kind: str
    name: str | None
    paths: tuple[str, ...]


def _spot(file: HDF5File, path: str) -> _Spot | None:
    """The layer that a group appears to be, or None."""
    if path.split("/")[0] in NOT_MODEL or not path:
        return None
    children = file.groups[path]
    parent, _, last = path.rpartition("/")
    if {"forward_layer", "backward_layer"} <= set(children):
        kind = "Bidirectional"
    elif last in {"forward_layer", "backward_layer", "cell", "layer", "vars"}:
        return None
    else:
        kind = "recurrent" if "cell" in children else "TimeDistributed" if "layer" in children else "Dense"
    paths = _variables(file, path, kind)
    if not paths:
        return None
    if kind == "Dense" and len(file.datasets[paths[0]].shape) == 1:
        kind = "BatchNormalization"
    match = re.fullmatch(r"(.*?)(?:_(\d{1,6}))?", last)
    prefix, number = (match[1], int(match[2] or 0)) if match else (last, 0)
    name = file.text(_join(path, "vars"), "name") if _join(path, "vars") in file.groups else None
    return _Spot(path, parent, prefix, number, kind, name, paths)


def _fits(file: HDF5File, leaf: Node, paths: Sequence[str]) -> bool:
    """Whether the shapes in the file fit the layer, as far as its options tell."""
    units = leaf.config.get("units")
    kernel = file.datasets[paths[0]].shape
    expected = leaf.config.get("kernel_shape")  # known where the architecture is a Network
    if expected is not None and tuple(kernel) != tuple(expected):
        return False
    if not isinstance(units, int) or len(kernel) != 2:
        return units is None
    return kernel[1] == units * RECURRENT.get(kind_of(leaf), 1)


def snake_case(name: str) -> str:
    """A class name as v3 files write it: ``CustomLSTM`` is ``custom_lstm``."""
    return re.sub(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", re.sub(r"\W+", "", name)).lower()


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def layer_groups(file: HDF5File) -> list[tuple[str, list[str]]]:
    """Every group of variables with its datasets, for files that do not say which layers they are."""
    groups: dict[str, list[str]] = {}
    for path in file.datasets:
        if path.split("/")[0] not in NOT_MODEL:
            groups.setdefault(path.rpartition("/")[0].removesuffix("/vars").removesuffix("/cell"), []).append(path)
    return [(name, sorted(paths)) for name, paths in groups.items()]
