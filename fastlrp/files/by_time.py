"""Means over assets by period, as ``Relevance.by_time`` has them, summed over the blocks of a file of any length."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.arrow import parquet, pyarrow
from fastlrp.files.forms import Form, Parquet, Text
from fastlrp.files.stored import Stored
from fastlrp.relevance.averages import numbers_of, sums
from fastlrp.relevance.groups import by_members, group_positions
from fastlrp.relevance.parts import by_feature

Array = npt.NDArray[Any]
STATISTICS = ("mean", "abs", "share")


class ByTime(Form):
    """Sums of each block's relevance by period, one after the other in a file; at the end, a table of means.

    Parameters
    ----------
    form : Form
        Of the table.
    times : Index
        The periods, oldest first, under the name of their column.
    features : sequence of str
    groups : mapping of name to features, or None
    about : str
        What the table is of, for Parquet's metadata.
    """

    def __init__(
        self,
        form: Form,
        times: pd.Index,
        features: Sequence[str],
        groups: Mapping[str, Sequence[str]] | None,
        about: str,
    ) -> None:
        self.form, self.times, self.features, self.about = form, times, list(features), about
        self.members = None if groups is None else group_positions(self.features, groups)

    def write(self, file: BinaryIO, block: Stored) -> None:
        """Write the number of periods, these, and for each statistic the rows and sums of each."""
        periods, place = np.unique(block.rank, return_inverse=True)
        file.write(np.array([len(periods), *periods], np.int64).tobytes())
        for statistic in STATISTICS:
            parts = numbers_of(by_feature(block.relevance), statistic)
            total, rows = sums(parts, len(self.features), place, periods, None)
            file.write(rows.tobytes() + total.tobytes())

    def finish(self, path: Path, ends: Sequence[int]) -> Path:
        """Add all sums up, and write their means beside them."""
        width = len(self.features)
        rows = np.zeros((len(STATISTICS), len(self.times)))
        total = np.zeros((*rows.shape, width))
        with path.open("rb") as file:
            for _ in ends:
                (n,) = np.fromfile(file, np.int64, 1)
                periods = np.fromfile(file, np.int64, n)
                for k in range(len(STATISTICS)):
                    rows[k, periods] += np.fromfile(file, np.float64, n)
                    total[k, periods] += np.fromfile(file, np.float64, n * width).reshape(n, width)
        out = path.with_name(f"{path.name}.table")
        self._write(self._table(rows, total), out)
        with out.open("rb") as file:
            os.fsync(file.fileno())
        return out

    def _table(self, rows: Array, total: Array) -> pd.DataFrame:
        """A row a period and statistic; periods without relevance are left out."""
        seen, names = rows > 0, self.features
        means = np.divide(total, rows[..., None], out=np.full_like(total, np.nan), where=seen[..., None])
        if self.members is not None:
            means, names = by_members(means, self.members), list(self.members)
        period, statistic = np.nonzero(seen.T)
        keys = [self.times.take(period), pd.Index(STATISTICS, name="statistic").take(statistic)]
        return pd.DataFrame(means[statistic, period], pd.MultiIndex.from_arrays(keys), names)

    def _write(self, table: pd.DataFrame, out: Path) -> None:
        if isinstance(self.form, Text):
            with (self.form.packer or open)(out, "wt", encoding="utf-8", newline="") as text:
                table.to_csv(text, sep=self.form.separator)
            return
        assert isinstance(self.form, Parquet)
        arrow = pyarrow.Table.from_pandas(table)
        whole = {**arrow.schema.metadata, b"fastlrp_table": self.about.encode()}
        parquet.write_table(arrow.replace_schema_metadata(whole), out)
