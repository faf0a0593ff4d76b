"""Frames as delimited text.

pandas writes numbers as text through an array of 32 characters each, which took two thirds of a large file's time. Here
pyarrow spells them where it is installed, else Python's own repr; both give the shortest text that reads back as the
same float64.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
_LINES = 4096  # rows turned into text at once


def write_text(file: TextIO, blocks: Iterable[pd.DataFrame], separator: str, *, header: bool = True) -> None:
    """Write frames, one below the other, their index's columns first."""
    spell = _by_pyarrow if find_spec("pyarrow") else _by_repr
    for i, block in enumerate(blocks):
        if header and i == 0:
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
