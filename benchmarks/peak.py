"""The machine's arithmetic peak, measured: chains of fused multiply-adds that depend only on themselves.

The loop body is emitted as LLVM vectors (24 accumulators of 16 floats with AVX-512, fewer and shorter elsewhere, so
that all of them stay in registers). Latency is hidden, nothing is loaded or stored, and only the FMA units limit it.
"""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from benchmarks.timing import seconds
from fastlrp.kernels.target import FEATURES


def vector_block() -> tuple[int, int]:
    """The bits of a vector and the number of accumulators that fit the registers of this host, or of the processor
    that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name: its own peak is what kernels compiled for it are held against."""
    if FEATURES.get("avx512f"):
        return 512, 24
    if FEATURES.get("avx2") and FEATURES.get("fma"):
        return 256, 12
    if platform.machine().lower() in ("arm64", "aarch64"):
        return 128, 24
    raise RuntimeError("this host has no FMA unit that the benchmark knows (AVX-512, AVX2 or NEON)")


@intrinsic  # type: ignore[untyped-decorator]
def _chains(typing_context: Any, steps: Any, factor: Any) -> Any:
    """Sum of all accumulators after ``steps`` times acc = acc * factor + factor."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(signature.args[1])
        bits, chains = vector_block()
        lanes = bits // (32 if signature.args[1] == types.float32 else 64)
        vector, index = ir.VectorType(scalar, lanes), ir.IntType(64)
        splat = ir.Constant(vector, ir.Undefined)
        for lane in range(lanes):
            splat = builder.insert_element(splat, args[1], ir.Constant(ir.IntType(32), lane))
        before, loop, after = builder.block, *(builder.append_basic_block(name) for name in ("chains", "after"))
        builder.branch(loop)
        builder.position_at_end(loop)
        count = builder.phi(index)
        count.add_incoming(ir.Constant(index, 0), before)
        accumulators = [builder.phi(vector) for _ in range(chains)]
        for k, accumulator in enumerate(accumulators):
            accumulator.add_incoming(ir.Constant(vector, [ir.Constant(scalar, float(k))] * lanes), before)
        name = f"llvm.fma.v{lanes}{'f32' if scalar == ir.FloatType() else 'f64'}"  # builder.fma takes only scalars
        fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        values = [builder.call(fma, [accumulator, splat, splat]) for accumulator in accumulators]
        for accumulator, value in zip(accumulators, values, strict=True):
            accumulator.add_incoming(value, loop)
        following = builder.add(count, ir.Constant(index, 1))
        count.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[0]), loop, after)
        builder.position_at_end(after)
        total = values[0]
        for value in values[1:]:
            total = builder.fadd(total, value)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return factor(types.int64, factor), generate


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def fma_chains(steps: int, factor: float) -> float:
    """Run the chains; ``factor`` in (0, 1) keeps values normal and sets their dtype."""
    return _chains(steps, factor)  # type: ignore[no-any-return]


def flops_per_step(dtype: type) -> int:
    """Operations of one step of ``fma_chains``: two for each lane of each accumulator."""
    bits, chains = vector_block()
    return 2 * chains * bits // (8 * np.dtype(dtype).itemsize)


class Peak:
    """Measures the peak on request; held by a worker."""

    def __init__(self, threads: int) -> None:
        self._threads, self._pool = threads, ThreadPoolExecutor(threads)
        self.rate()

    def rate(self, dtype: str = "float32", lasting: float = 0.02, bursts: int = 8) -> float:
        """Operations a second on all threads together: the best of some bursts, since a peak is an upper bound."""
        factor = np.dtype(dtype).type(0.5)
        fma_chains(1, factor)  # compiled
        steps = 100_000
        steps = max(1, int(steps * lasting / seconds(lambda: fma_chains(steps, factor))))
        taken = min(seconds(lambda: self._burst(steps, factor)) for _ in range(bursts))
        return self._threads * steps * flops_per_step(factor.dtype.type) / taken

    def _burst(self, steps: int, factor: Any) -> None:
        list(self._pool.map(lambda _: fma_chains(steps, factor), range(self._threads)))

    def blas(self, size: int = 1536) -> float:
        """Operations a second of NumPy's float32 matrix product, for comparison: it must stay below the peak."""
        A = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
        return 2.0 * size**3 / min(seconds(lambda: A @ A) for _ in range(5))
