"""How Numba compiles functions that only compiled code calls: into LLVM's code, and no further.

Numba optimises each function as a whole, makes machine code of it, and then does the same with each of its callers,
into which it has put the function: code that stands four calls deep is optimised five times, and four of the five
pieces of machine code are never run. Here a function stops as LLVM code. Those that Python calls are optimised whole,
once. Without this, and the passes below, a first explanation took half as long again.

Numba has no public name for most of what is used here; ``tests/kernels/test_compiled_parts.py`` says whether it works.
"""

from __future__ import annotations

from typing import Any

from numba import _dynfunc
from numba.core.analysis import compute_cfg_from_blocks
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NativeLowering

#: Passes over a function's source that find nothing to do in kernels: closures, ``with``, literals, expressions of
#: whole arrays, exceptions. After each one Numba looks at the whole function again; together they take a tenth of the
#: time.
LEFT_OUT = frozenset(
    {
        "WithLifting", "InlineClosureLikes", "RewriteSemanticConstants", "RewriteDynamicRaises",
        "MakeFunctionToJitFunction", "FindLiterallyCalls", "LiteralUnroll", "LiteralPropagationSubPipelinePass",
        "NopythonRewrites", "NoPythonSupportedFeatureValidation", "AnnotateTypes", "DumpParforDiagnostics",
    }
)  # fmt: skip


class _Part(JITCodeLibrary):  # type: ignore[misc]  # Numba has no types
    """A function's LLVM code, to be linked with those that call it and optimised there.

    One with loops stays a function of its own (``apart``): within its caller LLVM would no longer know its pointers
    apart (``lanes.distinct``), which costs 2 to 9 % of all time at T, D, H = 5, 16, 16.
    """

    apart = False

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions if self.apart else ():
            if not function.is_declaration:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)

    def _optimize_functions(self, module: Any) -> None:
        """Nothing: it is optimised where it is used."""

    def _optimize_final_module(self) -> None:
        """Nothing, either."""

    def _finalize_final_module(self) -> None:
        """Close the module without making machine code of it."""
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(NativeLowering):  # type: ignore[misc]  # Numba has no types
    """Numba's lowering to LLVM code, which ends there."""

    _name = "fastlrp_lowering"

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

    def define_pipelines(self) -> list[PassManager]:
        """Numba's own passes but those that kernels do not need."""
        return [_chosen(passes) for passes in super().define_pipelines()]


class PartCompiler(Compiler):  # type: ignore[misc]  # Numba has no types
    """Numba's compiler for functions that only compiled code calls."""

    def define_pipelines(self) -> list[PassManager]:
        """The same, up to LLVM code."""
        return [_chosen(passes, {NativeLowering: _Lowering}) for passes in super().define_pipelines()]


def _chosen(passes: PassManager, instead: dict[type, type] | None = None) -> PassManager:
    chosen = PassManager(passes.pipeline_name)
    for one, what in passes.passes:
        if one.__name__ not in LEFT_OUT:
            chosen.add_pass((instead or {}).get(one, one), what)
    chosen.finalize()
    return chosen
