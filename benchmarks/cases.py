"""The measured cases: shapes, weights, goals. tests/test_benchmarks.py checks them at a small size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

EPS = 1e-3
RULES = ("arras", "rudder")
KINDS = ("forward", *RULES)


class Weights(NamedTuple):
    """LSTM(H) + Dense(1) in Keras' layout: W (D, 4H), U (H, 4H), b (4H,), V (H, 1), c (1,).

    ``below`` has W, U, b of the LSTM layers below that one, the lowest first; each hands on its output at every step.
    """

    W: Array
    U: Array
    b: Array
    V: Array
    c: Array
    below: tuple[tuple[Array, Array, Array], ...] = ()

    @property
    def stack(self) -> tuple[tuple[Array, Array, Array], ...]:
        """W, U, b of all LSTM layers, the lowest first."""
        return (*self.below, (self.W, self.U, self.b))


@dataclass(frozen=True)
class Case:
    """A network of LSTM(units) layers and Dense(1) over windows of (steps, features), and its number of samples."""

    steps: int
    features: int
    units: int
    samples: int
    seed: int = 2024
    layers: int = 1

    @property
    def label(self) -> str:
        return f"{self.steps}, {self.features}, {self.units}"

    def scaled(self, samples: int) -> Case:
        return replace(self, samples=samples)

    def weights(self, dtype: npt.DTypeLike = np.float32) -> Weights:
        """Keras' initial distributions (Glorot, orthogonal, forget bias 1), with non-zero biases."""
        rng, H = np.random.default_rng(self.seed), self.units
        *below, (W, U, b) = [self._lstm(rng, self.features if layer == 0 else H) for layer in range(self.layers)]
        V = rng.uniform(-1, 1, (H, 1)) * np.sqrt(6 / (H + 1))
        arrays = (W, U, b, V, 0.1 * rng.standard_normal(1))

        # Rounded to float32, so that a float64 computation answers the same question as a float32 one.
        def rounded(some: Any) -> tuple[Array, ...]:
            return tuple(np.ascontiguousarray(a, np.float32).astype(dtype) for a in some)

        return Weights(*rounded(arrays), below=tuple(rounded(layer) for layer in below))  # type: ignore[arg-type]

    def _lstm(self, rng: np.random.Generator, D: int) -> tuple[Array, Array, Array]:
        """W, U, b of a layer over D features."""
        H = self.units
        W = rng.uniform(-1, 1, (D, 4 * H)) * np.sqrt(6 / (D + 4 * H))
        U = np.linalg.qr(rng.standard_normal((4 * H, H)))[0].T
        return W, U, 0.1 * rng.standard_normal(4 * H) + np.repeat([0.0, 1.0, 0.0, 0.0], H)

    def inputs(self, dtype: npt.DTypeLike = np.float32) -> Array:
        """X (samples, steps, features), standard normal, like standardised characteristics."""
        rng = np.random.default_rng(self.seed + 1)
        X = rng.standard_normal((self.samples, self.steps, self.features), dtype=np.float32)
        return X.astype(dtype, copy=False)

    @property
    def forward_flops(self) -> float:
        """Operations of a sample's matrix products: two for each weight at each step."""
        T, H = self.steps, self.units
        rows = self.features + H + (self.layers - 1) * 2 * H
        return 2.0 * T * rows * 4 * H + 2.0 * H

    def explain_flops(self, rule: str) -> float:
        """Operations of forward plus relevance, which uses only gate g's weights; rudder leaves out those of h."""
        if rule == "arras":
            return 1.25 * self.forward_flops
        return self.forward_flops + 2.0 * self.steps * (self.features + (self.layers - 1) * self.units) * self.units

    @property
    def panel_flops(self) -> float:
        """arras' ``explain_flops`` where windows overlap: x_t W is computed once a month instead of once a window."""
        T, D, H = self.steps, self.features, self.units
        return 2.0 * D * 4 * H + 2.0 * T * H * 4 * H + 2.0 * T * (D + H) * H


SHAPES = (Case(5, 16, 16, 100_000), Case(5, 16, 32, 100_000), Case(12, 96, 64, 20_000), Case(60, 96, 128, 3_000))
PANEL = Case(12, 96, 32, 300 * 240)
MARKET = Case(12, 94, 32, 4_000_000)
SMALL = Case(5, 16, 32, 1)
#: One sample at a time, beside a runtime that predicts.
SINGLE = (Case(5, 16, 16, 1), Case(12, 96, 64, 1), Case(60, 96, 128, 1))
TINY = Case(4, 6, 8, 24)
TINY_STACK = replace(TINY, layers=3)
#: The models of STAC-ML Markets (Inference), from their public files; samples are those of a batch here.
STAC = {
    "LSTM_A": Case(50, 100, 100, 2048, layers=2),
    "LSTM_B": Case(100, 250, 200, 256, layers=3),
    "LSTM_C": Case(100, 500, 1000, 64, layers=4),
}


@dataclass(frozen=True)
class Goals:
    """The goals; tuples have one entry for each shape."""

    over_best_peer: tuple[float, ...] = (5.0, 2.7, 2.0, 1.8)
    over_torch_forward: float = 1.0
    forward_over_torch: float = 1.0
    share_of_peak_arras: tuple[float, ...] = (0.55, 0.70, 0.85, 0.85)
    share_of_peak_rudder: tuple[float, ...] = (0.50, 0.65, 0.80, 0.80)
    panel_ratio: float = 0.5
    market_memory: float = 1.15
    market_share: float = 0.5
    market_flatness: float = 1.25
    latency_us: float = 60.0
    single_predict_us: float = 20.0
    single_explain_us: float = 25.0
    single_over_runtime: tuple[float, ...] = (0.0, 1.5, 1.5)
    single_p99: float = 2.0
    import_s: float = 0.35
    warm_s: float = 1.2
    cold_s: float = 5.0
    threads: tuple[float, ...] = (0.0, 0.0, 1.8, 1.8)
    float64: float = 0.5
    stac_over_onnx_batch: tuple[float, ...] = (1.0, 1.0, 0.0)
    stac_over_onnx_single: tuple[float, ...] = (1.5, 0.0, 0.0)


GOALS = Goals()
