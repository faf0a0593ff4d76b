"""Every activation, gate and rule formula, once, for one number at a time.

Kernels own loops, memory and order; the arithmetic of one unit of one sample stands here, shared by all backends.
Functions take and return numbers of one dtype. A bare ``1.0`` would turn float32 arithmetic into float64, so constants
are made from an argument's own type. Products that must not depend on what a compiler contracts are written with
``fma``, so that a sample's bits do not depend on its place in a batch.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np
from numba import config, types
from numba.extending import overload

from fastlrp.kernels.lanes import copysign, fma
from fastlrp.kernels.program.instructions import HARD_SIGMOID, HARD_SIGMOID_KERAS2, RELU, SIGMOID, TANH
from fastlrp.kernels.program.rows import LOG2E
from fastlrp.kernels.target import inlined

_S = np.float32

# e^r = (A + p)/(A - p) with p = r B, A and B polynomials in r^2, on |r| <= ln(2)/2. It has half the terms of e^r as one
# polynomial, and its division is part of the one that tanh and sigmoid need anyway (a cell in float64 takes 86 cycles a
# vector instead of 106). B/A = tanh(r/2)/r has relative error 6.6e-10 and 5.5e-18 before rounding (Remez; both begin
# with their exact value at 0, so that tanh is right there). 2^r is the same, but its argument needs no reduction.
#
# Time goes into multiplications and operations that share their units; a core has as many units again for additions and
# bits. So n is added to the exponent to multiply by 2^n, limits are set on |x|, and gates get their argument in the
# units of 2^t: a vector of cells takes 63 cycles instead of 75 in float32, 71 instead of 83 in float64 (Zen 4).
_LN2 = 0.6931471805599453
_A32, _B32 = (_S(0.09998003), _S(1.0)), (_S(0.008323379), _S(0.5))
_A64 = (0.00099176973294031338, 0.11110817316551254, 1.0)
_B64 = (0.000033044317848561838, 0.013887419916090328, 0.5)
_A32_OF_2, _B32_OF_2 = (_S(_A32[0] * _LN2**2), _S(1.0)), (_S(_B32[0] * _LN2**3), _S(0.5 * _LN2))
_A64_OF_2 = (_A64[0] * _LN2**4, _A64[1] * _LN2**2, 1.0)
_B64_OF_2 = (_B64[0] * _LN2**5, _B64[1] * _LN2**3, 0.5 * _LN2)
#: ln 2 split so that n * LN2_HI is exact for every n that occurs.
_LN2_HI32, _LN2_LO32 = _S(0.693145751953125), _S(1.428606765330187e-06)
_LN2_HI64, _LN2_LO64 = 0.6931471803691238, 1.9082149292705877e-10
#: Adding it rounds to a whole number and leaves that number in the low bits.
_ROUND32, _ROUND64 = _S(12582912.0), 6755399441055744.0


def _rounded_single(t):
    """The whole number n nearest to t, and n in the form that ``_times`` takes; float32."""
    k = t + _ROUND32
    return k - _ROUND32, np.int32(np.float32(k).view(np.int32) << np.int32(23))


def _rounded_double(t):
    """The same for float64."""
    k = t + _ROUND64
    return k - _ROUND64, np.int64(np.float64(k).view(np.int64) << np.int64(52))


def _times_single(x, power):
    """2^n x for x > 0, by its exponent; a result that would not be a normal number is wrong, but still small."""
    return np.int32(np.float32(x).view(np.int32) + power).view(np.float32)


def _times_double(x, power):
    """The same for float64."""
    return np.int64(np.float64(x).view(np.int64) + power).view(np.float64)


def _fraction_single(r, of_2):
    """A and p of e^r = (A + p)/(A - p), |r| <= ln(2)/2, or of 2^r, |r| <= 1/2; float32."""
    A, B = (_A32_OF_2, _B32_OF_2) if of_2 else (_A32, _B32)
    y = r * r
    return fma(y, A[0], A[1]), r * fma(y, B[0], B[1])


def _fraction_double(r, of_2):
    """The same for float64."""
    A, B = (_A64_OF_2, _B64_OF_2) if of_2 else (_A64, _B64)
    y = r * r
    return fma(fma(y, A[0], A[1]), y, A[2]), r * fma(fma(y, B[0], B[1]), y, B[2])


def _rounded(t):
    """The whole number n nearest to t, and n in the form that ``_times`` takes."""
    with np.errstate(over="ignore"):  # plain Python shifts like the compiled code: the high bits fall out
        return _rounded_single(t) if t.dtype == np.float32 else _rounded_double(t)


def _times(x, power):
    """2^n x for x > 0."""
    with np.errstate(over="ignore"):
        return _times_single(x, power) if x.dtype == np.float32 else _times_double(x, power)


def _fraction(r, of_2):
    """A and p of e^r = (A + p)/(A - p), |r| <= ln(2)/2, or of 2^r, |r| <= 1/2."""
    return _fraction_single(r, of_2) if r.dtype == np.float32 else _fraction_double(r, of_2)


def _limits(x):
    """Limits of x: beyond them e^x, and 2^x, would leave the normal range; from the third on tanh is 1 to the last
    bit."""
    return (_S(87.0), _S(125.0), _S(10.0)) if x.dtype == np.float32 else (708.0, 1021.0, 20.0)


def _ln2(x):
    """ln 2 in two parts."""
    return (_LN2_HI32, _LN2_LO32) if x.dtype == np.float32 else (_LN2_HI64, _LN2_LO64)


if not config.DISABLE_JIT:
    _rounded_single, _rounded_double, _times_single, _times_double, _fraction_single, _fraction_double = (
        inlined(f)
        for f in (_rounded_single, _rounded_double, _times_single, _times_double, _fraction_single, _fraction_double)
    )

    @overload(_rounded, inline="always")
    def _rounded_typed(t):
        return (lambda t: _rounded_single(t)) if t == types.float32 else (lambda t: _rounded_double(t))

    @overload(_times, inline="always")
    def _times_typed(x, power):
        return (
            (lambda x, power: _times_single(x, power))
            if x == types.float32
            else (lambda x, power: _times_double(x, power))
        )

    @overload(_fraction, inline="always")
    def _fraction_typed(r, of_2):
        return (
            (lambda r, of_2: _fraction_single(r, of_2))
            if r == types.float32
            else (lambda r, of_2: _fraction_double(r, of_2))
        )

    @overload(_limits, inline="always")
    def _limits_typed(x):
        if x == types.float32:
            return lambda x: (np.float32(87.0), np.float32(125.0), np.float32(10.0))
        return lambda x: (708.0, 1021.0, 20.0)

    @overload(_ln2, inline="always")
    def _ln2_typed(x):
        return (lambda x: (_LN2_HI32, _LN2_LO32)) if x == types.float32 else (lambda x: (_LN2_HI64, _LN2_LO64))


@inlined
def _at_most(x, limit):
    """x with a size of at most ``limit``; NaN stays NaN."""
    size = abs(x)
    return copysign(limit if size > limit else size, x)


@inlined
def _exp_parts(x):
    """e^x = 2^n (a + p)/(a - p): n in the form that ``_times`` takes, a and p."""
    high, low = _ln2(x)
    n, power = _rounded(x * type(x)(LOG2E))
    a, p = _fraction(fma(n, -low, fma(n, -high, x)), False)
    return power, a, p


@inlined
def exp(x):
    """e^x for |x| up to 87 (708); beyond, the value there. NaN stays NaN."""
    power, a, p = _exp_parts(_at_most(x, _limits(x)[0]))
    return _times((a + p) / (a - p), power)


@inlined
def _tanh_parts(x):
    """tanh(x) as a fraction: numerator with x's sign, denominator about 1 to 2. It is 1 - e^-2|x| over 1 + e^-2|x|
    without cancellation, so it is right in the relative sense down to denormal x."""
    one, limit = type(x)(1), _limits(x)[2]
    size = abs(x)
    size = limit if size > limit else size
    n, power = _rounded(size * type(x)(-2 * LOG2E))
    # one number for ln 2 is enough: where n is large, e^-2|x| counts for little
    a, p = _fraction(fma(n, type(x)(-_LN2), -(size + size)), False)
    scale = _times(one, power)
    less, more = scale - one, scale + one
    return copysign(fma(less, a, more * p), x), fma(more, a, less * p)


@inlined
def _opened(power, a, p):
    """1/(1 + 2^n (a + p)/(a - p)) as a fraction."""
    below = a - p
    return below, below + _times(a + p, power)


@inlined
def _gate_parts(t):
    """1/(1 + 2^t) as a fraction."""
    t = _at_most(t, _limits(t)[1])
    n, power = _rounded(t)
    a, p = _fraction(t - n, True)
    return _opened(power, a, p)


@inlined
def tanh(x):
    """Hyperbolic tangent; within 3 units in the last place, odd to the bit."""
    above, below = _tanh_parts(x)
    return above / below


@inlined
def sigmoid(x):
    """1/(1 + e^-x); within 3 units in the last place, and not below e^-87 (e^-708)."""
    power, a, p = _exp_parts(_at_most(-x, _limits(x)[0]))
    above, below = _opened(power, a, p)
    return above / below


@inlined
def gated_tanh(t, x):
    """tanh(x) through a gate that is open by 1/(1 + 2^t), with one division instead of two. For sigmoid(z),
    t = -z log2(e), which costs nothing where it is part of z's weights."""
    above, below = _tanh_parts(x)
    open_, of = _gate_parts(t)
    return (above * open_) / (below * of)


@inlined
def gated(t, x):
    """x through a gate that is open by 1/(1 + 2^t), with one division."""
    open_, of = _gate_parts(t)
    return x * open_ / of


@inlined
def opened(t):
    """1/(1 + 2^t): a gate by itself."""
    open_, of = _gate_parts(t)
    return open_ / of


@inlined
def blended_tanh(t, x, past):
    """(1 - z) tanh(x) and z*past, where z = 1/(1 + 2^t), with no cancellation in 1 - z."""
    above, below = _tanh_parts(x)
    open_, of = _gate_parts(t)
    return (above * (of - open_)) / (below * of), past * open_ / of


@inlined
def relu(x):
    """max(x, 0); NaN stays NaN."""
    zero = type(x)(0)
    return zero if x < zero else x


@inlined
def clip_to_one(x):
    """x within [0, 1]; NaN stays NaN."""
    zero, one = type(x)(0), type(x)(1)
    x = zero if x < zero else x
    return one if x > one else x


@inlined
def hard_sigmoid(x):
    """Keras 3: relu6(x + 3)/6."""
    return clip_to_one((x + type(x)(3)) / type(x)(6))


@inlined
def hard_sigmoid_keras2(x):
    """Keras 1 and 2: 0.2 x + 0.5 within [0, 1]."""
    return clip_to_one(fma(x, type(x)(0.2), type(x)(0.5)))


@inlined
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


@inlined
def signed(z, value):
    """A value >= 0 with the sign of z, counted + at zero: the stabiliser eps s(z)."""
    return copysign(value, z + type(z)(0))  # -0 + 0 is +0; copying a sign is cheaper than a comparison


@inlined
def per_unit(relevance, z, eps):
    """q = R/(z + eps s(z)): the relevance that the linear rule hands down per unit of contribution."""
    return relevance / (z + signed(z, eps))


# ---- rules: the relevance that a unit hands down, that its inputs share evenly, and that is lost ---------------------


@inlined
def linear_unit(relevance, z, bias, eps, handed, delta):
    """q of one unit of a linear map, its part of the inputs' even share (before 1/N), and the part that no input gets.

    Of R = q (sum_i a_i w_i + b + eps s) the inputs share (handed s + delta b) q; ((1 - delta) b + (eps - handed) s) q
    is lost.
    """
    given = delta * bias
    q = per_unit(relevance, z, eps)
    return q, (signed(z, handed) + given) * q, (signed(z, eps - handed) + (bias - given)) * q


@inlined
def arras_unit(written, kept, r_c, eps):
    """The linear rule on c = i*g + f*c': R_g, R_c' and s q, from which the even share is made."""
    c = written + kept
    q = per_unit(r_c, c, eps)
    return written * q, kept * q, signed(c, type(c)(1)) * q


@inlined
def even_shares(even, eps, handed, factor):
    """From a sum of s q: each input's even share (``factor`` = 1/N), and the part of the stabiliser that is lost."""
    return even * (factor * handed), (eps - handed) * even


@inlined
def rudder_arrival(arrived, written, kept, eps):
    """R_h[u]/(c_u + eps s): the amount that a step's arrival adds to the cell's q."""
    return per_unit(arrived, written + kept, eps)


@inlined
def left_out(z, upper, q):
    """The relevance that a path would carry whose part of z is z - upper."""
    return (z - upper) * q


@inlined
def reset_bias(b, reset, recurrent):
    """The bias of a map that the reset gate works after: b + reset*recurrent."""
    return fma(reset, recurrent, b)


@inlined
def merged(weight, a, q, share):
    """The relevance of one of two directions whose outputs were summed (``weight`` 1) or averaged (1/2)."""
    return weight * a * q + share
