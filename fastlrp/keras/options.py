"""Checks the options of Keras layers: what a configuration says about a layer, and which weights follow from it."""

from __future__ import annotations

from typing import Any

from fastlrp.errors import ModelFileError
from fastlrp.keras.kinds import RECURRENT, kind_of
from fastlrp.keras.tree import Node
from fastlrp.model.layers import DENSE_ACTIVATIONS, LSTM_ACTIVATIONS

WRAPPERS = {"Bidirectional", "TimeDistributed"}


def label(node: Node) -> str:
    """The name of a layer in messages."""
    return f"layer {node.name!r} ({node.class_name})"


def recurrent_config(node: Node) -> dict[str, Any]:
    """The options of an LSTM or a GRU, with those of its cell where it is an RNN over one."""
    cell = node.config.get("cell")
    inner = cell.get("config") if isinstance(cell, dict) else None
    return {**inner, **node.config} if isinstance(inner, dict) else node.config


def option(
    node: Node, key: str, default: Any, kind: type | tuple[type, ...], config: dict[str, Any] | None = None
) -> Any:
    """An option of a layer, checked to be of the expected type."""
    value = (node.config if config is None else config).get(key, default)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ModelFileError(f"{label(node)} has {key}={_brief(value)}, which Keras never writes")
    return value


def activation(
    node: Node, key: str, keras2: bool, config: dict[str, Any] | None = None, recurrent: bool = False
) -> str:
    """fastlrp's name of an activation; ``hard_sigmoid`` is another function in Keras 1 and 2."""
    value = (node.config if config is None else config).get(key, "linear")
    if isinstance(value, dict):  # Keras writes a user's own function so, or a layer used as one
        inner = value.get("config")
        own = inner if isinstance(inner, str) else value.get("class_name")
        raise ModelFileError(f"{label(node)} has the {key} {_brief(own)} of its own, which is not explained")
    name = "linear" if value is None else value
    if name == "swish":  # the older name
        name = "silu"
    if name == "hard_sigmoid" and keras2:
        name = "hard_sigmoid_keras2"
    choices = LSTM_ACTIVATIONS if recurrent else DENSE_ACTIVATIONS
    if not isinstance(name, str) or name not in choices:
        allowed = ", ".join(choice for choice in choices if choice != "hard_sigmoid_keras2")
        raise ModelFileError(f"{label(node)} has {key} {_brief(value)}, expected one of {allowed}")
    return name


def wrapped(node: Node, key: str) -> Node:
    """The layer inside a Bidirectional or TimeDistributed."""
    inner = node.config.get(key)
    if (
        not isinstance(inner, dict)
        or not isinstance(inner.get("class_name"), str)
        or not isinstance(inner.get("config"), dict)
    ):
        raise ModelFileError(f"{label(node)} does not say which layer it wraps")
    return Node(inner["class_name"], node.name, inner["config"], node.trainable)


def recurrent_options(node: Node, owner: Node | None = None) -> dict[str, Any]:
    """The options of an LSTM or a GRU; raises ModelFileError where a wrapper holds another layer."""
    if kind_of(node) not in RECURRENT:
        raise ModelFileError(
            f"{label(owner or node)} wraps a {node.class_name}, which is not explained: only LSTMs and GRUs are"
        )
    config = recurrent_config(node)
    if node.class_name == "CuDNNLSTM":
        config = {**config, "activation": "tanh", "recurrent_activation": "sigmoid"}
    defaults = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    return {**defaults, **config}


def roles(node: Node) -> tuple[list[str], list[str]]:
    """The names of a layer's trainable weights and of its others, in Keras' order."""
    kind, config = kind_of(node), node.config
    if kind in RECURRENT:
        bias = ["bias"] if recurrent_config(node).get("use_bias", True) else []
        return ["kernel", "recurrent_kernel", *bias], []
    if kind == "Dense":
        return ["kernel", *(["bias"] if config.get("use_bias", True) else [])], []
    if kind == "BatchNormalization":
        affine = [name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)]
        return affine, ["moving_mean", "moving_variance"]
    if kind == "Normalization":
        return [], ["mean", "variance", "count"] if config.get("mean") is None else []
    if kind in WRAPPERS:
        inner = [wrapped(node, "layer"), *([backward_of(node)] if kind == "Bidirectional" else [])]
        if not any(kind_of(layer) in WRAPPERS for layer in inner):
            parts = [roles(layer) for layer in inner]
            return [name for train, _ in parts for name in train], [name for _, rest in parts for name in rest]
    return [], []


def backward_of(node: Node) -> Node:
    """The backward layer of a Bidirectional; files describe it only where it differs."""
    return wrapped(node, "backward_layer" if node.config.get("backward_layer") else "layer")


def input_shape(node: Node) -> list[Any] | None:
    """The input shape that a layer states, sample first, or None."""
    config = node.config
    build_config = config.get("build_config")
    found = config.get("batch_input_shape") or config.get("batch_shape")
    if not isinstance(found, list) and isinstance(build_config, dict):
        found = build_config.get("input_shape")
    if not isinstance(found, list) or not all(
        n is None or (isinstance(n, int) and not isinstance(n, bool)) for n in found
    ):
        return None
    return found


def _brief(value: object) -> str:
    text = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
