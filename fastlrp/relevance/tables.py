"""Relevance as tables, as text, and as other libraries' objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import count, install_hint, shown, suggest
from fastlrp.panels.periods import label, periods, time_level
from fastlrp.relevance.arrays import RelevanceArrays

Array = npt.NDArray[Any]


def labels(relevance: RelevanceArrays) -> pd.Index:
    """The names of the rows: the panel's index, or numbers."""
    return pd.RangeIndex(len(relevance), name="sample") if relevance.index is None else relevance.index


def frame(relevance: RelevanceArrays, *, steps: bool) -> pd.DataFrame:
    """``Relevance.to_frame``."""
    if steps:
        if relevance.reduced:
            raise ValueError(
                "to_frame(steps=True) needs every step, but steps were summed: call explain without reduce='steps'"
            )
        columns = pd.MultiIndex.from_product([relevance.lags, relevance.features], names=["step", "feature"])
        values = np.array(relevance.values).reshape(len(relevance), -1)
        return pd.DataFrame(values, labels(relevance), columns, copy=False)
    table = pd.DataFrame(_feature_values(relevance), labels(relevance), list(relevance.features), copy=False)
    for name, column in _totals(relevance):
        while name in table.columns:
            name += "_"
        table[name] = column
    return table


def by_group(relevance: RelevanceArrays, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """``Relevance.by_group``."""
    members = _group_positions(relevance.features, groups)
    out = np.empty((len(relevance), len(members)))
    for rows, part in _by_feature(relevance):
        for g, columns in enumerate(members.values()):
            out[rows, g] = part[:, columns].sum(axis=1)
    return pd.DataFrame(out, labels(relevance), list(members), copy=False)


def share(relevance: RelevanceArrays, *, signed: bool) -> pd.DataFrame:
    """``Relevance.share``."""
    out = np.empty((len(relevance), len(relevance.features)), relevance.values.dtype)
    for rows, part in _by_feature(relevance):
        out[rows] = _shares(part, signed)
    return pd.DataFrame(out, labels(relevance), list(relevance.features), copy=False)


def by_time(relevance: RelevanceArrays, statistic: str) -> pd.DataFrame:
    """``Relevance.by_time``."""
    if statistic not in ("abs", "mean", "share"):
        raise ValueError(f"by_time(statistic=...) takes 'abs', 'mean' or 'share', not {statistic!r}")
    if not isinstance(relevance.index, pd.MultiIndex):
        raise ValueError("by_time needs the result of a panel: this one is of an array, which has no times")
    rank, times = periods(relevance.index)
    total, count = np.zeros((len(times), len(relevance.features))), np.zeros(len(times), np.int64)
    for rows, part in _by_feature(relevance):
        part = part if statistic == "mean" else _shares(part) if statistic == "share" else np.abs(part)
        usable = np.flatnonzero(~np.isnan(part).any(axis=1) & (rank[rows] >= 0))
        usable = usable[np.argsort(rank[rows][usable], kind="stable")]
        which, first, size = np.unique(rank[rows][usable], return_index=True, return_counts=True)
        if len(which):
            total[which] += np.add.reduceat(part[usable], first, axis=0)
            count[which] += size
    name = relevance.index.names[time_level(relevance.index)]
    seen = count > 0
    return pd.DataFrame(total[seen] / count[seen, None], times[seen].rename(name), list(relevance.features))


def summary(relevance: RelevanceArrays, top: int) -> str:
    """``Relevance.summary``."""
    n, found = len(relevance), len(relevance) - int(np.count_nonzero(relevance.missing))
    target = "" if relevance.target is None else f", target {relevance.target!r}"
    features, steps = relevance.features, relevance.steps
    lines = [f"Relevance by {relevance.rule!r}{target}"]
    sizes = f"{count(steps, 'step')} x {count(len(features), 'feature')}"
    lines.append(f"  {count(found, 'sample')} of {sizes}")
    if found < n:
        are = "is" if n - found == 1 else "are"
        lines.append(f"  {n - found:,} of {n:,} rows {are} missing: no full window ends there, or a value is missing")
    if relevance.by_position:
        lines.append("  columns were taken by position: the network has no names (net.with_features([...]))")
    if not found:
        return "\n".join([*lines, f"  nothing to reconcile: no row ends a complete window of {count(steps, 'step')}"])
    mean = mean_share(relevance)
    best = np.argsort(-mean, kind="stable")[: max(0, top)]
    lines.append("Mean share of |relevance|")
    width = max((len(features[j]) for j in best), default=0)
    lines += [f"  {features[j]:<{width}}  {100 * mean[j]:5.1f} %" for j in best]
    if len(best) < len(mean):
        lines.append(f"  {len(mean) - len(best)} more: {100 * np.delete(mean, best).sum():.1f} %")
    return shown("\n".join([*lines, *_reconciliation_lines(relevance)]))


def _reconciliation_lines(relevance: RelevanceArrays) -> Iterator[str]:
    gaps, rows = relevance.reconcile(), labels(relevance)
    yield "Reconciles: score = sum of relevance + initial_state + unattributed"
    if relevance.rule.totals:
        yield f"  {relevance.rule.totals}"
    yield f"  gap            median {gaps.median:.1e}, worst {gaps.worst:.1e}"
    yield f"  gap / scale    median {gaps.relative_median:.1e}, worst {gaps.relative_worst:.1e}"
    yield "                 (scale of a row: |score| + |initial_state| + |unattributed| + sum of |relevance|)"
    worst = ", ".join(f"{_row_name(rows[int(row)])} {gap:+.1e}" for row, gap in relevance._relative(gaps.worst_rows))
    yield f"  worst rows     by gap / scale: {worst}"
    yield f"  unattributed   median {100 * relevance.median_unattributed_share():.1f} % of |score|"


def _row_name(at: Any) -> str:
    return f"({', '.join(map(label, at))})" if isinstance(at, tuple) else f"sample {at}"


def to_shap(relevance: RelevanceArrays, data: Array | None) -> Any:
    """``Relevance.to_shap``."""
    try:
        import shap
    except ImportError:
        raise ImportError(f"to_shap needs the package shap, which is missing: {install_hint('shap')}") from None
    keep = ~relevance.missing
    values = _feature_values(relevance)
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
    variables |= {name: ("sample", column) for name, column in _totals(relevance)}
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


# ------------------------------------------------------------------------------------------------------------- inside


def _totals(relevance: RelevanceArrays) -> Iterator[tuple[str, Array]]:
    """Names and columns of each sample's predictions and totals."""
    prediction = relevance.prediction
    if prediction.ndim == 1:
        yield "prediction", prediction
    else:
        names = relevance.outputs or range(prediction.shape[1])
        yield from ((f"prediction[{name}]", prediction[:, k]) for k, name in enumerate(names))
    yield from ((name, getattr(relevance, name)) for name in ("score", "initial_state", "unattributed"))


def _by_feature(relevance: RelevanceArrays) -> Iterator[tuple[slice, Array]]:
    """Relevance summed over steps, in float64, some rows at a time."""
    for rows, part in relevance._chunks():
        yield rows, part.astype(np.float64) if relevance.reduced else part.sum(axis=1, dtype=np.float64)


def _feature_values(relevance: RelevanceArrays) -> Array:
    """Relevance summed over steps, as a new array in the dtype of ``values``; (n, D)."""
    if relevance.reduced:
        return np.array(relevance.values)
    out = np.empty((len(relevance), len(relevance.features)), relevance.values.dtype)
    for rows, part in _by_feature(relevance):
        out[rows] = part
    return out


def mean_share(relevance: RelevanceArrays) -> Array:
    """Each feature's mean share of |relevance| over rows; NaN if no row has any."""
    total, count = np.zeros(len(relevance.features)), 0
    for _, part in _by_feature(relevance):
        shares = _shares(part)
        usable = ~np.isnan(shares).any(axis=1)
        total += shares[usable].sum(axis=0)
        count += int(usable.sum())
    return total / count if count else np.full(len(total), np.nan)


def _shares(part: Array, signed: bool = False) -> Array:
    """Rows of relevance divided by the sum of their absolute values; NaN where that is 0."""
    size = np.abs(part)
    total = size.sum(axis=1, keepdims=True)
    return cast(Array, np.divide(part if signed else size, total, out=np.full_like(part, np.nan), where=total > 0))


def _group_positions(features: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Positions of each group's features, and of the features in no group."""
    if not isinstance(groups, Mapping) or not groups:
        raise ValueError(f"groups are given as a dict of name to list of features, not {groups!r}")
    at = {name: j for j, name in enumerate(features)}
    owner: dict[str, str] = {}
    members: dict[str, list[int]] = {}
    for group, given in groups.items():
        names = [given] if isinstance(given, str) else list(given)
        if not names:
            raise ValueError(f"group {group!r} is empty, expected the features it sums")
        unknown = [str(name) for name in names if name not in at]
        if unknown:
            raise ValueError(f"group {group!r} names what is no feature: {suggest(unknown, features)}")
        for name in names:
            if name in owner:
                raise ValueError(f"feature {name!r} stands in group {owner[name]!r} and again in {group!r}")
            owner[name] = group
        members[group] = [at[name] for name in names]
    left = [j for name, j in at.items() if name not in owner]
    if left and "Other" in members:
        are = "is" if len(left) == 1 else "are"
        raise ValueError(
            f"{count(len(left), 'feature')} {are} in no group and would be summed as 'Other', which is a group: rename "
            f"it, or add them, the first being {features[left[0]]!r}"
        )
    return {**members, "Other": left} if left else members
