"""What LSTMRegressor's parameters may be: one table, one sentence for each that is not."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlrp.rules import as_rule
from fastlrp.training import Architecture

if TYPE_CHECKING:
    from fastlrp.estimator import LSTMRegressor

LOSSES = ("squared_error", "absolute_error", "huber")


def _real(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and bool(np.isfinite(float(value)))


def _whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _positive_whole(value: Any) -> bool:
    return _whole(value) and value >= 1


def _positive(value: Any) -> bool:
    return _real(value) and value > 0


def _not_negative(value: Any) -> bool:
    return _real(value) and value >= 0


def _share(value: Any) -> bool:
    return _real(value) and 0 <= value < 1


def _flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _none_or(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _sizes(value: Any) -> bool:
    return isinstance(value, tuple | list | np.ndarray) and all(map(_positive_whole, value))


_WHOLE = "a whole number of at least 1"
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "units": (lambda value: _sizes(value) and len(value) > 0, "a tuple of whole numbers of at least 1, one a layer"),
    "dense_units": (_sizes, "a tuple of whole numbers of at least 1, one a layer"),
    "bidirectional": (_flag, "True or False"),
    "dropout": (_share, "a number from 0 to below 1"),
    "alpha": (_not_negative, "a number of at least 0"),
    "steps": (_none_or(_positive_whole), f"{_WHOLE}, or None"),
    "batch_size": (_positive_whole, _WHOLE),
    "learning_rate_init": (_positive, "a positive number"),
    "max_iter": (_positive_whole, _WHOLE),
    "shuffle": (_flag, "True or False"),
    "tol": (_not_negative, "a number of at least 0"),
    "early_stopping": (_flag, "True or False"),
    "validation_fraction": (lambda value: _share(value) and value > 0, "a number between 0 and 1"),
    "n_iter_no_change": (lambda value: _positive_whole(value) or value == np.inf, f"{_WHOLE}, or infinity"),
    "warm_start": (_flag, "True or False"),
    "dtype": (lambda value: _dtype_name(value) in ("float32", "float64"), "'float32' or 'float64'"),
    "device": (lambda value: value in ("auto", "cpu", "cuda"), "'auto', 'cpu' or 'cuda'"),
    "loss": (lambda value: value in LOSSES, ", ".join(map(repr, LOSSES))),
    "huber_delta": (_positive, "a positive number"),
    "clipnorm": (_none_or(_positive), "a positive number, or None"),
    "beta_1": (_share, "a number from 0 to below 1"),
    "beta_2": (_share, "a number from 0 to below 1"),
    "epsilon": (_positive, "a positive number"),
    "threads": (_none_or(_positive_whole), f"{_WHOLE}, or None"),
}


def check_parameters(model: LSTMRegressor) -> None:
    """Refuse parameters that no network can be trained with.

    Raises
    ------
    ValueError
        Naming the parameter, what it takes, and what was given.
    """
    for name, (check, takes) in _CHECKS.items():
        value = getattr(model, name)
        if not check(value):
            raise ValueError(f"{type(model).__name__}({name}=...) takes {takes}, not {value!r}")
    as_rule(model.rule)


def architecture_of(model: LSTMRegressor) -> Architecture:
    """The network that the parameters ask for."""
    units, dense = (tuple(map(int, sizes)) for sizes in (model.units, model.dense_units))
    return Architecture(units, dense, bool(model.bidirectional), float(model.dropout))


def _dtype_name(value: Any) -> str:
    try:
        return str(np.dtype(value).name)
    except TypeError:
        return ""
