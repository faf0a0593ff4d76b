"""Shared by tests of explain_file: a network, a panel with gaps, and blocks of few rows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import fastlrp as fl

pytest.importorskip("pyarrow", reason="the extra fastlrp[parquet] is not installed")

from file_cases import make_network, make_panel

from fastlrp.files import door  # needs pyarrow


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
