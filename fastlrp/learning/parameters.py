"""LSTMRegressor's parameters: checked by the table in ``checks.py``, and the network that they describe."""

from __future__ import annotations

from typing import Any

from fastlrp.checks import PARAMETERS, check
from fastlrp.learning.training import Architecture
from fastlrp.rules import as_rule


def check_parameters(model: Any) -> None:
    """Refuse parameters that no network can be trained with.

    Raises
    ------
    ValueError
        If one is refused. The message names the parameter, what it takes, and what was given.
    """
    for name, value in model.get_params(deep=False).items():
        if name in PARAMETERS:
            check(name, value, type(model).__name__)
    as_rule(model.rule)


def architecture_of(model: Any) -> Architecture:
    """The network that the parameters describe."""
    units, dense = (tuple(map(int, sizes)) for sizes in (model.units, model.dense_units))
    return Architecture(units, dense, bool(model.bidirectional), float(model.dropout))
