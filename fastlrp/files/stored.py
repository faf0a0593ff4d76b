"""A block of relevance as an Arrow table, whose columns are turned once and not copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.files.arrow import pyarrow
from fastlrp.kernels.memory import aligned
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
_STRIP = 256  # rows turned into columns at once: they stay in cache


def arrow_table(
    relevance: Relevance, columns: Mapping[str, list[str]], index: Mapping[str, Any], metadata: Mapping[bytes, bytes]
) -> Any:
    """The columns ``index`` of labels, then those of each array, with nulls where a row is missing."""
    n, missing = len(relevance), relevance.missing
    valid = pyarrow.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    names, arrays = list(index), list(index.values())
    for part, titles in columns.items():
        flat = np.asarray(getattr(relevance, part)).reshape(n, len(titles))
        turned = aligned(flat.size, flat.dtype).reshape(flat.shape[::-1])
        for start in range(0, n, _STRIP):
            turned[:, start : start + _STRIP] = flat[start : start + _STRIP].T
        kind = pyarrow.from_numpy_dtype(flat.dtype)
        arrays += [pyarrow.Array.from_buffers(kind, n, [valid, pyarrow.py_buffer(row)]) for row in turned]
        names += titles
    table = pyarrow.table(arrays, names=names)
    return table.replace_schema_metadata(dict(metadata))


def pandas_metadata(table: Any, index: Sequence[str]) -> bytes:
    """What tells pandas which columns are the index."""
    frame = table[:0].to_pandas().set_index(list(index))
    return bytes(pyarrow.Schema.from_pandas(frame).metadata[b"pandas"])
