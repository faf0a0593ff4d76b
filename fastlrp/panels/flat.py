"""Panels whose time and asset are columns: recognised, so that a message can give the call with their names."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pandas as pd

from fastlrp.messages import count
from fastlrp.panels.periods import is_time_name, is_time_type

_ASSET_WORDS = re.compile(
    "(?:stock|asset|sec|security|firm|company|entity|fund|bond|issuer)(?:id|code)?|l?permno|permco|ticker|tic|symbol|"
    "gvkey|n?cusip|isin|sedol|ric|figi|instrument|iid|stkcd|id|name|code"
)


def refuse_flat(frame: pd.DataFrame, features: Collection[str] = ()) -> None:
    """Refuse a frame without the two levels of a panel's index, and say how to make them.

    Parameters
    ----------
    frame : DataFrame
        Any frame.
    features : names, optional
        Columns that are features, and so neither time nor asset.

    Raises
    ------
    ValueError
        If the index does not have two levels.
    """
    index = frame.index
    if index.nlevels == 2:
        return
    levels = "one level" if index.nlevels == 1 else count(index.nlevels, "level")
    time, asset = time_and_asset(frame, features)
    todo = "use frame.set_index(['date', 'asset']), with the names of your columns"
    if time is not None and asset is not None:
        inside = any(name in index.names for name in (time, asset))
        todo = f"use frame.{'reset_index().' if inside else ''}set_index([{time!r}, {asset!r}])"
    elif time is not None or asset is not None:
        found, other = ("time", "asset") if time is not None else ("asset", "time")
        todo = f"use frame.set_index([...]) with {(asset if time is None else time)!r}, the {found}, and the {other}"
    raise ValueError(f"the panel's index has {levels}, expected two, a time and an asset: {todo}")


def time_and_asset(frame: pd.DataFrame, features: Collection[str] = ()) -> tuple[Any, Any]:
    """Names of the columns or index levels that hold a panel's time and asset; None for one that is not recognised."""
    index = frame.index
    levels = {name: index.get_level_values(k) for k, name in enumerate(index.names) if name is not None}
    columns = {name: dtype for name, dtype in frame.dtypes.items() if str(name) not in features and name not in levels}
    typed = [name for name, level in levels.items() if is_time_type(level)]
    typed += [name for name, dtype in columns.items() if is_time_type(pd.Index([], dtype=dtype))]
    free = [*levels, *columns]
    time = next(iter(typed), None)
    if time is None:
        time = next((name for name in free if is_time_name(name)), None)
    free = [name for name in free if name != time]
    asset = next((name for name in free if is_asset_name(name)), None)
    if asset is None:
        texts = [name for name in free if not pd.api.types.is_numeric_dtype(columns.get(name, object))]
        asset = texts[0] if len(texts) == 1 else None
    return time, asset


def is_asset_name(name: object) -> bool:
    """Whether a column of this name may say whose row it is."""
    return any(_ASSET_WORDS.fullmatch(word) for word in re.split(r"[^a-z]+", str(name).lower()))
