"""The section on the latest cross-section: every asset's prediction, and why it is not the average one.

An asset's relevance less the cross-section's mean, over features, initial state and what stays unattributed, adds up to
its score less the mean score: that is its waterfall, which the page's script draws from the numbers embedded here.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp import plot
from fastlrp.relevance.arrays import summed
from fastlrp.reporting.evidence import Evidence
from fastlrp.reporting.parts import Section, Table, as_table, largest, listed, number, signed

Array = npt.NDArray[Any]

_PLAIN = 20  # assets at either end that stand on the page without a script
_WHY = 3  # features named there
_BARS = 14  # of a waterfall; the others are summed up
_COLUMNS = 4  # features that the table can be sorted by
_TOTALS = ("initial state", "unattributed")


class Latest(NamedTuple):
    """The latest cross-section, highest prediction first."""

    names: list[str]
    prediction: Array
    score: Array
    apart: Array  # (asset, feature + 2): relevance, initial state, unattributed, each less its mean over assets
    ranks: Array  # (asset, feature): the feature's value as a percentile of the cross-section
    features: list[str]


def latest(e: Evidence) -> tuple[Latest, int]:
    """The latest cross-section that has relevance, and its rank among the panel's periods."""
    rank = int(e.rank[e.found].max())
    rows = np.flatnonzero(e.found & (e.rank == rank))
    rows = rows[np.argsort(-e.subject.predicted[rows], kind="stable")]
    relevance = e.relevance[rows]
    values = summed(relevance, slice(None), np.asarray(relevance.values))
    totals = [np.asarray(part, np.float64)[:, None] for part in (relevance.initial_state, relevance.unattributed)]
    frame, features = e.subject.frame.iloc[rows], list(relevance.inputs)
    columns = frame[features] if set(features) <= set(frame.columns) else frame
    parts = np.concatenate([values, *totals], axis=1)
    return Latest(
        [e.asset(row) for row in rows.tolist()], e.subject.predicted[rows], np.asarray(relevance.score, np.float64),
        parts - parts.mean(axis=0), columns.rank(pct=True).to_numpy(), features,
    ), rank  # fmt: skip


def latest_section(e: Evidence) -> Section:
    """The latest cross-section; its script's numbers are added by :func:`embedded`, into the room that is left."""
    now, rank = latest(e)
    when, n = e.period(rank), len(now.names)
    section = Section("latest", f"The latest predictions: {when}")
    sizes = pd.Series(np.abs(now.apart[:, : len(now.features)]).mean(axis=0), now.features)
    section.lead.append(
        f"One {e.assets[:-1]} has a prediction, {number(now.prediction[0])} ({now.names[0]}): it is the average itself."
        if n == 1
        else f"{n:,} {e.assets} have a prediction, from {number(now.prediction[-1])} ({now.names[-1]}) to "
        f"{number(now.prediction[0])} ({now.names[0]}). What sets them apart most are {listed(_top(sizes, 3))}. A "
        "feature raises a prediction by its relevance here less its mean over the cross-section, so that all of them "
        "together make up the difference to the average."
    )
    ends = range(n) if n <= 2 * _PLAIN else [*range(_PLAIN), *range(n - _PLAIN, n)]
    rows = [[now.names[i], f"{i + 1:,}", number(now.prediction[i]), _why(now, i)] for i in ends]
    which = "All" if n <= 2 * _PLAIN else f"The {_PLAIN} highest and the {_PLAIN} lowest"
    head = [e.assets.removesuffix("s"), "rank", "prediction", "what sets it apart from the average"]
    section.tables.append(Table(f"{which} predictions of {when}", head, rows))
    if n > 2:
        spread = pd.DataFrame({"mean size": sizes, "most above": now.apart.max(axis=0)[:-2],
                               "most below": now.apart.min(axis=0)[:-2]})  # fmt: skip
        spread = spread.loc[_top(sizes, 12)].rename_axis("feature")
        words = (
            f"A swarm of points, one an asset, for each feature: its relevance in {when}, coloured by the feature's "
            f"own rank. The widest: {largest(sizes, number, 3)} from the mean on average."
        )
        figure = plot.beeswarm(e.relevance, e.subject.frame, time=e.times[rank])
        caption = "How far relevance lies from its mean over assets"
        section.draw(figure, words, as_table(caption, spread, signed, **{"mean size": number}))
    return section


def _top(sizes: pd.Series[float], most: int) -> list[str]:
    return list(sizes.sort_values(ascending=False, kind="stable").index[:most])


def _why(now: Latest, i: int) -> str:
    apart = pd.Series(now.apart[i, : len(now.features)], now.features)
    top = apart.sort_values(key=abs, ascending=False, kind="stable").iloc[:_WHY]
    return ", ".join(f"{name} {signed(value)}" for name, value in top.items())


def embedded(e: Evidence, room: int) -> str:
    """The cross-section as the page's script reads it: JSON of at most ``room`` bytes.

    Numbers are whole multiples of ``unit``, a thousandth of a usual part or less, of which ``digits`` decimals show. Of
    each asset the largest parts stand as (feature, part, percentile of its value); ``rest`` is the sum of the others.
    Where even few parts of all assets have no room, the assets in the middle are left out.
    """
    now, _ = latest(e)
    n, width = now.apart.shape
    bars = min(width, _BARS)
    usual = float(np.median(np.sort(np.abs(now.apart), axis=1)[:, -min(width, 3) :])) or 1.0
    digits = int(np.ceil(1.5 - np.log10(usual)))
    kept = np.arange(n)
    while True:
        text = _as_script(_numbers(now, kept, digits, bars))
        if len(text) <= room:
            return text
        if bars > 4:
            bars = max(4, min(bars - 1, int(bars * room / len(text))))
        else:
            half = max(1, int(0.49 * len(kept) * min(room / len(text), 0.95)))
            kept = np.concatenate([kept[:half], kept[-half:]])


def _numbers(now: Latest, kept: Array, digits: int, bars: int) -> dict[str, Any]:
    unit, features = 10.0 ** -(digits + 2), [*now.features, *_TOTALS]
    sizes = pd.Series(np.abs(now.apart).mean(axis=0)[: len(now.features)], now.features)
    columns = [now.features.index(name) for name in _top(sizes, _COLUMNS)]
    apart = now.apart[kept]
    top = np.argsort(-np.abs(apart), axis=1, kind="stable")[:, :bars]
    parts = np.round(np.take_along_axis(apart, top, axis=1) / unit).astype(np.int64)
    rest = np.round(apart.sum(axis=1) / unit).astype(np.int64) - parts.sum(axis=1)
    ranks = np.full(apart.shape, -1)  # totals have none
    ranks[:, : len(now.features)] = np.nan_to_num(np.round(100 * now.ranks[kept]), nan=-1)
    triples = np.stack([top, parts, np.take_along_axis(ranks, top, axis=1)], axis=2).reshape(len(kept), -1)
    by_column = np.round(apart[:, columns] / unit).astype(np.int64)
    names = [now.names[i] for i in kept]
    predicted = [float(f"{now.prediction[i]:.5g}") for i in kept]
    place, by, shown, others = (one.tolist() for one in (kept + 1, by_column, triples, rest))
    return {
        "features": features, "columns": columns, "unit": unit, "digits": digits, "n": len(now.names),
        "mean": float(f"{now.score.mean():.5g}"), "others": len(features) - bars,
        "linear": bool(np.allclose(now.score, now.prediction, rtol=1e-4, atol=1e-6)),
        "assets": [list(asset) for asset in zip(names, place, predicted, by, shown, others, strict=True)],
    }  # fmt: skip


def _as_script(value: Any) -> str:
    """JSON that may stand inside of a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
