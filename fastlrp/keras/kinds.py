"""How fastlrp treats each Keras layer class: how it is read, or why it is not and what the user can do."""

from __future__ import annotations

from fastlrp.keras.tree import Node

#: Classes that are read under another's name. The prefix "Custom" marks the original project's own classes.
ALIASES = {
    "LSTMV2": "LSTM", "LSTMV1": "LSTM", "CuDNNLSTM": "LSTM", "GRUV2": "GRU", "GRUV1": "GRU",
    "BatchNormalizationV1": "BatchNormalization",
}  # fmt: skip
#: Cells that an RNN may hold, and the layers that they then are.
CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU"}
#: Layers that carry a state from step to step, and how many gates each has.
RECURRENT = {"LSTM": 4, "GRU": 3}

#: Layers that are the identity at inference, whatever their options.
IDENTITIES = {
    "InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout", "Identity",
    "ActivityRegularization", "Cast",
}  # fmt: skip
#: Layers that are folded into a neighbouring layer's weights.
AFFINE = {"BatchNormalization", "Normalization", "Rescaling"}
#: Layers that are read or checked one by one in layers.py.
OTHERS = {"LSTM", "GRU", "Bidirectional", "Dense", "TimeDistributed", "Flatten", "Reshape", "Masking"}
#: Layers that are an activation of the Dense layer below.
ACTIVATIONS = {"Activation", "ReLU", "LeakyReLU", "ELU", "Softmax"}
KNOWN = IDENTITIES | AFFINE | OTHERS | ACTIVATIONS
#: Operations by which Keras 3 lists how a Masking layer's mask is found, beside the chain of layers.
MASK_OPERATIONS = {"NotEqual", "Any"}
#: Layers that are known to hand a mask on; above others it might be lost, without a word.
KEEP_MASKS = {
    "InputLayer", "LSTM", "GRU", "Bidirectional", "Dense", "TimeDistributed", "Activation", "ReLU", "LeakyReLU", "ELU",
    "BatchNormalization", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout",
    "ActivityRegularization",
}  # fmt: skip

_NONLINEAR = "it is not linear, so it cannot be folded away: train with BatchNormalization or without"
_RECURRENT = "of recurrent layers LSTM and GRU are explained: train the model with one of them instead"
_MERGE = "it merges branches, and a chain of layers is explained: train the model as one chain"
REFUSED = {
    **dict.fromkeys(("LayerNormalization", "UnitNormalization", "GroupNormalization"), _NONLINEAR),
    **dict.fromkeys(("CuDNNGRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D"), _RECURRENT),
    "RNN": "of recurrent cells LSTMCell and GRUCell are explained: train the model with LSTM or GRU instead",
    "Lambda": "it holds program code, which is never run: replace it by a layer of Keras, such as Rescaling, or "
    "compute it before the model",
    "Embedding": "it takes whole numbers, and relevance is computed for real features: embed before the model",
    "Flatten": "relevance follows the last step of the last recurrent layer: give that layer return_sequences=False "
    "instead of Flatten",
    **dict.fromkeys(("Concatenate", "Add", "Average", "Subtract", "Multiply", "Maximum", "Minimum", "Dot"), _MERGE),
    **dict.fromkeys(
        ("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention"),
        "attention is not explained: train the model with LSTM and Dense layers",
    ),
}  # fmt: skip
ELSE = (
    "it is not among the layers that are explained (LSTM, GRU, Bidirectional, Dense, Dropout, Masking and what folds "
    "into them)"
)


def kind_of(node: Node) -> str:
    """The class that a layer is read as, with aliases and the original project's Custom... classes resolved."""
    name = node.class_name
    name = ALIASES.get(name, name)
    if name.startswith("Custom") and name[6:] in KNOWN:
        name = name[6:]
    if name == "RNN" and isinstance(cell := node.config.get("cell"), dict):
        return CELLS.get(str(cell.get("class_name")), name)
    return name


def refusal(node: Node) -> str | None:
    """Why a layer's class cannot be explained and what to do, or None where it can."""
    kind = kind_of(node)
    if kind in KNOWN or kind in MASK_OPERATIONS:
        return None
    reason = REFUSED.get(kind)
    if reason is None and kind.startswith(("Conv", "DepthwiseConv", "SeparableConv")):
        reason = "convolutions are not explained: train the model with LSTM and Dense layers"
    if reason is None and kind.startswith(("MaxPooling", "AveragePooling", "GlobalAverage", "GlobalMax")):
        reason = "pooling over steps is not explained: give the last LSTM return_sequences=False instead"
    if reason is None and "rate" not in node.config and "units" in node.config:
        reason = (
            "its class is not known; if it computes what Keras' own does, pass architecture= with that class's name"
        )
    return reason or ELSE


def cannot(node: Node, reason: str) -> str:
    """The sentence about a layer that cannot be explained."""
    return f"layer {node.name!r} ({node.class_name}) cannot be explained: {reason}"
