"""Turns a chain of Keras layers and their weights into fastlrp's layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlrp.errors import ModelFileError
from fastlrp.keras.cudnn import from_cudnn
from fastlrp.keras.fold import Affine, Array, Weights, affine_of
from fastlrp.keras.kinds import (
    ACTIVATIONS,
    AFFINE,
    ELSE,
    KEEP_MASKS,
    MASK_OPERATIONS,
    RECURRENT,
    cannot,
    kind_of,
    refusal,
)
from fastlrp.keras.options import activation, backward_of, input_shape, label, option, recurrent_options, wrapped
from fastlrp.keras.passthrough import activation_of, check_shape, dense_activation, identity, shape_text
from fastlrp.keras.static import Joined, static_way
from fastlrp.keras.tree import Node, Use
from fastlrp.model.layers import GRU, LSTM, WEIGHTLESS, Bidirectional, Dense, Dropout, Layer, Masking, Recurrent

Shape = tuple[int | None, ...]
#: Layers that TimeDistributed may wrap: they treat every step as they treat a single one.
STEPWISE = {"Dense", "Dropout", "BatchNormalization", "Rescaling", "Identity", *ACTIVATIONS}


@dataclasses.dataclass(frozen=True)
class Built:
    """The result of a chain: fastlrp's layers, the window that goes in, and how many static features join it."""

    layers: tuple[Layer, ...]
    steps: int | None
    features: int
    n_static: int = 0


def build(chain: Sequence[Use], weights: Weights, keras2: bool) -> Built:
    """fastlrp's layers for a chain of calls; raises ModelFileError at the first that cannot be represented."""
    builder = _Builder(weights, keras2)
    for use in chain:
        builder.add(use)
    return builder.result()


def _resets_after(node: Node, config: dict[str, Any]) -> bool:
    """Whether a GRU's reset gate works after its product; files from before Keras had the choice do not say, and there
    it works before."""
    return bool(option(node, "reset_after", False, bool, config))


class _Builder:
    """The state on the way up: the layers built, the shape here, and an affine map that waits for the layer above."""

    def __init__(self, weights: Weights, keras2: bool) -> None:
        self.weights, self.keras2 = weights, keras2
        self.layers: list[Layer] = []
        self.sequence = True
        self.stated = False  # whether the model says the shape of its input
        self.window: Shape | None = None
        self.width: int | None = None
        self.affine: Affine | None = None
        self.joined: Joined | None = None
        self.masked = False

    def add(self, use: Use) -> None:
        """Add one more layer."""
        node, kind = use.layer, kind_of(use.layer)
        if use.beside:
            self._join(use)
            return
        reason = refusal(node) or (ELSE if kind in MASK_OPERATIONS else None)
        if reason is None and self.masked and self.sequence and kind not in KEEP_MASKS | {"Masking"}:
            reason = (
                "it stands above a Masking layer, whose mask it perhaps loses in some versions of Keras, as it is not "
                "among the layers that are known to hand it on: leave it out, or apply it to X before the model"
            )
        if reason:
            raise ModelFileError(cannot(node, reason))
        if self.window is None:
            self._enter(node, kind)
        if use.output and kind not in RECURRENT:
            raise ModelFileError(f"output {use.output} of {label(node)} is used, expected its first")
        if kind in RECURRENT:
            self._recurrent(node, use.output)
        elif kind == "Bidirectional":
            self._bidirectional(node)
        elif kind == "Dense":
            self._dense(node)
        elif kind == "TimeDistributed":
            self._time_distributed(node)
        elif kind == "Masking":
            self._masking(node)
        elif kind in AFFINE:
            self._fold(affine_of(kind, node, self.width, self.sequence, self.weights))
        elif kind in ACTIVATIONS:
            self._activate(node, *activation_of(kind, node, self.sequence, self.keras2))
        elif kind in {"Flatten", "Reshape"}:
            check_shape(kind, node, self._shape_here())
        elif (dropout := identity(node)) is not None:
            self.layers.append(dropout)

    def result(self) -> Built:
        """The finished chain."""
        if self.affine is not None:
            raise ModelFileError(
                f"{label(self.affine.node)} has no linear layer beside it to be folded into: put it below a Dense or "
                "recurrent layer, or above a Dense layer without activation"
            )
        weighted = self._weighted()
        if not weighted:
            raise ModelFileError("the model has no layer with weights, expected LSTM, GRU or Dense layers")
        recurrent = any(isinstance(layer, Recurrent | Bidirectional) for layer in self.layers)
        if not recurrent and self.sequence and self.stated:
            raise ModelFileError(
                "the model takes windows of steps but has no recurrent layer, expected rows of features, as "
                "keras.Input((features,)) says"
            )
        assert self.window is not None
        assert self.window[1] is not None
        steps = self.window[0] if recurrent else None
        if self.joined is None:
            return Built(tuple(self.layers), steps, self.window[1])
        if not isinstance(weighted[-1], Dense):
            raise ModelFileError(cannot(self.joined.node, "no Dense layer reads what it joins"))
        return Built(tuple(self.layers), steps, self.window[1], self.joined.static)

    def _enter(self, node: Node, kind: str) -> None:
        """The window that goes in, from an input layer or from what the first layer says of its own input."""
        shape = input_shape(node)
        if shape is None:
            if kind == "InputLayer":
                raise ModelFileError(f"{label(node)} does not say its shape")
            return  # an old Sequential may hold no input shape; the first weights then tell
        if len(shape) not in (2, 3) or any(n is not None and n < 1 for n in shape):
            raise ModelFileError(
                f"the model's input has shape {shape_text(shape)}, expected (sample, step, feature), or (sample, "
                "feature) without recurrent layers"
            )
        self.stated, self.sequence = True, len(shape) == 3
        if shape[-1] is None:
            return
        self.width, self.window = shape[-1], (shape[1] if self.sequence else None, shape[-1])

    def _shape_here(self) -> list[int | None]:
        """The shape that goes into the next layer, without the sample."""
        return [self.window[0] if self.window else None, self.width] if self.sequence else [self.width]

    def _grow(self, layer: Recurrent | Bidirectional | Dense, width: int) -> None:
        """Put a layer with weights on top; the waiting affine map is already folded into it."""
        if self.window is None:
            self.window = (None, layer.n_inputs)
        self.layers.append(layer)
        self.affine, self.width = None, width
        if not isinstance(layer, Dense):
            self.sequence = layer.return_sequences

    # ------------------------------------------------------------------ layers with weights

    def _recurrent(self, node: Node, output: int) -> None:
        self._needs_sequence(node)
        config = recurrent_options(node)
        state = option(node, "return_state", False, bool, config)
        if output > 1 or (output and not state):
            raise ModelFileError(
                f"output {output} of {label(node)}, its cell state, is used: only its output is explained"
            )
        sequences = (
            option(node, "return_sequences", False, bool, config) and output == 0
        )  # output 1 is h of the last step
        arrays = self.weights(node, self._shapes(node, config))
        backwards = option(node, "go_backwards", False, bool, config)
        if backwards and sequences and self.masked:
            raise ModelFileError(
                cannot(node, "it returns its steps newest first, but Keras hands the mask on oldest first, so that "
                             "layers above skip others: use Bidirectional, or no Masking")
            )  # fmt: skip
        layer = self._read(node, config, arrays, return_sequences=sequences, go_backwards=backwards)
        self._grow(layer, layer.units)

    def _bidirectional(self, node: Node) -> None:
        self._needs_sequence(node)
        parts = (wrapped(node, "layer"), backward_of(node))
        configs = [recurrent_options(part, node) for part in parts]
        shapes = [self._shapes(part, config) for part, config in zip(parts, configs, strict=True)]
        arrays, cut = self.weights(node, shapes[0] + shapes[1]), len(shapes[0])
        mode = node.config.get("merge_mode", "concat")
        if mode not in ("concat", "sum", "ave"):
            raise ModelFileError(f"{label(node)} has merge_mode={mode!r}, expected concat, sum or ave")
        if configs[0].get("go_backwards"):
            raise ModelFileError(f"{label(node)} wraps a layer with go_backwards=True: give it as the backward layer")
        cells = []
        for part, config, own in zip(parts, configs, (arrays[:cut], arrays[cut:]), strict=True):
            sequences = option(part, "return_sequences", False, bool, config)
            cells.append(self._read(part, config, own, return_sequences=sequences))
        if len({cell.kind for cell in cells}) > 1:
            raise ModelFileError(f"{label(node)} wraps an LSTM and a GRU, expected two layers of one kind")
        layer = Bidirectional(cells[0], cells[1], mode, node.name)
        self._grow(layer, layer.n_outputs)

    def _shapes(self, node: Node, config: dict[str, Any]) -> list[Shape]:
        units = option(node, "units", None, int, config)
        if option(node, "time_major", False, bool, config):
            raise ModelFileError(f"{label(node)} has time_major=True, expected (sample, step, feature) order")
        gates = RECURRENT[kind_of(node)] * units
        bias: Shape = (2 * gates,) if node.class_name == "CuDNNLSTM" else (gates,)
        if kind_of(node) == "GRU" and _resets_after(node, config):
            bias = (2, gates)
        shapes: list[Shape] = [(self.width, gates), (units, gates), bias]
        return shapes if option(node, "use_bias", True, bool, config) else shapes[:2]

    def _read(self, node: Node, config: dict[str, Any], arrays: list[Array], **options: bool) -> Recurrent:
        W, U, *rest = arrays
        if node.class_name == "CuDNNLSTM":
            W, U, rest = from_cudnn(W, U, rest)
        bias = rest[0] if rest else None
        after = kind_of(node) == "GRU" and _resets_after(node, config)
        if self.affine is not None:  # which changes what comes from x_t alone
            W, own = self.affine.into_above(W, bias[0] if after and bias is not None else bias)
            bias = np.stack([own, np.zeros_like(own) if bias is None else bias[1]]) if after else own
        signal, gate = (
            activation(node, f"{which}activation", self.keras2, config, recurrent=True) for which in ("", "recurrent_")
        )
        how: dict[str, Any] = {"activation": signal, "recurrent_activation": gate, "name": node.name, **options}
        return GRU(W, U, bias, after, **how) if kind_of(node) == "GRU" else LSTM(W, U, bias, **how)

    def _dense(self, node: Node) -> None:
        units = option(node, "units", None, int)
        shapes: list[Shape] = [(self.width, units), (units,)]
        arrays = self.weights(node, shapes if option(node, "use_bias", True, bool) else shapes[:1])
        W, b = arrays[0], arrays[1] if len(arrays) > 1 else None
        if self.affine is not None:
            W, b = self.affine.into_above(W, b)
        if self.joined is not None and not isinstance(self._weighted()[-1], Dense):
            W = self.joined.ordered(W)
        name, alpha = dense_activation(node, self.keras2)
        self._grow(Dense(W, b, name, node.name, alpha), units)

    def _time_distributed(self, node: Node) -> None:
        self._needs_sequence(node)
        inner = wrapped(node, "layer")
        if kind_of(inner) not in STEPWISE:
            raise ModelFileError(
                f"{label(node)} wraps a {inner.class_name}: only Dense and element-wise layers are explained there"
            )
        plain = self.weights
        self.weights = lambda _, shapes: plain(node, shapes)  # the file keeps weights under the wrapper
        try:
            self.add(Use(inner))
        finally:
            self.weights = plain

    # ------------------------------------------------------------------ static features

    def _join(self, use: Use) -> None:
        """Put static features beside the last recurrent layer's output, as one input of the layer above."""
        node, static = use.layer, static_way(use.beside, self.weights)
        if node.config.get("axis", -1) not in (-1, 1):
            raise ModelFileError(f"{label(node)} works along axis {node.config['axis']!r:.40}, expected the last")
        weighted = self._weighted()
        if self.sequence or not weighted or isinstance(weighted[-1], Dense):
            below = "a sequence" if self.sequence else "a Dense layer's output"
            todo = "join them to the output of the last recurrent layer, which has return_sequences=False"
            raise ModelFileError(cannot(node, f"it joins static features to {below}: {todo}"))
        assert self.width is not None
        self.joined = Joined(node, self.width, static.width, use.first)
        self.affine = self.joined.affine(self.affine, static.affine)
        self.width += static.width

    def _weighted(self) -> list[Layer]:
        return [layer for layer in self.layers if not isinstance(layer, WEIGHTLESS)]

    # ------------------------------------------------------------------ masks

    def _masking(self, node: Node) -> None:
        """Put the layer below all others: those that stand there do nothing at inference."""
        if self.masked or self.affine is not None or not all(isinstance(layer, Dropout) for layer in self.layers):
            raise ModelFileError(
                cannot(node, "masked steps are told from the model's input, which other layers below it change: put it "
                             "first")
            )  # fmt: skip
        value = option(node, "mask_value", 0.0, (int, float))
        try:
            self.layers.insert(0, Masking(value, node.name))
        except ValueError as error:
            raise ModelFileError(f"{label(node)}: {error}") from None
        self.masked = True

    def _needs_sequence(self, node: Node) -> None:
        if not self.sequence and not any(isinstance(layer, Recurrent | Bidirectional) for layer in self.layers):
            raise ModelFileError(f"{label(node)} needs a sequence, but the model's input is (sample, feature)")
        if not self.sequence:
            raise ModelFileError(
                f"{label(node)} needs a sequence, but the recurrent layer below it gives only its last step"
            )

    # ------------------------------------------------------------------ layers that go into the one below

    def _linear_below(self) -> int | None:
        """The index of the layer below, if it is a Dense whose output is still linear."""
        i = next((i for i in reversed(range(len(self.layers))) if not isinstance(self.layers[i], Dropout)), None)
        below = None if i is None else self.layers[i]
        return i if isinstance(below, Dense) and below.activation == "linear" and self.affine is None else None

    def _fold(self, affine: Affine) -> None:
        """Fold the map into the linear Dense below if there is one, else keep it for the layer above."""
        i = self._linear_below()
        below = None if i is None else self.layers[i]
        if self.width is None:
            self.width = affine.scale.size
            self.window = (None, self.width)
        if i is not None and isinstance(below, Dense):
            self.layers[i] = affine.into_below(below)
        else:
            self.affine = affine.after(self.affine)

    def _activate(self, node: Node, name: str, alpha: float | None) -> None:
        """Give an activation to the linear Dense layer just below."""
        i = self._linear_below()
        below = None if i is None else self.layers[i]
        if name == "linear":
            return
        if i is None or not isinstance(below, Dense):
            raise ModelFileError(
                f"{label(node)} applies {name} to no linear Dense layer: put it into a Dense layer's activation="
            )
        self.layers[i] = dataclasses.replace(below, activation=name, alpha=alpha)
