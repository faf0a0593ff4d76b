"""Targets in other units for training: a transformer fitted on the targets that train, and undone where it can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from fastlrp.learning.preprocessing import CrossSectionalDemean, CrossSectionalRank, is_cross_sectional

Array = npt.NDArray[Any]

_NAMED = {"standardize": StandardScaler, "rank": CrossSectionalRank, "demean": CrossSectionalDemean}


@dataclass(frozen=True, eq=False)
class TargetTransform:
    """A transformer of targets; targets are (n, K), ``index`` is the panel's index of their rows, or None for arrays.

    Those that compare the assets of one period (ranks, deviations from the mean) learn nothing and cannot be undone:
    predictions, and what ``score`` compares them with, stay in their units. All others are undone in predictions.
    """

    transformer: Any

    @classmethod
    def of(cls, chosen: Any, owner: str) -> TargetTransform | None:
        """The transformer that a user chose, not fitted yet; None for none.

        Raises
        ------
        ValueError
            If it is neither a known name nor a transformer that can be undone.
        """
        if chosen is None:
            return None
        if isinstance(chosen, str) and chosen in _NAMED:
            return cls(_NAMED[chosen]())
        func, back = getattr(chosen, "func", None), getattr(chosen, "inverse_func", None)
        takes = f"{owner}(target_transform=...) takes {', '.join(map(repr, _NAMED))}, a transformer or None"
        if isinstance(chosen, type) or not all(hasattr(chosen, name) for name in ("fit", "transform", "get_params")):
            raise ValueError(f"{takes}, not {chosen!r}")
        one_way = not hasattr(chosen, "inverse_transform") or (func is not None and back is None)
        if not is_cross_sectional(chosen) and one_way:
            raise ValueError(f"{takes}, but {type(chosen).__name__} has no inverse to undo it in predictions")
        return cls(clone(chosen))

    @property
    def undone(self) -> bool:
        """Whether predictions return to the units of y."""
        return not is_cross_sectional(self.transformer)

    def fit(self, y: Array, index: pd.Index | None) -> Array:
        """Fit it on the targets that train, and return these transformed."""
        try:
            self.transformer.fit(self._given(y, index))
        except (TypeError, ValueError) as error:
            raise ValueError(f"target_transform: {type(self.transformer).__name__} cannot be fitted: {error}") from None
        return self.transform(y, index)

    def transform(self, y: Array, index: pd.Index | None) -> Array:
        """Other targets, as the fitted transformer sees them."""
        with np.errstate(divide="ignore", invalid="ignore"):  # refused below
            done = np.asarray(self.transformer.transform(self._given(y, index)))
        if done.shape != y.shape or done.dtype.kind not in "fiu":
            raise ValueError(
                f"target_transform: {type(self.transformer).__name__} made targets of shape {done.shape} and dtype "
                f"{done.dtype}, expected numbers of shape {y.shape}"
            )
        if not np.isfinite(done).all():
            raise ValueError(
                f"target_transform: {type(self.transformer).__name__} made targets that are not finite, such as that "
                f"of y = {y[~np.isfinite(done)][0]:g}"
            )
        return done

    def undo(self, prediction: Array) -> Array:
        """Predictions (n, K) in the units of y, in float64, where there is a way back; NaN and infinities stay, and
        hold back no other number of their row."""
        if not self.undone:
            return prediction
        out, finite = prediction.astype(np.float64), np.isfinite(prediction)
        rows = finite.any(axis=1)
        if rows.any():
            back = np.asarray(self.transformer.inverse_transform(np.where(finite, out, 0.0)[rows]))
            out[rows] = np.where(finite[rows], back.reshape(-1, prediction.shape[1]), out[rows])
        return out

    def _given(self, y: Array, index: pd.Index | None) -> Array | pd.DataFrame:
        """Targets as the transformer takes them: on the panel's index, if it compares the assets of a period."""
        wide = y.astype(np.float64)
        return wide if index is None or self.undone else pd.DataFrame(wide, index, [f"y{k}" for k in range(y.shape[1])])


def as_learnt(y: Array, dtype: npt.DTypeLike) -> Array:
    """Targets in the dtype of training.

    Raises
    ------
    ValueError
        If one is too large for it.
    """
    with np.errstate(over="ignore"):
        learnt = np.ascontiguousarray(y, dtype)
    if not np.isfinite(learnt).all():
        too_large = float(y[~np.isfinite(learnt)][0])
        raise ValueError(
            f"y holds {too_large:g}, too large for {learnt.dtype}: train with dtype='float64', or scale y "
            "(target_transform='standardize')"
        )
    return learnt
