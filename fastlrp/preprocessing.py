"""Cross-sectional preprocessing that scikit-learn lacks: each period's assets against each other, and nothing later.

All three transformers compute from the rows of one period alone, at ``fit`` and at ``transform``: they learn nothing,
so they cannot look ahead, whatever rows they are given. A period must come whole: a part of its assets is another
cross-section.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastlrp.panel import label, periods
from fastlrp.samples import is_panel

Array = npt.NDArray[Any]
Missing = Literal["keep", "center", "error"]

__all__ = ["CrossSectionalRank", "CrossSectionalWinsorizer", "CrossSectionalZScore"]


class _CrossSectional(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types there
    """The door that the three share: panel or array in, each period transformed, the same form out."""

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
            float32 where X is, else float64.

        Raises
        ------
        ValueError
            If X is not what was fitted, holds an infinite value, or, with ``missing="error"``, a missing one.
        """
        check_is_fitted(self, "n_features_in_")
        values, rank = self._read(X, reset=False)
        grouped = pd.DataFrame(values).groupby(rank, sort=False)
        with np.errstate(invalid="ignore"):
            out = self._of_each(grouped)
            gaps = np.isnan(values)
            if self.missing == "center" and gaps.any():
                out = np.where(gaps, self._center(grouped), out)
        out = out.astype(values.dtype, copy=False)
        return pd.DataFrame(out, X.index, X.columns) if is_panel(X) else out

    def _read(self, X: Any, *, reset: bool) -> tuple[Array, Array]:
        """The numbers, and each row's period."""
        values = validate_data(self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
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

    def _of_each(self, grouped: Any) -> Array:
        """Every value against its period's."""
        raise NotImplementedError

    def _center(self, grouped: Any) -> Array | float:
        """What stands for a missing value."""
        return 0.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "error"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class CrossSectionalRank(_CrossSectional):
    """Ranks over the assets of each period, scaled to [-1, 1]; ties get their average, a lone asset 0.

    The usual preparation of characteristics in empirical asset pricing (Gu, Kelly, Xiu 2020, Review of Financial
    Studies 33(5)).

    Parameters
    ----------
    missing : {"keep", "center", "error"}
        Missing values take no part in ranking. They stay missing, become 0 (the middle), or are refused.
    """

    def __init__(self, *, missing: Missing = "keep") -> None:
        self.missing = missing

    def _of_each(self, grouped: Any) -> Array:
        rank, count = grouped.rank(method="average").to_numpy(), grouped.transform("count").to_numpy()
        scaled = 2 * (rank - 1) / np.maximum(count - 1, 1) - (count > 1)
        return np.asarray(np.where(np.isnan(rank), np.nan, scaled))


class CrossSectionalZScore(_CrossSectional):
    """Each value minus its period's mean, over its period's standard deviation; 0 where all assets are alike.

    Parameters
    ----------
    ddof : int
        The deviation divides by the number of assets minus this.
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

    def _of_each(self, grouped: Any) -> Array:
        values = grouped.obj.to_numpy()
        mean, count = grouped.transform("mean").to_numpy(), grouped.transform("count").to_numpy()
        # Deviations first: a constant period has none, and a large mean costs no digits.
        away = np.where(grouped.transform("max") == grouped.transform("min"), 0 * values, values - mean)
        squares = pd.DataFrame(away**2).groupby(grouped.ngroup().to_numpy(), sort=False).transform("sum").to_numpy()
        deviation = np.sqrt(squares / np.maximum(count - self.ddof, 1))
        score = np.asarray(away / np.where(deviation > 0, deviation, 1))
        return score if self.clip is None else np.clip(score, -self.clip, self.clip)


class CrossSectionalWinsorizer(_CrossSectional):
    """Values beyond each period's quantiles become these quantiles.

    Parameters
    ----------
    limits : (float, float)
        Lower and upper quantile, between 0 and 1; linear between values, as ``numpy.quantile``.
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

    def _of_each(self, grouped: Any) -> Array:
        period = grouped.ngroup().to_numpy()
        low, high = (grouped.quantile(q).to_numpy()[period] for q in self.limits)
        return np.asarray(np.clip(grouped.obj.to_numpy(), low, high))

    def _center(self, grouped: Any) -> Array:
        return np.asarray(grouped.transform("median").to_numpy())
