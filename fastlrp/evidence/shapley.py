"""Shapley values by the package shap: an explanation that knows nothing of the network but its scores."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastlrp.evidence.samples import Model
from fastlrp.messages import install_hint

Array = npt.NDArray[Any]
#: Samples at most: each takes two scores a (step, feature) cell.
MOST = 50


def need_shap() -> Any:
    """The package shap.

    Raises
    ------
    ImportError
        If it is missing.
    """
    try:
        import shap
    except ImportError:
        raise ImportError(f"the rule 'shap' needs the package shap: {install_hint('shap', 'shap')}") from None
    return shap


def shapley_values(model: Model, X: Array, background: Array, seed: int) -> Array:
    """Estimated Shapley values (sample, step, feature): a cell's mean effect in one random order and its reverse.

    Parameters
    ----------
    model : Model
    X : array (sample, step, feature)
    background : array (step, feature)
        What stands in a cell's place before it is added.
    seed : int
        Of the orders.
    """
    shap = need_shap()
    n, T, D = X.shape

    def scores(rows: Array) -> Array:
        return model.scores(np.asarray(rows, X.dtype).reshape(-1, T, D))

    masker = shap.maskers.Independent(background.reshape(1, -1))
    explainer = shap.PermutationExplainer(scores, masker, seed=seed)
    found = explainer(X.reshape(n, -1), max_evals=2 * T * D + 1, silent=True)
    return cast(Array, found.values).reshape(n, T, D)
