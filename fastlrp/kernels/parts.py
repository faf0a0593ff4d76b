"""How Numba compiles functions that only compiled code calls: into LLVM's code, and no further.

Numba optimises each function as a whole, makes machine code of it, and then does the same with each of its callers,
into which it has put the function: code that stands four calls deep is optimised five times, and four of the five
pieces of machine code are never run. Here a function stops as LLVM code. Those that Python calls are optimised whole,
once. Without this, and the passes below, a first explanation took twice as long.

Of the processor's time that a first explanation takes now, Numba's Python code has two thirds: reading byte code, types
and LLVM code as text, function by function. LLVM has the rest, half of it to optimise and half to make machine code.
What did not pay: leaving out reference counts (``_nrt``), as LLVM then makes vector loops of loops over addresses,
which takes longer than is saved; leaving out the passes over each function of a kernel itself, as counts then stay in
loops; ``forceinline`` in the place of ``target.merged``, as all that such a function calls is inlined with it, too. A
second thread would wait, as llvmlite lets in one at a time.

Numba has no public name for most of what is used here; ``tests/kernels/test_compiled_parts.py`` says whether it works.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite.binding import Linkage
from numba import _dynfunc
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NativeLowering

#: Passes over a function's source that find nothing to do in kernels: closures, ``with``, literals, expressions of
#: whole arrays, exceptions. After each one Numba looks at the whole function again. Nor do kernels need a name for each
#: value of a variable, which is LLVM's work. Together they take a fifth of the time.
LEFT_OUT = frozenset(
    {
        "WithLifting", "InlineClosureLikes", "RewriteSemanticConstants", "RewriteDynamicRaises",
        "MakeFunctionToJitFunction", "FindLiterallyCalls", "LiteralUnroll", "LiteralPropagationSubPipelinePass",
        "NopythonRewrites", "NoPythonSupportedFeatureValidation", "AnnotateTypes", "DumpParforDiagnostics",
        "ReconstructSSA", "PreLowerStripPhis", "IRProcessing",
    }
)  # fmt: skip


class _Library(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """A function's LLVM code, to which that of all it calls is linked once."""

    def _called(self) -> dict[Any, None]:
        """All that it calls, and what they call, each behind a caller: LLVM links only what is needed by then."""
        found: dict[Any, None] = {}
        for library in self._linking_libraries:
            found |= {library: None, **(library._called() if isinstance(library, _Part) else {})}
        return found

    def _link(self, module: Any) -> None:
        """Link all that it calls, each once, to its module or another."""
        for library in self._called():
            if hasattr(library, "_reload_init"):  # Numba 0.61 has none
                self._reload_init.update(library._reload_init)
            code = library._final_module if isinstance(library, _Part) else library._get_module_for_linking()
            module.link_in(code, preserve=True)


class _Kernel(_Library):
    """The code of a kernel that Python calls, and of its parts."""

    def finalize(self) -> None:
        """Optimise it, and make machine code of it."""
        self._link(self._final_module)
        self._linking_libraries.clear()
        super().finalize()


class _Part(_Library):
    """A function's LLVM code, to be linked with those that call it and optimised there.

    One with loops stays a function of its own (``apart``): within its caller LLVM would no longer know its pointers
    apart (``lanes.distinct``), which costs 2 to 9 % of all time at T, D, H = 5, 16, 16.
    """

    apart = False
    _shared_module: Any

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions if self.apart else ():
            if not function.is_declaration:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def _optimize_functions(self, module: Any) -> None:
        """Nothing: it is optimised where it is used."""

    def finalize(self) -> None:
        """Close it, with neither machine code made of it nor what it calls linked to it."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"  # callers may bring it in more than once
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """Its code and that of all it calls, for a caller that is neither a kernel nor a part."""
        if self._shared_module is None:
            self._shared_module = self._final_module.clone()
            self._link(self._shared_module)
        return self._shared_module


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(NativeLowering):  # type: ignore[misc]  # Numba has no types
    """Numba's lowering, into a kernel's library."""

    _name = "fastlrp_kernel_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _Kernel(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return bool(super().run_pass(state))


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):  # type: ignore[misc]  # Numba has no types
    """Numba's lowering to LLVM code, which ends there."""

    _name = "fastlrp_part_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        library.apart = not state.flags.forceinline and bool(compute_cfg_from_blocks(state.func_ir.blocks).loops())
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        name = lowered.fndesc.qualname.split(".")[-1]
        # By this object, which Python cannot call, as before, Numba finds the function again where others call it.
        known = _dynfunc.make_function(lowered.fndesc.lookup_module(), name, "", 0, lowered.env, (library,))
        state.targetctx.insert_user_function(known, lowered.fndesc, [library])
        state["cr"] = lowered._replace(cfunc=known)
        return True


class KernelCompiler(Compiler):  # type: ignore[misc]  # Numba has no types
    """Numba's compiler for kernels that Python calls."""

    def compile_extra(self, func: Any) -> Any:
        """Compile a kernel and all that it calls."""
        with _uncollected():
            return super().compile_extra(func)

    def define_pipelines(self) -> list[PassManager]:
        """Numba's own passes but those that kernels do not need."""
        return [_chosen(passes, _KernelLowering) for passes in super().define_pipelines()]


class PartCompiler(Compiler):  # type: ignore[misc]  # Numba has no types
    """Numba's compiler for functions that only compiled code calls."""

    def define_pipelines(self) -> list[PassManager]:
        """The same, up to LLVM code."""
        return [_chosen(passes, _PartLowering) for passes in super().define_pipelines()]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python's collector of cycles rest: it would walk again and again through all that compiling builds up, and
    give back next to nothing of it, for a tenth of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _chosen(passes: PassManager, lowering: type) -> PassManager:
    chosen = PassManager(passes.pipeline_name)
    for one, what in passes.passes:
        if one.__name__ not in LEFT_OUT:
            chosen.add_pass(lowering if one is NativeLowering else one, what)
    chosen.finalize()
    return chosen
