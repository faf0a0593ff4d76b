"""The network that an estimator's parameters describe, with first weights drawn as Keras draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastlrp.model.layers import LSTM, Array, Bidirectional, Dense, Dropout, Layer, Masking
from fastlrp.network import Network

#: The value of steps before a short history, of every feature. It is the usual code for a missing number; 0, Keras'
#: default, is what standardised features have where nothing is unusual, and such a month would be masked.
PADDING = -999.0


@dataclass(frozen=True)
class Architecture:
    """A user's choices about the network, made before the data are known."""

    units: tuple[int, ...]
    dense_units: tuple[int, ...] = ()
    bidirectional: bool = False
    dropout: float = 0.0
    dense_activation: str = "relu"
    masks: bool = False

    def network(
        self,
        n_features: int,
        n_outputs: int,
        rng: np.random.Generator,
        dtype: npt.DTypeLike,
        *,
        steps: int | None = None,
        features: Sequence[str] | None = None,
        static: Sequence[str] = (),
        outputs: Sequence[str] | None = None,
    ) -> Network:
        """A network with first weights as in Keras: Glorot W, orthogonal U, zero biases but 1 at forget gates."""
        layers: list[Layer] = [Masking(PADDING)] if self.masks else []
        width = n_features
        for k, units in enumerate(self.units):
            more = k < len(self.units) - 1
            one = _first_lstm(width, units, more, rng, dtype)
            two = _first_lstm(width, units, more, rng, dtype) if self.bidirectional else None
            layers.append(one if two is None else Bidirectional(one, two))
            layers += [Dropout(self.dropout)] * (self.dropout > 0)
            width = units * (1 + self.bidirectional)
        width += len(static)
        for units in self.dense_units:
            layers.append(Dense(_glorot(width, units, rng, dtype), np.zeros(units, dtype), self.dense_activation))
            layers += [Dropout(self.dropout)] * (self.dropout > 0)
            width = units
        layers.append(Dense(_glorot(width, n_outputs, rng, dtype), np.zeros(n_outputs, dtype)))
        return Network(layers, steps=steps, features=features, static=static, outputs=outputs)


def _first_lstm(width: int, units: int, sequences: bool, rng: np.random.Generator, dtype: npt.DTypeLike) -> LSTM:
    from fastlrp.kernels.training.orthogonal import orthonormal_rows

    W = _glorot(width, 4 * units, rng, dtype)
    U = np.ascontiguousarray(rng.standard_normal((4 * units, units)).T)
    orthonormal_rows(U)
    b = np.zeros(4 * units, dtype)
    b[units : 2 * units] = 1
    return LSTM(W, U.astype(dtype), b, return_sequences=sequences)


def _glorot(width: int, units: int, rng: np.random.Generator, dtype: npt.DTypeLike) -> Array:
    limit = np.sqrt(6 / (width + units))
    return rng.uniform(-limit, limit, (width, units)).astype(dtype)
