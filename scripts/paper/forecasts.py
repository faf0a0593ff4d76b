"""Forecasts of the market's next month, without a look at it or any later one, and as the study made them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import RegressorMixin, clone
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastlrp as fl
from paper.data import SAMPLES, STEPS, WINDOW, samples, standardized

BATCH, EPOCHS = 32, 10  #: the study's
HELD_OUT = 12  #: the months of each window that choose the epoch


class Architecture(NamedTuple):
    """A network of the study, and the mean squared error that it published, where it is known."""

    units: int
    dense: tuple[int, ...]
    l2: float
    dropout: float = 0.0
    published: float | None = None

    @property
    def name(self) -> str:
        """Such as "LSTM 128-64-32-1, dropout 0.2, L2 0.01"."""
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"LSTM {'-'.join(map(str, (self.units, *self.dense, 1)))}{dropout}, L2 {self.l2:g}"


_PUBLISHED = {(32, 0.01): 0.9865, (128, 0.01): 1.414}
#: Four shapes by three penalties; the first is that of the study's notebook, whose relevance it shows.
ARCHITECTURES = [
    Architecture(units, dense, l2, dropout, _PUBLISHED.get((units, l2)) if units != 32 or not dense else None)
    for units, dense, dropout in ((32, (), 0.0), (32, (16,), 0.0), (64, (32, 16), 0.0), (128, (64, 32), 0.2))
    for l2 in (0.01, 0.02, 0.05)
]
LARGEST = next(one for one in ARCHITECTURES if one.units == 128)
PUBLISHED_OLS, PUBLISHED_BEST = 1.3338, 0.9685


def network(one: Architecture, **given: Any) -> fl.LSTMRegressor:
    """The network to train; Keras' L2(l2) on kernels is ``alpha = 2 * l2 * batch_size``."""
    return fl.LSTMRegressor(
        units=(one.units,), dense_units=one.dense, dropout=one.dropout, alpha=2 * one.l2 * BATCH, steps=STEPS,
        max_iter=EPOCHS, n_iter_no_change=EPOCHS, batch_size=BATCH, dtype="float32", **given,
    )  # fmt: skip


def rolling(one: Architecture, members: int, seed: int, window: int = WINDOW) -> fl.RollingLSTM:
    """Refitted each month on 60 samples; their last year chooses among the epochs; all scaling is the window's own."""
    ensemble = network(one, n_members=members, target_transform="standardize", random_state=seed)
    return fl.RollingLSTM(ensemble, window=window, validation=HELD_OUT)


def as_study(one: Architecture, seed: int, carried: bool = False) -> fl.RollingLSTM:
    """The study's fit, for data that are scaled already: every window from the same first weights, or, ``carried``,
    from those of the window before, as its code did before it put the first ones back."""
    start = "previous" if carried else "first"
    return fl.RollingLSTM(network(one, random_state=seed), window=WINDOW, scaler=None, warm_start=start)


def member(model: fl.RollingLSTM, m: int) -> fl.RollingLSTM:
    """A rolling ensemble's m-th networks as a rolling model of their own."""
    one = copy.copy(model)
    one.networks_ = [nets if nets is None or isinstance(nets, fl.Network) else nets[m] for nets in model.networks_]
    return one


def lstm_forecasts(one: Architecture, months: pd.DataFrame, members: int, seed: int) -> pd.DataFrame:
    """A column a member, and "validation", the R^2 of their mean on each window's last year."""
    X, y = samples(months)
    model = rolling(one, members, seed).fit(X, y)
    by_member = {m: member(model, m).predict(X) for m in range(members)}
    told = pd.Series(model.windows_["validation_score"].to_numpy(), model.windows_["test_start"], name="validation")
    return pd.DataFrame(by_member).join(told).dropna()


def study_errors(one: Architecture, months: pd.DataFrame, seeds: Sequence[int], carried: bool = False) -> list[float]:
    """The mean squared error of each seed, as the study computed it."""
    X, y = samples(standardized(months))
    fits = (as_study(one, seed, carried).fit(X.astype("float32"), y).predict(X.astype("float32")) for seed in seeds)
    return [float(((predicted - y) ** 2).mean()) for predicted in fits]


def study_ols(months: pd.DataFrame) -> float:
    """The mean squared error of rolling least squares on the last month, as the study has it: without a constant."""
    X, y = samples(standardized(months))
    predicted = each_month(LinearRegression(fit_intercept=False), X, y, flat=False, jobs=1)
    return float(((predicted - y) ** 2).mean())


def each_month(model: RegressorMixin, X: pd.DataFrame, y: pd.Series, *, flat: bool = True, jobs: int = -1) -> pd.Series:
    """A model of scikit-learn, refitted each month on the 60 samples before it; ``flat`` gives it all 5 steps."""
    rows = np.lib.stride_tricks.sliding_window_view(X.to_numpy(), STEPS, axis=0).transpose(0, 2, 1)
    inputs, targets = (rows if flat else rows[:, -1:]).reshape(len(rows), -1), y.to_numpy()[STEPS - 1 :]

    def one(k: int) -> float:
        fitted = clone(model).fit(inputs[k - SAMPLES : k], targets[k - SAMPLES : k])
        return float(fitted.predict(inputs[k : k + 1])[0])

    predicted = Parallel(n_jobs=jobs)(delayed(one)(k) for k in range(SAMPLES, len(inputs)))
    return pd.Series(predicted, y.index[WINDOW:])


def baselines(months: pd.DataFrame, seed: int) -> pd.DataFrame:
    """What anybody could have forecast without a recurrent network, a column each."""
    X, y = samples(months)
    ridge = RidgeCV(alphas=np.logspace(0, 4, 9))  # chosen by leaving one month of the window out
    forest = RandomForestRegressor(30, max_features=1 / 3, min_samples_leaf=5, random_state=seed)
    boosted = GradientBoostingRegressor(
        n_estimators=30, learning_rate=0.1, max_depth=2, subsample=0.5, random_state=seed
    )
    return pd.DataFrame(
        {
            "Zero": 0.0,
            "Expanding mean": months["market"].expanding().mean().shift(1)[y.index],
            "OLS, last month": each_month(LinearRegression(), X, y, flat=False),
            "Ridge, 5 months": each_month(make_pipeline(StandardScaler(), ridge), X, y),
            "Random forest, 5 months": each_month(forest, X, y),
            "Gradient boosting, 5 months": each_month(boosted, X, y),
        }
    ).loc[y.index[WINDOW:]]


def chosen_forecasts(by_name: dict[str, pd.DataFrame]) -> pd.Series:
    """Each month the mean forecast of the architecture with the best R^2 on that window's last year."""
    names = list(by_name)
    scores = np.column_stack([by_name[name]["validation"] for name in names])
    means = np.column_stack([by_name[name].drop(columns="validation").mean(axis=1) for name in names])
    best = np.nanargmax(scores, axis=1)
    return pd.Series(means[np.arange(len(best)), best], by_name[names[0]].index)
