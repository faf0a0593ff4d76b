"""Which columns of a source are time, asset and features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.checks import as_dtype
from fastlrp.files.arrow import pyarrow
from fastlrp.files.columns import find_keys
from fastlrp.files.sources import Source
from fastlrp.messages import count, suggest
from fastlrp.model.chain import Chain


class Index(NamedTuple):
    """The columns of time and asset."""

    time: str
    asset: str


def list_of(columns: Any) -> list[str] | None:
    """Names of columns as a list, if they are given.

    Raises
    ------
    ValueError
        If they are no list of names.
    """
    if columns is None:
        return None
    names = list(columns) if hasattr(columns, "__iter__") and not isinstance(columns, str) else [None]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"columns= takes a list of names, not {columns!r}")
    return [str(name) for name in names]


def find_index(
    source: Source, path: Path, given: tuple[str | None, str | None] | None, features: Sequence[str]
) -> Index:
    """The columns of time and asset: those given, and those not given as the command line finds them.

    Raises
    ------
    ValueError
        If there is no such column, or the choice would be a guess.
    """
    if given is not None and (not isinstance(given, tuple | list) or len(given) != 2):
        raise ValueError(f"index= takes the names of two columns, a time and an asset, not {given!r}")
    time, asset = given or (None, None)
    missing = [str(name) for name in (time, asset) if name is not None and name not in source.schema.names]
    if missing:
        raise ValueError(f"{path} has no column {suggest(missing, source.schema.names)}")
    if time is not None and asset is not None:
        if time == asset:
            raise ValueError(f"index= names {time!r} twice, expected a time and an asset")
        return Index(time, asset)
    sample = source.sample()
    sample = sample[[name for name in sample.columns if name not in features or len(sample.columns) < 4]]
    if sample.shape[1] < 3:  # keys alone are left
        sample = source.sample()
    try:
        keys = find_keys(sample, SimpleNamespace(panel=path, time=time, asset=asset, drop=[]))  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(re.sub(r"say --(time|asset)", "say index=(time, asset)", str(error))) from None
    if len(keys.time) > 1:
        raise ValueError(
            f"{path} has its times in the columns {' and '.join(map(repr, keys.time))}, expected one column"
        )
    return Index(keys.time[0], keys.asset)


def find_features(
    source: Source, path: Path, net: Chain, given: Sequence[str] | None, index: Index
) -> list[str]:  # fmt: skip
    """The columns of features: those given, else those that the network names, else all other numbers.

    Raises
    ------
    ValueError
        If they are not there, not numbers, or not as many as the network takes.
    """
    have = [name for name in source.schema.names if name not in index]
    chosen = given if given is not None else net.columns
    names = [name for name in have if is_number(source, name)] if chosen is None else list(chosen)
    missing = [name for name in names if name not in have]
    if missing:
        spare = [name for name in have if name not in names]
        raise ValueError(f"{path} lacks {len(missing)} of {count(len(names), 'feature')}: {suggest(missing, spare)}")
    odd = [f"{name!r} ({source.schema.field(name).type})" for name in names if not is_number(source, name)]
    if odd and source.says_types:  # of text, reading names the cell
        raise ValueError(f"{path} has columns that do not hold real numbers: {', '.join(odd[:8])}")
    if given is not None and len(names) == net.n_columns:
        net.with_columns(names)  # refuses its own names in another order, and a name twice
    if len(names) != net.n_columns:
        raise ValueError(
            f"{path} has {count(len(names), 'column')} of numbers besides time and asset, the network takes "
            f"{count(net.n_columns, 'feature')}: name its columns in the network's order with columns=[...]"
            if chosen is None
            else f"columns= names {count(len(names), 'column')}, but the network takes {net.n_columns:,}"
        )
    return names


def is_number(source: Source, name: str) -> bool:
    """Whether a column holds numbers; of text, whether it may."""
    kind, types = source.schema.field(name).type, pyarrow.types
    return bool(
        types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)
        or (types.is_null(kind) and source.says_types is False)
    )  # fmt: skip


def compute_dtype(source: Source, features: Sequence[str], asked: npt.DTypeLike | None) -> np.dtype[Any]:
    """The dtype asked for; by default float32 if every feature is, else float64."""
    if asked is not None:
        return as_dtype(asked)
    kinds = {source.schema.field(name).type for name in features}
    return np.dtype(np.float32 if kinds <= {pyarrow.float32(), pyarrow.float16()} else np.float64)
