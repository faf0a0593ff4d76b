"""Relevance as a table that is stored: names of its columns, metadata, and an Arrow table without a copy for each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

import fastlrp
from fastlrp.kernels.memory import aligned
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
_STRIP = 256  # rows turned into columns at once: they stay in cache


def column_names(relevance: Relevance, index: Sequence[str]) -> dict[str, list[str]]:
    """Names of columns, oldest step first: "beta_lag4" is the relevance of beta at lag 4; one taken gets a "_"."""
    lags = [""] if relevance.reduced else [f"_lag{lag}" for lag in relevance.lags]
    prediction = relevance.prediction
    several = relevance.outputs or range(prediction.shape[-1])
    wanted = {
        "values": [f"{feature}{lag}" for lag in lags for feature in relevance.features],
        "prediction": ["prediction"] if prediction.ndim == 1 else [f"prediction[{name}]" for name in several],
        "score": ["score"],
        "initial_state": ["initial_state"],
        "unattributed": ["unattributed"],
        "index": list(index),
    }
    taken: set[str] = set()
    for names in wanted.values():
        for k, name in enumerate(names):
            while name in taken:
                name += "_"
            taken.add(name)
            names[k] = name
    return wanted


def described(relevance: Relevance, columns: Mapping[str, list[str]], index: Mapping[str, Any], network: str) -> bytes:
    """What belongs to the numbers, as JSON: the rule with its parameters, features, steps, the network's fingerprint.

    ``index`` holds the name and the dtype in memory of each column that names rows.
    """
    rule = relevance.rule
    shape = {"values": list(relevance.values.shape[1:]), "prediction": list(relevance.prediction.shape[1:])}
    names = zip(columns["index"], index.items(), strict=True)
    return json.dumps(
        {
            "format": 1,
            "fastlrp": fastlrp.__version__,
            "rule": {"class": type(rule).__name__, "name": rule.name, "parameters": asdict(rule)},  # type: ignore[call-overload]
            "network": network,
            "steps": relevance.steps,
            "features": list(relevance.features),
            "target": relevance.target,
            "outputs": relevance.outputs,
            "reduced": relevance.reduced,
            "by_position": relevance.by_position,
            "index": [{"name": name, "column": column, "dtype": str(dtype)} for column, (name, dtype) in names],
            "arrays": {
                name: {"shape": shape.get(name, []), "columns": part}
                for name, part in columns.items()
                if name != "index"
            },
        }
    ).encode()


def arrow_table(
    relevance: Relevance, columns: Mapping[str, list[str]], index: Mapping[str, Any], metadata: Mapping[bytes, bytes]
) -> Any:
    """An Arrow table: the columns ``index`` of labels, then relevance and totals, with nulls where a row is missing."""
    n, missing = len(relevance), relevance.missing
    valid = pyarrow.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    names, arrays = list(columns["index"]), list(index.values())
    for part, titles in columns.items():
        if part == "index":
            continue
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
