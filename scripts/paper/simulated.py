"""A simulated market of stocks whose true drivers are known, with their signs and lags, and what explains it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

import fastlrp as fl
from paper.methods import CHOICES, RULES, permutation, shap_values

Array = npt.NDArray[np.float64]
STOCKS, MONTHS, TRAIN, STEPS = 60, 170, 120, 6
#: Each driver and its true lag. The product of the pair drives returns, and the regime switches the sign of "switched".
DRIVERS = {"linear": 0, "lagged": 3, "left": 0, "right": 0, "switched": 0, "regime": 0}
FEATURES = [*DRIVERS, "twin", "noise1", "noise2", "noise3", "noise4", "noise5"]
#: Of the whole variance of returns, the part that drivers explain.
STRENGTHS = {"strong": 0.5, "weak": 0.05}


class Market(NamedTuple):
    """Windows (sample, step, feature), next month's returns (sample,), and what each cell truly contributed."""

    X: Array
    y: Array
    parts: Array
    month: npt.NDArray[np.int64]

    def of(self, rows: npt.NDArray[np.bool_]) -> Market:
        """Some samples."""
        return Market(*(field[rows] for field in self))


def market(strength: float, seed: int) -> Market:
    """A market.

    All characteristics but the regime are normal, with an autocorrelation of 0.5 from month to month; "twin" has a
    correlation of 0.8 with "linear" and drives nothing; the regime is 1 or -1 for all stocks and changes in one month
    of ten. Returns are linear(t) - lagged(t - 3) + left(t) right(t) + regime(t) switched(t), each of variance 1, plus
    noise. Each of two that multiply has half of the product: their Shapley value against independent values of mean
    zero.
    """
    rng = np.random.default_rng(seed)
    F = rng.normal(size=(MONTHS, STOCKS, len(FEATURES)))
    for t in range(1, MONTHS):
        F[t] = 0.5 * F[t - 1] + np.sqrt(0.75) * F[t]
    at = {name: k for k, name in enumerate(FEATURES)}
    F[:, :, at["twin"]] = 0.8 * F[:, :, at["linear"]] + 0.6 * F[:, :, at["twin"]]
    F[:, :, at["regime"]] = np.cumprod(np.where(rng.random(MONTHS) < 0.1, -1, 1))[:, None]
    windows = np.lib.stride_tricks.sliding_window_view(F, STEPS, axis=0).transpose(0, 1, 3, 2)
    month = np.repeat(np.arange(len(windows)), STOCKS)
    X = windows.reshape(-1, STEPS, len(FEATURES))
    parts = np.zeros(X.shape)

    def now(name: str) -> Array:
        return X[:, -1 - DRIVERS[name], at[name]]

    for name, part in (
        ("linear", now("linear")),
        ("lagged", -now("lagged")),
        ("left", now("left") * now("right") / 2),
        ("right", now("left") * now("right") / 2),
        ("switched", now("regime") * now("switched") / 2),
        ("regime", now("regime") * now("switched") / 2),
    ):
        parts[:, -1 - DRIVERS[name], at[name]] = part
    signal = parts.sum(axis=(1, 2))
    noise = np.sqrt(signal.var() * (1 - strength) / strength)
    return Market(X, signal + noise * rng.normal(size=len(signal)), parts, month)


def found(R: Array, parts: Array) -> dict[str, float]:
    """What relevance tells of the truth.

    ``drivers``: of the six largest features by mean |relevance|, the part that are drivers; ``lag``: of the drivers,
    the part whose largest lag is the true one; ``sign``: of the cells of "linear" and "lagged" at their true lags, the
    part with the true sign; ``cells``: correlation with the true contributions over all cells of all samples;
    ``twin``: its relevance over that of "linear".
    """
    size = np.abs(R).mean(axis=0)
    largest = np.argsort(size.sum(axis=0))[-len(DRIVERS) :]
    at = {name: FEATURES.index(name) for name in DRIVERS}
    lags = [STEPS - 1 - int(size[:, at[name]].argmax()) == lag for name, lag in DRIVERS.items()]
    signs = [
        np.sign(R[:, -1 - DRIVERS[name], at[name]]) == np.sign(parts[:, -1 - DRIVERS[name], at[name]])
        for name in ("linear", "lagged")
    ]
    by_feature = size.sum(axis=0)
    return {
        "drivers": float(np.isin(largest, list(at.values())).mean()),
        "lag": float(np.mean(lags)),
        "sign": float(np.mean(signs)),
        "cells": float(np.corrcoef(R.ravel(), parts.ravel())[0, 1]),
        "twin": float(by_feature[FEATURES.index("twin")] / by_feature[at["linear"]]),
    }


def trained(data: Market, seed: int) -> fl.LSTMRegressor:
    """A network of one seed, trained on the first months; the last ones of them stop it."""
    return fl.LSTMRegressor(
        units=(16,), max_iter=60, batch_size=128, learning_rate_init=0.005, early_stopping=True,
        validation_fraction=0.15, n_iter_no_change=8, dtype="float32", random_state=seed,
    ).fit(data.X.astype(np.float32), data.y)  # fmt: skip


def faithful(net: fl.Network, X: Array, name: str) -> float:
    """How much sooner deleting cells by a rule moves the score than deleting them at random, as a part of the latter's
    area; see :func:`fastlrp.faithfulness`."""
    if name not in CHOICES:
        return np.nan
    told = fl.faithfulness(net, X, net.explain(X, rule=CHOICES[name]), by="cell", radius=None, random_state=0).table()
    return float(told["gain_relative"])


def study(strength: str, seeds: int, shap_samples: int) -> tuple[pd.DataFrame, pd.Series]:
    """What each method finds, on average over seeds, and each network's R^2, on months that it never saw."""
    data = market(STRENGTHS[strength], 0)
    train, test = data.of(data.month < TRAIN - STEPS), data.of(data.month >= TRAIN)
    X = test.X.astype(np.float32)
    models = [trained(train, seed) for seed in range(seeds)]
    few = np.random.default_rng(0).choice(len(X), shap_samples, replace=False)
    rows: list[dict[str, Any]] = []
    by_method: dict[str, list[Array]] = {}
    for seed, model in enumerate(models):
        told = {name: rule(model.network_, X) for name, rule in RULES.items()}
        told["SHAP, sampled"] = shap_values(model.network_, X[few], X[:: len(X) // 20], seed)
        for name, R in told.items():
            parts = test.parts if name in CHOICES else test.parts[few]
            rows.append(
                {"method": name, "seed": seed, **found(R, parts), "faithful": faithful(model.network_, X[few], name)}
            )
            by_method.setdefault(name, []).append(R)
        whole = permutation(model, X, test.y, seed)[None]
        global_ = {k: v for k, v in found(whole, test.parts[:1]).items() if k in ("drivers", "lag", "twin")}
        rows.append({"method": "permutation importance", "seed": seed, **global_})
        by_method.setdefault("permutation importance", []).append(whole)
    table = pd.DataFrame(rows).drop(columns="seed").groupby("method", sort=False).mean()
    agree = {
        name: np.corrcoef([R.ravel() for R in Rs])[np.triu_indices(seeds, 1)].mean() for name, Rs in by_method.items()
    }
    scores = pd.Series([model.score(X, test.y) for model in models], name="R2")
    return table.assign(seeds_agree=pd.Series(agree)), scores
