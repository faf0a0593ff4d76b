"""A block of relevance on its way to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.arrow import pyarrow
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Stored:
    """Rows to write.

    Attributes
    ----------
    relevance : Relevance
    codes : dict of name to int array (n,)
        The labels of each level, as positions in ``labels``.
    labels : dict of name to Arrow array
    columns : dict of name to list of str
        The columns of each array of the result.
    metadata : dict
        What the file says about itself.
    rank : int array (n,)
        Each row's time, counted from the oldest.
    """

    relevance: Relevance
    codes: Mapping[str, Array]
    labels: Mapping[str, Any]
    columns: Mapping[str, list[str]]
    metadata: Mapping[bytes, bytes]
    rank: Array

    def __getitem__(self, rows: Array) -> Stored:
        """Some of the rows."""
        codes = {name: part[rows] for name, part in self.codes.items()}
        return replace(self, relevance=self.relevance[rows], codes=codes, rank=self.rank[rows])

    def keys(self) -> Any:
        """The columns of labels, as an Arrow table."""
        return pyarrow.table({name: labels.take(self.codes[name]) for name, labels in self.labels.items()})

    def matrices(self) -> list[Array]:
        """Each array of the result, a column a number."""
        n = len(self.relevance)
        return [np.asarray(getattr(self.relevance, name)).reshape(n, len(to)) for name, to in self.columns.items()]

    def names(self) -> list[str]:
        """The columns of numbers."""
        return [*chain(*self.columns.values())]

    def frame(self) -> pd.DataFrame:
        """All of it as a frame, for text."""
        index: Any = self.relevance.index
        numbers = np.concatenate(self.matrices(), axis=1)
        return pd.DataFrame(numbers, index.remove_unused_levels().set_names(list(self.labels)), self.names())

    def schema(self) -> Any:
        """The columns of a Parquet file, with what tells pandas which of them are the index."""
        numbers = [
            pyarrow.field(name, pyarrow.from_numpy_dtype(part.dtype))
            for part, names in zip(self.matrices(), self.columns.values(), strict=True) for name in names
        ]  # fmt: skip
        whole = pyarrow.schema([*self.keys().schema, *numbers])
        frame = whole.empty_table().to_pandas().set_index(list(self.labels))
        about = pyarrow.Schema.from_pandas(frame).metadata[b"pandas"]
        return whole.with_metadata({**self.metadata, b"pandas": about})
