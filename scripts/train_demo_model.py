"""Train the embedded network, ``fastlrp/data/model.h5``, on the embedded panel with real Keras.

    pip install tensorflow-cpu==2.15.1 pandas
    python scripts/train_demo_model.py

LSTM, Dropout, Dense on windows of 12 months. Its printed results are recorded in ``fastlrp/data/PROVENANCE.md``. The
names of the characteristics are added to the file, where ``fastlrp.read_keras`` finds them and Keras ignores them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float32]

DATA = Path(__file__).resolve().parents[1] / "fastlrp" / "data"
# The settings with the lowest validation loss of 15 runs; PROVENANCE.md lists the runs.
STEPS, UNITS, DROPOUT, LEARNING_RATE, SEED = 12, 16, 0.5, 1e-3, 8
# By the month in which a window ends; its target is the month after. The test months played no part in any choice.
PERIODS = {"train": ("1993-12", "2009-12"), "validation": ("2010-01", "2015-12"), "test": ("2016-01", "2022-11")}


def read_panel() -> tuple[pd.DataFrame, pd.Series]:
    """Characteristics, and next month's return standardised over the stocks of each month."""
    panel = pd.read_csv(DATA / "panel.csv.gz", parse_dates=["month"], index_col=["month", "stock"])
    y = panel.pop("ret_next")
    by_month = y.groupby(level="month")
    return panel, (y - by_month.transform("mean")) / by_month.transform("std")


def windows(panel: pd.DataFrame, y: pd.Series, first: str, last: str) -> tuple[Floats, Floats, pd.Index]:
    """Complete windows that end in months ``first`` to ``last``: X (sample, STEPS, feature), y, (month, stock)."""
    months, stocks = panel.index.unique("month"), panel.index.unique("stock")
    values = panel.to_numpy(np.float32).reshape(len(months), len(stocks), -1)
    ends = [k for k, month in enumerate(months) if first <= f"{month:%Y-%m}" <= last]
    X = np.concatenate([values[k - STEPS + 1 : k + 1].transpose(1, 0, 2) for k in ends])
    index = pd.MultiIndex.from_product([months[ends], stocks], names=panel.index.names)
    target = y.loc[index].to_numpy(np.float32)
    if not (np.isfinite(X).all() and np.isfinite(target).all()):
        raise SystemExit(f"{first} to {last}: some windows are not complete")
    return X, target, index


def build(n_features: int) -> keras.Model:
    """Input, LSTM, Dropout, Dense."""
    inputs = keras.Input((STEPS, n_features), name="characteristics")
    hidden = keras.layers.Dropout(DROPOUT, name="dropout")(keras.layers.LSTM(UNITS, name="lstm")(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, name="prediction")(hidden), name="demo")


def report(period: str, predicted: Floats, target: Floats, index: pd.Index) -> None:
    """Loss, spread and rank IC: the mean over months of Spearman's correlation of prediction and outcome."""
    frame = pd.DataFrame({"predicted": predicted, "target": target}, index=index)
    ranked = frame.groupby(level="month").rank()
    ic = ranked.groupby(level="month").apply(lambda month: month["predicted"].corr(month["target"]))
    spread = frame["predicted"].groupby(level="month").std().mean()
    print(
        f"{period:10s} {len(frame):5d} samples  mse {((predicted - target) ** 2).mean():.4f} "
        f"(of zero {(target**2).mean():.4f})  spread within a month {spread:.4f}  "
        f"rank IC {ic.mean():+.4f} (t {ic.mean() / ic.std() * len(ic) ** 0.5:+.2f}, {len(ic)} months)"
    )


def name_features(path: Path, names: list[str]) -> None:
    """Add the names of the inputs, in their order, to a file that Keras wrote."""
    with h5py.File(path, "r+") as file:
        file.attrs["fastlrp_features"] = json.dumps(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DATA / "model.h5", help="default: %(default)s")
    options = parser.parse_args()
    keras.utils.set_random_seed(SEED)
    panel, target = read_panel()
    data = {period: windows(panel, target, *months) for period, months in PERIODS.items()}
    X, y, _ = data["train"]
    model = build(X.shape[2])
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")
    stop = keras.callbacks.EarlyStopping(patience=15, restore_best_weights=True)
    valid = data["validation"][:2]
    fitted = model.fit(X, y, batch_size=128, epochs=200, validation_data=valid, callbacks=[stop], verbose=0)
    losses = fitted.history["val_loss"]
    epochs = f"{len(losses)} epochs, best {int(np.argmin(losses)) + 1}"
    print(f"keras {keras.__version__}, numpy {np.__version__}; {epochs}; {model.count_params()} weights")
    for period, (X, y, index) in data.items():
        report(period, model.predict(X, verbose=0)[:, 0], y, index)
    model.save(options.out, include_optimizer=False)
    name_features(options.out, list(panel.columns))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    X, _, index = data["test"]
    stocks = index.get_level_values("stock")[-20:]
    last = model.predict(X[-20:], verbose=0)[:, 0]
    print(f"{PERIODS['test'][1]}:", {stock: float(f"{p:.7f}") for stock, p in zip(stocks, last, strict=True)})


if __name__ == "__main__":
    main()
