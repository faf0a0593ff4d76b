"""The arrays of a result and how they reconcile.

Explaining arrays needs no pandas, which takes longer to import than all of this library; so tables are made elsewhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import numpy.typing as npt

from fastlrp.errors import ConservationWarning, OverflowWarning
from fastlrp.messages import count, printable, users_line, warn
from fastlrp.model.chain import Chain
from fastlrp.model.fingerprint import fingerprint
from fastlrp.rules import Rule

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]
_CHUNK = 1 << 17  # values summed at once: their float64 temporaries stay in cache (1 MiB), whatever the result's size
#: Fields with a row a sample, and for each the one whose shape it has; all but the first five may be None.
SAMPLE_ARRAYS = {name: name for name in ("values", "prediction", "score", "initial_state", "unattributed")}
SAMPLE_ARRAYS |= {"spread": "values", "prediction_spread": "prediction", "static": "static", "static_spread": "static"}
#: The largest gap, relative to a row's parts, that a rule which approximates may have at the median without a warning.
APPROXIMATES_TO = 0.01
_GAPS = ("median", "worst", "relative_median", "relative_worst")


@lru_cache(maxsize=16)
def _numbered(size: int, prefix: str = "x") -> tuple[str, ...]:
    return tuple(f"{prefix}{j}" for j in range(size))


@dataclass(frozen=True, eq=False, repr=False)
class Reconciliation:
    """How far each row's score is from the sum of its parts; rows without a prediction are left out.

    Attributes
    ----------
    median, worst : float
        Median and largest gap |score - (sum of relevance + initial_state + unattributed)|; NaN if there is no row.
    relative_median, relative_worst : float
        The same, each gap divided by its row's scale: sum of |relevance| + |initial_state| + |unattributed| + |score|,
        at least the smallest normal number of the dtype.
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
        from fastlrp.text_tables import html_table

        pairs = (("gap", self.median, self.worst), ("gap / scale", self.relative_median, self.relative_worst))
        table = html_table(("", "median", "worst"), [(name, f"{a:.2e}", f"{b:.2e}") for name, a, b in pairs], 1)
        rows = ", ".join(map(str, self.worst_rows.tolist())) or "none"
        return (
            "<div><p>gap = score - (sum of relevance + initial_state + unattributed)</p>"
            f"{table}<p>worst rows, by gap / scale: {rows}</p></div>"
        )


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RelevanceArrays:
    """The fields of :class:`fastlrp.Relevance`, which describes them, and the arithmetic of its totals."""

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
    spread: Array | None = None
    prediction_spread: Array | None = None
    share_spread: Array | None = None
    n_members: int | None = None
    at_step: int | None = None
    static: Array | None = None
    static_features: tuple[str, ...] = ()
    static_spread: Array | None = None
    origin: tuple[Chain, ...] | str | None = None

    def __post_init__(self) -> None:
        """Name features that have no names."""
        if self.features is None:
            object.__setattr__(self, "features", _numbered(self.values.shape[1 if self.reduced else 2]))
        if self.static_features is None:
            object.__setattr__(self, "static_features", _numbered(cast(Array, self.static).shape[1], "static"))

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """What the constructor makes of all its fields, which it sets one by one: that would be a tenth of the time of
        explaining one sample."""
        made = cls.__new__(cls)
        vars(made).update(fields)
        made.__post_init__()
        return made

    @cached_property
    def network(self) -> str | None:
        """The fingerprint of the networks that were explained; None where they are not known.

        Explaining leaves it out: hashing a network takes as long as explaining one sample.
        """
        return self.origin if self.origin is None or isinstance(self.origin, str) else fingerprint(self.origin)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "origin": self.network}  # a pickle holds no networks

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all features, static ones last."""
        return (*self.features, *self.static_features) if self.static_features else self.features

    @property
    def lags(self) -> tuple[int, ...]:
        """Names of the steps: T-1 (the oldest) ... 0."""
        return tuple(range(self.steps - 1, -1, -1))

    @cached_property
    def missing(self) -> Array:
        """Whether a row has no prediction, since no full window ends there or a value is missing; bool (n,)."""
        return np.asarray(np.isnan(self.score))

    @cached_property
    def explained(self) -> Array:
        """Whether a row has relevance; bool (n,). All others are missing, or ``overflowed``."""
        return np.asarray(~(self.missing | np.isnan(self.unattributed)))

    @property
    def overflowed(self) -> Array:
        """Whether numbers inside the network, or of the rule, were too large for the dtype, so that a row of complete
        data has no relevance; bool (n,)."""
        return np.asarray(~self.explained & ~self.missing)

    @cached_property
    def gap(self) -> Array:
        """Score minus the sum of relevance, initial_state and unattributed, summed in float64; (n,)."""
        return np.asarray(self._sums[:, 0])

    @cached_property
    def _sums(self) -> Array:
        """Each row's gap, and the scale that it is judged by; float64 (n, 2)."""
        out = np.empty((len(self), 2))
        for rows, part in self._chunks():
            flat = part.reshape(len(part), -1)
            out[rows, 0] = -flat.sum(axis=1, dtype=np.float64)
            out[rows, 1] = np.abs(flat).sum(axis=1, dtype=np.float64)
            if self.static is not None:
                static = np.asarray(self.static[rows])
                out[rows, 0] -= static.sum(axis=1, dtype=np.float64)
                out[rows, 1] += np.abs(static).sum(axis=1, dtype=np.float64)
        for name, sign in (("score", 1), ("initial_state", -1), ("unattributed", -1)):
            column = getattr(self, name).astype(np.float64)
            out[:, 0] += sign * column
            out[:, 1] += np.abs(column)
        # below the smallest normal number all round to the same unit: a gap of a few of them is none
        np.maximum(out[:, 1], np.finfo(self.score.dtype).smallest_normal, out=out[:, 1])
        return out

    def reconcile(self) -> Reconciliation:
        """How well the parts of each row add up to its score: median and worst, absolute and relative."""
        rows = np.flatnonzero(self.explained)
        if not len(rows):
            return Reconciliation(np.nan, np.nan, np.nan, np.nan, rows)
        gap, scale = np.abs(self.gap[rows]), self._sums[rows, 1]
        relative = gap / scale
        broken = np.nan_to_num(relative, nan=np.inf)  # relevance that is NaN where the score is not must not hide
        top = np.argpartition(-broken, min(3, len(rows)) - 1)[:3]
        top = top[np.argsort(-broken[top], kind="stable")]
        return Reconciliation(
            float(np.median(gap)), float(gap.max()), float(np.median(relative)), float(relative.max()), rows[top]
        )

    def _relative(self, rows: Array) -> Iterator[tuple[int, float]]:
        """Rows, each with its gap over its scale, signed."""
        for row in rows.tolist():
            yield row, float(self.gap[row] / self._sums[row, 1])

    def median_unattributed_share(self) -> float:
        """Median over rows of |unattributed| / |score|: NaN where no row has a prediction."""
        if len(self) == 1:  # one sample at a time must stay cheap: np.median alone costs 20 microseconds
            whole, part = abs(float(self.score[0])), abs(float(self.unattributed[0]))
            return part / whole if whole else part and float("inf")
        score, lost = np.abs(self.score[self.explained]), np.abs(self.unattributed[self.explained])
        if not len(score):
            return float("nan")
        share = np.divide(lost, score, out=np.where(lost > 0, np.inf, 0.0), where=score > 0)
        return float(np.median(share))

    def mostly_unattributed(self) -> bool:
        """Whether the median of |unattributed| / |score| is above a half; a row where it is NaN counts as below."""
        if len(self) > 1:  # counting takes a tenth of the median's time, which was 10 % of all time for small samples
            twice, rows = 2 * self._n_unattributed, np.count_nonzero(self.explained)
            if twice != rows:
                return bool(twice > rows)
        return self.median_unattributed_share() > 0.5

    @cached_property
    def _n_unattributed(self) -> int:
        """Number of rows with more than half of the score unattributed."""
        return int(np.count_nonzero(np.abs(self.unattributed) > 0.5 * np.abs(self.score)))

    def agreement(self) -> float:
        """How far an ensemble's members agree: the correlation of two members' relevance, by their mean and spread.

        It is the intraclass correlation: of what one member says of a cell (a sample, step and feature), the share of
        variance that all members have in common. Of n members whose mean has the variance v over cells, and whose
        spread squared has the mean w, it is (v - w/n) / (v + w (n-1)/n). 1: members say the same; 0: nothing in common.
        Their mean is less noisy: with the mean of n other members it correlates at n r / (1 + (n-1) r).

        Raises
        ------
        ValueError
            If the result is of one network.
        """
        if self.spread is None or self.n_members is None:
            raise ValueError("agreement is that of an ensemble's members, but this result is of one network")
        sums = np.zeros(4)  # the number of cells; sums of their mean, of that squared, and of their spread squared
        for rows, part in self._chunks():
            kept = self.explained[rows]
            pairs = [(part, self.spread[rows])]
            if self.static is not None and self.static_spread is not None:
                pairs.append((self.static[rows], self.static_spread[rows]))
            for pair in pairs:
                mean, spread = (np.asarray(x)[kept].astype(np.float64) for x in pair)
                sums += mean.size, mean.sum(), np.square(mean).sum(), np.square(spread).sum()
        n, cells = self.n_members, max(sums[0], 1.0)
        between, within = sums[2] / cells - (sums[1] / cells) ** 2, sums[3] / cells
        whole = between + within * (n - 1) / n
        return float((between - within / n) / whole) if whole > 0 else float("nan")

    def __len__(self) -> int:
        """Number of samples, missing rows included."""
        return int(self.score.shape[0])

    def _chunks(self) -> Iterator[tuple[slice, Array]]:
        """Relevance, some rows at a time."""
        rows = max(1, _CHUNK // max(1, int(np.prod(self.values.shape[1:]))))
        for start in range(0, len(self), rows):
            yield slice(start, start + rows), np.asarray(self.values[start : start + rows])


def summed(relevance: RelevanceArrays, rows: Any, part: Array) -> Array:
    """Relevance of some rows by feature, in float64; ``part`` is their ``values``."""
    found: Array = part.astype(np.float64) if relevance.reduced else part.sum(axis=1, dtype=np.float64)
    if relevance.static is None:
        return found
    return np.concatenate([found, np.asarray(relevance.static[rows]).astype(np.float64)], axis=1)


def sample_arrays(relevance: RelevanceArrays) -> Iterator[tuple[str, Array]]:
    """The arrays with a row a sample, by name."""
    for name in SAMPLE_ARRAYS:
        if (array := getattr(relevance, name)) is not None:
            yield name, array


def warn_if_unattributed(relevance: RelevanceArrays) -> None:
    """Warn where a rule that need not conserve leaves more than half of the score unattributed, at the median, or one
    that approximates misses more than a hundredth of all parts; or where rows have overflowed.

    Rudder conserves at the cell only if nothing is forgotten; RUDDER (arXiv:1806.07857), A8.4.2, trains networks that
    way.
    """
    rule = relevance.rule
    _warn_if_overflowed(relevance)
    if not rule.conserves and relevance.mostly_unattributed():
        rows = int(np.count_nonzero(relevance.explained))
        warn_of_unattributed(rule, relevance._n_unattributed, rows)
    if rule.approximates:
        warn_if_missed(rule, relevance.reconcile().relative_median)


def _warn_if_overflowed(relevance: RelevanceArrays) -> None:
    lost = relevance.unattributed
    if not isinstance(lost, np.ndarray) or (lost.size == 1 and lost[0] == lost[0]):  # on a GPU; one sample, cheaply
        return
    if (rows := np.flatnonzero(relevance.overflowed)).size:
        dtype = relevance.score.dtype
        warn_of_overflow(overflow_of(rows, len(relevance), dtype, relevance.index), dtype, "they have no relevance")


def overflow_of(rows: Array, n: int, dtype: np.dtype[Any], index: pd.Index | None) -> str:
    """How many rows overflowed, and the first ones."""
    first = ", ".join(str(row) if index is None else row_name(index[row]) for row in rows[:3].tolist())
    return overflow_text(len(rows), n, dtype, first + ", ..." * (len(rows) > 3))


def overflow_text(over: int, n: int, dtype: np.dtype[Any], first: str) -> str:
    """How many of n rows overflowed, and which."""
    return f"{over:,} of {count(n, 'row')} overflowed: numbers inside were too large for {dtype} ({first})"


def warn_of_overflow(text: str, dtype: np.dtype[Any], so: str) -> None:
    """Warn of rows whose numbers were too large, as ``text`` says; ``so`` says what that makes of them."""
    larger = "" if dtype == np.float64 else "compute with dtype='float64', or "
    warnings.warn(
        f"{printable(text)}; {so}: {larger}scale the features, or look at the weights",
        OverflowWarning,
        stacklevel=users_line(),
    )


def row_name(at: Any) -> str:
    """A row's labels, as messages show them."""
    from fastlrp.panels.periods import label

    return f"({', '.join(map(label, at))})" if isinstance(at, tuple) else label(at)


def warn_of_unattributed(rule: Rule, lost: int, rows: int) -> None:
    """Warn of rows with more than half of the score unattributed."""
    warn(
        f"rule {rule.name!r} leaves more than half of the score unattributed in {lost:,} of {rows:,} rows: "
        f"{rule.conserves_only}",
        ConservationWarning,
    )


def warn_if_missed(rule: Rule, gap: float) -> None:
    """Warn where the median gap over scale is large."""
    if gap > APPROXIMATES_TO:
        warn(
            f"rule {rule!r} misses {gap:.1%} of the scale of a row at the median: take more steps (n_steps=...)",
            ConservationWarning,
        )
