"""Chunks on their way: the data they share on the GPU, and the buffers and stream of each.

Buffers on the GPU have page-locked twins on the host: only copies from and to those run while something else does. A
chunk's results are fetched from its slot when the slot's turn comes again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import cuda

from fastlrp.kernels.cuda.cut import Cut
from fastlrp.kernels.cuda.device import Launch, start
from fastlrp.kernels.cuda.kernel import JOB, JOB_FIELDS
from fastlrp.kernels.program.inference import Plan
from fastlrp.kernels.program.instructions import Array
from fastlrp.kernels.results import Results
from fastlrp.rules import Rule

Rows = Array | slice
Copy = Callable[[Array, Array, Rows, Rows, int], None]


class Program:
    """The data that all chunks share on the GPU: instructions, weights, and the rule's numbers."""

    def __init__(self, plan: Plan, launch: Launch, cut: Cut, rule: Rule | None, target: int) -> None:
        self.plan, self.launch, self.cut, self.target = plan, launch, cut, target
        numbers = (0.0, 0.0, 0.0) if rule is None else rule.numbers
        self.rule = cuda.to_device(np.array(numbers, plan.weights.dtype))
        programs = plan.before, plan.forward, plan.relevance
        self.sizes = {f"n_{name}": p.size for name, p in zip(("before", "forward", "relevance"), programs, strict=True)}
        # an empty array has no address on the GPU, so kernels are told the sizes
        self.programs = [cuda.to_device(program if program.size else plan.forward[:1]) for program in programs]
        self.weights = cuda.to_device(plan.weights)
        cuda.synchronize()  # any later stream finds all of it

    def job(self, n: int, n_rows: int, skip: int) -> Array:
        """All the numbers of a job of n windows, the first of which ends ``skip`` rows into its part of X."""
        plan, launch = self.plan, self.launch
        given = {"n": n, "n_rows": n_rows, "lanes": launch.lanes, "months": launch.months, "skip": skip,
                 "tile_size": launch.tile_size, "target": self.target, "given_starts": self.cut.starts is not None,
                 **self.sizes}  # fmt: skip
        job = np.zeros(1, JOB)
        job[0] = tuple([given[name] if name in given else getattr(plan, name) for name in JOB_FIELDS])
        return job

    def blocks(self, n: int) -> int:
        """Blocks that n windows keep busy."""
        return min(self.launch.blocks, -(-n // self.launch.lanes))

    def scratch(self, n: int) -> Any:
        """Room for the rows of every block's tile. Launches that may run at the same time need one each."""
        size = self.blocks(n) * self.launch.tile_size if self.launch.scratch else 1
        return cuda.device_array(size, self.plan.weights.dtype)

    def start(self, n: int, job: Any, X: Any, starts: Any, ends: Any, scratch: Any, results: Any, flag: Any,
              stream: Any) -> None:  # fmt: skip
        """Launch the kernel on n windows; arguments as ``kernel.py`` has them."""
        arguments = job, self.rule, *self.programs, self.weights, X, starts, ends, scratch, *results, flag
        start(self.launch._replace(blocks=self.blocks(n)), arguments, stream)


def shapes_of(plan: Plan, n: int) -> list[tuple[int, ...]]:
    """Shapes of the results of n windows, in the order of ``Results``."""
    values = (plan.n_features,) if plan.reduced else (plan.steps, plan.n_features)
    explained = n if plan.explains else 0
    return [(explained, *values), (n, plan.n_outputs), (explained,), (explained,), (explained,)]


class _Pair:
    """An array on the GPU and its page-locked twin on the host."""

    def __init__(self, size: int, dtype: Any) -> None:
        self.device = cuda.device_array(max(size, 1), dtype)
        self.host = cuda.pinned_array(max(size, 1), dtype)

    def send(self, n: int, stream: Any) -> None:
        self.device[:n].copy_to_device(self.host[:n], stream=stream)

    def fetch(self, n: int, stream: Any) -> None:
        self.device[:n].copy_to_host(self.host[:n], stream=stream)


class Slot:
    """Buffers for one chunk of at most ``chunk`` windows and ``n_rows`` rows, and the stream that works on it."""

    def __init__(self, program: Program, chunk: int, n_rows: int) -> None:
        plan, cut = program.plan, program.cut
        dtype = plan.weights.dtype
        self.program, self.stream = program, cuda.stream()
        self.X = _Pair(n_rows * plan.n_features, dtype)
        self.starts = _Pair(0 if cut.starts is None else chunk, np.int64)
        self.ends = _Pair(chunk if cut.shared else 0, np.bool_)
        self.job, self.flag = _Pair(1, JOB), _Pair(1, np.int64)
        self.results = [_Pair(math.prod(shape), dtype) for shape in shapes_of(plan, chunk)]
        self.scratch = program.scratch(chunk)
        self.chunk: tuple[int, int] | None = None

    def begin(self, first: int, last: int, copy: Copy) -> None:
        """Send a chunk, compute it and send its results back; all of it happens later, in the stream."""
        program, stream = self.program, self.stream
        cut, D = program.cut, program.plan.n_features
        low, high = cut.rows(first, last)
        n, rows, order = last - first, high - low, cut.windows.order
        of = slice(low, high) if order is None else order[low:high]
        copy(self.X.host[: rows * D].reshape(rows, D), cut.windows.rows, of, slice(0, rows), rows)
        self.X.send(rows * D, stream)
        if cut.starts is not None:
            self.starts.host[:n] = cut.starts[first:last] - low
            self.starts.send(n, stream)
        if cut.shared:
            assert cut.windows.ends is not None
            self.ends.host[:n] = cut.windows.ends[first:last]
            self.ends.send(n, stream)
        self.job.host[:] = program.job(n, rows, first - low)
        self.flag.host[:] = 0
        self.job.send(1, stream)
        self.flag.send(1, stream)
        results = [pair.device for pair in self.results]
        program.start(n, self.job.device, self.X.device, self.starts.device, self.ends.device, self.scratch, results,
                      self.flag.device, stream)  # fmt: skip
        for pair, shape in zip(self.results, shapes_of(program.plan, n), strict=True):
            if math.prod(shape):
                pair.fetch(math.prod(shape), stream)
        self.flag.fetch(1, stream)
        self.chunk = first, last

    def finish(self, results: Results, copy: Copy) -> int:
        """Wait for the slot's chunk and hand out its results; returns the number of its windows."""
        if self.chunk is None:
            return 0
        first, last = self.chunk
        self.chunk = None
        self.stream.synchronize()
        if self.flag.host[0]:
            raise FloatingPointError("infinite value")
        places, n = self.program.cut.places(first, last), last - first
        for pair, shape, into in zip(self.results, shapes_of(self.program.plan, n), results, strict=True):
            if math.prod(shape):
                copy(into, pair.host[: math.prod(shape)].reshape(shape), slice(0, n), places, n)
        return n


def copier(pool: ThreadPoolExecutor | None, threads: int) -> Copy:
    """A copy of n rows, ``into[places] = source[of]``, by several threads where there is much to copy."""

    def part(into: Array, source: Array, of: Rows, places: Rows) -> None:
        if isinstance(of, slice) or not source.flags.c_contiguous:
            into[places] = source[of]
        else:  # straight into its place; any other source would first be copied whole
            np.take(source, of, axis=0, out=into[places], mode="clip")

    def piece(which: Rows, n: int, k: int) -> Rows:
        start, stop = n * k // threads, n * (k + 1) // threads
        return slice(which.start + start, which.start + stop) if isinstance(which, slice) else which[start:stop]

    def copy(into: Array, source: Array, of: Rows, places: Rows, n: int) -> None:
        if pool is None or source.itemsize * math.prod(source.shape[1:]) * n < 1 << 20:
            part(into, source, of, places)
            return
        for done in [pool.submit(part, into, source, piece(of, n, k), piece(places, n, k)) for k in range(threads)]:
            done.result()

    return copy
