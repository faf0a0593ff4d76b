"""Load what write_keras writes with real Keras and compare predictions: ``python scripts/check_written_keras.py``.

Run it in an environment with Keras (2.15, or 3 on any backend), h5py and pandas. The expected predictions come from
tests/reference.py, which shares no code with fastlrp. The files hold names of features and outputs, which Keras must
ignore and read_keras must bring back. Exits with 1 if any prediction differs by more than 1e-6 of the largest.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("JAX_ENABLE_X64", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402  # the settings above must come first

try:
    import keras
except ImportError:
    sys.exit(
        "check_written_keras needs Keras: pip install 'tensorflow-cpu<2.16', or keras with jax, torch or tensorflow"
    )

import reference  # noqa: E402

import fastlrp as fl  # noqa: E402
from fastlrp.keras import read_keras, write_keras  # noqa: E402

VALUE = -99.9
KERAS_2 = keras.__version__.startswith("2.")


def as_dict(layer: Any) -> dict[str, Any]:
    """A layer in the form that tests/reference.py takes."""
    found = {
        "kind": type(layer).__name__.lower(),
        **{key: value for key, value in vars(layer).items() if key != "name"},
    }
    return {key: as_dict(value) if isinstance(value, fl.LSTM | fl.GRU) else value for key, value in found.items()}


def networks(rng: np.random.Generator) -> dict[str, fl.Network]:
    """One network for each thing that can be written."""

    def a(*shape: int, dtype: str = "float32") -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(dtype)

    def lstm(D: int, H: int, dtype: str = "float32", **options: Any) -> fl.LSTM:
        return fl.LSTM(a(D, 4 * H, dtype=dtype), a(H, 4 * H, dtype=dtype), a(4 * H, dtype=dtype), **options)

    def gru(D: int, H: int, *, after: bool = True, bias: bool = True, **options: Any) -> fl.GRU:
        b = a(2, 3 * H) if after else a(3 * H)
        return fl.GRU(a(D, 3 * H), a(H, 3 * H), b if bias else None, after, **options)

    def both(D: int, mode: Any, cell: Any = lstm, **options: Any) -> fl.Bidirectional:
        return fl.Bidirectional(cell(D, 4, **options), cell(D, 4, **options), mode)

    gate = "hard_sigmoid_keras2" if KERAS_2 else "hard_sigmoid"
    seq = {"return_sequences": True}
    return {
        "plain": fl.Network([lstm(3, 4, name="lstm"), fl.Dropout(0.2), fl.Dense(a(4, 1), a(1))], steps=5, name="plain"),
        "open steps, softmax": fl.Network(
            [lstm(3, 4), fl.Dense(a(4, 2), activation="relu"), fl.Dense(a(2, 3), a(3), "softmax")]
        ),
        "stacked": fl.Network([lstm(3, 4, **seq), lstm(4, 5, **seq), lstm(5, 2), fl.Dense(a(2, 2))], steps=5),
        "bidirectional": fl.Network(
            [both(3, "concat", **seq), both(8, "sum", **seq), both(4, "ave"), fl.Dense(a(4, 1))], steps=5
        ),
        "backwards": fl.Network([lstm(3, 4, go_backwards=True, **seq), fl.LSTM(a(4, 8), a(2, 8)), fl.Dense(a(2, 1))]),
        "stepwise": fl.Network(
            [fl.Dense(a(3, 2), a(2), "tanh"), lstm(2, 4), fl.Dense(a(4, 1), None, "sigmoid")], steps=5
        ),
        "relu": fl.Network([lstm(3, 4, activation="relu", recurrent_activation="tanh"), fl.Dense(a(4, 1))], steps=5),
        "hard": fl.Network([lstm(3, 4, recurrent_activation=gate), fl.Dense(a(4, 1), None, gate)], steps=5),
        "gru": fl.Network([gru(3, 4, name="gru"), fl.Dense(a(4, 1), a(1))], steps=5),
        "grus": fl.Network(
            [gru(3, 4, after=False, **seq), both(4, "sum", gru, after=False, **seq), gru(4, 2), fl.Dense(a(2, 2))]
        ),
        "grus both ways": fl.Network([both(3, "concat", gru, **seq), both(8, "ave", gru), fl.Dense(a(4, 1))], steps=5),
        "gru without bias": fl.Network(
            [gru(3, 4, after=False, bias=False, activation="relu", recurrent_activation=gate), fl.Dense(a(4, 1))]
        ),
        "masked": fl.Network(
            [fl.Masking(VALUE), lstm(3, 4, **seq), both(4, "concat", **seq), lstm(8, 3), fl.Dense(a(3, 1))],
            steps=5,
        ),
        "masked float64": fl.Network([fl.Masking(VALUE), lstm(3, 4, "float64"), fl.Dense(a(4, 1, dtype="float64"))]),
        "float64": fl.Network([lstm(3, 4, "float64"), fl.Dense(a(4, 1, dtype="float64"))], steps=5),
    }


def named(network: fl.Network) -> fl.Network:
    """The network with names for its three features and its outputs."""
    outputs = [f"output {k}" for k in range(network.n_outputs)]
    names = {"features": ["beta", "size, in logs", "größe"], "outputs": outputs, "name": network.name}
    return fl.Network(network.layers, steps=network.steps, **names)


def main() -> None:
    rng = np.random.default_rng(7)
    worst, count = 0.0, 0
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, network in ((name, named(network)) for name, network in networks(rng).items()):
            X = rng.normal(size=(6, 5, 3)).astype(network.dtype)
            if network.mask_value is not None:  # the first steps, the last, some between, all
                X[0, :2], X[1, 3:], X[2, 1:3], X[3] = VALUE, VALUE, VALUE, VALUE
            want = np.stack([reference.predict([as_dict(layer) for layer in network], x) for x in X])
            for suffix in (".h5", ".keras"):
                if (
                    suffix == ".keras"
                    and KERAS_2
                    and "hard_sigmoid_keras2" in {cell.recurrent_activation for cell in network.cells}
                ):
                    continue  # a .keras file cannot express Keras 2's hard_sigmoid
                path = Path(folder) / f"model{suffix}"
                write_keras(network, path)
                read = read_keras(path)
                if (read.features, read.outputs) != (network.features, network.outputs):
                    sys.exit(f"{name + suffix}: names came back as {read.features}, {read.outputs}")
                got = keras.models.load_model(path, compile=False).predict(X, verbose=0)
                error = float(np.abs(got - want).max() / np.abs(want).max())
                print(f"{name + suffix:28s} {error:.1e}")
                worst, count = max(worst, error), count + 1
    print(f"Keras {keras.__version__}: {count} files, largest difference {worst:.1e} of the largest prediction")
    sys.exit(0 if worst <= 1e-6 else 1)


if __name__ == "__main__":
    main()
