"""Train the embedded network of volatility, ``fastlrp/data/volatility.h5``, on the embedded panel with LSTMRegressor.

    python scripts/train_volatility_model.py

It predicts next month's rank of ``retvol`` among the twenty stocks, from windows of 12 months. Nothing that it trains
on is known later than the month before ``VOLATILITY_TEST_FROM``. Its printed results are recorded in
``fastlrp/data/PROVENANCE.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import fastlrp as fl
from fastlrp.data import VOLATILITY_TEST_FROM, load_panel, model_path

SPANS = {"training": ("1993-12", "2009-11"), "test": (VOLATILITY_TEST_FROM, "2022-11")}


def train(X: pd.DataFrame, y: pd.Series[float]) -> fl.Network:
    """Fitted on the rows up to November 2009: December's target is the volatility of January, when the test begins."""
    month = X.index.get_level_values("month")
    known = (month < pd.Timestamp(VOLATILITY_TEST_FROM) - pd.offsets.MonthEnd(1)) & y.notna()
    model = fl.LSTMRegressor(
        units=(8,), steps=12, max_iter=20, n_iter_no_change=20, learning_rate_init=3e-3, alpha=1.0, batch_size=64,
        random_state=0,
    )  # fmt: skip
    return model.fit(X[known], y[known]).network_


def rank_correlations(predicted: pd.Series[float], y: pd.Series[float]) -> pd.Series[float]:
    """Spearman's correlation of each month."""
    both = pd.DataFrame({"predicted": predicted, "actual": y}).dropna().groupby("month").rank()
    return both.groupby("month").apply(lambda month: month["predicted"].corr(month["actual"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=model_path("volatility"), help="default: %(default)s")
    out = parser.parse_args().out
    X, y = load_panel(target="volatility")
    net = train(X, y)
    for span, (first, last) in SPANS.items():
        part = slice(first, last)
        for name, guess in {"network": net.predict(X), **{name: X[name] for name in ("retvol", "downvol")}}.items():
            ic = rank_correlations(guess.loc[part], y.loc[part])
            print(f"{span:9s} {len(ic)} months  {name:8s} rank correlation {ic.mean():+.4f} (least {ic.min():+.2f})")
    fl.write_keras(net, out)
    last = net.predict(X).loc["2022-12-31"]
    print(f"{out}: {out.stat().st_size:,} bytes; 2022-12: {np.round(last, 6).to_dict()}")


if __name__ == "__main__":
    main()
