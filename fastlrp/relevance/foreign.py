"""Relevance as other libraries' objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import install_hint
from fastlrp.panels.periods import time_level
from fastlrp.relevance.arrays import RelevanceArrays
from fastlrp.relevance.parts import feature_values, labels, totals

Array = npt.NDArray[Any]


def to_shap(relevance: RelevanceArrays, data: Array | None) -> Any:
    """``Relevance.to_shap``."""
    try:
        import shap
    except ImportError:
        raise ImportError(f"to_shap needs the package shap, which is missing: {install_hint('shap')}") from None
    keep = relevance.explained
    values = feature_values(relevance)
    if data is not None and np.shape(data) != values.shape:
        raise ValueError(f"to_shap(data=...) has shape {np.shape(data)}, expected {values.shape}")
    return shap.Explanation(
        values=values[keep],
        base_values=(relevance.initial_state + relevance.unattributed)[keep],
        data=None if data is None else np.asarray(data)[keep],
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
