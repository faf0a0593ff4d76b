"""polars DataFrames in and out: time and asset are columns there, as polars has no index."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import install_hint
from fastlrp.panels.flat import time_and_asset

Array = npt.NDArray[Any]


def from_polars(frame: Any, features: Collection[str]) -> pd.DataFrame:
    """A panel of pandas' form, its values where polars has them if no value is missing.

    Raises
    ------
    ValueError
        If it is a LazyFrame, or the columns of time and asset are neither recognised nor the first two.
    """
    if type(frame).__name__ != "DataFrame":
        raise ValueError(
            f"a polars {type(frame).__name__} was given, expected a DataFrame: collect() makes it of a LazyFrame"
        )
    keys = key_columns(frame, features)
    levels: Any = [_labels(frame[name]) for name in keys]
    rest = {name: frame[name].to_numpy() for name in frame.columns if name not in keys}
    index = pd.MultiIndex.from_arrays(levels, names=keys)
    return pd.DataFrame(rest, index, copy=False)


def key_columns(frame: Any, features: Collection[str]) -> list[str]:
    """The names of the columns of time and asset, as they stand: recognised by name and type, else the first two."""
    dtypes = {name: _pandas_dtype(dtype) for name, dtype in frame.schema.items()}
    empty = pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})
    found = time_and_asset(empty, features)
    keys = [name for name in frame.columns if name in found] if None not in found else frame.columns[:2]
    if len(keys) < 2 or any(name in features for name in keys):
        raise ValueError(
            f"which columns of the polars frame are the time and the asset is not clear from {frame.columns[:8]}: call "
            "them 'date' and 'asset', or let them be the first two"
        )
    return list(keys)


def _pandas_dtype(dtype: Any) -> str:
    return "datetime64[ns]" if dtype.is_temporal() else "float64" if dtype.is_numeric() else "object"


def _labels(column: Any) -> Array:
    if getattr(column.dtype, "time_zone", None):  # NumPy knows no zones, and a month is the zone's
        column = column.dt.replace_time_zone(None)
    labels: Array = column.to_numpy()
    return labels


def to_polars(index: pd.Index | None, columns: Mapping[str, Array]) -> Any:
    """A polars DataFrame: the levels of an index, then columns of numbers, missing where they are NaN.

    Raises
    ------
    ImportError
        If polars is missing.
    """
    try:
        import polars
    except ImportError:
        raise ImportError(f"to_polars needs the package polars, which is missing: {install_hint('polars')}") from None
    names = [] if index is None else [f"level_{k}" if name is None else str(name) for k, name in enumerate(index.names)]
    keys = {name: _level(polars, index, k) for k, name in enumerate(names)}
    numbers = {name: polars.Series(np.ascontiguousarray(part), nan_to_null=True) for name, part in columns.items()}
    return polars.DataFrame({**keys, **numbers})


def _level(polars: Any, index: Any, k: int) -> Any:
    """A level's labels a row, made from its distinct ones: there are few."""
    if not isinstance(index, pd.MultiIndex):
        return _series(polars, index)
    places = np.asarray(index.codes[k])
    return _series(polars, index.levels[k]).gather(polars.Series(places).replace(-1, None))


def _series(polars: Any, labels: pd.Index) -> Any:
    if isinstance(labels, pd.PeriodIndex):
        labels = labels.to_timestamp()
    if isinstance(labels, pd.DatetimeIndex):
        if labels.unit == "s":  # polars' dates are days, which pandas counts in seconds; polars has no seconds
            labels = labels.as_unit("ms")
            if (labels == labels.normalize()).all():
                return polars.Series(labels.to_numpy().astype("datetime64[D]"))
        return polars.Series(labels.tz_localize(None).to_numpy())
    return polars.Series(labels.tolist())
