"""Threads beside the calling one, which is not left while they work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

#: Seconds after which a thread whose start was interrupted is taken for one that never began.
_BEGINS = 1.0


class Helper(threading.Thread):
    """A thread that does some work, which reports its errors itself."""

    def __init__(self, work: Callable[[], object], name: str = "fastlrp") -> None:
        super().__init__(name=name, daemon=True)
        self._does, self._asked = work, False
        self._begun, self._ended = threading.Event(), threading.Event()

    def begin(self) -> bool:
        """Start it; False where the system has no more threads.

        Ctrl-C may come when the thread runs and this one does not know of it yet: it can be waited for all the same.
        """
        try:
            self._asked = True
            self.start()
        except RuntimeError:
            self._ended.set()
            return False
        except BaseException:
            if not self._begun.wait(_BEGINS):
                self._ended.set()
            raise
        return True

    def run(self) -> None:
        """Do the work, unless it was given up before it began."""
        self._begun.set()
        if self._ended.is_set():
            return
        try:
            self._does()
        finally:
            self._ended.set()

    def wait(self) -> None:
        """Wait until it has ended, which Ctrl-C interrupts; then it may be waited for again.

        Python before 3.13 takes a thread whose ``join()`` is interrupted for ended; without a limit, Windows would not
        let Ctrl-C through.
        """
        while self._asked and not self._ended.wait(0.1):
            pass
        if self._begun.is_set():
            self.join()


def together(
    works: Sequence[Callable[[], object]],
    here: Callable[[int], object],
    stop: Callable[[], object],
    name: str = "fastlrp",
) -> None:
    """Do each of ``works`` in a thread of its own, as far as the system has threads, and ``here`` in this one, which is
    given their number; then wait for them all.

    Whatever goes wrong in any of them, Ctrl-C among it, calls ``stop``, which makes all of them return soon; what went
    wrong first is raised when they have.
    """
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                stop()

        return run

    others: list[Helper] = []
    try:
        for work in works:
            others.append(Helper(guarded(work), name))
            if not others[-1].begin():
                others.pop()
                break
        here(len(others))
        for other in others:  # which Ctrl-C interrupts too
            other.wait()
    except BaseException as error:
        failures.append(error)
        stop()
    finally:
        for other in others:
            other.wait()
    if failures:
        raise failures[0]
