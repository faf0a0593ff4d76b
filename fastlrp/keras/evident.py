"""The evident chain: the network that the shapes of weights alone tell, for models that are built in their own code.

Keras keeps nothing of such a model but its weights. An LSTM shows in shapes (D, 4H) and (H, 4H), a Dense layer in
(N, M) and (M,); what goes where follows from widths that fit, and from the file's own order where it has one. Nothing
is guessed: where another reading is possible, the file is refused. Activations leave no trace and are taken to be
Keras' own defaults; the caller is told so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from fastlrp.errors import ModelFileError
from fastlrp.keras.door import ModelFile
from fastlrp.keras.found import Groups, all_groups
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.legacy import legacy_root
from fastlrp.keras.names import with_stored_names
from fastlrp.messages import count, printable
from fastlrp.model.layers import LSTM, Dense, Layer
from fastlrp.network import Network

#: The word that asks for it, in place of an architecture.
CHAIN = "chain"
#: Most layers that are put in order, and most steps of the search for all orders that fit.
MAX_CHAIN, MAX_STEPS = 64, 10_000
_TODO = "give the architecture as the model's json or as a fastlrp.Network of its layers"


@dataclass(frozen=True)
class _Part:
    """A group of weights that is a layer: its kind and widths, and its place among the groups of the same name."""

    name: str
    kind: str
    inputs: int
    outputs: int
    paths: tuple[str, ...]
    series: str
    number: int


def evident_chain(file: ModelFile) -> tuple[Network, str]:
    """The network, and the sentence that says what was assumed.

    Raises
    ------
    ModelFileError
        If a group of weights is neither an LSTM's nor a Dense layer's, or no order or several orders of layers fit.
    """
    weights = file.weights
    legacy = legacy_root(weights) is not None
    groups = [(name, paths) for name, paths in all_groups(weights) if not _of_seeds(name, paths)]
    if not groups:
        raise ModelFileError(f"{weights.label} holds no weights, expected those of LSTM and Dense layers")
    if len(groups) > MAX_CHAIN:
        raise ModelFileError(
            f"{weights.label} holds {len(groups)} layers, more than the {MAX_CHAIN} put in order: {_TODO}"
        )
    parts = _parts(weights, groups, legacy=legacy)
    chain, listed = _order(weights, parts, legacy=legacy)
    last = max((k for k, part in enumerate(chain) if part.kind == "LSTM"), default=-1)
    layers = [_layer(weights, part, sequences=k < last) for k, part in enumerate(chain)]
    return with_stored_names(Network(layers), weights), _assumed(chain, last, listed=listed)


def _of_seeds(name: str, paths: Sequence[str]) -> bool:
    """Whether these are the states of random numbers that Dropout layers draw."""
    return "seed_generator" in name or all("seed_generator" in path for path in paths)


def _parts(file: HDF5File, groups: Groups, *, legacy: bool) -> list[_Part]:
    """Each group as a layer, in the file's order."""
    named = {name: None if legacy else _stated_name(file, name) for name, _ in groups}
    use_names = all(named.values())
    found = []
    for name, paths in groups:
        ordered = paths if legacy else sorted(paths, key=lambda path: (len(path), path))
        shapes = [file.datasets[path].shape for path in ordered]
        kind, inputs, outputs = _kind(file, name, ordered, shapes, legacy=legacy)
        series, number = _numbered((named[name] or "") if use_names else name.rpartition("/")[2])
        parent = "" if use_names else name.rpartition("/")[0]
        found.append(_Part(name, kind, inputs, outputs, tuple(ordered), f"{parent}/{series}", number))
    return found


def _stated_name(file: HDF5File, group: str) -> str | None:
    """The layer's name, which Keras keeps from 3.6 on; layers of one class are numbered as they are made."""
    where = f"{group}/vars"
    return file.text(where, "name") if where in file.groups else None


def _numbered(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(?:_(\d{1,6}))?", name)
    return (match[1], int(match[2] or 0)) if match else (name, 0)


def _kind(
    file: HDF5File, name: str, paths: Sequence[str], shapes: Sequence[tuple[int, ...]], *, legacy: bool
) -> tuple[str, int, int]:
    """The kind of layer that has weights of these shapes, and its widths."""
    where = f"{file.label}: the weights of {printable(name)!r}, {', '.join(map(str, shapes))}"
    own = name.rpartition("/")[2]
    if own in ("forward_layer", "backward_layer"):
        raise ModelFileError(f"{where}, belong to a Bidirectional layer, whose merge_mode shapes do not tell: {_TODO}")
    kernels = [shape for shape in shapes if len(shape) == 2]
    if len(shapes) in (2, 3) and len(kernels) == 2 and shapes[:2] == kernels:
        (D, width), (H, same) = kernels
        if width == same == 4 * H and list(shapes[2:]) in ([], [(width,)]):
            return "LSTM", D, H
        if width == same == 3 * H:
            raise ModelFileError(f"{where}, are those of a GRU, which shapes alone do not tell apart: {_TODO}")
    if len(kernels) == 3 and kernels[0][1] == 3 * kernels[1][0]:
        raise ModelFileError(f"{where}, are those of a GRU, which shapes alone do not tell apart: {_TODO}")
    if len(kernels) == 1 and list(shapes) == [*kernels, (kernels[0][1],)]:
        return "Dense", *_two(kernels[0])
    if len(shapes) == len(kernels) == 1:
        if legacy and paths[0].rsplit("/", 1)[-1].split(":")[0] == "kernel":
            return "Dense", *_two(kernels[0])
        raise ModelFileError(f"{where}, may be a Dense layer's without a bias or an Embedding's: {_TODO}")
    raise ModelFileError(f"{where}, are neither an LSTM's, (D, 4H), (H, 4H), (4H,), nor a Dense layer's, (N, M), (M,): "
                         f"{_TODO}")  # fmt: skip


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]


def _order(file: HDF5File, parts: Sequence[_Part], *, legacy: bool) -> tuple[list[_Part], bool]:
    """The parts in order, and whether the file's own order decided between several that widths allow.

    Widths come first: layers are numbered, and listed, as they are made, which need not be as they are called.
    """
    by_width = list(islice(_orders(file, parts, numbered=False), 2))
    if not by_width:
        held = "; ".join(f"{printable(part.name)} {part.kind} {part.inputs} to {part.outputs}" for part in parts[:8])
        raise ModelFileError(f"{file.label} holds layers whose widths make no chain ({held}): {_TODO}")
    if len(by_width) == 1:
        return [parts[k] for k in by_width[0]], False
    if legacy and all(below.outputs == above.inputs for below, above in pairwise(parts)):
        return list(parts), True
    numbered = [] if legacy else list(islice(_orders(file, parts, numbered=True), 2))
    if len(numbered) == 1:
        return [parts[k] for k in numbered[0]], True
    one, other = (" - ".join(printable(parts[k].name) for k in order) for order in by_width)
    raise ModelFileError(f"{file.label} allows more than one order of its layers, {one} or {other}: {_TODO}")


def _orders(file: HDF5File, parts: Sequence[_Part], *, numbered: bool) -> Iterator[tuple[int, ...]]:
    """All orders of the parts, by their positions, in which widths fit and, if asked for, numbers of a series rise."""
    every = range(len(parts))
    earlier = [
        {j for j in every if numbered and parts[j].series == part.series and parts[j].number < part.number}
        for part in parts
    ]
    above = [[j for j in every if parts[j].inputs == part.outputs] for part in parts]
    steps = 0
    begun: list[tuple[tuple[int, ...], frozenset[int]]] = [
        ((k,), frozenset((k,))) for k in reversed(every) if not earlier[k]
    ]
    while begun:
        order, used = begun.pop()
        steps += 1
        if steps > MAX_STEPS:
            held = count(len(parts), "layer")
            raise ModelFileError(f"{file.label} holds {held} that fit in too many orders: {_TODO}")
        if len(order) == len(parts):
            yield order
        begun += [((*order, k), used | {k}) for k in reversed(above[order[-1]]) if k not in used and earlier[k] <= used]


def _layer(file: HDF5File, part: _Part, *, sequences: bool) -> Layer:
    kernel, *others = (file.read(path) for path in part.paths)
    name = part.name.rpartition("/")[2]
    if part.kind == "LSTM":
        U, *bias = others
        return LSTM(kernel, U, bias[0] if bias else None, return_sequences=sequences, name=name)
    return Dense(kernel, others[0] if others else None, name=name)


def _assumed(chain: Sequence[_Part], last: int, *, listed: bool) -> str:
    """What shapes do not tell, as one sentence."""
    layers = ", ".join(f"{part.kind}({part.outputs}) {printable(part.name.rpartition('/')[2])!r}" for part in chain)
    assumed = []
    if last >= 0:
        assumed.append("tanh and sigmoid in LSTMs")
    if any(part.kind == "Dense" for part in chain):
        assumed.append("linear Dense layers")
    if last >= 0:
        lower = "sequences from all LSTMs but the last, which gives" if last else "an LSTM that gives"
        assumed.append(f"{lower} its last step")
    if listed:
        assumed.append("the order in which the file has its layers")
    return (
        f"read as the chain {layers}, assuming {', '.join(assumed)}: compare its predictions with Keras', or give "
        "check=(X, predictions)"
    )
