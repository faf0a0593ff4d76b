"""Relevance as text: every number reads back as the same float64, whoever spells it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastlrp.cli import writing
from fastlrp.files import spelling
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Arras

HARD = [0.1, -0.0, 0.0, 1.0, 1e-7, 5e-324, 1.7976931348623157e308, 1 / 3, 123456789.123456789, 1e22, 1e16, -2.5e-17]


def result(n=30, T=3, D=4, dtype=np.float64):
    values = np.random.default_rng(1).normal(size=(n, T, D)).astype(dtype)
    values.reshape(-1)[: len(HARD)] = np.asarray(HARD).astype(dtype)
    score = values.sum(axis=(1, 2))
    none = np.zeros(n)
    values[4], score[4] = np.nan, np.nan
    months = pd.period_range("1994-01", periods=n // 3, freq="M").to_timestamp(how="end").normalize()
    index = pd.MultiIndex.from_product(
        [months, ['He said "no", twice', "007", "NA"]], names=["date, of month", "stock"]
    )
    return Relevance(
        values=values, prediction=score, score=score, initial_state=none, unattributed=none, rule=Arras(),
        steps=T, index=index, features=("a", "b,c", "d", "e"),
    )  # fmt: skip


@pytest.fixture(params=["pyarrow", "repr"])
def speller(request, monkeypatch):
    if request.param == "repr":
        monkeypatch.setattr(spelling, "find_spec", lambda name: None)
    else:
        pytest.importorskip("pyarrow")
    return request.param


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("by_step", [False, True])
def test_numbers_and_names_read_back_as_they_were(speller, tmp_path, monkeypatch, dtype, by_step):
    monkeypatch.setattr(writing, "_BLOCK", 11)  # blocks of rows and texts of lines end at different places
    monkeypatch.setattr(spelling, "_LINES", 4)
    rel, out = result(dtype=dtype), tmp_path / "out.csv"
    writing.write_relevance(rel, out, by_step=by_step, bar=False)
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:2] == ["date, of month", "stock"]
    assert [row[0] for row in rows[1:]] == [f"{date:%Y-%m-%d}" for date in rel.index.get_level_values(0)]
    assert [row[1] for row in rows[1:]] == list(rel.index.get_level_values(1))
    assert rows[0][2:-4] == (
        [f"{name}_lag{lag}" for lag in (2, 1, 0) for name in rel.features] if by_step else list(rel.features)
    )
    assert rows[5][2:-2] == [""] * (len(rows[0]) - 4)  # missing values are empty
    numbers = np.array([[float(cell or "nan") for cell in row[2:]] for row in rows[1:]])
    want = rel.values.reshape(len(rel), -1) if by_step else rel.to_frame()[list(rel.features)].to_numpy()
    np.testing.assert_array_equal(numbers[:, :-4].astype(dtype), want)
    assert (np.signbit(numbers[:, :-4]) == np.signbit(want))[~np.isnan(want)].all()


def test_both_spell_the_same_numbers(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    rel = result()
    writing.write_relevance(rel, tmp_path / "a.csv", by_step=True, bar=False)
    monkeypatch.setattr(spelling, "find_spec", lambda name: None)
    writing.write_relevance(rel, tmp_path / "b.csv", by_step=True, bar=False)
    rows = []
    for name in ("a.csv", "b.csv"):
        with (tmp_path / name).open(newline="") as file:
            rows.append([[*row[:2], *map(as_number, row[2:])] for row in csv.reader(file)])
    assert rows[0] == rows[1]


def as_number(cell):
    """A cell's number, or its text; a missing value is empty."""
    try:
        return float(cell)
    except ValueError:
        return cell


def test_numbers_are_not_spelled_by_pandas(tmp_path, monkeypatch):
    """pandas took a minute to write a csv of 115,200 rows and 244 columns, and pyarrow ten seconds."""

    def slow(*args, **kwargs):
        raise AssertionError("to_csv was called")

    monkeypatch.setattr(pd.DataFrame, "to_csv", slow)
    writing.write_relevance(result(), Path(tmp_path / "out.csv"), by_step=True, bar=False)
