"""Finds which weights belong to which layer, as far as a file tells, to show them even for layers of unknown kinds.

``read_keras`` takes the weights that each kind of layer must have and refuses the rest; this refuses nothing.
"""

from __future__ import annotations

import re

from fastlrp.errors import ModelFileError
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.legacy import legacy_groups, legacy_root
from fastlrp.keras.tree import Node
from fastlrp.keras.v3 import CONTAINERS, layer_groups, numbered_groups, snake_case
from fastlrp.keras.weights import WeightFile

Groups = list[tuple[str, list[str]]]


def weights_found(file: HDF5File, model: Node) -> tuple[dict[Node, tuple[str, ...]], Groups]:
    """Paths of weights by layer, and the groups of weights that belong to no known layer."""
    try:
        return WeightFile(file, model).paths, []
    except ModelFileError:
        pass
    found: dict[Node, tuple[str, ...]] = {}
    try:
        root = legacy_root(file)
        if root is None:
            _by_class(file, model, "", found)
        else:
            _by_name(file, model, root, found)
        used = {path for paths in found.values() for path in paths}
        return found, [
            (name, left) for name, paths in all_groups(file) if (left := [p for p in paths if p not in used])
        ]
    except ModelFileError:  # too damaged to be listed; the verdict says how
        return found, []


def all_groups(file: HDF5File) -> Groups:
    """Groups of weights by the file's own names, for files that do not say which layers they belong to."""
    root = legacy_root(file)
    groups = layer_groups(file) if root is None else legacy_groups(file, root)
    listed = [(name, [path for path in paths if path in file.datasets]) for name, paths in groups]
    return [(name, paths) for name, paths in listed if paths]


def _by_name(file: HDF5File, model: Node, root: str, found: dict[Node, tuple[str, ...]]) -> None:
    """Legacy files: a group has the name of its top-level layer; a nested model's weights have their layers' names."""
    groups = {name: [path for path in paths if path in file.datasets] for name, paths in legacy_groups(file, root)}
    for top in model.layers or ():
        left = groups.get(top.name, [])
        if top.layers is not None:
            for leaf in top.leaves():
                mine = [path for path in left if leaf.name in path.split("/")[1:-1]]
                left = [path for path in left if path not in mine]
                found[leaf] = tuple(mine)
        found[top] = tuple(left)


def _by_class(file: HDF5File, model: Node, path: str, found: dict[Node, tuple[str, ...]]) -> None:
    """v3 files: a group has the class and number of its layer, or names the layer."""
    base = next((p for c in CONTAINERS if (p := f"{path}/{c}".lstrip("/")) in file.groups), None)
    if base is None:
        return
    by_class: dict[str, list[Node]] = {}
    for layer in model.layers or ():
        by_class.setdefault(snake_case(layer.class_name), []).append(layer)
    for prefix, nodes in by_class.items():
        groups = numbered_groups(file, base, prefix)
        for k, group in enumerate(groups):
            node = _node_of(file, group, k, nodes, whole=len(groups) == len(nodes))
            if node is None:
                continue
            if node.layers is not None:
                _by_class(file, node, group, found)
            else:
                found[node] = tuple(p for p in file.datasets if p.startswith(f"{group}/") and "seed_gen" not in p)


def _node_of(file: HDF5File, group: str, k: int, nodes: list[Node], *, whole: bool) -> Node | None:
    """The layer of a group: the one it names, else by order where the counts agree, else by its number."""
    name = file.text(f"{group}/vars", "name") if f"{group}/vars" in file.groups else None
    named = next((node for node in nodes if node.name == name), None)
    if named is not None or whole:
        return named or nodes[k]
    number = re.search(r"_(\d{1,6})$", group.removesuffix(snake_case(nodes[0].class_name)))
    at = int(number[1]) if number else 0
    return nodes[at] if at < len(nodes) else None
