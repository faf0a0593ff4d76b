"""Levels of a result's index as files can hold them, and back: times, numbers, text, and categories of these."""

from __future__ import annotations

import datetime
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.relevance.arrays import RelevanceArrays
from fastlrp.relevance.metadata import first_line

Array = npt.NDArray[Any]
_OBJECTS = {"string", "date", "integer", "boolean", "empty"}  # what a level of Python objects may hold, all of one kind


def storable(relevance: RelevanceArrays, used: set[str]) -> tuple[pd.Index, list[dict[str, Any]] | None]:
    """The index with Periods as the dates of their starts and with a name for each level, and what undoes this.

    Raises
    ------
    ValueError
        If a level holds what is neither times, numbers nor text.
    """
    index = relevance.index
    if index is None:
        return pd.RangeIndex(len(relevance)), None
    if isinstance(index, pd.MultiIndex):
        index = index.remove_unused_levels()
    levels = list(index.levels) if isinstance(index, pd.MultiIndex) else [index]
    default = ["time"] if len(levels) == 1 else ["time", "asset"] if len(levels) == 2 else ["level"] * len(levels)
    notes, plain = [], []
    for level, name, other in zip(levels, index.names, default, strict=True):
        column = free_name(str(other if name is None else name), used)
        labels, dtype = _plain(level, column)
        plain.append(labels)
        notes.append(
            {"name": name if name is None or isinstance(name, str | int) else str(name), "column": column, **dtype}
        )
    columns = [note["column"] for note in notes]
    if isinstance(index, pd.MultiIndex):
        return index.set_levels(cast(Any, plain), verify_integrity=False).set_names(columns), notes
    return plain[0].set_names(columns), notes


def free_name(name: str, used: set[str]) -> str:
    """The name, with "_" appended as long as it is used; it is used from then on."""
    while name in used:
        name += "_"
    used.add(name)
    return name


def taken(labels: pd.Index, codes: Array) -> pd.Index:
    """Labels by position; those at -1 are missing."""
    return labels.take(codes) if (codes >= 0).all() else labels.take(codes, allow_fill=True, fill_value=np.nan)


def _plain(labels: pd.Index, name: str) -> tuple[pd.Index, dict[str, Any]]:
    """Labels as files hold them, and their dtype; for a categorical level, that of its categories, and these."""
    if isinstance(labels, pd.CategoricalIndex):
        categories, note = _plain(labels.categories, name)
        return taken(categories, labels.codes), {
            **note,
            "categories": spelled(categories).tolist(),
            "ordered": bool(labels.ordered),
        }
    dtype = str(labels.dtype)
    if isinstance(labels, pd.PeriodIndex):
        return labels.to_timestamp(), {"dtype": dtype}
    kind = pd.api.types.infer_dtype(labels, skipna=True)
    if labels.dtype == object and kind in _OBJECTS:
        return labels, {"dtype": "date" if kind == "date" else dtype}
    if labels.dtype != object and (kind in _OBJECTS or kind in ("datetime64", "floating")):
        return labels, {"dtype": dtype}
    raise ValueError(f"the result cannot be saved: its index has {kind} in {name!r}, expected times, numbers or text")


def spelled(labels: pd.Index) -> Array:
    """Numbers as they are; text, dates and times (in UTC if they have a zone) as text."""
    types = pd.api.types
    if types.is_numeric_dtype(labels) or types.is_bool_dtype(labels):
        dtype: Any = labels.dtype
        return labels.to_numpy(getattr(dtype, "numpy_dtype", dtype))
    if types.infer_dtype(labels) in ("integer", "boolean"):
        return labels.infer_objects().to_numpy()
    if types.is_datetime64_any_dtype(labels):
        labels = pd.DatetimeIndex(labels)
        labels = labels if labels.tz is None else labels.tz_convert("UTC")
    texts: Array = np.array([label if isinstance(label, str) else label.isoformat() for label in labels], object)
    return texts


def restored(labels: pd.Index, note: dict[str, Any], where: str) -> pd.Index:
    """Labels as they were before :func:`storable`.

    Raises
    ------
    ValueError
        If they are not of the dtype that the note has.
    """
    try:
        found = _as(labels, str(note["dtype"]))
        if "categories" not in note:
            return found
        categories = _as(pd.Index(note["categories"]), str(note["dtype"]))
        return pd.CategoricalIndex(found, categories=categories, ordered=bool(note["ordered"]))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{where} is damaged: its index cannot be read ({first_line(error)})") from None


def _as(labels: pd.Index, dtype: str) -> pd.Index:
    if dtype == "date":
        return pd.Index([datetime.date.fromisoformat(str(label)) for label in labels], dtype=object)
    if dtype.startswith(("datetime64[", "period[")) and not isinstance(labels, pd.DatetimeIndex):
        labels = pd.DatetimeIndex(pd.to_datetime(labels, format="ISO8601", utc=", " in dtype))
    return pd.PeriodIndex(labels, dtype=dtype) if dtype.startswith("period[") else labels.astype(dtype)
