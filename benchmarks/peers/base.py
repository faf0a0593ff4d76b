"""The interface that all peers share: chunks in, a list of chunk results out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np

from benchmarks.cases import RULES, Array, Weights


class PeerMissingError(Exception):
    """Raised where a peer is not installed; the message says what is missing."""


class Layout(NamedTuple):
    """A batch's cut (``chunks`` equal pieces) and its threading: the library's own, or Python threads over chunks."""

    chunks: int
    threaded: str = "library"


class Peer:
    """One way to compute predictions and relevance for LSTM + Dense(1), some also for a stack of LSTM layers.

    Results stay in the library's own arrays and in chunks: the peer is not charged for joining them. Inputs are cut
    and put where the library wants them before the clock starts.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = ("forward", *RULES)
    note: ClassVar[str] = ""
    tunable: ClassVar[bool] = True
    #: What it computes of a stack of LSTM layers.
    stacked: ClassVar[tuple[str, ...]] = ()

    def __init__(self, weights: Weights, threads: int) -> None:
        self.weights, self.threads = weights, threads

    @property
    def offered(self) -> tuple[str, ...]:
        """What this peer computes of these weights."""
        return self.stacked if self.weights.below else self.kinds

    @classmethod
    def version(cls) -> str:
        raise NotImplementedError

    def put(self, X: Array) -> Any:
        """A chunk where the library wants it."""
        return X

    def compute(self, kind: str, x: Any) -> Any:
        """Predictions (n,) for "forward", relevance (n, T, D) for a rule; they may still be in progress on return."""
        raise NotImplementedError

    def wait(self, results: list[Any]) -> None:
        """Wait until all results are ready."""

    def fetch(self, result: Any) -> Array:
        return np.asarray(result)

    def use_one_thread(self) -> None:
        """Called in each Python thread that works on chunks."""

    @contextmanager
    def one_thread_inside(self) -> Iterator[None]:
        """Limit the library to one thread in each Python thread that works on chunks."""
        yield

    def layouts(self, samples: int) -> list[Layout]:
        """Cuts to try, into equal chunks, so that nothing is compiled for a remainder."""
        counts = [
            k for k in (1, 2, 4, 8, 20, 40, 100, 200, 400) if samples % k == 0 and (k == 1 or samples // k >= 128)
        ]
        library = [Layout(k) for k in counts]
        python = [Layout(k, "python") for k in counts if k >= self.threads > 1]
        return library + python if self.tunable else library[:1]

    def cut(self, X: Array, layout: Layout) -> list[Any]:
        return [self.put(np.ascontiguousarray(part)) for part in np.split(X, layout.chunks)]

    def run(self, kind: str, chunks: list[Any], layout: Layout) -> list[Any]:
        """Run all chunks; this is what is timed."""
        if layout.threaded == "library":
            results = [self.compute(kind, x) for x in chunks]
        else:
            with self.one_thread_inside(), ThreadPoolExecutor(self.threads, initializer=self.use_one_thread) as pool:
                results = list(pool.map(lambda x: self.compute(kind, x), chunks))
        self.wait(results)
        return results

    def answer(self, kind: str, X: Array) -> Array:
        """The whole batch as one NumPy array, for checks."""
        results = self.run(kind, [self.put(X)], Layout(1))
        return np.concatenate([self.fetch(result) for result in results])
