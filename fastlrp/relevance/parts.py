"""The parts of a result that its tables are made of: its rows, its numbers by feature, its totals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import of_one_asset
from fastlrp.relevance.arrays import RelevanceArrays, summed

Array = npt.NDArray[Any]
_SAMPLE = "sample"  # the name of an array's rows, which have numbers and no times


def labels(relevance: RelevanceArrays) -> pd.Index:
    """The names of the rows: the panel's index, the times of a single series, or numbers."""
    return pd.RangeIndex(len(relevance), name=_SAMPLE) if relevance.index is None else relevance.index


def of_times(index: pd.Index | None) -> TypeGuard[pd.Index]:
    """Whether rows have times: those of a panel, or of one row a time, and not those of an array."""
    return index is not None and (isinstance(index, pd.MultiIndex) or index.name != _SAMPLE)


def panel_index(relevance: RelevanceArrays, who: str) -> pd.MultiIndex:
    """The rows' times and assets; those of one row a time are of one asset.

    Raises
    ------
    ValueError
        If the result is of an array, which has no times.
    """
    index = relevance.index
    if not of_times(index):
        raise ValueError(f"{who} needs the result of a panel: this one is of an array, which has no times")
    return index if isinstance(index, pd.MultiIndex) else of_one_asset(index)


def need_steps(relevance: RelevanceArrays, who: str) -> None:
    """Refuse a result whose steps were summed, or whose network has none."""
    if relevance.reduced and relevance.steps == 1:
        raise ValueError(f"{who} needs steps, but this result is of one alone: each feature has one value a sample")
    if relevance.reduced:
        raise ValueError(f"{who} needs every step, but steps were summed: call explain without reduce='steps'")


def totals(relevance: RelevanceArrays) -> Iterator[tuple[str, Array]]:
    """Names and columns of each sample's predictions and totals."""
    for what in ("prediction", "prediction_spread"):
        prediction = getattr(relevance, what)
        if prediction is None:
            continue
        if prediction.ndim == 1:
            yield what, prediction
        else:
            names = relevance.outputs or range(prediction.shape[1])
            yield from ((f"{what}[{name}]", prediction[:, k]) for k, name in enumerate(names))
    yield from ((name, getattr(relevance, name)) for name in ("score", "initial_state", "unattributed"))


def by_feature(relevance: RelevanceArrays) -> Iterator[tuple[slice, Array]]:
    """Relevance summed over steps, in float64, some rows at a time; static features are the last columns."""
    for rows, part in relevance._chunks():
        yield rows, summed(relevance, rows, part)


def feature_values(relevance: RelevanceArrays) -> Array:
    """Relevance summed over steps, as a new array in the dtype of ``values``; (n, D), static features behind."""
    if relevance.reduced and relevance.static is None:
        return np.array(relevance.values)
    out = np.empty((len(relevance), len(relevance.inputs)), relevance.values.dtype)
    for rows, part in by_feature(relevance):
        out[rows] = part
    return out


def row_shares(part: Array, signed: bool = False) -> Array:
    """Rows of relevance divided by the sum of their absolute values; NaN where that is 0."""
    size = np.abs(part)
    total = size.sum(axis=1, keepdims=True)
    return cast(Array, np.divide(part if signed else size, total, out=np.full_like(part, np.nan), where=total > 0))
