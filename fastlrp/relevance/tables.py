"""Relevance as tables and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import count, shown
from fastlrp.relevance.arrays import RelevanceArrays, overflow_of, row_name
from fastlrp.relevance.display import percent
from fastlrp.relevance.groups import group_positions
from fastlrp.relevance.parts import by_feature, feature_values, labels, need_steps, of_times, row_shares, totals
from fastlrp.relevance.saturation import saturation

Array = npt.NDArray[Any]


def frame(relevance: RelevanceArrays, *, steps: bool) -> pd.DataFrame:
    """``Relevance.to_frame``."""
    if steps:
        need_steps(relevance, "to_frame(steps=True)")
        columns = pd.MultiIndex.from_product([relevance.lags, relevance.features], names=["step", "feature"])
        values = np.array(relevance.values).reshape(len(relevance), -1)
        if relevance.static is not None:  # of the window's last month
            last = pd.MultiIndex.from_product([[0], relevance.static_features], names=columns.names)
            columns, values = columns.append(last), np.concatenate([values, relevance.static], axis=1)
        return pd.DataFrame(values, labels(relevance), columns, copy=False)
    table = pd.DataFrame(feature_values(relevance), labels(relevance), list(relevance.inputs), copy=False)
    for name, column in totals(relevance):
        while name in table.columns:
            name += "_"
        table[name] = column
    return table


def by_group(relevance: RelevanceArrays, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """``Relevance.by_group``."""
    members = group_positions(relevance.inputs, groups)
    out = np.empty((len(relevance), len(members)))
    for rows, part in by_feature(relevance):
        for g, columns in enumerate(members.values()):
            out[rows, g] = part[:, columns].sum(axis=1)
    return pd.DataFrame(out, labels(relevance), list(members), copy=False)


def share(relevance: RelevanceArrays, *, signed: bool) -> pd.DataFrame:
    """``Relevance.share``."""
    out = np.empty((len(relevance), len(relevance.inputs)), relevance.values.dtype)
    for rows, part in by_feature(relevance):
        out[rows] = row_shares(part, signed)
    return pd.DataFrame(out, labels(relevance), list(relevance.inputs), copy=False)


def summary(relevance: RelevanceArrays, top: int, inputs: Array | None = None) -> str:
    """``Relevance.summary``; ``inputs`` are some rows of the features that were explained."""
    n, found = len(relevance), int(np.count_nonzero(relevance.explained))
    missing, over = int(np.count_nonzero(relevance.missing)), np.flatnonzero(relevance.overflowed)
    target = "" if relevance.target is None else f", target {relevance.target!r}"
    features, steps = relevance.inputs, relevance.steps
    lines = [f"Relevance by {relevance.rule!r}{target}"]
    static = f" and {count(len(relevance.static_features), 'static feature')}" if relevance.static_features else ""
    sizes = f"{count(steps, 'step')} x {count(len(relevance.features), 'feature')}{static}"
    lines.append(f"  {count(found, 'sample')} of {sizes}")
    if missing:
        are = "is" if missing == 1 else "are"
        lines.append(f"  {missing:,} of {n:,} rows {are} missing: no full window ends there, or a value is missing")
    if over.size:
        lines.append(f"  {overflow_of(over, n, relevance.score.dtype, relevance.index)}")
    if relevance.n_members is not None:
        agree = f"; the relevance of two of them correlates at {relevance.agreement():.2f}" if found else ""
        lines.append(f"  mean of an ensemble of {relevance.n_members:,} networks{agree}")
    if (note := saturation(relevance, inputs)) is not None:
        lines.append(f"  {note}")
    if relevance.by_position:
        lines.append("  columns were taken by position: the network has no names (net.with_features([...]))")
    if not found:
        none = "is left" if over.size else f"ends a complete window of {count(steps, 'step')}"
        return shown("\n".join([*lines, f"  nothing to reconcile: no row {none}"]))
    mean = mean_share(relevance)
    best = np.argsort(-mean, kind="stable")[: max(0, top)]
    spread = "" if relevance.share_spread is None else ", +- its standard deviation over members"
    lines.append(f"Mean share of |relevance|{spread}")
    width = max((len(features[j]) for j in best), default=0)
    lines += [f"  {features[j]:<{width}}  {percent(mean[j], relevance.share_spread, j, 5)}" for j in best]
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
    what = "" if of_times(rows) else "sample "
    named = ((row_name(rows[row]), gap) for row, gap in relevance._relative(gaps.worst_rows))
    worst = ", ".join(f"{what}{name} {gap:+.1e}" for name, gap in named)
    yield f"  worst rows     by gap / scale: {worst}"
    yield f"  unattributed   median {100 * relevance.median_unattributed_share():.1f} % of |score|"


def mean_share(relevance: RelevanceArrays) -> Array:
    """Each feature's mean share of |relevance| over rows; NaN if no row has any."""
    total, count = np.zeros(len(relevance.inputs)), 0
    for _, part in by_feature(relevance):
        shares = row_shares(part)
        usable = ~np.isnan(shares).any(axis=1)
        total += shares[usable].sum(axis=0)
        count += int(usable.sum())
    return total / count if count else np.full(len(total), np.nan)
