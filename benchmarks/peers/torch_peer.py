"""PyTorch on the CPU: its own nn.LSTM forward, and relevance vectorised over a chunk in eager torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from benchmarks.cases import EPS, Array, Weights
from benchmarks.peers.base import Peer

Tensor = torch.Tensor


class TorchPeer(Peer):
    """Forward is nn.LSTM and nn.Linear; for relevance the cell is written out, since nn.LSTM keeps no gates."""

    name = "torch"
    stacked = ("forward",)

    def __init__(self, weights: Weights, threads: int) -> None:
        super().__init__(weights, threads)
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        self.tensors = Weights(*(torch.from_numpy(a) for a in weights[:5]))
        self.stabiliser = self.tensors.W.new_tensor([EPS, -EPS])
        self.H, layers = len(weights.U), weights.stack
        dtype = self.tensors.W.dtype
        self.lstm = torch.nn.LSTM(len(layers[0][0]), self.H, len(layers), batch_first=True, dtype=dtype)
        self.dense = torch.nn.Linear(self.H, 1, dtype=dtype)
        pairs = [(self.dense.weight, weights.V.T), (self.dense.bias, weights.c)]
        for mine, (W, U, b) in zip(self.lstm.all_weights, layers, strict=True):
            pairs += zip(mine, (W.T, U.T, b, np.zeros_like(b)), strict=True)
        with torch.no_grad():
            for parameter, value in pairs:
                parameter.copy_(torch.from_numpy(value))
        for module in (self.lstm, self.dense):
            module.eval().requires_grad_(False)

    @classmethod
    def version(cls) -> str:
        return str(torch.__version__)

    def put(self, X: Array) -> Tensor:
        return torch.from_numpy(X)

    def use_one_thread(self) -> None:
        torch.set_num_threads(1)

    @contextmanager
    def one_thread_inside(self) -> Iterator[None]:
        try:
            torch.set_num_threads(1)
            yield
        finally:
            torch.set_num_threads(self.threads)

    def compute(self, kind: str, x: Tensor) -> Tensor:
        with torch.inference_mode():
            return {"forward": self._forward, "arras": self._arras, "rudder": self._rudder}[kind](x)

    def _forward(self, x: Tensor) -> Tensor:
        return self.dense(self.lstm(x)[1][0][-1])[:, 0]

    def _eps(self, z: Tensor) -> Tensor:
        """Eps with the sign of z, taken as + at zero."""
        return torch.where(z >= 0, self.stabiliser[0], self.stabiliser[1])

    def _states(self, X: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """i*g, f*c[t-1], zg and h of every step."""
        w, H, (n, T, D) = self.tensors, self.H, X.shape
        Z = torch.addmm(w.b, X.view(n * T, D), w.W).view(n, T, 4 * H)
        written, kept, zgs, hs = [], [], [], []
        c = X.new_zeros(n, H)
        for t in range(T):
            z = torch.addmm(Z[:, t], hs[-1], w.U) if t else Z[:, t]
            zi, zf, zg, zo = z.split(H, 1)
            written.append(torch.sigmoid(zi).mul_(torch.tanh(zg)))
            kept.append(torch.sigmoid(zf).mul_(c))
            zgs.append(zg)
            c = written[-1] + kept[-1]
            hs.append(torch.tanh(c).mul_(torch.sigmoid(zo)))
        return written, kept, zgs, hs

    def _head(self, h: Tensor) -> Tensor:
        z = torch.addmm(self.tensors.c, h, self.tensors.V)
        s = self._eps(z)
        q = z / (z + s)
        return torch.addcmul(s * q / self.H, h, q @ self.tensors.V.T)

    def _arras(self, X: Tensor) -> Tensor:
        H, (n, T, D) = self.H, X.shape
        written, kept, zgs, hs = self._states(X)
        Wg, Ug = (m[:, 2 * H : 3 * H].T for m in (self.tensors.W, self.tensors.U))
        Q, shares = X.new_empty(n, T, H), X.new_empty(n, T, 1)
        Rh, Rc = self._head(hs[-1]), X.new_zeros(n, H)
        for t in reversed(range(T)):
            c = kept[t] + written[t]
            s = self._eps(c)
            q = (Rc + Rh).div_(c.add_(s))
            share = s.mul_(q).sum(1, keepdim=True).div_(2 * H)
            Rc = torch.addcmul(share, kept[t], q)
            Rg = torch.addcmul(share, written[t], q)
            s = self._eps(zgs[t])
            q = torch.div(Rg, zgs[t] + s)
            Q[:, t] = q
            shares[:, t] = s.mul_(q).sum(1, keepdim=True).div_(D + H)
            if t:
                Rh = torch.addcmul(shares[:, t], hs[t - 1], q @ Ug)
        R = torch.mm(Q.view(n * T, H), Wg).view(n, T, D)
        return R.mul_(X).add_(shares)

    def _rudder(self, X: Tensor) -> Tensor:
        H, (n, T, D) = self.H, X.shape
        written, kept, zgs, hs = self._states(X)
        c = kept[-1] + written[-1]
        q = self._head(hs[-1]) / (c + self._eps(c))
        Z = torch.stack(zgs, 1)
        s = self._eps(Z)
        Q = torch.stack(written, 1).mul_(q[:, None]).div_(Z.add_(s))
        shares = s.mul_(Q).sum(2, keepdim=True).div_(D)
        R = torch.mm(Q.view(n * T, H), self.tensors.W[:, 2 * H : 3 * H].T).view(n, T, D)
        return R.mul_(X).add_(shares)

    def fetch(self, result: Any) -> Array:
        array: Array = result.numpy()
        return array


PEER = TorchPeer
