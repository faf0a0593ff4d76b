"""A network's weights as one flat array, layer by layer in the order of ``Layer.arrays``, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.network import LSTM, Bidirectional, Dropout, Network

Array = npt.NDArray[Any]


def flat_weights(net: Network, dtype: Any) -> Array:
    """All weights as one array, and a zero behind them that packed fillers read."""
    arrays = [array.ravel() for layer in net.layers for array in layer.arrays]
    return np.concatenate([*arrays, np.zeros(1)]).astype(dtype)


def unflatten(net: Network, flat: Array) -> list[Array]:
    """Copies of a flat array's parts, with the shapes and in the order of the layers' arrays."""
    parts, at = [], 0
    for layer in net.layers:
        for array in layer.arrays:
            parts.append(flat[at : at + array.size].reshape(array.shape).copy())
            at += array.size
    return parts


def with_weights(net: Network, flat: Array, steps: int) -> Network:
    """The same network with other weights."""
    parts = iter(unflatten(net, flat))

    def renew(layer: Any) -> Any:
        if isinstance(layer, Dropout):
            return layer
        if isinstance(layer, Bidirectional):
            return replace(layer, forward=renew(layer.forward), backward=renew(layer.backward))
        names = ("W", "U", "b") if isinstance(layer, LSTM) else ("W", "b")
        return replace(layer, **{name: next(parts) for name in names if getattr(layer, name) is not None})

    return Network(
        [renew(layer) for layer in net.layers], steps=net.steps if net.steps is not None else steps,
        features=net.features, outputs=net.outputs, name=net.name,
    )  # fmt: skip
