"""The embedded default: a small real stock-by-month panel, and two networks that were trained on it.

Sources, definitions, licence and how well the network predicts: ``PROVENANCE.md`` beside this file.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, overload

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.network import Network

#: The panel's characteristics grouped by what they measure, for ``Relevance.by_group``.
GROUPS: dict[str, list[str]] = {
    "Momentum": ["mom6m", "mom12m", "intmom", "chmom", "residmom", "momseasonshort"],
    "Trend": ["high52", "mad"],
    "Reversal": ["mom1m", "mom36m"],
    "Volatility": ["retvol", "idiovol", "downvol", "maxdd"],
    "Market risk": ["beta", "betadown", "coskew", "pricedelay"],
    "Lottery": ["maxret", "returnskew"],
}

#: The first months that the networks had no part of when they were trained and chosen.
RETURNS_TEST_FROM, VOLATILITY_TEST_FROM = "2016-01", "2010-01"
_MODELS = {"returns": "model.h5", "volatility": "volatility.h5"}

__all__ = [
    "GROUPS", "RETURNS_TEST_FROM", "VOLATILITY_TEST_FROM", "describe", "load_model", "load_panel", "model_path",
    "panel_path",
]  # fmt: skip


def panel_path() -> Path:
    """The embedded panel's file, a gzipped csv with the columns month, stock, the characteristics and ret_next."""
    return _path("panel.csv.gz")


def model_path(predicts: Literal["returns", "volatility"] = "returns") -> Path:
    """An embedded network's file (.h5) with its features' names; :func:`load_model` says what it predicts.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    if predicts not in _MODELS:
        raise ValueError(f"the embedded networks predict 'returns' or 'volatility', not {predicts!r}")
    return _path(_MODELS[predicts])


def _path(name: str) -> Path:
    return Path(str(files(__name__).joinpath(name)))


@overload
def load_panel(target: Literal[False] = False) -> pd.DataFrame: ...
@overload
def load_panel(target: Literal[True, "returns", "volatility"]) -> tuple[pd.DataFrame, pd.Series[float]]: ...
def load_panel(target: bool | str = False) -> pd.DataFrame | tuple[pd.DataFrame, pd.Series[float]]:
    """Twenty US stocks in the 396 months from 1990 to 2022, with 20 price characteristics known at each month's end.

    Parameters
    ----------
    target : bool, "returns" or "volatility"
        Return what followed as well; True is "returns".

    Returns
    -------
    X : DataFrame (7920, 20), float32
        Ranks over the stocks of each month, scaled to [-1, 1]; NaN where the history is too short (nothing is missing
        from 1993-01 on). Its index is (month, stock), sorted; months are month-end Timestamps.
    y : Series (7920,), float64, only with ``target``
        ``ret_next``, the stock's simple return over the month that follows, or ``retvol_next``, ``retvol`` (the month's
        volatility, ranked) of the month that follows; NaN in the last month.

    Raises
    ------
    ValueError
        If there is no such target.
    """
    import pandas as pd

    if target not in (False, True, *_MODELS):
        raise ValueError(f"load_panel(target=...) takes False, True, 'returns' or 'volatility', not {target!r}")
    frame = pd.read_csv(panel_path(), parse_dates=["month"], index_col=["month", "stock"])
    y = frame.pop("ret_next")
    X = frame.astype("float32")
    if target == "volatility":
        y = X["retvol"].astype("float64").groupby(level="stock").shift(-1).rename("retvol_next")
    return (X, y) if target else X


def load_model(predicts: Literal["returns", "volatility"] = "returns") -> Network:
    """An embedded network on windows of 12 months, with the features' names.

    Parameters
    ----------
    predicts : {"returns", "volatility"}
        "returns": LSTM(16), Dropout, Dense(1), trained by Keras to predict next month's return, standardised over the
        stocks of that month, which it cannot do out of sample. "volatility": LSTM(8), Dense(1), trained by
        :class:`fastlrp.LSTMRegressor` to predict next month's rank of ``retvol``, which it does; its months from
        ``VOLATILITY_TEST_FROM`` on are out of sample.

    Raises
    ------
    ValueError
        If there is no such network.
    """
    from fastlrp.keras.read import read_keras

    return cast("Network", read_keras(model_path(predicts)))


def describe() -> pd.DataFrame:
    """The meanings of the embedded panel's 20 codes, one row for each characteristic, in the order of its columns.

    Returns
    -------
    DataFrame (20, 6)
        ``group`` (of ``GROUPS``), ``meaning`` in plain words, ``unit`` and ``definition`` before it is ranked over the
        month's stocks (R(a, b) is the return from the end of month t-b to the end of month t-a), the history that it
        ``needs``, and the ``source``. The panel itself holds the ranks, scaled to [-1, 1]: they have no unit.
    """
    import pandas as pd

    from fastlrp.data.factors import FACTORS

    table = pd.DataFrame.from_dict({code: factor._asdict() for code, factor in FACTORS.items()}, orient="index")
    group_of = {code: group for group, codes in GROUPS.items() for code in codes}
    table.insert(0, "group", [group_of[code] for code in table.index])
    return table.rename_axis("factor")
