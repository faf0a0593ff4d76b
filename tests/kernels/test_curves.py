"""Curves over their whole range, against the exact functions in extended precision, in units in the last place."""

import math

import numpy as np
import pytest
from numba import njit, types

from fastlrp.kernels import curves
from fastlrp.kernels.cpu.curves import curve, curve_slope
from fastlrp.kernels.lanes import at
from fastlrp.kernels.program.instructions import CURVES

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
NAMES = pytest.mark.parametrize("name", CURVES)
ALPHA = 0.3


@njit(error_model="numpy")
def _run(code, x, out, alpha, back):
    if back:
        curve_slope(code, x.size, at(x, 0), at(out, 0), alpha)
    else:
        curve(code, x.size, at(x, 0), at(out, 0), alpha)


def computed(name, x, *, slope=False):
    """A curve, or its slope, as kernels compute it."""
    out = np.ones_like(x)
    _run(CURVES.index(name), x, out, x.dtype.type(ALPHA), slope)
    return out


def whole_range(dtype, limit):
    """Numbers dense around zero and through the bend, logarithmic down to the smallest normal number."""
    sizes = np.logspace(np.log10(float(np.finfo(dtype).smallest_normal)) + 0.01, np.log10(limit), 20_001).astype(dtype)
    return np.unique(np.concatenate([np.linspace(-limit, limit, 100_001).astype(dtype), sizes, -sizes]))


def _normal(x):
    """The normal distribution, by libm's erfc (below 1 ulp) at the double nearest to -x/sqrt(2) and its slope there."""
    t = -x / np.sqrt(np.longdouble(2))
    near = t.astype(float)
    slope = -2 / np.sqrt(np.arccos(np.longdouble(-1))) * np.exp(-(near.astype(np.longdouble) ** 2))
    return (np.array([math.erfc(v) for v in near], np.longdouble) + slope * (t - near)) / 2


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def exact(name, x, dtype):
    """The curve and its slope in extended precision, at numbers and with a parameter of the dtype."""
    x, alpha = x.astype(np.longdouble), np.longdouble(dtype(ALPHA))
    below, L = np.exp(np.minimum(x, 0)), np.longdouble
    with np.errstate(over="ignore"):
        match name:
            case "leaky_relu":
                return np.where(x < 0, alpha * x, x), np.where(x > 0, L(1), alpha)
            case "relu6":
                return np.clip(x, 0, 6), np.where((x > 0) & (x < 6), L(1), L(0))
            case "elu":
                return np.where(x < 0, alpha * np.expm1(x), x), np.where(x < 0, alpha * below, L(1))
            case "selu":
                scale = L("1.0507009873554804934193349852946")
                alpha = scale * L("1.6732632423543772848170429916717")
                return np.where(x < 0, alpha * np.expm1(x), scale * x), np.where(x < 0, alpha * below, scale)
            case "silu":
                return x * _sigmoid(x), _sigmoid(x) * (1 + x * _sigmoid(-x))
            case "gelu":
                bell = np.exp(-x * x / 2) / np.sqrt(2 * np.arccos(L(-1)))
                return x * _normal(x), _normal(x) + x * bell
            case "gelu_tanh":
                a = 2 * np.sqrt(2 / np.arccos(L(-1)))
                b = a * L("0.044715")
                v = x * (a + b * x * x)
                return x * _sigmoid(v), _sigmoid(v) * (1 + x * _sigmoid(-v) * (a + 3 * b * x * x))
            case "softplus":
                return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), _sigmoid(x)
            case "softsign":
                return x / (1 + np.abs(x)), 1 / (1 + np.abs(x)) ** 2
            case "exponential":
                return np.exp(x), np.exp(x)
    raise AssertionError(name)


#: Largest errors in units in the last place of the exact number: of the value, and of the slope where it does not
#: cancel (silu's and gelu's pass through zero: there in units of 1). gelu_tanh's argument is rounded before e^x, which
#: multiplies that error by its size.
ULPS = {"selu": 5, "gelu": 8, "gelu_tanh": 5, "exponential": 5}
REACH = {np.float32: 80, np.float64: 650}  # e^x stays a normal number


@DTYPES
@NAMES
def test_a_curve_and_its_slope_are_within_a_few_ulp(name, dtype):
    reach = REACH[dtype]
    if name == "gelu":
        reach = math.sqrt(2 * reach) - 0.5
    if name == "gelu_tanh":
        reach = 9 if dtype == np.float32 else 20
    x = whole_range(dtype, reach)
    want, slope = exact(name, x, dtype)
    tiny = np.abs(want) < 4 * np.finfo(dtype).smallest_normal
    with np.errstate(under="ignore"):
        unit = np.spacing(np.abs(want).astype(dtype)).astype(np.longdouble)
    size = np.ones_like(want) if name != "gelu_tanh" else 1 + np.abs(x.astype(np.longdouble) ** 3) / 10
    error = np.abs(computed(name, x).astype(np.longdouble) - want) / unit / size
    assert error[~tiny].max() < ULPS.get(name, 4)
    near = np.maximum(np.abs(slope), 1 if name in ("silu", "gelu", "gelu_tanh") else np.finfo(dtype).smallest_normal)
    error = np.abs(computed(name, x, slope=True).astype(np.longdouble) - slope) / near / np.finfo(dtype).eps
    assert error.max() < 6


@DTYPES
@NAMES
def test_ends_and_nan(name, dtype):
    largest = np.finfo(dtype).max
    x = np.array([np.inf, largest, -largest, -np.inf, np.nan, 0.0], dtype)
    got = computed(name, x)
    assert np.isnan(got[4])
    assert np.isnan(computed(name, x)).sum() == 1
    top = {"relu6": 6.0, "softsign": 1.0}.get(name)
    np.testing.assert_array_equal(got[0], dtype(np.inf if top is None else top))
    bottom = {"leaky_relu": -np.inf, "elu": -ALPHA, "softsign": -1.0, "selu": -curves.SELU_ALPHA}
    np.testing.assert_allclose(got[3], dtype(bottom.get(name, 0.0)), rtol=1e-6, atol=1e-35)
    np.testing.assert_allclose(got[5], {"softplus": np.log(2), "exponential": 1.0}.get(name, 0.0), rtol=1e-6)


@DTYPES
def test_formulas_keep_their_type(dtype):
    kind, x = types.float32 if dtype == np.float32 else types.float64, dtype(0.3)
    for function in (
        curves.expm1, curves.softplus, curves.softsign, curves.softsign_slope, curves.gelu, curves.gelu_slope,
        curves.exponential,
    ):  # fmt: skip
        wrapped = njit(lambda x, f=function: f(x))
        wrapped(x)
        assert wrapped.nopython_signatures[0].return_type == kind, function.__name__
    for function in (
        curves.bent, curves.bent_slope, curves.elu, curves.elu_slope, curves.gated_by_itself,
        curves.gated_by_itself_slope,
    ):  # fmt: skip
        wrapped = njit(lambda x, a, b, f=function: f(x, a, b))
        wrapped(x, x, x)
        assert wrapped.nopython_signatures[0].return_type == kind, function.__name__
