"""The weights of a model's layers in an open file, whatever its layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.errors import ModelFileError
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.legacy import legacy_root, legacy_weights
from fastlrp.keras.options import label
from fastlrp.keras.tree import Node
from fastlrp.keras.v3 import v3_weights
from fastlrp.messages import count

Array = npt.NDArray[Any]


class WeightFile:
    """The weights of a model's layers in one file; call it with a layer and the expected shapes.

    Parameters
    ----------
    file : HDF5File
        Must stay open while this is used.
    model : Node
        The tree of the model.
    """

    def __init__(self, file: HDF5File, model: Node) -> None:
        self.file = file
        root = legacy_root(file)
        self.paths = legacy_weights(file, model, root) if root is not None else v3_weights(file, model)

    def __call__(self, node: Node, shapes: Sequence[tuple[int | None, ...]]) -> list[Array]:
        """The weights of a layer, each of the expected shape (None leaves a size open)."""
        paths = self.paths.get(node)
        if paths is None:
            raise ModelFileError(f"{self.file.label} holds no weights for {label(node)}")
        if len(paths) != len(shapes):
            raise ModelFileError(
                f"{self.file.label} holds {count(len(paths), 'weight')} for {label(node)}, expected {len(shapes)}"
            )
        return [self._read(node, path, shape) for path, shape in zip(paths, shapes, strict=True)]

    def _read(self, node: Node, path: str, shape: tuple[int | None, ...]) -> Array:
        stored = self.file.datasets.get(path)
        if stored is None:
            raise ModelFileError(f"{self.file.label} lacks {path!r}, a weight of {label(node)}")
        if len(stored.shape) != len(shape) or any(e not in (None, n) for n, e in zip(stored.shape, shape, strict=True)):
            want = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
            raise ModelFileError(f"{label(node)}: weight {path!r} has shape {stored.shape}, expected {want}")
        array = self.file.read(path)
        if not np.isfinite(array).all():
            raise ModelFileError(f"{label(node)}: weight {path!r} holds NaN or infinite values")
        return array
