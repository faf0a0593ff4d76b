"""What the scikit-learn face takes -- arrays, flat columns, panels -- as one matrix of rows and where windows start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from fastlrp.panel import as_panel, label, locate_infinite, periods

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Complete windows of a matrix of rows; nothing is copied T times.

    Attributes
    ----------
    rows : array (R, D)
        Sample k is ``rows[starts[k] : starts[k] + steps]``, oldest first.
    starts : int64 array (n,)
    caller : int64 array (n,)
        The caller's row of each sample.
    n_given : int
        How many rows (samples, for arrays) the caller gave.
    steps : int
        T.
    period : int array (n,) or None
        Rank of the time in which each sample ends, for panels.
    features : tuple of str or None
        Names of the D features.
    row_period : int array (R,) or None
        Rank of each row's time, for panels.
    """

    rows: Array
    starts: Array
    caller: Array
    n_given: int
    steps: int
    period: Array | None = None
    features: tuple[str, ...] | None = None
    row_period: Array | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, which: Array) -> Samples:
        """Some of the samples, of the same rows."""
        period = None if self.period is None else self.period[which]
        return replace(self, starts=self.starts[which], caller=self.caller[which], period=period)

    def windows(self) -> Array:
        """The samples as an array (n, T, D), copied."""
        return self.rows[self.starts[:, None] + np.arange(self.steps)]


def is_panel(X: object) -> TypeGuard[pd.DataFrame]:
    """Whether X is a DataFrame with two index levels."""
    return isinstance(X, pd.DataFrame) and isinstance(X.index, pd.MultiIndex)


def from_array(X: Array, steps: int) -> Samples:
    """Samples of an array (n, T, D), or (n, T*D) with step-major columns."""
    n = len(X)
    rows = np.ascontiguousarray(X).reshape(n * steps, -1)
    return Samples(rows, np.arange(n, dtype=np.int64) * steps, np.arange(n, dtype=np.int64), n, steps)


def from_panel(
    X: pd.DataFrame, steps: int, features: Sequence[str] | None, dtype: npt.DTypeLike, n_features: int | None = None
) -> Samples:
    """The complete windows of a panel: full, and without a missing value.

    Raises
    ------
    ValueError
        If X is no panel, or holds an infinite value: says where.
    """
    panel = as_panel(X, steps, features, dtype, n_features=n_features)
    rows = panel.values if panel.order is None else panel.values[panel.order]
    usable = np.isfinite(rows).all(axis=1)
    if np.isinf(rows[~usable]).any():
        locate_infinite(panel)
    bad = np.concatenate([[0], np.cumsum(~usable)])
    last = np.flatnonzero(panel.ends)
    last = last[bad[last + 1] == bad[last + 1 - steps]]
    caller = last if panel.order is None else panel.order[last]
    rank, _ = periods(panel.index)
    row_period = rank if panel.order is None else rank[panel.order]
    return Samples(rows, last - (steps - 1), caller, len(X), steps, rank[caller], panel.features, row_period)


def refuse_other_index(X: pd.DataFrame, y: object, name: str) -> None:
    """A target or weight with an index of its own must have the panel's, row by row.

    Raises
    ------
    ValueError
        Naming the first row that differs.
    """
    if not isinstance(y, pd.Series | pd.DataFrame) or y.index.equals(X.index):
        return
    if len(y) != len(X):
        raise ValueError(f"{name} has {len(y)} rows, but the panel has {len(X)}: align it with {name}.reindex(X.index)")
    row = next((k for k, (a, b) in enumerate(zip(y.index, X.index, strict=True)) if a != b), 0)
    raise ValueError(
        f"{name} is not on the panel's index: row {row} is {_shown(y.index[row])} in {name} and {_shown(X.index[row])} "
        f"in X; align it with {name}.reindex(X.index)"
    )


def _shown(key: object) -> str:
    return f"({', '.join(map(label, key))})" if isinstance(key, tuple) else label(key)


class TakesWindows:
    """What an estimator learns about X and checks later: its form, T, the features and their names.

    The estimator has ``steps`` (T or None) and ``dtype``; ``steps_`` is set once T is known.
    """

    steps: int | None
    dtype: Any
    steps_: int
    n_features_in_: int
    feature_names_in_: Array
    _flat: bool  # whether X had flat columns
    _features: list[str] | None

    def _samples(self, X: Any, *, reset: bool) -> Samples:
        """X as samples, in whichever of its three forms; ``reset``: learn its names and sizes."""
        if is_panel(X):
            return self._panel_samples(X, reset)
        if not hasattr(X, "ndim"):
            as_array = np.asarray(X)
            X = as_array if as_array.ndim == 3 else X
        if getattr(X, "ndim", 0) == 3:
            X = self._check_cube(X, reset)
            return from_array(X, X.shape[1])
        return self._flat_samples(X, reset)

    def _flat_samples(self, X: Any, reset: bool) -> Samples:
        steps = (self._asked_steps or 1) if reset else self.steps_
        if reset or self._flat:
            X = validate_data(self, X, reset=reset, dtype=self._dtype)
        else:
            X = check_array(X, dtype=self._dtype, input_name="X")
            if X.shape[1] != steps * self._width:
                raise ValueError(
                    f"X has {X.shape[1]} columns, expected {steps * self._width}: {steps} steps of {self._width} "
                    "features, step-major"
                )
        if X.shape[1] % steps:
            raise ValueError(
                f"X has {X.shape[1]} columns, which steps={steps} does not divide: expected step-major columns "
                "(steps x features), an array (sample, step, feature), or a panel with a (time, asset) index"
            )
        if reset:
            self._flat = True
        samples = from_array(X, steps)
        names = getattr(self, "feature_names_in_", None)
        return replace(samples, features=tuple(names)) if steps == 1 and names is not None else samples

    def _check_cube(self, X: Any, reset: bool) -> Array:
        X = check_array(X, dtype=self._dtype, allow_nd=True, input_name="X")
        if 0 in X.shape:
            raise ValueError(f"X is empty: shape {X.shape}, expected at least one sample, step and feature")
        if not reset:
            if X.shape[1:] != (self.steps_, self._width):
                due = f"(n, {self.steps_}, {self._width})"
                raise ValueError(f"X has shape {X.shape}, expected {due}: (sample, step, feature)")
            return cast(Array, X)
        if self._asked_steps not in (None, X.shape[1]):
            raise ValueError(f"X has {X.shape[1]} steps, expected steps={self._asked_steps}: shape {X.shape}")
        self._learn_features(X.shape[2], None)
        return cast(Array, X)

    def _panel_samples(self, X: pd.DataFrame, reset: bool) -> Samples:
        if not reset:
            return from_panel(X, self.steps_, self._features, self._dtype, self._width)
        samples = from_panel(X, self._asked_steps or 1, None, self._dtype)
        names = [name for name in X.columns if isinstance(name, str)]
        self._learn_features(X.shape[1], names if len(names) == X.shape[1] else None)
        return samples

    def _learn_features(self, width: int, names: list[str] | None) -> None:
        self._flat, self.n_features_in_ = False, width
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    @property
    def _asked_steps(self) -> int | None:
        """T as far as it is known before there is an X."""
        return self.steps

    @property
    def _dtype(self) -> type[Any]:
        return cast(type[Any], np.dtype(self.dtype).type)

    @property
    def _width(self) -> int:
        """D, features a step."""
        return self.n_features_in_ // (self.steps_ if self._flat else 1)

    def _input(self, X: Any) -> Array | pd.DataFrame:
        """X as a network takes it."""
        check_is_fitted(self)
        if is_panel(X):
            return X
        samples = self._samples(X, reset=False)
        return samples.rows.reshape(len(samples), samples.steps, -1)
