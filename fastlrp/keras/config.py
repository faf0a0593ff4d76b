"""Keras' JSON description of a model as a tree of layers, and the chain of calls from its input to its output.

Only data is looked at: class names are compared with known ones, ``module`` and ``registered_name`` are never imported.
Keras 2 writes a call as ``["lstm", 0, 0, {...}]``, Keras 3 as ``{"args": [{"class_name": "__keras_tensor__", ...}]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastlrp.errors import ModelFileError

#: A chain of a hundred layers needs about 100 kB; parsed JSON takes up to 25 times its text.
MAX_JSON = 4 << 20
MAX_LAYERS, MAX_NESTING = 1000, 8


@dataclass(frozen=True, eq=False)
class Node:
    """A layer, or a model with the layers in it, as the configuration describes it.

    ``chain`` holds, for a model, the calls from input to output as (index of the layer, which of its outputs);
    where the model is no chain, ``broken`` says why.
    """

    class_name: str
    name: str
    config: dict[str, Any]
    trainable: bool = True
    layers: tuple[Node, ...] | None = None
    chain: tuple[tuple[int, int], ...] = ()
    broken: str | None = None
    by_order: bool = False  # names are not Keras' own: the order of the layers tells which weights are whose

    def leaves(self) -> Iterator[Node]:
        """The layers proper, in the order of the file."""
        if self.layers is None:
            yield self
        for layer in self.layers or ():
            yield from layer.leaves()


@dataclass(frozen=True)
class Use:
    """One call of a layer on the way from input to output, and which of its outputs goes on."""

    layer: Node
    output: int = 0


def parse_json(text: str, where: str) -> dict[str, Any]:
    """A JSON object, or a sentence about why it is none."""
    if len(text) > MAX_JSON:
        raise ModelFileError(f"{where} is {len(text) / 1e6:.0f} MB of JSON, more than the {MAX_JSON / 1e6:.0f} MB read")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ModelFileError(f"{where} is nested too deeply to be a model's configuration") from None
    except ValueError as error:
        raise ModelFileError(f"{where} is not JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{where} must be a JSON object, not {_brief(value)}")
    return value


def model_tree(config: dict[str, Any], where: str) -> Node:
    """The tree of a whole model; raises ModelFileError where the text describes none."""
    budget = [MAX_LAYERS]
    node = _node(config, where, 0, budget)
    if node.layers is None:
        raise ModelFileError(
            f"{where} describes a {node.class_name} without its layers, as Keras writes for models that are built in "
            "their own code"
        )
    return node


def uses(model: Node) -> Iterator[Use]:
    """The calls from input to output, nested models opened; raises ModelFileError where the model is no chain."""
    if model.broken:
        raise ModelFileError(model.broken)
    for index, output in model.chain:
        layer = (model.layers or ())[index]
        if layer.layers is None:
            yield Use(layer, output)
        elif output:
            raise ModelFileError(f"output {output} of the nested model {layer.name!r} is used, but it has one output")
        else:
            yield from uses(layer)


def _node(entry: object, where: str, depth: int, budget: list[int]) -> Node:
    """A layer or model from its entry in the configuration."""
    budget[0] -= 1
    if budget[0] < 0:
        raise ModelFileError(f"{where} describes more than {MAX_LAYERS} layers")
    if depth > MAX_NESTING:
        raise ModelFileError(f"{where} nests models more than {MAX_NESTING} deep")
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        raise ModelFileError(f"{where} holds a layer without a class name: {_brief(entry)}")
    kind, config = str(entry["class_name"]), entry.get("config")
    if isinstance(config, list) and kind == "Sequential":  # Keras before 2.2.3 wrote the layers alone
        config = {"name": "sequential", "layers": config}
    if not isinstance(config, dict):
        raise ModelFileError(f"{where}: the configuration of a {kind} is {_brief(config)}, expected an object")
    config = {**config, "build_config": entry.get("build_config")}
    name = config.get("name", entry.get("name", kind.lower()))
    if not isinstance(name, str):
        raise ModelFileError(f"{where}: a {kind} has the name {_brief(name)}, expected text")
    inner, trainable = config.get("layers"), config.get("trainable", True) is not False
    if inner is None or not isinstance(inner, list) or kind == "StackedRNNCells":
        return Node(kind, name, config, trainable)
    layers = tuple(_node(item, where, depth + 1, budget) for item in inner)
    functional = "output_layers" in config or "input_layers" in config
    try:
        if functional:
            chain, layers = _functional_chain(name, config, inner, layers)
        else:
            chain = tuple((i, 0) for i in range(len(layers)))
    except ModelFileError as error:
        return Node(kind, name, config, trainable, layers, broken=str(error))
    return Node(kind, name, config, trainable, layers, chain)


def _functional_chain(
    model: str, config: dict[str, Any], entries: list[Any], layers: tuple[Node, ...]
) -> tuple[tuple[tuple[int, int], ...], tuple[Node, ...]]:
    """The calls from the input to the output of a functional model, found from the output back."""
    first, last = _ends(config.get("input_layers"), "input", model), _ends(config.get("output_layers"), "output", model)
    index = {layer.name: i for i, layer in enumerate(layers)}
    if len(index) != len(layers):
        raise ModelFileError(f"model {model!r} has two layers of the same name")
    parents = {name: _inbound(entries[i], name) for name, i in index.items()}
    _refuse_branches(parents)
    layers = _restore_dropouts(layers, index, parents, last[0])
    found: list[tuple[int, int]] = []
    name, call, output = last
    while True:
        if name not in index:
            raise ModelFileError(f"model {model!r} names the layer {name!r}, which is missing from its list of layers")
        if len(found) > MAX_LAYERS:
            raise ModelFileError(f"model {model!r} runs in a circle through layer {name!r}")
        found.append((index[name], output))
        if name == first[0]:
            break
        calls = parents[name]
        if not calls:
            raise ModelFileError(f"layer {name!r} of model {model!r} has no layer below it and is not the input")
        # Keras 2 numbers a nested model's calls from 1 when it was also called by itself
        name, call, output = calls[call if call < len(calls) else -1]
    return tuple(reversed(found)), layers


def _ends(value: object, what: str, model: str) -> tuple[str, int, int]:
    """The one input or output of a model: ``["x", 0, 0]`` or a list of such."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ModelFileError(f"model {model!r} names no {what}")
    if len(value) > 1:
        names = ", ".join(repr(v[0]) if isinstance(v, list) and v else _brief(v) for v in value[:5])
        todo = "one window of features goes in" if what == "input" else "explain a model of the one output, as in " \
            "keras.Model(model.inputs, model.outputs[0])"
        raise ModelFileError(f"model {model!r} has {len(value)} {what}s ({names}), expected one: {todo}")
    return _tensor(value[0], f"the {what} of model {model!r}")


def _tensor(value: object, where: str) -> tuple[str, int, int]:
    """(layer, which call of it, which output of that call)."""
    if (
        not isinstance(value, list)
        or not 3 <= len(value) <= 4
        or not isinstance(value[0], str)
        or not all(isinstance(v, int) and 0 <= v <= MAX_LAYERS for v in value[1:3])
    ):
        raise ModelFileError(f"{where} is {_brief(value)}, expected a layer's name and two numbers")
    return value[0], value[1], value[2]


def _inbound(entry: dict[str, Any], name: str) -> list[tuple[str, int, int]]:
    """For every call of a layer, the tensor that it takes."""
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, list) or len(nodes) > MAX_LAYERS:
        raise ModelFileError(f"the calls of layer {name!r} are {_brief(nodes)}, expected a list")
    calls = []
    for node in nodes:
        if isinstance(node, dict):
            tensors, options = list(_keras3_tensors(node.get("args"), 0)), node.get("kwargs")
        else:
            tensors, options = _keras2_tensors(node), None
            if tensors and len(tensors[0]) == 4:
                options = tensors[0][3]
        if isinstance(options, dict):
            _refuse_options(options, name)
        if len(tensors) != 1:
            raise ModelFileError(f"layer {name!r} takes {len(tensors)} inputs, expected one: a chain of layers is explained")
        calls.append(_tensor(tensors[0], f"the input of layer {name!r}"))
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
    """Options of a call that change what it computes."""
    for key, value in options.items():
        if key == "training" and value:
            raise ModelFileError(f"layer {name!r} is called with training=True, so its predictions are random")
        if key not in {"training", "name"} and value not in (None, False):
            todo = "start from a zero state" if key == "initial_state" else "call it on its input alone"
            raise ModelFileError(f"layer {name!r} is called with {key}=, which is not read: {todo}")


def _refuse_branches(parents: dict[str, list[tuple[str, int, int]]]) -> None:
    """A layer of several inputs is refused where it is read; this is for one read under the same call twice."""
    taken: dict[tuple[str, int], str] = {}
    for name, calls in parents.items():
        for below, call, _ in calls:
            other = taken.setdefault((below, call), name)
            if other != name:
                raise ModelFileError(f"layer {below!r} feeds both {other!r} and {name!r}: a chain of layers is explained, not branches")


def _restore_dropouts(
    layers: tuple[Node, ...], index: dict[str, int], parents: dict[str, list[tuple[str, int, int]]], last: str
) -> tuple[Node, ...]:
    """Put back Dropout layers that the nodes name but the list lacks, as custom models of old Keras versions write.

    Their own input was lost: it is the one layer that nothing else reads, or else they stay missing.
    """
    missing = {below for calls in parents.values() for below, _, _ in calls if below not in index}
    for name in sorted(missing):
        read = {below for calls in parents.values() for below, _, _ in calls}
        unread = [layer.name for layer in layers if layer.name not in read and layer.name != last]
        consumer = next(n for n, calls in parents.items() if any(below == name for below, _, _ in calls))
        before = [n for n in unread if index[n] < index[consumer]]
        if "dropout" not in name or not before:
            continue
        index[name] = len(layers)
        parents[name] = [(before[-1], 0, 0)]
        layers = (*layers, Node("Dropout", name, {"rate": 0.0}))
    return layers


def _brief(value: object) -> str:
    text = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else text[:57] + "..."
