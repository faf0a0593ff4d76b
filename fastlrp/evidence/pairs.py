"""Explanations of the same samples, compared by pairs, some samples at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.evidence.agreement import agreement, view
from fastlrp.evidence.comparison import Comparison
from fastlrp.evidence.deletion import cross_section_means
from fastlrp.evidence.samples import Model, blocks, drawn, gather
from fastlrp.evidence.shapley import MOST, shapley_values
from fastlrp.panels.samples import Samples
from fastlrp.relevance.parts import row_shares
from fastlrp.rules import Rule

Array = npt.NDArray[Any]
Pair = tuple[str, str]


class Explanation(NamedTuple):
    """What explains: a rule of a network, or, without a rule, shap."""

    name: str
    model: Model
    rule: Rule | None

    def units(self, X: Array, by: str, background: Array, seed: int) -> tuple[Array, Array]:
        """Relevance (sample, unit) of windows, and the unattributed share of each score."""
        if self.rule is not None:
            return self.model.relevance(X, self.rule, by)
        values = shapley_values(self.model, X, background, seed)
        units = values.sum(axis=1) if by == "feature" else values.reshape(len(X), -1)
        return units, np.full(len(X), np.nan)


class _Tally(NamedTuple):
    """Each pair's agreement (3, sample), each explanation's mean share of units, and its unattributed shares."""

    pairs: dict[Pair, Array]
    shares: dict[str, Array]
    lost: dict[str, float]

    def row(self, pair: Pair) -> dict[str, Any]:
        """A pair's row of the table."""
        rank, top, sign = self.pairs[pair]
        shares = agreement(*(view(self.shares[name][None], 1) for name in pair))[0, 0]
        columns = {"samples": len(rank), "spearman": _mean(rank), "spearman_std": float(pd.Series(rank).std())}
        return columns | {"share_spearman": float(shares), "top": _mean(top), "sign": _mean(sign)}


def compared(
    explanations: Sequence[Explanation],
    every: Samples,
    samples: Samples,
    by: str,
    top: int,
    seed: int,
    advance: Callable[[int], object],
) -> Comparison:
    """Compare every pair of explanations on samples; shap on a few of them. ``every`` sample has a part in the mean."""
    background = cross_section_means(replace(every, period=None))[0]

    def tally(some: Sequence[Explanation], samples: Samples, advance: Callable[[int], object]) -> _Tally:
        return _tally(some, samples, lambda one, X: one.units(X, by, background, seed), top, advance)

    plain = [one for one in explanations if one.rule is not None]
    found = tally(plain, samples, advance)
    few = found
    if len(plain) < len(explanations):
        few = tally(explanations, drawn(samples, MOST, seed), lambda more: None)
    names = [one.name for one in explanations]
    pairs = list(combinations(names, 2))
    rows = [(found if pair in found.pairs else few).row(pair) for pair in pairs]
    features = every.features or explanations[0].model.net.features
    return Comparison(
        table=pd.DataFrame(rows, pd.MultiIndex.from_tuples(pairs, names=["first", "second"])),
        shares=pd.DataFrame(few.shares | found.shares, _unit_names(every, features, by))[names],
        unattributed=pd.Series(few.lost | found.lost)[names],
        by=by,
        top=top,
    )


def _tally(
    explanations: Sequence[Explanation],
    samples: Samples,
    units: Callable[[Explanation, Array], tuple[Array, Array]],
    top: int,
    advance: Callable[[int], object],
) -> _Tally:
    names, n = [one.name for one in explanations], len(samples)
    pairs = {pair: np.empty((3, n)) for pair in combinations(names, 2)}
    shares, lost = {name: np.zeros(1) for name in names}, {name: np.empty(n) for name in names}
    for at in blocks(samples, 8 * len(explanations)):  # ranks and the like, in float64
        X, views = gather(samples, np.arange(at.start, at.stop)), {}
        for one in explanations:
            R, lost[one.name][at] = units(one, X)
            shares[one.name] = shares[one.name] + np.nan_to_num(row_shares(R)).sum(axis=0)
            views[one.name] = view(R, top)
        for (first, second), found in pairs.items():
            found[:, at] = agreement(views[first], views[second])
        advance(len(X))
    totals = {name: share / (share.sum() or np.nan) for name, share in shares.items()}
    return _Tally(pairs, totals, {name: float(np.median(lost[name])) for name in names})


def _unit_names(samples: Samples, features: Sequence[str] | None, by: str) -> pd.Index:
    D, T = samples.rows.shape[1], samples.steps
    names = features or [f"x{j}" for j in range(D)]
    if by == "feature":
        return pd.Index(names, name="feature")
    return pd.MultiIndex.from_product([range(T - 1, -1, -1), names], names=["step", "feature"])


def _mean(numbers: Array) -> float:
    """The mean of those that are known."""
    return float(pd.Series(numbers).mean())
