"""The data of a rolling fit: spans of periods, and the samples and rows that lie inside each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.learning.inputs import Targets, refuse_panel_in_columns
from fastlrp.learning.parameters import known_steps, padding_of
from fastlrp.learning.targets import TargetTransform, as_learnt
from fastlrp.panels.infinities import locate_infinite
from fastlrp.panels.order import complete_ends
from fastlrp.panels.panel import Unread, as_panel, unread_panel
from fastlrp.panels.periods import of_one_asset, periods
from fastlrp.panels.samples import Samples, is_panel, padded, refuse_other_index
from fastlrp.panels.static import fill_static

if TYPE_CHECKING:
    from fastlrp.learning.file_panel import FilePanel
    from fastlrp.learning.regressor import LSTMRegressor

Array = npt.NDArray[Any]
_BLOCK = 4096  # rows read at once
#: Bytes of the scaled rows of windows that are trained together, which only a single window may exceed.
AT_ONCE_BYTES = 1 << 28


@dataclass(frozen=True)
class Span:
    """One window, by ranks of periods: it trains on [start, cut), chooses on [held, stop), which may be empty, and
    predicts [first, last)."""

    start: int
    cut: int
    held: int
    stop: int
    first: int
    last: int


class Part(NamedTuple):
    """The samples of a window that train, or that are held out: as windows of its rows, and their targets."""

    samples: Samples
    y: Array
    weight: Array | None


@dataclass(frozen=True, eq=False)
class RollingData:
    """A panel where it lies, with targets and weights by the caller's rows, and the period of each sorted row."""

    panel: Unread | FilePanel
    steps: int
    targets: Targets
    times: pd.Index
    period: Array  # of each sorted row
    trains: Array  # whether a sorted row ends a complete window and has a target and a weight
    at_once: int = AT_ONCE_BYTES
    n_static: int = 0  # the last columns
    padding: float = 0.0  # the value of steps before a short history

    @classmethod
    def read(cls, X: Any, y: Any, weight: Any, model: LSTMRegressor) -> RollingData:
        """X, y and weights, checked."""
        frame, steps = as_frame(X), known_steps(model)
        for name, given in (("y", y), ("sample_weight", weight)):
            refuse_other_index(X, given, name)
        panel = unread_panel(frame, steps, model._columns_of(frame), None, model.min_steps)
        n_static = len(model._static)
        targets = Targets.read(y, weight, len(X), missing=True)
        rank, times = periods(cast(pd.MultiIndex, frame.index))
        trains = _complete(panel, frame, steps, n_static)
        trains &= targets.usable if panel.order is None else targets.usable[panel.order]
        period = (rank if panel.order is None else rank[panel.order]).astype(np.int32)
        return cls(panel, steps, targets, times, period, trains, n_static=n_static, padding=padding_of(model))

    @classmethod
    def of_file(cls, panel: FilePanel) -> RollingData:
        """A panel in files."""
        trains = panel.complete & panel.targets.usable
        at_once = min(AT_ONCE_BYTES, panel.rows.at_once)
        return cls(panel, panel.steps, panel.targets, panel.times, panel.period, trains, at_once)

    def ends(self, span: Span, first: int, stop: int) -> Array:
        """Sorted rows of the periods [first, stop) that end a sample with a target, all of it inside the window."""
        last = np.flatnonzero(self.trains & (self.period >= first) & (self.period < stop))
        return last[self.period[last] - self.lengths(last) + 1 >= span.start]

    def lengths(self, last: Array) -> Array | int:
        """How many rows the samples have that end in some sorted rows."""
        return self.steps if self.panel.lengths is None else self.panel.lengths[last]

    def n_trains(self, span: Span) -> int:
        """Number of samples that train a window."""
        return len(self.ends(span, span.start, span.cut))

    def rows(self, first: int, stop: int) -> Array:
        """Sorted rows of the periods [first, stop)."""
        return np.flatnonzero((self.period >= first) & (self.period < stop))

    def caller(self, rows: Array) -> Array:
        """The caller's rows of sorted ones."""
        return rows if self.panel.order is None else self.panel.order[rows]

    def read_blocks(self, rows: Array) -> Iterator[tuple[slice, Array]]:
        """Values of sorted rows, some at a time."""
        for k in range(0, len(rows), _BLOCK):
            yield slice(k, k + _BLOCK), self.panel.read(self.caller(rows[k : k + _BLOCK]))

    def scaling(self, span: Span, scaler: str | None) -> tuple[Array, Array]:
        """Center and scale of the rows that a window trains on."""
        rows = self.rows(span.start, span.cut)
        return scaling(lambda: (block for _, block in self.read_blocks(rows)), len(self.panel.features), scaler)

    def parts(self, span: Span, center: Array, scale: Array) -> tuple[Part, Part | None]:
        """A window's samples that train, and those held out, of scaled rows that both share."""
        rows = self.rows(span.start, span.stop)
        values = np.empty((len(rows), len(self.panel.features)), center.dtype)
        for where, block in self.read_blocks(rows):
            values[where] = scaled(block, center, scale, center.dtype)
        if self.n_static:
            fill_static(values, self.n_static)
        trains = self._part(rows, values, self.ends(span, span.start, span.cut))
        held = self._part(rows, values, self.ends(span, span.held, span.stop))
        return trains, held if span.held < span.stop else None

    def _part(self, rows: Array, values: Array, ends: Array) -> Part:
        last, caller = np.searchsorted(rows, ends), self.caller(ends)
        starts = last - (self.steps - 1)
        if self.panel.lengths is not None:
            values, starts = padded(values, last, self.panel.lengths[ends], self.steps, self.padding)
        y, weight = self.targets.y, self.targets.weight
        samples = Samples(values, starts, caller, len(y), self.steps, self.period[ends])
        if weight is not None:  # a mean of one in each window: none may look at another
            weight = (weight[caller] / weight[caller].mean()).astype(values.dtype) if len(caller) else None
        return Part(samples, y[caller], weight)

    def learnt(self, part: Part, transform: TargetTransform | None, *, fit: bool) -> Part:
        """A part with the targets that networks learn, in the dtype of its rows."""
        y = part.y
        if transform is not None and len(y):
            index = self.panel.index[part.samples.caller]
            y = (transform.fit if fit else transform.transform)(y, index)
        return part._replace(y=as_learnt(y, part.samples.rows.dtype))

    def fit_transform(self, span: Span, transform: TargetTransform | None) -> None:
        """Fit a finished window's target transform anew, as it was fitted when the window was trained."""
        if transform is not None:
            caller = self.caller(self.ends(span, span.start, span.cut))
            transform.fit(self.targets.y[caller], self.panel.index[caller])


def _complete(panel: Unread, frame: pd.DataFrame, steps: int, n_static: int) -> Array:
    """Whether each sorted row ends a full window without a missing value; of static features, in the row itself."""
    n, D = len(panel.ends), len(panel.features) - n_static
    usable, fine = np.empty(n, bool), np.empty(n, bool)
    for k in range(0, n, _BLOCK):
        rows = np.arange(k, min(k + _BLOCK, n)) if panel.order is None else panel.order[k : k + _BLOCK]
        values = panel.read(rows)
        if np.isinf(values).any():
            locate_infinite(as_panel(frame, steps, panel.features))
        usable[k : k + len(rows)] = np.isfinite(values[:, :D]).all(axis=1)
        fine[k : k + len(rows)] = np.isfinite(values[:, D:]).all(axis=1)
    lengths = None if panel.lengths is None else np.where(fine, panel.lengths, 0)
    return complete_ends(panel.ends & fine, usable, steps, lengths)


def as_frame(X: Any) -> pd.DataFrame:
    """A panel as it is; a frame with one row per time as a panel of one asset."""
    if not isinstance(X, pd.DataFrame):
        raise ValueError(f"RollingLSTM takes a DataFrame, a panel or one row a time, not {type(X).__name__}")
    if is_panel(X):
        return X
    refuse_panel_in_columns(X)
    return X.set_axis(of_one_asset(X.index))


def scaled(values: Array, center: Array, scale: Array, dtype: npt.DTypeLike) -> Array:
    """(values - center) / scale as a network of this dtype takes it, computed in the widest dtype of the three."""
    with np.errstate(over="ignore", invalid="ignore"):  # the kernels refuse infinite values
        return np.asarray((values - center) / scale, dtype)


def scaling(blocks: Callable[[], Iterator[Array]], n_features: int, scaler: str | None) -> tuple[Array, Array]:
    """Center and scale of each feature over the rows that have it; a constant or absent feature has scale 1.

    ``blocks()`` goes through the rows, some at a time; sums are those of float64, block after block.
    """
    center, scale = np.zeros(n_features), np.ones(n_features)
    if scaler is None:
        return center, scale
    if scaler == "minmax":
        low, high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
        for block in blocks():
            low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
        seen = low <= high
        center[seen], spread = low[seen], high[seen] - low[seen]
    else:
        total, n, squares = np.zeros(n_features), np.zeros(n_features), np.zeros(n_features)
        for block in blocks():
            total += np.nansum(block, axis=0, dtype=np.float64)
            n += np.count_nonzero(~np.isnan(block), axis=0)
        seen = n > 0
        np.divide(total, n, out=center, where=seen)
        for block in blocks():
            squares += np.nansum((block - center) ** 2, axis=0)
        spread = np.sqrt(squares[seen] / n[seen])
    scale[seen] = np.where(spread > 1e-14 * np.abs(center[seen]), spread, 1)  # a constant's mean may be off by rounding
    return center, scale
