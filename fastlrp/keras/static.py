"""Static features in a Keras model: the way of a second input to where it joins the last recurrent layer's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastlrp.errors import ModelFileError
from fastlrp.keras.fold import Affine, Array, Weights, affine_of
from fastlrp.keras.kinds import AFFINE, IDENTITIES, cannot, kind_of
from fastlrp.keras.options import input_shape, label
from fastlrp.keras.passthrough import activation_of, check_shape, identity, shape_text
from fastlrp.keras.tree import Node, Use

_FOLDS = (
    "it stands between static features and the layer that reads them, where only what folds into that layer is "
    "explained (BatchNormalization, Normalization, Rescaling): let them join as they are"
)


class Way(NamedTuple):
    """Static features as they join: how many, and the map that they have gone through."""

    width: int
    affine: Affine | None


def static_way(uses: Sequence[Use], weights: Weights) -> Way:
    """The calls from the second input to the join; raises ModelFileError where they do not fold into what is above."""
    first, affine = uses[0].layer, None
    shape = input_shape(first)
    if shape is None or len(shape) != 2 or shape[1] is None or shape[1] < 1:
        size = "which it does not say" if shape is None else shape_text(shape)
        raise ModelFileError(f"{label(first)} takes static features of shape {size}, expected (sample, static)")
    for use in uses[1:]:
        node, kind = use.layer, kind_of(use.layer)
        if kind in AFFINE:
            affine = affine_of(kind, node, shape[1], False, weights).after(affine)
        elif kind in IDENTITIES:
            identity(node)  # refuses casts to whole numbers
        elif kind in ("Flatten", "Reshape"):
            check_shape(kind, node, [shape[1]])
        elif kind != "Activation" or activation_of(kind, node, False, False)[0] != "linear":
            raise ModelFileError(cannot(node, _FOLDS))
    return Way(shape[1], affine)


@dataclass(frozen=True)
class Joined:
    """The layer that joins H units and S static features, and whether the latter come first."""

    node: Node
    units: int
    static: int
    first: bool

    def affine(self, below: Affine | None, static: Affine | None) -> Affine | None:
        """Maps of both, waiting for the layer above, as one of the joined input."""
        if below is None and static is None:
            return None
        parts = [
            (np.ones(size), np.zeros(size)) if one is None else (one.scale, one.offset)
            for size, one in ((self.units, below), (self.static, static))
        ]
        scale, offset = (np.concatenate(both[:: -1 if self.first else 1]) for both in zip(*parts, strict=True))
        return Affine(self.node, scale, offset)

    def ordered(self, W: Array) -> Array:
        """The rows of the layer above as a Network has them: static features last."""
        return np.concatenate([W[self.static :], W[: self.static]]) if self.first else W
