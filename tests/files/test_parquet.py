"""Row groups that are put together here are read by pyarrow as what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from helpers import same_bits
from pyarrow import parquet

from fastlrp.files import pages
from fastlrp.files.footers import split
from fastlrp.files.forms import Parquet
from fastlrp.files.output import Output
from fastlrp.files.stored import Stored
from fastlrp.relevance.result import Relevance
from fastlrp.rules import as_rule

pytestmark = pytest.mark.usefixtures("here")


def block(n, seed, dtype, missing):
    """Rows of two features called otherwise than plainly, of which some are missing."""
    rng = np.random.default_rng(seed)
    values, score = rng.normal(size=(n, 2)).astype(dtype), rng.normal(size=n).astype(dtype)
    for part in (values, score):
        part[rng.random(n) < missing if missing < 1 else np.ones(n, bool)] = np.nan
    values[np.isnan(score)] = np.nan
    score[np.isnan(values[:, 0])] = np.nan
    relevance = Relevance(values=values, prediction=score, score=score, initial_state=score, unattributed=score,
                          rule=as_rule("arras"), steps=1, features=("a.b", "ü"), reduced=True)  # fmt: skip
    codes = {"date": rng.integers(0, 3, n), "who": rng.integers(0, 2, n)}
    labels = {"date": pyarrow.array(pd.date_range("2000", periods=3)), "who": pyarrow.array(["x", "y"])}
    return Stored(relevance, codes, labels, {"values": ["a.b", "ü"], "score": ["score"]}, {b"k": b"v"}, codes["date"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pages_of", [1 << 24, 100])
def test_row_groups_of_any_size_with_any_rows_missing(dtype, pages_of, monkeypatch):
    monkeypatch.setattr(pages, "_BYTES", pages_of)  # all columns at once, or one by one
    blocks = [
        block(n, n, dtype, missing) for n, missing in ((5, 0), (1, 0), (1, 1), (70_001, 0.1), (300, 1), (16, 0.5))
    ]
    with Output(Path("out.parquet"), Parquet(), {"size": 1}, resume=False) as output:
        for one in blocks[:3]:
            output.append({"": one}, {})
        output.append({}, {})
        for one in blocks[3:]:
            output.append({"": one}, {})
        output.finish()
    got = parquet.ParquetFile("out.parquet")
    assert [got.metadata.row_group(k).num_rows for k in range(got.num_row_groups)] == [5, 1, 1, 70_001, 300, 16]
    assert got.schema_arrow.metadata[b"k"] == b"v"
    for k, one in enumerate(blocks):
        table = got.read_row_group(k)
        assert table.select(["date", "who"]).equals(one.keys())
        assert table.column("ü").null_count == int(np.isnan(one.relevance.score).sum())
        for name, want in zip(("a.b", "ü", "score"), [*one.relevance.values.T, one.relevance.score], strict=True):
            same_bits(table.column(name).to_numpy(), want)
        assert got.metadata.row_group(k).column(0).statistics.max >= got.metadata.row_group(k).column(0).statistics.min
    frame = pd.read_parquet("out.parquet")
    assert frame.index.names == ["date", "who"]
    assert len(frame) == 70_324


def test_numbers_of_many_bytes_are_taken_apart():
    """Footers whose lists, sizes and field numbers need more than one byte; and one that is none."""
    table = pyarrow.table({f"column {k}": [[k]] for k in range(40)})
    parquet.ParquetWriter("empty.parquet", table.schema).close()
    data = Path("empty.parquet").read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    before, after = split(data[-8 - size : -8], 0, 0)
    assert len(before) + len(after) == size
    with pytest.raises(ValueError, match="unknown kind 13"):
        split(b"\x1d\x00", 0, 0)
