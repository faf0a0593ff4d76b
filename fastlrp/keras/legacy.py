"""Legacy ``.h5`` files: a group for each top-level layer, with the list ``weight_names``, trainable weights first.

Whole models hold the groups under ``model_weights``; files of weights alone hold them at the root.
"""

from __future__ import annotations

import re

from fastlrp.errors import ModelFileError
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.options import label, roles
from fastlrp.keras.tree import Node
from fastlrp.messages import count

ROLES = {
    "kernel",
    "recurrent_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "mean",
    "variance",
    "count",
}


def legacy_root(file: HDF5File) -> str | None:
    """The group that holds the layers' groups, as Keras 1 and 2 write it; None in v3 files."""
    for root in ("model_weights", ""):
        if root in file.groups and _names(file, root, "layer_names") is not None:
            return root
    return None


def _names(file: HDF5File, path: str, attribute: str) -> list[str] | None:
    """A list of names; old versions split a long one into name0, name1, ..."""
    whole = file.texts(path, attribute)
    if whole is not None:
        return whole
    parts: list[str] = []
    for i in range(1000):
        part = file.texts(path, f"{attribute}{i}")
        if part is None:
            return parts if i else None
        parts += part
    return parts


def legacy_groups(file: HDF5File, root: str) -> list[tuple[str, list[str]]]:
    """The name of every layer, in order, and the paths of its weights."""
    groups = []
    for name in _names(file, root, "layer_names") or []:
        path = f"{root}/{name}" if root else name
        if path not in file.groups:
            raise ModelFileError(f"{file.label} lists the layer {name!r} but holds no group for it")
        weights = [w for w in _names(file, path, "weight_names") or [] if "seed_generator" not in w]
        groups.append((name, [f"{path}/{weight}" for weight in weights]))
    return groups


def legacy_weights(file: HDF5File, model: Node, root: str) -> dict[Node, tuple[str, ...]]:
    """Weights by layer from a legacy file: top-level layers by name, the weights inside one by Keras' order."""
    if model.by_order:
        return _by_order(file, model, root)
    groups = dict(legacy_groups(file, root))
    found: dict[Node, tuple[str, ...]] = {}
    for top in model.layers or ():
        order = _legacy_order(top)
        if not order:
            continue
        if top.name not in groups:
            raise ModelFileError(f"{file.label} holds no weights for {label(top)}; it has {_listed(groups)}")
        paths = groups.pop(top.name)
        if len(paths) != len(order):
            raise ModelFileError(
                f"{file.label} holds {count(len(paths), 'weight')} for {label(top)}, expected {len(order)}"
            )
        taken: dict[Node, list[str]] = {}
        for (leaf, role), path in zip(order, paths, strict=True):
            base = path.rsplit("/", 1)[-1].split(":")[0]
            base = re.sub(r"_\d+$", "", base)
            if base in ROLES and base != role:
                raise ModelFileError(
                    f"{file.label}: weight {path!r} of {label(leaf)} stands where its {role} is expected"
                )
            taken.setdefault(leaf, []).append(path)
        found |= {leaf: tuple(taken[leaf]) for leaf in taken}
    extra = [name for name, paths in groups.items() if paths]
    if extra:
        raise ModelFileError(f"{file.label} holds weights of layer {extra[0]!r}, which the model does not have")
    return found


def _by_order(file: HDF5File, model: Node, root: str) -> dict[Node, tuple[str, ...]]:
    """Weights for layers without Keras' own names: the groups that hold weights, in their order."""
    groups = [(name, paths) for name, paths in legacy_groups(file, root) if paths]
    leaves = [leaf for leaf in model.leaves() if any(roles(leaf))]
    sizes = [sum(map(len, roles(leaf))) for leaf in leaves]
    if [len(paths) for _, paths in groups] != sizes:
        have = ", ".join(f"{name!r} {len(paths)}" for name, paths in groups[:8])
        raise ModelFileError(
            f"{file.label} holds other layers than the architecture (weights in each: {have}; expected "
            f"{', '.join(map(str, sizes[:8]))}): pass the model's own json (model.to_json()) as architecture="
        )
    return {leaf: tuple(paths) for leaf, (_, paths) in zip(leaves, groups, strict=True)}


def _legacy_order(top: Node) -> list[tuple[Node, str]]:
    """The weights of a top-level layer as Keras lists them: trainable ones first, then the rest."""

    def lists(node: Node) -> tuple[list[tuple[Node, str]], list[tuple[Node, str]]]:
        if node.layers is None:
            train, rest = ([(node, role) for role in part] for part in roles(node))
        else:
            parts = [lists(layer) for layer in node.layers]
            train, rest = [w for t, _ in parts for w in t], [w for _, r in parts for w in r]
        return (train, rest) if node.trainable else ([], train + rest)

    train, rest = lists(top)
    return train + rest


def _listed(groups: dict[str, list[str]]) -> str:
    names = [repr(name) for name, paths in groups.items() if paths]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "none at all"
