"""An explanation that is tested, beside the windows that it is of: whose it is, and how far it moves with its input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.evidence.samples import Model, blocks, gather
from fastlrp.messages import count
from fastlrp.panels.periods import label
from fastlrp.panels.samples import Samples
from fastlrp.relevance.parts import labels
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
_SAME = 1e-3  # how far scores may differ, of their scale: by float32, and by orders of addition
_FEW = 64  # samples that are explained before all others, to see whether they can be


@dataclass(frozen=True, eq=False)
class Tested:
    """An explanation beside the windows that it is of.

    Attributes
    ----------
    model : Model
    samples : Samples
        The windows to test it on.
    relevance : Relevance
    row : int array (sample,)
        Each sample's row of ``relevance``.
    by : {"feature", "cell"}
    """

    model: Model
    samples: Samples
    relevance: Relevance
    row: Array
    by: str

    def units(self, at: slice) -> Array:
        """Relevance of some samples' features or cells, (sample, unit) in float64."""
        values: Array = np.asarray(self.relevance.values[self.row[at]]).astype(np.float64)
        if self.by == "feature" and not self.relevance.reduced:
            return np.asarray(values.sum(axis=1))
        return values.reshape(len(values), -1)

    def windows(self, at: slice) -> Array:
        """Windows (sample, step, feature) of some samples."""
        return gather(self.samples, np.arange(at.start, at.stop))

    def check(self, names: pd.Index) -> None:
        """Refuse relevance of another network, or of other windows: its scores are not the network's."""
        given, parts = self.relevance.score, [self.model.scores(self.windows(at)) for at in blocks(self.samples)]
        own, given = np.concatenate(parts), np.asarray(given[self.row], np.float64)
        off = np.abs(own - given) > _SAME * max(np.abs(own).max(), np.abs(given).max())
        if off.any():
            k = int(off.argmax())
            row = _shown(names[self.samples.caller[k]])
            raise ValueError(
                f"relevance is not of this network and this X: in row {row} its score is {given[k]:g}, the "
                f"network's {own[k]:g}, and so they differ in {count(int(off.sum()), 'row')} of {len(off):,}"
            )

    def check_explained_anew(self) -> None:
        """Refuse relevance that ``explain`` with its rule does not give again, as sensitivity needs it to."""
        at = slice(0, min(_FEW, len(self.samples)))
        given, anew = self.units(at), self._explained(self.windows(at))
        if np.median(_norms(anew - given)) > _SAME * np.median(_norms(given)):
            raise ValueError(
                f"radius= needs relevance that explain(rule={self.relevance.rule!r}, aggregate='sequence') gives, but "
                "it gives another: leave sensitivity out with radius=None"
            )

    def sensitivity(
        self, radius: float, draws: int, seed: int, advance: Callable[[int], object]
    ) -> tuple[Array, Array]:
        """Each sample's max-sensitivity, and the norm of its relevance."""
        rngs = [np.random.default_rng((seed, draws, k)) for k in range(draws)]
        found, size = np.zeros((2, len(self.samples)))
        for at in blocks(self.samples):
            X = self.windows(at)
            here = self._explained(X)
            size[at] = _norms(here)
            for rng in rngs:
                moved = X + (radius * (2 * rng.random(X.shape) - 1)).astype(X.dtype)
                found[at] = np.maximum(found[at], _norms(self._explained(moved) - here))
            advance(len(X))
        return found, size

    def _explained(self, X: Array) -> Array:
        return self.model.relevance(X, self.relevance.rule, self.by)[0]


def rows_of(relevance: Relevance, names: pd.Index) -> Array:
    """For each row of X, the row of the relevance that has its name; -1 where there is none, or it is missing.

    Raises
    ------
    ValueError
        If relevance has a row that X lacks.
    """
    mine = labels(relevance)
    at = np.arange(len(names)) if mine.equals(names) else names.get_indexer(mine)
    if (at < 0).any():
        lacking = _shown(mine[int((at < 0).argmax())])
        raise ValueError(
            f"relevance has {count(len(mine), 'row')}, of which X, with {len(names):,}, lacks "
            f"{int((at < 0).sum()):,}, such as {lacking}: give the X that was explained"
        )
    row = np.full(len(names), -1)
    row[at] = np.where(relevance.missing, -1, np.arange(len(mine)))
    return row


def _norms(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.square(rows).sum(axis=1)))


def _shown(key: Any) -> str:
    return f"({', '.join(map(label, key))})" if isinstance(key, tuple) else label(key)
