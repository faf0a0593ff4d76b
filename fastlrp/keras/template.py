"""Describes a fastlrp Network as a Keras model, for files that hold only weights."""

from __future__ import annotations

from typing import Any

from fastlrp.keras.tree import Node
from fastlrp.model.layers import LSTM, Bidirectional, Dense, Layer
from fastlrp.network import Network

#: Keras' layers for activations that have a parameter; both versions read it as alpha.
ACTIVATION_LAYERS = {"leaky_relu": "LeakyReLU", "elu": "ELU"}


def tree_of(network: Network) -> Node:
    """The tree that Keras would have written for a chain of these layers."""
    shape = [None, network.steps, network.n_features] if network.recurrent else [None, network.n_features]
    nodes = [Node("InputLayer", "input", {"batch_shape": shape})]
    nodes += [_node(layer, i) for i, layer in enumerate(network)]
    chain = tuple((i, 0) for i in range(len(nodes)))
    return Node("Sequential", network.name or "network", {}, True, tuple(nodes), chain, by_order=True)


def _node(layer: Layer, i: int) -> Node:
    name = layer.name or f"{type(layer).__name__.lower()}_{i}"
    if isinstance(layer, LSTM):
        return Node("LSTM", name, lstm_config(layer, name))
    if isinstance(layer, Bidirectional):
        parts = {"layer": layer.forward, "backward_layer": layer.backward}
        config: dict[str, Any] = {
            key: {"class_name": "LSTM", "config": lstm_config(part, name)} for key, part in parts.items()
        }
        kernel = layer.forward.W.shape
        return Node("Bidirectional", name, {**config, "merge_mode": layer.merge_mode, "kernel_shape": kernel})
    if isinstance(layer, Dense):
        own: Any = layer.activation
        if layer.alpha is not None:
            own = {"class_name": ACTIVATION_LAYERS[layer.activation], "config": {"alpha": layer.alpha}}
        options = {"units": layer.n_outputs, "use_bias": layer.b is not None, "activation": own}
        return Node("Dense", name, {**options, "kernel_shape": layer.W.shape})
    return Node("Dropout", name, {"rate": layer.rate})


def lstm_config(layer: LSTM, name: str) -> dict[str, Any]:
    """Keras' options for an LSTM."""
    return {
        "name": name,
        "units": layer.units,
        "use_bias": layer.b is not None,
        "return_sequences": layer.return_sequences,
        "go_backwards": layer.go_backwards,
        "activation": layer.activation,
        "recurrent_activation": layer.recurrent_activation,
        "kernel_shape": layer.W.shape,
    }
