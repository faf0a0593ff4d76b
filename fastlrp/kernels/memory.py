"""Arrays that kernels fill: they start on cache lines, and large ones reuse memory that earlier ones no longer need.

Finding and clearing fresh pages for a large array takes time: explaining 20,000 samples of (12, 96) takes 0.13 s in
memory that is there already and up to 0.24 s where it is not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Bytes from which memory is kept here; below, the C library keeps it. A limit of 4 MiB was a tenth slower for 10,000
#: stock-months, whose results and scratch are smaller.
LARGE = 1 << 18
#: Most pieces that are kept: a search looks through all of them.
MOST_PIECES = 64
_LINE = 64
_HUGE_PAGE = 1 << 21
#: Bytes from which NumPy asks the system for huge pages.
_ASKED_HUGE = 1 << 22


def _most_kept() -> int:
    """Most bytes that are kept: a thirty-second of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 32
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return 1 << 28


MOST_KEPT = _most_kept()
#: Memory that nobody uses, by address, the latest last. Whoever pops an address has it: threads need no lock.
_free: dict[int, Array] = {}


@contextmanager
def keeping(most: int) -> Iterator[None]:
    """Keep no more bytes than that meanwhile, in the whole process."""
    global MOST_KEPT
    before, MOST_KEPT = MOST_KEPT, min(MOST_KEPT, most)
    try:
        yield
    finally:
        MOST_KEPT = before


def _forget(free: dict[int, Array]) -> None:
    """Give memory back to the system, the oldest first, until no more than ``MOST_KEPT`` is kept."""
    held = list(free.items())
    total, pieces = sum(memory.size for _, memory in held), len(held)
    for address, memory in held:
        if total <= MOST_KEPT and pieces <= MOST_PIECES:
            return
        free.pop(address, None)
        total, pieces = total - memory.size, pieces - 1


class _Loan:
    """Memory behind an array. When the last view of the array goes, so does this, and the memory is free again."""

    def __init__(self, memory: Array, n: int, dtype: np.dtype[Any]) -> None:
        self.memory, self.address = memory, int(memory.ctypes.data)
        self.__array_interface__ = {
            "data": (self.address + -self.address % _LINE, False), "shape": (n,), "typestr": dtype.str, "version": 3,
        }  # fmt: skip

    def __del__(self, free: dict[int, Array] = _free, forget: Callable[..., None] = _forget) -> None:
        free[self.address] = self.memory  # the names it needs are bound above: when Python exits, globals are gone
        forget(free)


def _take(size: int) -> Array:
    """Free memory of at least ``size`` bytes and not much more, or else fresh memory."""
    for address, memory in reversed(list(_free.items())):
        if size <= memory.size <= size + size // 4 and _free.pop(address, None) is not None:
            return memory
    return np.empty(size, np.uint8)


def aligned(n: int, dtype: npt.DTypeLike) -> Array:
    """An uninitialised one-dimensional array that starts on a cache line."""
    kind = np.dtype(dtype)
    size = n * kind.itemsize + _LINE
    if size >= LARGE:
        return np.asarray(_Loan(_take(size), n, kind))
    raw = np.empty(size, np.uint8)
    skip = -raw.ctypes.data % _LINE
    return raw[skip : skip + n * kind.itemsize].view(kind)


def scratch(n: int, dtype: npt.DTypeLike) -> Array:
    """Uninitialised memory for a thread to work in; large pieces are in huge pages, where the system has them.

    In small pages, luck decides which parts compete for the same places of the second-level cache: a panel took from
    95 to 107 ms, from process to process.
    """
    kind = np.dtype(dtype)
    size = n * kind.itemsize
    if size < LARGE:
        return aligned(n, kind)
    whole = aligned(max(size + _HUGE_PAGE, _ASKED_HUGE), np.uint8)
    skip = -whole.ctypes.data % _HUGE_PAGE
    return whole[skip : skip + size].view(kind)


def results(*shape: int, dtype: np.dtype[Any]) -> Array:
    """An uninitialised array for results. Large ones start on a cache line, since whole lines are written fastest; in
    small ones it would not pay."""
    size = math.prod(shape)
    return np.empty(shape, dtype) if size < 1 << 16 else aligned(size, dtype).reshape(shape)


def read_only(array: Array) -> Array:
    """A read-only view: users' arrays may or may not be writable, and Numba would compile for each case."""
    view = array.view()
    view.flags.writeable = False
    return view
