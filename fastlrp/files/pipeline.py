"""Three stages at once, each on a thread of its own: the next block is read and the last one written meanwhile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from fastlrp.kernels.helpers import together

Item = TypeVar("Item")
_END: Any = object()


class _Relay(Generic[Item]):
    """A queue between two stages that holds nothing back once either of them has failed."""

    def __init__(self, stop: threading.Event) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        self._stop = stop
        self._free = threading.Semaphore(2)  # one item under way in each of the two stages: this bounds memory

    def room(self) -> bool:
        """Wait until another item may be begun; False if there is no more use in it."""
        while not self._stop.is_set():
            if self._free.acquire(timeout=0.1):
                return True
        return False

    def put(self, item: Item) -> None:
        self._queue.put(item)

    def __iter__(self) -> Iterator[Item]:
        """The items, each until the next is asked for."""
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if item is _END:
                return
            yield item
            del item
            self._free.release()


def overlapped(source: Iterable[Any], work: Callable[[Any], Any], sink: Callable[[Any], None]) -> None:
    """Put every item of ``source`` through ``work``, on the calling thread, and its result through ``sink``.

    The first error of any stage stops all of them, and is raised.
    """
    stop = threading.Event()
    before: _Relay[Any] = _Relay(stop)
    after: _Relay[Any] = _Relay(stop)

    def read() -> None:
        items = iter(source)
        while before.room():
            item = next(items, _END)
            before.put(item)
            if item is _END:
                return
            del item

    def write() -> None:
        for item in after:
            sink(item)
            del item

    def explain(others: int) -> None:
        if others < 2:
            raise RuntimeError("the system has no more threads: two are needed beside this one, to read and to write")
        for item in before:
            if after.room():
                after.put(work(item))
            del item
        after.put(_END)

    together([read, write], explain, stop.set)
