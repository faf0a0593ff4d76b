"""Means of relevance: over assets by period, and over all rows by lag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import periods, time_level
from fastlrp.relevance.arrays import RelevanceArrays
from fastlrp.relevance.given import labels_of, weights_of
from fastlrp.relevance.groups import by_members, group_positions
from fastlrp.relevance.parts import by_feature, labels, need_steps, panel_index, row_shares

Array = npt.NDArray[Any]
Groups = Mapping[str, Sequence[str]]

_STATISTICS: dict[str, Callable[[Array], Array]] = {"abs": np.abs, "mean": np.asarray, "share": row_shares}


def by_time(
    relevance: RelevanceArrays,
    statistic: str,
    groups: Groups | None,
    per_column: bool,
    by: Any,
    weight: Any,
    panel: pd.DataFrame | None,
) -> pd.DataFrame:
    """``Relevance.by_time``."""
    _check("by_time", statistic, groups, per_column)
    index = panel_index(relevance, "by_time")
    members = None if groups is None else group_positions(relevance.inputs, groups)
    rank, times = periods(index)
    name = index.names[time_level(index)]
    rows = labels(relevance)
    weights = None if weight is None else weights_of(rows, weight, panel, "by_time")
    if by is None:
        place, cells = rank.astype(np.int64), np.arange(len(times))
    else:
        code, label, title = labels_of(rows, index, by, panel)
        place, cells = _numbered(np.where((rank < 0) | (code < 0), -1, rank * np.int64(len(label)) + code))
    total, weighed = sums(numbers_of(by_feature(relevance), statistic), len(relevance.inputs), place, cells, weights)
    seen = weighed > 0
    table, columns = _grouped(
        total[seen] / weighed[seen, None], relevance.inputs, statistic, members, per_column, axis=-1
    )
    if by is None:
        return pd.DataFrame(table, times[seen].rename(name), columns)
    keys = [times.take(cells[seen] // len(label)), label.take(cells[seen] % len(label))]
    return pd.DataFrame(table, pd.MultiIndex.from_arrays(keys, names=[name, title]), columns)


def by_lag(
    relevance: RelevanceArrays,
    statistic: str,
    groups: Groups | None,
    per_column: bool,
    weight: Any,
    panel: pd.DataFrame | None,
) -> pd.DataFrame:
    """``Relevance.by_lag``."""
    _check("by_lag", statistic, groups, per_column)
    need_steps(relevance, "by_lag")
    members = None if groups is None else _with_lags(relevance, groups)
    weights = None if weight is None else weights_of(labels(relevance), weight, panel, "by_lag")
    parts = ((rows, part.reshape(len(part), -1).astype(np.float64)) for rows, part in relevance._chunks())
    shape = (relevance.steps, len(relevance.features))
    nowhere = np.zeros(len(relevance), np.int64)
    total, weighed = sums(numbers_of(parts, statistic), shape[0] * shape[1], nowhere, nowhere[:1], weights)
    mean = total[0] / weighed[0] if weighed[0] else np.full_like(total[0], np.nan)
    table, columns = _grouped(mean.reshape(shape), relevance.features, statistic, members, per_column, axis=None)
    return pd.DataFrame(table, pd.Index(relevance.lags, name="lag"), columns)


def _with_lags(relevance: RelevanceArrays, groups: Groups) -> dict[str, list[int]]:
    """Positions of each group's features that have lags; groups of static features alone have none."""
    D = len(relevance.features)
    members = {name: [j for j in at if j < D] for name, at in group_positions(relevance.inputs, groups).items()}
    return {name: at for name, at in members.items() if at}


def _check(who: str, statistic: str, groups: Groups | None, per_column: bool) -> None:
    if not isinstance(statistic, str) or statistic not in _STATISTICS:
        raise ValueError(f"{who}(statistic=...) takes 'abs', 'mean' or 'share', not {statistic!r}")
    if not isinstance(per_column, bool):
        raise ValueError(f"{who}(per_column=...) takes True or False, not {per_column!r}")
    if per_column and groups is None:
        raise ValueError(f"{who}(per_column=True) divides groups by their number of columns, but groups= is missing")


def numbers_of(parts: Iterable[tuple[slice, Array]], statistic: str) -> Iterator[tuple[slice, Array]]:
    """Rows of relevance as the numbers that are averaged."""
    return ((rows, _STATISTICS[statistic](part)) for rows, part in parts)


def _numbered(key: Array) -> tuple[Array, Array]:
    """Each row's position among the distinct keys, and these, ascending; -1 stays so and is none of them."""
    place, cells = pd.factorize(key, sort=True)
    none = int(len(cells) > 0 and cells[0] < 0)
    return place.astype(np.int64) - none, cells[none:]


def sums(
    parts: Iterable[tuple[slice, Array]], width: int, place: Array, cells: Array, weights: Array | None
) -> tuple[Array, Array]:
    """Weighted sums of rows of numbers by place, and sums of weights; a row with anything missing is left out."""
    total, weighed = np.zeros((len(cells), width)), np.zeros(len(cells))
    if weights is not None:
        place = np.where(weights > 0, place, -1)
    for rows, part in parts:
        at = place[rows]
        usable = np.flatnonzero(~np.isnan(part).any(axis=1) & (at >= 0))
        usable = usable[np.argsort(at[usable], kind="stable")]
        which, first, size = np.unique(at[usable], return_index=True, return_counts=True)
        if not len(which):
            continue
        part = part[usable]
        if weights is not None:
            weight = weights[rows][usable]
            part *= weight[:, None]
            size = np.add.reduceat(weight, first)
        total[which] += np.add.reduceat(part, first, axis=0)
        weighed[which] += size
    return total, weighed


def _grouped(
    table: Array,
    features: Sequence[str],
    statistic: str,
    members: Mapping[str, Sequence[int]] | None,
    per_column: bool,
    axis: int | None,
) -> tuple[Array, list[str]]:
    """A table of features as one of groups, and the names of its columns; shares along ``axis`` sum to 1."""
    if members is None:
        return table, list(features)
    table = by_members(table, members)
    if per_column:
        table /= [len(columns) for columns in members.values()]
        if statistic == "share":
            table /= table.sum(axis=axis, keepdims=True)
    return table, list(members)
