"""The data of a rolling fit: spans of periods, and the samples and rows that lie inside each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.learning.inputs import refuse_panel_in_columns
from fastlrp.panels.periods import of_one_asset, periods
from fastlrp.panels.samples import Samples, from_panel, is_panel, refuse_other_index

if TYPE_CHECKING:
    from fastlrp.learning.regressor import LSTMRegressor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Span:
    """One window, by ranks of periods: it trains on [start, stop) and predicts [first, last)."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class RollingData:
    """Samples, targets and weights by the caller's rows, and the samples and rows of each period."""

    samples: Samples
    y: Array
    weight: Array | None
    times: pd.Index
    flat: bool
    outputs: tuple[str, ...] | None
    by_time: Array  # usable samples, by period
    edges: Array
    rows_by_time: Array
    row_edges: Array

    @classmethod
    def read(cls, X: Any, y: Any, weight: Any, model: LSTMRegressor) -> RollingData:
        """X, y and weights, checked."""
        panel = as_frame(X)
        for name, given in (("y", y), ("sample_weight", weight)):
            refuse_other_index(X, given, name)
        samples = from_panel(panel, model.steps or 1, None, model.dtype)
        try:
            target = np.asarray(y, np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"y must hold numbers: {error}") from None
        if target.ndim not in (1, 2) or len(target) != len(X):
            raise ValueError(f"y has shape {target.shape}, expected ({len(X)},) or ({len(X)}, targets)")
        outputs = tuple(map(str, y.columns)) if isinstance(y, pd.DataFrame) else None
        targets = target.reshape(len(X), -1).astype(samples.rows.dtype)
        if np.isinf(targets).any():
            row = int(np.argwhere(np.isinf(targets))[0, 0])
            raise ValueError(f"y is infinite in row {row}, expected finite numbers, or NaN where missing")
        usable = np.isfinite(targets).all(axis=1)
        if weight is not None:
            weight = np.asarray(weight, np.float64)
            if weight.shape != (len(X),) or not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
                raise ValueError(f"sample_weight must hold {len(X)} finite numbers of at least 0, not all of them zero")
            usable &= weight > 0
            weight = (weight / weight[usable].mean()).astype(samples.rows.dtype)
        times = periods(cast(pd.MultiIndex, panel.index))[1]
        assert samples.period is not None
        assert samples.row_period is not None
        which = np.flatnonzero(usable[samples.caller])
        by_time, edges = by_period(samples.period[which], len(times))
        rows_by_time, row_edges = by_period(samples.row_period, len(times))
        flat = target.ndim == 1
        return cls(samples, targets, weight, times, flat, outputs, which[by_time], edges, rows_by_time, row_edges)

    def trains(self, span: Span) -> Array:
        """Samples that lie wholly inside a window."""
        first = min(span.start + self.samples.steps - 1, span.stop)
        return self.by_time[self.edges[first] : self.edges[span.stop]]

    def rows_in(self, span: Span) -> int:
        """Number of rows in a window."""
        return int(self.row_edges[span.stop] - self.row_edges[span.start])

    def rows_of(self, span: Span) -> Array:
        """A window's rows, ascending, so that samples stay together."""
        return np.sort(self.rows_by_time[self.row_edges[span.start] : self.row_edges[span.stop]])


def by_period(period: Array, n: int) -> tuple[Array, Array]:
    """The order that sorts by period, and where each of the n periods begins in it (and the last one ends)."""
    order = np.argsort(period, kind="stable")
    return order, np.searchsorted(period[order], np.arange(n + 1))


def as_frame(X: Any) -> pd.DataFrame:
    """A panel as it is; a frame with one row per time as a panel of one asset."""
    if not isinstance(X, pd.DataFrame):
        raise ValueError(f"RollingLSTM takes a DataFrame, a panel or one row a time, not {type(X).__name__}")
    if is_panel(X):
        return X
    refuse_panel_in_columns(X)
    return X.set_axis(of_one_asset(X.index))


def scaling(values: Array, scaler: str | None) -> tuple[Array, Array]:
    """Center and scale of each feature over the rows that have it; a constant or absent feature has scale 1."""
    D = values.shape[1]
    center, scale = np.zeros(D), np.ones(D)
    have = ~np.isnan(values)
    seen = have.any(axis=0)
    if scaler is not None and seen.any():
        part = np.where(have, values, np.nan)[:, seen].astype(np.float64)
        if scaler == "standard":
            center[seen], spread = np.nanmean(part, axis=0), np.nanstd(part, axis=0)
        else:
            center[seen] = np.nanmin(part, axis=0)
            spread = np.nanmax(part, axis=0) - center[seen]
        scale[seen] = np.where(spread > 0, spread, 1)
    return center.astype(values.dtype), scale.astype(values.dtype)
