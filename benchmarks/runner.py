"""Held by a worker to measure one peer on one case: inputs, the best cut of the batch, rounds, errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from benchmarks import peers
from benchmarks.cases import Array, Case
from benchmarks.peers.base import Layout, Peer
from benchmarks.timing import round_of, seconds

CHECKED = 512  # samples whose relevance is compared with float64


class PeerRunner:
    """One peer, one case."""

    def __init__(self, peer: str, case: Case, threads: int, dtype: str = "float32") -> None:
        cls = peers.load(peer)
        cls.version()
        self.case, self.X = case, case.inputs(dtype)
        self.peer: Peer = cls(case.weights(dtype), threads)
        self.cut: dict[tuple[str, str], tuple[Layout, list[Any]]] = {}

    def kinds(self) -> tuple[str, ...]:
        return self.peer.offered

    def tune(self, kind: str, threaded: str) -> str | None:
        """Choose the batch's fastest cut, tried on a part of it; return it in words, or None where there is none."""
        layouts = [layout for layout in self.peer.layouts(len(self.X)) if layout.threaded == threaded]
        if not layouts:
            return None
        best = layouts[0] if len(layouts) == 1 else min(layouts, key=lambda layout: self._cost(kind, layout))
        self.cut[kind, threaded] = best, self.peer.cut(self.X, best)
        self.peer.run(kind, self.cut[kind, threaded][1], best)  # warm-up: compiles and starts threads
        return f"{len(self.X) // best.chunks:,}"

    def _cost(self, kind: str, layout: Layout) -> float:
        """Seconds a sample, on a part of the batch that gives each thread at least two chunks."""
        size = len(self.X) // layout.chunks
        few = Layout(min(layout.chunks, max(2 * self.peer.threads, -(-layout.chunks // 4))), layout.threaded)
        chunks = self.peer.cut(self.X[: few.chunks * size], few)
        self.peer.run(kind, chunks, few)
        return min(seconds(lambda: self.peer.run(kind, chunks, few)) for _ in range(2)) / (few.chunks * size)

    def round(self, kind: str, threaded: str = "library") -> float:
        """Seconds for the whole batch."""
        layout, chunks = self.cut[kind, threaded]
        return round_of(lambda: self.peer.run(kind, chunks, layout))

    def answer(self, kind: str, samples: int = CHECKED) -> Array:
        """The first samples' answer, for comparison with float64."""
        return self.peer.answer(kind, self.X[:samples])

    def once(self, kind: str, repeats: int) -> Array:
        """Seconds of each of many calls for the first sample alone."""
        x, layout = [self.peer.put(self.X[:1])], Layout(1)
        for _ in range(repeats // 10):
            self.peer.run(kind, x, layout)
        return np.array([seconds(lambda: self.peer.run(kind, x, layout)) for _ in range(repeats)])


class Deviation(NamedTuple):
    """Each sample's largest difference over its largest magnitude: median and worst over samples."""

    median: float
    worst: float

    def __str__(self) -> str:
        return f"{self.median:.0e} / {self.worst:.0e}"


def deviation(got: Array, want: Array) -> Deviation:
    """The distance of an answer from the right one."""
    got, want = got.reshape(len(got), -1).astype(np.float64), want.reshape(len(want), -1)
    # A prediction is one number a sample and may be near zero, so its scale is that of all predictions.
    scale = abs(want).max(1) if want.shape[1] > 1 else abs(want).max()
    each = abs(got - want).max(1) / scale
    return Deviation(float(np.median(each)), float(each.max()))


def oracle(case: Case, kind: str, samples: int = CHECKED) -> Array:
    """The float64 answer, by batched NumPy."""
    from benchmarks.peers.numpy_peer import NumpyPeer

    few = case.scaled(min(samples, case.samples))
    # The random stream is the same, so these are the case's own first samples.
    return NumpyPeer(case.weights(np.float64), 1).answer(kind, few.inputs(np.float64))
