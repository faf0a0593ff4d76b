"""The codes of the embedded panel's characteristics, spelled out: what ``fastlrp.data.describe`` shows.

``PROVENANCE.md`` has the same definitions and more background; a test compares them.
"""

from __future__ import annotations

from typing import NamedTuple


class Factor(NamedTuple):
    """A characteristic of a stock at a month's end, before it is ranked over the month's stocks."""

    meaning: str
    unit: str
    definition: str
    needs: str
    source: str


#: In the order of the panel's columns.
FACTORS: dict[str, Factor] = {
    "mom1m": Factor(
        "return of the latest month", "return", "R(0, 1), short-term reversal", "1 month", "Jegadeesh 1990"
    ),
    "mom6m": Factor(
        "return of the 5 months before the latest", "return", "R(1, 6)", "6 months", "Jegadeesh and Titman 1993"
    ),
    "mom12m": Factor(
        "return of the 11 months before the latest", "return", "R(1, 12)", "12 months", "Jegadeesh and Titman 1993"
    ),
    "mom36m": Factor(
        "return of the two years before the latest year", "return",
        "R(12, 36), long-term reversal", "36 months", "De Bondt and Thaler 1985",
    ),
    "intmom": Factor(
        "return from 12 to 6 months ago", "return", "R(6, 12)", "12 months", "Novy-Marx 2012"
    ),
    "chmom": Factor(
        "return of the latest 6 months less that of the 6 before", "difference of returns",
        "R(0, 6) - R(6, 12)", "12 months", "Gettleman and Marks 2006",
    ),
    "momseasonshort": Factor(
        "return a year ago in the calendar month to come", "return",
        "R(11, 12), the calendar month of the return to come, a year ago", "12 months", "Heston and Sadka 2008",
    ),
    "retvol": Factor(
        "volatility of the month's daily returns", "return per day",
        "standard deviation of the month's daily returns", "the month", "Ang, Hodrick, Xing and Zhang 2006",
    ),
    "maxret": Factor(
        "best day of the month", "return per day",
        "highest daily return of the month", "the month", "Bali, Cakici and Whitelaw 2011",
    ),
    "returnskew": Factor(
        "skewness of the month's daily returns", "none",
        "skewness of the month's daily returns", "the month", "Bali, Engle and Murray 2016",
    ),
    "idiovol": Factor(
        "volatility that the market does not explain, over a year", "return per day",
        "standard deviation of the residuals of daily returns on the S&P 500's", "252 days",
        "Ali, Hwang and Trombley 2003",
    ),
    "downvol": Factor(
        "volatility of falling days, over a year", "return per day",
        "root of the mean squared negative daily return", "252 days", "semi-deviation",
    ),
    "maxdd": Factor(
        "largest fall from a previous high, over a year", "share of the high",
        "largest fall from a previous high", "252 days", "maximum drawdown",
    ),
    "high52": Factor(
        "how near the price is to its high of a year", "ratio of prices",
        "last close over the highest close", "252 days", "George and Hwang 2004",
    ),
    "mad": Factor(
        "average price of a month over that of 200 days", "ratio of prices",
        "mean of the last 21 closes over the mean of the last 200", "252 days",
        "Avramov, Kaplanski and Subrahmanyam 2021",
    ),
    "betadown": Factor(
        "beta on the market's bad days, over a year", "return per return of the market",
        "slope on days with an S&P 500 return below its mean", "252 days", "Ang, Chen and Xing 2006",
    ),
    "coskew": Factor(
        "whether it moves with the market's volatility (coskewness), over a year", "none",
        "E[r m^2] / (sqrt(E[r^2]) E[m^2]), r and m demeaned daily returns", "252 days",
        "Harvey and Siddique 2000; Ang, Chen and Xing 2006",
    ),
    "pricedelay": Factor(
        "how late the price follows the market, over a year", "share, 0 to 1",
        "1 - R2 on the day's S&P 500 return / R2 with four lagged days too", "256 days", "Hou and Moskowitz 2005",
    ),
    "beta": Factor(
        "beta: sensitivity to the market, over three years", "return per return of the market",
        "slope of 36 monthly returns on the S&P 500's", "36 months", "Fama and MacBeth 1973",
    ),
    "residmom": Factor(
        "return that the market does not explain, over its volatility", "none",
        "sum over standard deviation of the residuals of months t-11 ... t-1, in `beta`'s regression", "36 months",
        "Blitz, Huij and Martens 2011, market factor only",
    ),
}  # fmt: skip
