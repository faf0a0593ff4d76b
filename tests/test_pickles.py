"""Networks in pickles: what they hold is the constructors' arguments, and what comes back is as it was."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import fastlrp as fl

W, U, b = np.ones((3, 8), np.float32), np.full((2, 8), 0.5, np.float32), np.zeros(8, np.float32)
LAYERS = (
    fl.Masking(-1),
    fl.Bidirectional(fl.LSTM(W, U, b), fl.LSTM(W, U, name="back"), "sum", name="both"),
    fl.Dropout(0.2),
    fl.GRU(np.ones((3, 6)), np.ones((2, 6)), np.zeros((2, 6))),
    fl.Dense(np.ones((4, 2)), np.ones(2), "leaky_relu", alpha=0.3),
)
NETS = (
    fl.Network([*LAYERS[:3], fl.Dense(np.ones((3, 1)))], steps=4, features=list("abc"), static=["s"],
               outputs=["up"], name="mine"),
    fl.Network([LAYERS[3], LAYERS[4]], static=2),
    fl.Network([LAYERS[4]]),
)  # fmt: skip


def arguments(value: object) -> set[str]:
    return set(inspect.signature(type(value)).parameters)


@pytest.mark.parametrize("again", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("value", [*LAYERS, *NETS], ids=repr)
def test_what_is_pickled_comes_back(value, again):
    state = value.__getstate__()
    assert set(state) == arguments(value)
    assert type(value)(**state) == value
    got = again(value)
    assert type(got) is type(value)
    assert got == value
    for layer in got.layers if isinstance(got, fl.Network) else [got]:
        assert not any(array.flags.writeable for array in layer.arrays)


def test_what_was_computed_is_not_pickled():
    net = fl.Network([fl.LSTM(W, U, b), fl.Dense(np.ones((2, 1), np.float32))], steps=2)
    before = pickle.dumps(net)
    _ = net.cpu_only, net.cells, net.n_params
    net._plans["float32"] = "packed"
    assert pickle.dumps(net) == before
