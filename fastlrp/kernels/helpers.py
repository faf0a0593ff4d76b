"""Threads beside the calling one, which is not left while they work."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Helper(threading.Thread):
    """A thread that does some work, which reports its errors itself."""

    def __init__(self, work: Callable[[], object], name: str = "fastlrp") -> None:
        super().__init__(name=name, daemon=True)
        self._does, self._ended = work, threading.Event()

    def begin(self) -> bool:
        """Start it; False where the system has no more threads."""
        try:
            self.start()
        except RuntimeError:
            return False
        return True

    def run(self) -> None:
        """Do the work."""
        try:
            self._does()
        finally:
            self._ended.set()

    def wait(self) -> None:
        """Wait until it has ended, which Ctrl-C interrupts; then it may be waited for again.

        Python before 3.13 takes a thread whose ``join()`` is interrupted for ended; without a limit, Windows would not
        let Ctrl-C through.
        """
        while not self._ended.wait(0.1):
            pass
        self.join()
