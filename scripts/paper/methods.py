"""Ways to say what a network's prediction came from, each as a function of network and windows."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.inspection import permutation_importance

import fastlrp as fl

Array = npt.NDArray[np.floating]


def _by(rule: str | fl.Rule) -> Callable[[fl.Network, Array], Array]:
    def explain(net: fl.Network, X: Array) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fl.ConservationWarning)  # the tables tell how far a rule is off
            return net.explain(X, rule=rule).values

    return explain


CHOICES: dict[str, str | fl.Rule] = {
    "arras": "arras",
    "arras, eps=1e-5": fl.Arras(eps=1e-5),
    "arras, delta=1": fl.Arras(delta=1),
    "arras, recurrent=False": fl.Arras(recurrent=False),
    "rudder": "rudder",
    "gradient x input": "gradient_x_input",
    "integrated gradients": fl.IntegratedGradients(n_steps=16),
}
#: Relevance (sample, step, feature) by each rule of the library.
RULES = {name: _by(rule) for name, rule in CHOICES.items()}


def permutation(model: fl.LSTMRegressor, X: Array, y: Array, seed: int) -> Array:
    """The loss of R^2 where one cell is permuted over samples: one number a cell (step, feature), without a sign."""
    flat = X.reshape(len(X), -1)
    found = permutation_importance(model, flat, y, n_repeats=3, random_state=seed)
    return found.importances_mean.reshape(X.shape[1:])


def shap_values(net: fl.Network, X: Array, background: Array, seed: int) -> Array:
    """Shapley values by sampled permutations of cells (``shap.PermutationExplainer``), against some other windows.

    Raises
    ------
    ImportError
        If shap is not installed.
    """
    import shap

    shape = X.shape[1:]
    flat, others = X.reshape(len(X), -1), background.reshape(len(background), -1)
    explainer = shap.PermutationExplainer(lambda x: net.predict(x.reshape(-1, *shape)), others, seed=seed)
    told = explainer(flat, max_evals=2 * flat.shape[1] + 1, silent=True)
    return told.values.reshape(X.shape)
