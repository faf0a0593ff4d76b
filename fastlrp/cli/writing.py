"""Relevance as a file or on stdout, some rows at a time: csv, tsv, parquet, xlsx.

pandas writes numbers as text through an array of 32 characters each, which took two thirds of a large file's time. Here
pyarrow spells them where it is installed, else Python's own repr; both give the shortest text that reads back as the
same float64.
"""

from __future__ import annotations

import csv
import datetime
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np
import numpy.typing as npt

from fastlrp.cli.console import installed
from fastlrp.cli.files import STDOUT, TEXTS, kind_of, packer
from fastlrp.progress import progress_bar
from fastlrp.whole import whole

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
_BLOCK = 50_000  # rows turned into a frame and written at once: this bounds memory, and Ctrl-C is noticed
_LINES = 4096  # rows turned into text at once


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
            _write_text(sys.stdout, blocks, ",")
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
                    _write_text(file, blocks, "\t" if kind == "tsv" else ",")
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
            steps.columns = [f"{feature}_lag{step}" for step in part.lags for feature in part.features]
            frame = pd.concat([steps, frame.iloc[:, len(part.features) :]], axis=1)
        yield frame
        advance(len(frame))


# -------------------------------------------------------------------------------------------------------------- text


def _write_text(file: TextIO, blocks: Iterator[pd.DataFrame], separator: str) -> None:
    spell = _by_pyarrow if installed("pyarrow") else _by_repr
    for i, block in enumerate(blocks):
        if i == 0:
            file.write(_line([*block.index.names, *block.columns], separator) + "\n")
        names, values = _row_names(block.index, separator), [block.iloc[:, j] for j in range(block.shape[1])]
        for start in range(0, len(block), _LINES):
            rows = slice(start, start + _LINES)
            columns = [column.iloc[rows].to_numpy(np.float64) for column in values]
            numbers = spell(columns, separator)
            file.write("".join(f"{name}{number}\n" for name, number in zip(names[rows], numbers, strict=True)))


def _by_pyarrow(columns: Sequence[Array], separator: str) -> list[str]:
    """Rows of numbers as text; a missing value is empty."""
    import pyarrow
    from pyarrow import csv

    table = pyarrow.table({str(j): pyarrow.array(column, from_pandas=True) for j, column in enumerate(columns)})
    sink = pyarrow.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, delimiter=separator))
    text: str = sink.getvalue().to_pybytes().decode()
    return text.splitlines()


def _by_repr(columns: Sequence[Array], separator: str) -> list[str]:
    """The same without pyarrow, in about three times the time."""
    lines = []
    for row in np.column_stack(columns).tolist():
        line = separator.join(map(repr, row))
        lines.append(separator.join("" if x != x else repr(x) for x in row) if "nan" in line else line)
    return lines


def _row_names(index: pd.Index, separator: str) -> list[str]:
    """The text before each row's numbers: the labels of its levels, each spelled only once."""
    spelled = []
    index = cast("pd.MultiIndex", index)
    for level, codes in zip(index.levels, index.codes, strict=True):
        texts = [_line([text], separator) + separator for text in level.astype(str)]
        spelled.append(np.array(texts, dtype=object)[np.asarray(codes)])
    return ["".join(parts) for parts in zip(*spelled, strict=True)]


def _line(cells: Sequence[object], separator: str) -> str:
    """Cells as a line of csv, quoted where necessary."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="").writerow(cells)
    return text.getvalue()


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
