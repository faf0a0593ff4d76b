"""Train small networks with real Keras and record the results: ``tests/data/training/*.npz``.

    pip install tensorflow-cpu==2.15.1
    python scripts/make_training_curves.py

Each file holds the first weights, the data, the order of samples in every epoch, and Keras' loss in every epoch
and its last weights. Everything is in float64, so that two trainings of hundreds of updates can be told apart.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "training"
LOSSES = {"squared_error": "mse", "absolute_error": "mae", "huber": keras.losses.Huber(0.5)}
# Keras takes both powers of Adam's bias correction from float32; these values are exact there.
BETA_1, BETA_2 = 0.875, 1 - 2**-10
# kind, loss, steps, features, samples, batch, epochs, learning rate, global clipnorm, alpha. Keras adds l2 ||W||^2 to
# each batch's loss and MLPRegressor alpha/2 ||W||^2 / n: the same where all batches have the same size.
CASES = (
    ("lstm", "squared_error", 5, 6, 203, 32, 8, 0.003, 0.0, 0.0),
    ("stacked", "huber", 4, 5, 192, 32, 6, 0.01, 0.0, 0.05),
    ("bidirectional", "absolute_error", 6, 4, 150, 70, 10, 0.005, 0.4, 0.0),
)


def build(kind: str, steps: int, features: int, l2: float) -> keras.Model:
    def options() -> dict[str, object]:
        return {"kernel_regularizer": keras.regularizers.l2(l2)} if l2 else {}

    layers = keras.layers
    body = {
        "lstm": lambda: [layers.LSTM(8), layers.Dense(1)],
        "stacked": lambda: [
            layers.LSTM(6, return_sequences=True, **options()),
            layers.LSTM(5, **options()),
            layers.Dense(4, activation="relu", **options()),
            layers.Dense(2, **options()),
        ],
        "bidirectional": lambda: [
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.LSTM(5),
            layers.Dense(1),
        ],
    }[kind]()
    return keras.Sequential([layers.Input((steps, features)), *body])


def main() -> None:
    keras.backend.set_floatx("float64")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, (kind, loss, steps, features, n, batch, epochs, rate, clipnorm, alpha) in enumerate(CASES):
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        model = build(kind, steps, features, alpha / (2 * batch))
        optimizer = keras.optimizers.Adam(rate, BETA_1, BETA_2, global_clipnorm=clipnorm or None)
        model.compile(optimizer=optimizer, loss=LOSSES[loss])
        X = rng.standard_normal((n, steps, features)).round(3)
        y = np.tanh(X[:, -1, :2].sum(1) - X[:, 0, 2])[:, None] * np.arange(1, model.output_shape[-1] + 1)
        y = (y + 0.2 * rng.standard_normal(y.shape)).round(3)
        orders = np.array([rng.permutation(n) for _ in range(epochs)])
        first, losses = model.get_weights(), []
        for order in orders:
            total = 0.0
            for rows in np.split(order, range(batch, n, batch)):
                total += float(model.train_on_batch(X[rows], y[rows])) * len(rows)
            losses.append(total / n)
        values = {
            "kind": kind, "loss": loss, "batch": batch, "rate": rate, "clipnorm": clipnorm, "alpha": alpha,
            "huber_delta": 0.5, "beta_1": BETA_1, "beta_2": BETA_2, "keras": keras.__version__, "X": X, "y": y,
            "orders": orders.astype(np.int16), "losses": losses,
        }  # fmt: skip
        for name, weights in (("first", first), ("last", model.get_weights())):
            values |= {f"{name}_{k}": array for k, array in enumerate(weights)}
        path = FOLDER / f"{kind}.npz"
        np.savez_compressed(path, **values)
        print(path.name, path.stat().st_size, "bytes;", " ".join(f"{value:.4f}" for value in losses))


if __name__ == "__main__":
    main()
