"""Gates that are 0 or 1 whatever came before: a summary says so where features look unscaled."""

import numpy as np
import pandas as pd
import pytest

import fastlrp as fl
from fastlrp.data import load_panel, model_path

T, D, H = 4, 3, 5


def lstm(rng, **options):
    return fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)), np.ones(4 * H), **options)


def note(rel):
    return next((line for line in rel.summary().split("\n") if "saturated" in line), None)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_summary_says_when_gates_are_saturated(rng, dtype):
    first = lstm(rng)
    net = fl.Network([fl.Dropout(0.5), first, fl.Dense(rng.normal(size=(H, 1)))], features=["a", "size", "c"])
    X = rng.normal(size=(16, T, D)).astype(dtype)  # 64 rows: all are looked at
    assert note(net.explain(X)) is None
    X[..., 1] *= 100
    rel = net.explain(X)
    z = X.reshape(-1, D).astype(np.float64) @ first.W + 1
    beyond = np.abs(np.concatenate([z[:, : 2 * H], z[:, 3 * H :]], axis=1)) > -np.log2(np.finfo(dtype).eps) * np.log(2)
    assert f"gates are saturated: {100 * beyond.mean():.0f} % of what X gives them, in 64 rows" in note(rel)
    assert f"'size' is {np.sqrt(np.mean(np.square(X[..., 1], dtype=np.float64))):.2g} at the root" in note(rel)
    assert note(rel[:3]) is None  # some rows of a result no longer know their features


def test_every_network_that_reads_x_counts(rng):
    both = fl.Network([fl.Bidirectional(lstm(rng), lstm(rng)), fl.Dense(rng.normal(size=(2 * H, 1)))])
    one = fl.Network([lstm(rng), fl.Dense(rng.normal(size=(H, 1)))])
    X = 1000 * rng.normal(size=(200, T, D))
    panel = pd.DataFrame(
        X.reshape(-1, D), pd.MultiIndex.from_product([range(200), pd.period_range("2015-01", periods=T, freq="M")])
    )
    panel.iloc[::2, 0] = np.nan
    for net in (both, fl.Ensemble([one, both])):
        assert "in 64 rows" in note(net.explain(X))
        assert note(net.explain(X / 1000)) is None
    assert "rows, is beyond +-36" in note(one.explain(panel.iloc[::-1].sort_index(level=1), steps=1))
    hard = fl.Network([lstm(rng, recurrent_activation="hard_sigmoid"), fl.Dense(rng.normal(size=(H, 1)))])
    assert note(hard.explain(X)) is None  # its gates are 0 or 1 exactly


def test_the_embedded_network_is_not_saturated():
    assert note(fl.read_keras(model_path()).explain(load_panel())) is None
