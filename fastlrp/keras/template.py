"""Describes a fastlrp Network as a Keras model, for files that hold only weights."""

from __future__ import annotations

from typing import Any

from fastlrp.keras.tree import Join, Node
from fastlrp.model.layers import GRU, Bidirectional, Dense, Layer, Masking, Recurrent
from fastlrp.network import Network

#: Keras' layers for activations that have a parameter; both versions read it as alpha.
ACTIVATION_LAYERS = {"leaky_relu": "LeakyReLU", "elu": "ELU"}


def tree_of(network: Network) -> Node:
    """The tree that Keras would have written for a chain of these layers."""
    shape = [None, network.steps, network.n_features] if network.recurrent else [None, network.n_features]
    nodes = [Node("InputLayer", "input", {"batch_shape": shape})]
    nodes += [_node(layer, i) for i, layer in enumerate(network)]
    chain, join = tuple((i, 0) for i in range(len(nodes))), None
    if network.n_static:
        nodes.insert(1 + network.join, Node("Concatenate", "concatenate", {}))
        nodes.append(Node("InputLayer", "static", {"batch_shape": [None, network.n_static]}))
        join, chain = Join(1 + network.join, ((len(nodes) - 1, 0),), False), (*chain, (len(chain), 0))
    return Node("Sequential", network.name or "network", {}, True, tuple(nodes), chain, join=join, by_order=True)


def _node(layer: Layer, i: int) -> Node:
    name = layer.name or f"{type(layer).__name__.lower()}_{i}"
    if isinstance(layer, Recurrent):
        return Node(layer.kind, name, recurrent_config(layer, name))
    if isinstance(layer, Bidirectional):
        parts = {"layer": layer.forward, "backward_layer": layer.backward}
        config: dict[str, Any] = {
            key: {"class_name": part.kind, "config": recurrent_config(part, name)} for key, part in parts.items()
        }
        kernel = layer.forward.W.shape
        return Node("Bidirectional", name, {**config, "merge_mode": layer.merge_mode, "kernel_shape": kernel})
    if isinstance(layer, Dense):
        own: Any = layer.activation
        if layer.alpha is not None:
            own = {"class_name": ACTIVATION_LAYERS[layer.activation], "config": {"alpha": layer.alpha}}
        options = {"units": layer.n_outputs, "use_bias": layer.b is not None, "activation": own}
        return Node("Dense", name, {**options, "kernel_shape": layer.W.shape})
    if isinstance(layer, Masking):
        return Node("Masking", name, {"mask_value": layer.value})
    return Node("Dropout", name, {"rate": layer.rate})


def recurrent_config(layer: Recurrent, name: str) -> dict[str, Any]:
    """Keras' options for an LSTM or a GRU."""
    own = {"reset_after": bool(layer.reset_after)} if isinstance(layer, GRU) else {}
    return {
        "name": name,
        "units": layer.units,
        "use_bias": layer.b is not None,
        "return_sequences": layer.return_sequences,
        "go_backwards": layer.go_backwards,
        "activation": layer.activation,
        "recurrent_activation": layer.recurrent_activation,
        "kernel_shape": layer.W.shape,
        **own,
    }
