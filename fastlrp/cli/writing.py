"""Relevance as a file or on stdout, some rows at a time: csv, tsv, parquet, xlsx."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlrp.cli.files import STDOUT, TEXTS, kind_of, packer
from fastlrp.files.spelling import write_text
from fastlrp.progress import progress_bar
from fastlrp.whole import whole

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance.result import Relevance

_BLOCK = 50_000  # rows turned into a frame and written at once: this bounds memory, and Ctrl-C is noticed


def write_relevance(relevance: Relevance, out: Path, *, by_step: bool, bar: bool) -> None:
    """Write relevance, its index's columns first, as a whole file or none, or on stdout.

    Raises
    ------
    ValueError
        If it cannot be written.
    """
    with progress_bar(bar, len(relevance), "write", "rows") as advance:
        blocks = _frames(relevance, by_step, advance)
        if out == STDOUT:
            write_text(sys.stdout, blocks, ",")
            sys.stdout.flush()
            return
        with whole(out) as temporary:
            kind = kind_of(out)
            if kind == "parquet":
                _write_parquet(temporary, blocks)
            elif kind == "xlsx":
                _write_xlsx(temporary, blocks)
            elif kind in TEXTS:
                with packer(out)(temporary, "wt", encoding="utf-8", newline="") as file:
                    write_text(file, blocks, "\t" if kind == "tsv" else ",")
            else:
                raise ValueError(f"{out} cannot be written: there is no writer for {kind} files")


def _frames(relevance: Relevance, by_step: bool, advance: Callable[[int], object]) -> Iterator[pd.DataFrame]:
    """The frames to write, some rows at a time."""
    import pandas as pd

    for start in range(0, len(relevance), _BLOCK):
        part = relevance[start : start + _BLOCK]
        frame = part.to_frame()
        if by_step:
            steps = part.to_frame(steps=True)
            steps.columns = [
                *(f"{feature}_lag{step}" for step in part.lags for feature in part.features), *part.static_features
            ]  # fmt: skip
            frame = pd.concat([steps, frame.iloc[:, len(part.inputs) :]], axis=1)
        yield frame
        advance(len(frame))


# ------------------------------------------------------------------------------------------------------- other kinds


def _write_parquet(path: Path, blocks: Iterator[pd.DataFrame]) -> None:
    import pyarrow
    from pyarrow import parquet

    first = pyarrow.Table.from_pandas(next(blocks))
    with parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for block in blocks:
            writer.write_table(pyarrow.Table.from_pandas(block, schema=first.schema))


def _write_xlsx(path: Path, blocks: Iterator[pd.DataFrame]) -> None:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("relevance")
    for i, block in enumerate(blocks):
        if i == 0:
            sheet.append([*block.index.names, *map(str, block.columns)])
        cells = block.astype(object).where(block.notna(), None)
        for row in cells.reset_index().itertuples(index=False, name=None):
            sheet.append([_cell(value) for value in row])
    book.save(path)


def _cell(value: Any) -> Any:
    """The value as a workbook can hold it: a number, text or datetime, and text for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    return value if value is None or isinstance(value, int | float | str | datetime.datetime) else str(value)
