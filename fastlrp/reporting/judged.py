"""How well predictions agree with what followed: rank correlations, quantile portfolios, R2 against zero.

``docs/out-of-sample.md`` computes the same with statsmodels and alphalens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import periods

Array = npt.NDArray[Any]

_FEWEST = 3  # assets of a period that are worth ranking


class Mean(NamedTuple):
    """A mean over periods, its t by Newey and West, and the number of periods."""

    mean: float
    t: float
    n: int


class Judged(NamedTuple):
    """What some periods say together; ``difference`` is the highest quantile's mean outcome less the lowest's."""

    ic: Mean
    difference: Mean
    r2: float
    portfolios: pd.Series[float]


def by_period(index: pd.MultiIndex, predicted: Array, actual: Array, quantiles: int | None = None) -> pd.DataFrame:
    """Predictions beside what followed, a row a period that has both.

    Parameters
    ----------
    index : MultiIndex
        The panel's.
    predicted, actual : array (n,)
        NaN where there is none.
    quantiles : int or None
        The number of portfolios; None: 10 where periods have 100 assets at the median, 5 where they have 10, else 3.

    Returns
    -------
    DataFrame
        ``rank`` (of the period among all of the panel's), ``n`` assets, ``ic`` (Spearman's correlation; NaN with fewer
        than three assets, or where one side does not vary), ``error`` and ``square`` (sums over assets of (y - p)^2 and
        of y^2), and 1 ... q, the mean outcome of the assets in each quantile of the prediction (NaN where it is empty).
    """
    rank, times = periods(index)
    rows = np.flatnonzero(np.isfinite(predicted) & np.isfinite(actual) & (rank >= 0))
    frame = pd.DataFrame({"rank": rank[rows], "p": predicted[rows], "y": actual[rows]}).astype({"p": float, "y": float})
    group = frame.groupby("rank")
    n = group["p"].transform("size")
    frame["error"], frame["square"] = (frame["y"] - frame["p"]) ** 2, frame["y"] ** 2
    place = group["p"].rank()  # ties get their average
    table = group[["error", "square"]].sum()
    table.insert(0, "n", group.size())
    table.insert(1, "ic", _correlation(frame["rank"], place, group["y"].rank()).where(table["n"] >= _FEWEST))
    usual = table["n"].median()
    q = quantiles or (10 if usual >= 100 else 5 if usual >= 10 else 3)
    # Of n values in order, the k-th quantile ends at place 1 + (n - 1) k / q, as in pandas.qcut.
    of = np.ceil((place - 1) * q / (n - 1).clip(lower=1) - 1e-9).clip(lower=1).astype(int)
    portfolios = frame.assign(of=of).pivot_table("y", "rank", "of").reindex(columns=range(1, q + 1))
    table = table.join(portfolios.where(table["n"] >= q))
    table.insert(0, "rank", table.index)
    return table.set_axis(times.take(table.index.to_numpy()))


def _correlation(group: pd.Series[int], a: pd.Series[float], b: pd.Series[float]) -> pd.Series[float]:
    """Pearson's correlation of two columns within each group; NaN where one does not vary."""
    a, b = (column - column.groupby(group).transform("mean") for column in (a, b))
    ab, aa, bb = ((x * y).groupby(group).sum() for x, y in ((a, b), (a, a), (b, b)))
    scale = (aa * bb) ** 0.5
    return ab / scale.where(scale > 0)


def judged(table: pd.DataFrame, lags: int = 0) -> Judged:
    """The periods of a table, or of a part of it, together.

    ``lags``: autocovariances that t's take at least; of targets over h periods, which overlap, h - 1. R2 is
    1 - sum (y - p)^2 / sum y^2 over all assets and periods, against a forecast of zero (Gu, Kelly, Xiu 2020).
    """
    portfolios = table.drop(columns=["rank", "n", "ic", "error", "square"]).dropna()
    difference = portfolios.iloc[:, -1] - portfolios.iloc[:, 0]
    square = float(table["square"].sum())
    return Judged(
        newey_west(table["ic"].dropna().to_numpy(), lags),
        newey_west(difference.to_numpy(), lags),
        1 - float(table["error"].sum()) / square if square else float("nan"),
        portfolios.mean(),
    )


def newey_west(series: Array, lags: int = 0) -> Mean:
    """The mean of a series and its t by Newey and West (1987).

    Their rule of 1994 gives the number of autocovariances, 4 (n / 100)^(2/9), of which ``lags`` is the least.
    """
    n = len(series)
    if n < 2:
        return Mean(float(np.mean(series)) if n else float("nan"), float("nan"), n)
    lags = min(n - 1, max(lags, int(4 * (n / 100) ** (2 / 9))))
    mean = float(np.mean(series))
    error = series - mean
    weights = 1 - np.arange(1, lags + 1) / (lags + 1)
    variance = error @ error + 2 * sum(w * (error[k:] @ error[:-k]) for k, w in enumerate(weights, 1))
    return Mean(mean, float(mean / (np.sqrt(variance) / n)) if variance > 0 else float("nan"), n)
