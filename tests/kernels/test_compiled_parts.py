"""Functions that only compiled code calls: they stop as LLVM code, which Numba has no public name for."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
from numba import config, njit
from numba.core.compiler import DefaultPassBuilder, Flags

from fastlrp.kernels import parts
from fastlrp.kernels.target import compiled, entry

pytestmark = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")


@compiled
def inner(x):
    return 3.0 * x


@compiled
def outer(x):
    return inner(x) + inner(x + 1.0)


@entry
def called(x):
    return outer(x) - inner(x)


@njit
def called_otherwise(x):
    return outer(x)


def library(function):
    return result(function).library


def result(function):
    (one,) = function.overloads.values()
    return one


def test_a_part_has_no_machine_code_of_its_own():
    assert called(2.0) == 6.0 + 9.0 - 6.0
    for part in (inner, outer):
        assert type(library(part)) is parts._Part
    engine = library(called).codegen._engine
    made = [engine.is_symbol_defined(result(one).fndesc.mangled_name) for one in (called, outer, inner)]
    assert made == [True, False, False]


def test_numbas_own_functions_may_call_parts():
    assert called_otherwise(2.0) == 6.0 + 9.0


@pytest.mark.parametrize("on", [True, False])
def test_pythons_collector_is_as_it_was_after_compiling(on):
    @entry
    def doubled(x):
        return x + x

    was = gc.isenabled()
    try:
        gc.enable() if on else gc.disable()
        assert doubled(2.0) == 4.0
        assert gc.isenabled() is on
    finally:
        gc.enable() if was else gc.disable()


def test_passes_that_are_left_out_are_numbas():
    """A name that Numba does not know any more would leave nothing out, without a word."""
    flags, found = Flags(), set()
    flags.enable_ssa = True
    for define in ("define_untyped_pipeline", "define_typed_pipeline", "define_nopython_lowering_pipeline"):
        state = SimpleNamespace(func_ir=None, flags=flags)
        found |= {one.__name__ for one, _ in getattr(DefaultPassBuilder, define)(state).passes}
    assert found >= parts.LEFT_OUT
