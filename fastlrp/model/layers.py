"""Layers as frozen values that hold checked, read-only arrays.

Nothing here computes. Shapes are checked once, when a value is made; all later code relies on that.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fastlrp.messages import count, foreign_network
from fastlrp.objects import as_array

Array = npt.NDArray[Any]
MergeMode = Literal["concat", "sum", "ave"]

#: Activations of the gates and the signals of an LSTM or a GRU. ``hard_sigmoid`` is Keras 3's relu6(x + 3)/6,
#: ``hard_sigmoid_keras2`` is clip(0.2 x + 0.5, 0, 1), the default recurrent activation of old Keras files.
LSTM_ACTIVATIONS = ("tanh", "sigmoid", "relu", "linear", "hard_sigmoid", "hard_sigmoid_keras2")
#: Activations of a Dense layer beside those; ``gelu`` is the exact one, ``gelu_tanh`` its approximation by tanh. Those
#: with a parameter ``alpha`` have it in ``ALPHAS``, with Keras' value where none is given.
CURVES = (
    "leaky_relu", "relu6", "elu", "selu", "silu", "gelu", "gelu_tanh", "softplus", "softsign", "exponential",
)  # fmt: skip
ALPHAS = {"leaky_relu": 0.2, "elu": 1.0}
#: Activations of a Dense layer; softmax only in a network's last layer.
DENSE_ACTIVATIONS = (*LSTM_ACTIVATIONS, "softmax", *CURVES)


def _weights(value: object, ndim: int | None, where: str) -> Array:
    """A read-only float32 or float64 copy of an array of weights; the error says why a value is not one."""
    if (foreign := foreign_network(value)) is not None:
        raise ValueError(f"{where} must be an array of numbers, not {foreign}")
    array = as_array(value, where, "an array of numbers")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where} must be an array of real numbers, not of dtype {array.dtype}")
    dtype = np.float32 if array.dtype in (np.float16, np.float32) else np.float64
    array = np.array(array, dtype=dtype, order="C")
    if ndim is not None and array.ndim != ndim:
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


def _alpha(value: object, activation: str, me: str) -> float | None:
    """The parameter of an activation: Keras' own where None is given, None where it has none."""
    if activation not in ALPHAS:
        if value is not None:
            takers = " and ".join(ALPHAS)
            raise ValueError(f"{me}: alpha={value!r} was given, but {activation} has no parameter: {takers} have one")
        return None
    if value is None:
        return ALPHAS[activation]
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < float("inf"):
        raise ValueError(f"{me}: alpha takes a finite number of at least 0, not {value!r}")
    return float(value)


def _flag(value: object, where: str) -> None:
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{where} takes True or False, not {value!r}")


class _Layer:
    """The base of all layers: a name for messages, and the arrays that a layer holds."""

    name: str | None

    @property
    def kind(self) -> str:
        """The name of the layer's class, as users know it."""
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

    __hash__ = None  # type: ignore[assignment]  # arrays are compared by value, so it is not hashable

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a layer of a pickle's fields, the constructor's arguments, anew: its arrays are then read-only again."""
        type(self).__init__(self, **state)

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


class _Recurrent(_Layer):
    """The base of recurrent layers: weights of all gates side by side, W (D, gates*H) and U (H, gates*H)."""

    W: Array
    U: Array
    b: Array | None

    def _check(self, me: str, gates: int) -> None:
        """Hold W and U, checked, and check the options that all recurrent layers have."""
        W, U = _weights(self.W, 2, f"{me}: W"), _weights(self.U, 2, f"{me}: U")
        H = U.shape[0]
        if U.shape != (H, gates * H):
            raise ValueError(f"{me}: U has shape {U.shape}, expected (H, {gates}H) with H units")
        if W.shape[1] != gates * H:
            raise ValueError(f"{me}: W has shape {W.shape}, expected (D, {gates * H}) since U has {count(H, 'unit')}")
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "U", U)
        for key in ("return_sequences", "go_backwards"):
            _flag(getattr(self, key), f"{me}: {key}")
        for key in ("activation", "recurrent_activation"):
            _choice(getattr(self, key), LSTM_ACTIVATIONS, f"{me}: {key}")

    @property
    def n_inputs(self) -> int:
        """D, the number of features per step."""
        return int(self.W.shape[0])

    @property
    def units(self) -> int:
        """H, the number of units."""
        return int(self.U.shape[0])

    n_outputs = units

    @property
    def arrays(self) -> tuple[Array, ...]:
        """W, U and, where there is one, b."""
        return (self.W, self.U) if self.b is None else (self.W, self.U, self.b)


@dataclass(frozen=True, eq=False, repr=False)
class LSTM(_Recurrent):
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
        Pass on h of every step instead of only the last one.
    go_backwards : bool
        Read the steps newest first, as Keras' option of that name does; sequences then come out in that order.
    activation, recurrent_activation : str
        Activations of the signals g and tanh(c), and of the three gates; see ``LSTM_ACTIVATIONS``.
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
        self._check(me, 4)
        object.__setattr__(self, "b", _bias(self.b, 4 * self.units, f"{me}: b"))


@dataclass(frozen=True, eq=False, repr=False)
class GRU(_Recurrent):
    """A gated recurrent unit layer (Cho et al. 2014) with Keras' gate order: update z, reset r, candidate h.

    With sigmoid gates z and r, a step is h_t = z*h_{t-1} + (1-z)*tanh(zh), where the candidate's pre-activation zh is::

        x_t Wh + bh + r*(h_{t-1} Uh + rh)          reset_after=True, b = [[bz, br, bh], [rz, rr, rh]]
        x_t Wh + bh + (r*h_{t-1}) Uh               reset_after=False, b = [bz, br, bh]

    Parameters
    ----------
    W : array (D, 3H)
        Input weights ("kernel").
    U : array (H, 3H)
        Recurrent weights ("recurrent_kernel").
    b : array (2, 3H), or (3H,) with ``reset_after=False``, or None
        Biases: of the input and of the recurrent weights, which differ only for the candidate.
    reset_after : bool
        Whether the reset gate works after the product with U, as in Keras since 2.0 and in cuDNN, or before it, as
        published.
    return_sequences, go_backwards : bool
        As an :class:`LSTM`'s.
    activation, recurrent_activation : str
        Activations of the candidate, and of the two gates; see ``LSTM_ACTIVATIONS``.
    name : str or None
        Used in messages and summaries.

    Raises
    ------
    ValueError
        If shapes disagree or a weight is not finite.

    References
    ----------
    Cho et al. 2014 (arXiv:1406.1078); Keras' documentation of GRU for ``reset_after``.
    """

    W: Array
    U: Array
    b: Array | None = None
    reset_after: bool = True
    return_sequences: bool = False
    go_backwards: bool = False
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    name: str | None = None

    def __post_init__(self) -> None:
        me = f"GRU {self.name!r}" if self.name else "GRU"
        _flag(self.reset_after, f"{me}: reset_after")
        self._check(me, 3)
        size = 3 * self.units
        if self.b is None or not self.reset_after:
            object.__setattr__(self, "b", _bias(self.b, size, f"{me}: b"))
            return
        b = _weights(self.b, None, f"{me}: b")
        if b.shape != (2, size):
            raise ValueError(
                f"{me}: b has shape {b.shape}, expected (2, {size}), biases of W and of U: reset_after=True has both"
            )
        object.__setattr__(self, "b", b)


#: Layers that carry a state from step to step.
Recurrent = LSTM | GRU
RECURRENT = (LSTM, GRU)


@dataclass(frozen=True, eq=False, repr=False)
class Bidirectional(_Layer):
    """Two LSTMs, or two GRUs, over the same input, the second on the reversed sequence.

    Parameters
    ----------
    forward, backward : LSTM or GRU
        Of one kind, with the same inputs, units and ``return_sequences``. ``backward`` may set ``go_backwards`` or not:
        it always reads the sequence reversed, and sequences are merged in the order of the input.
    merge_mode : {"concat", "sum", "ave"}
        How their outputs are merged.
    name : str or None
        Used in messages and summaries.
    """

    forward: Recurrent
    backward: Recurrent
    merge_mode: MergeMode = "concat"
    name: str | None = None

    def __post_init__(self) -> None:
        me = f"Bidirectional {self.name!r}" if self.name else "Bidirectional"
        for key in ("forward", "backward"):
            if not isinstance(getattr(self, key), Recurrent):
                raise ValueError(f"{me}: {key} must be an LSTM or a GRU, not {type(getattr(self, key)).__name__}")
        kinds = self.forward.kind, self.backward.kind
        if kinds[0] != kinds[1]:
            raise ValueError(f"{me}: takes two layers of one kind, not {kinds[0]} forward and {kinds[1]} backward")
        for key in ("n_inputs", "units", "return_sequences"):
            one, other = getattr(self.forward, key), getattr(self.backward, key)
            if one != other:
                raise ValueError(f"{me}: {key} of the two {kinds[0]}s differ: {one} forward, {other} backward")
        if self.forward.go_backwards:
            raise ValueError(f"{me}: the forward {kinds[0]} has go_backwards=True; give it as the backward one")
        _choice(self.merge_mode, ("concat", "sum", "ave"), f"{me}: merge_mode")

    @property
    def return_sequences(self) -> bool:
        """Whether h of every step is passed on."""
        return self.forward.return_sequences

    @property
    def n_inputs(self) -> int:
        """D, the number of features per step."""
        return self.forward.n_inputs

    @property
    def n_outputs(self) -> int:
        """2H for concat, H otherwise."""
        return self.forward.units * (2 if self.merge_mode == "concat" else 1)

    @property
    def arrays(self) -> tuple[Array, ...]:
        """The weights of both directions."""
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
    alpha : float or None
        The slope of "leaky_relu" below zero (None: 0.2), or minus the limit of "elu" there (None: 1); other
        activations have none.
    """

    W: Array
    b: Array | None = None
    activation: str = "linear"
    name: str | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        me = f"Dense {self.name!r}" if self.name else "Dense"
        W = _weights(self.W, 2, f"{me}: W")
        object.__setattr__(self, "W", W)
        object.__setattr__(self, "b", _bias(self.b, W.shape[1], f"{me}: b"))
        _choice(self.activation, DENSE_ACTIVATIONS, f"{me}: activation")
        object.__setattr__(self, "alpha", _alpha(self.alpha, self.activation, me))

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
    """Dropout: the identity at inference; kept so that a network stays the one that the user trained.

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


@dataclass(frozen=True, eq=False, repr=False)
class Masking(_Layer):
    """Steps to skip: where every feature equals a value, recurrent layers above carry their state on, as in Keras.

    It is a network's first layer, and has no weights. A skipped step changes nothing: predictions and relevance are
    those of the window without it, and its own relevance is zero. Networks that have one explain short histories of a
    panel, too: ``min_steps`` of :meth:`fastlrp.Network.explain`.

    Parameters
    ----------
    value : float
        The value of all features of a step to skip, compared in float32, as Keras does.
    name : str or None
        Used in messages and summaries.

    Raises
    ------
    ValueError
        If the value is no finite number of float32.
    """

    value: float = 0.0
    name: str | None = None

    def __post_init__(self) -> None:
        value = self.value
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if not number or not abs(float(value)) <= float(np.finfo(np.float32).max):
            raise ValueError(f"Masking: value takes a finite number, not {value!r}")
        object.__setattr__(self, "value", float(value))


Layer = LSTM | GRU | Bidirectional | Dense | Dropout | Masking
#: Layers that compute nothing at inference: programs leave them out.
WEIGHTLESS = (Dropout, Masking)
