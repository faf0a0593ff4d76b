"""Walk-forward splits of a panel for scikit-learn's tools: whole periods, and windows that keep their history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from fastlrp.checks import check
from fastlrp.learning.rolling_data import as_frame
from fastlrp.messages import count
from fastlrp.panels.order import find_windows
from fastlrp.panels.periods import periods

Array = npt.NDArray[Any]
Span = tuple[int, int, int, int]  # trains on periods [start, stop), tests on [first, last)


class PanelSplit(BaseCrossValidator):  # type: ignore[misc]  # scikit-learn has no types
    """Splits a panel by periods, as time went: each model trains on periods before those it is tested on.

    Periods are the distinct times of X. The last ``n_splits * test_size`` of them are tested, ``test_size`` at a time.
    The rows of a test part begin before its first tested period, so that windows which end there are complete. No
    window ends in this history itself: ``LSTMRegressor.predict`` gives NaN there, and its ``score``, scikit-learn's
    default scoring, leaves it out. Metrics by name, such as ``scoring="r2"``, refuse NaN; a callable can leave it out.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    gap : int
        Number of periods left out between training and test because targets of training rows reach into the test (the
        purging of López de Prado 2018, chapter 7). A target over the next h periods needs ``h - 1``: next month's
        return needs 0, as in :class:`fastlrp.RollingLSTM`; 1, the default, allows for one that is known a month late.
    window : int or None
        Number of periods that train; None: all that came before.
    steps : int
        T of the estimator, which a splitter does not see. With 1 there is no history: the first T - 1 tested periods
        have no prediction. With more than T, periods before the test would be scored; to search over T, give the least.
    embargo : int
        Number of periods left out besides ``gap``, for dependence that targets do not show, as in features that look
        back over many months. López de Prado puts it after a test; here nothing trains there, and it stands before.
    test_size : int or None
        Number of periods in a test part; None: those of X over ``n_splits + 1``, or fewer where training needs them.

    Examples
    --------
    >>> model = LSTMRegressor(units=(16,), steps=12)                                       # doctest: +SKIP
    >>> cross_val_score(model, panel, y, cv=PanelSplit(5, gap=0, steps=12))                # doctest: +SKIP
    """

    def __init__(
        self,
        n_splits: int = 5,
        gap: int = 1,
        window: int | None = None,
        *,
        steps: int = 1,
        embargo: int = 0,
        test_size: int | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.gap = gap
        self.window = window
        self.steps = steps
        self.embargo = embargo
        self.test_size = test_size

    def split(self, X: pd.DataFrame, y: Any = None, groups: None = None) -> Iterator[tuple[Array, Array]]:
        """The rows that train and those of the test part, of each split.

        Parameters
        ----------
        X : DataFrame
            A panel with a (time, asset) index, or a frame with one row per time.
        y : ignored
        groups : None
            Periods are in X's index.

        Returns
        -------
        iterator over (int array, int array)
            Positions of rows, ascending.

        Raises
        ------
        ValueError
            If a parameter or X is not what is expected, or X has too few periods.
        """
        self._check()
        if groups is not None:
            raise ValueError("PanelSplit splits by the times of X's index: expected no groups")
        if not isinstance(X, pd.DataFrame):
            raise ValueError(f"PanelSplit splits a DataFrame, a panel or one row a time, not {type(X).__name__}")
        index = cast(pd.MultiIndex, as_frame(X).index)
        opens, rank = self._opens(index)
        spans = self._spans(len(opens))

        def rows(start: int, stop: int) -> Array:
            return np.flatnonzero((rank >= start) & (rank < stop))

        return ((rows(start, stop), rows(opens[first:last].min(), last)) for start, stop, first, last in spans)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of splits."""
        self._check()
        return int(self.n_splits)

    def _check(self) -> None:
        for name in ("n_splits", "gap", "steps", "embargo", "test_size"):
            check(name, getattr(self, name), "PanelSplit", required=name == "steps")
        if self.window is not None:
            check("window", self.window, "PanelSplit")
            if self.window < self.steps:
                raise ValueError(
                    f"PanelSplit(window={self.window}) is shorter than the {count(self.steps, 'step')} of one sample"
                )

    def _opens(self, index: pd.MultiIndex) -> tuple[Array, Array]:
        """The first period of the windows that end in each period, and each row's period."""
        order, ends, _ = find_windows(index, int(self.steps))
        rank, times = periods(index)
        ordered = rank if order is None else rank[order]
        last = np.flatnonzero(ends)
        opens = np.arange(len(times))
        np.minimum.at(opens, ordered[last], ordered[last - (self.steps - 1)])
        return opens, rank

    def _spans(self, n: int) -> list[Span]:
        left_out, least = self.gap + self.embargo, self.window or self.steps
        size = self.test_size or max(1, min(n // (self.n_splits + 1), (n - left_out - least) // self.n_splits))
        need = self.n_splits * size + left_out + least
        if n < need:
            why = "window" if self.window else "steps"
            raise ValueError(
                f"X has {count(n, 'period')}, expected at least {need}: {least} to train on ({why}), {left_out} left "
                f"out (gap + embargo), and {count(self.n_splits, 'test part')} of {size}"
            )
        spans = []
        for first in range(n - self.n_splits * size, n, size):
            stop = first - left_out
            spans.append((stop - self.window if self.window else 0, stop, first, first + size))
        return spans
