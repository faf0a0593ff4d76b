"""Networks as frozen values: layers that hold checked, read-only arrays, and the chain of them.

Nothing here computes. Shapes are checked once, when a value is made; everything later relies on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fastlrp.messages import count, foreign_network
from fastlrp.objects import as_array

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance import Relevance
    from fastlrp.rules import Rule

Array = npt.NDArray[Any]
MergeMode = Literal["concat", "sum", "ave"]
Aggregate = Literal["sequence", "average", "last"] | bool  # True is "average", False is "last"

#: Activations of an LSTM's gates and of its signals. ``hard_sigmoid`` is Keras 3's relu6(x + 3)/6,
#: ``hard_sigmoid_keras2`` is clip(0.2 x + 0.5, 0, 1), the default recurrent activation of old Keras files.
LSTM_ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_sigmoid_keras2")
#: Activations of a Dense layer; softmax only where the layer is the network's last.
DENSE_ACTIVATIONS = (*LSTM_ACTIVATIONS, "softmax")


def _weights(value: object, ndim: int, where: str) -> Array:
    """A read-only float32 or float64 copy of an array of weights, or a sentence about why it is none."""
    if (foreign := foreign_network(value)) is not None:
        raise ValueError(f"{where} must be an array of numbers, not {foreign}")
    array = as_array(value, where, "an array of numbers")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where} must be an array of real numbers, not of dtype {array.dtype}")
    dtype = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    array = np.array(array, dtype=dtype, order="C")
    if array.ndim != ndim:
        raise ValueError(f"{where} must have {count(ndim, 'dimension')}, not shape {array.shape}")
    if 0 in array.shape:
        raise ValueError(f"{where} is empty: shape {array.shape}")
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        are = "is" if bad == 1 else "are"
        raise ValueError(f"{where} has {count(bad, 'weight')} that {are} NaN or infinite, of {array.size:,}")
    array.setflags(write=False)
    return array


def _bias(value: object, size: int, where: str) -> Array | None:
    """The bias of a layer with ``size`` pre-activations, or None."""
    if value is None:
        return None
    bias = _weights(value, 1, where)
    if bias.shape != (size,):
        raise ValueError(f"{where} has shape {bias.shape}, expected ({size},)")
    return bias


def _choice(value: object, choices: Sequence[str], where: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{where} takes one of {', '.join(choices)}, not {value!r}")
    return value


def _flag(value: object, where: str) -> None:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{where} takes True or False, not {value!r}")


class _Layer:
    """What every layer has: a name for messages, and the arrays it holds."""

    name: str | None

    @property
    def kind(self) -> str:
        """The layer's class, as users know it."""
        return type(self).__name__

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The weights that the layer holds."""
        return ()

    @property
    def n_params(self) -> int:
        """Number of weights."""
        return sum(array.size for array in self.arrays)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(mine, getattr(other, key)) for key, mine in vars(self).items())

    __hash__ = None  # type: ignore[assignment]  # holds arrays: equal by value, so not hashable

    def __repr__(self) -> str:
        parts = []
        for key, value in vars(self).items():
            if isinstance(value, np.ndarray):
                parts.append(f"{key}=<{'x'.join(map(str, value.shape))} {value.dtype}>")
            elif value is not None:
                parts.append(f"{key}={value!r}")
        return f"{self.kind}({', '.join(parts)})"


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other)


@dataclass(frozen=True, eq=False, repr=False)
class LSTM(_Layer):
    """A long short-term memory layer with Keras' gate order: input, forget, cell signal ("c" or g), output.

    Parameters
    ----------
    W : array (D, 4H)
        Input weights ("kernel").
    U : array (H, 4H)
        Recurrent weights ("recurrent_kernel").
    b : array (4H,) or None
        Bias. PyTorch's two biases add up to it.
    return_sequences : bool
        Hand on h of every step instead of the last one.
    go_backwards : bool
        Read the steps newest first, as Keras' option of that name; sequences then come out in that order.
    activation, recurrent_activation : str
        Of the signals g and tanh(c), and of the three gates; see ``LSTM_ACTIVATIONS``.
    name : str or None
        Used in messages and summaries.

    Raises
    ------
    ValueError
        If shapes disagree or a weight is not finite.
    """

    W: Array
    U: Array
    b: Array | None = None
    return_sequences: bool = False
    go_backwards: bool = False
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    name: str | None = None

    def __post_init__(self) -> None:
        me = f"LSTM {self.name!r}" if self.name else "LSTM"
        W, U = _weights(self.W, 2, f"{me}: W"), _weights(self.U, 2, f"{me}: U")
        H = U.shape[0]
        if U.shape != (H, 4 * H):
            raise ValueError(f"{me}: U has shape {U.shape}, expected (H, 4H) with H units")
        if W.shape[1] != 4 * H:
            raise ValueError(f"{me}: W has shape {W.shape}, expected (D, {4 * H}) since U has {count(H, 'unit')}")
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "U", U)
        object.__setattr__(self, "b", _bias(self.b, 4 * H, f"{me}: b"))
        for key in ("return_sequences", "go_backwards"):
            _flag(getattr(self, key), f"{me}: {key}")
        for key in ("activation", "recurrent_activation"):
            _choice(getattr(self, key), LSTM_ACTIVATIONS, f"{me}: {key}")

    @property
    def n_inputs(self) -> int:
        """D, features a step."""
        return int(self.W.shape[0])

    @property
    def units(self) -> int:
        """H."""
        return int(self.U.shape[0])

    n_outputs = units

    @property
    def arrays(self) -> tuple[Array, ...]:
        """W, U and, where there is one, b."""
        return (self.W, self.U) if self.b is None else (self.W, self.U, self.b)


@dataclass(frozen=True, eq=False, repr=False)
class Bidirectional(_Layer):
    """Two LSTMs over the same input, the second on the reversed sequence.

    Parameters
    ----------
    forward, backward : LSTM
        Same inputs, units and ``return_sequences``. Either may carry ``go_backwards`` or neither: here ``backward``
        is always the one that reads the sequence reversed, and sequences are merged in the order of the input.
    merge_mode : {"concat", "sum", "ave"}
        How their outputs meet.
    name : str or None
        Used in messages and summaries.
    """

    forward: LSTM
    backward: LSTM
    merge_mode: MergeMode = "concat"
    name: str | None = None

    def __post_init__(self) -> None:
        me = f"Bidirectional {self.name!r}" if self.name else "Bidirectional"
        for key in ("forward", "backward"):
            if not isinstance(getattr(self, key), LSTM):
                raise ValueError(f"{me}: {key} must be an LSTM, not {type(getattr(self, key)).__name__}")
        for key in ("n_inputs", "units", "return_sequences"):
            one, other = getattr(self.forward, key), getattr(self.backward, key)
            if one != other:
                raise ValueError(f"{me}: {key} of the two LSTMs differ: {one} forward, {other} backward")
        if self.forward.go_backwards:
            raise ValueError(f"{me}: the forward LSTM has go_backwards=True; give it as the backward one")
        _choice(self.merge_mode, ("concat", "sum", "ave"), f"{me}: merge_mode")

    @property
    def return_sequences(self) -> bool:
        """Whether every step is handed on."""
        return self.forward.return_sequences

    @property
    def n_inputs(self) -> int:
        """D, features a step."""
        return self.forward.n_inputs

    @property
    def n_outputs(self) -> int:
        """2H for concat, H otherwise."""
        return self.forward.units * (2 if self.merge_mode == "concat" else 1)

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The weights of both."""
        return self.forward.arrays + self.backward.arrays


@dataclass(frozen=True, eq=False, repr=False)
class Dense(_Layer):
    """A fully connected layer; on a sequence it works step by step, as in Keras.

    Parameters
    ----------
    W : array (n_inputs, n_outputs)
        "kernel".
    b : array (n_outputs,) or None
        Bias.
    activation : str
        See ``DENSE_ACTIVATIONS``; "softmax" only in a network's last layer.
    name : str or None
        Used in messages and summaries.
    """

    W: Array
    b: Array | None = None
    activation: str = "linear"
    name: str | None = None

    def __post_init__(self) -> None:
        me = f"Dense {self.name!r}" if self.name else "Dense"
        W = _weights(self.W, 2, f"{me}: W")
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "b", _bias(self.b, W.shape[1], f"{me}: b"))
        _choice(self.activation, DENSE_ACTIVATIONS, f"{me}: activation")

    @property
    def n_inputs(self) -> int:
        """Width of the layer below."""
        return int(self.W.shape[0])

    @property
    def n_outputs(self) -> int:
        """Width of this layer."""
        return int(self.W.shape[1])

    @property
    def arrays(self) -> tuple[Array, ...]:
        """W and, where there is one, b."""
        return (self.W,) if self.b is None else (self.W, self.b)


@dataclass(frozen=True, eq=False, repr=False)
class Dropout(_Layer):
    """Dropout: the identity at inference; kept so that a network stays what the user trained.

    Parameters
    ----------
    rate : float in [0, 1)
        Share of units dropped in training.
    name : str or None
        Used in messages and summaries.
    """

    rate: float = 0.0
    name: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, int | float) or not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate takes a number from 0 to below 1, not {self.rate!r}")


Layer = LSTM | Bidirectional | Dense | Dropout


def as_names(value: object, size: int, where: str, of: str) -> tuple[str, ...] | None:
    """Names of features or outputs: as many as there are, and no two the same."""
    if value is None:
        return None
    if isinstance(value, set | frozenset):
        raise ValueError(f"{where} takes a list of names, not a {type(value).__name__}, which has no order")
    if isinstance(value, str) or (not isinstance(value, Sequence | np.ndarray) and not hasattr(value, "__iter__")):
        raise ValueError(f"{where} takes a list of names, not {value!r}")
    names = tuple(str(name) for name in value)
    if len(names) != size:
        raise ValueError(f"{where} has {count(len(names), 'name')}, expected {size:,}: {of}")
    if len(set(names)) != size:
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{where} names {twice!r} twice")
    return names


class Network:
    """A chain of layers from a window of features to a prediction.

    Parameters
    ----------
    layers : sequence of LSTM, Bidirectional, Dense, Dropout
        From the input up. The last recurrent layer must not return sequences.
    steps : int or None
        T, the length of a window, where it is fixed; panels then need no ``steps=``.
    features : list of str or None
        Names of the D input features, in the order of W's rows.
    outputs : list of str or None
        Names of the output units; ``target=`` takes them.
    name : str or None
        Shown in summaries.

    Raises
    ------
    ValueError
        If a layer does not fit on the one below it.

    Examples
    --------
    >>> net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V)], steps=5)        # doctest: +SKIP
    >>> rel = net.explain(X)                                              # doctest: +SKIP
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        steps: int | None = None,
        features: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        if (foreign := foreign_network(layers)) is not None:
            raise ValueError(f"Network takes a list of fastlrp's layers, not {foreign}")
        if isinstance(layers, LSTM | Bidirectional | Dense | Dropout) or not hasattr(layers, "__iter__"):
            raise ValueError(f"Network takes a list of layers, not {type(layers).__name__}")
        self._layers: tuple[Layer, ...] = tuple(layers)
        self._check_chain()
        weighted = [layer for layer in self._layers if not isinstance(layer, Dropout)]
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1):
            raise ValueError(f"Network(steps=...) takes a whole number of at least 1, not {steps!r}")
        self._steps = None if steps is None else int(steps)
        self._n_features, self._n_outputs = weighted[0].n_inputs, weighted[-1].n_outputs
        self._n_params = sum(layer.n_params for layer in self._layers)
        self._features = as_names(
            features, self._n_features, "Network(features=...)", "one for each input of its first layer"
        )
        self._outputs = as_names(
            outputs, self._n_outputs, "Network(outputs=...)", "one for each unit of its last layer"
        )
        self.name = name
        self._plans: dict[Any, Any] = {}  # what kernels packed for this network, by dtype; never part of its value

    def _check_chain(self) -> None:
        for i, layer in enumerate(self._layers):
            if not isinstance(layer, LSTM | Bidirectional | Dense | Dropout):
                given = foreign_network(layer)
                expected = "expected fastlrp's LSTM, Bidirectional, Dense or Dropout"
                if given is not None:
                    raise ValueError(f"Network: layer {i}, {expected}, is {given}")
                raise ValueError(f"Network: layer {i} is {type(layer).__name__}, {expected}")
        weighted = [(i, layer) for i, layer in enumerate(self._layers) if not isinstance(layer, Dropout)]
        if not weighted:
            raise ValueError("Network: no layer with weights was given, expected at least one LSTM and its head")
        sequence = True
        for (i, below), (k, above) in itertools.pairwise(weighted):
            if above.n_inputs != below.n_outputs:
                raise ValueError(
                    f"Network: {self._label(k)} takes {count(above.n_inputs, 'input')}, but {self._label(i)} below it "
                    f"gives {below.n_outputs}"
                )
        for i, layer in weighted:
            if isinstance(layer, LSTM | Bidirectional):
                if not sequence:
                    raise ValueError(
                        f"Network: {self._label(i)} needs a sequence, but the recurrent layer below it gives only its "
                        "last step: set return_sequences=True there"
                    )
                sequence = layer.return_sequences
            elif layer.activation == "softmax" and i != weighted[-1][0]:
                raise ValueError(f"Network: {self._label(i)} has softmax, which only the last layer may have")
        if sequence:
            raise ValueError(
                "Network: the output is a sequence, expected one row a sample: the last recurrent layer must have "
                "return_sequences=False"
            )

    def _label(self, i: int) -> str:
        layer = self._layers[i]
        return f"layer {i} ({layer.kind}{f' {layer.name!r}' if layer.name else ''})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input up."""
        return self._layers

    @property
    def steps(self) -> int | None:
        """T where it is fixed, else None."""
        return self._steps

    @property
    def n_features(self) -> int:
        """D, inputs a step."""
        return self._n_features

    @property
    def n_outputs(self) -> int:
        """Units of the last layer."""
        return self._n_outputs

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the inputs, or None."""
        return self._features

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """Names of the output units, or None."""
        return self._outputs

    def with_features(self, features: Sequence[str] | None) -> Network:
        """The same network with names for its inputs; panels' columns are then found by name, whatever their order.

        Parameters
        ----------
        features : list of str or None
            A name for each of the D inputs, in the order of W's rows: the order in which the columns stood when the
            network was trained. None takes the names away.

        Returns
        -------
        Network
            A new one; this one stays as it is.

        Raises
        ------
        ValueError
            If there are more or fewer names, one stands twice, or a name that the network has stands at another input
            (which ``net.with_features(None).with_features([...])`` forces).
        """
        names = as_names(features, self._n_features, "features", "one for each input of the network")
        at = {name: i for i, name in enumerate(self._features or ())}
        moved = next((i for i, name in enumerate(names or ()) if at.get(name, i) != i), None)
        if names is not None and moved is not None:
            raise ValueError(
                f"features: input {moved} would be called {names[moved]!r}, which is the network's input "
                f"{at[names[moved]]}: names stand in the order of its inputs and cannot change it"
            )
        return Network(self._layers, steps=self._steps, features=names, outputs=self._outputs, name=self.name)

    @property
    def n_params(self) -> int:
        """Number of weights."""
        return self._n_params

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 if any weight is, else float32."""
        return np.result_type(*(array.dtype for layer in self._layers for array in layer.arrays))

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        keys = ("_layers", "_steps", "_features", "_outputs", "name")
        return all(getattr(self, key) == getattr(other, key) for key in keys)

    __hash__ = None  # type: ignore[assignment]  # equal by value of its arrays, so not hashable

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_plans": {}}

    def __repr__(self) -> str:
        kinds = ", ".join(f"{layer.kind}({_width(layer)})" for layer in self._layers)
        sizes = f"{count(self.n_features, 'feature')}, {count(self.n_params, 'parameter')}"
        return f"<Network{f' {self.name}' if self.name else ''}: {kinds}; {sizes}>"

    def summary(self) -> str:
        """A table of the layers: what each takes, gives and holds."""
        head = ("layer", "kind", "output", "activation", "parameters")
        steps = "T" if self._steps is None else str(self._steps)
        rows, sequence, width = [("input", "", f"({steps}, {self._n_features})", "", "")], True, self._n_features
        for i, layer in enumerate(self._layers):
            if isinstance(layer, LSTM | Bidirectional):
                sequence = layer.return_sequences
            if not isinstance(layer, Dropout):
                width = layer.n_outputs
            shape = f"({steps}, {width})" if sequence else f"({width},)"
            rows.append((layer.name or str(i), layer.kind, shape, _activations(layer), f"{layer.n_params:,}"))
        widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
        ]
        rule = "-" * max(map(len, lines))
        total = f"{count(self.n_params, 'parameter')}, {self.dtype}; {count(self._n_outputs, 'output')}"
        return "\n".join([*([self.name] if self.name else []), lines[0], rule, *lines[1:], rule, total])

    def predict(
        self,
        X: Array | pd.DataFrame,
        *,
        steps: int | None = None,
        device: str = "auto",
        dtype: npt.DTypeLike | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> Array | pd.Series | pd.DataFrame:
        """Predictions for an array (sample, step, feature) or a panel.

        Parameters
        ----------
        X : array (sample, step, feature), oldest step first, or DataFrame with a (time, asset) index
            In the units that the network was trained on. A missing value (NaN) makes its sample's prediction NaN. An
            array on a GPU (CuPy, torch, JAX, Numba) is neither moved nor copied, and results stay beside it: as
            Numba's arrays, which ``cupy.asarray`` and ``torch.as_tensor(..., device="cuda")`` read in place.
        steps : int or None
            T of a panel's windows, in periods; may be left out where the network knows it.
        device : {"auto", "cpu", "cuda"}
            "auto" takes a GPU where one answers and there is much to compute, or X is there. CUDA needs the package
            numba-cuda (the extra ``cuda``).
        dtype : float32, float64 or None
            What to compute in; None: float32 if X is, else float64.
        threads : int or None
            Of the CPU; None: Numba's own setting. With a GPU they copy to and from it. Results do not depend on it.
        progress : bool
            Show a progress bar (needs the package tqdm, the extra ``progress``).

        Returns
        -------
        array (sample,) or (sample, output), or for a panel Series or DataFrame
            In the units of the network's target, after the output's activation. For a panel on its own index and in
            its order, NaN where no full window ends.

        Raises
        ------
        ValueError
            If an argument or X is not what the network takes, or CUDA is asked for and does not answer: says what was
            given, what was expected, and where.
        ImportError
            If ``progress`` needs tqdm, which is missing.

        Warns
        -----
        RuntimeWarning
            If ``device="auto"`` chose a GPU that failed, and the CPU computed instead.

        Examples
        --------
        >>> net.predict(X)                                                # doctest: +SKIP
        >>> net.predict(panel, steps=5)                                   # doctest: +SKIP
        """
        from fastlrp.explain import predict

        return predict(self, X, steps=steps, device=device, dtype=dtype, threads=threads, progress=progress)

    def explain(
        self,
        X: Array | pd.DataFrame,
        *,
        rule: str | Rule = "arras",
        steps: int | None = None,
        target: int | str | None = None,
        aggregate: Aggregate = "sequence",
        reduce: Literal["steps"] | None = None,
        device: str = "auto",
        dtype: npt.DTypeLike | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> Relevance:
        """Relevance of every input of every sample, for one output of the network.

        Relevance says how much each feature in each step contributed to the score, which is the output before its
        activation; it is in the score's units, and adds up: ``score = sum of relevance + initial_state +
        unattributed``.

        Parameters
        ----------
        X : array (sample, step, feature), oldest step first, or DataFrame with a (time, asset) index
            In the units that the network was trained on. A sample with a missing value (NaN) is NaN throughout. An
            array on a GPU (CuPy, torch, JAX, Numba) is neither moved nor copied, and results stay beside it.
        rule : "arras", "rudder", Arras or Rudder
            The rule through the LSTMs: by name with its defaults, or with parameters, as ``fl.Arras(delta=1)``.
        steps : int or None
            T of a panel's windows, in periods; may be left out where the network knows it.
        target : int, str or None
            The output to explain, by position or by one of the network's ``outputs``; needed if there are several.
        aggregate : {"sequence", "average", "last"}
            What a lower LSTM gets from the one above: each step its own (conserves), the average over steps at the
            last step, or the most recent step's at the last step. True means "average", False "last".
        reduce : {"steps", None}
            "steps" sums over steps inside the kernel: values are (sample, feature), and nothing larger is made.
        device : {"auto", "cpu", "cuda"}
            "auto" takes a GPU where one answers and there is much to compute, or X is there. CUDA needs the package
            numba-cuda (the extra ``cuda``).
        dtype : float32, float64 or None
            What to compute in; None: float32 if X is, else float64.
        threads : int or None
            Of the CPU; None: Numba's own setting. With a GPU they copy to and from it. Results do not depend on it.
        progress : bool
            Show a progress bar (needs the package tqdm, the extra ``progress``).

        Returns
        -------
        Relevance
            ``values`` (sample, step, feature), or (sample, feature) where reduced; ``prediction``, ``score``,
            ``initial_state`` and ``unattributed``, a number a sample; for a panel a sample is a row of it, in its
            order, and NaN where no full window ends. ``summary()``, ``to_frame()`` and more make tables of it.

        Raises
        ------
        ValueError
            If an argument or X is not what is expected, or CUDA is asked for and does not answer: says what was
            given, what was expected, and where.
        ImportError
            If ``progress`` needs tqdm, which is missing.

        Warns
        -----
        ConservationWarning
            If the rule is Rudder and leaves more than half of the score unattributed, at the median.
        RuntimeWarning
            If ``device="auto"`` chose a GPU that failed, and the CPU computed instead.

        Examples
        --------
        >>> rel = net.explain(panel, rule="arras")                        # doctest: +SKIP
        >>> rel.summary(), rel.to_frame()                                 # doctest: +SKIP
        """
        from fastlrp.explain import explain

        return explain(
            self,
            X,
            rule=rule,
            steps=steps,
            target=target,
            aggregate=aggregate,
            reduce=reduce,
            device=device,
            dtype=dtype,
            threads=threads,
            progress=progress,
        )


def _width(layer: Layer) -> str:
    return f"{layer.rate:g}" if isinstance(layer, Dropout) else str(layer.n_outputs)


def _activations(layer: Layer) -> str:
    if isinstance(layer, Bidirectional):
        return layer.merge_mode
    if isinstance(layer, LSTM):
        return f"{layer.activation}, {layer.recurrent_activation}"
    return layer.activation if isinstance(layer, Dense) else f"rate {layer.rate:g}"
