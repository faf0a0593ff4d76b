"""Relevance, the result of explain: arrays, and methods that make tables, text and other libraries' objects of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from fastlrp.relevance.arrays import Array, RelevanceArrays, sample_arrays

if TYPE_CHECKING:
    import pandas as pd

Statistic = Literal["abs", "mean", "share"]


class Relevance(RelevanceArrays):
    """Relevance of every input of every sample, and the totals it reconciles with.

    ``score = sum of relevance + initial_state + unattributed``, to round-off; the sum is that of ``values`` and of
    ``static``. Static features take part in all tables by feature, behind the others, and have no lag. A row without a
    prediction (a missing value in its window, or no full window) is NaN throughout: frames keep it, statistics leave it
    out. Making a Relevance costs nothing: arrays are held as they are given.

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
    index : Index or None
        The panel's index, or the times of one row a time; None for arrays.
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
    spread, prediction_spread : array like values and like prediction, or None
        For an ensemble: standard deviations over its members (ddof=1), beside the means that all else is.
    share_spread : array (D,) or None
        For an ensemble: the standard deviation over its members of each feature's mean :meth:`share`, over all rows
        that were explained; None for some of them, as it is not known.
    n_members : int or None
        The number of an ensemble's members.
    at_step : int or None
        The step whose output was explained, 0 the first, of a network that predicts at every step; ``prediction`` and
        ``score`` are that step's. None for others.
    static : array (n, S) or None
        Relevance of static features, one value a sample; None where the network has none.
    static_features : tuple of str
        Names of the S static features; None calls them static0, static1 ...; :attr:`inputs` are all names.
    static_spread : array (n, S) or None
        As ``spread``, of ``static``.
    origin : tuple of Network, str or None
        The networks that were explained, or their fingerprint; :attr:`network` is the fingerprint of either.
    """

    #: Some rows of X, with which a summary tells whether gates are saturated; not a field, and not saved.
    _inputs: Array | None = None

    def to_frame(self, *, steps: bool = False) -> pd.DataFrame:
        """Relevance as a frame on the panel's index, one row per sample.

        Parameters
        ----------
        steps : bool
            False: one column per feature, summed over steps, then prediction (``prediction[name]`` if there are several
            outputs), for an ensemble prediction_spread, score, initial_state and unattributed; a total that has a
            feature's name gets a "_" appended.
            True: columns (step, feature) and no totals; steps are lags, T-1 (the oldest) ... 0. Static features stand
            at step 0, the window's last month, which has their value.

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

    def by_time(
        self,
        statistic: Statistic = "abs",
        *,
        groups: Mapping[str, Sequence[str]] | None = None,
        per_column: bool = False,
        by: Any = None,
        weight: Any = None,
        panel: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Mean over assets by period (rows, oldest first) and feature; periods without relevance are left out.

        Parameters
        ----------
        statistic : {"abs", "mean", "share"}
            Mean of |R|, of R, or of each row's :meth:`share`, with R summed over steps.
        groups : mapping of name to features, or None
            Columns are groups, each the sum of its features' numbers, whatever the statistic: of their |R|, their R,
            or their shares. Features in no group are summed as "Other".
        per_column : bool
            Divide each group's number by its number of columns; a period's shares are then divided by their sum, so
            that they add up to 1 again. A group of many features otherwise has a large share by their number alone:
            equally relevant features give it just that.
        by : Series or array (n,), mapping of asset to label, str, or None
            Labels such as sectors or size buckets: the mean is over each period's assets of one label, and rows are
            (time, label). A Series is on the result's index, or on its assets; a str is a column of ``panel`` or a
            level of the index. Rows without a label are left out; labels are sorted, or in their categories' order.
        weight : Series or array (n,), str, or None
            Weights such as market value, finite and at least 0, for a weighted mean over each period's assets. Rows
            whose weight is missing or 0 are left out.
        panel : DataFrame or None
            A frame on the result's index, where ``by`` and ``weight`` find columns by name.

        Raises
        ------
        ValueError
            If the result is of an array, which has no times, or an argument is not as described.
        """
        from fastlrp.relevance import averages

        return averages.by_time(self, statistic, groups, per_column, by, weight, panel)

    def by_lag(
        self,
        statistic: Statistic = "abs",
        *,
        groups: Mapping[str, Sequence[str]] | None = None,
        per_column: bool = False,
        weight: Any = None,
        panel: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Mean over all rows by lag (rows, T-1, the oldest, to 0) and feature; NaN if no row has relevance.

        Static features have no lag and are left out, from groups, too; shares are of the relevance that has one.

        Parameters
        ----------
        statistic : {"abs", "mean", "share"}
            Mean of |R|, of R, or of |R| / sum of the row's |R|, for each step on its own; the table of shares sums
            to 1.
        groups, per_column, weight, panel
            As in :meth:`by_time`.

        Raises
        ------
        ValueError
            If steps were summed inside the kernel, or an argument is not as described.
        """
        from fastlrp.relevance import averages

        return averages.by_lag(self, statistic, groups, per_column, weight, panel)

    def summary(self, top: int = 10) -> str:
        """Lines of text: what was explained, which features matter, and how well it reconciles.

        It says where rows overflowed, and, of a result as explain returned it, where gates are saturated.
        Of an ensemble, also how far its members agree (:meth:`agreement`), and the spread of shares over them.

        Parameters
        ----------
        top : int
            Number of features to list, by mean share of |relevance|.
        """
        from fastlrp.relevance import tables

        return tables.summary(self, top, self._inputs)

    def to_shap(self, data: Any = None) -> Any:
        """A ``shap.Explanation``: relevance summed over steps, with base values that make each row add up.

        Rows without a prediction are left out, since shap's plots average over all rows.

        Parameters
        ----------
        data : array (n, D), the panel, array or pair of arrays that was explained, or None
            Feature values to colour by, one row for each of this result's; of windows, those at the last step.

        Raises
        ------
        ValueError
            If ``data`` are not of the result's rows and features.
        ImportError
            If shap is not installed.
        """
        from fastlrp.relevance import foreign

        return foreign.to_shap(self, data)

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: relevance over (sample, step, feature) and the totals over sample; steps are lags.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        from fastlrp.relevance import foreign

        return foreign.to_xarray(self)

    def to_polars(self, *, steps: bool = False) -> Any:
        """A ``polars.DataFrame``, a row a sample: the index's levels, relevance, and the totals; missing is null.

        Periods are the dates of their starts.

        Parameters
        ----------
        steps : bool
            False: a column a feature, summed over steps, then the totals as in :meth:`to_frame`. True: a column a
            feature and step, "beta_lag4", one a static feature, and no totals.

        Raises
        ------
        ValueError
            If ``steps=True`` but steps were summed inside the kernel.
        ImportError
            If polars is not installed.
        """
        from fastlrp.relevance import foreign

        return foreign.to_polars(self, steps)

    def to_alphalens(self, values: str = "prediction") -> pd.Series[float]:
        """The factor that ``alphalens.utils.get_clean_factor`` takes: a Series on (date, asset), without missing rows.

        Parameters
        ----------
        values : str
            "prediction" or "score", of the output that was explained, or a feature: its relevance, summed over steps.

        Returns
        -------
        Series
            Sorted by date. Months, quarters, years and Periods are the dates of their starts.

        Raises
        ------
        ValueError
            If the result is not of a panel, its times are not on a calendar, or there is no such feature.
        """
        from fastlrp.relevance import foreign

        return foreign.to_alphalens(self, values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result with everything that belongs to it; :func:`fastlrp.load_relevance` reads it again.

        Parameters
        ----------
        path : str or path
            ``.parquet`` (needs pyarrow): a row a sample; the index's levels, "beta_lag4" for each feature and step (the
            feature alone if steps were summed, or it is static), and the totals as columns; missing numbers are null.
            ``.h5`` or ``.hdf5``: a dataset for each array, in its own shape, and labels and codes for each level.
            Features, rule with its parameters, target, the networks' fingerprint and the like are JSON under the key
            "fastlrp" of the schema, or of the file's attributes. An existing file is replaced only when the new one is
            complete.

            Periods are written as the dates of their starts, and times in HDF5 as text.

        Raises
        ------
        ValueError
            If the path ends otherwise or cannot be written, or the index holds what is neither times, numbers nor text.
        ImportError
            If pyarrow is missing.
        """
        from fastlrp.relevance.storage import save

        save(self, path)

    def __getitem__(self, rows: Any) -> Self:
        """Some rows, by position, slice, list of positions, or boolean mask."""
        from fastlrp.relevance.parts import labels

        if isinstance(rows, int | np.integer):
            at = range(len(self))[rows]
            rows = slice(at, at + 1)
        elif not isinstance(rows, slice):
            rows = np.asarray(rows)
            if rows.ndim != 1 or rows.dtype.kind not in "biu":
                raise ValueError(f"rows are chosen by position, slice or mask, not by {rows!r}")
        parts = {name: array[rows] for name, array in sample_arrays(self)}
        return replace(self, share_spread=None, index=labels(self)[rows], **parts)

    def __repr__(self) -> str:
        """Size and rule, the top features, and some rows with the parts that add up to their score.

        It reads few rows, so it is quick for any size.
        """
        from fastlrp.relevance.display import glance

        return glance(self).text()

    def _repr_html_(self) -> str:
        from fastlrp.relevance.display import glance

        return glance(self).html()
