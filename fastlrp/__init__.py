"""fastlrp: LSTM and GRU forward passes and layer-wise relevance propagation over whole panels, compiled.

Importing the package loads nothing else: each name is loaded on first use, and modules that need Numba, h5py, pandas
or scikit-learn only when they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlrp.ensemble import Ensemble
    from fastlrp.errors import ArchitectureWarning, ConservationWarning, ModelFileError, OverflowWarning
    from fastlrp.evidence.compare import compare
    from fastlrp.evidence.faithfulness import faithfulness
    from fastlrp.files.explain_file import explain_file
    from fastlrp.gradient_rules import GradientXInput, IntegratedGradients
    from fastlrp.keras import describe_keras, read_keras, write_keras
    from fastlrp.learning.null import null_relevance
    from fastlrp.learning.preprocessing import (
        CrossSectionalDemean,
        CrossSectionalRank,
        CrossSectionalWinsorizer,
        CrossSectionalZScore,
    )
    from fastlrp.learning.regressor import LSTMRegressor
    from fastlrp.learning.rolling import RollingLSTM
    from fastlrp.learning.split import PanelSplit
    from fastlrp.learning.transformer import LRPTransformer
    from fastlrp.model.layers import GRU, LSTM, Bidirectional, Dense, Dropout, Masking
    from fastlrp.network import Network
    from fastlrp.relevance.loading import load_relevance
    from fastlrp.relevance.result import Relevance
    from fastlrp.reporting.report import report
    from fastlrp.rules import Arras, Rudder

__version__ = "0.1.0"
__all__ = [
    "GRU",
    "LSTM",
    "ArchitectureWarning",
    "Arras",
    "Bidirectional",
    "ConservationWarning",
    "CrossSectionalDemean",
    "CrossSectionalRank",
    "CrossSectionalWinsorizer",
    "CrossSectionalZScore",
    "Dense",
    "Dropout",
    "Ensemble",
    "GradientXInput",
    "IntegratedGradients",
    "LRPTransformer",
    "LSTMRegressor",
    "Masking",
    "ModelFileError",
    "Network",
    "OverflowWarning",
    "PanelSplit",
    "Relevance",
    "RollingLSTM",
    "Rudder",
    "compare",
    "describe_keras",
    "explain_file",
    "faithfulness",
    "load_relevance",
    "null_relevance",
    "read_keras",
    "report",
    "write_keras",
]

#: The module of each public name.
_HOMES = {
    "GRU": "model.layers",
    "LSTM": "model.layers",
    "ArchitectureWarning": "errors",
    "Arras": "rules",
    "Bidirectional": "model.layers",
    "ConservationWarning": "errors",
    "CrossSectionalDemean": "learning.preprocessing",
    "CrossSectionalRank": "learning.preprocessing",
    "CrossSectionalWinsorizer": "learning.preprocessing",
    "CrossSectionalZScore": "learning.preprocessing",
    "Dense": "model.layers",
    "Dropout": "model.layers",
    "Ensemble": "ensemble",
    "GradientXInput": "gradient_rules",
    "IntegratedGradients": "gradient_rules",
    "LRPTransformer": "learning.transformer",
    "LSTMRegressor": "learning.regressor",
    "Masking": "model.layers",
    "ModelFileError": "errors",
    "Network": "network",
    "OverflowWarning": "errors",
    "PanelSplit": "learning.split",
    "Relevance": "relevance.result",
    "RollingLSTM": "learning.rolling",
    "Rudder": "rules",
    "compare": "evidence.compare",
    "describe_keras": "keras",
    "explain_file": "files.explain_file",
    "faithfulness": "evidence.faithfulness",
    "load_relevance": "relevance.loading",
    "null_relevance": "learning.null",
    "read_keras": "keras",
    "report": "reporting.report",
    "write_keras": "keras",
}
#: Modules that users import; kept out of ``__all__``: ``from fastlrp import *`` would overwrite a user's ``data``.
_MODULES = ("cluster", "data", "plot")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"fastlrp.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fastlrp' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"fastlrp.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
