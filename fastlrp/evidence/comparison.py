"""The result of a comparison of explanations: a row a pair, as a table, a square and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from fastlrp.checks import check_choice

Statistic = Literal["spearman", "share_spearman", "top", "sign"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Comparison:
    """Whether explanations agree.

    Attributes
    ----------
    table : DataFrame
        A row a pair ("first", "second"), means over "samples": "spearman", the rank correlation of a sample's signed
        relevance over its units, and "spearman_std", its standard deviation over samples; "share_spearman", that of
        the units' mean shares of |relevance|; "top", the share of a sample's largest |relevance| that both have
        (by chance: top over units); "sign", the share of units with the same sign (those zero in both do not count).
    shares : DataFrame
        A row a unit, a column an explanation: its mean share of |relevance|.
    unattributed : Series
        The median over samples of |unattributed| / |score| by explanation; NaN for shap.
    by, top
        As :func:`fastlrp.compare` was told.
    """

    table: pd.DataFrame
    shares: pd.DataFrame
    unattributed: pd.Series[float]
    by: str
    top: int

    def matrix(self, statistic: Statistic = "spearman") -> pd.DataFrame:
        """One number of all pairs as a square frame, with 1 for each explanation and itself.

        Parameters
        ----------
        statistic : {"spearman", "share_spearman", "top", "sign"}

        Raises
        ------
        ValueError
            If it is none of them.
        """
        check_choice("statistic", statistic, get_args(Statistic))
        names = list(self.shares.columns)
        square = pd.DataFrame(np.eye(len(names)), names, names)
        for row in self.table.reset_index().itertuples():
            number = getattr(row, statistic)
            square.loc[row.first, row.second] = square.loc[row.second, row.first] = number
        return square

    def plot(self, statistic: Statistic = "spearman", ax: Any = None) -> Any:
        """The square of :meth:`matrix` as a picture, with its numbers.

        Parameters
        ----------
        statistic : {"spearman", "share_spearman", "top", "sign"}
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.figure.Figure, or ``ax`` if it is given

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from fastlrp.evidence.pictures import draw_agreement

        return draw_agreement(self, statistic, ax)

    def __repr__(self) -> str:
        units = {"feature": "features", "cell": "(step, feature) cells"}[self.by]
        return f"Agreement on {units}; top: the {self.top} largest\n{self.table.round(3).to_string()}"
