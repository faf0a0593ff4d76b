"""Loops over whole rows of a tile, which inference and training share: copies, sums, activations."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from fastlrp.kernels import formulas
from fastlrp.kernels.lanes import distinct, whole_vectors
from fastlrp.kernels.program.instructions import HARD_SIGMOID, HARD_SIGMOID_KERAS2, RELU, SIGMOID, TANH
from fastlrp.kernels.target import compiled


@compiled
def fill(n, out, value):
    """out = value."""
    for k in range(n):
        out[k] = value


@compiled
def copy(n, source, out):
    """out = source."""
    distinct()
    for k in range(n):
        out[k] = source[k]


@compiled
def add(n, source, out, factor):
    """out += factor * source."""
    distinct()
    for k in range(n):
        out[k] += factor * source[k]


@compiled
def multiply(n, source, out):
    """out *= source."""
    distinct()
    for k in range(n):
        out[k] *= source[k]


@compiled
def scale(n, out, factor):
    """out *= factor."""
    for k in range(n):
        out[k] *= factor


@compiled
def add_rows(units, lanes, rows, total):
    """total += the sum of ``units`` rows, lane by lane."""
    distinct()
    for j in range(units):
        for k in range(lanes):
            total[k] += rows[j * lanes + k]


@compiled
def activate(code, n, source, out):
    """An activation over whole rows; source and out may be the same rows, so this does not promise ``distinct``."""
    whole_vectors()
    if code == TANH:
        for k in range(n):
            out[k] = formulas.tanh(source[k])
    elif code == SIGMOID:
        for k in range(n):
            out[k] = formulas.sigmoid(source[k])
    elif code == RELU:
        for k in range(n):
            out[k] = formulas.relu(source[k])
    elif code == HARD_SIGMOID:
        for k in range(n):
            out[k] = formulas.hard_sigmoid(source[k])
    elif code == HARD_SIGMOID_KERAS2:
        for k in range(n):
            out[k] = formulas.hard_sigmoid_keras2(source[k])
    else:
        for k in range(n):
            out[k] = source[k]


@compiled
def softmax(units, lanes, source, out):
    """Softmax over units, lane by lane, shifted by the largest so that nothing overflows."""
    for k in range(lanes):
        top = source[k]
        for j in range(1, units):
            top = max(top, source[j * lanes + k])
        total = top - top
        for j in range(units):
            value = formulas.exp(source[j * lanes + k] - top)
            out[j * lanes + k] = value
            total += value
        for j in range(units):
            out[j * lanes + k] /= total
