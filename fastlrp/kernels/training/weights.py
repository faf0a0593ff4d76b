"""A network's weights as one flat array, layer by layer in the order of ``Layer.arrays``, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.model.chain import Chain

Array = npt.NDArray[Any]


def flat_weights(net: Chain, dtype: Any) -> Array:
    """All weights as one array, followed by a zero that packed padding reads."""
    arrays = [array.ravel() for layer in net.layers for array in layer.arrays]
    return np.concatenate([*arrays, np.zeros(1)]).astype(dtype)


def unflatten(net: Chain, flat: Array) -> list[Array]:
    """Copies of a flat array's parts, with the shapes and in the order of the layers' arrays."""
    parts, at = [], 0
    for layer in net.layers:
        for array in layer.arrays:
            parts.append(flat[at : at + array.size].reshape(array.shape).copy())
            at += array.size
    return parts
