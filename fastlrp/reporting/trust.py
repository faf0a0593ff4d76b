"""Sections on whether rules agree, and whether the explanation is faithful to the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd

from fastlrp import plot
from fastlrp.errors import ConservationWarning
from fastlrp.evidence.compare import compare
from fastlrp.evidence.faithfulness import faithfulness
from fastlrp.messages import count, unsaid
from fastlrp.relevance.tables import mean_share
from fastlrp.reporting.evidence import Evidence
from fastlrp.reporting.parts import Section, Table, as_table, largest, number, percent

_SAMPLES = 2000  # windows that are perturbed, and explained by every rule: their means have three digits
#: Numbers of a test of faithfulness: what they are called, and how they are written.
_TOLD: dict[str, tuple[str, Callable[[float], str]]] = {
    "most": ("area, most relevant first", number),
    "random": ("area, random order", number),
    "random_std": ("its standard deviation over random orders", number),
    "least": ("area, least relevant first", number),
    "infidelity_relative": ("infidelity (0 is exact, 1 is that of no relevance)", number),
    "max_sensitivity_relative": ("largest change of relevance under a small change of the input", percent),
}
_STATIC = "The network has static features, for which this is not computed yet."
_OWN = "Each period has a network of its own, so that this is not computed for all of them together."


def rules_section(e: Evidence) -> Section:
    """Both rules side by side, and how far these and gradients agree."""
    section, one, two = Section("rules", "Do other rules say the same?"), e.relevance, e.second
    names = [one.rule.name, two.rule.name]
    if not two.explained.any():
        section.lead.append(f"Rules are not compared: by {names[1]} numbers overflow in every row.")
        return section
    shares = pd.DataFrame({name: mean_share(rel) for name, rel in zip(names, (one, two), strict=True)}, one.inputs)
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
    if net is None or net.n_static:
        section.lead.append(_OWN if net is None else _STATIC)
        return section
    rules: list[Any] = [
        one.rule,
        two.rule,
        *(r for r in ("gradient_x_input", "integrated_gradients") if r not in names),
    ]
    with unsaid(ConservationWarning):
        compared = compare(net, e.subject.frame, rules, n_samples=_SAMPLES, random_state=0, **_how(e))
    found, top = compared.table, compared.top
    rows = [
        [
            f"{a} and {b}",
            number(row["spearman"]),
            number(row["share_spearman"]),
            percent(row["top"]),
            percent(row["sign"]),
        ]
        for (a, b), row in cast(Any, found.iterrows())
    ]
    head = ["rules", "rank correlation in a window", "of mean shares", f"top {top} in common", "same sign"]
    section.tables.append(Table(f"Agreement of rules, in {count(int(found['samples'].max()), 'window')}", head, rows))
    return section


def faithfulness_section(e: Evidence) -> Section:
    """What happens to the score as the most relevant features are deleted first."""
    section, net = Section("faithful", "Is the explanation faithful to the model?"), e.subject.net
    if net is None or net.n_static:
        section.lead.append(_OWN if net is None else _STATIC)
        return section
    alone = int(e.by_period(e.relevance.score).size().max()) == 1  # an asset by itself is its own mean
    found = faithfulness(
        net, e.subject.frame, e.relevance, replace="zero" if alone else "mean", n_samples=_SAMPLES, random_state=0,
        threads=e.subject.threads,
    )  # fmt: skip
    told, by = found.table(), "zero" if alone else "their mean over the cross-section"
    reversed_ = told["reversed"] / told["random"] if told["random"] else float("nan")
    section.lead.append(
        "If relevance says what the model uses, the score must change most when the features with most of it are the "
        f"first to be replaced by {by}. The area under that curve is "
        f"{_more(told['gain_relative'])} than in random order, and larger than it in {percent(told['months_won'])} of "
        f"{e.line.unit}s; with the least relevant first it is {_more(reversed_)}."
    )
    curves = found.curves.rename(columns={"random_std": "spread of random"})
    at = int(np.abs(curves.index.to_numpy() - 0.5).argmin())
    words = (
        "Three lines: the mean change of the score as features are deleted, with the most relevant, random ones or the "
        f"least relevant first. With {percent(curves.index[at])} of them gone "
        f"it is {largest(curves[['most', 'random', 'least']].iloc[at], number)}."
    )
    curves.index = pd.Index([percent(part) for part in curves.index], name="deleted")
    caption = "Mean change of the score, by the part of features deleted"
    section.draw(found.plot(), words, as_table(caption, curves))
    rows = [[name, form(float(told[key]))] for key, (name, form) in _TOLD.items() if key in told]
    section.tables.append(Table(f"In numbers, of {count(int(told['samples']), 'window')}", ["", "value"], rows))
    return section


def _more(part: float) -> str:
    return f"{percent(abs(part))} {'larger' if part > 0 else 'smaller'}"


def _how(e: Evidence) -> dict[str, Any]:
    return {"steps": e.subject.steps, "target": e.subject.unit, "threads": e.subject.threads}
