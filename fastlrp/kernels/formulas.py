"""Every activation, gate and rule formula, once, for one number at a time.

Kernels own loops, memory and order; the arithmetic of one unit of one sample stands here, shared by all backends.
Functions take and return numbers of one dtype. A bare ``1.0`` would turn float32 arithmetic into float64, so constants
are made from an argument's own type. Products that must not depend on what a compiler contracts are written with
``fma``, so that a sample's bits do not depend on its place in a batch.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels.lanes import add_bits, as_exponent, by_type, copysign, fma, polynomial
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
_E32 = _A32, _B32 = (_S(0.09998003), _S(1.0)), (_S(0.008323379), _S(0.5))
_E64 = _A64, _B64 = (
    (0.00099176973294031338, 0.11110817316551254, 1.0),
    (0.000033044317848561838, 0.013887419916090328, 0.5),
)
_TWO32 = (_S(_A32[0] * _LN2**2), _S(1.0)), (_S(_B32[0] * _LN2**3), _S(0.5 * _LN2))
_TWO64 = (
    (_A64[0] * _LN2**4, _A64[1] * _LN2**2, 1.0),
    (_B64[0] * _LN2**5, _B64[1] * _LN2**3, 0.5 * _LN2),
)
#: ln 2 split so that n times the first part is exact for every n that occurs.
_LN2_32, _LN2_64 = (_S(0.693145751953125), _S(1.428606765330187e-06)), (0.6931471803691238, 1.9082149292705877e-10)
#: Adding it rounds to a whole number and leaves that number in the low bits.
_ROUND32, _ROUND64 = _S(12582912.0), 6755399441055744.0


#: Limits of x: beyond them e^x, and 2^x, would leave the normal range; from the third on tanh is 1 to the last bit.
_LIMITS32, _LIMITS64 = (_S(87.0), _S(125.0), _S(10.0)), (708.0, 1021.0, 20.0)


@inlined
def _limits(x):
    """Limits of x's size, in its type."""
    return by_type(x, _LIMITS32, _LIMITS64)


@inlined
def _rounded(t):
    """The whole number n nearest to t, and n in the form that ``_times`` takes."""
    shift = by_type(t, _ROUND32, _ROUND64)
    k = t + shift
    return k - shift, as_exponent(k)


@inlined
def _times(x, power):
    """2^n x for x > 0, by its exponent; a result that would not be a normal number is wrong, but still small."""
    return add_bits(x, power)


@inlined
def _fraction(r, parts):
    """A and p of e^r = (A + p)/(A - p), |r| <= ln(2)/2, or of 2^r, |r| <= 1/2, by the polynomials of either."""
    A, B = parts
    y = r * r
    return polynomial(y, A), r * polynomial(y, B)


@inlined
def _at_most(x, limit):
    """x with a size of at most ``limit``; NaN stays NaN."""
    size = abs(x)
    return copysign(limit if size > limit else size, x)


@inlined
def _exp_parts(x):
    """e^x = 2^n (a + p)/(a - p): n in the form that ``_times`` takes, a and p."""
    high, low = by_type(x, _LN2_32, _LN2_64)
    n, power = _rounded(x * type(x)(LOG2E))
    a, p = _fraction(fma(n, -low, fma(n, -high, x)), by_type(x, _E32, _E64))
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
    a, p = _fraction(fma(n, type(x)(-_LN2), -(size + size)), by_type(x, _E32, _E64))
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
    a, p = _fraction(t - n, by_type(t, _TWO32, _TWO64))
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
