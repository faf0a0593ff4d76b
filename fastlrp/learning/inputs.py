"""The form of X and y, which estimators learn and later check: arrays, flat columns or panels, and their targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import ExtensionDtype
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype
from sklearn.utils.validation import _check_sample_weight, check_array, check_is_fitted, validate_data

from fastlrp.messages import count
from fastlrp.objects import real_numbers
from fastlrp.panels.columns import compute_dtype
from fastlrp.panels.flat import refuse_flat, time_and_asset
from fastlrp.panels.samples import Samples, from_array, from_panel, is_panel, refuse_other_index

Array = npt.NDArray[Any]


class TakesWindows:
    """An estimator that learns the form of X, T, the features and their names, and later checks them.

    The estimator has ``steps`` (T or None) and ``dtype``; ``steps_`` is set once T is known.
    """

    steps: int | None
    dtype: Any
    steps_: int
    n_features_in_: int
    feature_names_in_: Array
    _as_given: str  # "float32" where X was, else "float64"
    _flat: bool  # whether X had flat columns
    _features: list[str] | None

    def _samples(self, X: Any, *, reset: bool) -> Samples:
        """X as samples, whichever of its three forms it has; ``reset`` learns its names and sizes."""
        if reset:
            self._as_given = _dtype_of(X)
        if is_panel(X):
            return self._panel_samples(X, reset)
        if self._static:
            raise ValueError(
                f"{type(self).__name__} has static features, {', '.join(self._static[:5])}, which are columns of a "
                f"panel: give a DataFrame with a (time, asset) index, not {type(X).__name__}"
            )
        if isinstance(X, pd.DataFrame):
            refuse_panel_in_columns(X)
        X = as_numbers(X, "X")
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
                due = f"{steps * self._width}: {count(steps, 'step')} of {count(self._width, 'feature')}"
                raise ValueError(f"X has {count(X.shape[1], 'column')}, expected {due}, step-major")
        if X.shape[1] % steps:
            raise ValueError(
                f"X has {count(X.shape[1], 'column')}, which steps={steps} does not divide: expected step-major "
                "columns (steps x features), an array (sample, step, feature), or a panel with a (time, asset) index"
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
            raise ValueError(f"X has {count(X.shape[1], 'step')}, expected steps={self._asked_steps}: shape {X.shape}")
        self._learn_features(X.shape[2], None)
        return cast(Array, X)

    def _panel_samples(self, X: pd.DataFrame, reset: bool) -> Samples:
        if not reset:
            width = None if self._features else self._width
            return from_panel(
                X, self.steps_, self._features, self._dtype, width, n_static=len(self._static), **self._short
            )
        if self._asked_steps is None:
            raise ValueError(
                f"steps= is missing: X is a panel, which needs the length of its windows, as {type(self).__name__}"
                "(steps=12) says it for 12 periods"
            )
        chosen = self._columns_of(X)
        samples = from_panel(X, self._asked_steps, chosen, self._dtype, n_static=len(self._static), **self._short)
        names = chosen or [name for name in X.columns if isinstance(name, str)]
        width = samples.rows.shape[1]
        self._learn_features(width, names if len(names) == width else None)
        return samples

    def _learn_features(self, width: int, names: list[str] | None) -> None:
        self._flat, self.n_features_in_ = False, width
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    @property
    def _asked_steps(self) -> int | None:
        """T, if it is known before there is an X."""
        return self.steps

    @property
    def _chosen(self) -> list[str] | None:
        """Columns of a panel to read, if they are known before there is one; None: all."""
        return None

    @property
    def _static(self) -> list[str]:
        """Columns of a panel that are static features."""
        return []

    def _columns_of(self, X: pd.DataFrame) -> list[str] | None:
        """Columns of a panel to read, static ones last; None: all."""
        static = self._static
        if not static:
            return self._chosen
        return [*(self._chosen or [str(name) for name in X.columns if str(name) not in static]), *static]

    @property
    def _short(self) -> dict[str, Any]:
        """How short windows of a panel are taken, as ``from_panel`` has it; nothing: not at all."""
        return {}

    @property
    def _dtype(self) -> type[Any]:
        """The dtype that X is read as: ``dtype``, or where that is None the one that X had when it was learned."""
        return np.dtype(self._as_given if self.dtype is None else self.dtype).type

    @property
    def _width(self) -> int:
        """D, the number of features per step."""
        return self.n_features_in_ // (self.steps_ if self._flat else 1)

    def _input(self, X: Any) -> Array | pd.DataFrame:
        """X as a network takes it."""
        check_is_fitted(self)
        if is_panel(X):
            return X
        samples = self._samples(X, reset=False)
        return samples.rows.reshape(len(samples), samples.steps, -1)


class TakesTargets(TakesWindows):
    """An estimator that is trained, and so learns about y as well."""

    verbose: bool
    n_outputs_: int
    n_windows_: int
    n_skipped_: int
    _outputs: list[str] | None
    _flat_target: bool  # whether y had one axis

    def _training_data(self, X: Any, y: Any, weight: Any, *, reset: bool) -> tuple[Samples, Array, Array | None]:
        """The samples that have a target and a weight, with their targets and weights."""
        panel = is_panel(X)
        if panel:
            refuse_other_index(X, y, "y")
            refuse_other_index(X, weight, "sample_weight")
        samples = self._samples(X, reset=reset)
        return self._usable(samples, Targets.read(y, weight, samples.n_given, missing=panel), reset=reset)

    def _usable(self, samples: Samples, given: Targets, *, reset: bool) -> tuple[Samples, Array, Array | None]:
        self._note_outputs(given, reset)
        used = samples.take(np.flatnonzero(given.usable[samples.caller]))
        self.n_windows_, self.n_skipped_ = len(used), samples.n_given - len(used)
        self._say_skipped(samples, used)
        weight = None if given.weight is None else _mean_one(given.weight[used.caller], self._dtype)
        return used, np.ascontiguousarray(given.y[used.caller]), weight

    def _say_skipped(self, samples: Samples, used: Samples) -> None:
        why = (
            f"{len(used)} of {count(samples.n_given, 'row')} train: {samples.n_given - len(samples)} end no complete "
            f"window of {count(samples.steps, 'step')}, {len(samples) - len(used)} have no target or no weight"
        )
        if not len(used):
            raise ValueError(f"nothing is left to train on, 0 samples: {why}")
        if self.verbose and self.n_skipped_:
            print(f"{type(self).__name__}: {why}")

    def _note_outputs(self, given: Targets, reset: bool) -> None:
        if reset:
            self._outputs, self._flat_target = given.names, given.flat
        elif given.y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {count(given.y.shape[1], 'target')}, but the model was trained on {self.n_outputs_}"
            )


class Targets(NamedTuple):
    """Targets (n, targets) in float64, NaN where missing; their weights, if there are any; the rows that have all of
    them and a weight; whether y had one axis; and its columns' names, where they tell them apart."""

    y: Array
    weight: Array | None
    usable: Array
    flat: bool
    names: list[str] | None

    @classmethod
    def read(cls, y: Any, weight: Any, n: int, *, missing: bool) -> Self:
        """y and weights for n rows, of which some may be ``missing``, checked.

        Raises
        ------
        ValueError
            If they are not finite numbers, not as many, or no weight is above 0; a masked value is a missing one.
        """
        if y is None:
            raise ValueError("fit requires y to be passed, but the target y is None")
        targets = as_targets(y, missing=missing)
        if targets.ndim > 2 or len(targets) != n:
            raise ValueError(
                f"y has shape {targets.shape}, expected ({n},) or ({n}, targets) for the {count(n, 'row')} of X"
            )
        names = [str(name) for name in y.columns] if isinstance(y, pd.DataFrame) else None
        flat, targets = targets.ndim == 1, targets.reshape(n, -1)
        usable = np.asarray(np.isfinite(targets).all(axis=1))
        if weight is not None:
            weight = as_weights(weight, targets)
            if not weight.any():
                raise ValueError("sample_weight is zero for every sample, expected at least one that is not zero")
            usable &= weight > 0
        return cls(targets, weight, usable, flat, names if names and len(set(names)) == len(names) else None)


def as_targets(y: Any, *, missing: bool) -> Array:
    """A target as float64, in its own shape; some may be ``missing``.

    Raises
    ------
    ValueError
        If it holds what are no finite numbers.
    """
    finite: Any = "allow-nan" if missing else True
    given = as_numbers(y, "y")
    return np.asarray(check_array(given, input_name="y", ensure_2d=False, dtype=float, ensure_all_finite=finite))


def as_weights(weight: Any, targets: Array) -> Array:
    """Weights of targets as float64.

    Raises
    ------
    ValueError
        If they are not finite numbers of at least 0, one for each target.
    """
    given = as_numbers(weight, "sample_weight")
    shape = getattr(given, "shape", ())
    if shape not in ((), (len(targets),)):
        raise ValueError(f"sample_weight has shape {shape}, expected ({len(targets)},)")
    return np.asarray(_check_sample_weight(given, targets, dtype=np.float64, ensure_non_negative=True))


def filled(values: Any) -> Any:
    """A masked array with NaN where it is masked, which NumPy would forget; anything else as it is."""
    return np.ma.filled(values.astype(np.float64), np.nan) if isinstance(values, np.ma.MaskedArray) else values


def as_numbers(values: Any, where: str) -> Any:
    """What scikit-learn's checks take: a frame or an array as it is, objects as float64, masked values as NaN.

    Raises
    ------
    ValueError
        If there are texts or times, which scikit-learn would read as numbers, a whole number beyond float64's range,
        or a column twice.
    """
    values = filled(values)
    if isinstance(values, pd.DataFrame):
        return _numeric(values, where)
    if isinstance(values, pd.Series):
        column = _numbers_of(values, where)
        return values if column is None else pd.Series(column, values.index, name=values.name)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # ragged lists and the like: scikit-learn says what is wrong
        return values
    if array.dtype.kind in "USTMmV":
        raise ValueError(f"{where} holds {array.dtype}, expected numbers")
    if array.dtype == object and array.ndim and not any(isinstance(one, dict) for one in array.flat):
        return real_numbers(array, where)  # without sparse matrices and dicts, of which its own checks speak
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # too large for float64: infinite, which is refused
            return array.astype(np.float64)
    return values


def _numeric(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The frame with columns that scikit-learn reads as they are meant."""
    if (twice := frame.columns.duplicated()).any():
        raise ValueError(f"{where} has the column {str(frame.columns[twice][0])!r} twice")
    columns = [_numbers_of(column, f"{where}[{str(name)!r}]") for name, column in frame.items()]
    if any(column is not None for column in columns):
        frame = frame.copy(deep=False)
        for k, column in enumerate(columns):
            if column is not None:
                frame.isetitem(k, column)
    return frame


def _numbers_of(column: pd.Series[Any], where: str) -> Array | None:
    """Objects and extension types as floats, NaN where missing; None of a column that is to stay as it is."""
    dtype: Any = column.dtype
    if is_object_dtype(dtype):
        return real_numbers(column.to_numpy(), where)
    if not (is_numeric_dtype(dtype) or is_bool_dtype(dtype)):
        raise ValueError(f"{where} holds {dtype}, expected numbers")
    extended = isinstance(dtype, ExtensionDtype) and not isinstance(dtype, pd.SparseDtype)
    if not extended and dtype != np.float16:
        return None
    kind = getattr(dtype, "numpy_dtype", dtype)
    return column.to_numpy(np.float32 if kind in (np.float16, np.float32) else np.float64, na_value=np.nan)


def refuse_panel_in_columns(X: pd.DataFrame) -> None:
    """Refuse a time and an asset among flat columns, which are numbers: they were meant to be the index of a panel."""
    named = [name for name in time_and_asset(X) if name is not None]
    if len(named) == 2 and not all(name in X and is_numeric_dtype(X[name].dtype) for name in named):
        refuse_flat(X)


def _dtype_of(X: Any) -> str:
    """float32 where X is, else float64, by name."""
    dtypes = list(X.dtypes) if isinstance(X, pd.DataFrame) else [getattr(X, "dtype", np.float64)]
    return compute_dtype(dtypes, None).name


def _mean_one(weight: Array, dtype: npt.DTypeLike) -> Array:
    """Weights scaled to a mean of one, so that the learning rate keeps its meaning."""
    return np.asarray(weight / weight.mean(), dtype)
