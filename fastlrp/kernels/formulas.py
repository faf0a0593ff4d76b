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
from fastlrp.kernels.plan import HARD_SIGMOID, HARD_SIGMOID_KERAS2, RELU, SIGMOID, TANH

#: Inlined always: a formula that stays a call keeps the loop around it from becoming a vector loop.
_inlined = njit(error_model="numpy", forceinline=True)
_S = np.float32

# e^r = (A + p)/(A - p) with p = r B, A and B polynomials in r^2, on |r| <= ln(2)/2: half the terms of e^r as one
# polynomial, and its division is part of the one that tanh and sigmoid need anyway (a cell in float64 takes 86 cycles a
# vector instead of 106). B/A = tanh(r/2)/r has relative error 6.6e-10 and 5.5e-18 before rounding (Remez; both begin
# with their exact value at 0, so that tanh is right there). ln 2 is split so that n * LN2_HI is exact for every n that
# occurs.
_A32, _B32 = (_S(0.09998003), _S(1.0)), (_S(0.008323379), _S(0.5))
_A64 = (0.00099176973294031338, 0.11110817316551254, 1.0)
_B64 = (0.000033044317848561838, 0.013887419916090328, 0.5)
_LOG2E32, _LN2_HI32, _LN2_LO32 = _S(1.4426950408889634), _S(0.693145751953125), _S(1.428606765330187e-06)
_LOG2E64, _LN2_HI64, _LN2_LO64 = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
#: Adding it rounds to a whole number and leaves that number in the low bits.
_ROUND32, _ROUND64 = _S(12582912.0), 6755399441055744.0
_ONE32, _ONE64 = np.int32(1065353216), np.int64(4607182418800017408)


def _exp_single(x):
    """2^n, A and p with x = n ln 2 + r, |x| <= 88, float32."""
    k = fma(x, _LOG2E32, _ROUND32)
    n = k - _ROUND32
    r = fma(n, -_LN2_LO32, fma(n, -_LN2_HI32, x))
    y = r * r
    scale = np.int32((np.float32(k).view(np.int32) << np.int32(23)) + _ONE32).view(np.float32)
    return scale, fma(y, _A32[0], _A32[1]), r * fma(y, _B32[0], _B32[1])


def _exp_double(x):
    """2^n, A and p with x = n ln 2 + r, |x| <= 708, float64."""
    k = fma(x, _LOG2E64, _ROUND64)
    n = k - _ROUND64
    r = fma(n, -_LN2_LO64, fma(n, -_LN2_HI64, x))
    y = r * r
    scale = np.int64((np.float64(k).view(np.int64) << np.int64(52)) + _ONE64).view(np.float64)
    a = fma(fma(y, _A64[0], _A64[1]), y, _A64[2])
    return scale, a, r * fma(fma(y, _B64[0], _B64[1]), y, _B64[2])


def _exp_parts(x):
    """e^x = scale (a + p)/(a - p): scale, a and p, in the precision of x."""
    with np.errstate(over="ignore"):  # plain Python shifts like the compiled code: the high bits fall out
        return _exp_single(x) if x.dtype == np.float32 else _exp_double(x)


def _limits(x):
    """Arguments beyond which exp would leave the normal range, and tanh is 1 to the last bit."""
    return (_S(87.0), _S(10.0)) if x.dtype == np.float32 else (np.float64(708.0), np.float64(20.0))


if not config.DISABLE_JIT:
    _exp_single, _exp_double = (_inlined(f) for f in (_exp_single, _exp_double))

    @overload(_exp_parts, inline="always")
    def _exp_parts_typed(x):
        if x == types.float32:
            return lambda x: _exp_single(x)
        return lambda x: _exp_double(x)

    @overload(_limits, inline="always")
    def _limits_typed(x):
        if x == types.float32:
            return lambda x: (np.float32(87.0), np.float32(10.0))
        return lambda x: (708.0, 20.0)


@_inlined
def _clipped(x):
    """x within what exp takes; NaN stays NaN."""
    limit = _limits(x)[0]
    x = limit if x > limit else x
    return -limit if x < -limit else x


@_inlined
def exp(x):
    """e^x for |x| up to 87 (708); beyond, the value there. NaN stays NaN."""
    scale, a, p = _exp_parts(_clipped(x))
    return scale * ((a + p) / (a - p))


@_inlined
def _tanh_parts(x):
    """tanh(x) as a fraction: numerator with x's sign, denominator about 1 to 2. 1 - e^-2|x| over 1 + e^-2|x|, with
    nothing that cancels: right in the relative sense down to denormal x."""
    one, limit = type(x)(1), _limits(x)[1]
    size = abs(x)
    size = limit if size > limit else size
    scale, a, p = _exp_parts(-(size + size))
    less, more = scale - one, scale + one
    return copysign(fma(less, a, more * p), x), fma(more, a, less * p)


@_inlined
def _sigmoid_parts(x):
    """1/(1 + e^-x) as a fraction."""
    scale, a, p = _exp_parts(_clipped(-x))
    below = a - p
    return below, fma(scale, a + p, below)


@_inlined
def tanh(x):
    """Hyperbolic tangent; within 3 units in the last place, odd to the bit."""
    above, below = _tanh_parts(x)
    return above / below


@_inlined
def sigmoid(x):
    """1/(1 + e^-x); within 3 units in the last place, and not below e^-87 (e^-708)."""
    above, below = _sigmoid_parts(x)
    return above / below


@_inlined
def gated_tanh(gate, x):
    """sigmoid(gate) * tanh(x) with one division instead of two."""
    above, below = _tanh_parts(x)
    open_, of = _sigmoid_parts(gate)
    return (above * open_) / (below * of)


@_inlined
def gated(gate, x):
    """sigmoid(gate) * x with one division."""
    open_, of = _sigmoid_parts(gate)
    return x * open_ / of


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
def activation(code, x):
    """An activation by its code; softmax, which needs a whole row, is not among them."""
    if code == TANH:
        return tanh(x)
    if code == SIGMOID:
        return sigmoid(x)
    if code == RELU:
        return relu(x)
    if code == HARD_SIGMOID:
        return hard_sigmoid(x)
    if code == HARD_SIGMOID_KERAS2:
        return hard_sigmoid_keras2(x)
    return x


@_inlined
def signed(z, value):
    """value with the sign of z, counted + at zero: the stabiliser eps s(z)."""
    return value if z >= type(z)(0) else -value


@_inlined
def per_unit(relevance, z, eps):
    """q = R/(z + eps s(z)): what the linear rule hands down for each unit of contribution."""
    return relevance / (z + signed(z, eps))
