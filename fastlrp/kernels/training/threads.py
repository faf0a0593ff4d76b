"""What threads share inside compiled code: counters, how a thread waits for the others, and a flag that ends them all.

Under ``NUMBA_DISABLE_JIT=1`` there is one thread, which never waits.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import ctypes
import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastlrp.kernels.target import compiled

_INT = ir.IntType(32)
_YIELD = "fastlrp_give_way"


def _register_yield() -> bool:
    """Let compiled code make the system's call that lets another thread run; False where there is none."""
    try:
        if sys.platform == "win32":
            system = ctypes.WinDLL("kernel32").SwitchToThread
        else:
            system = ctypes.CDLL(None).sched_yield
    except (AttributeError, OSError):
        return False
    llvm.add_symbol(_YIELD, ctypes.cast(system, ctypes.c_void_p).value)
    return True


_YIELDS = _register_yield()
#: Looks at a counter before a waiting thread starts to give way: longer than threads are usually apart, but short
#: beside a time slice, so that waiting costs little where there are more threads than cores.
_LOOKS = 2000


class Stop:
    """A flag that compiled code looks at between instructions: once it is set, training ends within a moment, wherever
    it stands."""

    def __init__(self) -> None:
        self.flag = np.zeros(1, np.int64)

    def set(self) -> None:
        """End all training that was given this flag."""
        self.flag[0] = 1

    def is_set(self) -> bool:
        """Whether it was set."""
        return bool(self.flag[0])


@intrinsic
def atomic_add(typingctx: Any, pointer: Any, value: Any) -> Any:
    """Add to a counter that threads share; returns what was there."""
    signature = types.int64(pointer, types.int64)
    return signature, lambda context, builder, sig, args: builder.atomic_rmw("add", args[0], args[1], "seq_cst")


@intrinsic
def atomic_read(typingctx: Any, pointer: Any) -> Any:
    """Read a counter that threads share."""
    return types.int64(pointer), lambda context, builder, sig, args: builder.load_atomic(args[0], "seq_cst", 8)


@intrinsic
def atomic_write(typingctx: Any, pointer: Any, value: Any) -> Any:
    """Set a counter that threads share."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store_atomic(args[1], args[0], "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic
def _pause(typingctx: Any) -> Any:
    """Tell the core that this is a waiting loop."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if llvm.get_process_triple().startswith(("x86", "i686", "amd64")):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _give_way(typingctx: Any) -> Any:
    """Let another thread have the core."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if _YIELDS:
            builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(_INT, []), _YIELD), [])
        return context.get_dummy_value()

    return types.void(), codegen


@compiled
def await_next(tickets, phase, stop):
    """Wait until the upper half of a counter of tickets is beyond this phase, or until all are to stop."""
    looks = 0
    while atomic_read(tickets) >> 32 == phase and atomic_read(stop) == 0:
        looks += 1
        if looks > _LOOKS:
            _give_way()
        else:
            _pause()


def _plain_read(counter):
    return int(counter[0])


def _plain_add(counter, value):
    before = int(counter[0])
    counter[0] = before + value
    return before


def _plain_write(counter, value):
    counter[0] = value


if config.DISABLE_JIT:
    atomic_add, atomic_read, atomic_write = _plain_add, _plain_read, _plain_write
