"""The original project's experiment: the market's next month from 13 long-short portfolios and its own return.

    pip install arch
    python scripts/original_experiment.py [--keras 3]

363 windows of 60 months, 14 inputs, 5 steps, LSTM(32) and Dense(1), 10 epochs each; then the relevance of the month
that follows each window. The original's notebook took 34 min 39 s. Portfolios are Chen & Zimmermann's (open source
asset pricing), read from ``../shared/data/PredictorLSretWide.csv`` beside the checkout and joined on the month; the
market is Ken French's, as the package ``arch`` ships it. The choice of 13 portfolios is ours: long histories, one or
two of each kind. With ``--keras N``, Keras trains N windows again from the same first weights and batch order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastlrp.kernels.training.trainer import Trainer
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.rolling import RollingLSTM

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "PredictorLSretWide.csv"
GROUPS = {
    "Market": ["market"],
    "Momentum": ["Mom12m", "High52"],
    "Reversal": ["STreversal", "LRreversal"],
    "Risk": ["Beta", "IdioVol3F", "MaxRet"],
    "Liquidity": ["Size", "Illiquidity"],
    "Value": ["BM"],
    "Fundamentals": ["AssetGrowth", "GP", "Accruals"],
}
PORTFOLIOS = [name for names in GROUPS.values() for name in names if name != "market"]
STEPS, WINDOW, WINDOWS, EPOCHS, UNITS, BATCH, SEED = 5, 60, 363, 10, 32, 32, 0


def read_market() -> pd.Series:
    """The market's return by month, percent."""
    try:
        from arch.data import frenchdata
    except ImportError:
        raise SystemExit("the market's returns are missing: pip install arch (it ships Ken French's factors)") from None
    factors = frenchdata.load()
    months = factors.index.astype("int64")
    if months.max() < 10**6:  # YYYYMM was read as nanoseconds
        months = pd.PeriodIndex(months.astype(str).str.replace(r"(\d{4})(\d\d)", r"\1-\2", regex=True), freq="M")
    else:
        months = pd.DatetimeIndex(factors.index).to_period("M")
    return (factors["Mkt-RF"] + factors["RF"]).set_axis(months).rename("market")


def read_inputs(path: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Inputs by month, and the market's return of the month after."""
    if not path.is_file():
        raise SystemExit(f"{path} is not there: it is Chen & Zimmermann's PredictorLSretWide.csv, which is not shipped")
    portfolios = pd.read_csv(path, index_col="date", parse_dates=True, usecols=["date", *PORTFOLIOS])
    portfolios.index = portfolios.index.to_period("M")
    market = read_market()
    X = portfolios[PORTFOLIOS].join(market, how="inner").dropna()
    y = market.shift(-1).reindex(X.index).rename("next")
    X, y = X[y.notna()], y[y.notna()]
    if len(X) < WINDOW + WINDOWS:
        raise SystemExit(f"{len(X)} complete months were found, expected at least {WINDOW + WINDOWS}")
    return X.iloc[-(WINDOW + WINDOWS) :], y.iloc[-(WINDOW + WINDOWS) :]


@contextmanager
def recorded(fits: list[Any]) -> Iterator[None]:
    """Record what the training kernels receive: first weights, data, orders."""
    epochs = Trainer.epochs

    def noted(trainer: Trainer[Any], X: Any, y: Any, weight: Any, orders: Any, batch_size: int) -> Any:
        fits.append((trainer.network(), X, y, weight, orders))
        return epochs(trainer, X, y, weight, orders, batch_size)

    Trainer.epochs = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer.epochs = epochs  # type: ignore[method-assign]


def keras_losses(fit: Any) -> list[float]:
    """Keras' loss in each epoch of one window."""
    import keras

    net, (rows, starts), y, _, orders = fit
    lstm, dense = net.layers
    model = keras.Sequential([keras.Input((STEPS, rows.shape[1])), keras.layers.LSTM(UNITS), keras.layers.Dense(1)])
    model.layers[0].set_weights([lstm.W, lstm.U, lstm.b])
    model.layers[1].set_weights([dense.W, dense.b])
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
    windows = rows[starts[:, None] + np.arange(STEPS)]
    losses = []
    for order in orders:
        told = model.fit(windows[order], y[order], batch_size=BATCH, shuffle=False, verbose=0)
        losses.append(told.history["loss"][0])
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--keras", type=int, default=0, metavar="N", help="train N windows again by Keras")
    parser.add_argument("--out", type=Path, help="write predictions and relevance by month to this csv")
    options = parser.parse_args()
    X, y = read_inputs(options.data)
    estimator = LSTMRegressor(units=(UNITS,), steps=STEPS, max_iter=EPOCHS, batch_size=BATCH, random_state=SEED)
    model, fits = RollingLSTM(estimator, window=WINDOW), []
    for run in ("first run, compiling included", "warm"):
        start = time.perf_counter()
        model.fit(X, y)
        fitted = time.perf_counter()
        relevance = model.explain(X)
        done = time.perf_counter()
        print(f"{run}: {done - start:.2f} s ({fitted - start:.2f} s training, {done - fitted:.2f} s relevance)")
    windows = model.windows_
    first, last = windows["test_start"].iloc[0], windows["test_end"].iloc[-1]
    print(f"{len(windows)} windows, predicting from {first} to {last}; {X.shape[1]} inputs")
    predicted = model.predict(X)
    rows = predicted.notna()
    error = y[rows] - predicted[rows]
    mean = y.rolling(WINDOW - STEPS + 1).mean().shift(1)[rows]  # what each window would predict without a network
    print(
        f"out of sample: R^2 against the window's mean {1 - (error**2).sum() / ((y[rows] - mean) ** 2).sum():+.3f}, "
        f"correlation {np.corrcoef(y[rows], predicted[rows])[0, 1]:+.3f}"
    )
    print(relevance.summary(top=14))
    print(relevance.by_group(GROUPS).abs().mean().sort_values(ascending=False).round(4).to_string())
    if options.out is not None:
        relevance.to_frame().to_csv(options.out)
    if options.keras:
        with recorded(fits):
            model.set_params(threads=1).fit(X, y)  # one after the other
        for k in np.linspace(0, len(fits) - 1, options.keras).astype(int):
            theirs, ours = np.array(keras_losses(fits[k])), model.loss_curves_[k]
            print(f"window {k}: last loss {ours[-1]:.6f}, Keras {theirs[-1]:.6f}; ", end="")
            print(f"largest difference of any epoch {abs(ours / theirs - 1).max():.1e} of it")


if __name__ == "__main__":
    main()
