"""Layers without weights: identities at inference, activations, and reshapes that change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from fastlrp.errors import ModelFileError
from fastlrp.keras.kinds import cannot
from fastlrp.keras.options import activation, label
from fastlrp.keras.tree import Node
from fastlrp.model.layers import Dropout


def identity(node: Node) -> Dropout | None:
    """The Dropout to keep for the summary, whatever its class is called; None for any other layer."""
    if node.class_name == "Cast" and "float" not in str(node.config.get("dtype")):  # Keras 3.6 to 3.8 list casts
        raise ModelFileError(cannot(node, "it turns features into whole numbers"))
    rate = node.config.get("rate")
    known = isinstance(rate, int | float) and not isinstance(rate, bool) and 0 <= rate < 1
    return Dropout(float(rate or 0), node.name) if "Dropout" in node.class_name and known else None


def check_shape(kind: str, node: Node, here: Sequence[int | None]) -> None:
    """Refuse a Flatten or Reshape that changes the shape ``here`` (without the sample)."""
    if kind == "Flatten":
        if len(here) > 1:
            raise ModelFileError(
                cannot(node, "it joins all steps; give the last recurrent layer return_sequences=False")
            )
        return
    target = node.config.get("target_shape")
    same = isinstance(target, list) and len(target) == len(here) and target.count(-1) <= 1
    if not same or any(size not in (-1, known) for size, known in zip(target or [], here, strict=False)):
        raise ModelFileError(
            f"{label(node)} changes the shape from {shape_text(here)} to {target!r:.80}, which is not explained"
        )


def activation_of(kind: str, node: Node, sequence: bool, keras2: bool) -> str:
    """The activation that an activation layer applies."""
    if kind == "Activation":
        return activation(node, "activation", keras2)
    if kind == "Softmax":
        axis = node.config.get("axis", -1)
        if axis not in (-1, 2 if sequence else 1):
            raise ModelFileError(f"{label(node)} works along axis {axis!r:.40}, expected the last")
        return "softmax"
    slope, threshold, top = (node.config.get(key) for key in ("negative_slope", "threshold", "max_value"))
    if slope not in (None, 0) or threshold not in (None, 0) or top is not None:
        raise ModelFileError(
            f"{label(node)} is a leaky, capped or shifted relu, which is not explained: use a plain one"
        )
    return "relu"


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape as text; its sizes may be open."""
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
