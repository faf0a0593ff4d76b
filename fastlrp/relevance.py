"""What explain returns: relevance with its totals, as frames, groups and shares, and how well it reconciles."""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.errors import ConservationWarning
from fastlrp.panel import label, periods, suggest, time_level
from fastlrp.rules import Rudder, Rule

Array = npt.NDArray[Any]

_CHUNK = 1 << 17  # values summed at once: their float64 temporaries stay in cache (1 MiB), whatever the result's size
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
        if steps:
            self._need_steps("to_frame(steps=True)")
            columns = pd.MultiIndex.from_product([self.lags, self.features], names=["step", "feature"])
            return pd.DataFrame(np.array(self.values).reshape(len(self), -1), self._rows(), columns, copy=False)
        frame = self._feature_frame()
        for name, column in self._totals():
            while name in frame.columns:
                name += "_"
            frame[name] = column
        return frame

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
        members = self._group_positions(groups)
        out = np.empty((len(self), len(members)))
        for rows, part in self._by_feature():
            for g, columns in enumerate(members.values()):
                out[rows, g] = part[:, columns].sum(axis=1)
        return pd.DataFrame(out, self._rows(), list(members), copy=False)

    def share(self, *, signed: bool = False) -> pd.DataFrame:
        """Each feature's share of its row: |R_j| / sum_k |R_k|, with R summed over steps; a row sums to 1.

        Parameters
        ----------
        signed : bool
            Keep the sign of R_j above the fraction, so that absolute values sum to 1. A row of zeros gives NaN.
        """
        out = np.empty((len(self), len(self.features)), self.values.dtype)
        for rows, part in self._by_feature():
            out[rows] = _shares(part, signed)
        return pd.DataFrame(out, self._rows(), list(self.features), copy=False)

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
        if statistic not in ("abs", "mean", "share"):
            raise ValueError(f"by_time(statistic=...) takes 'abs', 'mean' or 'share', not {statistic!r}")
        if not isinstance(self.index, pd.MultiIndex):
            raise ValueError("by_time needs the result of a panel: this one is of an array, which has no times")
        rank, labels = periods(self.index)
        total, count = np.zeros((len(labels), len(self.features))), np.zeros(len(labels), np.int64)
        for rows, part in self._by_feature():
            part = part if statistic == "mean" else _shares(part) if statistic == "share" else np.abs(part)
            usable = np.flatnonzero(~np.isnan(part).any(axis=1) & (rank[rows] >= 0))
            usable = usable[np.argsort(rank[rows][usable], kind="stable")]
            which, first, size = np.unique(rank[rows][usable], return_index=True, return_counts=True)
            if len(which):
                total[which] += np.add.reduceat(part[usable], first, axis=0)
                count[which] += size
        name = self.index.names[time_level(self.index)]
        seen = count > 0
        return pd.DataFrame(total[seen] / count[seen, None], labels[seen].rename(name), list(self.features))

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
        n, found = len(self), len(self) - int(np.count_nonzero(self.missing))
        target = "" if self.target is None else f", target {self.target!r}"
        lines = [f"Relevance by {self.rule!r}{target}"]
        lines.append(f"  {found:,} samples of {self.steps} steps x {len(self.features)} features")
        if found < n:
            lines.append(f"  {n - found:,} of {n:,} rows are missing: no full window ends there, or a value is missing")
        if not found:
            return "\n".join([*lines, f"  nothing to reconcile: no row ends a complete window of {self.steps} steps"])
        share = self._mean_share()
        best = np.argsort(-share, kind="stable")[: max(0, top)]
        lines.append("Mean share of |relevance|")
        width = max((len(self.features[j]) for j in best), default=0)
        lines += [f"  {self.features[j]:<{width}}  {100 * share[j]:5.1f} %" for j in best]
        if len(best) < len(share):
            lines.append(f"  {len(share) - len(best)} more: {100 * np.delete(share, best).sum():.1f} %")
        return "\n".join([*lines, *self._reconciliation_lines()])

    def _reconciliation_lines(self) -> Iterator[str]:
        gaps = self.reconcile()
        yield "Reconciles: score = sum of relevance + initial_state + unattributed"
        yield f"  gap            median {gaps.median:.1e}, worst {gaps.worst:.1e}"
        yield f"  gap / scale    median {gaps.relative_median:.1e}, worst {gaps.relative_worst:.1e}"
        yield "                 (scale of a row: |score| + |initial_state| + |unattributed| + sum of |relevance|)"
        worst = ", ".join(f"{self._row_name(int(row))} {self.gap[row]:+.1e}" for row in gaps.worst_rows)
        yield f"  worst rows     {worst}"
        yield f"  unattributed   median {100 * self.median_unattributed_share():.1f} % of |score|"

    def _mean_share(self) -> Array:
        total, count = np.zeros(len(self.features)), 0
        for _, part in self._by_feature():
            share = _shares(part)
            usable = ~np.isnan(share).any(axis=1)
            total += share[usable].sum(axis=0)
            count += int(usable.sum())
        return total / count if count else np.full(len(total), np.nan)

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
        try:
            import shap
        except ImportError:
            raise ImportError("to_shap needs the package shap, which is missing: pip install shap") from None
        keep = ~self.missing
        values = self._feature_values()
        if data is not None and np.shape(data) != values.shape:
            raise ValueError(f"to_shap(data=...) has shape {np.shape(data)}, expected {values.shape}")
        return shap.Explanation(
            values=values[keep],
            base_values=(self.initial_state + self.unattributed)[keep],
            data=None if data is None else np.asarray(data)[keep],
            feature_names=list(self.features),
        )

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: relevance over (sample, step, feature) and the totals over sample; steps are lags.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise ImportError("to_xarray needs the package xarray, which is missing: pip install xarray") from None
        axes = ("sample", "feature") if self.reduced else ("sample", "step", "feature")
        variables: dict[str, Any] = {"relevance": (axes, self.values)}
        variables |= {name: ("sample", column) for name, column in self._totals()}
        coords: dict[str, Any] = {"feature": list(self.features)}
        if not self.reduced:
            coords["step"] = list(self.lags)
        data = xarray.Dataset(variables, coords, attrs={"rule": repr(self.rule)})
        rows = self._rows()
        if not isinstance(rows, pd.MultiIndex):
            return data.assign_coords(sample=rows)
        default = ("time", "asset") if time_level(rows) == 0 else ("asset", "time")
        rows = rows.set_names([old or new for old, new in zip(rows.names, default, strict=True)])
        return data.assign_coords(xarray.Coordinates.from_pandas_multiindex(rows, "sample"))

    # ------------------------------------------------------------------------------------------------------ a value

    def __len__(self) -> int:
        """How many samples, missing rows included."""
        return int(self.score.shape[0])

    def __getitem__(self, rows: Any) -> Relevance:
        """Some rows, by position, slice, list of positions, or boolean mask."""
        if isinstance(rows, int | np.integer):
            at = range(len(self))[rows]
            rows = slice(at, at + 1)
        elif not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim != 1 or rows.dtype.kind not in "biu":
                raise ValueError(f"rows are chosen by position, slice or mask, not by {rows!r}")
        parts = {name: getattr(self, name)[rows] for name in ("values", "prediction", *_TOTALS)}
        return replace(self, index=self._rows()[rows], **parts)

    def __repr__(self) -> str:
        """One line: how much of what, by which rule."""
        shape = f"{self.steps} steps{' (summed)' if self.reduced else ''} x {len(self.features)} features"
        return f"<Relevance: {len(self):,} samples x {shape}, {self.rule!r}>"

    def _repr_html_(self) -> str:
        frame = cast(Any, self[:5].to_frame())
        return f"<p>{html.escape(repr(self))}, the first rows:</p>{frame._repr_html_()}"

    # ------------------------------------------------------------------------------------------------------- inside

    def _rows(self) -> pd.Index:
        return pd.RangeIndex(len(self), name="sample") if self.index is None else self.index

    def _row_name(self, row: int) -> str:
        at = self._rows()[row]
        return f"({', '.join(map(label, at))})" if isinstance(at, tuple) else f"sample {at}"

    def _totals(self) -> Iterator[tuple[str, Array]]:
        """Names and columns of what is known of each sample besides its relevance."""
        if self.prediction.ndim == 1:
            yield "prediction", self.prediction
        else:
            names = self.outputs or range(self.prediction.shape[1])
            yield from ((f"prediction[{name}]", self.prediction[:, k]) for k, name in enumerate(names))
        yield from ((name, getattr(self, name)) for name in _TOTALS)

    def _need_steps(self, what: str) -> None:
        if self.reduced:
            raise ValueError(f"{what} needs every step, but steps were summed: call explain without reduce='steps'")

    def _chunks(self) -> Iterator[tuple[slice, Array]]:
        rows = max(1, _CHUNK // max(1, int(np.prod(self.values.shape[1:]))))
        for start in range(0, len(self), rows):
            yield slice(start, start + rows), np.asarray(self.values[start : start + rows])

    def _by_feature(self) -> Iterator[tuple[slice, Array]]:
        """Relevance summed over steps, in float64, some rows at a time."""
        for rows, part in self._chunks():
            yield rows, part.astype(np.float64) if self.reduced else part.sum(axis=1, dtype=np.float64)

    def _feature_values(self) -> Array:
        """Relevance summed over steps, an array of its own in the dtype of ``values``; (n, D)."""
        if self.reduced:
            return np.array(self.values)
        out = np.empty((len(self), len(self.features)), self.values.dtype)
        for rows, part in self._by_feature():
            out[rows] = part
        return out

    def _feature_frame(self) -> pd.DataFrame:
        return pd.DataFrame(self._feature_values(), self._rows(), list(self.features), copy=False)

    def _group_positions(self, groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
        if not isinstance(groups, Mapping) or not groups:
            raise ValueError(f"groups are given as a dict of name to list of features, not {groups!r}")
        at = {name: j for j, name in enumerate(self.features)}
        owner: dict[str, str] = {}
        members: dict[str, list[int]] = {}
        for group, given in groups.items():
            names = [given] if isinstance(given, str) else list(given)
            if not names:
                raise ValueError(f"group {group!r} is empty, expected the features it sums")
            unknown = [str(name) for name in names if name not in at]
            if unknown:
                raise ValueError(f"group {group!r} names what is no feature: {suggest(unknown, self.features)}")
            for name in names:
                if name in owner:
                    raise ValueError(f"feature {name!r} stands in group {owner[name]!r} and again in {group!r}")
                owner[name] = group
            members[group] = [at[name] for name in names]
        left = [j for name, j in at.items() if name not in owner]
        if left and "Other" in members:
            raise ValueError(
                f"{len(left)} features are in no group and would be summed as 'Other', which is a group: rename it, or "
                f"add them, the first being {self.features[left[0]]!r}"
            )
        return {**members, "Other": left} if left else members


def _shares(part: Array, signed: bool = False) -> Array:
    """Rows of relevance over the sum of their absolute values; NaN where that is 0."""
    size = np.abs(part)
    total = size.sum(axis=1, keepdims=True)
    return cast(Array, np.divide(part if signed else size, total, out=np.full_like(part, np.nan), where=total > 0))


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
