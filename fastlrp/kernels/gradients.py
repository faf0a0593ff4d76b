"""Formulas of training, once, for one number at a time: cells that keep what their gradient needs, and the gradients.

The rules are those of ``formulas``: one dtype in and out, constants made from an argument's own type.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels.formulas import sigmoid, tanh
from fastlrp.kernels.lanes import fma
from fastlrp.kernels.target import inlined


@inlined
def gates(zi, zf, zg, zo, c):
    """One step of one unit with tanh and sigmoid: i, f, g, o, the new c, tanh(c), h."""
    i, f, g, o = sigmoid(zi), sigmoid(zf), tanh(zg), sigmoid(zo)
    cell = fma(f, c, i * g)
    t = tanh(cell)
    return i, f, g, o, cell, t, o * t


@inlined
def gates_gradient(i, f, g, o, c, t, dh, dc):
    """dz of the four gates and dc of the step before, from dh and dc of this step; ``c`` is the step before's."""
    one = type(i)(1)
    dc = fma(dh * o, fma(-t, t, one), dc)
    return (
        dc * g * (i * (one - i)),
        dc * c * (f * (one - f)),
        dc * i * fma(-g, g, one),
        dh * t * (o * (one - o)),
        dc * f,
    )


@inlined
def gru_gates(zz, zr, into, past, h):
    """One step of one unit of a GRU with tanh and sigmoid, reset after the product: z, r, the candidate, the new h."""
    z, r = sigmoid(zz), sigmoid(zr)
    g = tanh(fma(r, past, into))
    return z, r, g, fma(z, h - g, g)


@inlined
def gru_update_gradient(z, g, h, dh):
    """dz of the gate z and of the candidate, and the part of dh that h of the step before, ``h``, gets through z."""
    one = type(z)(1)
    return dh * (h - g) * (z * (one - z)), dh * (one - z) * fma(-g, g, one), dh * z


@inlined
def adam(w, gradient, m, v, rate, beta_1, beta_2, epsilon):
    """Kingma & Ba 2015 as Keras writes it: ``rate`` holds both bias corrections, and epsilon is outside them."""
    one = type(w)(1)
    m = fma(gradient - m, one - beta_1, m)
    v = fma(fma(gradient, gradient, -v), one - beta_2, v)
    return w - rate * m / (np.sqrt(v) + epsilon), m, v


@inlined
def mixed(x):
    """Scatter a 32-bit number by two multiply-xorshift rounds (Wellons' "lowbias32" constants), a bijection."""
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@inlined
def scattered(x):
    """Scatter a 64-bit number by the output function of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = np.uint64(x + np.uint64(0x9E3779B97F4A7C15))
    x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    return np.uint64(x ^ (x >> np.uint64(31)))
