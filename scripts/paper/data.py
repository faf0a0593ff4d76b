"""The series that the study predicts: the market's month from 13 long-short portfolios and its own return, lagged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

#: The study's 13 portfolios by what they are; its own return of the month is momentum, as in Nakagawa et al. (2019).
GROUPS = {
    "Risk": ["betaVIX", "Beta", "ReturnSkew"],
    "Quality": ["RoE", "roaq", "Accruals", "Leverage"],
    "Momentum": ["Mom12m", "market"],
    "Value": ["SP", "EP", "AM", "cfp"],
    "Size": ["Illiquidity"],
}
#: As the study grouped them, by position: sales to price under momentum, and its own return nowhere.
ORIGINAL_GROUPS = {
    "Risk": ["betaVIX", "Beta", "ReturnSkew"],
    "Quality": ["RoE", "roaq", "Accruals", "Leverage"],
    "Momentum": ["Mom12m", "SP"],
    "Value": ["EP", "AM", "cfp"],
    "Size": ["Illiquidity"],
}
#: The shares of relevance that its notebook shows.
ORIGINAL_SHARES = {"Risk": 0.245, "Quality": 0.332, "Momentum": 0.132, "Value": 0.228, "Size": 0.064}
PORTFOLIOS = [name for names in ORIGINAL_GROUPS.values() for name in names]
STEPS, SAMPLES = 5, 60  #: T, and the samples of a window
WINDOW = SAMPLES + STEPS - 1  #: months that 60 samples of 5 steps span


def read_market() -> pd.Series:
    """The market's return by month: the S&P 500's since February 1990 (skfolio), Ken French's before (arch)."""
    try:
        from arch.data import frenchdata
        from skfolio.datasets import load_sp500_index
    except ImportError as error:
        raise SystemExit(f"the market's returns are missing ({error}): pip install arch skfolio") from None
    french = frenchdata.load()
    months = french.index.astype("int64")
    if months.max() < 10**6:  # YYYYMM was read as nanoseconds
        months = pd.PeriodIndex(months.astype(str).str.replace(r"(\d{4})(\d\d)", r"\1-\2", regex=True), freq="M")
    else:
        months = pd.DatetimeIndex(french.index).to_period("M")
    early = (french["Mkt-RF"] + french["RF"]).set_axis(months) / 100
    prices = load_sp500_index()["SP500"]
    late = prices.groupby(prices.index.to_period("M")).last().pct_change().dropna()
    return pd.concat([early[early.index < late.index[0]], late]).rename("market")


def read_months(path: Path) -> pd.DataFrame:
    """The months that have everything, March 1986 to October 2021: 13 portfolios' returns and the market's.

    Raises
    ------
    SystemExit
        If the file is not there or is another one, in one sentence.
    """
    if not path.is_file():
        raise SystemExit(
            f"{path} is not there: expected Chen & Zimmermann's PredictorLSretWide.csv, which is not shipped"
        )
    try:
        portfolios = pd.read_csv(path, index_col="date", parse_dates=True, usecols=["date", *PORTFOLIOS])
    except ValueError as error:
        raise SystemExit(f"{path} is not Chen & Zimmermann's PredictorLSretWide.csv: {error}") from None
    portfolios.index = portfolios.index.to_period("M")
    months = portfolios[PORTFOLIOS].join(read_market(), how="inner").dropna()
    # the study's first return is that of the portfolios' second month
    months = months.iloc[1:]
    if len(months) <= WINDOW + 1:
        raise SystemExit(f"{path} has {len(months)} complete months, expected more than {WINDOW + 1}")
    return months


def samples(months: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Inputs and target, both on the month that is predicted: inputs are those of the month before."""
    X = months.shift(1).iloc[1:]
    return X, months["market"].iloc[1:].rename("market")


def standardized(months: pd.DataFrame) -> pd.DataFrame:
    """All months by their own mean and deviation, the future's included, as the study scaled them."""
    return (months - months.mean()) / months.std(ddof=0)
