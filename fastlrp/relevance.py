"""What explain returns: relevance with its totals, and how well it reconciles. Tables of it are made in ``frames``.

Whoever explains arrays needs no pandas, which takes longer to import than all of this library.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fastlrp.errors import ConservationWarning
from fastlrp.rules import Rudder, Rule

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

_CHUNK = 1 << 17  # values summed at once: their float64 temporaries stay in cache (1 MiB), whatever the result's size
_GAPS = ("median", "worst", "relative_median", "relative_worst")
_TOTALS = ("score", "initial_state", "unattributed")


@lru_cache(maxsize=16)
def _numbered(size: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(size))


@dataclass(frozen=True, eq=False, repr=False)
class Reconciliation:
    """How far each row's score is from the sum of its parts; rows without a prediction are left out.

    Attributes
    ----------
    median, worst : float
        Of the gap |score - (sum of relevance + initial_state + unattributed)|; NaN where there is no row.
    relative_median, relative_worst : float
        The same, each gap divided by its row's scale: sum of |relevance| + |initial_state| + |unattributed| + |score|.
    worst_rows : int array (up to 3,)
        Positions of the rows with the largest gap over scale, worst first.
    """

    median: float
    worst: float
    relative_median: float
    relative_worst: float
    worst_rows: Array

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={getattr(self, name):.2e}" for name in _GAPS)
        return f"Reconciliation({numbers}, worst_rows={self.worst_rows.tolist()})"

    def _repr_html_(self) -> str:
        from fastlrp.display import html_table

        pairs = (("gap", self.median, self.worst), ("gap / scale", self.relative_median, self.relative_worst))
        table = html_table(("", "median", "worst"), [(name, f"{a:.2e}", f"{b:.2e}") for name, a, b in pairs], 1)
        rows = ", ".join(map(str, self.worst_rows.tolist())) or "none"
        return (
            "<div><p>gap = score - (sum of relevance + initial_state + unattributed)</p>"
            f"{table}<p>worst rows, by gap / scale: {rows}</p></div>"
        )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Relevance:
    """Relevance of every input of every sample, and the totals it reconciles with.

    ``score = sum of relevance + initial_state + unattributed``, to round-off. A row without a prediction (a missing
    value in its window, or no full window) is NaN throughout: frames keep it, statistics leave it out. Making one
    costs nothing: arrays are held as they are given.

    Parameters
    ----------
    values : array (n, T, D), or (n, D) where ``reduced``
        Relevance, oldest step first.
    prediction : array (n,) or (n, outputs)
        What the network predicts.
    score, initial_state, unattributed : array (n,)
        What was explained (the target unit before its activation), what reached h_0 and c_0, and what biases,
        stabilisers and the rule itself keep.
    rule : Arras or Rudder
        The rule, with its parameters.
    index : MultiIndex or None
        The panel's; None for arrays.
    features : tuple of str or None
        Names of the D features; None calls them x0, x1 ...
    steps : int
        T.
    target : int, str or None
        The output that was explained, where there are several.
    outputs : tuple of str or None
        Names of the outputs.
    reduced : bool
        Whether ``values`` are sums over steps already.
    by_position : bool
        Whether a panel's columns were taken as they stand, since the network has no names to find them by.
    """

    values: Array
    prediction: Array
    score: Array
    initial_state: Array
    unattributed: Array
    rule: Rule
    steps: int
    index: pd.Index | None = None
    features: tuple[str, ...] = None  # type: ignore[assignment]  # None is replaced below
    target: int | str | None = None
    outputs: tuple[str, ...] | None = None
    reduced: bool = False
    by_position: bool = False

    def __post_init__(self) -> None:
        """Name features that have no names."""
        if self.features is None:
            object.__setattr__(self, "features", _numbered(self.values.shape[1 if self.reduced else 2]))

    # ------------------------------------------------------------------------------------------------------- frames

    def to_frame(self, *, steps: bool = False) -> pd.DataFrame:
        """Relevance as a frame, a row a sample on the panel's index.

        Parameters
        ----------
        steps : bool
            False: a column a feature, summed over steps, then prediction (``prediction[name]`` where there are several
            outputs), score, initial_state and unattributed; a total whose name a feature has gets a "_" behind it.
            True: columns (step, feature) and no totals; steps are lags, T-1 (the oldest) ... 0.

        Raises
        ------
        ValueError
            For ``steps=True`` where steps were summed inside the kernel.
        """
        from fastlrp import frames

        return frames.frame(self, steps=steps)

    def by_group(self, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        """Relevance summed over steps and over groups of features, a column a group.

        Parameters
        ----------
        groups : mapping of name to features
            Features that no group names are summed as "Other".

        Raises
        ------
        ValueError
            If a name is no feature, a feature stands in two groups, a group is empty, or "Other" is taken and needed.
        """
        from fastlrp import frames

        return frames.by_group(self, groups)

    def share(self, *, signed: bool = False) -> pd.DataFrame:
        """Each feature's share of its row: |R_j| / sum_k |R_k|, with R summed over steps; a row sums to 1.

        Parameters
        ----------
        signed : bool
            Keep the sign of R_j above the fraction, so that absolute values sum to 1. A row of zeros gives NaN.
        """
        from fastlrp import frames

        return frames.share(self, signed=signed)

    def by_time(self, statistic: Literal["abs", "mean", "share"] = "abs") -> pd.DataFrame:
        """Mean over assets, a row a period, oldest first, a column a feature; periods without relevance are left out.

        Parameters
        ----------
        statistic : {"abs", "mean", "share"}
            Mean of |R|, of R, or of each row's :meth:`share`, with R summed over steps.

        Raises
        ------
        ValueError
            If the result is of an array, which has no time.
        """
        from fastlrp import frames

        return frames.by_time(self, statistic)

    # ---------------------------------------------------------------------------------------------- reconciliation

    @property
    def lags(self) -> tuple[int, ...]:
        """Names of the steps: T-1 (the oldest) ... 0."""
        return tuple(range(self.steps - 1, -1, -1))

    @cached_property
    def missing(self) -> Array:
        """Whether a row has no prediction and so no relevance; bool (n,)."""
        return np.asarray(np.isnan(self.score))

    @cached_property
    def gap(self) -> Array:
        """Score minus the sum of relevance, initial_state and unattributed, summed in float64; (n,)."""
        return np.asarray(self._sums[:, 0])

    @cached_property
    def _sums(self) -> Array:
        """Per row the gap, and the scale it is judged by; float64 (n, 2)."""
        out = np.empty((len(self), 2))
        for rows, part in self._chunks():
            flat = part.reshape(len(part), -1)
            out[rows, 0] = -flat.sum(axis=1, dtype=np.float64)
            out[rows, 1] = np.abs(flat).sum(axis=1, dtype=np.float64)
        for name, sign in (("score", 1), ("initial_state", -1), ("unattributed", -1)):
            column = getattr(self, name).astype(np.float64)
            out[:, 0] += sign * column
            out[:, 1] += np.abs(column)
        return out

    def reconcile(self) -> Reconciliation:
        """How well the parts of each row add up to its score: median and worst, absolute and relative."""
        rows = np.flatnonzero(~self.missing)
        if not len(rows):
            return Reconciliation(np.nan, np.nan, np.nan, np.nan, rows)
        gap, scale = np.abs(self.gap[rows]), self._sums[rows, 1]
        relative = np.divide(gap, scale, out=np.zeros_like(gap), where=scale != 0)
        broken = np.nan_to_num(relative, nan=np.inf)  # relevance that is NaN where the score is not must not hide
        top = np.argpartition(-broken, min(3, len(rows)) - 1)[:3]
        top = top[np.argsort(-broken[top], kind="stable")]
        return Reconciliation(
            float(np.median(gap)), float(gap.max()), float(np.median(relative)), float(relative.max()), rows[top]
        )

    def _relative(self, rows: Array) -> Iterator[tuple[int, float]]:
        """Rows, each with its gap over its scale, signed."""
        for row in rows.tolist():
            scale = self._sums[row, 1]
            yield row, float(self.gap[row] / scale) if scale else 0.0

    def median_unattributed_share(self) -> float:
        """Median over rows of |unattributed| / |score|: NaN where no row has a prediction."""
        if len(self) == 1:  # one sample at a time must stay cheap: np.median alone costs 20 microseconds
            whole, part = abs(float(self.score[0])), abs(float(self.unattributed[0]))
            return part / whole if whole else part and float("inf")
        score, lost = np.abs(self.score[~self.missing]), np.abs(self.unattributed[~self.missing])
        if not len(score):
            return float("nan")
        share = np.divide(lost, score, out=np.where(lost > 0, np.inf, 0.0), where=score > 0)
        return float(np.median(share))

    def mostly_unattributed(self) -> bool:
        """Whether the median of |unattributed| / |score| is above a half; a row where it is not a number is below."""
        if len(self) > 1:  # counting is a tenth of finding the median, which was 10 % of all time for small samples
            twice, rows = 2 * self._n_unattributed, len(self) - np.count_nonzero(self.missing)
            if twice != rows:
                return bool(twice > rows)
        return self.median_unattributed_share() > 0.5

    @cached_property
    def _n_unattributed(self) -> int:
        """Rows of which more than half of the score is unattributed."""
        return int(np.count_nonzero(np.abs(self.unattributed) > 0.5 * np.abs(self.score)))

    def summary(self, top: int = 10) -> str:
        """What was explained, which features matter, and how well it reconciles, as lines of text.

        Parameters
        ----------
        top : int
            How many features to list, by mean share of |relevance|.
        """
        from fastlrp import frames

        return frames.summary(self, top)

    # ------------------------------------------------------------------------------------------- to other libraries

    def to_shap(self, data: Array | None = None) -> Any:
        """A ``shap.Explanation``: relevance summed over steps, and as base value what makes each row add up.

        Rows without a prediction are left out, since shap's plots average over all rows.

        Parameters
        ----------
        data : array (n, D) or None
            Feature values to colour by, a row for each of this result's.

        Raises
        ------
        ImportError
            If shap is not installed.
        """
        from fastlrp import frames

        return frames.to_shap(self, data)

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: relevance over (sample, step, feature) and the totals over sample; steps are lags.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        from fastlrp import frames

        return frames.to_xarray(self)

    # ------------------------------------------------------------------------------------------------------ a value

    def __len__(self) -> int:
        """How many samples, missing rows included."""
        return int(self.score.shape[0])

    def __getitem__(self, rows: Any) -> Relevance:
        """Some rows, by position, slice, list of positions, or boolean mask."""
        from fastlrp import frames

        if isinstance(rows, int | np.integer):
            at = range(len(self))[rows]
            rows = slice(at, at + 1)
        elif not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim != 1 or rows.dtype.kind not in "biu":
                raise ValueError(f"rows are chosen by position, slice or mask, not by {rows!r}")
        parts = {name: getattr(self, name)[rows] for name in ("values", "prediction", *_TOTALS)}
        return replace(self, index=frames.labels(self)[rows], **parts)

    def __repr__(self) -> str:
        """How much of what, by which rule, the top features, and some rows with the parts that add up to their score.

        Few rows are read, so it is quick for any size.
        """
        from fastlrp.display import glance

        return glance(self).text()

    def _repr_html_(self) -> str:
        from fastlrp.display import glance

        return glance(self).html()

    def _chunks(self) -> Iterator[tuple[slice, Array]]:
        """Relevance, some rows at a time."""
        rows = max(1, _CHUNK // max(1, int(np.prod(self.values.shape[1:]))))
        for start in range(0, len(self), rows):
            yield slice(start, start + rows), np.asarray(self.values[start : start + rows])


def warn_if_unattributed(relevance: Relevance, stacklevel: int = 3) -> None:
    """Warn where Rudder leaves more than half of the score unattributed, at the median.

    The rule conserves at the cell only if nothing is forgotten; RUDDER (arXiv:1806.07857), A8.4.2, trains networks
    that way. ``stacklevel`` counts from here to the user's line.
    """
    if isinstance(relevance.rule, Rudder) and relevance.mostly_unattributed():
        rows = len(relevance) - np.count_nonzero(relevance.missing)
        warnings.warn(
            "rule 'rudder' leaves more than half of the score unattributed in "
            f"{relevance._n_unattributed:,} of {rows:,} rows: it conserves only where forget gates stay near 1; use "
            "rule='arras' (fastlrp.Arras) instead, or read Relevance.unattributed beside the relevance",
            ConservationWarning,
            stacklevel=stacklevel,
        )
