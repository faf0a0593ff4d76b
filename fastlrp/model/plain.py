"""Networks as plain values, and back: nested dicts of arrays, strings and numbers that any file format can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from fastlrp.model.chain import Chain
from fastlrp.model.layers import GRU, LSTM, Array, Bidirectional, Dense, Dropout, Layer, Masking, Recurrent

Plain = dict[str, Any]
C = TypeVar("C", bound=Chain)

_KINDS: dict[str, type[LSTM] | type[GRU] | type[Dense] | type[Dropout] | type[Masking]] = {
    "LSTM": LSTM, "GRU": GRU, "Dense": Dense, "Dropout": Dropout, "Masking": Masking,
}  # fmt: skip


def plain_layers(net: Chain) -> list[Plain]:
    """The layers of a network as dicts of arrays, strings, numbers and None."""
    return [_plain(layer) for layer in net.layers]


def _plain(layer: Layer) -> Plain:
    values = {key: _plain(value) if isinstance(value, Recurrent) else value for key, value in vars(layer).items()}
    if values.get("alpha") is None:  # a network without such an activation keeps the fingerprint that it had before
        values.pop("alpha", None)
    return {"kind": layer.kind, **values}


def layers_of(plain: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """The layers that :func:`plain_layers` described."""
    return [_layer(values) for values in plain]


def _layer(plain: Mapping[str, Any]) -> Layer:
    values = {key: value for key, value in plain.items() if key != "kind"}
    if plain["kind"] == "Bidirectional":
        forward, backward = (cast(Recurrent, _layer(values.pop(key))) for key in ("forward", "backward"))
        return Bidirectional(forward, backward, **values)
    return _KINDS[plain["kind"]](**values)


def arrays_of(net: Chain) -> list[Array]:
    """All weights of a network, layer by layer."""
    return [array for layer in net.layers for array in layer.arrays]


def with_arrays(net: C, arrays: Sequence[Array]) -> C:
    """The same network with other weights, in the order of :func:`arrays_of`.

    Raises
    ------
    ValueError
        If there are too many or too few arrays, or a shape does not fit.
    """
    shapes, expected = [array.shape for array in arrays], [array.shape for array in arrays_of(net)]
    if shapes != expected:
        raise ValueError(f"weights have shapes {shapes}, expected {expected}")
    source = iter(arrays)
    layers = [_filled(layer, source) for layer in net.layers]
    return net.replaced(layers=layers)


def _filled(layer: Layer, source: Iterator[Array]) -> Layer:
    if isinstance(layer, Bidirectional):
        forward, backward = (cast(Recurrent, _filled(one, source)) for one in (layer.forward, layer.backward))
        return replace(layer, forward=forward, backward=backward)
    names = ("W", "U", "b") if isinstance(layer, Recurrent) else ("W", "b")
    weights: dict[str, Any] = {name: next(source) for name, _ in zip(names, layer.arrays, strict=False)}
    return replace(layer, **weights)
