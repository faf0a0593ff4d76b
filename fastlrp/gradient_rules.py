"""Rules that follow gradients: controls to compare relevance with, as frozen values with their source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastlrp.objects import as_array
from fastlrp.rules import Rule


class _GradientRule(Rule):
    """Rules that multiply gradients of the score, and have no numbers that kernels compute with."""

    hands_down: ClassVar[bool] = False

    @property
    def numbers(self) -> tuple[float, float, float]:
        """None."""
        return 0.0, 0.0, 0.0


@dataclass(frozen=True)
class GradientXInput(_GradientRule):
    """x * d score/dx: a control to compare relevance with, not a decomposition.

    A gradient says what a small change of X does. Values need not add up to the score: ``unattributed`` is what is
    missing, by definition, and ``initial_state`` is 0.

    References
    ----------
    Shrikumar, Greenside, Shcherbina, Kundaje 2016 (arXiv:1605.01713).
    """

    conserves: ClassVar[bool] = False
    conserves_only: ClassVar[str] = (
        "a gradient says what a small change does, and times the input it need not add up; as a control compare "
        "rankings rather than amounts, or take fastlrp.IntegratedGradients(), which adds up"
    )
    totals: ClassVar[str] = "unattributed is what is missing in the score, by definition, so there is no gap"

    @property
    def name(self) -> str:
        """gradient_x_input."""
        return "gradient_x_input"


@dataclass(frozen=True)
class IntegratedGradients(_GradientRule):
    """(x - baseline) times the gradient of the score, averaged over the straight line from the baseline to x.

    Completeness: relevance adds up to score - score(baseline). ``unattributed`` is score(baseline), and the gap of
    :meth:`Relevance.reconcile` is the error of the average, which more steps make smaller; ``explain`` warns where it
    is large. ``initial_state`` is 0.

    Parameters
    ----------
    n_steps : int
        Gauss-Legendre nodes on the line, 1 to 1,000; time is in proportion.
    baseline : array (feature,) or (step, feature), oldest step first, or None
        Where relevance is zero, in X's units and the network's order of features. None: zeros, the mean of
        standardised features. Kept as nested tuples.
    static : array (static,) or None
        The same for static features, of networks that have some.

    References
    ----------
    Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks (arXiv:1703.01365).
    """

    n_steps: int = 32
    baseline: Any = None
    static: Any = None

    approximates: ClassVar[bool] = True
    totals: ClassVar[str] = "unattributed is the score of the baseline; the gap is the error of n_steps nodes"

    def __post_init__(self) -> None:
        n = self.n_steps
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= 1000:
            raise ValueError(f"IntegratedGradients(n_steps=...) takes a whole number from 1 to 1,000, not {n!r}")
        object.__setattr__(self, "n_steps", int(n))
        object.__setattr__(self, "baseline", _baseline(self.baseline))
        where = "IntegratedGradients(static=...)"
        object.__setattr__(self, "static", _numbers(self.static, where, "an array (static,)", (1,)))

    @property
    def name(self) -> str:
        """integrated_gradients."""
        return "integrated_gradients"

    @property
    def rows(self) -> tuple[tuple[float, ...], ...] | None:
        """The baseline, a row a step, or one row for all steps."""
        one = self.baseline is not None and not isinstance(self.baseline[0], tuple)
        return (self.baseline,) if one else self.baseline

    def check_fits(self, steps: int, n_features: int, dtype: np.dtype[Any], n_static: int = 0) -> None:
        """Refuse a baseline that is not one of these windows, or of these static features."""
        if self.baseline is not None and np.shape(self.baseline) not in ((n_features,), (steps, n_features)):
            raise ValueError(
                f"IntegratedGradients(baseline=...) has shape {np.shape(self.baseline)}, expected ({n_features},) or "
                f"({steps}, {n_features}): a value a feature, or a step and feature"
            )
        if self.static is not None and len(self.static) != n_static:
            raise ValueError(
                f"IntegratedGradients(static=...) has shape {np.shape(self.static)}, but the network takes "
                + (f"{n_static} static features" if n_static else "none: it has no static features")
            )
        for name, values in (("baseline", self.baseline), ("static", self.static)):
            if values is not None and (largest := np.abs(np.array(values)).max()) > np.finfo(dtype).max:
                raise ValueError(f"IntegratedGradients({name}=...) has {largest:g}, which is too large for {dtype}")

    def __repr__(self) -> str:
        shape, static = (
            None if values is None else f"<array {np.shape(values)}>" for values in (self.baseline, self.static)
        )
        beside = "" if static is None else f", static={static}"
        return f"IntegratedGradients(n_steps={self.n_steps}, baseline={shape}{beside})"


def _baseline(given: Any) -> Any:
    """A baseline as nested tuples."""
    return _numbers(given, "IntegratedGradients(baseline=...)", "an array (feature,) or (step, feature)", (1, 2))


def _numbers(given: Any, where: str, wanted: str, axes: tuple[int, ...]) -> Any:
    """Finite numbers as nested tuples, which are values like all other parameters."""
    if given is None:
        return None
    if hasattr(given, "iloc"):
        raise ValueError(
            f"{where} takes {wanted} in the network's order of features, not a {type(given).__name__}, whose names "
            "would not be looked at: give its to_numpy()"
        )
    array = as_array(given, where, wanted)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{where} takes {wanted} of numbers, not one of dtype {array.dtype}")
    if array.ndim not in axes or not array.size:
        raise ValueError(f"{where} has shape {array.shape}, expected {wanted}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        at = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{where} has {array[at]} at {at}, expected finite numbers")
    return tuple(array.tolist() if array.ndim == 1 else map(tuple, array.tolist()))
