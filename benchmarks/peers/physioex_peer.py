"""physioex's LRPLSTM: relevance carried by autograd's backward pass, the Arras rule up to terms of the order of eps.

Of its dependencies, only torch is needed here: ``pip install --no-deps physioex``.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch
from physioex.explain.lrp import LRPLSTM, linear_eps

from benchmarks.cases import EPS, Weights
from benchmarks.peers.torch_peer import TorchPeer


class PhysioexPeer(TorchPeer):
    """nn.LSTM turned into an LRPLSTM; its rule puts eps elsewhere, so it answers a slightly different question."""

    name = "physioex"
    kinds = ("arras",)
    note = "its rule stabilises x W and h U apart and hands no stabiliser's share down: the error is the rule's"

    def __init__(self, weights: Weights, threads: int, eps: float = EPS) -> None:
        super().__init__(weights, threads)
        self.eps = eps
        self.explained = LRPLSTM.from_torch(self.lstm, epsilon=eps)

    @classmethod
    def version(cls) -> str:
        return version("physioex")

    def compute(self, kind: str, x: Any) -> Any:
        X = x.detach().requires_grad_(True)
        h = self.explained(X)[1][0][0]
        score = linear_eps(h, self.dense.weight, self.dense.bias, self.eps)
        (R,) = torch.autograd.grad(score, X, score.detach())
        return R


PEER = PhysioexPeer
