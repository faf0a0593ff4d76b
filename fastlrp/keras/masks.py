"""Masks in Keras 3's functional models, which list the operations that find them, and hand them to every layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


def mask_tensors(entries: Sequence[Any]) -> set[str]:
    """Names of the operations whose output is the mask of one of the model's Masking layers.

    Keras writes ``any(not_equal(x, value))`` beside a Masking layer that reads x and has the same value.
    """
    maskings, differing, found = set[tuple[Any, float]](), dict[str, tuple[Any, float]](), set[str]()
    for entry in entries:
        if _kind(entry) == "Masking" and len(tensors := _inputs(entry)) == 1:
            maskings.add((tensors[0], _number(entry.get("config", {}).get("mask_value", 0.0))))
        if _kind(entry) == "NotEqual" and len(tensors := _inputs(entry)) == 2:
            differing[_name(entry)] = (tensors[0], _number(tensors[1]))
    for entry in entries:
        tensors = _inputs(entry) if _kind(entry) == "Any" else []
        if len(tensors) == 1 and isinstance(tensors[0], tuple) and differing.get(tensors[0][0]) in maskings:
            found.add(_name(entry))
    return found


def masked_by(value: Any, masks: Collection[str]) -> bool:
    """Whether an argument of a call is one of these masks."""
    tensor = _tensor(value)
    return isinstance(tensor, tuple) and tensor[0] in masks


def _kind(entry: Any) -> object:
    return entry.get("class_name") if isinstance(entry, dict) else None


def _name(entry: dict[str, Any]) -> str:
    config = entry.get("config")
    return str(entry.get("name") or (config.get("name") if isinstance(config, dict) else None))


def _inputs(entry: dict[str, Any]) -> list[Any]:
    """What the entry's only call is given, in order: tensors by their history, and plain values."""
    nodes = entry.get("inbound_nodes")
    if not (isinstance(nodes, list) and len(nodes) == 1 and isinstance(nodes[0], dict)):
        return []
    args = nodes[0].get("args")
    return [_tensor(arg) for arg in args] if isinstance(args, list) else []


def _tensor(value: Any) -> Any:
    """A tensor's history as a tuple (layer, call, output); anything else as it is."""
    if not (isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"):
        return value if isinstance(value, int | float) else None
    config = value.get("config")
    history = config.get("keras_history") if isinstance(config, dict) else None
    good = isinstance(history, list) and len(history) == 3 and all(isinstance(part, str | int) for part in history)
    return tuple(history) if good and isinstance(history, list) else None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
