"""How good forecasts are: errors in the study's units, R^2 out of sample, and tests of equal accuracy."""

from __future__ import annotations

import pandas as pd
from scipy import stats


def judged(forecasts: pd.DataFrame, actual: pd.Series, unit: float, benchmark: str) -> pd.DataFrame:
    """Each column's record.

    Parameters
    ----------
    forecasts : DataFrame (month, forecast)
    actual : Series (month,)
    unit : float
        The variance that squared errors are measured in.
    benchmark : str
        The column to compare with.

    Returns
    -------
    DataFrame
        ``MSE`` in ``unit``; ``R2``, 1 - SSE / SSE of the benchmark (Campbell and Thompson 2008); ``t`` and ``p`` of
        Diebold and Mariano (1995) for equal squared errors, positive t where the benchmark is the worse one, with the
        correction for small samples by Harvey, Leybourne and Newbold (1997): one month ahead it is the t-test.
    """
    errors = forecasts.rsub(actual, axis=0).pow(2)
    better = errors.drop(columns=benchmark).rsub(errors[benchmark], axis=0)
    test = stats.ttest_1samp(better, 0.0)
    table = pd.DataFrame({"MSE": errors.mean() / unit, "R2": 1 - errors.sum() / errors[benchmark].sum()})
    return table.join(pd.DataFrame({"t": test.statistic, "p": test.pvalue}, better.columns))


def any_better(forecasts: pd.DataFrame, actual: pd.Series, benchmark: str, seed: int) -> float:
    """The p-value of Hansen's (2005) test that none of the forecasts beats the benchmark, whichever was picked."""
    from arch.bootstrap import SPA

    errors = forecasts.rsub(actual, axis=0).pow(2)
    test = SPA(errors[benchmark], errors.drop(columns=benchmark), block_size=6, reps=2000, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])
