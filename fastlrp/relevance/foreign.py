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
    keep = relevance.explained
    values = feature_values(relevance)
    known = None if data is None else last_values(relevance, data, "to_shap(data=...)")
    return shap.Explanation(
        values=values[keep],
        base_values=(relevance.initial_state + relevance.unattributed)[keep],
        data=None if known is None else known[keep],
        feature_names=list(relevance.inputs),
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
    for name in ("static", "static_spread"):
        if getattr(relevance, name) is not None:
            variables[name] = (("sample", "static_feature"), getattr(relevance, name))
    variables |= {name: ("sample", column) for name, column in totals(relevance)}
    coords: dict[str, Any] = {"feature": list(relevance.features)}
    if relevance.static is not None:
        coords["static_feature"] = list(relevance.static_features)
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
    from fastlrp.panels import polars

    used: set[str] = set()
    if steps:
        need_steps(relevance, "to_polars(steps=True)")
        flat = np.asarray(relevance.values).reshape(len(relevance), -1)
        names = [f"{feature}_lag{lag}" for lag in relevance.lags for feature in relevance.features]
        if relevance.static is not None:
            flat, names = np.concatenate([flat, relevance.static], axis=1), [*names, *relevance.static_features]
    else:
        flat, names = feature_values(relevance), list(relevance.inputs)
    columns = {free_name(name, used): flat[:, j] for j, name in enumerate(names)}
    if not steps:
        columns |= {free_name(name, used): np.asarray(column) for name, column in totals(relevance)}
    return polars.to_polars(None if relevance.index is None else storable(relevance, used)[0], columns)


def to_alphalens(relevance: RelevanceArrays, values: str) -> pd.Series[float]:
    """``Relevance.to_alphalens``."""
    index = panel_index(relevance, "to_alphalens")
    if values in ("prediction", "score"):
        column = explained(relevance) if values == "prediction" else relevance.score
    elif relevance.static is not None and values in relevance.static_features:
        column = relevance.static[:, relevance.static_features.index(values)]
    elif values in relevance.features:
        column = relevance.values[..., relevance.features.index(values)]
        column = column if relevance.reduced else column.sum(axis=1, dtype=np.float64)
    else:
        known = ["prediction", "score", *relevance.inputs]
        raise ValueError(f"to_alphalens takes a feature, 'prediction' or 'score', not {suggest([values], known)}")
    level = time_level(index)
    dates = dates_of(index.levels[level])
    if dates is None:
        raise ValueError(f"to_alphalens needs dates, but the result's times are such as {label(index[0][level])!r}")
    keys = [dates.take(np.asarray(index.codes[level])), index.get_level_values(1 - level)]
    series = pd.Series(np.asarray(column), pd.MultiIndex.from_arrays(keys, names=["date", "asset"]), name=values)
    return series.dropna().sort_index()
