"""The GPU: whether one answers, what fits into it, and how a plan's tiles are laid out on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import cuda

from fastlrp.kernels.cuda.kernel import (
    month_lanes,
    odd_quads,
    tiles_all_shared,
    tiles_none_shared,
    tiles_weights_shared,
)
from fastlrp.kernels.cuda.product import PAIR
from fastlrp.kernels.cuda.threads import SIMULATED
from fastlrp.kernels.program.inference import Plan
from fastlrp.kernels.program.instructions import LSTM_STEP, PRODUCT
from fastlrp.kernels.program.rows import QUAD

#: Most threads of a block. Kernels are compiled for it: each thread then has 128 of a multiprocessor's registers, which
#: four warps per scheduler share.
MOST_THREADS = 512
#: Fewest threads of a block; few in the simulator, where each is a Python thread.
LEAST_THREADS = 16 if SIMULATED else 128
_REGISTER_THREADS = 512  # threads of a multiprocessor that have 128 registers each
_RESERVED = 1024  # bytes of shared memory that the system takes per block


class Card(NamedTuple):
    """The properties of a GPU that decide about tiles.

    Attributes
    ----------
    name : str
    multiprocessors : int
    shared_bytes : int
        Shared memory that one block may take.
    lanes : tuple of int
        Samples of a tile, the first choice first; eight times a power of two.
    """

    name: str
    multiprocessors: int
    shared_bytes: int
    lanes: tuple[int, ...]


def why_unavailable(*, simulated: bool = True) -> str | None:
    """Why no GPU can be used, as the end of a sentence; None where one answers (or, if it counts, the simulator)."""
    if SIMULATED:
        return None if simulated else "kernels run in Numba's simulator"
    try:
        if cuda.is_available():
            cuda.current_context()
            return None
        reason = cuda.cuda_error() or "the driver finds no device, or the compiler, NVVM, is missing"
    except Exception as error:  # whatever the driver says: it is the reason
        reason = str(error)
    return f"no NVIDIA GPU answers ({' '.join(str(reason).split())})"


def adopt(array: Any) -> Any:
    """Take another library's array on the GPU as one of Numba's, without a copy.

    Raises
    ------
    ValueError
        If it lives on a GPU other than the current one.
    """
    if getattr(array, "__cuda_ndarray__", False) is True:
        return array
    from numba.cuda.cudadrv.driver import binding, driver

    mine = cuda.as_cuda_array(array)
    if mine.size:
        ordinal = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        pointer = binding.CUdeviceptr(mine.device_ctypes_pointer.value)
        there, here = int(driver.cuPointerGetAttribute(ordinal, pointer)), int(cuda.get_current_device().id)
        if there != here:
            raise ValueError(f"it lives on GPU {there}, but {here} is current: choose it by numba.cuda.select_device")
    cuda.synchronize()  # another library may still write it, in a stream that its interface does not name
    return mine


def current_card() -> Card:
    """The GPU that kernels run on; in the simulator, one that makes small tiles."""
    if SIMULATED:
        return Card("simulator", 2, 1 << 15, (8,))
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else str(device.name)
    shared = device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    return Card(name, device.MULTIPROCESSOR_COUNT, shared, (64, 32))


class Launch(NamedTuple):
    """The layout of a plan's tiles on the card.

    Attributes
    ----------
    kernel : function
        One of the three of ``kernel.py``.
    lanes, threads, blocks : int
        Samples of a tile, threads of a block, blocks that stay for the whole run.
    tile_size : int
        Count of numbers in a tile's rows, which are in global memory where ``scratch`` says so.
    shared_bytes : int
        Shared memory of a block.
    scratch : bool
    """

    kernel: Callable[..., None]
    lanes: int
    threads: int
    blocks: int
    tile_size: int
    months: int
    shared_bytes: int
    scratch: bool


def tile_size(plan: Plan, lanes: int, *, shared: bool) -> tuple[int, int]:
    """Count of numbers in a tile's rows, and lanes from row to row of the months that its windows share (0 if none)."""
    months = odd_quads(month_lanes(lanes, plan.steps)) if shared else 0
    return plan.rows * odd_quads(lanes) + (plan.month_rows + 1) * months, months


def lay_out(plan: Plan, card: Card, *, shared: bool) -> Launch:
    """Put rows and weights in shared memory if that leaves room for two blocks; else the weights, if they fit, or none.

    With one block, a multiprocessor would have too few warps to hide what each waits for. A tile has many samples where
    its rows stand in global memory: weights are then read for more of them at a time. ``shared``: whether windows share
    their months.
    """
    item = plan.weights.itemsize
    for lanes in card.lanes:
        threads = _threads(plan, lanes)
        size, months = tile_size(plan, lanes, shared=shared)
        need = (size + plan.weights.size + 2 * threads) * item
        if need <= card.shared_bytes // 2 - _RESERVED:
            return _launch(tiles_all_shared, card, lanes, threads, size, months, need, scratch=False)
    lanes = card.lanes[0]
    threads = _threads(plan, lanes)
    size, months = tile_size(plan, lanes, shared=shared)
    need = (plan.weights.size + 2 * threads) * item
    if need <= card.shared_bytes - _RESERVED:
        return _launch(tiles_weights_shared, card, lanes, threads, size, months, need, scratch=True)
    return _launch(tiles_none_shared, card, lanes, threads, size, months, 2 * threads * item, scratch=True)


def _threads(plan: Plan, lanes: int) -> int:
    """A thread for each quad and pair of vectors of the largest product, in whole warps, and one for each lane."""
    if SIMULATED:
        return LEAST_THREADS
    programs = (plan.before, plan.forward, plan.relevance)
    quads = 1
    for program in programs:
        product = program[program["kind"] == PRODUCT]["units"] // QUAD
        quads = max([quads, *product, *program[program["kind"] == LSTM_STEP]["units"]])
    wanted = int(quads) * lanes // PAIR
    return min(MOST_THREADS, max(LEAST_THREADS, lanes, -(-wanted // 128) * 128))


def _launch(
    kernel: Callable[..., None],
    card: Card,
    lanes: int,
    threads: int,
    size: int,
    months: int,
    need: int,
    *,
    scratch: bool,
) -> Launch:
    blocks = min(_REGISTER_THREADS // threads, card.shared_bytes // (need + _RESERVED))
    return Launch(kernel, lanes, threads, max(1, blocks) * card.multiprocessors, size, months, need, scratch)


_COMPILED: dict[str, Any] = {}


def start(launch: Launch, arguments: tuple[Any, ...], stream: Any) -> None:
    """Run the launch's kernel on a stream; it is compiled when it first runs, and kept on disk."""
    name = launch.kernel.__name__
    if name not in _COMPILED:
        # the simulator's jit takes fewer options
        options: dict[str, Any] = {} if SIMULATED else {"launch_bounds": MOST_THREADS, "cache": True}
        _COMPILED[name] = cuda.jit(launch.kernel, **options)
    kernel = _COMPILED[name]
    _allow_shared(kernel, arguments, launch.shared_bytes)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grid size")  # Numba's own advice; a small batch needs few blocks
        configured = kernel[launch.blocks, launch.threads, stream, launch.shared_bytes]
    configured(*arguments)


def _allow_shared(kernel: Any, arguments: tuple[Any, ...], shared_bytes: int) -> None:
    """Let a kernel take more than 48 KiB of shared memory: Numba does not ask the driver for it.

    It may take as much as there is, whatever this launch takes: another thread may be about to launch the same kernel.
    """
    if SIMULATED or shared_bytes <= 48 << 10:
        return
    from numba.cuda.cudadrv.driver import binding, driver

    function = kernel.compile(tuple(kernel.typeof_pyval(a) for a in arguments))._codelibrary.get_cufunc()
    attribute = binding.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    most = function.device.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    driver.cuKernelSetAttribute(attribute, most, function.handle, function.device.id)
