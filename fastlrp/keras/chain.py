"""The chain of calls of a functional model, from its input to its output.

Keras 2 writes a call as ``["lstm", 0, 0, {...}]``, Keras 3 as ``{"args": [{"class_name": "__keras_tensor__", ...}]}``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

from fastlrp.errors import ModelFileError
from fastlrp.keras.kinds import MASK_OPERATIONS
from fastlrp.keras.masks import mask_tensors, masked_by
from fastlrp.keras.tree import MAX_LAYERS, MAX_NESTING, Join, Node, brief
from fastlrp.messages import count

Tensor = tuple[str, int, int]
Calls = list[list[Tensor]]
Chain = tuple[tuple[int, int], ...]


def functional_chain(
    model: str, config: dict[str, Any], entries: list[Any], layers: tuple[Node, ...]
) -> tuple[Chain, tuple[Node, ...], Join | None]:
    """The calls from the input to the output of a functional model, traced back from the output, and where a second
    input, of static features, joins them."""
    firsts, lasts = (
        _ends(config.get("input_layers"), "input", model),
        _ends(config.get("output_layers"), "output", model),
    )
    if len(lasts) > 1:
        _refuse_several(lasts, "output", model)
    index = {layer.name: i for i, layer in enumerate(layers)}
    if len(index) != len(layers):
        raise ModelFileError(f"model {model!r} has two layers of the same name")
    masks = mask_tensors(entries)
    beside = {name for name, i in index.items() if layers[i].class_name in MASK_OPERATIONS and masks}
    parents = {name: _inbound(entries[i], name, masks) for name, i in index.items() if name not in beside}
    _refuse_branches(parents)
    layers = _restore_dropouts(layers, index, parents, lasts[0][0])
    trace = _Trace(model, index, parents, {name for name, _, _ in firsts})
    found, merged = trace.down(lasts[0])
    if not merged:
        if len(firsts) > 1:
            _refuse_several(firsts, "input", model)
        return tuple(reversed(found)), layers, None
    ways = [trace.down(tensor) for tensor in merged]
    static = [_takes(layers[way[-1][0]], 2) and not more for way, more in ways]
    windows = [_takes(layers[way[-1][0]], 3) and not more for way, more in ways]
    if len(firsts) > 2 or sorted(static) != [False, True] or sorted(windows) != [False, True]:
        _refuse_several(firsts, "input", model)
    first = static[0]
    join = Join(found[-1][0], tuple(reversed(ways[0 if first else 1][0])), first)
    return tuple(reversed([*found, *ways[1 if first else 0][0]])), layers, join


@dataclass(frozen=True)
class _Trace:
    """The calls of a model, to be followed from a tensor down to an input."""

    model: str
    index: dict[str, int]
    parents: dict[str, Calls]
    inputs: set[str]

    def down(self, tensor: Tensor) -> tuple[list[tuple[int, int]], list[Tensor]]:
        """The calls down to an input, or to a layer that merges several tensors, and these."""
        found: list[tuple[int, int]] = []
        name, call, output = tensor
        while True:
            if name not in self.index:
                raise ModelFileError(
                    f"model {self.model!r} names the layer {name!r}, which is missing from its list of layers"
                )
            if len(found) > MAX_LAYERS:
                raise ModelFileError(f"model {self.model!r} runs in a circle through layer {name!r}")
            found.append((self.index[name], output))
            if name in self.inputs:
                return found, []
            calls = self.parents[name]
            if not calls:
                raise ModelFileError(
                    f"layer {name!r} of model {self.model!r} has no layer below it and is not the input"
                )
            # Keras 2 numbers a nested model's calls from 1 when the model was also called on its own
            tensors = calls[call if call < len(calls) else -1]
            if len(tensors) > 1:
                return found, tensors
            name, call, output = tensors[0]


def _takes(layer: Node, axes: int) -> bool:
    """Whether an input layer takes arrays of so many axes."""
    shape = layer.config.get("batch_input_shape") or layer.config.get("batch_shape")
    return isinstance(shape, list) and len(shape) == axes


def _ends(value: object, what: str, model: str) -> list[Tensor]:
    """The inputs or outputs of a model: ``["x", 0, 0]`` or a list of such."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ModelFileError(f"model {model!r} names no {what}")
    return [_tensor(one, f"the {what} of model {model!r}") for one in value]


def _refuse_several(tensors: list[Tensor], what: str, model: str) -> NoReturn:
    names = ", ".join(repr(name) for name, _, _ in tensors[:5])
    todo = "explain a model of the one output, as in keras.Model(model.inputs, model.outputs[0])"
    if what == "input":
        todo = "one window of features goes in, and static features may join the output of its last recurrent layer"
    raise ModelFileError(f"model {model!r} has {count(len(tensors), what)} ({names}), expected one: {todo}")


def _tensor(value: object, where: str) -> tuple[str, int, int]:
    """(layer, index of its call, index of that call's output)."""
    if (
        not isinstance(value, list)
        or not 3 <= len(value) <= 4
        or not isinstance(value[0], str)
        or not all(isinstance(v, int) and 0 <= v <= MAX_LAYERS for v in value[1:3])
    ):
        raise ModelFileError(f"{where} is {brief(value)}, expected a layer's name and two numbers")
    return value[0], value[1], value[2]


def _inbound(entry: dict[str, Any], name: str, masks: Collection[str]) -> Calls:
    """The tensors that each call of a layer takes: one, or two that it concatenates."""
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, list) or len(nodes) > MAX_LAYERS:
        raise ModelFileError(f"the calls of layer {name!r} are {brief(nodes)}, expected a list")
    calls = []
    for node in nodes:
        if isinstance(node, dict):
            tensors, options = list(_keras3_tensors(node.get("args"), 0)), node.get("kwargs")
            if isinstance(options, dict) and masked_by(options.get("mask"), masks):
                options = {key: value for key, value in options.items() if key != "mask"}
        else:
            tensors, options = _keras2_tensors(node), None
            if tensors and len(tensors[0]) == 4:
                options = tensors[0][3]
        if isinstance(options, dict):
            _refuse_options(options, name)
        two = len(tensors) == 2 and entry.get("class_name") == "Concatenate"
        if len(tensors) != 1 and not two:
            raise ModelFileError(
                f"layer {name!r} takes {count(len(tensors), 'input')}, expected one: only chains are explained"
            )
        calls.append([_tensor(one, f"the input of layer {name!r}") for one in tensors])
    return calls


def _keras2_tensors(node: object) -> list[Any]:
    """``[["lstm", 0, 0, {}]]``, or a bare ``["lstm", 0, 0, {}]``."""
    if isinstance(node, list) and node and isinstance(node[0], str):
        return [node]
    return [item for item in node if isinstance(item, list)] if isinstance(node, list) else []


def _keras3_tensors(value: object, depth: int) -> Iterator[Any]:
    """The histories of all tensors in a call's arguments."""
    if depth > MAX_NESTING:
        return
    if isinstance(value, list):
        for item in value:
            yield from _keras3_tensors(item, depth + 1)
    elif isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == "__keras_tensor__" and isinstance(config, dict):
            yield config.get("keras_history")


def _refuse_options(options: dict[str, Any], name: str) -> None:
    """Refuse options of a call that change what it computes."""
    for key, value in options.items():
        if key == "training" and value:
            raise ModelFileError(f"layer {name!r} is called with training=True, so its predictions are random")
        if key not in {"training", "name"} and value not in (None, False):
            todo = "start from a zero state" if key == "initial_state" else "call it on its input alone"
            raise ModelFileError(f"layer {name!r} is called with {key}=, which is not read: {todo}")


def _refuse_branches(parents: dict[str, Calls]) -> None:
    """Refuse an output that several layers read; a layer with several inputs is refused where it is read."""
    taken: dict[tuple[str, int], str] = {}
    for name, calls in parents.items():
        for below, call, _ in chain.from_iterable(calls):
            other = taken.setdefault((below, call), name)
            if other != name:
                raise ModelFileError(
                    f"layer {below!r} feeds both {other!r} and {name!r}: a chain of layers is explained, not branches"
                )


def _restore_dropouts(
    layers: tuple[Node, ...], index: dict[str, int], parents: dict[str, Calls], last: str
) -> tuple[Node, ...]:
    """Put back Dropout layers that the nodes name but the list lacks, as in custom models from old Keras versions.

    The input of such a layer was lost: it is taken to be the one layer that nothing else reads. Without one, the
    Dropout stays missing.
    """

    def read_by(calls: Calls) -> set[str]:
        return {below for below, _, _ in chain.from_iterable(calls)}

    missing = set().union(*map(read_by, parents.values())) - set(index)
    for name in sorted(missing):
        read = set().union(*map(read_by, parents.values()))
        unread = [layer.name for layer in layers if layer.name not in read and layer.name != last]
        consumer = next(n for n, calls in parents.items() if name in read_by(calls))
        before = [n for n in unread if index[n] < index[consumer]]
        if "dropout" not in name or not before:
            continue
        index[name] = len(layers)
        parents[name] = [[(before[-1], 0, 0)]]
        layers = (*layers, Node("Dropout", name, {"rate": 0.0}))
    return layers
