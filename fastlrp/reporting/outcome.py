"""The section on what followed: do predictions rank it?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastlrp.plot.timeline import counted
from fastlrp.reporting.charts import bar_chart, line_chart
from fastlrp.reporting.evidence import Evidence
from fastlrp.reporting.history import _year
from fastlrp.reporting.judged import Judged, by_period, judged
from fastlrp.reporting.parts import Section, Table, as_table, number, percent, signed, through_time


def outcome_section(e: Evidence, horizon: int, *, refitted: bool) -> Section:
    """Predictions beside the target, in the periods that the model has not seen where these are known."""
    section = Section("outcome", "Do predictions come true?")
    test_from = e.subject.test_from
    assert e.subject.actual is not None
    predicted = np.where(e.found, e.subject.predicted, np.nan)
    table = by_period(e.subject.frame.index, predicted, e.subject.actual)  # type: ignore[arg-type]  # two levels
    if table.empty:
        section.lead.append("No prediction has a target beside it, so that nothing can be said.")
        return section
    spans = {"all": table}
    if test_from is not None:
        spans = {"test": table[table["rank"] >= test_from], "before": table[table["rank"] < test_from]}
    spans = {name: part for name, part in spans.items() if len(part)}
    found = {name: judged(part, horizon - 1) for name, part in spans.items()}
    first = next(iter(found.values()))
    section.lead += [_span(e, test_from, "test" in spans, refitted), _verdict(e, first)]
    section.tables.append(_table(e, spans, found))
    section.lead.append(
        "R² is 1 \N{MINUS SIGN} Σ(y \N{MINUS SIGN} p)² / Σy², against a forecast of zero; it asks for predictions in "
        "the target's units, as the others do not. t is Newey and West's. Portfolios are equally weighted "
        "and before costs."
    )
    smooth = _year(e)
    shown = table[["ic"]].rename(columns={"ic": "rank correlation"})
    mark = None if test_from is None else int((table["rank"] < test_from).sum())
    mark = mark if mark is not None and 0 < mark < len(table) else None
    notes = [
        f"trailing mean of {counted(smooth, e.line.unit)}" + ("; shaded: may have trained the model" if mark else "")
    ]
    words = (
        f"A line through time: the rank correlation of predictions and targets, {number(first.ic.mean)} on average"
        f"{' in the test' if mark else ''}, positive in {percent((shown.iloc[mark or 0 :, 0] > 0).mean())} of "
        f"{e.line.unit}s."
    )
    figure = line_chart(
        shown, "How well predictions rank what follows", notes, "rank correlation", smooth=smooth, shown_from=mark
    )
    section.draw(figure, words, through_time(f"Rank correlation by {e.line.unit}", shown))
    if len(first.portfolios) and np.isfinite(first.portfolios).all():
        means = first.portfolios.rename_axis("quantile").to_frame("mean target")
        words = (
            f"Bars: the mean target of each quantile of the prediction, from {number(first.portfolios.iloc[0])} in "
            f"the lowest to {number(first.portfolios.iloc[-1])} in the highest."
        )
        below = "quantile of the prediction, the highest last"
        figure = bar_chart(
            means["mean target"], "What followed, by quantile of the prediction", [], "mean target", below
        )
        section.draw(figure, words, as_table("Mean target by quantile of the prediction", means))
    return section


def _span(e: Evidence, test_from: int | None, any_test: bool, refitted: bool) -> str:
    if refitted:
        return "Every prediction comes from a model that was fitted on earlier periods alone: all are out of sample."
    if test_from is not None:
        if not any_test:
            return f"Nothing is known yet of what followed from {e.period(test_from)} on, which the model has not seen."
        return f"Out of sample are the periods from {e.period(test_from)} on; those before may have trained the model."
    return (
        "Whether these periods trained the model is not known to this page: what holds in the sample that a model has "
        "seen says little. Name the first period that it has not seen (test_from), and this section is split there."
    )


def _verdict(e: Evidence, found: Judged) -> str:
    ic = found.ic
    if not np.isfinite(ic.t):
        return "There are too few periods to judge predictions by."
    clear = "is clearly different from zero" if abs(ic.t) > 2 else "is not distinguishable from zero"
    which = (
        "they rank what follows"
        if ic.t > 2
        else "they rank it the wrong way round"
        if ic.t < -2
        else "no skill is shown"
    )
    return (
        f"Predictions and targets have a rank correlation of {number(ic.mean)} on average over "
        f"{counted(ic.n, e.line.unit)} (t {number(ic.t)}), which {clear}: {which}."
    )


def _table(e: Evidence, spans: dict[str, pd.DataFrame], found: dict[str, Judged]) -> Table:
    def span(part: pd.DataFrame) -> str:
        return f"{e.period(int(part['rank'].iloc[0]))} to {e.period(int(part['rank'].iloc[-1]))}"

    head = ["", *(f"{'out of sample, ' if name == 'test' else ''}{span(part)}" for name, part in spans.items())]
    lines = {
        f"{e.line.unit}s": lambda one: f"{one.ic.n:,}",
        "mean rank correlation": lambda one: signed(one.ic.mean),
        "its t": lambda one: number(one.ic.t),
        "highest quantile less lowest": lambda one: signed(one.difference.mean),
        "its t ": lambda one: number(one.difference.t),
        "R² against zero": lambda one: percent(one.r2),
    }
    return Table(
        "Predictions and what followed", head, [[name, *map(form, found.values())] for name, form in lines.items()]
    )
