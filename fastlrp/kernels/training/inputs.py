"""The inputs of training, checked on entry: settings, and arrays as kernels read them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.checks import LOSSES, check
from fastlrp.kernels.memory import read_only
from fastlrp.kernels.program.training import TrainPlan

Array = npt.NDArray[Any]
#: Windows as an array (sample, step, feature), or rows (row, feature) and the row where each sample's window starts.
Inputs = Array | tuple[Array, Array]


@dataclass(frozen=True)
class Settings:
    """Settings of a network's training; see :class:`Trainer`."""

    loss: str = "squared_error"
    huber_delta: float = 1.0
    alpha: float = 0.0
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    clipnorm: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            check(field.name, getattr(self, field.name))

    def numbers(self) -> dict[str, float]:
        """The values as kernels take them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        rate = values.pop("learning_rate")
        return {**values, "rate": rate, "loss": LOSSES.index(self.loss), "clipnorm": self.clipnorm or 0.0}


def checked(
    plan: TrainPlan, dtype: Any, X: Inputs, y: Array, sample_weight: Array | None
) -> tuple[tuple[Array, ...], int]:
    """The arrays that kernels read, flat and in one dtype, and the number of samples; copied only where needed."""
    T, D, K = plan.steps, plan.n_features, plan.n_outputs
    starts = np.empty(0, np.int64)
    if isinstance(X, tuple):
        rows, starts = X
        rows, starts = np.ascontiguousarray(rows, dtype), np.ascontiguousarray(starts, np.int64)
        if rows.ndim != 2 or rows.shape[1] != D:
            raise ValueError(f"X's rows have shape {rows.shape}, expected (rows, {D})")
        n = starts.size
        if n and (starts.min() < 0 or starts.max() + T > rows.shape[0]):
            last = rows.shape[0] - T
            raise ValueError(f"X's windows start in rows {starts.min()} to {starts.max()}, expected 0 to {last}")
    else:
        rows = np.ascontiguousarray(X, dtype)
        if rows.ndim != 3 or rows.shape[1:] != (T, D):
            raise ValueError(f"X has shape {rows.shape}, expected (samples, {T}, {D})")
        n = rows.shape[0]
    if n == 0:
        raise ValueError("training needs at least one sample, but X has none")
    y = np.ascontiguousarray(y, dtype)
    if y.shape != (n, K) and not (K == 1 and y.shape == (n,)):
        raise ValueError(f"y has shape {y.shape}, expected ({n}, {K})")
    weights = np.empty(0, dtype) if sample_weight is None else np.ascontiguousarray(sample_weight, dtype)
    if sample_weight is not None and weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, expected ({n},)")
    flat = tuple(read_only(array.reshape(-1)) for array in (rows, starts, y, weights))
    return flat, n
