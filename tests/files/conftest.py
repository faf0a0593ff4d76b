"""Shared by tests of explain_file: a network, a panel with gaps, and blocks of few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastlrp as fl

pytest.importorskip("pyarrow", reason="the extra fastlrp[parquet] is not installed")

from fastlrp.files import door  # needs pyarrow

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


@pytest.fixture(scope="session")
def net() -> fl.Network:
    return make_network()


@pytest.fixture(scope="session")
def by_time() -> pd.DataFrame:
    return make_panel()


@pytest.fixture(scope="session")
def by_asset(by_time: pd.DataFrame) -> pd.DataFrame:
    return by_time.swaplevel().sort_index()


@pytest.fixture
def small_blocks(monkeypatch: Any) -> None:
    """Blocks of 150 rows: several months are one block, and one asset is, and history crosses many of them."""
    monkeypatch.setattr(door, "_MOST_ROWS", 150)
    monkeypatch.setattr(door, "_FEWEST_ROWS", 1)


@pytest.fixture
def here(tmp_path: Any, monkeypatch: Any) -> Any:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
