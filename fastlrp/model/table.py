"""Networks, given as chains, as tables: a row a layer, at a prompt and in a notebook."""

from __future__ import annotations

import html
from typing import Any

from fastlrp.messages import count, shown
from fastlrp.model.layers import WEIGHTLESS, Bidirectional, Dense, Layer, Masking, Recurrent
from fastlrp.text_tables import html_table

HEAD = ("layer", "kind", "output", "activation", "parameters")
_NAMES = 12  # of inputs that a notebook lists


def rows_of(net: Any) -> list[tuple[str, ...]]:
    """The rows of a network's table: its input, and each layer's kind, output, activation and parameters."""
    steps = "T" if net.steps is None else str(net.steps)
    joins = net.join if net.n_static else -1
    sequence, width = net.recurrent, net.n_features
    rows: list[tuple[str, ...]] = [("input", "", f"({steps}, {width})" if sequence else f"({width},)", "", "")]
    for i, layer in enumerate(net):
        if isinstance(layer, Recurrent | Bidirectional):
            sequence = layer.return_sequences
        if not isinstance(layer, WEIGHTLESS):
            width = layer.n_outputs
        if i == joins:
            rows.append(("static", "", f"({net.n_static},)", "", ""))
        shape = f"({steps}, {width})" if sequence else f"({width},)"
        rows.append((layer.name or str(i), layer.kind, shape, _activations(layer), f"{layer.n_params:,}"))
    return rows


def total(net: Any) -> str:
    """A network's size in words."""
    return f"{count(net.n_params, 'parameter')}, {net.dtype}; {count(net.n_outputs, 'output')}"


def as_html(net: Any) -> str:
    """A network as a notebook shows it."""
    name = f" {net.name}" if net.name else ""
    parts = [f"<p>{html.escape(shown(f'Network{name}: {total(net)}'))}</p>"]
    parts.append(html_table(HEAD, [[shown(cell) for cell in row] for row in rows_of(net)], 4))
    for what, names in (("inputs", net.features), ("static", net.static)):
        if names is not None:
            more = f" and {len(names) - _NAMES:,} more" if len(names) > _NAMES else ""
            parts.append(f"<p>{html.escape(shown(f'{what}: ' + ', '.join(names[:_NAMES]) + more))}</p>")
    return f"<div>{''.join(parts)}</div>"


def _activations(layer: Layer) -> str:
    if isinstance(layer, Bidirectional):
        return layer.merge_mode
    if isinstance(layer, Recurrent):
        return f"{layer.activation}, {layer.recurrent_activation}"
    if isinstance(layer, Masking):
        return f"skips steps of {layer.value:g}"
    if isinstance(layer, Dense):
        return layer.activation if layer.alpha is None else f"{layer.activation}({layer.alpha:g})"
    return f"rate {layer.rate:g}"
