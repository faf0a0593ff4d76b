"""Affine layers (BatchNormalization, Normalization, Rescaling) and their folding into the linear map beside them.

y = s x + t below a layer with weights W, b is the same as W' = diag(s) W and b' = b + t W; above a linear Dense it is
W' = W diag(s), b' = s b + t. Predictions are those of Keras to round-off; relevance is that of the folded map.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.errors import ModelFileError
from fastlrp.keras.options import label, option, roles
from fastlrp.keras.tree import Node
from fastlrp.model.layers import Dense

Array = npt.NDArray[Any]
#: A layer's weights in Keras' own order, each checked against the requested shape; None leaves a size open.
Weights = Callable[[Node, Sequence[tuple[int | None, ...]]], list[Array]]
#: Inputs this many deviations from zero cancel in float32 once their mean is folded; such layers become float64.
FAR = 32.0


@dataclasses.dataclass(frozen=True)
class Affine:
    """y = scale x + offset, with one scale and one offset for each feature, and the layer that it stands for."""

    node: Node
    scale: Array
    offset: Array

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale).all() and np.isfinite(self.offset).all()):
            raise ModelFileError(f"{label(self.node)} has values that are NaN or infinite, or a negative variance")

    def after(self, below: Affine | None) -> Affine:
        """This map applied after another."""
        if below is None:
            return self
        return Affine(self.node, below.scale * self.scale, below.offset * self.scale + self.offset)

    def into_above(self, W: Array, b: Array | None) -> tuple[Array, Array]:
        """The weights of the layer above, with this map folded in."""
        far = np.abs(self.offset).max() > FAR
        dtype = np.dtype(np.float64) if far else np.promote_types(W.dtype, np.float32)
        bias = self.offset @ W.astype(np.float64) + (0.0 if b is None else b.astype(np.float64))
        return (self.scale[:, None] * W.astype(np.float64)).astype(dtype), bias.astype(dtype)

    def into_below(self, dense: Dense) -> Dense:
        """The linear Dense layer below, with this map folded in."""
        bias = self.offset if dense.b is None else dense.b * self.scale + self.offset
        dtype = dense.W.dtype
        return dataclasses.replace(dense, W=(dense.W * self.scale).astype(dtype), b=bias.astype(dtype))


def affine_of(kind: str, node: Node, width: int | None, sequence: bool, weights: Weights) -> Affine:
    """The map of one affine layer over ``width`` features (None: the size of its weights tells)."""
    with np.errstate(all="ignore"):  # what is not finite is refused by name
        if kind == "BatchNormalization":
            return _batchnorm(node, width, sequence, weights)
        if width is None:
            raise ModelFileError(
                f"{label(node)} is the first layer, but the model does not say how many features go in"
            )
        if kind == "Normalization":
            return _normalization(node, width, weights)
        return Affine(node, *(_vector(node, key, node.config.get(key, 0.0), width) for key in ("scale", "offset")))


def _batchnorm(node: Node, width: int | None, sequence: bool, weights: Weights) -> Affine:
    axis = node.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, 2 if sequence else 1):
        raise ModelFileError(f"{label(node)} normalises axis {axis!r}, expected the features, the last axis")
    eps = float(option(node, "epsilon", 1e-3, (int, float)))
    names = [name for part in roles(node) for name in part]
    arrays = weights(node, [(width,)] * len(names))
    found = {name: array.astype(np.float64) for name, array in zip(names, arrays, strict=True)}
    mean, variance = found["moving_mean"], found["moving_variance"] + eps
    if not (variance > 0).all() or len({array.shape for array in arrays}) != 1:
        raise ModelFileError(f"{label(node)} has variances that are not positive, or weights of different sizes")
    scale = found.get("gamma", np.ones_like(mean)) / np.sqrt(variance)
    return Affine(node, scale, found.get("beta", np.zeros_like(mean)) - scale * mean)


def _normalization(node: Node, width: int, weights: Weights) -> Affine:
    mean, variance = node.config.get("mean"), node.config.get("variance")
    if mean is None:
        size = () if node.config.get("axis") is None else (width,)
        mean, variance, _ = weights(node, [size, size, ()])
    mean, variance = _vector(node, "mean", mean, width), _vector(node, "variance", variance, width)
    if (variance < 0).any():
        raise ModelFileError(f"{label(node)} has a negative variance")
    deviation = np.maximum(np.sqrt(variance), 1e-7)  # the same lower bound as Keras'
    if option(node, "invert", False, bool):
        return Affine(node, deviation, mean)
    return Affine(node, 1 / deviation, -mean / deviation)


def _vector(node: Node, key: str, value: object, width: int) -> Array:
    """One number for each feature, from a single number or one each."""
    if isinstance(value, dict):  # Keras 3 writes an array as an object
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else None
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.empty(0)
    if vector.size not in (1, width):
        raise ModelFileError(f"{label(node)} has no usable {key}, expected one number or {width}")
    return np.array(np.broadcast_to(vector.ravel(), (width,)))
