"""Sections on factors and groups through time, and on how far back the model looks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastlrp import plot
from fastlrp.plot.timeline import counted
from fastlrp.relevance.parts import feature_values
from fastlrp.relevance.tables import mean_share
from fastlrp.reporting.evidence import Evidence
from fastlrp.reporting.parts import Section, as_table, largest, listed, percent, through_time

_SPREAD = "its spread over members"
_FEATURES = 12  # in tables; pictures show 30 of many


def history_section(e: Evidence) -> Section:
    """Factors, and groups of them, through time."""
    section, relevance = Section("factors", "What predictions rest on"), e.relevance
    shares = relevance.by_time("share")
    names = list(relevance.inputs)
    mean = pd.Series(mean_share(relevance), names).sort_values(ascending=False, kind="stable")
    signs = pd.Series(np.nanmean(feature_values(relevance), axis=0, dtype=np.float64), names)
    smooth = _year(e)
    section.lead.append(
        f"A feature's share is its part of a prediction's |relevance|, averaged over all predictions. The largest: "
        f"{largest(mean, percent)}. Of {count_equal(len(mean))}, each would have {percent(1 / len(mean))}."
    )
    overall = mean.to_frame("mean share").assign(**{"mean relevance": signs[mean.index]}).rename_axis("feature")
    if relevance.share_spread is not None:
        overall.insert(1, _SPREAD, pd.Series(relevance.share_spread, names))
    words = f"Bars: the mean share of |relevance| of each feature. The largest are {largest(mean, percent)}."
    section.draw(
        plot.bars(relevance),
        words,
        as_table("Features, largest first", overall, **{"mean share": percent, _SPREAD: percent}),
    )
    first, last = shares.iloc[: max(1, len(shares) // 4)].mean(), shares.iloc[-max(1, len(shares) // 4) :].mean()
    moved = (last - first).sort_values(key=abs, ascending=False, kind="stable").index[:3]
    changes = listed([f"{name} from {percent(first[name])} to {percent(last[name])}" for name in moved])
    words = (
        f"A map of each feature's share through {counted(len(shares), e.line.unit)}. From the first quarter of "
        f"the time to the last, most changed: {changes}."
    )
    top = mean.index[:_FEATURES]
    table = through_time(f"Shares of the {len(top)} largest features", shares[top], percent)
    section.draw(plot.heat_map(relevance, smooth=smooth), words, table)
    if e.groups is not None:
        grouped = relevance.by_time("share", groups=e.groups)
        each = relevance.by_time("share", groups=e.groups, per_column=True).mean()
        words = (
            f"Stacked areas: the share of each group of features through time. On average: "
            f"{largest(grouped.mean(), percent, 10)}; divided by their number of features: {largest(each, percent, 3)}."
        )
        figure = plot.stacked(relevance, groups=e.groups, smooth=smooth)
        section.draw(figure, words, through_time("Shares of groups", grouped, percent))
    return section


def lag_section(e: Evidence) -> Section:
    """How far back the model looks."""
    section, unit = Section("lags", "How far back it looks"), e.line.unit
    table = e.stepped.by_lag("share")
    profile = table.sum(axis=1)
    recent = profile[::-1].cumsum()
    half = int((recent >= 0.5).to_numpy().argmax()) + 1
    latest, alone = f"{counted(half, unit)}", f" the latest alone {percent(profile.iloc[-1])},"
    section.lead.append(
        f"The latest {latest if half > 1 else unit} of the {e.subject.steps:,} in a window "
        f"{'hold' if half > 1 else 'holds'} {percent(recent.iloc[half - 1])} of |relevance|,"
        f"{alone if half > 1 else ''} the oldest {percent(profile.iloc[0])}{f' ({e.some})' if e.some else ''}."
    )
    of_lags = profile[::-1].to_frame("share")
    of_lags["up to here"] = recent
    words = (
        f"A line: the share of |relevance| by lag, from {percent(profile.iloc[0])} at lag {profile.index[0]}, the "
        f"oldest, to {percent(profile.iloc[-1])} at lag 0, with {percent(profile.max())} at lag {profile.idxmax()} the "
        "largest."
    )
    section.draw(
        plot.lag_profile(e.stepped), words, as_table(f"Share of |relevance| by lag, in {unit}s", of_lags, percent)
    )
    top = table.sum().sort_values(ascending=False, kind="stable").index[:_FEATURES]
    where = listed([f"{name} at lag {table[name].idxmax()}" for name in top[:3]])
    words = f"A map of shares by feature and lag. The three largest features have most relevance thus: {where}."
    caption = f"Share of |relevance| by lag of the {len(top)} largest features"
    section.draw(plot.lag_map(e.stepped), words, as_table(caption, table[top][::-1], percent))
    return section


def _year(e: Evidence) -> int:
    """The periods in a year, over which pictures smooth; of days, three months."""
    return {"month": 12, "quarter": 4, "half-year": 2, "week": 52, "day": 63}.get(e.line.unit, 1)


def count_equal(n: int) -> str:
    """Equal features in words."""
    return f"{n:,} equally relevant features" if n > 1 else "one feature"
