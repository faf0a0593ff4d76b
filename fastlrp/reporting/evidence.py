"""What all sections of a report look at: relevance of the panel, by the rule and by another, and its periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.errors import ConservationWarning
from fastlrp.explain import refused
from fastlrp.messages import count, unsaid
from fastlrp.panels.order import find_windows
from fastlrp.panels.periods import label, periods, time_level
from fastlrp.plot.shown import scope
from fastlrp.plot.timeline import Timeline, timeline
from fastlrp.relevance.result import Relevance
from fastlrp.reporting.subject import Subject
from fastlrp.rules import Rule, as_rule

Array = npt.NDArray[Any]

_MOST = 1 << 30  # bytes of relevance by step; of a larger panel, steps are shown of some assets


@dataclass(frozen=True, eq=False)
class Evidence:
    """Relevance of a panel.

    Attributes
    ----------
    relevance : Relevance
        Of every row; of a large panel summed over steps.
    stepped : Relevance
        With its steps, of every row or of some assets, which ``some`` says.
    second : Relevance
        By the other of the two rules, arras and rudder, summed over steps.
    rank, times : array, Index
        Each row's period, and the distinct ones.
    """

    subject: Subject
    relevance: Relevance
    stepped: Relevance
    second: Relevance
    some: str
    groups: Mapping[str, Sequence[str]] | None
    rank: Array
    times: pd.Index

    @cached_property
    def found(self) -> Array:
        """Whether a row has relevance."""
        return self.relevance.explained

    @cached_property
    def line(self) -> Timeline:
        """The panel's periods as pictures name them."""
        return timeline(self.times)

    @cached_property
    def n_full(self) -> int:
        """Rows that end a window, whether or not a value is missing there."""
        found = find_windows(self.subject.frame.index, self.subject.steps, self.least)
        return int(np.count_nonzero(found.ends if found.lengths is None else found.lengths))

    @property
    def least(self) -> int | None:
        """The fewest steps of a window, where the model takes short histories; None: all of them."""
        model = self.subject.model
        return cast("int | None", getattr(getattr(model, "estimator", model), "min_steps", None))

    @cached_property
    def asset_codes(self) -> Array:
        """Each row's asset, as a number."""
        index: Any = self.subject.frame.index
        return np.asarray(index.codes[1 - time_level(index)])

    @cached_property
    def assets(self) -> str:
        """What the panel's assets are called, as "stocks"."""
        return scope(self.relevance).assets or "assets"

    def period(self, rank: int) -> str:
        """A period's name."""
        return str(self.line.names[rank])

    def asset(self, at: int) -> str:
        """The name of a row's asset."""
        index: Any = self.subject.frame.index
        return label(index[at][1 - time_level(index)])

    def by_period(self, values: Array) -> Any:
        """A column by period, of the rows that have relevance, for pandas to sum up."""
        return pd.Series(values[self.found]).groupby(self.rank[self.found])


def gathered(subject: Subject, rule: Rule, groups: Mapping[str, Sequence[str]] | None) -> Evidence:
    """Explain the panel.

    Raises
    ------
    ValueError
        If no row of it has relevance, or a group does not fit.
    """
    frame: Any = subject.frame
    rank, times = periods(frame.index)
    n_features = frame.shape[1] if subject.net is None else subject.net.n_features
    itemsize = 4 if (frame.dtypes == np.float32).all() else 8
    fits = frame.shape[0] * subject.steps * n_features * itemsize <= _MOST
    with unsaid(ConservationWarning):  # the page says it in numbers
        relevance = subject.explain(rule, **({} if fits else {"reduce": "steps"}))
        if not relevance.explained.any():
            raise ValueError(
                f"{subject.panel} has no row to explain: none of its {count(len(frame), 'row')} ends a complete window "
                f"of {count(subject.steps, 'step')} without a missing value"
            )
        stepped, some = relevance, ""
        if not fits:
            part, some = _some_assets(frame, _MOST // (subject.steps * n_features * itemsize))
            stepped = subject.explain(rule, part)
        second = subject.explain(_other(rule, relevance), reduce="steps")
    if groups is not None:
        relevance[:1].by_group(groups)  # refuses groups that do not fit, before anything is drawn
    return Evidence(subject, relevance, stepped, second, some, groups, rank, times)


def _other(rule: Rule, relevance: Relevance) -> Rule:
    """A second rule to compare with: the other published one or, where that has no way through the networks, one that
    has."""
    other = as_rule("arras" if rule.name == "rudder" else "rudder")
    nets = relevance.origin if isinstance(relevance.origin, tuple) else ()
    if any(refused(other, net) for net in nets):
        return as_rule("gradient_x_input" if rule.name == "arras" else "arras")
    return other


def _some_assets(frame: pd.DataFrame, rows: int) -> tuple[pd.DataFrame, str]:
    """All rows of some assets, drawn at random, and how many there are in words."""
    index: Any = frame.index
    code = np.asarray(index.codes[1 - time_level(index)])
    sizes = np.bincount(code)
    order = np.random.default_rng(0).permutation(np.flatnonzero(sizes))
    chosen = order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), rows, side="right")))]
    words = f"of {len(chosen):,} of {len(order):,} assets, drawn at random, as all would take too much memory"
    return frame[np.isin(code, chosen)], words
