"""What users give beside a result: labels such as sectors, weights such as market value, the features' values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import count
from fastlrp.objects import as_array, is_polars
from fastlrp.panels.periods import label, time_level
from fastlrp.panels.polars import from_polars
from fastlrp.relevance.arrays import RelevanceArrays

Array = npt.NDArray[Any]
_ALIGN = "align it with .reindex(rel.index)"


def weights_of(rows: pd.Index, weight: Any, panel: pd.DataFrame | None, who: str) -> Array:
    """Each row's weight, the largest 1; NaN where it is missing.

    Raises
    ------
    ValueError
        If they are not on the result's rows, are not numbers, or one is negative or infinite.
    """
    where = f"{who}(weight=...)"
    column = _column(rows, weight, panel, where, "weight")
    weights = as_array(column, where, "one number a row")
    if weights.dtype.kind not in "fiub":
        raise ValueError(f"{where} takes numbers, not values of dtype {weights.dtype}")
    weights = weights.astype(np.float64)
    bad = np.flatnonzero((weights < 0) | np.isinf(weights))
    if len(bad):
        raise ValueError(
            f"{where} takes weights that are finite and at least 0, not {weights[bad[0]]:g} in row {_row(rows, bad[0])}"
        )
    largest = np.nanmax(weights, initial=0.0)
    return weights / largest if largest > 0 else weights  # so that no sum of them is beyond float64's range


def labels_of(rows: pd.Index, index: pd.MultiIndex, by: Any, panel: pd.DataFrame | None) -> tuple[Array, pd.Index, Any]:
    """Each row's label by number (-1 where it is missing), the distinct labels in order, and their name.

    Raises
    ------
    ValueError
        If they are not on the result's rows, or a mapping has none of the result's assets.
    """
    where = "by_time(by=...)"
    if isinstance(by, Mapping):
        by = pd.Series(list(by.values()), pd.Index(list(by), tupleize_cols=False))
    elif not (isinstance(by, pd.Series) and isinstance(rows, pd.MultiIndex) and by.index.nlevels == 1):
        column = _column(rows, by, panel, where, "by")
        name = by if isinstance(by, str) else getattr(by, "name", None)
        return (*_coded(column, where), name or "label")
    level = 1 - time_level(index)
    if isinstance(by, pd.Series) and len(by) == len(rows) > len(index.levels[level]):
        raise ValueError(f"{where} has a value a row, but its index is not the result's: give it that, or to_numpy()")
    code, distinct = _coded(_of_assets(by, index.levels[level], where), where)
    asset = np.asarray(index.codes[level])
    return np.where(asset < 0, -1, code[asset]), distinct, by.name or "label"


def last_values(relevance: RelevanceArrays, values: Any, where: str, rows: Array | slice = slice(None)) -> Array:
    """The features' values at the last step of some rows' windows, from the panel or array explained; (rows, D).

    Raises
    ------
    ValueError
        If they are not of the result's rows and features.
    """
    shape = (len(relevance), len(relevance.inputs))
    if is_polars(values):
        values = from_polars(values, () if relevance.by_position else relevance.inputs)
    if isinstance(values, pd.DataFrame):
        if relevance.index is not None:
            _check_rows(relevance.index, values.index, where)
        if not relevance.by_position:
            lacking = [name for name in relevance.inputs if name not in values.columns]
            if lacking:
                raise ValueError(
                    f"{where} lacks {len(lacking)} of {count(shape[1], 'feature')}, the first being {lacking[0]!r}"
                )
            values = values[list(relevance.inputs)]
    elif relevance.static is not None and isinstance(values, list | tuple) and len(values) == 2:
        windows, static = map(np.asarray, values)
        values = np.concatenate([windows[:, -1] if windows.ndim == 3 else windows, static], axis=1)
    elif np.ndim(values) == 3:
        values = np.asarray(values)[:, -1]
    if np.shape(values) != shape:
        raise ValueError(f"{where} has shape {np.shape(values)}, expected {shape}: the panel or array explained")
    if not isinstance(values, pd.DataFrame):
        return np.asarray(values)[rows]
    plain = all(map(pd.api.types.is_numeric_dtype, values.dtypes))
    return values.iloc[rows].to_numpy(np.float64, na_value=np.nan) if plain else values.iloc[rows].to_numpy()


def _of_assets(by: pd.Series[Any], assets: pd.Index, where: str) -> pd.Series[Any]:
    """The label of each asset, by its name; missing where there is none."""
    if not by.index.is_unique:
        raise ValueError(f"{where} names the asset {label(by.index[by.index.duplicated()][0])!r} twice")
    if not by.index.isin(assets).any():
        given = f"{label(by.index[0])!r}" if len(by) else "nothing"
        expected = f", expected such as {label(assets[0])!r}" if len(assets) else ""
        raise ValueError(f"{where} names none of the result's assets: it has {given}{expected}")
    return by.reindex(assets)


def _coded(column: Any, where: str) -> tuple[Array, pd.Index]:
    """Labels as numbers and distinct labels: sorted, or in the order of categories."""
    try:
        found = pd.Categorical(column)
    except TypeError as error:
        raise ValueError(f"{where} takes labels such as texts or numbers: {error}") from None
    ordered = isinstance(getattr(column, "dtype", None), pd.CategoricalDtype)
    distinct = pd.CategoricalIndex(found.categories, dtype=found.dtype) if ordered else found.categories
    return np.asarray(found.codes, np.int64), distinct


def _column(rows: pd.Index, value: Any, panel: pd.DataFrame | None, where: str, key: str) -> Any:
    """A column on the result's rows: as it is given, or by its name in a panel or in the index."""
    if isinstance(value, str):
        value = _named(rows, value, panel, where, key)
    if isinstance(value, pd.Series):
        _check_rows(rows, value.index, where)
        return value
    column = value if isinstance(value, pd.Index | pd.Categorical) else np.asarray(value)
    if column.shape != (len(rows),):
        raise ValueError(f"{where} has shape {column.shape}, expected ({len(rows)},): one value a row of the result")
    return column


def _named(rows: pd.Index, name: str, panel: pd.DataFrame | None, where: str, key: str) -> Any:
    if panel is not None:
        if not isinstance(panel, pd.DataFrame):
            raise ValueError(f"panel= takes the DataFrame that has the columns, not {type(panel).__name__}")
        found = np.flatnonzero(panel.columns == name)
        if len(found) > 1:
            raise ValueError(f"{where}: panel= has {len(found)} columns called {name!r}")
        if len(found):
            return panel.iloc[:, found[0]]
    if name in rows.names:
        return rows.get_level_values(name)
    levels = ", ".join(repr(level) for level in rows.names)
    raise ValueError(
        f"{where} is {name!r}, which is no {'column of panel= and no ' if panel is not None else ''}level of the "
        f"result's index ({levels}), and a result holds no other columns: give {key}=frame[{name!r}], or the frame "
        "that has it as panel="
    )


def _check_rows(rows: pd.Index, given: pd.Index, where: str) -> None:
    """Refuse a Series that is not on the result's rows."""
    if given.equals(rows):
        return
    if len(given) != len(rows):
        raise ValueError(f"{where} has {count(len(given), 'row')}, the result {len(rows):,}: {_ALIGN}")
    row = next((k for k, (one, other) in enumerate(zip(given, rows, strict=True)) if one != other), 0)
    raise ValueError(
        f"{where} is not on the result's index: its row {row} is {_row(given, row)}, not {_row(rows, row)}: {_ALIGN}"
    )


def _row(rows: pd.Index, row: int) -> str:
    key = rows[row]
    return f"({', '.join(map(label, key))})" if isinstance(key, tuple) else label(key)
