"""A panel whose parts alone mislead, networks, and a process to kill, for tests of fastlrp.cluster."""

from __future__ import annotations

import numpy as np
import pandas as pd

import fastlrp as fl

STEPS, FEATURES = 3, ["f0", "f1"]


def make_network(outputs: int = 1, seed: int = 0) -> fl.Network:
    rng = np.random.default_rng(seed)
    W, U, V = rng.normal(size=(2, 16)), rng.normal(size=(4, 16)), rng.normal(size=(4, outputs))
    return fl.Network([fl.LSTM(W, U), fl.Dense(V, np.zeros(outputs))], steps=STEPS, features=FEATURES)


def make_panel() -> pd.DataFrame:
    """By month and asset: 40 assets, of which the last ten report each quarter; alone, their quarters would follow each
    other, and no window that the whole panel knows would end there."""
    rng = np.random.default_rng(1)
    months = pd.date_range("2000-01-31", periods=36, freq="ME")
    index = pd.MultiIndex.from_product([months, [f"A{k:02d}" for k in range(40)]], names=["date", "ticker"])
    quarter = index.get_level_values(0).month % 3 == 0
    index = index[(quarter | (index.get_level_values(1) < "A30")) & (rng.random(len(index)) < 0.95)]
    values = rng.normal(size=(len(index), 2)).astype(np.float32)
    values[rng.random(values.shape) < 0.01] = np.nan
    return pd.DataFrame(values, index, FEATURES)
