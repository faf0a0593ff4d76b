"""fastlrp: LSTM forward passes and layer-wise relevance propagation over whole panels, compiled.

Only values are imported with the package. What needs Numba, h5py or scikit-learn is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import fastlrp.kernels.program.rules  # noqa: F401  # registers Arras and Rudder with their programs
from fastlrp.errors import ConservationWarning, ModelFileError
from fastlrp.network import LSTM, Bidirectional, Dense, Dropout, Network
from fastlrp.rules import Arras, Rudder

if TYPE_CHECKING:
    from fastlrp.estimator import LSTMRegressor
    from fastlrp.keras import describe_keras, read_keras, write_keras
    from fastlrp.preprocessing import CrossSectionalRank, CrossSectionalWinsorizer, CrossSectionalZScore
    from fastlrp.relevance import Relevance
    from fastlrp.rolling import RollingLSTM
    from fastlrp.transformer import LRPTransformer

__version__ = "0.1.0"
__all__ = [
    "LSTM",
    "Arras",
    "Bidirectional",
    "ConservationWarning",
    "CrossSectionalRank",
    "CrossSectionalWinsorizer",
    "CrossSectionalZScore",
    "Dense",
    "Dropout",
    "LRPTransformer",
    "LSTMRegressor",
    "ModelFileError",
    "Network",
    "Relevance",
    "RollingLSTM",
    "Rudder",
    "describe_keras",
    "read_keras",
    "write_keras",
]

_LATER = {
    "CrossSectionalRank": "preprocessing",
    "CrossSectionalWinsorizer": "preprocessing",
    "CrossSectionalZScore": "preprocessing",
    "LRPTransformer": "transformer",
    "LSTMRegressor": "estimator",
    "Relevance": "relevance",
    "RollingLSTM": "rolling",
    "describe_keras": "keras",
    "read_keras": "keras",
    "write_keras": "keras",
}


#: Modules that users import; not in ``__all__``, where ``from fastlrp import *`` would overwrite what they call data.
_MODULES = ("data", "plot")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fastlrp.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'fastlrp' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"fastlrp.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
