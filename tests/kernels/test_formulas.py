"""Activations over their whole range, against NumPy in extended precision, in units in the last place."""

import numpy as np
import pytest
from numba import njit, types

from fastlrp.kernels import formulas
from fastlrp.kernels.target import FUSED

#: Units in the last place that a function is off by at most. Without a fused multiply-add each step of a polynomial
#: rounds twice, which adds two: 4.1 were measured for tanh, 5.6 for a product of two activations.
ONE, TWO = (3, 5) if FUSED else (5, 7)

SINGLE, DOUBLE = np.float32, np.float64
DTYPES = pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])


def over(function, x):
    """A scalar formula over an array, compiled as kernels compile it."""

    @njit(error_model="numpy")
    def loop(x, out):
        for k in range(x.size):
            out[k] = function(x[k])

    out = np.empty_like(x)
    loop(x, out)
    return out


def whole_range(dtype, limit):
    """Numbers dense around zero and through the bend, logarithmic from the smallest denormal to the largest."""
    info = np.finfo(dtype)
    small = np.log10(float(info.smallest_subnormal)) + 0.01
    sizes = np.logspace(small, np.log10(limit), 60_001).astype(dtype)
    return np.unique(np.concatenate([np.linspace(-limit, limit, 400_001).astype(dtype), sizes, -sizes]))


def ulps(got, want):
    """Distance from the expected number, in its units in the last place."""
    with np.errstate(under="ignore"):
        unit = np.spacing(np.abs(want).astype(got.dtype)).astype(np.longdouble)
    return np.abs(got.astype(np.longdouble) - want) / unit


@DTYPES
def test_tanh_is_within_some_ulp_everywhere_and_odd(dtype):
    x = whole_range(dtype, 40)
    got = over(formulas.tanh, x)
    assert ulps(got, np.tanh(x.astype(np.longdouble))).max() < ONE
    np.testing.assert_array_equal(over(formulas.tanh, -x), -got)


@DTYPES
def test_sigmoid_is_within_some_ulp_where_it_does_not_vanish(dtype):
    limit = 87 if dtype == SINGLE else 708
    x = whole_range(dtype, limit)
    got = over(formulas.sigmoid, x)
    want = 1 / (1 + np.exp(-x.astype(np.longdouble)))
    normal = want > np.finfo(dtype).smallest_normal
    assert ulps(got, want)[normal].max() < ONE
    assert np.all(np.diff(over(formulas.sigmoid, np.sort(x))) >= -np.spacing(dtype(1)))
    floor = dtype(np.exp(-np.longdouble(limit)))
    np.testing.assert_allclose(over(formulas.sigmoid, np.array([-1e30, -2.0 * limit], dtype)), floor, rtol=1e-5)


@DTYPES
def test_ends_zeros_and_nan(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).min, np.nan], dtype)
    tanh, sigmoid = over(formulas.tanh, x), over(formulas.sigmoid, x)
    np.testing.assert_array_equal(tanh, np.array([0, 0, 1, -1, 1, -1, np.nan], dtype))
    assert np.signbit(tanh[1])
    assert not np.signbit(tanh[0])
    np.testing.assert_array_equal(sigmoid[[0, 1, 2, 4]], np.array([0.5, 0.5, 1, 1], dtype))
    assert np.isnan(sigmoid[6])
    tiny = np.array([np.finfo(dtype).smallest_subnormal, -np.finfo(dtype).smallest_subnormal], dtype)
    np.testing.assert_array_equal(over(formulas.tanh, tiny), tiny)


def gated_both(t, x):
    """tanh(x) and x through a gate of 1/(1 + 2^t)."""

    @njit(error_model="numpy")
    def loop(t, x, one, other):
        for k in range(x.size):
            one[k], other[k] = formulas.gated_tanh(t[k], x[k]), formulas.gated(t[k], x[k])

    one, other = np.empty_like(x), np.empty_like(x)
    loop(t, x, one, other)
    return one, other


@DTYPES
def test_products_of_activations_are_within_some_ulp(dtype):
    rng = np.random.default_rng(0)
    t, x = (rng.uniform(-40, 40, 200_000).astype(dtype) for _ in range(2))
    one, other = gated_both(t, x)
    open_ = 1 / (1 + np.exp2(t.astype(np.longdouble)))
    assert ulps(one, open_ * np.tanh(x.astype(np.longdouble))).max() < TWO
    assert ulps(other, open_ * x.astype(np.longdouble)).max() < 4


@DTYPES
def test_gates_open_and_close_and_let_nan_through(dtype):
    limit, rtol = 125 if dtype == SINGLE else 1021, 4 * np.finfo(dtype).eps
    t = np.array([np.inf, 1e30, limit, -limit, -1e30, -np.inf, 0.0, -0.0, np.nan], dtype)
    shut = np.exp2(-np.longdouble(limit)).astype(dtype)
    _, through = gated_both(t, np.ones_like(t))
    np.testing.assert_allclose(through, np.array([shut] * 3 + [1] * 3 + [0.5] * 2 + [np.nan], dtype), rtol=rtol)
    x = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan], dtype)
    squashed, through = gated_both(np.full_like(x, -np.inf), x)
    np.testing.assert_allclose(squashed, np.tanh(x), rtol=rtol)
    np.testing.assert_allclose(through, x, rtol=rtol)


@DTYPES
def test_formulas_keep_their_type(dtype):
    kind = types.float32 if dtype == SINGLE else types.float64
    for function in (
        formulas.tanh,
        formulas.sigmoid,
        formulas.exp,
        formulas.hard_sigmoid,
        formulas.hard_sigmoid_keras2,
    ):
        wrapped = njit(lambda x, f=function: f(x))
        wrapped(dtype(0.3))
        assert wrapped.nopython_signatures[0].return_type == kind, function.__name__


@DTYPES
def test_hard_sigmoids_are_keras_own(dtype):
    x = np.linspace(-5, 5, 1001).astype(dtype)
    exact = x.astype(np.longdouble)
    atol = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(over(formulas.hard_sigmoid, x), np.clip((exact + 3) / 6, 0, 1), rtol=0, atol=atol)
    np.testing.assert_allclose(
        over(formulas.hard_sigmoid_keras2, x), np.clip(0.2 * exact + 0.5, 0, 1), rtol=0, atol=atol
    )


@DTYPES
def test_negative_zero_counts_as_positive_and_relu_stops_what_is_negative(dtype):
    """The stabiliser's sign at zero is + whatever its bits are; SPEC's s(0) = +1."""
    zeros = np.array([0.0, -0.0, 1e-30, -1e-30], dtype)

    @njit(error_model="numpy")
    def signs(z, out):
        for k in range(z.size):
            out[k] = formulas.signed(z[k], out[k])

    out = np.full(4, 0.5, dtype)
    signs(zeros, out)
    np.testing.assert_array_equal(out, np.array([0.5, 0.5, 0.5, -0.5], dtype))
    np.testing.assert_array_equal(
        over(formulas.relu, np.array([-2, -1e-30, 0, 3, np.nan], dtype)), np.array([0, 0, 0, 3, np.nan], dtype)
    )
