"""The measured libraries: fastlrp and those users might pick instead, each behind the same three methods."""

from __future__ import annotations

from importlib import import_module

from benchmarks.peers.base import Peer, PeerMissingError

_MODULES = {
    "fastlrp": "fastlrp_peer",
    "NumPy": "numpy_peer",
    "torch": "torch_peer",
    "JAX": "jax_peer",
    "physioex": "physioex_peer",
    "ONNX Runtime": "onnxruntime_peer",
    "OpenVINO": "openvino_peer",
}
NAMES = tuple(_MODULES)


def load(name: str) -> type[Peer]:
    """The class of a peer; raises PeerMissingError, which says why, where it cannot run."""
    try:
        peer: type[Peer] = import_module(f"benchmarks.peers.{_MODULES[name]}").PEER
    except ImportError as error:
        raise PeerMissingError(f"{name} cannot be imported here: {error}") from error
    return peer


__all__ = ["NAMES", "Peer", "PeerMissingError", "load"]
