"""Loops over whole rows of a tile for activations of ``kernels/curves.py``, which inference and training share."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from fastlrp.kernels import curves, formulas
from fastlrp.kernels.lanes import distinct
from fastlrp.kernels.program.instructions import (
    ELU,
    EXPONENTIAL,
    GELU,
    GELU_TANH,
    LEAKY_RELU,
    RELU6,
    SELU,
    SILU,
    SOFTPLUS,
    SOFTSIGN,
)
from fastlrp.kernels.target import compiled


@compiled
def curve(code, n, source, out, alpha):
    """out = the activation with that code, and its parameter, of source."""
    distinct()
    one, two = curves.parameters(code, alpha)
    if code in (LEAKY_RELU, RELU6):
        for k in range(n):
            out[k] = curves.bent(source[k], one, two)
    elif code in (ELU, SELU):
        for k in range(n):
            out[k] = curves.elu(source[k], one, two)
    elif code in (SILU, GELU_TANH):
        for k in range(n):
            out[k] = curves.gated_by_itself(source[k], one, two)
    elif code == SOFTPLUS:
        for k in range(n):
            out[k] = curves.softplus(source[k])
    elif code == SOFTSIGN:
        for k in range(n):
            out[k] = curves.softsign(source[k])
    elif code == GELU:
        for k in range(n):
            out[k] = curves.gelu(source[k])
    elif code == EXPONENTIAL:
        for k in range(n):
            out[k] = curves.exponential(source[k])


@compiled
def curve_slope(code, n, source, gradient, alpha):
    """gradient *= the activation's derivative at source."""
    distinct()
    one, two = curves.parameters(code, alpha)
    if code in (LEAKY_RELU, RELU6):
        for k in range(n):
            gradient[k] *= curves.bent_slope(source[k], one, two)
    elif code in (ELU, SELU):
        for k in range(n):
            gradient[k] *= curves.elu_slope(source[k], one, two)
    elif code in (SILU, GELU_TANH):
        for k in range(n):
            gradient[k] *= curves.gated_by_itself_slope(source[k], one, two)
    elif code == SOFTPLUS:
        for k in range(n):
            gradient[k] *= formulas.sigmoid(source[k])
    elif code == SOFTSIGN:
        for k in range(n):
            gradient[k] *= curves.softsign_slope(source[k])
    elif code == GELU:
        for k in range(n):
            gradient[k] *= curves.gelu_slope(source[k])
    elif code == EXPONENTIAL:
        for k in range(n):
            gradient[k] *= curves.exponential(source[k])
