"""The doors that take arrays and panels, each as a function of an input of ``edge_inputs`` that returns its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from edge_inputs import FEATURES, D, Given, N, T, layers, relevance, weights

import fastlrp as fl

Array = npt.NDArray[Any]
Door = Callable[[Given], list[Array]]


class Models:
    """A network of each kind, and estimators that were fitted on plain numbers."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.net = fl.Network(layers(rng), steps=T)
        self.named = fl.Network(layers(rng), steps=T, features=FEATURES)
        self.several = fl.Ensemble([fl.Network(layers(rng), steps=T) for _ in range(3)])
        self.X = rng.normal(size=(12, T, D))
        self.y = rng.normal(size=12)
        self.trained = self.regressor().fit(self.X, self.y)

    def regressor(self, **options: Any) -> fl.LSTMRegressor:
        return fl.LSTMRegressor(units=(3,), steps=T, max_iter=1, n_iter_no_change=1, random_state=0, **options)

    # -- of arrays (sample, step, feature) ---------------------------------------------------------------------------

    def cubes(self) -> dict[str, Door]:
        return {
            "predict": lambda given: [self.net.predict(given.X)],
            "predict in float32": lambda given: [self.net.predict(given.X, dtype="float32")],
            "explain": lambda given: relevance(self.net.explain(given.X)),
            "explain by rudder, summed": lambda given: relevance(
                self.net.explain(given.X, rule="rudder", reduce="steps")
            ),
            "explain by gradients": lambda given: relevance(self.net.explain(given.X, rule=fl.IntegratedGradients(4))),
            "an ensemble predicts": lambda given: [self.several.predict(given.X)],
            "an ensemble explains": lambda given: relevance(self.several.explain(given.X)),
        }

    def estimators(self) -> dict[str, Door]:
        def fitted(given: Given) -> list[Array]:
            return weights(self.regressor().fit(given.X, self.y[: _n(given.X)]).network_)

        return {
            "LRPTransformer": lambda given: [fl.LRPTransformer(self.net).fit(given.X).transform(given.X)],
            "LSTMRegressor.fit": fitted,
            "LSTMRegressor.predict": lambda given: [self.trained.predict(given.X)],
            "LSTMRegressor.explain": lambda given: relevance(self.trained.explain(given.X)),
        }

    # -- of panels ----------------------------------------------------------------------------------------------------

    def panels(self) -> dict[str, Door]:
        return {
            "predict": lambda given: [np.asarray(self.named.predict(given.X))],
            "explain": lambda given: relevance(self.named.explain(given.X)),
        }


def _n(X: Any) -> int:
    """How many targets an input takes."""
    counted = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.ndim > 0)
    return len(X) if counted else N
