"""Relevance, the result of explain: arrays, and methods that make tables, text and other libraries' objects of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from fastlrp.relevance.arrays import Array, RelevanceArrays

if TYPE_CHECKING:
    import pandas as pd

_TOTALS = ("score", "initial_state", "unattributed")


class Relevance(RelevanceArrays):
    """Relevance of every input of every sample, and the totals it reconciles with.

    ``score = sum of relevance + initial_state + unattributed``, to round-off. A row without a prediction (a missing
    value in its window, or no full window) is NaN throughout: frames keep it, statistics leave it out. Making a
    Relevance costs nothing: arrays are held as they are given.

    Parameters
    ----------
    values : array (n, T, D), or (n, D) where ``reduced``
        Relevance, oldest step first.
    prediction : array (n,) or (n, outputs)
        The network's predictions.
    score, initial_state, unattributed : array (n,)
        The value explained (the target unit before its activation), the part that reached h_0 and c_0, and the part
        that biases, stabilisers and the rule itself keep, or the score of integrated gradients' baseline.
    rule : Arras, Rudder, GradientXInput or IntegratedGradients
        The rule, with its parameters.
    index : MultiIndex or None
        The panel's index; None for arrays.
    features : tuple of str or None
        Names of the D features; None calls them x0, x1 ...
    steps : int
        T, the length of a window.
    target : int, str or None
        The output that was explained, if there are several.
    outputs : tuple of str or None
        Names of the outputs.
    reduced : bool
        Whether ``values`` are already summed over steps.
    by_position : bool
        Whether a panel's columns were taken in their own order, as the network has no names to find them by.
    """

    def to_frame(self, *, steps: bool = False) -> pd.DataFrame:
        """Relevance as a frame on the panel's index, one row per sample.

        Parameters
        ----------
        steps : bool
            False: one column per feature, summed over steps, then prediction (``prediction[name]`` if there are several
            outputs), score, initial_state and unattributed; a total that has a feature's name gets a "_" appended.
            True: columns (step, feature) and no totals; steps are lags, T-1 (the oldest) ... 0.

        Raises
        ------
        ValueError
            If ``steps=True`` but steps were summed inside the kernel.
        """
        from fastlrp.relevance import tables

        return tables.frame(self, steps=steps)

    def by_group(self, groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        """Relevance summed over steps and over groups of features, one column per group.

        Parameters
        ----------
        groups : mapping of name to features
            Features in no group are summed as "Other".

        Raises
        ------
        ValueError
            If a name is not a feature, a feature is in two groups, a group is empty, or "Other" is taken but needed.
        """
        from fastlrp.relevance import tables

        return tables.by_group(self, groups)

    def share(self, *, signed: bool = False) -> pd.DataFrame:
        """Each feature's share of its row: |R_j| / sum_k |R_k|, with R summed over steps; a row sums to 1.

        Parameters
        ----------
        signed : bool
            Keep the sign of R_j in the numerator, so that absolute values sum to 1. A row of zeros gives NaN.
        """
        from fastlrp.relevance import tables

        return tables.share(self, signed=signed)

    def by_time(self, statistic: Literal["abs", "mean", "share"] = "abs") -> pd.DataFrame:
        """Mean over assets by period (rows, oldest first) and feature; periods without relevance are left out.

        Parameters
        ----------
        statistic : {"abs", "mean", "share"}
            Mean of |R|, of R, or of each row's :meth:`share`, with R summed over steps.

        Raises
        ------
        ValueError
            If the result is of an array, which has no times.
        """
        from fastlrp.relevance import tables

        return tables.by_time(self, statistic)

    def summary(self, top: int = 10) -> str:
        """Lines of text: what was explained, which features matter, and how well it reconciles.

        Parameters
        ----------
        top : int
            Number of features to list, by mean share of |relevance|.
        """
        from fastlrp.relevance import tables

        return tables.summary(self, top)

    def to_shap(self, data: Array | None = None) -> Any:
        """A ``shap.Explanation``: relevance summed over steps, with base values that make each row add up.

        Rows without a prediction are left out, since shap's plots average over all rows.

        Parameters
        ----------
        data : array (n, D) or None
            Feature values to colour by, one row for each of this result's.

        Raises
        ------
        ImportError
            If shap is not installed.
        """
        from fastlrp.relevance import tables

        return tables.to_shap(self, data)

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: relevance over (sample, step, feature) and the totals over sample; steps are lags.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        from fastlrp.relevance import tables

        return tables.to_xarray(self)

    def __getitem__(self, rows: Any) -> Self:
        """Some rows, by position, slice, list of positions, or boolean mask."""
        from fastlrp.relevance import tables

        if isinstance(rows, int | np.integer):
            at = range(len(self))[rows]
            rows = slice(at, at + 1)
        elif not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim != 1 or rows.dtype.kind not in "biu":
                raise ValueError(f"rows are chosen by position, slice or mask, not by {rows!r}")
        parts = {name: getattr(self, name)[rows] for name in ("values", "prediction", *_TOTALS)}
        return replace(self, index=tables.labels(self)[rows], **parts)

    def __repr__(self) -> str:
        """Size and rule, the top features, and some rows with the parts that add up to their score.

        It reads few rows, so it is quick for any size.
        """
        from fastlrp.relevance.display import glance

        return glance(self).text()

    def _repr_html_(self) -> str:
        from fastlrp.relevance.display import glance

        return glance(self).html()
