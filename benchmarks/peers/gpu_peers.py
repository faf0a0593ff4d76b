"""torch and CuPy on a GPU: cuDNN's nn.LSTM for the forward pass, and relevance vectorised over a batch.

Relevance comes from :mod:`torch_peer` and :mod:`numpy_peer`, on arrays that live on the GPU: launched operation by
operation, replayed as one CUDA graph, or compiled by torch.compile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import Array, Weights
from benchmarks.peers.numpy_peer import FUNCTIONS
from benchmarks.peers.torch_peer import TorchPeer, torch


class TorchOnDevice(TorchPeer):
    """torch's functions on a device; ``prepare`` returns the call that is timed."""

    name = "torch"

    def __init__(self, weights: Weights, device: str) -> None:
        super().__init__(weights, threads=1)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 means float32
        self.device = torch.device(device)
        self.tensors = Weights(*(tensor.to(self.device) for tensor in self.tensors[:5]))
        self.stabiliser = self.stabiliser.to(self.device)
        for module in (self.lstm, self.dense):
            module.to(self.device)
        self.lstm.flatten_parameters()

    def put(self, X: Array) -> Any:
        return torch.from_numpy(X).to(self.device)

    def fetch(self, result: Any) -> Array:
        array: Array = result.cpu().numpy()
        return array

    def variants(self, kind: str) -> dict[str, Callable[[Any], Callable[[], Any]]]:
        """The ways to run it, each a function from the input to the call."""
        ways: dict[str, Callable[[Any], Callable[[], Any]]] = {"eager": lambda x: lambda: self.compute(kind, x)}
        if kind != "forward":  # cuDNN's forward is one call already
            ways["CUDA graph"] = lambda x: self._graph(kind, x)
            ways["torch.compile"] = lambda x: self._compiled(kind, x)
        return ways

    def _graph(self, kind: str, x: Any) -> Callable[[], Any]:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute(kind, x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = self.compute(kind, x)

        def replay() -> Any:
            graph.replay()
            return result

        return replay

    def _compiled(self, kind: str, x: Any) -> Callable[[], Any]:
        function = torch.compile({"arras": self._arras, "rudder": self._rudder}[kind])

        def call() -> Any:
            with torch.inference_mode():
                return function(x)

        return call


class CupyPeer:
    """numpy_peer's functions, computed by CuPy: NumPy hands its calls on to arrays of other libraries."""

    name = "CuPy"

    def __init__(self, weights: Weights) -> None:
        import cupy

        self.cupy = cupy
        self.weights = Weights(*(cupy.asarray(a) for a in weights[:5]))

    def put(self, X: Array) -> Any:
        return self.cupy.asarray(X)

    def fetch(self, result: Any) -> Array:
        return np.asarray(result.get())

    def variants(self, kind: str) -> dict[str, Callable[[Any], Callable[[], Any]]]:
        return {"eager": lambda x: lambda: FUNCTIONS[kind](self.weights, x)}
