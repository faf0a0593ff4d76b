"""Which factors the study's network looks at, month by month, beside networks that had nothing to find."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

import fastlrp as fl
from paper.data import samples, standardized
from paper.forecasts import ARCHITECTURES, as_study, member, rolling

RULES = ("arras", "rudder")


class Shares(NamedTuple):
    """A rule's shares of |relevance|, in parts of one: a row a (month, network), a column a factor."""

    members: pd.DataFrame
    null: pd.DataFrame  #: of networks trained on permuted returns

    def grouped(self, groups: dict[str, list[str]]) -> Shares:
        """Sums over groups of factors."""
        return Shares(*(pd.DataFrame({g: frame[names].sum(axis=1) for g, names in groups.items()}) for frame in self))

    def to(self, end: str) -> Shares:
        """The months up to one."""
        return Shares(*(frame[frame.index.get_level_values("month") <= pd.Period(end)] for frame in self))


def study(months: pd.DataFrame, members: int, nulls: int, seed: int = 0) -> dict[str, Shares]:
    """Shares by both rules, of the network of the study's notebook, on the months that it never saw."""
    X, y = samples(months)
    ensemble = rolling(ARCHITECTURES[0], members, seed).fit(X, y)
    fits = [member(ensemble, m) for m in range(members)]
    for k in range(nulls):  # both rules explain the same fits, month by month, which fl.null_relevance does not offer
        permuted = y.sample(frac=1, random_state=k).set_axis(y.index)
        fits.append(rolling(ARCHITECTURES[0], 1, seed + 1 + k).fit(X, permuted))
    out = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fl.ConservationWarning)
        for rule in RULES:
            each = [fit.explain(X, rule=rule).share().dropna().rename_axis("month") for fit in fits]
            out[rule] = Shares(*(_stacked(some) for some in (each[:members], each[members:])))
    return out


def _stacked(shares: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(dict(enumerate(shares)), names=["network"]).swaplevel().sort_index()


def study_groups(months: pd.DataFrame, groups: dict[str, list[str]], seeds: int) -> pd.DataFrame:
    """Mean shares of groups by arras, a row a seed, with the study's faults but for those of its relevance.

    The market's own return is left out, as there.
    """
    X, y = samples(standardized(months))
    rows = []
    for seed in range(seeds):
        shares = as_study(ARCHITECTURES[0], seed).fit(X, y).explain(X).share().dropna().drop(columns="market")
        of_groups = {group: shares[[n for n in names if n != "market"]].sum(axis=1) for group, names in groups.items()}
        rows.append(pd.DataFrame(of_groups).div(shares.sum(axis=1), axis=0).mean())
    return pd.DataFrame(rows)


def table(shares: Shares) -> pd.DataFrame:
    """Of each column its mean share, the spread over networks of that mean, and likewise where nothing is to find."""
    own, null = (frame.groupby("network").mean() for frame in shares)
    columns = {"share": own.mean(), "spread": own.std(), "null": null.mean(), "null's spread": null.std()}
    return pd.DataFrame(columns)


def agreement(shares: Shares) -> float:
    """The mean correlation of two networks' shares, over months and columns, each column less its mean."""
    own = shares.members.sub(shares.members.mean())
    cells = np.corrcoef([one.to_numpy().ravel() for _, one in own.groupby("network")])
    return float(cells[np.triu_indices(len(cells), 1)].mean())
