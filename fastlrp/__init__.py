"""fastlrp: LSTM forward passes and layer-wise relevance propagation over whole panels, compiled."""

from __future__ import annotations

from fastlrp.errors import ConservationWarning, ModelFileError
from fastlrp.network import LSTM, Bidirectional, Dense, Dropout, Network
from fastlrp.rules import Arras, Rudder

__version__ = "0.1.0"
__all__ = [
    "LSTM",
    "Arras",
    "Bidirectional",
    "ConservationWarning",
    "Dense",
    "Dropout",
    "ModelFileError",
    "Network",
    "Rudder",
]
