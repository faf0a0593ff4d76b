"""The processor that kernels are compiled for, and how Numba compiles and keeps them.

Numba compiles for the host unless ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` say otherwise. Vector code that is
emitted by hand follows them too; otherwise the compiler would have to take its instructions apart again.
"""

from __future__ import annotations

import hashlib
import platform
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, njit
from numba.core import cgutils

from fastlrp.kernels.kept import KeptCode, KernelCache
from fastlrp.kernels.parts import KernelCompiler, PartCompiler


def _features(described: str | None) -> dict[str, bool]:
    """The processor's features, from Numba's list of "+this,-that"; None stands for the host's."""
    if described is None:
        return dict(llvm.get_host_cpu_features())
    return {item[1:]: item[0] == "+" for item in described.replace(" ", "").split(",") if item}


FEATURES = _features(config.CPU_FEATURES)
X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
#: Bytes of a vector register, and whether there are 32 of them.
VECTOR_BYTES = 64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx2") else 16
MANY_VECTORS = VECTOR_BYTES == 64 or not X86
#: Whether one instruction multiplies and adds. Without it LLVM calls a function for each number, 40 times as slow as
#: the two instructions that round twice.
FUSED = not X86 or bool(FEATURES.get("fma") or FEATURES.get("avx512f"))

_PART: dict[str, Any] = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": PartCompiler,
}
#: Decorators for functions that only compiled code calls: they stop as LLVM code, which is optimised where it is called
#: from. ``inlined`` always inlines: a formula that stays a call keeps the loop around it from becoming a vector loop.
compiled = njit(**_PART)
inlined = njit(forceinline=True, **_PART)

#: For functions with one caller, into which they are merged before either is compiled.
merged = njit(error_model="numpy", inline="always")


#: All kernels that Python calls, as far as their modules are imported.
ENTRIES: list[Any] = []


def entry(function: Callable[..., Any]) -> Any:
    """Compile a function that Python calls and that runs without the interpreter lock. The machine code is kept for
    later processes wherever Numba finds a place for it; ``fastlrp compile`` makes it ahead of time, if one of its jobs
    (``cli/compile.py``) calls the function."""
    how: dict[str, Any] = {
        "error_model": "numpy",
        "nogil": True,
        "no_cfunc_wrapper": True,
        "pipeline_class": KernelCompiler,
    }
    dispatcher = njit(function, **how)
    if not config.DISABLE_JIT:
        try:
            dispatcher._cache = cache = KernelCache(function)
        except RuntimeError as error:  # no place beside the source or at home, as in read-only containers
            if "no locator" not in str(error):
                raise
            _warn_uncached()
        else:
            # Numba asks only whether the function's own file has changed, and would run old code of the others without
            # a word. It has no name for this in public; a test says whether it works.
            numbas = cache._cache_file
            stamp = _content(Path(function.__code__.co_filename)) or numbas._source_stamp  # a zip has no files
            cache._cache_file = KeptCode(numbas, (stamp, _sources()))
    ENTRIES.append(dispatcher)
    return dispatcher


def kept_code(kernel: Any) -> KeptCode | None:
    """A kernel's place for machine code; None where Numba has found none."""
    file = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    return file if isinstance(file, KeptCode) else None


@cache
def _sources() -> tuple[bytes | None, ...]:
    """Hashes of all files that compiled code comes from: kernels, and the order of activations. Empty in a zip, where
    Numba's own look at the archive is enough."""
    here = Path(__file__).parent
    return tuple(_content(path) for path in sorted([*here.rglob("*.py"), here.parent / "model" / "layers.py"]))


@cache
def _content(path: Path) -> bytes | None:
    """The hash of a file; None if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return None


@cache
def _warn_uncached() -> None:
    warnings.warn(
        "Numba finds no folder that it can write compiled kernels to, so every process compiles them anew, which takes "
        "about ten seconds: set the environment variable NUMBA_CACHE_DIR to one",
        RuntimeWarning,
        stacklevel=2,
    )


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emit a*b + c for numbers or whole vectors, with one rounding where the processor has an instruction for it."""
    if not FUSED:
        return builder.fadd(builder.fmul(a, b), c)
    kind = a.type
    vector = isinstance(kind, ir.VectorType)
    scalar = kind.element if vector else kind
    name = f"llvm.fma.{f'v{kind.count}' if vector else ''}f{32 if isinstance(scalar, ir.FloatType) else 64}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])
