"""Describes a Keras file layer by layer, and says why it can or cannot be explained."""

from __future__ import annotations

import html
import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fastlrp.errors import ModelFileError
from fastlrp.keras.door import ModelFile, open_model, sentence
from fastlrp.keras.folder import member_files
from fastlrp.keras.found import Groups, all_groups, weights_found
from fastlrp.keras.kinds import ACTIVATIONS, AFFINE, IDENTITIES, MASK_OPERATIONS, kind_of, refusal
from fastlrp.keras.passthrough import activation_of, dense_activation
from fastlrp.keras.read import Architecture, is_chain, model_of, network_of, read_keras
from fastlrp.keras.tree import Node
from fastlrp.messages import count, printable
from fastlrp.network import Network
from fastlrp.objects import as_path
from fastlrp.text_tables import html_table

_MAX_TEXT = 60
_HEAD = ("layer", "class", "weights", "parameters", "")
_INPUTS, _STATIC = "inputs, in this order: ", "static features, in this order: "


@dataclass(frozen=True)
class LayerDescription:
    """One layer: its place in nested models, its class, the shapes of its weights, and how it is treated."""

    name: str
    kind: str
    depth: int
    shapes: tuple[tuple[int, ...], ...]
    n_params: int
    note: str


@dataclass(frozen=True, repr=False)
class FileDescription:
    """The result of :func:`describe_keras`; it displays as a table, at a prompt and in a notebook.

    Attributes
    ----------
    path, format, version : str
        The file, the kind of file, and the version of Keras that wrote it ("unknown" where it does not say).
    layers : tuple of LayerDescription
        From the input up, nested models before their own layers.
    explainable : bool
        Whether ``read_keras`` reads it.
    verdict : str
        The sentence that says so, or says why not and what to do.
    features : tuple of str or None
        Names of the inputs, in the network's order, where the file has them.
    static : tuple of str or None
        Likewise of static features.
    """

    path: str
    format: str
    version: str
    layers: tuple[LayerDescription, ...]
    explainable: bool
    verdict: str
    features: tuple[str, ...] | None = None
    static: tuple[str, ...] | None = None

    @property
    def n_params(self) -> int:
        """Number of weights in the listed layers."""
        return sum(layer.n_params for layer in self.layers)

    def __repr__(self) -> str:
        head, rows = _HEAD, self._cells()
        widths = [max(len(row[k]) for row in [head, *rows]) for k in range(4)]
        lines = []
        for row in [head, *rows]:
            cells = [
                cell.rjust(w) if k == 3 else cell.ljust(w)
                for k, (cell, w) in enumerate(zip(row[:4], widths, strict=True))
            ]
            lines.append("  ".join([*cells, row[4]]).rstrip())
        rule = "-" * min(max(map(len, lines)), 120)
        named = [_listed(head, names) for head, names in self._named()]
        return "\n".join([self._title(), "", lines[0], rule, *lines[1:], rule, self._outcome(), *named])

    def _repr_html_(self) -> str:
        title, outcome = html.escape(self._title()), html.escape(self._outcome())
        named = "".join(f"<p>{html.escape(head + ', '.join(names))}</p>" for head, names in self._named())
        return f"<div><p>{title}</p>{html_table(_HEAD, self._cells(), 3)}<p>{outcome}</p>{named}</div>"

    def _named(self) -> list[tuple[str, tuple[str, ...]]]:
        both = ((_INPUTS, self.features), (_STATIC, self.static))
        return [(head, names) for head, names in both if names is not None]

    def _title(self) -> str:
        size = count(self.n_params, "parameter")
        return f"{printable(self.path)}: {self.format}, Keras {printable(self.version)}, {size}"

    def _outcome(self) -> str:
        return printable(("can be explained: " if self.explainable else "cannot be explained: ") + self.verdict)

    def _cells(self) -> list[tuple[str, str, str, str, str]]:
        return [
            (
                "  " * layer.depth + _short(printable(layer.name)),
                _short(printable(layer.kind)),
                _short(" ".join(str(shape).replace(", ", ",").replace(",)", ")") for shape in layer.shapes)),
                f"{layer.n_params:,}",
                printable(layer.note),
            )
            for layer in self.layers
        ]


def describe_keras(path: str | os.PathLike[str], *, architecture: Architecture | None = None) -> FileDescription:
    """Describe a file in any of Keras' formats, even one that ``read_keras`` refuses.

    Parameters
    ----------
    path : str or path
        The file, or the folder of an ensemble's.
    architecture : Network, dict, str or path, optional
        As in :func:`fastlrp.read_keras`.

    Returns
    -------
    FileDescription
        ``print`` it for a table.

    Raises
    ------
    ModelFileError
        If the file is damaged, is not one of Keras', or holds something that no Keras writes.
    """
    where = as_path(path, "describe_keras(path=...)")
    return _describe_folder(where, architecture) if where.is_dir() else _describe(where, architecture)


def _describe_folder(folder: Path, architecture: Architecture | None) -> FileDescription:
    """A folder of an ensemble's members, each with its layers; the first that cannot be explained decides."""
    files = member_files(folder)
    found = [_describe(path, architecture) for path in files]
    layers: list[LayerDescription] = []
    for path, one in zip(files, found, strict=True):
        layers.append(LayerDescription(path.name, "", 0, (), 0, "a model of its own:"))
        layers += [replace(layer, depth=layer.depth + 1) for layer in one.layers]
    whole = f"folder of {len(files):,} Keras files"
    versions = ", ".join(sorted({one.version for one in found}))
    bad = next(
        (f"{path.name}: {one.verdict}" for path, one in zip(files, found, strict=True) if not one.explainable), None
    )
    try:
        verdict = bad or f"an ensemble of {len(files):,} networks, {found[0].verdict}"
        if bad is None:
            read_keras(folder, architecture=architecture)
    except ModelFileError as error:
        bad = verdict = _without(str(error), folder)
    return FileDescription(
        str(folder), whole, versions, tuple(layers), bad is None, verdict, found[0].features, found[0].static
    )  # fmt: skip


def _describe(where: Path, architecture: Architecture | None) -> FileDescription:
    with sentence(where), open_model(where) as file:
        assumed: list[str] = []
        try:
            if is_chain(architecture):
                rows = tuple(_unknown(file, all_groups(file.weights)))
                network = network_of(file, architecture, assumed)
                return _explainable(where, file, rows, network, assumed)
            tree, _ = model_of(file, architecture)
        except ModelFileError as error:
            rows = tuple(_unknown(file, all_groups(file.weights)))
            return FileDescription(str(where), file.format, _version(file), rows, False, _without(str(error), where))
        found, left = weights_found(file.weights, tree)
        rows = (*_rows(tree, file, found, 0), *_unknown(file, left))
        try:
            network = network_of(file, architecture, assumed)
        except (ModelFileError, ValueError) as error:
            return FileDescription(str(where), file.format, _version(file), rows, False, _without(str(error), where))
        return _explainable(where, file, rows, network, assumed)


def _explainable(
    where: Path, file: ModelFile, rows: tuple[LayerDescription, ...], network: Network, assumed: list[str]
) -> FileDescription:
    """The description of a file that can be explained."""
    window = f"windows ({'any' if network.steps is None else network.steps}, {network.n_features})"
    if not network.recurrent:
        window = f"rows of {count(network.n_features, 'feature')}"
    if network.n_static:
        window += f" and {count(network.n_static, 'static feature')}"
    named = f" ({', '.join(network.outputs)})" if network.outputs else ""
    every = " at every step" if network.sequence else ""
    said = "".join(f"; {text}" for text in assumed)
    verdict = f"{window} in, {count(network.n_outputs, 'output')}{named}{every}, {network.dtype}{said}"
    return FileDescription(
        str(where), file.format, _version(file), rows, True, verdict, network.features, network.static
    )


def _version(file: ModelFile) -> str:
    return _short(file.version) if file.version else "unknown"


def _rows(node: Node, file: ModelFile, found: dict[Node, tuple[str, ...]], depth: int) -> Iterator[LayerDescription]:
    """A model's layers in the order of its configuration, nested ones at greater depth."""
    datasets = file.weights.datasets
    for layer in node.layers or ():
        stored = [datasets[path] for path in found.get(layer, ()) if path in datasets]
        shapes, size = tuple(one.shape for one in stored), sum(one.size for one in stored)
        note = "a model of its own:" if layer.layers is not None else _note(layer)
        note = "joins static features" if layer is node.joining else note
        yield LayerDescription(layer.name, layer.class_name, depth, shapes, size, note)
        yield from _rows(layer, file, found, depth + 1)


def _note(layer: Node) -> str:
    """How a layer is treated."""
    reason = refusal(layer)
    kind = kind_of(layer)
    if reason:
        return f"not explained: {reason}"
    if kind in AFFINE:
        return "folded into the layer beside it"
    if kind in IDENTITIES:
        return "the input" if kind == "InputLayer" else "the identity at inference"
    if kind in MASK_OPERATIONS:
        return "part of a Masking layer"
    if kind == "Masking":
        return f"skips steps of {layer.config.get('mask_value', 0.0)}"
    read_as = f"read as {kind}" if kind != layer.class_name else ""
    options = [str(layer.config[key]) for key in ("activation", "merge_mode") if isinstance(layer.config.get(key), str)]
    options += [] if options else [_activation_layer(layer)]
    options += ["sequences"] if layer.config.get("return_sequences") is True else []
    options += ["backwards"] if layer.config.get("go_backwards") is True else []
    return _short(", ".join(part for part in [read_as, *options] if part))


def _activation_layer(layer: Node) -> str:
    """The activation that a layer is, or that a Dense layer has as one, with its parameter; else nothing."""
    try:
        if kind_of(layer) == "Dense":
            name, alpha = dense_activation(layer, keras2=False)
        elif kind_of(layer) in ACTIVATIONS:
            name, alpha = activation_of(layer.class_name, layer, sequence=False, keras2=False)
        else:
            return ""
    except ModelFileError:  # the verdict says so
        return ""
    return name if alpha is None else f"{name}({alpha:g})"


def _unknown(file: ModelFile, groups: Groups) -> Iterator[LayerDescription]:
    """Groups of weights whose layers nothing names."""
    for name, paths in groups:
        stored = [file.weights.datasets[path] for path in paths]
        yield LayerDescription(name, "unknown", 0, tuple(s.shape for s in stored), sum(s.size for s in stored), "")


def _without(text: str, path: Path) -> str:
    """A sentence without the leading file name, which the table's title already has."""
    return text.removeprefix(f"{path}: ").removeprefix(f"{path} ")


def _listed(head: str, names: Sequence[str]) -> str:
    """Names wrapped into lines that fit a terminal."""
    text = ", ".join(map(printable, names))
    return textwrap.fill(text, 100, initial_indent=head, subsequent_indent="  ", break_long_words=False)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
