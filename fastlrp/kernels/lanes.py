"""The basis of the CPU kernels: pointers, and the few instructions that Numba has no name for.

A tile holds its numbers as rows of *lanes*: row = one unit (or feature) at one step, lane = one sample, lanes
contiguous. Every loop over lanes is then a vector loop, whatever the number of units.

Numba has no vector types, so the two places where the compiler does not find the best code by itself are written as
intrinsics that emit LLVM vector code: ``product.py`` (every floating-point operation that counts) and ``transpose.py``
(into and out of the tile). Each intrinsic exists a second time in plain Python for ``NUMBA_DISABLE_JIT=1``, chosen at
the end of its file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastlrp.kernels.target import VECTOR_BYTES, inlined, multiply_add


def _pointer(dtype: Any) -> Any:
    return types.CPointer(dtype)


@intrinsic
def at(typingctx: Any, array: Any, offset: Any) -> Any:
    """The address of an element of a one-dimensional array or of a pointer, with no reference counting."""
    scalar = array.dtype
    signature = _pointer(scalar)(array, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        base = args[0]
        if isinstance(sig.args[0], types.Array):
            base = context.make_array(sig.args[0])(context, builder, base).data
        return builder.gep(base, [args[1]])

    return signature, codegen


@intrinsic
def vector_lanes(typingctx: Any, pointer: Any) -> Any:
    """The number of values of the pointer's type that one vector register holds."""
    size = VECTOR_BYTES // (4 if pointer.dtype == types.float32 else 8)
    return types.int64(pointer), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), size)


@intrinsic
def line_numbers(typingctx: Any, pointer: Any) -> Any:
    """The number of values of the pointer's type that one cache line holds."""
    size = 64 // (4 if pointer.dtype == types.float32 else 8)
    return types.int64(pointer), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), size)


def _in_whole_vectors(function: Any) -> None:
    """Have LLVM turn a function's loops into loops over vectors of all bytes that there are.

    For Intel's processors with AVX-512 it takes half of them by itself, as a few such instructions would make old ones
    lower their clock for nothing; products are full of them in any case. Sixteen cells then take 52 cycles instead of
    97 by LLVM's model of Skylake-SP. The attribute's name is LLVM's own, but none that llvmlite knows.
    """
    set.add(function.attributes, f'"prefer-vector-width"="{8 * VECTOR_BYTES}"')


@intrinsic
def whole_vectors(typingctx: Any) -> Any:
    """Ask for whole vectors in the calling function's loops; ``distinct`` does so, too."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _in_whole_vectors(builder.function)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def distinct(typingctx: Any) -> Any:
    """Promise that the pointers among the calling function's arguments do not overlap.

    Without it LLVM would guard each vector loop with run-time checks and give up on loops over many rows at once.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _in_whole_vectors(builder.function)
        for arg in builder.function.args:
            kind = arg.type
            if isinstance(kind, ir.PointerType) and isinstance(kind.pointee, ir.FloatType | ir.DoubleType):
                arg.add_attribute("noalias")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a*b + c, with one rounding where the processor can."""
    return a(a, a, a), lambda context, builder, sig, args: multiply_add(builder, *args)


@intrinsic
def by_type(typingctx: Any, x: Any, single: Any, double: Any) -> Any:
    """``single`` where x is a float32, else ``double``. Numba's own way, an ``overload``, is compiled to machine code
    for every kind of caller, and was a tenth of a first explanation's time."""
    args = (x, single, double)
    which = 1 if x == types.float32 else 2
    return args[which](*args), lambda context, builder, sig, values: values[which]


@intrinsic
def polynomial(typingctx: Any, x: Any, coefficients: Any) -> Any:
    """A polynomial of x, its coefficients from the highest power on, in multiply-adds."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        total, *rest = cgutils.unpack_tuple(builder, args[1])
        for coefficient in rest:
            total = multiply_add(builder, total, args[0], coefficient)
        return total

    return x(x, coefficients), codegen


def _bits(kind: Any) -> tuple[Any, Any, int]:
    """A float's whole numbers of the same size, in Numba and LLVM, and how many bits its exponent stands from the
    lowest."""
    return (types.int32, ir.IntType(32), 23) if kind == types.float32 else (types.int64, ir.IntType(64), 52)


@intrinsic
def as_exponent(typingctx: Any, x: Any) -> Any:
    """The low bits of x, where the exponent stands; the high ones fall out."""
    whole, llvm_whole, place = _bits(x)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.shl(builder.bitcast(args[0], llvm_whole), ir.Constant(llvm_whole, place))

    return whole(x), codegen


@intrinsic
def add_bits(typingctx: Any, x: Any, whole: Any) -> Any:
    """x, with a whole number added to its bits."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(builder.add(builder.bitcast(args[0], args[1].type), args[1]), args[0].type)

    return x(x, whole), codegen


@inlined
def least(a: Any, b: Any) -> Any:
    """The lesser of two whole numbers. ``min`` is an ``overload``."""
    return a if a < b else b


@inlined
def most(a: Any, b: Any) -> Any:
    """The greater of two whole numbers."""
    return a if a > b else b


@intrinsic
def prefetch(typingctx: Any, pointer: Any) -> Any:
    """Ask for an address's cache line, in the second-level cache; any address will do, even one that is not ours."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit_prefetch(builder, args[0], write=False, locality=2)
        return context.get_dummy_value()

    return types.void(pointer), codegen


def emit_prefetch(builder: Any, pointer: Any, *, write: bool, locality: int) -> None:
    """Ask for an address's cache line, for writing or not; ``locality`` is 3 for the first-level cache, 2 for the
    second."""
    i32 = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
    name = f"llvm.prefetch.p0{'f32' if isinstance(pointer.type.pointee, ir.FloatType) else 'f64'}"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [pointer, *(ir.Constant(i32, int(flag)) for flag in (write, locality, 1))])


@intrinsic
def copysign(typingctx: Any, size: Any, sign: Any) -> Any:
    """|size| with the sign of ``sign``, zeros included (math.copysign of a float64 is a call, which stops vectors)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        name = f"llvm.copysign.f{32 if isinstance(kind, ir.FloatType) else 64}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind]), name)
        return builder.call(function, args)

    return size(size, sign), codegen


# ---- the same in plain Python, for NUMBA_DISABLE_JIT=1: a pointer is the rest of a one-dimensional array -------------


def rows_of(pointer: Any, rows: int, ld: int, lanes: int) -> Any:
    """``rows`` rows of ``lanes`` numbers as a two-dimensional view."""
    step = pointer.itemsize
    return np.lib.stride_tricks.as_strided(pointer, (rows, lanes), (ld * step, step))


def _plain_polynomial(x: Any, coefficients: Any) -> Any:
    total = coefficients[0]
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _plain_as_exponent(x: Any) -> Any:
    whole, place = (np.int32, 23) if x.dtype == np.float32 else (np.int64, 52)
    with np.errstate(over="ignore"):
        return x.view(whole) << whole(place)


def _plain_add_bits(x: Any, whole: Any) -> Any:
    with np.errstate(over="ignore"):
        return (x.view(whole.dtype) + whole).view(x.dtype)


if config.DISABLE_JIT:
    at = lambda array, offset: array[offset:]  # noqa: E731
    distinct = whole_vectors = lambda: None
    fma = lambda a, b, c: a * b + c  # noqa: E731
    by_type = lambda x, single, double: single if x.dtype == np.float32 else double  # noqa: E731
    polynomial, as_exponent, add_bits = _plain_polynomial, _plain_as_exponent, _plain_add_bits
    copysign = np.copysign
    prefetch = lambda pointer: None  # noqa: E731
    line_numbers = lambda pointer: 64 // pointer.itemsize  # noqa: E731
