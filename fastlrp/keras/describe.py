"""What is inside a Keras file, layer by layer, and why it can or cannot be explained."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastlrp.errors import ModelFileError
from fastlrp.keras.door import ModelFile, open_model, sentence
from fastlrp.keras.kinds import AFFINE, IDENTITIES, kind_of, refusal
from fastlrp.keras.legacy import legacy_groups, legacy_root
from fastlrp.keras.read import Architecture, model_of, network_of
from fastlrp.keras.tree import Node
from fastlrp.keras.v3 import layer_groups
from fastlrp.keras.weights import WeightFile

_MAX_TEXT = 60


@dataclass(frozen=True)
class LayerDescription:
    """One layer: its place in nested models, what it is, the shapes of its weights, and what becomes of it."""

    name: str
    kind: str
    depth: int
    shapes: tuple[tuple[int, ...], ...]
    n_params: int
    note: str


@dataclass(frozen=True)
class FileDescription:
    """What :func:`describe_keras` found; ``str()`` is a table.

    Attributes
    ----------
    path, format, version : str
        The file, the kind of file, and the version of Keras that wrote it ("unknown" where it does not say).
    layers : tuple of LayerDescription
        From the input up, nested models before what they hold.
    explainable : bool
        Whether ``read_keras`` reads it.
    verdict : str
        The sentence that says so, or why not and what to do.
    features : tuple of str or None
        Names of the inputs, in the network's order, where the file has them.
    """

    path: str
    format: str
    version: str
    layers: tuple[LayerDescription, ...]
    explainable: bool
    verdict: str
    features: tuple[str, ...] | None = None

    @property
    def n_params(self) -> int:
        """Number of weights in the listed layers."""
        return sum(layer.n_params for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "class", "weights", "parameters", "")
        rows = [
            (
                "  " * layer.depth + _short(layer.name),
                _short(layer.kind),
                _short(" ".join(str(shape).replace(", ", ",").replace(",)", ")") for shape in layer.shapes)),
                f"{layer.n_params:,}",
                layer.note,
            )
            for layer in self.layers
        ]
        widths = [max(len(row[k]) for row in [head, *rows]) for k in range(4)]
        lines = []
        for row in [head, *rows]:
            cells = [
                cell.rjust(w) if k == 3 else cell.ljust(w)
                for k, (cell, w) in enumerate(zip(row[:4], widths, strict=True))
            ]
            lines.append("  ".join([*cells, row[4]]).rstrip())
        rule = "-" * min(max(map(len, lines)), 120)
        title = f"{self.path}: {self.format}, Keras {self.version}, {self.n_params:,} parameters"
        mark = "can be explained: " if self.explainable else "cannot be explained: "
        named = [] if self.features is None else [_listed("inputs, in this order: ", self.features)]
        return "\n".join([title, "", lines[0], rule, *lines[1:], rule, mark + self.verdict, *named])


def describe_keras(path: str | os.PathLike[str], *, architecture: Architecture | None = None) -> FileDescription:
    """What is in a file of any of Keras' formats, also where ``read_keras`` refuses it.

    Parameters
    ----------
    path : str or path
        The file.
    architecture : Network, dict, str or path, optional
        As in :func:`fastlrp.read_keras`.

    Returns
    -------
    FileDescription
        ``print`` it for a table.

    Raises
    ------
    ModelFileError
        If the file is damaged, is none of Keras', or holds what no Keras writes.
    """
    where = Path(path)
    with sentence(where), open_model(where) as file:
        try:
            tree, _ = model_of(file, architecture)
        except ModelFileError as error:
            rows = tuple(_bare(file))
            return FileDescription(str(where), file.format, _version(file), rows, False, _without(str(error), where))
        try:
            weights: WeightFile | None = WeightFile(file.weights, tree)
        except ModelFileError:
            weights = None  # the verdict says why
        rows = tuple(_rows(tree, file, weights, 0))
        try:
            network = network_of(file, architecture)
        except (ModelFileError, ValueError) as error:
            return FileDescription(str(where), file.format, _version(file), rows, False, _without(str(error), where))
        window = f"({'any' if network.steps is None else network.steps}, {network.n_features})"
        verdict = f"windows {window} in, {network.n_outputs} output{'s' * (network.n_outputs > 1)}, {network.dtype}"
        return FileDescription(str(where), file.format, _version(file), rows, True, verdict, network.features)


def _version(file: ModelFile) -> str:
    return _short(file.version) if file.version else "unknown"


def _rows(node: Node, file: ModelFile, weights: WeightFile | None, depth: int) -> Iterator[LayerDescription]:
    """A model's layers in the order of its configuration, nested ones further in."""
    for layer in node.layers or ():
        if layer.layers is not None:
            yield LayerDescription(layer.name, layer.class_name, depth, (), 0, "a model of its own:")
            yield from _rows(layer, file, weights, depth + 1)
            continue
        paths = weights.paths.get(layer, ()) if weights else ()
        shapes = tuple(file.weights.datasets[p].shape for p in paths if p in file.weights.datasets)
        size = sum(file.weights.datasets[p].size for p in paths if p in file.weights.datasets)
        yield LayerDescription(layer.name, layer.class_name, depth, shapes, size, _note(layer))


def _note(layer: Node) -> str:
    """What becomes of a layer."""
    reason = refusal(layer)
    kind = kind_of(layer)
    if reason:
        return f"not explained: {reason}"
    if kind in AFFINE:
        return "folded into the layer beside it"
    if kind in IDENTITIES:
        return "the input" if kind == "InputLayer" else "the identity at inference"
    read_as = f"read as {kind}" if kind != layer.class_name else ""
    options = [str(layer.config[key]) for key in ("activation", "merge_mode") if isinstance(layer.config.get(key), str)]
    options += ["sequences"] if layer.config.get("return_sequences") is True else []
    options += ["backwards"] if layer.config.get("go_backwards") is True else []
    return _short(", ".join(part for part in [read_as, *options] if part))


def _bare(file: ModelFile) -> Iterator[LayerDescription]:
    """Groups of weights, where nothing says what they belong to."""
    datasets, root = file.weights.datasets, legacy_root(file.weights)
    groups = layer_groups(file.weights) if root is None else legacy_groups(file.weights, root)
    for name, paths in groups:
        found = [datasets[path] for path in paths if path in datasets]
        if found:
            yield LayerDescription(name, "unknown", 0, tuple(s.shape for s in found), sum(s.size for s in found), "")


def _without(text: str, path: Path) -> str:
    """A sentence without the file's name in front, which the table's title has."""
    return text.removeprefix(f"{path}: ").removeprefix(f"{path} ")


def _listed(head: str, names: Sequence[str]) -> str:
    """Names in lines that a terminal shows whole."""
    return textwrap.fill(", ".join(names), 100, initial_indent=head, subsequent_indent="  ", break_long_words=False)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
