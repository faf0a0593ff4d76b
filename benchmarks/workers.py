"""Worker processes: each peer lives in its own and runs a round on request, so that no thread pool disturbs another.

A worker gets its number of threads from the environment and its cores by affinity before any library is loaded; no
other way works for OpenBLAS, OpenMP, XLA and Numba alike. Between requests it is stopped (SIGSTOP), so a pool that
spins while it waits, as OpenMP's and Eigen's do, costs the next peer nothing, and no pool's own settings are touched.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class WorkerError(RuntimeError):
    """An error in a worker, in the worker's own words."""


def cores() -> list[int]:
    """The cores this process may use; where the system has no affinity, all of them."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return list(range(os.cpu_count() or 1))


class Surroundings:
    """The settings a worker was given; tests compare them with the request."""

    def settings(self) -> dict[str, str]:
        return {**{key: os.environ.get(key, "") for key in _THREADS}, "cores": str(len(cores()))}


def resolve(name: str) -> Callable[..., Any]:
    """The object that "package.module:name" names."""
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


def _serve(pipe: Connection, allowed: list[int], factory: str, args: dict[str, Any]) -> None:
    """A worker's life: make the object, then call its methods until None comes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, allowed)
    try:
        served = resolve(factory)(**args)
        pipe.send((True, None))
    except Exception as error:
        pipe.send((False, _words(error)))
        return
    while (request := pipe.recv()) is not None:
        method, arguments = request
        try:
            pipe.send((True, getattr(served, method)(**arguments)))
        except Exception as error:
            pipe.send((False, _words(error)))


def _words(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that processes started inside inherit; restore them afterwards."""
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


class Worker:
    """A process that holds the object ``factory(**args)`` and calls its methods.

    Raises
    ------
    WorkerError
        If the object cannot be made, a call fails, or the process dies.
    """

    def __init__(self, factory: str, threads: int, /, **args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, cores()[:threads], factory, args), daemon=True, name=f"{factory} {args}"
        )
        with environment({key: str(threads) for key in _THREADS}):
            self._process.start()
        theirs.close()
        try:
            self._reply()
        except WorkerError:
            self.stop()
            raise
        self._pause(True)

    def call(self, method: str, **args: Any) -> Any:
        """Make one request; the worker sleeps before and after."""
        self._pause(False)
        self._pipe.send((method, args))
        reply = self._reply()
        self._pause(True)
        return reply

    def _reply(self) -> Any:
        try:
            fine, value = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise WorkerError(f"the worker ended with exit code {self._process.exitcode}") from None
        if not fine:
            raise WorkerError(value)
        return value

    def _pause(self, stop: bool) -> None:
        if hasattr(signal, "SIGSTOP") and self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def stop(self) -> None:
        """End the process; a second call does nothing."""
        if not self._process.is_alive():
            self._process.join()
            return
        self._pause(False)
        try:
            self._pipe.send(None)
            self._process.join(5)
        except OSError:  # it has died meanwhile
            pass
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
