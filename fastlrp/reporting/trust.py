"""Sections on whether rules agree, and whether the explanation is faithful to the network."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd

from fastlrp import plot
from fastlrp.errors import ConservationWarning
from fastlrp.evidence import compare, faithfulness
from fastlrp.relevance.tables import mean_share
from fastlrp.reporting.evidence import Evidence
from fastlrp.reporting.parts import Section, Table, as_table, largest, number, percent, signed

_SAMPLES = 2000  # windows that are perturbed, and explained by every rule: their means have three digits
_OWN = "Each period has a network of its own, so that this is not computed for all of them together."


def rules_section(e: Evidence) -> Section:
    """Both rules side by side, and how far these and gradients agree."""
    section, one, two = Section("rules", "Do other rules say the same?"), e.relevance, e.second
    names = [one.rule.name, two.rule.name]
    shares = pd.DataFrame({name: mean_share(rel) for name, rel in zip(names, (one, two), strict=True)}, one.features)
    shares = shares.sort_values(names[0], ascending=False, kind="stable").rename_axis("feature")
    lost = [rel.median_unattributed_share() for rel in (one, two)]
    section.lead.append(
        f"By {names[0]} the largest features are {largest(shares[names[0]], percent, 3)}; by {names[1]} they are "
        f"{largest(shares[names[1]], percent, 3)}. Of the score, {names[0]} leaves {percent(lost[0])} unattributed at "
        f"the median, {names[1]} {percent(lost[1])}."
    )
    words = f"Bars: the mean share of |relevance| of each feature by {names[0]} and by {names[1]}, side by side."
    section.draw(plot.bars(one, two, top=20), words, as_table("Mean shares by both rules", shares, percent))
    net = e.subject.net
    if net is None:
        section.lead.append(_OWN)
        return section
    rules: list[Any] = [one.rule, two.rule, *(r for r in ("gradient_x_input", "integrated_gradients") if r not in names)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)
        found = compare(net, e.subject.frame, rules, n_samples=_SAMPLES, random_state=0, **_how(e)).table
    rows = [
        [f"{a} and {b}", number(row["spearman"]), number(row["share_spearman"]), percent(row["top"]), percent(row["sign"])]
        for (a, b), row in found.iterrows()
    ]
    head = ["rules", "rank correlation in a window", "of mean shares", "top 5 in common", "same sign"]
    section.tables.append(Table(f"Agreement of rules, in {found['samples'].iloc[0]:,.0f} windows", head, rows))
    return section


def faithfulness_section(e: Evidence) -> Section:
    """What happens to the score as the most relevant features are deleted first."""
    section, net = Section("faithful", "Is the explanation faithful to the model?"), e.subject.net
    if net is None:
        section.lead.append(_OWN)
        return section
    found = faithfulness(
        net, e.subject.frame, e.relevance, n_samples=_SAMPLES, random_state=0, threads=e.subject.threads
    )
    told = found.table()
    better = "more" if told["gain"] > 0 else "no more"
    section.lead.append(
        "If relevance says what the model uses, then the score must change most as the features with most of it are "
        "replaced by their mean over the cross-section. It changes "
        f"{better} than in random order: the area between the two curves is {signed(told['gain_relative'])} of the random "
        f"one's, and is positive in {told['months_won']:,.0f} of {told['months']:,.0f} {e.line.unit}s; with the least "
        f"relevant first it is {signed(told['reversed'] / (found.areas['random'] or 1))}."
    )
    curves = found.curves.rename_axis("part deleted")
    words = (
        "Three lines: the change of the score as features are deleted, the most relevant, random ones, or the least "
        f"relevant first. At half of the features: {largest(curves[['most', 'random', 'least']].loc[_half(curves)], number)}."
    )
    section.draw(found.plot(), words, as_table("Change of the score, by the part of features deleted", curves))
    rows = [[str(name).replace("_", " "), number(float(value))] for name, value in told.items()]
    section.tables.append(Table(f"In numbers, of {told['samples']:,.0f} windows", ["", "value"], rows))
    return section


def _half(curves: pd.DataFrame) -> Any:
    return curves.index[abs(curves.index - 0.5).argmin()]


def _how(e: Evidence) -> dict[str, Any]:
    return {"steps": e.subject.steps, "target": e.subject.unit, "threads": e.subject.threads}
