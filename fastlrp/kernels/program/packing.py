"""Packed weights of networks of the same shape, without walking up each of them.

A packed weight is a weight of the network times a number that does not depend on it: 1 for most, -log2(e) for those of
a sigmoid's gate, 0 for padding. So a network of ones shows these numbers, and one of 1, 2, 3 ... which weight stands
where. Where two weights add up to one packed weight, as a GRU's two biases do, this does not hold (``mixes``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np

from fastlrp.kernels.program.instructions import Array
from fastlrp.model.chain import Chain
from fastlrp.model.plain import Plain, arrays_of, plain_layers, with_arrays


class Packing(NamedTuple):
    """Where each packed weight comes from: its number among the network's weights, from 1 (0: padding), and a factor
    in float64."""

    number: Array
    factor: Array

    def pack(self, net: Chain) -> Array:
        """The packed weights of a network of this shape, in float64."""
        flat = np.concatenate([np.zeros(1, np.float32), *(array.reshape(-1) for array in arrays_of(net))])
        packed: Array = flat[self.number] * self.factor
        return packed


def mixes(net: Chain) -> bool:
    """Whether a packed weight may be the sum of two weights of the network, or none of them."""
    return net.n_static > 0 or any(cell.b is not None and cell.b.ndim == 2 for cell in net.cells)


def shape_of(net: Chain) -> Hashable:
    """All of a network that shapes its program: its layers but for weights and names."""
    return tuple(map(_shape, plain_layers(net)))


def _shape(layer: Plain) -> Hashable:
    return tuple(
        (key, _shape(value) if isinstance(value, dict) else getattr(value, "shape", value))
        for key, value in layer.items()
        if key != "name"
    )


def packing_of(net: Chain, packed: Callable[[Chain], Array]) -> Packing:
    """The packing of networks of this shape; ``packed`` gives the packed weights of one in float64."""
    arrays = arrays_of(net)
    first = np.cumsum([1, *(array.size for array in arrays)])
    numbers = [np.arange(at, at + array.size).reshape(array.shape) for at, array in zip(first, arrays, strict=False)]
    factor = packed(with_arrays(net, [np.ones(array.shape) for array in arrays]))
    number = packed(with_arrays(net, numbers))
    np.divide(number, factor, out=number, where=factor != 0)
    return Packing(np.rint(number).astype(np.intp), factor)
