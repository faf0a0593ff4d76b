"""Relevance as other libraries' objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fastlrp.messages import install_hint, suggest
from fastlrp.panels.periods import dates_of, label, time_level
from fastlrp.relevance.arrays import RelevanceArrays
from fastlrp.relevance.display import explained
from fastlrp.relevance.given import last_values
from fastlrp.relevance.levels import free_name, storable
from fastlrp.relevance.parts import feature_values, labels, need_steps, panel_index, totals


def to_shap(relevance: RelevanceArrays, data: Any) -> Any:
    """``Relevance.to_shap``."""
    try:
        import shap
    except ImportError:
        raise ImportError(f"to_shap needs the package shap, which is missing: {install_hint('shap')}") from None
    keep = ~relevance.missing
    values = feature_values(relevance)
    known = None if data is None else last_values(relevance, data, "to_shap(data=...)")
    return shap.Explanation(
        values=values[keep],
        base_values=(relevance.initial_state + relevance.unattributed)[keep],
        data=None if known is None else known[keep],
        feature_names=list(relevance.features),
    )


def to_xarray(relevance: RelevanceArrays) -> Any:
    """``Relevance.to_xarray``."""
    try:
        import xarray
    except ImportError:
        raise ImportError(f"to_xarray needs the package xarray, which is missing: {install_hint('xarray')}") from None
    axes = ("sample", "feature") if relevance.reduced else ("sample", "step", "feature")
    variables: dict[str, Any] = {"relevance": (axes, relevance.values)}
    if relevance.spread is not None:
        variables["spread"] = (axes, relevance.spread)
    variables |= {name: ("sample", column) for name, column in totals(relevance)}
    coords: dict[str, Any] = {"feature": list(relevance.features)}
    if not relevance.reduced:
        coords["step"] = list(relevance.lags)
    data = xarray.Dataset(variables, coords, attrs={"rule": repr(relevance.rule)})
    rows = labels(relevance)
    if not isinstance(rows, pd.MultiIndex):
        return data.assign_coords(sample=rows)
    default = ("time", "asset") if time_level(rows) == 0 else ("asset", "time")
    rows = rows.set_names([old or new for old, new in zip(rows.names, default, strict=True)])
    return data.assign_coords(xarray.Coordinates.from_pandas_multiindex(rows, "sample"))


def to_polars(relevance: RelevanceArrays, steps: bool) -> Any:
    """``Relevance.to_polars``."""
    try:
        import polars
    except ImportError:
        raise ImportError(f"to_polars needs the package polars, which is missing: {install_hint('polars')}") from None
    used: set[str] = set()
    if steps:
        need_steps(relevance, "to_polars(steps=True)")
        flat = np.asarray(relevance.values).reshape(len(relevance), -1)
        names = [f"{feature}_lag{lag}" for lag in relevance.lags for feature in relevance.features]
    else:
        flat, names = feature_values(relevance), list(relevance.features)
    columns = {free_name(name, used): flat[:, j] for j, name in enumerate(names)}
    if not steps:
        columns |= {free_name(name, used): np.asarray(column) for name, column in totals(relevance)}
    index, notes = storable(relevance, used)
    rows = {note["column"]: _level(polars, index, k) for k, note in enumerate(notes or ())}
    return polars.DataFrame(rows | columns).with_columns(polars.selectors.float().fill_nan(None))


def _level(polars: Any, index: pd.Index, k: int) -> Any:
    """A level's labels a row, made from its distinct ones: there are few."""
    if not isinstance(index, pd.MultiIndex):
        return polars.Series(index.to_list())
    places = np.asarray(index.codes[k])
    return polars.Series(index.levels[k].to_list()).gather(polars.Series(places).replace(-1, None))


def to_alphalens(relevance: RelevanceArrays, values: str) -> pd.Series[float]:
    """``Relevance.to_alphalens``."""
    index = panel_index(relevance, "to_alphalens")
    if values in ("prediction", "score"):
        column = explained(relevance) if values == "prediction" else relevance.score
    elif values in relevance.features:
        column = relevance.values[..., relevance.features.index(values)]
        column = column if relevance.reduced else column.sum(axis=1, dtype=np.float64)
    else:
        known = ["prediction", "score", *relevance.features]
        raise ValueError(f"to_alphalens takes a feature, 'prediction' or 'score', not {suggest([values], known)}")
    level = time_level(index)
    dates = dates_of(index.levels[level])
    if dates is None:
        raise ValueError(f"to_alphalens needs dates, but the result's times are such as {label(index[0][level])!r}")
    keys = [dates.take(np.asarray(index.codes[level])), index.get_level_values(1 - level)]
    series = pd.Series(np.asarray(column), pd.MultiIndex.from_arrays(keys, names=["date", "asset"]), name=values)
    return series.dropna().sort_index()
