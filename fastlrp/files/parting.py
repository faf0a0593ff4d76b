"""An output in parts: a folder for each year, or for each value of a column, named as Hive names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from fastlrp.files.keys import Keys
from fastlrp.files.layout import Layout
from fastlrp.files.since import years
from fastlrp.files.sources import Source
from fastlrp.files.stored import Stored
from fastlrp.messages import suggest
from fastlrp.panels.periods import label

Array = npt.NDArray[Any]
YEAR = "year"
_FILE = "part.parquet"


def parting_column(source: Source, path: object, partition_by: str | None, written: Sequence[str]) -> str | None:
    """The column to read for the parts; none where there are no parts, or the times' years are.

    Raises
    ------
    ValueError
        If there is no such column, or each file will have one of its name, which pyarrow and pandas do not read beside
        that of the folders.
    """
    if partition_by in written:
        raise ValueError(f"partition_by={partition_by!r} names folders as the files' own column {partition_by!r}: "
                         "give a column of the source that is not written, or 'year'")  # fmt: skip
    if partition_by is None or (partition_by == YEAR and YEAR not in source.schema.names):
        return None
    if not isinstance(partition_by, str):
        raise ValueError(f"partition_by= takes the name of a column, or 'year', not {partition_by!r}")
    if partition_by not in source.schema.names:
        raise ValueError(
            f"{path} has no column {suggest([partition_by], source.schema.names)}, which partition_by= names"
        )
    return partition_by


class Parted:
    """The files that rows go to: one, or "NAME=VALUE/part.parquet" for each value."""

    def __init__(self, keys: Keys, layout: Layout, partition_by: str | None) -> None:
        self._of_rank, self._names = None, [""]
        if partition_by is None:
            return
        if keys.by is None:
            values, self._of_rank = np.unique(years(layout), return_inverse=True)
        else:
            values = keys.by.values.to_pandas()
        self._names = [f"{quote(partition_by)}={quote(label(value), safe=' ')}/{_FILE}" for value in values]

    def __call__(self, rows: Stored, by: Array | None) -> dict[str, Stored]:
        """Rows by the file that they go to, in their order."""
        if self._of_rank is None and by is None:
            return {"": rows}
        at = self._of_rank[rows.rank] if by is None else by  # type: ignore[index]  # one of the two is there
        return {self._names[value]: rows[np.flatnonzero(at == value)] for value in np.unique(at)}
