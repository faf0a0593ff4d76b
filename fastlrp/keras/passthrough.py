"""Layers without weights: identities at inference, activations, and reshapes that change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from fastlrp.errors import ModelFileError
from fastlrp.keras.kinds import ACTIVATIONS, cannot
from fastlrp.keras.options import activation, label
from fastlrp.keras.tree import Node
from fastlrp.model.layers import Dropout

_AS_ACTIVATIONS = ACTIVATIONS - {"Activation"}


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


def dense_activation(node: Node, keras2: bool) -> tuple[str, float | None]:
    """The activation of a Dense layer, and its parameter; Keras writes a layer used as one with its configuration."""
    value = node.config.get("activation")
    inner = value.get("config") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(inner, dict) and value.get("class_name") in _AS_ACTIVATIONS:
        return activation_of(value["class_name"], Node(value["class_name"], node.name, inner), False, keras2)
    return activation(node, "activation", keras2), None


def activation_of(kind: str, node: Node, sequence: bool, keras2: bool) -> tuple[str, float | None]:
    """The activation that an activation layer applies, and its parameter."""
    if kind == "Activation":
        return dense_activation(node, keras2)
    if kind == "Softmax":
        axis = node.config.get("axis", -1)
        if axis not in (-1, 2 if sequence else 1):
            raise ModelFileError(f"{label(node)} works along axis {axis!r:.40}, expected the last")
        return "softmax", None
    if kind == "ELU":
        return "elu", _number(node, "alpha", 1.0)
    if kind == "LeakyReLU":  # Keras 3 calls it negative_slope
        return "leaky_relu", _number(node, "negative_slope" if "negative_slope" in node.config else "alpha", 0.3)
    slope, threshold = (_number(node, key, 0.0) for key in ("negative_slope", "threshold"))
    top = node.config.get("max_value")
    if threshold or top not in (None, 6) or isinstance(top, bool) or (top is not None and slope):
        raise ModelFileError(
            f"{label(node)} is a shifted relu, or one capped elsewhere than at 6, which is not explained: use relu, "
            "relu6 or a LeakyReLU"
        )
    return ("relu6", None) if top is not None else ("leaky_relu", slope) if slope else ("relu", None)


def _number(node: Node, key: str, default: float) -> float:
    """A parameter of an activation; None stands for Keras' default."""
    value = node.config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ModelFileError(f"{label(node)} has {key}={value!r:.60}, expected a finite number of at least 0")
    return float(value)


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape as text; its sizes may be open."""
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
