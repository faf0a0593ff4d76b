"""Arrays that kernels fill: they start on cache lines, and large ones reuse memory that earlier ones no longer need.

Finding and clearing fresh pages for a large array takes time: explaining 20,000 samples of (12, 96) takes 0.13 s in
memory that is there already and up to 0.24 s where it is not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
P = ParamSpec("P")
R = TypeVar("R")

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
    """Most bytes that are kept: a thirty-second of the machine's memory, or of the container's."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return 1 << 28
    return min([machine, *_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]) // 32


def _limits(groups: Path, root: Path) -> Iterator[int]:
    """The limits in bytes of the control groups that this process is in, of version 1 or 2, where there are any."""
    lines = groups.read_text().splitlines() if groups.is_file() else []
    for _, controllers, group in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        own = top / group.lstrip("/")  # inside a container only the groups from its own root on may be seen
        for folder in (own, *own.parents):
            with suppress(OSError, ValueError):  # no such group here, or "max"
                yield int((folder / name).read_text())
            if folder == top:
                break


MOST_KEPT = _most_kept()
#: Memory that nobody uses, by address, the latest last. Whoever pops an address has it: threads need no lock.
_free: dict[int, Array] = {}
#: What calls that are under way allow to be kept; threads' calls may end in any order.
_allowed: list[int] = []


@contextmanager
def keeping(most: int) -> Iterator[None]:
    """Keep no more bytes than that meanwhile, in the whole process."""
    _allowed.append(most)
    try:
        _forget(_free)
        yield
    finally:
        _allowed.remove(most)


def _forget(free: dict[int, Array]) -> None:
    """Give memory back to the system, the oldest first, until no more is kept than may be."""
    held, most = list(free.items()), min([MOST_KEPT, *_allowed])
    total, pieces = sum(memory.size for _, memory in held), len(held)
    for address, memory in held:
        if total <= most and pieces <= MOST_PIECES:
            return
        free.pop(address, None)
        total, pieces = total - memory.size, pieces - 1


def release() -> int:
    """Give all memory that nobody uses back to the system; the number of its bytes."""
    size = 0
    for address in list(_free):
        if (memory := _free.pop(address, None)) is not None:
            size += memory.size
    return size


def with_room(call: Callable[P, R]) -> Callable[P, R]:
    """A function that, where memory is short, is called once more after memory kept here is given back."""

    @wraps(call)
    def again(*args: P.args, **options: P.kwargs) -> R:
        try:
            return call(*args, **options)
        except MemoryError:
            if not release():
                raise
        return call(*args, **options)  # outside, where the error no longer holds what the first call had allocated

    return again


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
    return _fresh(size)


@with_room
def _fresh(size: int) -> Array:
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
