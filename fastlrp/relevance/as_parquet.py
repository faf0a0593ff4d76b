"""A result as a Parquet file, a row a sample, and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.relevance.arrays import SAMPLE_ARRAYS, RelevanceArrays, sample_arrays
from fastlrp.relevance.levels import free_name, restored, storable
from fastlrp.relevance.metadata import KEY, described, first_line, understood

Array = npt.NDArray[Any]
Columns = dict[str, dict[str, Any]]

_BLOCK = 64 << 20  # bytes of a row group, which is written and read at once
_LANES = 2048  # rows that are turned from columns at once, so that they stay in cache


def columns_of(relevance: RelevanceArrays, used: set[str]) -> Columns:
    """The columns of each array, and its shape for one sample: "beta_lag4" is the relevance of beta at lag 4."""
    lags = [""] if relevance.reduced else [f"_lag{lag}" for lag in relevance.lags]
    cells = [f"{feature}{lag}" for lag in lags for feature in relevance.features]
    outputs = relevance.outputs or range(relevance.prediction.shape[-1])
    out: Columns = {}
    for name, array in sample_arrays(relevance):
        names = [name]
        if SAMPLE_ARRAYS[name] == "values":
            names = cells if name == "values" else [f"{cell}_{name}" for cell in cells]
        elif SAMPLE_ARRAYS[name] == "static":
            spread = "" if name == "static" else "_spread"
            names = [f"{feature}{spread}" for feature in relevance.static_features]
        elif SAMPLE_ARRAYS[name] == "prediction" and array.ndim > 1:
            names = [f"{name}[{output}]" for output in outputs]
        out[name] = {"shape": list(array.shape[1:]), "columns": [free_name(name, used) for name in names]}
    return out


def stored_frame(relevance: RelevanceArrays, rows: slice, index: pd.Index, columns: Columns) -> pd.DataFrame:
    """Some rows as the file has them."""
    parts = [
        pd.DataFrame(np.asarray(array[rows]).reshape(len(index), len(names)), index, names)
        for names, array in ((columns[name]["columns"], array) for name, array in sample_arrays(relevance))
    ]
    return pd.concat(parts, axis=1)


def write(relevance: RelevanceArrays, path: Path) -> None:
    """Write a result, a row group at a time."""
    import pyarrow
    from pyarrow import parquet

    used: set[str] = set()
    columns = columns_of(relevance, used)
    index, notes = storable(relevance, used)
    text = described(relevance, notes, arrays=columns)
    wide = sum(array.nbytes // max(1, len(array)) for _, array in sample_arrays(relevance))
    n, step = len(relevance), max(1, _BLOCK // max(1, wide))

    def table(start: int) -> Any:
        rows = slice(start, start + step)
        frame = stored_frame(relevance, rows, index[rows], columns)
        return pyarrow.Table.from_pandas(frame, preserve_index=notes is not None)

    try:
        first = table(0)
    except (pyarrow.ArrowException, TypeError) as error:
        raise ValueError(f"the result cannot be saved: {error}") from None
    schema = first.schema.with_metadata({**(first.schema.metadata or {}), KEY: text})
    spelled = [note["column"] for note in notes or ()]  # numbers hardly repeat: a dictionary of them only takes time
    with parquet.ParquetWriter(path, schema, use_dictionary=spelled, write_page_checksum=True) as writer:
        for start in range(0, max(n, 1), step):
            writer.write_table((table(start) if start else first).cast(schema))


# ------------------------------------------------------------------------------------------------------------ reading


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array], pd.Index | None]:
    """The fields, arrays and index of a result.

    Raises
    ------
    ValueError
        If it is not such a file, or is damaged.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            text = (file.schema_arrow.metadata or {}).get(KEY.encode())
            if text is None:
                raise ValueError(f"{path} holds no relevance: its schema has no metadata called {KEY!r}")
            own, rest = understood(text, str(path))
            _check_columns(rest, file.schema_arrow, str(path))
            return own, _arrays(file, rest["arrays"]), _index(file, rest["index"], str(path))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable Parquet file: {first_line(error)}") from None


def _check_columns(rest: dict[str, Any], schema: Any, where: str) -> None:
    """Refuse a description of columns that the file does not have, or not as numbers."""
    kinds: dict[str, list[str]] = {}
    for name, kind in zip(schema.names, schema.types, strict=True):
        kinds.setdefault(name, []).append(str(kind))
    arrays, found = rest.get("arrays"), list[tuple[Any, bool]]()
    if not isinstance(arrays, dict):
        raise ValueError(f"{where} is damaged: its metadata do not say which columns are arrays")
    for name, part in arrays.items():
        if not _described(part):
            raise ValueError(f"{where} is damaged: its metadata do not describe the columns of {name!r}")
        found += [(column, True) for column in part["columns"]]
    found += [(level.get("column"), False) for level in rest["index"] or ()]
    for column, number in found:
        have = kinds.get(column, [])
        if len(have) != 1 or (number and have[0] not in ("float", "double")):
            what = "lacks" if not have else "has several times" if len(have) > 1 else f"has as {have[0]}"
            raise ValueError(f"{where} is damaged: it {what} the column {column!r}")


def _described(part: Any) -> bool:
    """Whether this says which columns an array has, and their shape."""
    names, shape = (part.get(key) if isinstance(part, dict) else None for key in ("columns", "shape"))
    typed = isinstance(names, list) and all(isinstance(name, str) for name in names)
    sized = isinstance(shape, list) and all(isinstance(size, int) and size >= 0 for size in shape)
    return typed and sized and math.prod(shape or ()) == len(names or ())


def _arrays(file: Any, described: dict[str, Any]) -> dict[str, Array]:
    """The arrays, a row group at a time."""
    kinds = dict(zip(file.schema_arrow.names, map(str, file.schema_arrow.types), strict=True))
    columns = {name: described[name]["columns"] for name in SAMPLE_ARRAYS if name in described}
    arrays = {}
    for name, spelled in columns.items():
        dtype = np.float64 if any(kinds[column] == "double" for column in spelled) else np.float32
        arrays[name] = np.empty((file.metadata.num_rows, *described[name]["shape"]), dtype)
    start = 0
    for k in range(file.num_row_groups):
        group = file.read_row_group(k, columns=[column for spelled in columns.values() for column in spelled])
        for name, array in arrays.items():
            whole = [group.column(column).to_numpy() for column in columns[name]]
            part = array[start : start + len(group)].reshape(len(group), len(whole))
            for first in range(0, len(group), _LANES):
                rows = slice(first, first + _LANES)
                part[rows] = np.stack([column[rows] for column in whole], axis=1)
        start += len(group)
    return arrays


def _index(file: Any, notes: list[dict[str, Any]] | None, where: str) -> pd.Index | None:
    if notes is None:
        return None
    frame = file.read(columns=[note["column"] for note in notes]).to_pandas(ignore_metadata=True)
    levels = [restored(pd.Index(frame[note["column"]]), note, where) for note in notes]
    names = [note.get("name") for note in notes]
    return pd.MultiIndex.from_arrays(levels, names=names) if len(levels) > 1 else levels[0].set_names(names)
