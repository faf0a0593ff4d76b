"""Waterfalls, swarms, legs and spread: bars reconcile, and points are where plain NumPy puts them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from picture_cases import MONTHS, check_words, made_up, said, texts

from fastlrp import plot
from fastlrp.plot.canvas import LINES
from fastlrp.plot.cross_section import REST
from fastlrp.relevance.device import DeviceRelevance

GROUPS = {"Even": ["factor 0", "factor 2", "factor 4"], "Odd": ["factor 1"]}  # factor 3 is "Other"


def scored(**made):
    """A result whose parts add up, with its prediction a function of the score."""
    rel = made_up(MONTHS[:12], **made)
    rest = np.where(rel.missing, np.nan, np.sin(np.arange(len(rel))))
    score = rel.values.sum(axis=(1, 2)) + 1.5 * rest
    return replace(rel, score=score, prediction=np.tanh(score), initial_state=0.5 * rest, unattributed=rest)


def bars_of(figure):
    """The rows of a waterfall: names, lefts and widths of the bars, and the two ends."""
    axes = figure.axes[0]
    ends = next(line.get_xdata() for line in axes.lines if line.get_marker() == "o")
    names = [row.get_text() for row in axes.get_yticklabels()][1:-1]
    return names, [(bar.get_x(), bar.get_width()) for bar in axes.patches], tuple(ends)


@pytest.mark.parametrize("base", ["mean", "zero"])
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_waterfall_leads_from_the_months_mean_to_the_score(base, groups):
    rel = scored(assets=7)
    row = 5 * 7 + 3
    names, bars, ends = bars_of(plot.waterfall(rel, row, base=base, groups=groups, top=5))
    month = slice(5 * 7, 6 * 7)
    want = (rel.score[month].mean() if base == "mean" else 0.0, rel.score[row])
    assert ends == pytest.approx(want, abs=1e-12)
    reached = ends[0]
    for left, width in bars:
        assert left == pytest.approx(reached, abs=1e-12)
        reached += width
    assert reached == pytest.approx(rel.score[row], abs=1e-12)
    R = rel.values.sum(axis=1)
    R = R[row] - (R[month].mean(axis=0) if base == "mean" else 0)
    parts = dict(zip(rel.features, R, strict=True))
    if groups is not None:
        parts = {"Even": R[[0, 2, 4]].sum(), "Odd": R[1], "Other": R[3]}
    assert names == [*sorted(parts, key=lambda name: -abs(parts[name])), REST]
    np.testing.assert_allclose([width for _, width in bars[:-1]], [parts[name] for name in names[:-1]], rtol=1e-12)


def test_a_waterfall_sums_what_has_no_bar_and_writes_values():
    rel = scored(features=200)
    panel = pd.DataFrame(np.arange(48 * 200).reshape(48, 200) / 7, rel.index, list(rel.features))
    few = plot.waterfall(rel, 20, values=panel[panel.columns[::-1]])
    names, bars, ends = bars_of(few)
    assert len(bars) == 14
    assert names[-2:] == ["188 other features", REST]
    assert ends[0] + sum(width for _, width in bars) == pytest.approx(ends[1], abs=1e-12)
    j = int(np.argmax(abs(rel.values[20].sum(axis=0) - rel.values[20:24].sum(axis=1).mean(axis=0))))
    assert names[0] == f"factor {j} = {panel.iloc[20, j]:.3g}"
    assert len(bars_of(plot.waterfall(rel, 20, top=199))[1]) == 201  # one feature needs no sum
    check_words(few)


def test_bars_that_miss_the_score_say_so():
    rel = scored()
    assert "the bars miss" not in said(plot.waterfall(rel, 20))
    score = rel.score + np.where(np.arange(48) == 20, 0.4, 0)
    assert "the bars miss the score by +0.40" in said(plot.waterfall(replace(rel, score=score), 20, base="zero"))
    assert "the bars miss the score by +0.30" in said(plot.waterfall(replace(rel, score=score), 20))


def test_a_row_is_found_by_its_key_and_ranked_among_its_month():
    rel = scored(assets=7)
    for row in (5 * 7 + 3, 5 * 7 + 3 - 84, ("1990-06", "A3"), (pd.Period("1990-06"), "A3")):
        figure = plot.waterfall(rel, row)
        assert figure.axes[0].get_title("left") == "Why A3, 1990-06"
        rank = 1 + sorted(rel.score[35:42], reverse=True).index(rel.score[38])
        assert f"rank {rank} of 7 by score (top {-(-100 * rank // 7)} %)" in said(figure)
        assert "mean of 7 stocks, 1990-06" in [row.get_text() for row in figure.axes[0].get_yticklabels()]
    of_array = replace(rel, index=None)
    figure = plot.waterfall(of_array, 38)
    assert figure.axes[0].get_title("left") == "Why sample 38"
    assert bars_of(figure)[2] == pytest.approx((np.nanmean(rel.score), rel.score[38]), abs=1e-12)
    series = replace(rel[rel.index.get_level_values(1) == "A3"], index=MONTHS[:12])
    figure = plot.waterfall(series, "1990-06")
    assert bars_of(figure)[2] == pytest.approx((np.nanmean(series.score), rel.score[38]), abs=1e-12)
    alone = rel[rel.index.get_level_values(1) == "A3"]  # an asset by itself would be its own mean
    figure = plot.waterfall(alone, ("1990-06", "A3"))
    assert bars_of(figure)[2] == pytest.approx((np.nanmean(series.score), rel.score[38]), abs=1e-12)


def test_long_names_leave_room_for_bars_and_overflow_is_said():
    rel = scored(assets=2)
    stocks = [f"International Business {'A' * 200} Corporation", "B"]
    index = pd.MultiIndex.from_product([MONTHS[:12], stocks], names=["month", "stock"])
    figure = plot.waterfall(replace(rel, index=index), 10)
    assert figure.axes[0].get_title("left") == "Why International Busine\u2026Corporation, 1990-06"
    check_words(figure)
    over = replace(rel, unattributed=np.where(np.arange(24) == 10, np.nan, rel.unattributed))
    with pytest.raises(ValueError, match="A0, 1990-06 has no relevance: numbers inside overflowed float64"):
        plot.waterfall(over, 10)


# ------------------------------------------------------------------------------------------------------------ swarm


def test_a_swarm_is_one_months_relevance_coloured_by_rank():
    rel = scored(assets=9)
    rng = np.random.default_rng(0)
    values = pd.DataFrame(rng.normal(size=(108, 5)), rel.index, list(rel.features))
    values.iloc[5 * 9 + 2, 0] = np.nan
    for time, month in (("1990-06", 5), (pd.Period("1990-06"), 5), (None, 11)):
        axes = plot.beeswarm(rel, values, time=time).axes[0]
        rows = [int(row.get_text().split()[1]) for row in axes.get_yticklabels()]
        R = rel.values[month * 9 : month * 9 + 9].sum(axis=1)
        assert rows == list(np.argsort(-abs(R).mean(axis=0)))
        x, y = np.asarray(axes.collections[0].get_offsets()).T.reshape(2, 9, 5)
        np.testing.assert_allclose(x, R[:, rows], rtol=1e-12)
        assert (abs(y - np.arange(5)) < 0.45).all()
        colours = np.ma.filled(axes.collections[0].get_array(), np.nan).reshape(9, 5)
        given = values.to_numpy()[month * 9 : month * 9 + 9][:, rows]
        for k in range(5):
            known = ~np.isnan(given[:, k])
            want = (given[known, k][:, None] >= given[known, k]).sum(axis=1) / known.sum()
            np.testing.assert_allclose(colours[known, k], want, rtol=1e-12)
            assert np.isnan(colours[~known, k]).all()
        assert ("black: the feature's value is missing" in texts(axes)) == (month == 5)
    assert f"arras: 9 stocks, {MONTHS[11]}" in texts(axes)


def test_a_swarm_of_an_array_and_of_many_features():
    rel = replace(scored(assets=600, features=30), index=None)
    X = np.random.default_rng(1).normal(size=rel.values.shape)
    figure = plot.beeswarm(rel, X)
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(points) == 5000 * 20
    assert {"20 of 30 features", "5,000 of them are drawn; ranks are among all"} <= set(texts(figure.axes[0]))
    check_words(figure)


# ------------------------------------------------------------------------------------------------------------- legs


@pytest.mark.parametrize("base", ["mean", "zero"])
def test_legs_are_the_highest_and_the_lowest_predictions_of_each_month(base):
    rel = scored(assets=10)
    figure = plot.long_short(rel, quantile=0.25, base=base)
    R, sums = rel.values.sum(axis=1), {"long": [], "short": []}
    scores = {"long": [], "short": []}
    for month in range(2, 12):
        rows = np.arange(month * 10, month * 10 + 10)
        rows = rows[np.argsort(rel.prediction[rows])]
        for leg, chosen in (("short", rows[:2]), ("long", rows[-2:])):
            less = (R[rows].mean(axis=0), rel.score[rows].mean()) if base == "mean" else (0.0, 0.0)
            sums[leg].append(R[chosen].mean(axis=0) - less[0])
            scores[leg].append(rel.score[chosen].mean() - less[1])
    long, short = (np.mean(sums[leg], axis=0) for leg in ("long", "short"))
    axes = figure.axes[0]
    rows = [int(row.get_text().split()[1]) for row in axes.get_yticklabels()]
    assert rows == list(np.argsort(-abs(long - short)))
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [*long[rows], *short[rows]], rtol=0, atol=1e-12 * max(map(abs, widths)))
    line = next(line for line in texts(axes) if line.startswith("long leg"))
    said_score = float(line.split("score ")[1].split(",")[0].split()[0].replace("\N{MINUS SIGN}", "-"))
    assert said_score == pytest.approx(np.mean(scores["long"]), abs=6e-3)
    assert "arras: 25 % of each month's stocks from either end, by prediction" in texts(axes)


def test_legs_of_one_month_of_groups_and_of_one_of_several_outputs():
    rel = scored(assets=10)
    R = rel.values.sum(axis=1)[30:40]
    highest, lowest = int(np.argmax(rel.prediction[30:40])), int(np.argmin(rel.prediction[30:40]))
    two = np.stack([-rel.prediction, rel.prediction], axis=1)
    for result in (rel, replace(rel, prediction=two, outputs=("down", "up"), target="up")):
        axes = plot.long_short(result, time="1990-04", groups={"All": list(rel.features)}).axes[0]
        want = [R[leg].sum() - R.sum(axis=1).mean() for leg in (highest, lowest)]
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], want, rtol=0, atol=1e-12)
    check_words(plot.long_short(scored(features=200)))


# ----------------------------------------------------------------------------------------------------------- spread


def test_spread_and_the_null_line():
    rel = scored()
    wide = np.linspace(0.01, 0.4, 5)
    share = 100 * rel.share().mean().to_numpy()
    table = pd.DataFrame({"line": share[::-1] / 99.9}, index=pd.Index(rel.features, name="feature"))
    null = SimpleNamespace(statistic="share", by="feature", table=lambda: table)
    several = replace(rel, share_spread=wide, n_members=7)
    for given in (null, table):
        figure = plot.spread(several, null=given)
        axes = figure.axes[0]
        rows = [int(row.get_text().split()[1]) for row in axes.get_yticklabels()]
        assert rows == list(np.argsort(-share))
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(share[::-1][rows] / 0.999)
        filled, hollow = (
            {rows[int(y)] for line in axes.lines if line.get_markerfacecolor() == face for y in line.get_ydata()}
            for face in (LINES[0], "white")
        )
        assert filled == set(np.flatnonzero(share > share[::-1] / 0.999))
        assert hollow == set(range(5)) - filled
        whiskers = np.array(axes.collections[0].get_segments())[:, :, 0]
        np.testing.assert_allclose(whiskers[:, 1], (share + 100 * wide)[rows], rtol=1e-12)
        np.testing.assert_allclose(whiskers[:, 0], np.maximum(share - 100 * wide, 0)[rows], rtol=0, atol=1e-12)
        assert "mean of 7 networks, and one standard deviation either way" in texts(axes)
        assert f"{len(filled)} of 5 features are above the null line" in texts(axes)
        check_words(figure)
    many = scored(features=200)
    check_words(plot.spread(replace(many, share_spread=np.full(200, 1e-3), n_members=3)))


# --------------------------------------------------------------------------------------------------- all, refusals


def test_a_result_on_the_gpu_is_copied_and_axes_are_returned():
    from matplotlib.figure import Figure

    rel = scored()
    device = DeviceRelevance(**{name: part for name, part in vars(rel).items() if name in rel.__dataclass_fields__})
    object.__setattr__(device, "_copy", rel)
    panel = pd.DataFrame(0.0, rel.index, list(rel.features))
    axes = Figure(layout="constrained").subplots(2, 2).ravel()
    assert plot.waterfall(device, 20, ax=axes[0]) is axes[0]
    assert plot.beeswarm(device, panel, ax=axes[1]) is axes[1]
    assert plot.long_short(device, ax=axes[2]) is axes[2]
    assert plot.spread(device, null=pd.DataFrame({"line": 0.1}, index=list(rel.features)), ax=axes[3]) is axes[3]
    assert [len(one.patches) > 0 or len(one.collections) > 0 for one in axes] == [True] * 4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rel, _: plot.waterfall(rel, 48), "waterfall: row 48 is none of the result's 48 rows"),
        (lambda rel, _: plot.waterfall(rel, 0), "waterfall: A0, 1990-01 has no relevance: no full window ends there"),
        (
            lambda rel, _: plot.waterfall(rel, ("1990-06", "B")),
            r"is not one row of the result, expected a position, or",
        ),
        (lambda rel, _: plot.waterfall(rel, "1990-06"), r"'1990-06' is not one row .* such as \('1990-01', 'A0'\)"),
        (lambda rel, _: plot.waterfall(replace(rel, index=None), "x"), "rows of an array are chosen by position, not"),
        (lambda rel, _: plot.waterfall(rel, 20, base="median"), r"waterfall\(base=...\) takes 'mean' or 'zero', not"),
        (lambda rel, _: plot.waterfall(rel, 20, top=0), r"waterfall\(top=...\) takes a whole number of at least 1"),
        (lambda rel, X: plot.waterfall(rel, 20, values=X[1:]), "values=...) has 47 rows, the result 48: align it"),
        (
            lambda rel, X: plot.beeswarm(rel, X.drop(columns="factor 1")),
            "lacks 1 of 5 features, the first being 'factor 1'",
        ),
        (
            lambda rel, X: plot.beeswarm(rel, X.to_numpy()[:, 1:]),
            r"has shape \(48, 4\), expected \(48, 5\): the panel or",
        ),
        (lambda rel, X: plot.beeswarm(rel, X, time="1995-01"), "is not one of the result's times, which are '1990-01'"),
        (lambda rel, X: plot.beeswarm(rel, X, time="1990-01"), "has nothing to show: no row of 1990-01 has relevance"),
        (lambda rel, X: plot.beeswarm([rel], X), "beeswarm takes results of explain, one after the other, not list"),
        (lambda rel, _: plot.long_short(rel, quantile=0.6), "takes a number above 0 and up to 0.5, not 0.6"),
        (lambda rel, _: plot.long_short(replace(rel, index=None)), "needs the result of a panel"),
        (lambda rel, _: plot.long_short(scored(assets=1)), "no period has two assets with relevance"),
        (lambda rel, _: plot.spread(rel), "spread shows an ensemble's result, all its rows, or one beside null=; this"),
        (lambda rel, X: plot.spread(rel, null=X), "takes what null_relevance returns, or its .* not DataFrame"),
        (
            lambda rel, X: plot.spread(rel, null=pd.DataFrame({"line": [1]}, ["factor 1"])),
            "is of other features: it has",
        ),
        (
            lambda rel, X: plot.spread(rel, null=SimpleNamespace(statistic="abs", by="step")),
            "takes shares by feature, not abs by step",
        ),
    ],
)
def test_refusals_are_sentences(call, words):
    rel = scored()
    with pytest.raises(ValueError, match=words.replace("values=...)", r"values=...\)")):
        call(rel, pd.DataFrame(0.0, rel.index, list(rel.features)))
