"""OpenVINO on the CPU, forward only: the same ONNX graph, compiled for each shape of a chunk."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openvino

from benchmarks.cases import Array, Weights
from benchmarks.peers.base import Peer
from benchmarks.peers.onnx_graph import graph


class OpenVinoPeer(Peer):
    """Shapes are fixed when a model is compiled, as its documentation advises; compiling is not timed.

    Each Python thread has requests of its own, as one request serves one caller at a time.
    """

    name = "OpenVINO"
    kinds = ("forward",)
    stacked = ("forward",)

    def __init__(self, weights: Weights, threads: int) -> None:
        super().__init__(weights, threads)
        self.core, self.inside, self.own = openvino.Core(), threads, threading.local()
        self.compiled: dict[tuple[int, tuple[int, ...]], Any] = {}
        self.lock = threading.Lock()
        self.core.read_model(graph(weights))  # says now what it cannot read

    def _request(self, shape: tuple[int, ...]) -> Any:
        """This thread's request for inputs of a shape."""
        requests = self.own.__dict__.setdefault("requests", {})
        key = self.inside, shape
        if key not in requests:
            with self.lock:
                if key not in self.compiled:
                    model = self.core.read_model(graph(self.weights, *shape[:2]))
                    options = {
                        "INFERENCE_NUM_THREADS": self.inside,
                        "INFERENCE_PRECISION_HINT": "f32",  # nothing else may be rounded shorter, either
                        "NUM_STREAMS": 1 if self.inside > 1 else self.threads,
                        "ENABLE_CPU_PINNING": False,
                    }
                    self.compiled[key] = self.core.compile_model(model, "CPU", options)
            requests[key] = self.compiled[key].create_infer_request()
        return requests[key]

    @classmethod
    def version(cls) -> str:
        return str(openvino.__version__).split("-")[0]

    @contextmanager
    def one_thread_inside(self) -> Iterator[None]:
        try:
            self.inside = 1
            yield
        finally:
            self.inside = self.threads

    def compute(self, kind: str, x: Any) -> Any:
        request = self._request(x.shape)
        request.infer([x], share_inputs=True)
        return request.get_output_tensor().data.copy()

    def fetch(self, result: Any) -> Array:
        array: Array = result[:, 0]
        return array


PEER = OpenVinoPeer
