"""The embedded panel of twenty stocks: what a rolling ensemble predicts, and whether its relevance says something."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy import stats

import fastlrp as fl
from fastlrp.data import GROUPS, load_panel
from paper.forecasts import member
from paper.methods import CHOICES


def model(members: int, seed: int = 0) -> fl.RollingLSTM:
    """Refitted every four years on ten, of which the last one stops training; returns are compared within months."""
    lstm = fl.LSTMRegressor(
        units=(8,), steps=12, max_iter=20, n_iter_no_change=3, batch_size=128, learning_rate_init=0.003, alpha=1.0,
        n_members=members, target_transform="demean", dtype="float32", random_state=seed,
    )  # fmt: skip
    return fl.RollingLSTM(lstm, window=120, step=48, validation=12)


def accuracy(predicted: pd.Series, y: pd.Series) -> dict[str, float]:
    """R^2 of returns less their month's mean, against zero, and the mean rank correlation by month with its t."""
    both = pd.DataFrame({"predicted": predicted, "actual": y}).dropna()
    both["actual"] -= both.groupby("month")["actual"].transform("mean")
    ranks = both.groupby("month").rank()
    ic = ranks.groupby("month").apply(lambda month: month["predicted"].corr(month["actual"])).dropna()
    test = stats.ttest_1samp(ic, 0)
    error = ((both["actual"] - both["predicted"]) ** 2).sum()
    return {
        "R2": 1 - error / (both["actual"] ** 2).sum(), "IC": ic.mean(), "t": test.statistic, "months": len(ic)
    }  # fmt: skip


def study(members: int, nulls: int) -> tuple[dict[str, float], pd.DataFrame, pd.DataFrame]:
    """Accuracy out of sample; how far seeds agree and how true relevance is of the network, a row a rule; and shares of
    groups by arras beside those of fits on permuted returns."""
    X, y = load_panel(target=True)
    rolled = model(members).fit(X, y)
    rows = {}
    last, window = rolled.networks_[-1][0], X.loc["2018":]
    scaled = ((window - rolled.centers_[-1]) / rolled.scales_[-1]).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fl.ConservationWarning)
        for name, rule in CHOICES.items():
            each = [member(rolled, m).explain(X, rule=rule).values for m in range(members)]
            there = np.isfinite(each[0]).all(axis=(1, 2))
            agree = np.corrcoef([R[there].ravel() for R in each])[np.triu_indices(members, 1)].mean()
            true = fl.faithfulness(
                last, scaled, last.explain(scaled, rule=rule), by="cell", radius=None, random_state=0
            )
            told = true.table()
            rows[name] = {"seeds agree": agree, "gain": told["gain_relative"], "months won": told["months_won"]}
        null = fl.null_relevance(model(1), X, y, n=nulls, random_state=0)
    groups = {name: list(columns) for name, columns in GROUPS.items()}
    shares = pd.DataFrame(
        {
            "share": {name: null.actual[columns].sum() for name, columns in groups.items()},
            "null": {name: null.null[columns].sum(axis=1).mean() for name, columns in groups.items()},
            "highest null": {name: null.null[columns].sum(axis=1).max() for name, columns in groups.items()},
            "columns": {name: len(columns) / len(X.columns) for name, columns in groups.items()},
        }
    )
    return accuracy(rolled.predict(X), y), pd.DataFrame(rows).T, shares
