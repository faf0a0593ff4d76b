"""Make the embedded panel, ``fastlrp/data/panel.csv.gz``, from daily prices in the skfolio package.

    pip install --no-deps skfolio
    python scripts/make_panel.py

Needs only pandas and NumPy, and downloads nothing; skfolio's csv files are read as files. Every characteristic of a
month uses prices up to the end of that month and nothing later. Definitions: ``fastlrp/data/PROVENANCE.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

YEAR = 252  # trading days
BETA_MONTHS = 36
DELAY_LAGS = 4
OUT = Path(__file__).resolve().parents[1] / "fastlrp" / "data" / "panel.csv.gz"


def price_folder() -> Path:
    """The folder of the installed skfolio's csv files; skfolio is not imported, as its dependencies may be missing."""
    spec = importlib.util.find_spec("skfolio")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("skfolio is not installed: pip install --no-deps skfolio, or give --prices FOLDER")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def read_prices(folder: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Daily adjusted closes (day, stock) and the S&P 500 on the same days."""
    frames = []
    for name in ("sp500_dataset.csv.gz", "sp500_index.csv.gz"):
        if not (folder / name).is_file():
            raise SystemExit(f"{folder} holds no {name}, one of the two csv files of skfolio.datasets")
        frames.append(pd.read_csv(folder / name, index_col=0, parse_dates=True).sort_index())
    prices, index = frames
    if not prices.index.equals(index.index):
        raise SystemExit("the stocks' days and the index's days differ")
    return prices, index.iloc[:, 0]


def market_model(returns: Floats, market: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares of (day, stock) returns on (day, regressor) market returns: slopes, residuals, R squared."""
    x = np.column_stack([np.ones(len(market)), market])
    coefficients = np.linalg.lstsq(x, returns, rcond=None)[0]
    residuals = returns - x @ coefficients
    r2 = 1 - (residuals**2).sum(0) / ((returns - returns.mean(0)) ** 2).sum(0)
    return coefficients[1:], residuals, r2


def of_month(r: Floats) -> dict[str, Floats]:
    """From the daily returns (day, stock) of one month."""
    centred = r - r.mean(0)
    with np.errstate(invalid="ignore"):  # a price that never moved in a month has no skewness, so it is missing
        skewness = (centred**3).mean(0) / (centred**2).mean(0) ** 1.5
    return {"retvol": r.std(0, ddof=1), "maxret": r.max(0), "returnskew": skewness}


def of_year(price: Floats, r: Floats, m: Floats) -> dict[str, Floats]:
    """From a YEAR of daily closes and returns (day, stock), and market returns that start DELAY_LAGS days earlier."""
    lagged = np.column_stack([m[DELAY_LAGS - k : len(m) - k] for k in range(DELAY_LAGS + 1)])
    m = m[DELAY_LAGS:]
    _, residuals, r2 = market_model(r, m)
    _, _, r2_lagged = market_model(r, lagged)
    down = m < m.mean()
    slope_down, _, _ = market_model(r[down], m[down])
    r_centred, m_centred = r - r.mean(0), m - m.mean()
    return {
        "idiovol": residuals.std(0, ddof=2),
        "downvol": np.sqrt((np.minimum(r, 0) ** 2).mean(0)),
        "maxdd": (1 - price / np.maximum.accumulate(price)).max(0),
        "high52": price[-1] / price.max(0),
        "mad": price[-21:].mean(0) / price[-200:].mean(0),
        "betadown": slope_down[0],
        "coskew": (r_centred * m_centred[:, None] ** 2).mean(0)
        / (np.sqrt((r_centred**2).mean(0)) * (m_centred**2).mean()),
        "pricedelay": 1 - r2 / r2_lagged,
    }


def of_three_years(r: Floats, m: Floats) -> dict[str, Floats]:
    """From the last BETA_MONTHS months' returns (month, stock) and the market's."""
    slopes, residuals, _ = market_model(r, m)
    year = residuals[-12:-1]  # the last month is left out, as in mom12m
    return {"beta": slopes[0], "residmom": year.sum(0) / year.std(0, ddof=1)}


def momentum(close: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """From month-end closes (month, stock); ``past(a, b)`` is the return from the end of month t-b to that of t-a."""

    def past(a: int, b: int) -> pd.DataFrame:
        return close.shift(a) / close.shift(b) - 1

    return {
        "mom1m": past(0, 1),
        "mom6m": past(1, 6),
        "mom12m": past(1, 12),
        "mom36m": past(12, 36),
        "intmom": past(6, 12),
        "chmom": past(0, 6) - past(6, 12),
        "momseasonshort": past(11, 12),
    }


def characteristics(prices: pd.DataFrame, market: pd.Series) -> dict[str, pd.DataFrame]:
    """Every characteristic as a (month, stock) frame; NaN where the history is too short."""
    month = prices.index + pd.offsets.MonthEnd(0)
    close, index = prices.groupby(month).last(), market.groupby(month).last()
    if len(close) <= BETA_MONTHS:
        raise ValueError(f"prices of {len(close)} months were given, expected more than {BETA_MONTHS}")
    r, m = prices.pct_change().to_numpy(), market.pct_change().to_numpy()
    monthly, monthly_m = close.pct_change().to_numpy(), index.pct_change().to_numpy()
    ends = np.searchsorted(month, close.index, side="right")
    rows = []
    for k, end in enumerate(ends):
        start = max(1, ends[k - 1] if k else 0)  # day 0 has no return
        row = of_month(r[start:end])
        if end > YEAR + DELAY_LAGS:
            row |= of_year(prices.to_numpy()[end - YEAR : end], r[end - YEAR : end], m[end - YEAR - DELAY_LAGS : end])
        if k >= BETA_MONTHS:
            row |= of_three_years(monthly[k - BETA_MONTHS + 1 : k + 1], monthly_m[k - BETA_MONTHS + 1 : k + 1])
        rows.append(row)
    missing = np.full(close.shape[1], np.nan)
    frames = momentum(close)
    for name in rows[-1]:
        values = np.array([row.get(name, missing) for row in rows])
        frames[name] = pd.DataFrame(values, index=close.index, columns=close.columns)
    return frames


def ranks(frame: pd.DataFrame) -> pd.DataFrame:
    """Each month's ranks over the stocks that have a value, scaled to [-1, 1]; ties get their average."""
    return (2 * (frame.rank(axis=1) - 1)).div(frame.count(axis=1) - 1, axis=0) - 1


def make_panel(prices: pd.DataFrame, market: pd.Series) -> pd.DataFrame:
    """The panel on (month, stock): ranked characteristics, and ``ret_next``, the raw return of the next month."""
    frames = {name: ranks(frame) for name, frame in characteristics(prices, market).items()}
    close = prices.groupby(prices.index + pd.offsets.MonthEnd(0)).last()
    frames["ret_next"] = close.shift(-1) / close - 1
    index = pd.MultiIndex.from_product([close.index, sorted(close.columns)], names=["month", "stock"])
    columns = {name: frame[sorted(close.columns)].to_numpy().ravel() for name, frame in frames.items()}
    return pd.DataFrame(columns, index=index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prices", type=Path, help="folder with the csv files (default: the installed skfolio's)")
    parser.add_argument("--out", type=Path, default=OUT, help="where to write the panel (default: %(default)s)")
    options = parser.parse_args()
    panel = make_panel(*read_prices(options.prices or price_folder()))
    # mtime=0: the same prices give the same bytes.
    panel.to_csv(options.out, float_format="%.6f", compression={"method": "gzip", "compresslevel": 9, "mtime": 0})
    features = panel.drop(columns="ret_next")
    months, complete = panel.index.unique("month"), features.dropna()
    start = complete.index[0][0]
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, {features.shape[1]} characteristics")
    print(f"{len(panel):,} rows, {months[0]:%Y-%m} to {months[-1]:%Y-%m}; {len(complete):,} of them complete, ", end="")
    print(f"from {start:%Y-%m}; missing after that: {int(features.loc[start:].isna().to_numpy().sum())}")


if __name__ == "__main__":
    main()
