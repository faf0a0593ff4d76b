"""Every activation, gate and rule formula, once, for one number at a time.

Kernels own loops, memory and order; what is computed for one unit of one sample stands here and is shared by all
backends. Functions take and give numbers of one dtype; a bare ``1.0`` would turn float32 arithmetic into float64, so
constants are made from an argument's own type. Products that must not depend on what a compiler contracts are written
with ``fma``, so that a sample's bits do not depend on its place in a batch.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np
from numba import config, njit, types
from numba.extending import overload

from fastlrp.kernels.lanes import copysign, fma

#: Inlined always: a formula that stays a call keeps the loop around it from becoming a vector loop.
_inlined = njit(error_model="numpy", forceinline=True)
_S = np.float32

# expm1(r) = r + r^2 Q(r) on |r| <= ln(2)/2; Chebyshev fits of Q, relative error 2.6e-8 and 4e-17 before rounding.
# ln 2 is split so that n * LN2_HI is exact for every n that occurs.
_Q32 = tuple(_S(c) for c in (0.5, 0.16666576, 0.041666556, 0.008363179, 0.0013926184))
_Q64 = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662413,
    0.008333333333330062,
    0.0013888888917213717,
    0.00019841269863053618,
    2.4801521295954376e-05,
    2.7557268459997064e-06,
    2.7620088445409746e-07,
    2.510038549551032e-08,
)
_LOG2E32, _LN2_HI32, _LN2_LO32 = _S(1.4426950408889634), _S(0.693145751953125), _S(1.428606765330187e-06)
_LOG2E64, _LN2_HI64, _LN2_LO64 = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
#: Adding it rounds to a whole number and leaves that number in the low bits.
_ROUND32, _ROUND64 = _S(12582912.0), 6755399441055744.0
_ONE32, _ONE64 = np.int32(1065353216), np.int64(4607182418800017408)


def _expm1_single(x):
    """2^n and expm1(r) with x = n ln 2 + r, |x| <= 88, float32."""
    k = fma(x, _LOG2E32, _ROUND32)
    n = k - _ROUND32
    r = fma(n, -_LN2_LO32, fma(n, -_LN2_HI32, x))
    q = fma(fma(fma(fma(_Q32[4], r, _Q32[3]), r, _Q32[2]), r, _Q32[1]), r, _Q32[0])
    scale = np.int32((np.float32(k).view(np.int32) << np.int32(23)) + _ONE32).view(np.float32)
    return scale, fma(r * r, q, r)


def _expm1_double(x):
    """2^n and expm1(r) with x = n ln 2 + r, |x| <= 708, float64."""
    k = fma(x, _LOG2E64, _ROUND64)
    n = k - _ROUND64
    r = fma(n, -_LN2_LO64, fma(n, -_LN2_HI64, x))
    q = fma(fma(fma(_Q64[9], r, _Q64[8]), r, _Q64[7]), r, _Q64[6])
    q = fma(fma(fma(q, r, _Q64[5]), r, _Q64[4]), r, _Q64[3])
    q = fma(fma(fma(q, r, _Q64[2]), r, _Q64[1]), r, _Q64[0])
    scale = np.int64((np.float64(k).view(np.int64) << np.int64(52)) + _ONE64).view(np.float64)
    return scale, fma(r * r, q, r)


def _expm1_parts(x):
    """The two parts of an exponential, in the precision of x."""
    with np.errstate(over="ignore"):  # plain Python shifts like the compiled code: the high bits fall out
        return _expm1_single(x) if x.dtype == np.float32 else _expm1_double(x)


def _limits(x):
    """Arguments beyond which exp would leave the normal range, and tanh is 1 to the last bit."""
    return (_S(87.0), _S(10.0)) if x.dtype == np.float32 else (np.float64(708.0), np.float64(20.0))


if not config.DISABLE_JIT:
    _expm1_single, _expm1_double = (_inlined(f) for f in (_expm1_single, _expm1_double))

    @overload(_expm1_parts, inline="always")
    def _expm1_parts_typed(x):
        if x == types.float32:
            return lambda x: _expm1_single(x)
        return lambda x: _expm1_double(x)

    @overload(_limits, inline="always")
    def _limits_typed(x):
        if x == types.float32:
            return lambda x: (np.float32(87.0), np.float32(10.0))
        return lambda x: (708.0, 20.0)


@_inlined
def exp(x):
    """e^x for |x| up to 87 (708); beyond, the value there. NaN stays NaN."""
    limit = _limits(x)[0]
    x = limit if x > limit else x
    x = -limit if x < -limit else x
    scale, part = _expm1_parts(x)
    return fma(scale, part, scale)


@_inlined
def _tanh_parts(x):
    """tanh(x) as a fraction: numerator with x's sign, denominator in (1, 2]. From -expm1(-2|x|), so that nothing
    cancels: right in the relative sense down to denormal x."""
    one = type(x)(1)
    limit = _limits(x)[1]
    a = abs(x)
    a = limit if a > limit else a
    scale, part = _expm1_parts(-(a + a))
    t = fma(scale, part, scale - one)
    return copysign(-t, x), t + (one + one)


@_inlined
def tanh(x):
    """Hyperbolic tangent; within 3 units in the last place, odd to the bit."""
    above, below = _tanh_parts(x)
    return above / below


@_inlined
def sigmoid(x):
    """1/(1 + e^-x); within 3 units in the last place, and not below e^-87 (e^-708)."""
    one = type(x)(1)
    return one / (one + exp(-x))


@_inlined
def gated_tanh(gate, x):
    """sigmoid(gate) * tanh(x). Divisions cost as much as a polynomial here: one instead of two."""
    above, below = _tanh_parts(x)
    return above / (below * (type(x)(1) + exp(-gate)))


@_inlined
def gated(gate, x):
    """sigmoid(gate) * x with one division."""
    return x / (type(x)(1) + exp(-gate))


@_inlined
def relu(x):
    """max(x, 0); NaN stays NaN."""
    zero = type(x)(0)
    return zero if x < zero else x


@_inlined
def clip_to_one(x):
    """x within [0, 1]; NaN stays NaN."""
    zero, one = type(x)(0), type(x)(1)
    x = zero if x < zero else x
    return one if x > one else x


@_inlined
def hard_sigmoid(x):
    """Keras 3: relu6(x + 3)/6."""
    return clip_to_one((x + type(x)(3)) / type(x)(6))


@_inlined
def hard_sigmoid_keras2(x):
    """Keras 1 and 2: 0.2 x + 0.5 within [0, 1]."""
    return clip_to_one(fma(x, type(x)(0.2), type(x)(0.5)))


@_inlined
def signed(z, value):
    """value with the sign of z, counted + at zero: the stabiliser eps s(z)."""
    return value if z >= type(z)(0) else -value


@_inlined
def per_unit(relevance, z, eps):
    """q = R/(z + eps s(z)): what the linear rule hands down for each unit of contribution."""
    return relevance / (z + signed(z, eps))
