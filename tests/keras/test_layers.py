"""Layers from configurations and weights alone, where no file of Keras' has them so."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import close

import fastlrp as fl
from fastlrp.keras.layers import build
from fastlrp.keras.tree import Node, Use

T, D, H = 4, 3, 2
INPUT = Node("InputLayer", "input", {"batch_shape": [None, T, D]})


def gru(**config):
    return Node("GRU", "gru", {"units": H, "activation": "tanh", "recurrent_activation": "sigmoid", **config})


def built(nodes, arrays, keras2=False):
    """The layers of a chain, and the shapes that its weights were asked for by layer."""
    asked = {}

    def weights(node, shapes):
        asked[node.name] = shapes
        return arrays[node.name]

    return build([Use(node) for node in nodes], weights, keras2).layers, asked


def test_a_map_below_a_gru_changes_what_comes_from_x_alone(rng):
    scale, offset, mean, variance = rng.uniform(0.5, 2, (4, D))
    norm = Node("BatchNormalization", "norm", {"epsilon": 0.001, "axis": -1})
    arrays = {"norm": [scale, offset, mean, variance]}
    arrays["gru"] = [rng.normal(size=size) for size in ((D, 3 * H), (H, 3 * H), (2, 3 * H))]
    layers, _ = built([INPUT, norm, gru(reset_after=True)], arrays)
    X = rng.normal(size=(5, T, D))
    seen = (X - mean) / np.sqrt(variance + 0.001) * scale + offset
    plain = fl.Network([fl.GRU(*arrays["gru"], True)], steps=T)
    close(fl.Network(layers, steps=T).predict(X), plain.predict(seen), 1e-12)


@pytest.mark.parametrize(
    ("config", "after"), [({}, False), ({"reset_after": True}, True), ({"reset_after": False}, False)]
)
def test_grus_from_before_there_was_a_choice_reset_before_the_product(rng, config, after):
    b = (2, 3 * H) if after else (3 * H,)
    arrays = {"gru": [rng.normal(size=size) for size in ((D, 3 * H), (H, 3 * H), b)]}
    (layer,), asked = built([INPUT, gru(**config)], arrays, keras2=True)
    assert layer.reset_after is after
    assert asked["gru"][2] == b


@pytest.mark.parametrize(
    ("output", "said"), [(2, "output 2 of .*, its cell state, is used"), (3, "output 3 of .* is used")]
)
def test_a_state_that_is_no_output_is_refused(rng, output, said):
    lstm = Node("LSTM", "lstm", {"units": H, "return_state": True})
    with pytest.raises(fl.ModelFileError, match=said):
        build([Use(INPUT), Use(lstm, output=output)], lambda node, shapes: [], False)


def test_masking_above_a_map_is_refused(rng):
    """It would compare what the map has made of X."""
    norm = Node("BatchNormalization", "norm", {"epsilon": 0.001, "axis": -1})
    arrays = {"norm": list(rng.uniform(0.5, 2, (4, D)))}
    with pytest.raises(
        fl.ModelFileError, match="masked steps are told from the model's input, which other layers below"
    ):
        built([INPUT, norm, Node("Masking", "masking", {"mask_value": 0.0})], arrays)
