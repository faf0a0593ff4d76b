"""Write the Keras files with static features that tests read: ``python scripts/make_static_keras_files.py tests/data``.

As make_keras_files.py, for models of two inputs: one archive such as ``tests/data/static-keras-3.15.zip`` for the
version of Keras that runs it, with the models in each format that it writes, and ``outputs.npz`` with the windows X,
the static features S and Keras' own output, keyed ``case/X`` and so on.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from make_keras_files import FEATURES, SAMPLES, STEPS, UNITS, L, keras, randomise, save

STATIC = 2
CASES: dict[str, tuple[Callable[[Any, Any], Any], tuple[str, ...]]] = {}


def case(*formats: str) -> Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]:
    """Register a model of the inputs X and S under its function's name, with the formats to write."""

    def register(build: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        CASES[build.__name__] = build, formats
        return build

    return register


@case("h5", "keras", "weights", "legacy")
def joined(X: Any, S: Any) -> Any:
    both = L.Concatenate(name="join")([L.LSTM(UNITS, name="lstm")(X), S])
    hidden = L.Dropout(0.2, name="dropout")(L.Dense(5, activation="relu", name="hidden")(both))
    return keras.Model([X, S], L.Dense(1, name="dense")(hidden), name="factor")


@case("h5", "keras", "weights", "legacy")
def static_first(X: Any, S: Any) -> Any:
    both = L.Concatenate()([S, L.LSTM(UNITS, return_sequences=False)(X)])
    return keras.Model([S, X], L.Dense(2, activation="sigmoid")(L.Dropout(0.1)(both)))


@case("h5", "keras", "weights")
def folded(X: Any, S: Any) -> Any:
    below = L.BatchNormalization()(L.LSTM(UNITS)(L.Rescaling(0.5)(X)))
    beside = L.BatchNormalization(scale=False)(L.Rescaling(2.0, offset=0.5)(S))
    both = L.BatchNormalization()(L.Concatenate(axis=1)([beside, below]))
    return keras.Model([X, S], L.Dense(1)(L.Activation("tanh")(L.Dense(3)(both))))


@case("h5", "keras")
def normalized(X: Any, S: Any) -> Any:
    adapted = L.Normalization()
    adapted.adapt(np.random.RandomState(1).normal(2.0, 3.0, (50, STATIC)).astype("float32"))
    return keras.Model([X, S], L.Dense(3, activation="softmax")(L.Concatenate()([L.LSTM(UNITS)(X), adapted(S)])))


@case("h5", "keras", "weights", "legacy")
def deep(X: Any, S: Any) -> Any:
    lower = L.Bidirectional(L.LSTM(UNITS, return_sequences=True))(X)
    upper = L.Dropout(0.3)(L.Bidirectional(L.LSTM(3), merge_mode="sum")(L.Dropout(0.2)(lower)))
    return keras.Model([X, S], L.Dense(1)(L.Dense(4, activation="tanh")(L.Concatenate()([upper, L.Dropout(0.1)(S)]))))


@case("h5", "keras")
def nested(X: Any, S: Any) -> Any:
    encoder = keras.Sequential([keras.Input((STEPS, FEATURES)), L.LSTM(UNITS)], name="encoder")
    head = keras.Sequential([keras.Input((UNITS + STATIC,)), L.Dense(3, activation="relu"), L.Dense(1)], name="head")
    return keras.Model([X, S], head(L.Concatenate()([encoder(X), S])))


# What cannot be explained: read_keras must refuse these by name.


@case("h5", "keras")
def refused_parallel(X: Any, S: Any) -> Any:
    both = L.Concatenate(name="merge")([L.LSTM(UNITS, name="fast")(X), L.LSTM(3, name="slow")(X)])
    return keras.Model(X, L.Dense(1)(both))


@case("h5", "keras")
def refused_hidden(X: Any, S: Any) -> Any:
    beside = L.Dense(3, activation="relu", name="embed")(S)
    return keras.Model([X, S], L.Dense(1)(L.Concatenate()([L.LSTM(UNITS)(X), beside])))


@case("h5", "keras")
def refused_above(X: Any, S: Any) -> Any:
    below = L.Dense(3, name="hidden")(L.LSTM(UNITS)(X))
    return keras.Model([X, S], L.Dense(1)(L.Concatenate(name="join")([below, S])))


@case("h5", "keras")
def refused_each_step(X: Any, S: Any) -> Any:
    both = L.Concatenate(name="join")([X, L.RepeatVector(STEPS, name="repeat")(S)])
    return keras.Model([X, S], L.Dense(1)(L.LSTM(UNITS)(both)))


@case("h5", "keras")
def refused_three(X: Any, S: Any) -> Any:
    other = keras.Input((1,), name="other")
    return keras.Model([X, S, other], L.Dense(1)(L.Concatenate(name="join")([L.LSTM(UNITS)(X), S, other])))


@case("h5", "keras")
def refused_two_windows(X: Any, S: Any) -> Any:
    other = keras.Input((STEPS, 2), name="other")
    both = L.Concatenate(name="join")([L.LSTM(UNITS)(X), L.LSTM(2)(other)])
    return keras.Model([X, other], L.Dense(1)(both))


@case("h5", "keras")
def refused_unread(X: Any, S: Any) -> Any:
    return keras.Model([X, S], L.Concatenate(name="join")([L.LSTM(UNITS)(X), S]))


def write_all(folder: Path) -> None:
    """Write every case into one folder, with Keras' outputs beside them."""
    kept: dict[str, np.ndarray] = {}
    for number, (name, (build, formats)) in enumerate(CASES.items()):
        keras.backend.clear_session()
        rng = np.random.RandomState(number)
        X, S = keras.Input((STEPS, FEATURES), name="stock"), keras.Input((STATIC,), name="static")
        model = build(X, S)
        randomise(model, rng)
        if not name.startswith("refused"):
            given = {
                "stock": rng.normal(0.0, 1.0, (SAMPLES, STEPS, FEATURES)).astype("float32"),
                "static": rng.normal(0.0, 1.0, (SAMPLES, STATIC)).astype("float32"),
            }
            order = [tensor.name.split(":")[0].split("_")[0] for tensor in model.inputs]
            kept[f"{name}/X"], kept[f"{name}/S"] = given["stock"], given["static"]
            kept[f"{name}/output"] = np.asarray(model.predict([given[one] for one in order], verbose=0))
        for line in save(model, folder / name, formats):
            print(f"not written: {line}")
    np.savez_compressed(folder / "outputs.npz", **kept)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the Keras files with static features that the tests read.")
    parser.add_argument("out", type=Path, help="folder to write into, such as tests/data")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    archive = args.out / f"static-keras-{'.'.join(keras.__version__.split('.')[:2])}.zip"
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder))
        paths = sorted(Path(folder).iterdir())
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
            for path in paths:
                bundle.write(path, path.name)
    print(f"{archive}: {len(paths)} files, {archive.stat().st_size / 1e6:.2f} MB, by Keras {keras.__version__}")


if __name__ == "__main__":
    main()
