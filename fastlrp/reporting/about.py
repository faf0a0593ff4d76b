"""Sections on the model, on how its relevance adds up, and on how the page was made."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

import fastlrp
from fastlrp.messages import count
from fastlrp.model.ensemble import Chains
from fastlrp.model.table import HEAD, rows_of
from fastlrp.reporting.charts import line_chart
from fastlrp.reporting.evidence import Evidence
from fastlrp.reporting.parts import Section, Table, number, percent, signed, through_time

_PACKAGES = ("numpy", "numba", "pandas", "scikit-learn", "matplotlib", "jinja2")


def model_section(e: Evidence) -> Section:
    """The model, its panel, the rule, and the rows that are left out."""
    section, subject, relevance = Section("model", "The model and its panel"), e.subject, e.relevance
    found = int(np.count_nonzero(e.found))
    ranks = e.rank[e.found]
    n_assets = len(np.unique(e.asset_codes[e.found]))
    first, last = e.period(ranks.min()), e.period(ranks.max())
    span = f"from {first} to {last}" if first != last else f"of {first}"
    section.lead.append(
        f"{count(found, 'prediction')} of {count(n_assets, e.assets[:-1])} {span} {'is' if found == 1 else 'are'} "
        f"explained, each by a window of {count(subject.steps, e.line.unit)} of "
        f"{count(len(relevance.features), 'feature')}"
        + (f" and {count(len(relevance.static_features), 'static feature')}." if relevance.static_features else ".")
    )
    section.lead += _left_out(e, found)
    section.facts += [("Model", subject.source), ("Panel", subject.panel), ("Network", _network(e))]
    if relevance.network is not None:
        section.facts.append(("Fingerprint", f"{relevance.network} (SHA-256 of layers and weights)"))
    section.facts += _rule(e)
    section.tables += _layers(e)
    return section


def _network(e: Evidence) -> str:
    net, relevance = e.subject.net, e.relevance
    if net is None:
        return f"refitted through time: {count(len(e.subject.model.networks_), 'window')}, each its own network"
    if isinstance(net, Chains):
        agree = f"; the relevance of two of them correlates at {number(e.stepped.agreement())}"
        return f"the mean of {count(len(net), 'network')}, {count(net.n_params, 'parameter')} in all{agree}"
    target = "" if relevance.target is None else f"; the output explained is {relevance.target!r}"
    return f"{count(net.n_params, 'parameter')}, {net.dtype}{target}"


def _rule(e: Evidence) -> Iterator[tuple[str, str]]:
    rule: Any = e.relevance.rule
    given = ", ".join(f"{one.name} = {getattr(rule, one.name)}" for one in fields(rule))
    yield "Rule", f"{rule.name}{f' ({given})' if given else ''}"


def _left_out(e: Evidence, found: int) -> Iterator[str]:
    n = len(e.relevance)
    if found == n:
        yield "No row is left out."
        return
    over = int(np.count_nonzero(e.relevance.overflowed))
    short, gaps = n - e.n_full, e.n_full - found - over
    frame = e.subject.frame
    share = frame.isna().mean().sort_values(ascending=False, kind="stable")
    worst = [f"{name} ({percent(value)} of rows)" for name, value in share[share > 0].iloc[:3].items()]
    window = f"full window of {count(e.subject.steps, e.line.unit)}"
    if e.least is not None:
        window = f"window of {e.least} to {count(e.subject.steps, e.line.unit)}"
    yield (
        f"{count(n - found, 'row')} of {n:,} {'is' if n - found == 1 else 'are'} left out: {short:,} because no "
        f"{window} without a break ends there, {gaps:,} because "
        + (
            "a value is missing in the window"
            if e.subject.net is not None
            else "a value is missing or no model is ready"
        )
        + (f", {over:,} because numbers inside overflowed {e.relevance.score.dtype}" if over else "")
        + (f"; most are missing of {', '.join(worst)}." if gaps and worst else ".")
    )


def _layers(e: Evidence) -> Iterator[Table]:
    net = e.subject.net
    if net is None:
        return
    chain = net[0] if isinstance(net, Chains) else net
    yield Table("Layers" + (" of the first network" if isinstance(net, Chains) else ""), HEAD, rows_of(chain))


def reconciliation_section(e: Evidence) -> Section:
    """How well relevance adds up, by period and in the worst rows."""
    section, relevance = Section("adds-up", "Does it add up?"), e.relevance
    gaps, unattributed = relevance.reconcile(), relevance.median_unattributed_share()
    part = "less than half" if unattributed <= 0.5 else "more than half"
    section.lead += [
        "A prediction's score is the sum of its relevance, of what reached the network's initial state, and of what "
        "the rule leaves unattributed. Each part is added up where it arises, so that the gap between the score and "
        f"the sum is a check: it is {number(gaps.relative_worst)} of a row's scale at worst, "
        f"{number(gaps.relative_median)} at the median.",
        f"The rule leaves {percent(unattributed)} of the score unattributed at the median, {part} of it"
        + (": rankings of features speak of the smaller part." if unattributed > 0.5 else "."),
    ]
    score = np.abs(relevance.score.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.abs(relevance.unattributed.astype(np.float64)) / score
    scale = relevance._sums[:, 1]
    relative = np.divide(np.abs(relevance.gap), scale, out=np.zeros_like(scale), where=scale > 0)
    by = {
        "rows": e.by_period(score).size(),
        "median |score|": e.by_period(score).median(),
        "median unattributed / |score|": e.by_period(share).median(),
        "largest gap / scale": e.by_period(relative).max(),
    }
    table = pd.DataFrame(by)
    table.index = e.times.take(table.index.to_numpy())
    lost = "median unattributed / |score|"
    shown = 100 * table[[lost]].replace(np.inf, np.nan)
    figure = line_chart(shown, "What the rule leaves unattributed", [f"median over {e.assets}"], "% of |score|")
    words = (
        f"A line through time: the median share of the score that stays unattributed lies between "
        f"{percent(table[lost].min())} and {percent(table[lost].max())}, at {percent(table[lost].iloc[-1])} in the end."
    )
    rows = through_time(f"How relevance adds up, by {e.line.unit}", table, number, **{lost: percent, "rows": _whole})
    section.draw(figure, words, rows)
    worst = [
        [f"{e.asset(row)}, {e.period(e.rank[row])}", number(relevance.score[row]), signed(gap)]
        for row, gap in relevance._relative(gaps.worst_rows)
    ]
    section.tables.append(Table("The rows that add up worst", ["row", "score", "gap / scale"], worst))
    return section


def _whole(x: float) -> str:
    return f"{x:,.0f}"


def made_section(e: Evidence, asked: str, seconds: float) -> Section:
    """How the page was computed."""
    section = Section("made", "How this page was computed")
    section.lead.append(
        "Everything on this page is computed from the model and the panel that it names, by fastlrp, and nothing is "
        "loaded from elsewhere. Relevance explains what the model predicts, not what moves the market: a model without "
        "predictive power has relevance as tidy as a good one."
    )
    if e.relevance.by_position:
        section.lead.append("Columns were taken by position, since the network has no names for its inputs.")
    section.facts += [
        ("Call", asked),
        ("fastlrp", fastlrp.__version__),
        ("Packages", ", ".join(f"{name} {version(name)}" for name in _PACKAGES)),
        ("Python", f"{platform.python_version()}, {platform.system()} on {platform.machine()}"),
        ("Precision", str(e.relevance.score.dtype)),
        ("Time", f"{seconds:.1f} seconds to explain and judge"),
    ]
    return section
