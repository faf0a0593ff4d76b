"""Keras' JSON description of a model as a tree of layers.

It is read only as data: class names are compared with known ones, ``module`` and ``registered_name`` never imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastlrp.errors import ModelFileError
from fastlrp.keras.chain import functional_chain
from fastlrp.keras.tree import MAX_LAYERS, MAX_NESTING, Join, Node, Use, brief

#: A chain of a hundred layers needs about 100 kB; parsed JSON takes up to 25 times its text.
MAX_JSON = 4 << 20


def load_json(text: str, where: str) -> Any:
    """The value of JSON text; raises ModelFileError with a sentence where it is not JSON."""
    if len(text) > MAX_JSON:
        raise ModelFileError(f"{where} is {len(text) / 1e6:.0f} MB of JSON, more than the {MAX_JSON / 1e6:.0f} MB read")
    try:
        return json.loads(text)
    except RecursionError:
        raise ModelFileError(f"{where} is nested too deeply to be what Keras or fastlrp writes") from None
    except ValueError as error:
        raise ModelFileError(f"{where} is not JSON: {str(error)[:100]}") from None


def parse_json(text: str, where: str) -> dict[str, Any]:
    """A JSON object; raises ModelFileError with a sentence where the text holds none."""
    value = load_json(text, where)
    if not isinstance(value, dict):
        raise ModelFileError(f"{where} must be a JSON object, not {brief(value)}")
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
    """The calls from input to output, nested models expanded; raises ModelFileError where the model is no chain."""
    if model.broken:
        raise ModelFileError(model.broken)
    yield from _calls(model, model.chain)


def _calls(model: Node, chain: tuple[tuple[int, int], ...]) -> Iterator[Use]:
    for index, output in chain:
        layer = (model.layers or ())[index]
        if layer is model.joining and model.join is not None:
            yield Use(layer, output, tuple(_calls(model, model.join.chain)), model.join.first)
        elif layer.layers is None:
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
        raise ModelFileError(f"{where} holds a layer without a class name: {brief(entry)}")
    kind, config = str(entry["class_name"]), entry.get("config")
    if isinstance(config, list) and kind == "Sequential":  # Keras before 2.2.3 wrote only the layers
        config = {"name": "sequential", "layers": config}
    if not isinstance(config, dict):
        raise ModelFileError(f"{where}: the configuration of a {kind} is {brief(config)}, expected an object")
    config = {**config, "build_config": entry.get("build_config")}
    name = config.get("name", entry.get("name", kind.lower()))
    if not isinstance(name, str):
        raise ModelFileError(f"{where}: a {kind} has the name {brief(name)}, expected text")
    inner, trainable = config.get("layers"), config.get("trainable", True) is not False
    if inner is None or not isinstance(inner, list) or kind == "StackedRNNCells":
        return Node(kind, name, config, trainable)
    layers = tuple(_node(item, where, depth + 1, budget) for item in inner)
    join: Join | None = None
    functional = "output_layers" in config or "input_layers" in config
    try:
        if functional:
            chain, layers, join = functional_chain(name, config, inner, layers)
        else:
            chain = tuple((i, 0) for i in range(len(layers)))
    except ModelFileError as error:
        return Node(kind, name, config, trainable, layers, broken=str(error))
    return Node(kind, name, config, trainable, layers, chain, join=join)
