"""Batched NumPy: all samples of a chunk at once, BLAS for the products, in place where possible.

In float64 it is also the standard that errors are measured against. It is written from the published formulas and
shares no code with fastlrp. Arrays are made like X, so that the same functions run on CuPy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import EPS, Array, Weights
from benchmarks.peers.base import Peer

Layer = tuple[Array, Array, Array]  # W, U, b


class States(NamedTuple):
    """The forward pass's values that relevance needs, (step, sample, unit) each."""

    written: Array  # i*g
    kept: Array  # f*c[t-1]
    zg: Array
    h: Array

    @property
    def output(self) -> Array:
        """h as the layer above reads it: (sample, step, unit)."""
        return self.h.transpose(1, 0, 2)


def _gates(z: Array, H: int) -> tuple[Array, Array, Array, Array]:
    """i, f, g, o from one call of tanh: sigmoid(z) = tanh(z/2)/2 + 1/2."""
    for gate in (z[:, : 2 * H], z[:, 3 * H :]):
        gate *= 0.5
    np.tanh(z, out=z)
    for gate in (z[:, : 2 * H], z[:, 3 * H :]):
        gate *= 0.5
        gate += 0.5
    return z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]


def _project(layer: Layer, X: Array) -> Array:
    (W, _, b), (n, T, D) = layer, X.shape
    Z = X.reshape(n * T, D) @ W
    Z += b
    return Z.reshape(n, T, -1)


def forward(w: Weights, X: Array) -> Array:
    """Scores (n,)."""
    for layer in w.below:
        X = states(layer, X).output
    Z, H = _project(w.stack[-1], X), len(w.U)
    h = c = None
    for t in range(X.shape[1]):
        z = Z[:, t] if h is None else Z[:, t] + h @ w.U
        i, f, g, o = _gates(z, H)
        i *= g
        if c is not None:
            f *= c
            i += f
        c = i.copy()
        h = np.tanh(c) * o
    return (h @ w.V + w.c)[:, 0]


def states(layer: Layer, X: Array) -> States:
    """A layer's forward pass, keeping what relevance needs."""
    U = layer[1]
    Z, H, (n, T, _) = _project(layer, X), len(U), X.shape
    kept = States(*(np.empty_like(X, shape=(T, n, H)) for _ in range(4)))
    c = np.zeros_like(X, shape=(n, H))
    for t in range(T):
        z = Z[:, t]
        if t:
            z += kept.h[t - 1] @ U
        kept.zg[t] = z[:, 2 * H : 3 * H]
        i, f, g, o = _gates(z, H)
        np.multiply(i, g, out=kept.written[t])
        np.multiply(f, c, out=kept.kept[t])
        np.add(kept.written[t], kept.kept[t], out=c)
        np.multiply(np.tanh(c), o, out=kept.h[t])
    return kept


def _eps(z: Array, eps: float) -> Array:
    """Eps with the sign of z, taken as + at zero."""
    return np.where(z >= 0, z.dtype.type(eps), z.dtype.type(-eps))


def _head(w: Weights, h: Array, eps: float) -> Array:
    """Relevance of h[T]: the linear rule on the score, N = H."""
    z = h @ w.V + w.c
    s = _eps(z, eps)
    q = z / (z + s)
    return h * (q @ w.V.T) + s * q / h.dtype.type(len(w.U))


def arras(w: Weights, X: Array, eps: float = EPS) -> Array:
    """Relevance (n, T, D) of the signal-take-all rule, with the path through h."""
    inputs, kept = [X], []
    for layer in w.stack:
        kept.append(states(layer, inputs[-1]))
        inputs.append(kept[-1].output)
    R = _arras(w.stack[-1], inputs[-2], kept[-1], _head(w, kept[-1].h[-1], eps), None, eps)
    for layer, x, st in reversed(list(zip(w.below, inputs, kept, strict=False))):
        R = _arras(layer, x, st, R[:, -1], R, eps)
    return R


def _arras(layer: Layer, X: Array, st: States, Rh: Array, above: Array | None, eps: float) -> Array:
    """Relevance of a layer's inputs; ``above`` (n, T, H) is that of its outputs at all steps, ``Rh`` at the last."""
    (n, T, D), (W, U, _), H = X.shape, layer, len(layer[1])
    Wg, Ug = W[:, 2 * H : 3 * H], U[:, 2 * H : 3 * H]
    Q, shares = np.empty_like(X, shape=(n, T, H)), np.empty_like(X, shape=(n, T, 1))
    Rc = np.zeros_like(X, shape=(n, H))
    for t in reversed(range(T)):
        Rc += Rh
        c = st.kept[t] + st.written[t]
        s = _eps(c, eps)
        q = Rc / (c + s)
        share = (s * q).sum(1, keepdims=True) / X.dtype.type(2 * H)
        Rc = st.kept[t] * q + share
        Rg = st.written[t] * q + share
        s = _eps(st.zg[t], eps)
        q = np.divide(Rg, st.zg[t] + s, out=Q[:, t])
        shares[:, t] = (s * q).sum(1, keepdims=True) / X.dtype.type(D + H)
        if t:
            Rh = st.h[t - 1] * (q @ Ug.T) + shares[:, t]
            if above is not None:
                Rh += above[:, t - 1]
    R = (Q.reshape(n * T, H) @ Wg.T).reshape(n, T, D)
    R *= X
    R += shares
    return R


def rudder(w: Weights, X: Array, eps: float = EPS) -> Array:
    """Relevance (n, T, D) without the forget gates' discount."""
    (n, T, D), H, st = X.shape, len(w.U), states(w.stack[-1], X)
    c = st.kept[-1] + st.written[-1]
    q = _head(w, st.h[-1], eps) / (c + _eps(c, eps))
    s = _eps(st.zg, eps)
    Q = np.multiply(st.written, q, out=st.written)
    Q /= st.zg + s
    shares = (s * Q).sum(2).T[:, :, None] / X.dtype.type(D)
    Wg = w.W[:, 2 * H : 3 * H]
    R = (Q.transpose(1, 0, 2).reshape(n * T, H) @ Wg.T).reshape(n, T, D)
    R *= X
    R += shares
    return R


FUNCTIONS = {"forward": forward, "arras": arras, "rudder": rudder}


class NumpyPeer(Peer):
    """The functions above as they are."""

    name = "NumPy"
    stacked = ("forward", "arras")

    @classmethod
    def version(cls) -> str:
        return np.__version__

    def compute(self, kind: str, x: Any) -> Any:
        return FUNCTIONS[kind](self.weights, x)

    @contextmanager
    def one_thread_inside(self) -> Iterator[None]:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, user_api="blas"):
            yield


PEER = NumpyPeer
