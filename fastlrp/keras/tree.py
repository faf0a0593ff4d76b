"""A Keras model as a tree of layers: the configuration's contents as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_LAYERS, MAX_NESTING = 1000, 8


@dataclass(frozen=True)
class Join:
    """A layer where a second input joins a model's chain: its index, the calls from that input to it, as ``chain`` has
    them, and whether they come first."""

    layer: int
    chain: tuple[tuple[int, int], ...]
    first: bool


@dataclass(frozen=True, eq=False)
class Node:
    """A layer, or a model with the layers in it, as the configuration describes it.

    A model's ``chain`` holds the calls from input to output as (index of the layer, index of its output), and ``join``
    what joins it on the way; where the model is no such chain, ``broken`` says why.
    """

    class_name: str
    name: str
    config: dict[str, Any]
    trainable: bool = True
    layers: tuple[Node, ...] | None = None
    chain: tuple[tuple[int, int], ...] = ()
    broken: str | None = None
    join: Join | None = None
    by_order: bool = False  # names are not Keras' own, so layers and weights are matched by order

    @property
    def joining(self) -> Node | None:
        """The layer where a second input joins."""
        return None if self.join is None or self.layers is None else self.layers[self.join.layer]

    def leaves(self) -> Iterator[Node]:
        """The layers proper, in the order of the file."""
        if self.layers is None:
            yield self
        for layer in self.layers or ():
            yield from layer.leaves()


@dataclass(frozen=True)
class Use:
    """One call of a layer on the way from input to output, and the index of the output that goes on; where static
    features join, ``beside`` is their own way, and ``first`` whether it comes first."""

    layer: Node
    output: int = 0
    beside: tuple[Use, ...] = ()
    first: bool = False


def brief(value: object) -> str:
    """A value of a configuration, short enough for a sentence."""
    text = repr(value) if not isinstance(value, dict | list) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 60 else text[:57] + "..."
