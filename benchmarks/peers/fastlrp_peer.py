"""fastlrp itself, through its public names only; its batches are not cut."""

from __future__ import annotations

import warnings
from typing import Any

import fastlrp as fl
from benchmarks.cases import EPS, Weights
from benchmarks.peers.base import Peer, PeerMissingError


def network(w: Weights, steps: int | None = None) -> fl.Network:
    """LSTM layers and Dense(1) as a fastlrp network."""
    below = [fl.LSTM(*layer, return_sequences=True) for layer in w.below]
    return fl.Network([*below, fl.LSTM(w.W, w.U, w.b), fl.Dense(w.V, w.c)], steps=steps)


def quiet() -> None:
    """Silence rudder's warning about unattributed relevance, which is no news with random weights."""
    warnings.simplefilter("ignore", fl.ConservationWarning)


class FastlrpPeer(Peer):
    """Network.predict and Network.explain, input checks and totals included."""

    name = "fastlrp"
    tunable = False
    stacked = ("forward", "arras")

    def __init__(self, weights: Weights, threads: int) -> None:
        super().__init__(weights, threads)
        quiet()
        self.network = network(weights)
        self.rules = {"arras": fl.Arras(eps=EPS), "rudder": fl.Rudder(eps=EPS)}

    @classmethod
    def version(cls) -> str:
        try:
            import fastlrp.explain  # noqa: F401
        except ImportError as error:
            raise PeerMissingError(f"fastlrp cannot explain yet: {error}") from error
        return fl.__version__

    def compute(self, kind: str, x: Any) -> Any:
        if kind == "forward":
            return self.network.predict(x, threads=self.threads)
        return self.network.explain(x, rule=self.rules[kind], threads=self.threads).values


PEER = FastlrpPeer
