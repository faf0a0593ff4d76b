"""The doors that take arrays and panels, each as a function of an input of ``edge_inputs`` that returns its numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from edge_inputs import (
    ASSETS,
    FEATURES,
    MONTHS,
    D,
    Given,
    N,
    T,
    layers,
    plain_frame,
    plain_target,
    relevance,
    weights,
)

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
        self.several_named = self.several.with_features(FEATURES)
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

    def tests(self) -> dict[str, Door]:
        return {
            "an ensemble explains": lambda given: relevance(self.several_named.explain(given.X)),
            "LRPTransformer": lambda given: [_numbers(fl.LRPTransformer(self.named).fit(given.X).transform(given.X))],
            "compare": lambda given: [_numbers(self.compared(given.X))],
            "faithfulness": lambda given: [_numbers(self.tested(given.X))],
        }

    def compared(self, X: Any) -> Any:
        return fl.compare(self.named, X, ["arras", "rudder"]).table.select_dtypes("number")

    def tested(self, X: Any) -> Any:
        return fl.faithfulness(
            self.named, X, self.named.explain(X), points=3, n_random=2, replace="zero", random_state=0
        ).table()

    def learning(self) -> dict[str, Door]:
        """Of panels with a target; fitted ones were fitted on the plain frame."""
        frame = plain_frame(np.random.default_rng(1).normal(size=(ASSETS * MONTHS, D)))
        alone, rolling = self.regressor().fit(frame, plain_target(frame)), self.rolling()
        rolling.fit(frame, plain_target(frame))

        def fitted(given: Given) -> list[Array]:
            return weights(self.regressor().fit(given.X, given.y).network_)

        def rolled(given: Given) -> list[Array]:
            made = self.rolling().fit(given.X, given.y)
            return [array for net in made.networks_ for array in weights(net)]

        return {
            "LSTMRegressor.fit": fitted,
            "LSTMRegressor.predict": lambda given: [np.asarray(alone.predict(given.X))],
            "LSTMRegressor.explain": lambda given: relevance(alone.explain(given.X)),
            "RollingLSTM.fit": rolled,
            "RollingLSTM.predict": lambda given: [np.asarray(rolling.predict(given.X))],
            "RollingLSTM.explain": lambda given: relevance(rolling.explain(given.X)),
        }

    def cross_sections(self) -> dict[str, Door]:
        return {
            type(model).__name__: lambda given, model=model: [_numbers(model.fit(given.X).transform(given.X))]
            for model in (fl.CrossSectionalRank(), fl.CrossSectionalZScore(), fl.CrossSectionalDemean())
        }

    def rolling(self) -> fl.RollingLSTM:
        return fl.RollingLSTM(self.regressor(), window=5, step=3)

    # -- of targets, and of weights, of the samples that the models hold ----------------------------------------------

    def targets(self) -> dict[str, Door]:
        X = self.X[:N]
        return {
            "y of fit": lambda given: weights(self.regressor().fit(X, given.X).network_),
            "y of score": lambda given: [np.array(self.trained.score(X, given.X))],
        }

    def weights(self) -> dict[str, Door]:
        X, y = self.X[:N], self.y[:N]
        return {
            "sample_weight of fit": lambda given: weights(self.regressor().fit(X, y, given.X).network_),
            "sample_weight of score": lambda given: [np.array(self.trained.score(X, y, given.X))],
        }


def _numbers(made: Any) -> Array:
    return np.asarray(made, float)


def _n(X: Any) -> int:
    """How many targets an input takes."""
    counted = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.ndim > 0)
    return len(X) if counted else N
