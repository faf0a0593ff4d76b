"""Batches of any size through the GPU: chunk after chunk, copied in, computed and copied out at the same time.

Arrays that already live on the GPU are neither cut nor copied.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import cuda, get_num_threads

from fastlrp.kernels import memory
from fastlrp.kernels.cuda.cut import SLOTS, Cut, chunk_size, chunks_of, cut_windows
from fastlrp.kernels.cuda.device import Launch, current_card, lay_out
from fastlrp.kernels.cuda.slots import Program, Slot, copier, shapes_of
from fastlrp.kernels.program.inference import Plan, make_plan
from fastlrp.kernels.program.rows import QUADS
from fastlrp.kernels.results import Results
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows
from fastlrp.rules import Aggregate, Rule

Advance = Callable[[int], object]


def run(
    net: Chain,
    windows: Windows,
    steps: int,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
    threads: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Results:
    """Predict every window, and explain it if there is a rule.

    ``threads`` copy between users' arrays and page-locked buffers. Where ``windows.rows`` is on the GPU, results are
    too. ``advance`` is called with the number of samples done since its last call.

    Raises
    ------
    FloatingPointError
        If a value of X is infinite; the caller finds out where.
    MemoryError
        If the GPU's memory does not hold the smallest chunk, or results that are to stay there.
    RuntimeError
        If the GPU fails.
    """
    with _failures():
        card = current_card()
        cut = cut_windows(windows, steps, card)
        plan = make_plan(net, steps, windows.rows.dtype, rule=rule, aggregate=aggregate, reduced=reduced,
                         shared=cut.shared, layout=QUADS)  # fmt: skip
        launch = lay_out(plan, card, shared=cut.shared)

        def program(launch: Launch) -> Program:
            return Program(plan, launch, cut, rule, target)

        if not isinstance(windows.rows, np.ndarray):
            return _run_resident(plan, launch, cut, program, advance)
        return _run_chunks(plan, launch, cut, program, get_num_threads() if threads is None else threads, advance)


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what Numba and the driver raise into one of Python's own exceptions."""
    try:
        yield
    except (FloatingPointError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("numba", "numba_cuda", "cuda"):
            said = str(error).strip().splitlines()
            raise RuntimeError(f"the GPU failed: {said[0] if said else type(error).__name__}") from error
        raise


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "OUT_OF_MEMORY" in str(error)


def _run_chunks(
    plan: Plan,
    launch: Launch,
    cut: Cut,
    program: Callable[[Launch], Program],
    threads: int,
    advance: Advance | None,
) -> Results:
    n, dtype = cut.windows.n(cut.steps), plan.weights.dtype
    results = Results(*(memory.results(*shape, dtype=dtype) for shape in shapes_of(plan, n)))
    if cut.n < n:  # where no window ends
        for array in results:
            array.fill(np.nan)
    if not cut.n:
        return results
    slots, chunks = _make_slots(plan, launch, cut, program)
    with ThreadPoolExecutor(threads) as pool:
        copy = copier(pool if threads > 1 else None, threads)
        try:
            left = cut.n
            for chunk, slot in zip([*chunks, *[None] * len(slots)], itertools.cycle(slots), strict=False):
                done = min(left, slot.finish(results, copy))  # the last chunk may reach back
                left -= done
                if done and advance is not None:
                    advance(done)
                if chunk is not None:
                    slot.begin(*chunk, copy)
        finally:
            for slot in slots:  # buffers must not go while the GPU still writes into them
                slot.stream.synchronize()
    return results


def _make_slots(
    plan: Plan, launch: Launch, cut: Cut, program: Callable[[Launch], Program]
) -> tuple[list[Slot], list[tuple[int, int]]]:
    """Take all the memory that is needed; where the GPU has no room, take it for smaller chunks, and warn."""
    wanted = size = chunk_size(plan, launch, cut)
    while True:
        chunks = list(chunks_of(cut, size, launch.lanes))
        rows = max(high - low for low, high in itertools.starmap(cut.rows, chunks))
        slots: list[Slot] = []
        try:
            shared = program(launch)
            for _ in range(min(SLOTS, len(chunks))):
                slots.append(Slot(shared, max(last - first for first, last in chunks), rows))
            break
        except Exception as error:
            if not _out_of_memory(error):
                raise
        slots.clear()  # free before asking again
        if size > launch.lanes:  # a smaller chunk needs fewer blocks, and so fewer of their rows
            size = max(launch.lanes, size // 2 // launch.lanes * launch.lanes)
        else:
            needed = (launch.tile_size * launch.scratch + plan.weights.size) * plan.weights.itemsize
            raise MemoryError(
                f"the GPU has no room for one tile of {launch.lanes} samples (about {needed / 1e6:.0f} MB): free some "
                "of its memory, or compute with device='cpu'"
            )
    if size < wanted:
        warnings.warn(
            f"the GPU had no room for chunks of {wanted:,} samples: they are computed {size:,} at a time",
            RuntimeWarning,
            stacklevel=2,
        )
    return slots, chunks


def _run_resident(
    plan: Plan, launch: Launch, cut: Cut, program: Callable[[Launch], Program], advance: Advance | None
) -> Results:
    """All windows in one launch, with results on the GPU."""
    dtype, shapes = plan.weights.dtype, shapes_of(plan, cut.n)
    while True:
        flat: list[Any] = []
        try:
            shared = program(launch)
            flat.extend(cuda.device_array(max(1, math.prod(shape)), dtype) for shape in shapes)
            scratch = shared.scratch(cut.n)
            break
        except Exception as error:
            if not _out_of_memory(error):
                raise
        flat.clear()
        if not launch.scratch or launch.blocks == 1:
            size = sum(math.prod(shape) for shape in shapes) * dtype.itemsize
            raise MemoryError(
                f"the GPU has no room for the results of {cut.n:,} samples beside X ({size / 1e9:.2f} GB): explain "
                "fewer at a time, or sum over steps (reduce='steps')"
            )
        launch = launch._replace(blocks=launch.blocks // 2)
    flag, job = cuda.to_device(np.zeros(1, np.int64)), cuda.to_device(shared.job(cut.n, cut.windows.rows.shape[0], 0))
    X: Any = cut.windows.rows
    nothing = cuda.device_array(1, np.int64), cuda.device_array(1, np.bool_)
    shared.start(cut.n, job, X.reshape(X.size), *nothing, scratch, flat, flag, 0)
    if flag.copy_to_host()[0]:  # waits for the kernel
        raise FloatingPointError("infinite value")
    if advance is not None:
        advance(cut.n)
    return Results(*(array[: math.prod(shape)].reshape(shape) for array, shape in zip(flat, shapes, strict=True)))
