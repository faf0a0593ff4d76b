"""Cross-sectional preprocessing that scikit-learn lacks: each period's assets against each other, and nothing later.

All four transformers compute from the rows of one period alone, at ``fit`` and at ``transform``: they learn nothing,
so they cannot look ahead, whatever rows they are given. A period must be given whole: a part of its assets is
another cross-section.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastlrp.learning.inputs import as_numbers, refuse_panel_in_columns
from fastlrp.panels.periods import label, periods
from fastlrp.panels.samples import is_panel

Array = npt.NDArray[Any]
Missing = Literal["keep", "center", "error"]

__all__ = ["CrossSectionalDemean", "CrossSectionalRank", "CrossSectionalWinsorizer", "CrossSectionalZScore"]


class _CrossSectional(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types there
    """The base of all four: takes a panel or an array, transforms each period, and returns the same form."""

    missing: Missing

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check X and learn its columns; no statistic is kept.

        Raises
        ------
        ValueError
            If a parameter or X is not what is expected.
        """
        self._check_parameters()
        self._read(X, reset=True)
        return self

    def transform(self, X: Any) -> Array | pd.DataFrame:
        """Transform each period of a panel, or the rows of an array as one period.

        Parameters
        ----------
        X : DataFrame with a (time, asset) index, or array (row, feature)

        Returns
        -------
        DataFrame on the panel's own index, or array
            float32 if X is, else float64.

        Raises
        ------
        ValueError
            If X is not what was fitted, holds an infinite value, or, with ``missing="error"``, a missing one.
        """
        check_is_fitted(self, "n_features_in_")
        values, rank = self._read(X, reset=False)
        order = np.argsort(rank, kind="stable")
        out = np.empty_like(values)
        for rows in np.split(order, np.flatnonzero(np.diff(rank[order])) + 1):
            block = values[rows]
            done, gaps = self._of_period(block), np.isnan(block)
            if self.missing == "center" and gaps.any():
                done = np.where(gaps, self._center(block), done)
            out[rows] = done
        return pd.DataFrame(out, X.index, X.columns) if is_panel(X) else out

    def _read(self, X: Any, *, reset: bool) -> tuple[Array, Array]:
        """The numbers, and each row's period."""
        if isinstance(X, pd.DataFrame) and not is_panel(X):
            refuse_panel_in_columns(X)
        given = as_numbers(X, "X")
        values = validate_data(
            self, given, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
        )  # fmt: skip
        panel = is_panel(X)
        rank = periods(X.index)[0] if panel else np.zeros(len(values), np.int64)
        if (rank < 0).any():
            raise ValueError(f"the panel's index has no time in row {int(np.argmax(rank < 0))}")
        if self.missing == "error" and np.isnan(values).any():
            row, column = map(int, np.argwhere(np.isnan(values))[0])
            where = f"({', '.join(map(label, X.index[row]))})" if panel else str(row)
            raise ValueError(
                f"X has {int(np.isnan(values).sum())} missing values (NaN), the first in row {where}, column {column}: "
                "expected none, since missing='error'"
            )
        return values, rank

    def _check_parameters(self) -> None:
        if self.missing not in ("keep", "center", "error"):
            me = type(self).__name__
            raise ValueError(f"{me}(missing=...) takes 'keep', 'center' or 'error', not {self.missing!r}")

    def _of_period(self, values: Array) -> Array:
        """Every value of one period (asset, feature) relative to the others; NaN stays NaN."""
        raise NotImplementedError

    def _center(self, values: Array) -> Array | float:
        """The replacement for a missing value of a period."""
        return 0.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def is_cross_sectional(transformer: object) -> bool:
    """Whether a transformer compares the assets of one period, and learns nothing."""
    return isinstance(transformer, _CrossSectional)


class CrossSectionalRank(_CrossSectional):
    """Ranks over the assets of each period, scaled to [-1, 1]; ties get their average, a single asset 0.

    The usual preparation of characteristics in empirical asset pricing (Gu, Kelly, Xiu 2020, Review of Financial
    Studies 33(5)).

    Parameters
    ----------
    missing : {"keep", "center", "error"}
        Missing values take no part in ranking. They stay missing, become 0 (the middle), or are refused.
    """

    def __init__(self, *, missing: Missing = "keep") -> None:
        self.missing = missing

    def _of_period(self, values: Array) -> Array:
        order = np.argsort(values, axis=0)  # missing values come last
        ascending = np.take_along_axis(values, order, axis=0)
        place = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
        new = np.ones(values.shape, bool)  # whether a run of equal values begins here
        new[1:] = ascending[1:] != ascending[:-1]
        ends = np.ones(values.shape, bool)
        ends[:-1] = new[1:]
        first = np.maximum.accumulate(np.where(new, place, 0), axis=0)
        last = np.minimum.accumulate(np.where(ends, place, len(values))[::-1], axis=0)[::-1]
        rank = np.empty(values.shape)
        np.put_along_axis(rank, order, (first + last) / 2, axis=0)
        count = np.count_nonzero(~np.isnan(values), axis=0)
        scaled = 2 * rank / np.maximum(count - 1, 1) - (count > 1)
        return np.asarray(np.where(np.isnan(values), np.nan, scaled))


class CrossSectionalZScore(_CrossSectional):
    """Each value minus its period's mean, divided by its period's standard deviation; 0 if all assets are alike.

    Parameters
    ----------
    ddof : int
        The standard deviation divides by the number of assets minus ``ddof``.
    clip : float or None
        Largest absolute z-score.
    missing : {"keep", "center", "error"}
        Missing values take no part in means. They stay missing, become 0 (the mean), or are refused.
    """

    def __init__(self, *, ddof: int = 0, clip: float | None = None, missing: Missing = "keep") -> None:
        self.ddof = ddof
        self.clip = clip
        self.missing = missing

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.ddof not in (0, 1):
            raise ValueError(f"CrossSectionalZScore(ddof=...) takes 0 or 1, not {self.ddof!r}")
        if self.clip is not None and not (np.isreal(self.clip) and 0 < self.clip < np.inf):
            raise ValueError(f"CrossSectionalZScore(clip=...) takes a positive number or None, not {self.clip!r}")

    def _of_period(self, values: Array) -> Array:
        away, there, count = _demeaned(values)
        spread = np.sqrt(np.sum(away**2, axis=0, where=there) / np.maximum(count - self.ddof, 1))
        score = np.asarray(away / np.where(spread > 0, spread, 1))
        return score if self.clip is None else np.asarray(np.clip(score, -self.clip, self.clip))


class CrossSectionalDemean(_CrossSectional):
    """Each value minus its period's mean: a return relative to the cross-section's.

    Parameters
    ----------
    missing : {"keep", "center", "error"}
        Missing values take no part in means. They stay missing, become 0 (the mean), or are refused.
    """

    def __init__(self, *, missing: Missing = "keep") -> None:
        self.missing = missing

    def _of_period(self, values: Array) -> Array:
        return _demeaned(values)[0]


def _demeaned(values: Array) -> tuple[Array, Array, Array]:
    """Values minus their mean over assets, whether each is there, and how many are."""
    there = ~np.isnan(values)
    count = np.maximum(np.count_nonzero(there, axis=0), 1)
    exact = values.astype(np.float64)
    # Subtract one of the values first: if all are alike, that gives 0 throughout, and a large mean costs no digits.
    away = exact - np.nan_to_num(np.fmin.reduce(exact, axis=0))
    away -= np.sum(away, axis=0, where=there) / count
    return away, there, count


class CrossSectionalWinsorizer(_CrossSectional):
    """Values beyond each period's quantiles are set to these quantiles.

    Parameters
    ----------
    limits : (float, float)
        Lower and upper quantile, between 0 and 1; linear between values, as in ``numpy.quantile``.
    missing : {"keep", "center", "error"}
        Missing values take no part in quantiles. They stay missing, become their period's median (and stay missing
        where a period has no value), or are refused.
    """

    def __init__(self, limits: tuple[float, float] = (0.01, 0.99), *, missing: Missing = "keep") -> None:
        self.limits = limits
        self.missing = missing

    def _check_parameters(self) -> None:
        super()._check_parameters()
        limits = self.limits
        if not (isinstance(limits, tuple | list) and len(limits) == 2 and 0 <= limits[0] < limits[1] <= 1):
            raise ValueError(
                f"CrossSectionalWinsorizer(limits=...) takes two rising quantiles between 0 and 1, not {limits!r}"
            )

    def _of_period(self, values: Array) -> Array:
        low, high = (_quantile(values, q) for q in self.limits)
        return np.asarray(np.clip(values, low, high))

    def _center(self, values: Array) -> Array:
        return _quantile(values, 0.5)


def _quantile(values: Array, q: float) -> Array:
    """The quantile of each column over the values that are not missing; NaN if there is none."""
    ascending = np.sort(values, axis=0)  # missing values come last
    place = q * np.maximum(np.count_nonzero(~np.isnan(values), axis=0) - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.ceil(place).astype(np.int64)
    low, high = (np.take_along_axis(ascending, at[None], axis=0)[0] for at in (below, above))
    return np.asarray(low + (place - below) * (high - low))
