"""Pages that several tests look at: of the embedded network of volatility, and of many stocks with hostile names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pages import HOSTILE

import fastlrp as fl
from fastlrp.data import GROUPS, VOLATILITY_TEST_FROM, load_model, load_panel, model_path


@pytest.fixture(scope="session")
def volatility(tmp_path_factory):
    """The page of the network that predicts volatility, on the embedded panel."""
    X, y = load_panel(target="volatility")
    out = tmp_path_factory.mktemp("page") / "volatility.html"
    fl.report(model_path("volatility"), X, out, target=y, test_from=VOLATILITY_TEST_FROM, groups=GROUPS)
    return out


@pytest.fixture(scope="session")
def explained():
    """The relevance that it is about."""
    return load_model("volatility").explain(load_panel())


@pytest.fixture(scope="session")
def crowd():
    """5,000 stocks of 200 features over four months, and a network on windows of three; names are hostile."""
    rng = np.random.default_rng(0)
    names = [*HOSTILE, *(f"characteristic_{j:03d}" for j in range(197))]
    stocks = [f"stock <b>{k:05d}</b>" for k in range(5000)]
    index = pd.MultiIndex.from_product(
        [pd.period_range("2020-01", periods=4, freq="M"), stocks], names=["month", "stock"]
    )
    X = pd.DataFrame(rng.uniform(-1, 1, (len(index), 200)).astype(np.float32), index, names)
    W = rng.normal(size=(200, 16)) * np.exp(-np.arange(200) / 30)[:, None]
    layers = [
        fl.LSTM(W, 0.3 * rng.normal(size=(4, 16)), rng.normal(size=16)),
        fl.Dense(rng.normal(size=(4, 1)), np.zeros(1)),
    ]
    return fl.Network(layers, steps=3, features=names), X


@pytest.fixture(scope="session")
def crowded(crowd, tmp_path_factory):
    """Their page."""
    out = tmp_path_factory.mktemp("page") / "crowd.html"
    fl.report(*crowd, out, title=HOSTILE[0], groups={HOSTILE[1]: HOSTILE[:2]})
    return out
