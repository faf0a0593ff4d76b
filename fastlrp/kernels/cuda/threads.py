"""The basis of the CUDA kernels: device functions, and loads and stores of four numbers at once.

Numba has no vector types in memory, and cannot know that an address is a multiple of 16 bytes; ``load4`` and ``store4``
say so, and become one instruction (two in float64). In the simulator, which runs kernels as plain Python, they are
loops; the choice is made in one place, at the end.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import config, cuda, types
from numba.extending import intrinsic

#: Numbers that one thread loads at once; the length of a tile's rows is a multiple of it.
VECTOR = 4

SIMULATED = bool(config.ENABLE_CUDASIM)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """The address of four numbers of a one-dimensional array, as a vector's."""
    scalar = context.get_value_type(array_type.dtype)
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(scalar, VECTOR).as_pointer())


@intrinsic
def _load4(typingctx: Any, array: Any, index: Any, into: Any, at: Any) -> Any:
    signature = types.void(array, types.int64, into, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, index, into, at = args
        vector = builder.load(_address(context, builder, sig.args[0], array, index), align=16)
        data = context.make_array(sig.args[2])(context, builder, into).data
        for k in range(VECTOR):
            value = builder.extract_element(vector, ir.Constant(ir.IntType(32), k))
            builder.store(value, builder.gep(data, [builder.add(at, ir.Constant(ir.IntType(64), k))]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _store4(typingctx: Any, source: Any, at: Any, array: Any, index: Any) -> Any:
    signature = types.void(source, types.int64, array, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, at, array, index = args
        where = _address(context, builder, sig.args[2], array, index)
        data = context.make_array(sig.args[0])(context, builder, source).data
        vector = ir.Constant(where.type.pointee, ir.Undefined)
        for k in range(VECTOR):
            value = builder.load(builder.gep(data, [builder.add(at, ir.Constant(ir.IntType(64), k))]))
            vector = builder.insert_element(vector, value, ir.Constant(ir.IntType(32), k))
        builder.store(vector, where, align=16)
        return context.get_dummy_value()

    return signature, codegen


def _plain_load4(array, index, into, at):
    for k in range(VECTOR):
        into[at + k] = array[index + k]


def _plain_store4(source, at, array, index):
    for k in range(VECTOR):
        array[index + k] = source[at + k]


load4, store4 = (_plain_load4, _plain_store4) if SIMULATED else (_load4, _store4)


def device_function(function):
    """Compile as part of the kernels that call it: inlined, so that small arrays become registers."""
    options = {} if SIMULATED else {"forceinline": True}  # the simulator's jit takes fewer
    return cuda.jit(function, device=True, **options)
