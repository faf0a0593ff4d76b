"""Write the small Keras files that the tests read: ``python scripts/make_keras_files.py tests/data``.

Run it once in every environment whose Keras should be covered (tf.keras 2.x, or Keras 3 on any backend). It makes one
archive for the version it finds, such as ``tests/data/keras-3.0.zip`` (HDF5 files are mostly padding and shrink to a
tenth when zipped). The archive holds the models in each format that this version writes, and ``outputs.npz`` with the
inputs and Keras' own output of every layer, keyed ``case/layer``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import numpy as np

try:
    import keras
except ImportError:
    sys.exit("make_keras_files needs Keras: pip install 'tensorflow-cpu<2.16', or keras with jax, torch or tensorflow")

from keras import layers as L

STEPS, FEATURES, UNITS, SAMPLES = 5, 3, 4, 3
KERAS_2 = keras.__version__.startswith("2.")
CASES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {}


class CustomLSTM(L.LSTM):
    """A student project's LSTM: drops an old option and returns cell states for the explanation."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        kwargs.pop("time_major", None)
        super().__init__(units, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Keras' own."""
        return super().get_config()


class CustomDense(L.Dense):
    """A Dense layer with a class of its own."""


class CustomDropout(L.Dropout):
    """A Dropout layer with a class of its own."""


class CustomModel(keras.Model):
    """A functional model of another class; its config is usable."""


class UnusableModel(keras.Model):
    """A model built in its own constructor, which Keras cannot describe."""

    def __init__(self, units: int) -> None:
        inputs = keras.Input((STEPS, FEATURES))
        hidden, *_ = CustomLSTM(units, return_state=True, name="lstm")(inputs)
        super().__init__(inputs, L.Dense(1, name="dense")(CustomDropout(0.2, name="dropout")(hidden)))


class SubclassedModel(keras.Model):
    """An imperative model, whose layers are attributes."""

    def __init__(self, units: int = UNITS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrent = L.LSTM(units)
        self.head = L.Dense(1)

    def call(self, inputs: Any) -> Any:
        """Apply the head to the recurrent layer."""
        return self.head(self.recurrent(inputs))


def case(*formats: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register a model under its function's name, with the formats to write."""

    def register(build: Callable[[], Any]) -> Callable[[], Any]:
        CASES[build.__name__] = build, formats
        return build

    return register


def chain(*layers: Any, shape: tuple[int | None, ...] = (STEPS, FEATURES), **kwargs: Any) -> Any:
    """A functional model of stacked layers."""
    inputs = x = keras.Input(shape, name="features")
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, **kwargs)


@case("h5", "keras", "weights", "legacy")
def functional() -> Any:
    model = chain(L.LSTM(UNITS, name="lstm"), L.Dropout(0.2, name="dropout"), L.Dense(1, name="dense"), name="factor")
    model.compile("adam", "mse")
    X, y = np.ones((8, STEPS, FEATURES), "float32"), np.ones((8, 1), "float32")
    model.fit(X, y, epochs=1, verbose=0)
    return model


@case("h5", "keras", "weights", "legacy")
def sequential() -> Any:
    head = [L.Dropout(0.1), L.Dense(3, activation="relu"), L.Dense(2, activation="sigmoid")]
    return keras.Sequential([keras.Input((None, FEATURES)), L.LSTM(UNITS), *head], name="seq")


@case("h5", "keras")
def deferred() -> Any:
    model = keras.Sequential([L.LSTM(UNITS), L.Dense(1)])
    model.build((None, STEPS, FEATURES))
    return model


@case("h5", "keras", "weights", "legacy")
def stacked() -> Any:
    lower = [L.LSTM(UNITS, return_sequences=True), L.Dropout(0.3), L.LSTM(UNITS, return_sequences=True)]
    return chain(*lower, L.LSTM(3), L.Dense(4, activation="tanh"), L.Dense(3, activation="softmax"))


@case("h5", "keras")
def return_state() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    sequence, *_ = L.LSTM(UNITS, return_sequences=True, return_state=True, name="lower")(inputs)
    hidden, *_ = L.LSTM(UNITS, return_state=True, name="upper")(sequence)
    return keras.Model(inputs, L.Dense(1, name="dense")(hidden))


@case("h5", "keras")
def last_state() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    _, hidden, _ = L.LSTM(UNITS, return_sequences=True, return_state=True, name="lstm")(inputs)
    return keras.Model(inputs, L.Dense(1, name="dense")(hidden))


@case("h5", "keras", "weights", "legacy")
def bidirectional() -> Any:
    first = L.Bidirectional(L.LSTM(UNITS, return_sequences=True), merge_mode="concat")
    second = L.Bidirectional(L.LSTM(UNITS, return_sequences=True), merge_mode="sum")
    return chain(first, L.Dropout(0.1), second, L.Bidirectional(L.LSTM(UNITS), merge_mode="ave"), L.Dense(1))


@case("h5", "keras", "weights", "legacy")
def custom() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    sequence, *_ = CustomLSTM(UNITS, return_sequences=True, return_state=True)(inputs)
    hidden, *_ = CustomLSTM(UNITS, return_state=True)(CustomDropout(0.2)(sequence))
    return CustomModel(inputs, CustomDense(1)(CustomDropout(0.2)(hidden)))


@case("h5", "keras", "weights", "legacy")
def unusable() -> Any:
    return UnusableModel(UNITS)


@case("keras", "weights", "legacy")
def subclassed() -> Any:
    model = SubclassedModel()
    model(np.zeros((1, STEPS, FEATURES), "float32"))
    return model


@case("h5", "keras")
def batchnorm() -> Any:
    lower = [L.BatchNormalization(), L.LSTM(UNITS, return_sequences=True), L.BatchNormalization(scale=False)]
    upper = [L.Bidirectional(L.LSTM(UNITS)), L.BatchNormalization(center=False), L.Dense(UNITS)]
    return chain(*lower, *upper, L.BatchNormalization(), L.Activation("relu"), L.Dense(2), L.BatchNormalization())


@case("h5", "keras", "weights")
def normalization() -> Any:
    adapted = L.Normalization()
    adapted.adapt(np.random.RandomState(1).normal(2.0, 3.0, (50, STEPS, FEATURES)).astype("float32"))
    fixed = L.Normalization(mean=[0.5, -1.0, 2.0], variance=[1.0, 4.0, 0.25])
    return chain(adapted, fixed, L.Rescaling(0.5, offset=0.25), L.LSTM(UNITS), L.Rescaling(2.0), L.Dense(1))


@case("h5", "keras", "weights", "legacy")
def nested() -> Any:
    inner = keras.Sequential([keras.Input((STEPS, FEATURES)), L.LSTM(UNITS, return_sequences=True)], name="inner")
    middle = chain(L.Dropout(0.1), inner, L.BatchNormalization(), L.LSTM(3), name="middle")
    head = keras.Sequential([keras.Input((3,)), L.Dense(3), L.BatchNormalization(), L.Dense(1)], name="head")
    return keras.Sequential([keras.Input((STEPS, FEATURES)), middle, head], name="outer")


@case("h5", "keras", "legacy")
def frozen() -> Any:
    lower, upper = L.LSTM(UNITS, return_sequences=True, trainable=False), L.LSTM(UNITS)
    inner = chain(L.LSTM(FEATURES, return_sequences=True), lower, upper, name="inner")
    norm = L.BatchNormalization(trainable=False)
    return chain(inner, norm, L.Dense(1, trainable=False))


@case("h5", "keras", "weights")
def time_distributed() -> Any:
    lower = [L.TimeDistributed(L.Dense(FEATURES, activation="tanh")), L.LSTM(UNITS, return_sequences=True)]
    middle = [L.TimeDistributed(L.Dropout(0.1)), L.Dense(3, activation="relu"), L.LSTM(UNITS)]
    return chain(*lower, *middle, L.Dense(1))


@case("h5", "keras")
def options() -> Any:
    lower = [L.LSTM(UNITS, go_backwards=True, return_sequences=True, use_bias=False), L.LSTM(UNITS, unroll=True)]
    middle = L.LSTM(UNITS, unit_forget_bias=False, return_sequences=True)
    return chain(lower[0], middle, lower[1], L.Dense(1, use_bias=False))


@case("h5", "keras", "weights", "legacy")
def activations() -> Any:
    first = L.LSTM(UNITS, return_sequences=True, recurrent_activation="hard_sigmoid")
    second = L.LSTM(UNITS, return_sequences=True, activation="relu", recurrent_activation="tanh")
    third = L.LSTM(UNITS, activation="linear", recurrent_activation="sigmoid", recurrent_dropout=0.1, dropout=0.1)
    upper = [L.Dense(3), L.ReLU(), L.Dense(3, activation="hard_sigmoid"), L.Dense(3), L.Softmax()]
    return chain(first, second, third, *upper)


@case("h5", "keras")
def identities() -> Any:
    lower = [L.GaussianNoise(0.1), L.SpatialDropout1D(0.1), L.LSTM(UNITS), L.ActivityRegularization(0.1), L.Flatten()]
    upper = [L.Reshape((UNITS,)), L.Activation("linear"), L.GaussianDropout(0.1), L.Dense(2), L.Activation("tanh")]
    return chain(*lower, *upper, L.Reshape((-1,)))


@case("h5", "keras")
def cells() -> Any:
    return chain(L.RNN(L.LSTMCell(UNITS), return_sequences=True), L.RNN(L.LSTMCell(UNITS, use_bias=False)), L.Dense(1))


@case("h5", "keras", "weights", "legacy")
def gru() -> Any:
    return chain(L.GRU(UNITS, name="gru"), L.Dense(1, name="dense"))


@case("h5", "keras", "weights", "legacy")
def gru_stacked() -> Any:
    first = L.GRU(UNITS, return_sequences=True, reset_after=False)
    lower = [first, L.Dropout(0.1), L.GRU(UNITS, return_sequences=True, use_bias=False), L.BatchNormalization()]
    middle = [L.GRU(UNITS, return_sequences=True, use_bias=False, reset_after=False, go_backwards=True)]
    upper = [L.LSTM(3, return_sequences=True), L.GRU(3, activation="relu", recurrent_activation="hard_sigmoid")]
    return chain(*lower, *middle, *upper, L.Dense(2, activation="tanh"))


@case("h5", "keras", "weights", "legacy")
def gru_bidirectional() -> Any:
    first = L.Bidirectional(L.GRU(UNITS, return_sequences=True), merge_mode="concat")
    second = L.Bidirectional(L.GRU(UNITS, return_sequences=True, reset_after=False), merge_mode="sum")
    return chain(first, L.BatchNormalization(), second, L.Bidirectional(L.GRU(UNITS), merge_mode="ave"), L.Dense(1))


@case("h5", "keras")
def gru_cells() -> Any:
    cells = [L.GRUCell(UNITS), L.GRUCell(UNITS, reset_after=False, use_bias=False)]
    return chain(L.RNN(cells[0], return_sequences=True), L.RNN(cells[1]), L.Dense(1))


@case("h5", "keras")
def gru_state() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    _, hidden = L.GRU(UNITS, return_sequences=True, return_state=True, name="gru")(inputs)
    return keras.Model(inputs, L.Dense(1, name="dense")(hidden))


@case("h5", "keras")
def stateful() -> Any:
    inputs = keras.Input(batch_shape=(SAMPLES, STEPS, FEATURES))
    return keras.Model(inputs, L.Dense(1)(L.LSTM(UNITS, stateful=True)(inputs)))


#: Masked steps of the samples of masking's cases, whose features all have the mask's value.
MASKED = [".....", "##...", "...##", ".##..", "#.#.#", "###.#", "#####"]


def masked(rng: np.random.RandomState, value: float) -> np.ndarray:
    """Samples with masked steps, each pattern once; a feature alone that has the value masks nothing."""
    marks = np.array([[mark == "#" for mark in pattern] for pattern in MASKED])
    X = rng.normal(0.0, 1.0, (*marks.shape, FEATURES))
    X[..., 1][rng.uniform(size=marks.shape) < 0.3] = value
    X[marks] = value
    return X.astype("float32")


@case("h5", "keras", "weights", "legacy")
def masking() -> Any:
    return chain(L.Masking(-99.9, name="mask"), L.LSTM(UNITS, name="lstm"), L.Dense(1, name="dense"))


@case("h5", "keras", "weights", "legacy")
def masking_sequential() -> Any:
    lower = [keras.Input((None, FEATURES)), L.Dropout(0.1), L.Masking(-99.9), L.BatchNormalization()]
    return keras.Sequential([*lower, L.LSTM(UNITS, return_sequences=True), L.LSTM(3), L.Dense(2)], name="seq")


@case("h5", "keras")
def masking_stacked() -> Any:
    lower = [L.Masking(-99.9), L.Dense(4, activation="tanh"), L.LSTM(UNITS, return_sequences=True), L.Dropout(0.1)]
    middle = [L.TimeDistributed(L.Dense(3, activation="relu")), L.BatchNormalization(), L.GaussianNoise(0.1)]
    return chain(*lower, *middle, L.LSTM(UNITS, return_sequences=True), L.LSTM(3, go_backwards=True), L.Dense(1))


@case("h5", "keras", "weights")
def masking_bidirectional() -> Any:
    first = L.Bidirectional(L.LSTM(UNITS, return_sequences=True), merge_mode="concat")
    second = L.Bidirectional(L.LSTM(UNITS, return_sequences=True), merge_mode="sum")
    return chain(L.Masking(-99.9), first, second, L.Bidirectional(L.LSTM(UNITS), merge_mode="ave"), L.Dense(1))


@case("h5", "keras")
def masking_nested() -> Any:
    inner = chain(L.LSTM(UNITS, return_sequences=True), L.LSTM(3), name="inner")
    inputs = keras.Input((STEPS, FEATURES))
    return keras.Model(inputs, L.Dense(1)(inner(L.Masking(-99.9)(inputs))))


@case("h5", "keras")
def refused_masking_twice() -> Any:
    return chain(L.Masking(0.0), L.Masking(-1.0, name="second"), L.LSTM(UNITS), L.Dense(1))


@case("h5", "keras")
def refused_masking_above() -> Any:
    return chain(L.Dense(3), L.Masking(0.0, name="mask"), L.LSTM(UNITS), L.Dense(1))


@case("h5", "keras")
def refused_masking_reshape() -> Any:
    return chain(L.Masking(0.0), L.Reshape((STEPS, FEATURES), name="shape"), L.LSTM(UNITS), L.Dense(1))


@case("h5", "keras")
def refused_masking_backwards() -> Any:
    lower = L.LSTM(UNITS, return_sequences=True, go_backwards=True, name="lower")
    return chain(L.Masking(0.0), lower, L.LSTM(UNITS), L.Dense(1))


def _typed(policy: str) -> Any:
    lstm = L.LSTM(UNITS, recurrent_initializer="zeros", dtype=policy)  # no backend has a QR in half precision
    return chain(lstm, L.Dense(1, dtype=policy))


@case("h5", "keras")
def float64() -> Any:
    return _typed("float64")


@case("h5", "keras")
def float16() -> Any:
    return _typed("float16")


@case("h5", "keras")
def mixed_float16() -> Any:
    return _typed("mixed_float16")


@case("h5", "keras")
def bfloat16() -> Any:
    return _typed("bfloat16")


# Models that cannot be explained yet: read_keras must refuse these by name.


@case("h5")
def refused_simple_rnn() -> Any:
    return chain(L.SimpleRNN(UNITS, name="rnn"), L.Dense(1))


@case("keras")
def refused_conv() -> Any:
    return chain(L.Conv1D(UNITS, 2, name="conv"), L.LSTM(UNITS), L.Dense(1))


@case("h5", "keras")
def refused_lambda() -> Any:
    # Keras marshals code with its file name; compiled from text, it names no file of the machine that ran this
    twice = eval(compile("lambda x: x * 2.0", "<model>", "eval"))
    return chain(L.LSTM(UNITS), L.Lambda(twice, output_shape=(UNITS,), name="twice"), L.Dense(1))


@case("keras")
def refused_attention() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    x = L.LSTM(UNITS, return_sequences=True)(inputs)
    x = L.MultiHeadAttention(1, 2, name="attention")(x, x)
    return keras.Model(inputs, L.Dense(1)(L.LSTM(UNITS)(x)))


@case("h5", "keras")
def refused_two_inputs() -> Any:
    one, other = keras.Input((STEPS, FEATURES), name="stock"), keras.Input((2,), name="macro")
    return keras.Model([one, other], L.Dense(1)(L.Concatenate()([L.LSTM(UNITS)(one), other])))


@case("h5", "keras")
def refused_two_outputs() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    x = L.LSTM(UNITS)(inputs)
    return keras.Model(inputs, [L.Dense(1, name="mean")(x), L.Dense(1, name="risk")(x)])


@case("h5", "keras")
def refused_branch() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    x = L.LSTM(UNITS, name="lstm")(inputs)
    return keras.Model(inputs, L.Dense(1)(L.Add(name="add")([L.Dense(UNITS)(x), x])))


@case("h5")
def refused_flatten() -> Any:
    return chain(L.LSTM(UNITS, return_sequences=True), L.Flatten(name="flat"), L.Dense(1))


@case("h5")
def refused_activation() -> Any:
    return chain(L.LSTM(UNITS), L.Dense(3, activation="mish", name="hidden"), L.Dense(1))


@case("h5")
def refused_initial_state() -> Any:
    inputs = keras.Input((STEPS, FEATURES))
    sequence, h, c = L.LSTM(UNITS, return_sequences=True, return_state=True)(inputs)
    return keras.Model(inputs, L.Dense(1)(L.LSTM(UNITS, name="decoder")(sequence, initial_state=[h, c])))


@case("h5")
def refused_layer_norm() -> Any:
    return chain(L.LSTM(UNITS), L.LayerNormalization(name="norm"), L.Dense(1))


@case("h5")
def refused_no_lstm() -> Any:
    return chain(L.Dense(3), L.Dense(1))


@case("h5", "legacy")
def cudnn() -> Any:
    if not KERAS_2:
        raise NotImplementedError("CuDNNLSTM ended with Keras 2")
    from tensorflow.compat.v1.keras.layers import CuDNNLSTM

    return chain(
        CuDNNLSTM(UNITS, return_sequences=True, name="lower"), CuDNNLSTM(3, name="upper"), L.Dense(1, name="dense")
    )


# Networks that predict at every step, other activations, rows of features, and models without a description.


@case("h5", "keras", "weights", "legacy")
def every_step() -> Any:
    return chain(L.LSTM(UNITS, return_sequences=True), L.LSTM(3, return_sequences=True), L.TimeDistributed(L.Dense(1)))


@case("h5", "keras")
def every_step_two_ways() -> Any:
    head = [L.Dropout(0.1), L.Dense(3, activation="tanh"), L.Dense(2, activation="softmax")]
    return chain(L.Bidirectional(L.LSTM(UNITS, return_sequences=True)), *head, shape=(None, FEATURES))


@case("h5", "keras", "weights")
def curves() -> Any:
    names = ["leaky_relu", "elu", "selu", "swish", "gelu", "softplus", "softsign", "exponential", "relu6"]
    own = [
        L.Dense(3),
        L.LeakyReLU(),
        L.Dense(3),
        L.ELU(0.7),
        L.Dense(3),
        L.ReLU(negative_slope=0.1),
        L.Dense(3),
        L.ReLU(6),
    ]
    layer = L.Dense(2, activation=L.LeakyReLU(0.05))
    return chain(L.LSTM(UNITS), *(L.Dense(3, activation=name) for name in names), *own, layer)


@case("h5", "keras", "weights", "legacy")
def rows() -> Any:
    lower = [L.BatchNormalization(), L.Dense(UNITS, activation="relu"), L.Dropout(0.1), L.BatchNormalization()]
    return chain(*lower, L.Dense(3), L.Activation("gelu"), L.Dense(2), shape=(FEATURES,))


@case("h5", "keras")
def rows_sequential() -> Any:
    return keras.Sequential([keras.Input((FEATURES,)), L.Dense(UNITS, activation="silu"), L.Dense(1)])


class SubclassedChain(keras.Model):
    """An imperative model, whose layers are attributes that say nothing of their order."""

    def __init__(self, sizes: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.top = L.Dense(1)
        self.upper = L.LSTM(sizes[1])
        self.middle = L.Dense(sizes[2])
        self.lower = L.LSTM(sizes[0], return_sequences=True)

    def call(self, inputs: Any) -> Any:
        """One layer after the other."""
        return self.top(self.middle(self.upper(self.lower(inputs))))


def _built(model: Any, *shape: int) -> Any:
    model(np.zeros((1, *shape), "float32"))
    return model


@case("weights", "legacy")
def subclassed_chain() -> Any:
    return _built(SubclassedChain((UNITS, 5, 2)), STEPS, FEATURES)


@case("weights", "legacy")
def subclassed_unclear() -> Any:
    return _built(SubclassedChain((FEATURES, FEATURES, FEATURES)), STEPS, FEATURES)


class SubclassedGRU(keras.Model):
    """An imperative model of a GRU."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrent = L.GRU(UNITS)
        self.head = L.Dense(1)

    def call(self, inputs: Any) -> Any:
        """Apply the head to the recurrent layer."""
        return self.head(self.recurrent(inputs))


@case("weights", "legacy")
def subclassed_gru() -> Any:
    return _built(SubclassedGRU(), STEPS, FEATURES)


def without_gpu(model: Any) -> Any:
    """CuDNNLSTM runs only on a GPU; Keras itself turns its weights into an LSTM's when it loads them."""
    if not any(type(layer).__name__ == "CuDNNLSTM" for layer in model.layers):
        return model
    twin = chain(L.LSTM(UNITS, return_sequences=True, name="lower"), L.LSTM(3, name="upper"), L.Dense(1, name="dense"))
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(f"{folder}/weights.h5")
        twin.load_weights(f"{folder}/weights.h5")
    return twin


def randomise(model: Any, rng: np.random.RandomState) -> None:
    """Make weights look trained: none at zero or one, variances positive; Normalization keeps its adapted values."""
    for variable in model.weights:
        name = variable.name.split("/")[-1].split(":")[0]
        if name == "moving_variance":
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
        elif name not in {"mean", "variance", "count", "seed_generator_state"} and "seed" not in name:
            variable.assign(rng.normal(0.0, 0.5, variable.shape))


def outputs_of(model: Any, X: np.ndarray) -> dict[str, np.ndarray]:
    """Keras' output of every layer, in the model's order, and of the model itself under ``output``."""
    found = {"input": X}
    for layer in model.layers if hasattr(model, "inputs") and model.inputs else []:
        try:
            tensor = layer.output
            part = keras.Model(model.inputs, tensor[0] if isinstance(tensor, list | tuple) else tensor)
            reset(model)
            found[layer.name] = np.asarray(part.predict(X, verbose=0, batch_size=len(X)))
        except (AttributeError, KeyError, ValueError):
            continue  # a nested model's inner tensor, or never called by itself
    reset(model)
    try:
        found["output"] = np.asarray(model.predict(X, verbose=0, batch_size=len(X)))
    except TypeError:  # Keras 3.0 to 3.8 cannot compile a nested model before its first call
        found["output"] = np.asarray(model(X))
    return {key: value.astype("float32" if value.dtype.itemsize < 4 else value.dtype) for key, value in found.items()}


def reset(model: Any) -> None:
    """Reset the state of stateful layers."""
    for layer in model.layers:
        if getattr(layer, "stateful", False) and hasattr(layer, "reset_states" if KERAS_2 else "reset_state"):
            layer.reset_states() if KERAS_2 else layer.reset_state()


def save(model: Any, stem: Path, formats: tuple[str, ...]) -> list[str]:
    """Write the formats that this version can write; report the others, and why."""
    failed = []
    for kind in formats:
        if kind == "legacy" and not KERAS_2:
            continue
        names = {"h5": ".h5", "keras": ".keras", "weights": ".weights.h5", "legacy": ".legacy.h5"}
        path = Path(f"{stem}{names[kind]}")
        try:
            model.save(path) if kind in {"h5", "keras"} else model.save_weights(path)
        except Exception as error:  # users cannot have a file that this version cannot write
            path.unlink(missing_ok=True)
            failed.append(f"{path.name}: {type(error).__name__}: {str(error).strip().splitlines()[0][:150]}")
    if {"weights", "legacy"} & set(formats) and not stem.name.startswith(("unusable", "subclassed")):
        Path(f"{stem}.json").write_text(model.to_json(), encoding="utf-8")
    return failed


def write_all(folder: Path, only: list[str] | None) -> None:
    """Write every case into one folder, with Keras' outputs beside them."""
    kept: dict[str, np.ndarray] = {}
    for number, (name, (build, formats)) in enumerate(CASES.items()):
        if only and name not in only:
            continue
        keras.backend.clear_session()
        rng = np.random.RandomState(number)
        try:
            model = build()
        except Exception as error:
            print(f"{name}: not possible here: {type(error).__name__}: {str(error).strip().splitlines()[0][:150]}")
            continue
        randomise(model, rng)
        if not name.startswith("refused"):
            X = rng.normal(0.0, 1.0, (SAMPLES, STEPS, FEATURES)).astype("float32")
            X = masked(rng, -99.9) if name.startswith("masking") else X
            if len(getattr(model, "input_shape", None) or X.shape) == 2:
                X = X[:, -1]
            try:
                kept.update({f"{name}/{key}": value for key, value in outputs_of(without_gpu(model), X).items()})
            except Exception as error:
                print(f"{name}: does not predict here: {type(error).__name__}: {str(error).strip()[:150]!r}")
                continue
        for line in save(model, folder / name, formats):
            print(f"not written: {line}")
    np.savez_compressed(folder / "outputs.npz", **kept)
    (folder / "version.json").write_text(json.dumps({"keras": keras.__version__}) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the small Keras files that the tests read.")
    parser.add_argument("out", type=Path, help="folder to write into, such as tests/data")
    parser.add_argument("--only", nargs="*", help="write only these cases")
    parser.add_argument("--name", default="keras", help="what the archive's name begins with (default: keras)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    archive = args.out / f"{args.name}-{'.'.join(keras.__version__.split('.')[:2])}.zip"
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder), args.only)
        paths = sorted(Path(folder).iterdir())
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
            for path in paths:
                bundle.write(path, path.name)
    print(f"{archive}: {len(paths)} files, {archive.stat().st_size / 1e6:.2f} MB, by Keras {keras.__version__}")


if __name__ == "__main__":
    main()
