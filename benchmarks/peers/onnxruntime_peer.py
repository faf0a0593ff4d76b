"""ONNX Runtime on the CPU: its LSTM kernel, forward only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnxruntime

from benchmarks.cases import Array, Weights
from benchmarks.peers.base import Peer
from benchmarks.peers.onnx_graph import INPUT, graph


class OnnxRuntimePeer(Peer):
    """A session with all threads, and for chunks on Python threads one with a single thread that all of them share."""

    name = "ONNX Runtime"
    kinds = ("forward",)
    stacked = ("forward",)

    def __init__(self, weights: Weights, threads: int) -> None:
        super().__init__(weights, threads)
        self.model = graph(weights)
        self.session = self.whole = self._session(threads)

    def _session(self, threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors
        return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])

    @classmethod
    def version(cls) -> str:
        return str(onnxruntime.__version__)

    @contextmanager
    def one_thread_inside(self) -> Iterator[None]:
        if not hasattr(self, "narrow"):
            self.narrow = self._session(1)
        self.session = self.narrow
        try:
            yield
        finally:
            self.session = self.whole

    def compute(self, kind: str, x: Any) -> Any:
        return self.session.run(None, {INPUT: x})[0]

    def fetch(self, result: Any) -> Array:
        array: Array = result[:, 0]
        return array


PEER = OnnxRuntimePeer
