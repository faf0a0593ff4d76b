"""Predictions of a panel as scikit-learn takes them, and their score."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import r2_score

from fastlrp.learning.inputs import as_targets, as_weights
from fastlrp.learning.targets import TargetTransform
from fastlrp.messages import count

Array = npt.NDArray[Any]


def scored(
    predicted: Array, y: Any, index: pd.Index | None, transform: TargetTransform | None, weight: Any, *, missing: bool
) -> float:
    """R^2 of predictions, over rows that have a prediction and a target where some may be ``missing``.

    Raises
    ------
    ValueError
        If y or the weights are not finite numbers, one for each prediction, or no row is left.
    """
    rows, y = np.ones(len(predicted), bool), as_targets(y, missing=missing)
    if len(y) != len(predicted) or y.size != predicted.size:
        raise ValueError(f"y has shape {y.shape}, expected {predicted.shape}: a target for each prediction")
    y = y.reshape(predicted.shape)
    weight = None if weight is None else as_weights(weight, y)
    if missing:
        rows = np.isfinite(predicted + y).reshape(len(predicted), -1).all(axis=1)
        if not rows.any():
            raise ValueError(
                f"nothing to score: none of the {count(len(rows), 'row')} has both a prediction and a target"
            )
        y = y[rows]
    if transform is not None and not transform.undone:
        fresh = TargetTransform(clone(transform.transformer))  # what was fitted stays as it is
        y = fresh.fit(y.reshape(len(y), -1), None if index is None else index[rows]).reshape(y.shape)
    return float(r2_score(y, predicted[rows], sample_weight=None if weight is None else weight[rows]))


class PanelPrediction(pd.Series):
    """A Series of predictions with NumPy's ``reshape``, which scikit-learn's meta-estimators call on any prediction."""

    @property
    def _constructor(self) -> type[pd.Series]:
        return pd.Series

    def reshape(self, *shape: Any) -> Array:
        """The values in another shape."""
        return self.to_numpy().reshape(*shape)
