"""The content of pictures, before anything is drawn: the results, their names, the order of features, the scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.messages import suggest
from fastlrp.panels.periods import periods, time_level
from fastlrp.plot.canvas import SERIES
from fastlrp.plot.timeline import Timeline, counted, timeline
from fastlrp.relevance.parts import of_times, panel_index
from fastlrp.relevance.result import Relevance
from fastlrp.rules import described

Array = npt.NDArray[Any]
Groups = Mapping[str, Sequence[str]]

_MOST, _ENOUGH = 40, 30  # features: of more than 40, only the 30 largest are shown unless asked otherwise
_ASSETS = ("stock", "firm", "fund", "bond")  # names that an index level may give them, which pictures then use, too


class Scope(NamedTuple):
    """The scope of a result."""

    text: str  # "20 stocks, 12 months from 1990-01 to 1990-12: 240 windows of 12 months"
    unit: str  # of a step: "month"
    assets: str | None  # "stocks"; None for one row a time

    @property
    def window(self) -> str:
        """What a row is: a window of periods, or an array's sample."""
        return "sample" if self.unit == "step" else "window"


def checked(function: str, relevances: Sequence[Relevance], labels: Sequence[str] | None, **whole: Any) -> list[str]:
    """The names of the results, after a check of them and of the options that take whole numbers."""
    if not 1 <= len(relevances) <= len(SERIES):
        raise ValueError(f"{function} takes one to {len(SERIES)} results, not {len(relevances)}")
    for relevance in relevances:
        if not isinstance(relevance, Relevance):
            raise ValueError(
                f"{function} takes results of explain, one after the other, not {type(relevance).__name__}"
            )
    if any(set(other.inputs) != set(relevances[0].inputs) for other in relevances[1:]):
        raise ValueError(f"{function} compares results with the same features, but theirs differ")
    for name, value in whole.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
            raise ValueError(f"{function}({name}=...) takes a whole number of at least 1, not {value!r}")
    if labels is None:
        return _names(relevances)
    if isinstance(labels, str) or len(labels) != len(relevances):
        raise ValueError(f"{function}(labels=...) takes a name a result, {len(relevances)}, not {labels!r}")
    return [str(label) for label in labels]


def checked_one(function: str, relevance: Relevance, **whole: Any) -> Relevance:
    """The result, checked as by :func:`checked`, on the host."""
    checked(function, [relevance], None, **whole)
    return on_host(relevance)


def on_host(relevance: Relevance) -> Relevance:
    """The result, copied from a GPU if it is there."""
    return relevance.to_host() if hasattr(relevance, "to_host") else relevance


def noun(groups: Groups | None) -> str:
    """What rows, lines and bars are of."""
    return "feature" if groups is None else "group"


def checked_limits(function: str, limits: tuple[float, float] | None) -> tuple[float, float] | None:
    """The limits, checked: two numbers that ascend."""
    if limits is None:
        return None
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"{function}(limits=...) takes two numbers, the smaller first, not {limits!r}")
    return low, high


def _names(relevances: Sequence[Relevance]) -> list[str]:
    """Names of the results: the rule, its parameters that are not the default, and the target, if there are several."""
    names = []
    for relevance in relevances:
        parts = [described(relevance.rule)]
        if relevance.target is not None:
            parts.append(f"target {relevance.target}")
        names.append(", ".join(parts))
    alike = [f" ({names[: k + 1].count(name)})" if names.count(name) > 1 else "" for k, name in enumerate(names)]
    return [name + number for name, number in zip(names, alike, strict=True)]


def ordered(function: str, size: pd.Series[float], order: Sequence[str] | None, top: int | None) -> list[str]:
    """Features or groups to show, top to bottom, given sizes by name."""
    if order is None:
        few = top or (len(size) if len(size) <= _MOST else _ENOUGH)
        return list(size.sort_values(ascending=False, kind="stable").index[:few])
    names = [order] if isinstance(order, str) else list(order)
    unknown = [str(name) for name in names if name not in size.index]
    if unknown:
        raise ValueError(
            f"{function}(order=...) names what the result does not have: {suggest(unknown, list(size.index))}"
        )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"{function}(order=...) takes names, each once, not {names!r}")
    return names[:top]


def scope(relevance: Relevance) -> Scope:
    """The numbers of assets, times and windows that have relevance, and the first and the last time."""
    found = relevance.explained
    n = int(np.count_nonzero(found))
    if not of_times(relevance.index):
        return Scope(f"{counted(n, 'sample')} of {counted(relevance.steps, 'step')}", "step", "samples")
    rank, _, times = panel_times(relevance)
    span = times.take(np.unique(rank[found & (rank >= 0)])).span()
    windows = f"{counted(n, 'window')} of {counted(relevance.steps, times.unit)}"
    if not isinstance(relevance.index, pd.MultiIndex):
        return Scope(f"{span}: {windows}", times.unit, None)
    level = 1 - time_level(relevance.index)
    name = str(relevance.index.names[level]).lower()
    asset = name if name in _ASSETS else "asset"
    assets = len(np.unique(np.asarray(relevance.index.codes[level])[found]))
    return Scope(f"{counted(assets, asset)}, {span}: {windows}", times.unit, f"{asset}s")


def panel_times(relevance: Relevance) -> tuple[Array, pd.Index, Timeline]:
    """Each row's time by rank, the distinct times, and their timeline, for all rows, explained or not."""
    rank, times = periods(panel_index(relevance, "the picture"))
    return rank, times, timeline(times)
