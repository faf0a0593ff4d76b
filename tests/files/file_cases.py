"""A network and a panel with gaps, for tests of explain_file and the processes that they start."""

from __future__ import annotations

import numpy as np
import pandas as pd

import fastlrp as fl

STEPS, FEATURES = 4, [f"f{j}" for j in range(5)]


def make_network(seed: int = 0, outputs: int = 1) -> fl.Network:
    rng = np.random.default_rng(seed)
    D, H = len(FEATURES), 6
    lstm = fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)), rng.normal(size=4 * H))
    return fl.Network(
        [lstm, fl.Dense(rng.normal(size=(H, outputs)), np.zeros(outputs))], steps=STEPS, features=FEATURES
    )


def make_panel(n_assets: int = 40, n_months: int = 30) -> pd.DataFrame:
    """By month and asset; a tenth of the rows are missing, and some values."""
    rng = np.random.default_rng(1)
    months = pd.date_range("2000-01-31", periods=n_months, freq="ME")
    index = pd.MultiIndex.from_product([months, [f"A{k:03d}" for k in range(n_assets)]], names=["date", "ticker"])
    index = index[rng.random(len(index)) < 0.9]
    values = rng.normal(size=(len(index), len(FEATURES))).astype(np.float32)
    values[rng.random(values.shape) < 0.002] = np.nan
    return pd.DataFrame(values, index, FEATURES)
