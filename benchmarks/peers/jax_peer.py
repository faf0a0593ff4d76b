"""JAX under jit: lax.scan forward, a reverse scan for relevance, and products moved out of the scan where possible."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.cases import EPS, Array, Weights
from benchmarks.peers.base import Peer

jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_platforms", "cpu")


def _step(w: Weights, carry: tuple[Any, Any], z: Any) -> tuple[Any, Any, Any, Any, Any]:
    h, c = carry
    zi, zf, zg, zo = jnp.split(z + h @ w.U, 4, axis=1)
    written = jax.nn.sigmoid(zi) * jnp.tanh(zg)
    kept = jax.nn.sigmoid(zf) * c
    c = written + kept
    return jax.nn.sigmoid(zo) * jnp.tanh(c), c, written, kept, zg


def _start(w: Weights, X: Any) -> tuple[Any, tuple[Any, Any]]:
    zero = jnp.zeros((X.shape[0], w.U.shape[0]), X.dtype)
    return jnp.einsum("ntd,dk->tnk", X, w.W) + w.b, (zero, zero)


@jax.jit
def forward(w: Weights, X: Any) -> Any:
    """Scores (n,)."""
    Z, carry = _start(w, X)
    (h, _), _ = lax.scan(lambda carry, z: (_step(w, carry, z)[:2], None), carry, Z)
    return (h @ w.V + w.c)[:, 0]


def _states(w: Weights, X: Any) -> tuple[Any, Any, Any, Any, Any]:
    def step(carry: tuple[Any, Any], z: Any) -> tuple[Any, Any]:
        h, c, written, kept, zg = _step(w, carry, z)
        return (h, c), (written, kept, zg, carry[0])

    Z, carry = _start(w, X)
    (h, _), kept = lax.scan(step, carry, Z)
    return (h, *kept)


def _eps(z: Any) -> Any:
    return jnp.where(z >= 0, z.dtype.type(EPS), z.dtype.type(-EPS))


def _head(w: Weights, h: Any) -> Any:
    z = h @ w.V + w.c
    s = _eps(z)
    q = z / (z + s)
    return h * (q @ w.V.T) + s * q / w.V.shape[0]


@partial(jax.jit, static_argnames="rule")
def relevance(w: Weights, X: Any, rule: str) -> Any:
    """Relevance (n, T, D)."""
    H, D = w.U.shape[0], X.shape[2]
    Wg, Ug = w.W[:, 2 * H : 3 * H], w.U[:, 2 * H : 3 * H]
    h, written, kept, zg, h_before = _states(w, X)
    Rh = _head(w, h)
    if rule == "rudder":
        c = written[-1] + kept[-1]
        s = _eps(zg)
        Q = written * (Rh / (c + _eps(c))) / (zg + s)
        shares = (s * Q).sum(2) / D
    else:

        def step(carry: tuple[Any, Any], now: Any) -> tuple[Any, Any]:
            (Rh, Rc), (written, kept, zg, h) = carry, now
            c = written + kept
            s = _eps(c)
            q = (Rc + Rh) / (c + s)
            share = (s * q).sum(1, keepdims=True) / (2 * H)
            Rg = written * q + share
            sg = _eps(zg)
            qg = Rg / (zg + sg)
            shared = (sg * qg).sum(1, keepdims=True) / (D + H)
            return (h * (qg @ Ug.T) + shared, kept * q + share), (qg, shared[:, 0])

        _, (Q, shares) = lax.scan(step, (Rh, jnp.zeros_like(Rh)), (written, kept, zg, h_before), reverse=True)
    return X * jnp.einsum("tnh,dh->ntd", Q, Wg) + shares.T[:, :, None]


class JaxPeer(Peer):
    """The jitted functions above; compiling is not timed."""

    name = "JAX"

    def __init__(self, weights: Weights, threads: int) -> None:
        super().__init__(weights, threads)
        if weights.W.dtype == np.float64:
            jax.config.update("jax_enable_x64", True)
        self.device_weights = Weights(*(jnp.asarray(a) for a in weights[:5]))

    @classmethod
    def version(cls) -> str:
        return jax.__version__

    def put(self, X: Array) -> Any:
        return jax.block_until_ready(jnp.asarray(X))

    def compute(self, kind: str, x: Any) -> Any:
        return forward(self.device_weights, x) if kind == "forward" else relevance(self.device_weights, x, kind)

    def wait(self, results: list[Any]) -> None:
        jax.block_until_ready(results)


PEER = JaxPeer
