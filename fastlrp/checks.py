"""Checks of arguments: one table of parameters by name, and the message for a value that a parameter does not take."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

#: Activations of hidden Dense layers that are trained; softmax is for outputs.
ACTIVATIONS = (
    "linear", "relu", "tanh", "sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "leaky_relu", "relu6", "elu", "selu",
    "silu", "gelu", "gelu_tanh", "softplus", "softsign", "exponential",
)  # fmt: skip
LOSSES = ("squared_error", "absolute_error", "huber")


class Constraint(NamedTuple):
    """The values that a parameter takes: a test, and its wording."""

    holds: Callable[[Any], bool]
    takes: str
    optional: bool = False  # None is allowed too


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_) and bool(value >= least)
    )


def _real(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))


def _flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _sizes(value: Any) -> bool:
    return isinstance(value, tuple | list | np.ndarray) and all(map(_whole(1), value))


def _dtype_name(value: Any) -> str:
    try:
        return str(np.dtype(value).name)
    except TypeError:
        return ""


def _one_of(choices: Sequence[object], *, optional: bool = False) -> Constraint:
    words = [repr(choice) for choice in choices]
    holds = lambda value: isinstance(value, str) and value in choices  # noqa: E731
    return Constraint(holds, f"{', '.join(words[:-1])} or {words[-1]}", optional)


_SIZES = "a tuple of whole numbers of at least 1, one a layer"
_FLAG = Constraint(_flag, "True or False")
_COUNT = Constraint(_whole(1), "a whole number of at least 1")
_NUMBER = Constraint(lambda value: _real(value) and value >= 0, "a number of at least 0")
_POSITIVE = Constraint(lambda value: _real(value) and value > 0, "a positive number")
_SHARE = Constraint(lambda value: _real(value) and 0 <= value < 1, "a number from 0 to below 1")

#: Every parameter that takes a number, a name or a flag; a parameter's name means the same everywhere.
PARAMETERS: dict[str, Constraint] = {
    # networks
    "units": Constraint(lambda value: _sizes(value) and len(value) > 0, _SIZES),
    "dense_units": Constraint(_sizes, _SIZES),
    "dense_activation": _one_of(ACTIVATIONS),
    "bidirectional": _FLAG,
    "dropout": _SHARE,
    "steps": _COUNT._replace(optional=True),
    "min_steps": _COUNT._replace(optional=True),
    # training
    "alpha": _NUMBER,
    "batch_size": _COUNT,
    "learning_rate_init": _POSITIVE,
    "learning_rate": _POSITIVE,
    "max_iter": _COUNT,
    "shuffle": _FLAG,
    "tol": _NUMBER,
    "early_stopping": _FLAG,
    "validation_fraction": Constraint(lambda value: _real(value) and 0 < value < 1, "a number between 0 and 1"),
    "n_iter_no_change": Constraint(
        lambda value: _whole(1)(value) or value == np.inf, "a whole number of at least 1, or infinity"
    ),
    "warm_start": _FLAG,
    "loss": _one_of(LOSSES),
    "huber_delta": _POSITIVE,
    "clipnorm": _POSITIVE._replace(optional=True),
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "epsilon": _POSITIVE,
    "n_members": _COUNT,
    # precision, device and threads
    "dtype": Constraint(lambda value: _dtype_name(value) in ("float32", "float64"), "'float32' or 'float64'", True),
    "device": _one_of(("auto", "cpu", "cuda")),
    "threads": _COUNT._replace(optional=True),
    # rolling
    "window": _COUNT,
    "expanding": _FLAG,
    "step": _COUNT,
    "gap": Constraint(_whole(0), "a whole number of at least 0"),
    "validation": _COUNT._replace(optional=True),
    "scaler": _one_of(("standard", "minmax"), optional=True),
    # splits
    "n_splits": _COUNT,
    "embargo": Constraint(_whole(0), "a whole number of at least 0"),
    "test_size": _COUNT._replace(optional=True),
    # statistics of relevance
    "n": _COUNT,
    "horizon": _COUNT,
    "statistic": _one_of(("abs", "mean", "share")),
    "by": _one_of(("feature", "step", "both")),
    "level": Constraint(lambda value: _real(value) and 0 < value <= 1, "a number above 0 and at most 1"),
    # evidence
    "points": _COUNT,
    "n_random": _COUNT,
    "radius": _POSITIVE._replace(optional=True),
    "n_samples": _COUNT._replace(optional=True),
    "top": _COUNT._replace(optional=True),
}


def check(name: str, value: Any, of: str | None = None, *, required: bool = False) -> None:
    """Refuse a value that a parameter does not take.

    Parameters
    ----------
    name : str
        A key of ``PARAMETERS``.
    value
        The value given for it.
    of : str or None
        The class that the parameter belongs to; None for an argument of a method.
    required : bool
        Refuse None, even if the parameter is optional elsewhere.

    Raises
    ------
    ValueError
        If the value is refused. The message names the parameter, what it takes, and what was given.
    """
    holds, takes, optional = PARAMETERS[name]
    optional = optional and not required
    if (optional and value is None) or holds(value):
        return
    where = f"{name}=" if of is None else f"{of}({name}=...)"
    raise ValueError(f"{where} takes {takes}{', or None' if optional else ''}, not {value!r}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of an argument's choices, as :func:`check` does."""
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"{name}= takes {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}, not {value!r}")


def as_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """float32 or float64, the two that kernels are compiled for.

    Raises
    ------
    ValueError
        If it is any other dtype.
    """
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype= takes float32 or float64, not {dtype!r}")
    return kind
