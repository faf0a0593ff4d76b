"""Activations of Dense layers that need a parameter or their pre-activation: each formula once, for one number.

They are within a few units in the last place of the exact number, also where it is small: e^x - 1 and log(1 + e^x) do
not cancel near zero, and gelu's lower tail is no difference of numbers near one. ``formulas`` says how such functions
are written. All take NaN to NaN, and a slope is the derivative at the pre-activation.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels.formulas import _at_most, _exp_parts, _limits, _times, exp, sigmoid
from fastlrp.kernels.lanes import by_type, fma, polynomial
from fastlrp.kernels.program.instructions import ELU, GELU_TANH, LEAKY_RELU, RELU6, SELU, SILU
from fastlrp.kernels.target import inlined

_S = np.float32

#: Self-normalising networks (Klambauer et al. 2017): elu's limit below zero, times the factor of all of it, and that.
SELU_ALPHA, SELU_SCALE = 1.7580993408473766, 1.0507009873554805
#: gelu by tanh (Hendrycks & Gimpel 2016, section 2) is x sigmoid(x (A + B x^2)), A = 2 sqrt(2/pi) and B = 0.044715 A.
_GATE_A, _GATE_B = 1.5957691216057308, 0.07135481627260025
_DENSITY = 0.3989422804014327  # 1/sqrt(2 pi)

# The normal distribution's upper tail is e^(-x^2/2) P(q)/(x + k) with q = (x - k)/(x + k): P is smooth on the whole
# half line, as the tail falls like e^(-x^2/2)/x. Polynomials by Chebyshev's points in 50 digits, highest power first;
# relative errors 8e-10 (x up to 13.2) and 1e-18 (37.7) before rounding. Beyond, e^(-x^2/2) is no normal number.
_ENDS32, _ENDS64 = (_S(3.9), _S(13.19)), (4.5, 37.6)
_TAIL32 = tuple(map(_S, (
    -6.0748524e-05, -0.00019134585, 0.00032306014, 0.0012601615, -0.003987454, -0.003665097, 0.05095261, -0.17261511,
    0.37384406, -0.6003334, 0.7533837,
)))  # fmt: skip
_TAIL64 = (
    4.4815467436708647e-10, 1.5475434144486763e-09, -1.6952521763586317e-09, -1.3350634901752224e-08,
    -2.2924586689749895e-09, 7.44468423722906e-08, 6.151036337290627e-08, -3.8330447700127265e-07,
    -5.002835229926986e-07, 2.1453562983944564e-06, 3.190287855380609e-06, -1.4236868757225706e-05,
    -1.5933116334368196e-05, 0.00011204293124731019, 6.3811567331433125e-06, -0.0009177465344839775,
    0.001748830567500486, 0.0042236133827214, -0.03387132617715547, 0.11138259657011583, -0.25314179995096764,
    0.4464525170556799, -0.640257760252617, 0.7632305289702032,
)  # fmt: skip
# log(1 + y) = 2 atanh(s) with s = y/(2 + y), and atanh(s)/s - 1 = s^2 times a polynomial in s^2 on s <= 1/3; relative
# errors of atanh 4e-10 and 1e-19, by the same means.
_ATANH32 = tuple(map(_S, (0.116195254, 0.108516574, 0.14296292, 0.19999851, 0.33333334)))
_ATANH64 = (
    0.07821056687403345, 0.037428719610706894, 0.05423343583100272, 0.05867041087435821, 0.0666759707695605,
    0.07692271603832289, 0.09090909960220453, 0.11111111098926833, 0.14285714285801707, 0.19999999999999757,
    0.3333333333333333,
)  # fmt: skip


@inlined
def _ends(x):
    """k, and the size of x from which the tail is taken to be that at its end."""
    return by_type(x, _ENDS32, _ENDS64)


@inlined
def _at_least(x, limit):
    """x, or the limit where x is less; NaN stays NaN."""
    return limit if x < limit else x


@inlined
def expm1(x):
    """e^x - 1 for x up to 87 (708)."""
    one = type(x)(1)
    power, a, p = _exp_parts(_at_most(x, _limits(x)[0]))
    scale = _times(one, power)
    return fma(scale - one, a, (scale + one) * p) / (a - p)


@inlined
def bent(x, slope, top):
    """x, by ``slope`` below zero, and at most ``top``: relu6 and leaky relu."""
    zero = type(x)(0)
    low = slope * x if slope > zero else zero  # 0 times infinity is no number
    x = low if x < zero else x
    return top if x > top else x


@inlined
def bent_slope(x, slope, top):
    """Its derivative; that of the left side at zero, and of the right side at ``top``, as relu's."""
    one, zero = type(x)(1), type(x)(0)
    right = one if x < top else zero
    return right if x > zero else slope


@inlined
def elu(x, alpha, scale):
    """``scale`` x, or alpha (e^x - 1) below zero (Clevert et al. 2016)."""
    return alpha * expm1(x) if x < type(x)(0) else scale * x


@inlined
def elu_slope(x, alpha, scale):
    """Its derivative; at zero that of the right side, as Keras has it."""
    return alpha * exp(x) if x < type(x)(0) else scale


@inlined
def softplus(x):
    """log(1 + e^x), and not below e^-87 (e^-708)."""
    zero, one = type(x)(0), type(x)(1)
    power, a, p = _exp_parts(_at_most(-abs(x), _limits(x)[0]))
    above, below = _times(a + p, power), a - p
    s = above / (below + below + above)
    return (x if x > zero else zero) + fma(s * s, polynomial(s * s, by_type(x, _ATANH32, _ATANH64)), one) * (s + s)


@inlined
def softsign(x):
    """x/(1 + |x|); 1 with x's sign where x is infinite."""
    size = abs(x)
    big = type(x)(1e30)
    size = big if size > big else size
    return _at_most(x, big) / (type(x)(1) + size)


@inlined
def softsign_slope(x):
    """1/(1 + |x|)^2."""
    part = type(x)(1) / (type(x)(1) + abs(x))
    return part * part


@inlined
def gated_by_itself(x, a, b):
    """x sigmoid(x (a + b x^2)): silu where a = 1 and b = 0 (Elfwing et al. 2017), and gelu by tanh."""
    end = _gate_end(x, b)
    low = _at_least(x, -end)
    inner = _at_most(x, end)
    return low * sigmoid(inner * fma(b, inner * inner, a))


@inlined
def gated_by_itself_slope(x, a, b):
    """Its derivative."""
    inner = _at_most(x, _gate_end(x, b))
    square = inner * inner
    gate, shut = sigmoid(inner * fma(b, square, a)), sigmoid(-inner * fma(b, square, a))
    return gate * fma(shut * inner, fma(type(x)(3) * b, square, a), type(x)(1))


@inlined
def _gate_end(x, b):
    """The size of x from which the gate is open, or shut, to the last bit."""
    limit = _limits(x)[0]
    # b x^3 is within the limits of e^x up to its cube root; gelu's a x is small beside it
    return limit if b == type(x)(0) else (type(x)(9.9) if limit < type(x)(100) else type(x)(21.0))


@inlined
def _normal(x):
    """The normal distribution beyond |x|, and e^(-x^2/2)."""
    k, end = _ends(x)
    half, one = type(x)(0.5), type(x)(1)
    size = abs(x)
    size = end if size > end else size
    square = size * size
    rest = fma(size, size, -square)  # e^x has the error of its argument times x
    bell = exp(-half * square)
    bell = fma(-half * rest, bell, bell)
    r = one / (size + k)
    return bell * polynomial((size - k) * r, by_type(x, _TAIL32, _TAIL64)) * r, bell


@inlined
def gelu(x):
    """x times the normal distribution up to x (Hendrycks & Gimpel 2016)."""
    beyond, _ = _normal(x)
    low = _at_least(x, -_ends(x)[1])
    return low * (beyond if x < type(x)(0) else type(x)(1) - beyond)


@inlined
def gelu_slope(x):
    """The normal distribution up to x, plus x times its density."""
    beyond, bell = _normal(x)
    inner = _at_most(x, _ends(x)[1])
    return fma(inner * type(x)(_DENSITY), bell, beyond if x < type(x)(0) else type(x)(1) - beyond)


@inlined
def exponential(x):
    """e^x, up to infinity and down to zero."""
    root = exp(type(x)(0.5) * x)
    return root * root


@inlined
def parameters(code, alpha):
    """The two numbers of the curves that have some: slope and top, alpha and scale, or the gate's a and b."""
    number = type(alpha)
    one, zero = number(1), number(0)
    if code == LEAKY_RELU:
        return alpha, number(np.inf)
    if code == RELU6:
        return zero, number(6)
    if code == ELU:
        return alpha, one
    if code == SELU:
        return number(SELU_ALPHA), number(SELU_SCALE)
    if code == SILU:
        return one, zero
    if code == GELU_TANH:
        return number(_GATE_A), number(_GATE_B)
    return zero, zero
