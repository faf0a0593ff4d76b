"""Shared by tests of the command line: a small panel, and commands run in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from answers import Answer

import fastlrp
from fastlrp import cli
from fastlrp.data import load_model, load_panel


@pytest.fixture(scope="session")
def small() -> pd.DataFrame:
    """Three stocks over 15 months, a row each, with month ends in ``month``, the name in ``stock`` and 20 features."""
    panel = load_panel().loc["1994-01":"1995-03"].loc[(slice(None), ["AAPL", "KO", "XOM"]), :].astype("float64")
    panel.iloc[0, 3] = np.nan
    return panel.reset_index()


@pytest.fixture(scope="session")
def nameless(tmp_path_factory: Any) -> str:
    """The embedded network in a file as Keras writes it, without names."""
    path = tmp_path_factory.mktemp("nameless") / "model.h5"
    fastlrp.write_keras(load_model().with_features(None), path)
    return str(path)


@pytest.fixture
def run(capsys: Any, tmp_path: Any, monkeypatch: Any) -> Callable[..., Answer]:
    """Run a command in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Answer:
        code = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
