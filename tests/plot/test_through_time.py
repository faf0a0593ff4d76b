"""Lines, stacked shares, lags and shades: the numbers are those of the values, recomputed in plain NumPy."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from picture_cases import MONTHS, check_words, made_up, said, texts, ticks

from fastlrp import plot
from fastlrp.plot.canvas import LINES
from fastlrp.plot.shading import _places, checked_shade
from fastlrp.plot.timeline import timeline
from fastlrp.rules import Rudder

QUARTERS = pd.period_range("1990Q1", periods=8, freq="Q")
GROUPS = {"Even": ["factor 0", "factor 2", "factor 4"], "Odd": ["factor 1"]}  # factor 3 is "Other"


def by_month(rel, what):
    """Mean over each month's assets of |R|, R or shares, with R summed over steps: (month, feature), some NaN."""
    R = rel.values.sum(axis=1).reshape(-1, 4, rel.values.shape[2])
    part = {"abs": np.abs(R), "mean": R, "share": 100 * np.abs(R) / np.abs(R).sum(axis=2, keepdims=True)}[what]
    return part.mean(axis=1)


def trailing(x, width):
    return np.stack([x[max(0, k - width + 1) : k + 1].mean(axis=0) for k in range(len(x))])


def drawn(axes):
    """Each coloured line's numbers, by its label."""
    names = {line.get_color(): line.get_label().strip() for line in axes.lines if not len(line.get_xdata())}
    return {
        names[line.get_color()]: np.asarray(line.get_ydata(), float)
        for line in axes.lines
        if len(line.get_xdata()) > 2 and line.get_linestyle() == "-" and line.get_color() in names
    }


@pytest.mark.parametrize("statistic", ["share", "abs", "mean"])
def test_lines_are_means_over_each_months_assets(statistic):
    rel = made_up(MONTHS)
    axes = plot.lines(rel, statistic=statistic, smooth=12).axes[0]
    want = trailing(by_month(rel, statistic)[2:], 12)
    for j in range(5):
        np.testing.assert_allclose(drawn(axes)[f"factor {j}"], want[:, j], rtol=0, atol=1e-12 * abs(want).max())
    assert (axes.get_ylim()[0] == 0) == (statistic != "mean")
    assert ticks(axes) == {10 + 12 * k: str(1991 + k) for k in range(9)}
    assert "arras: mean over stocks, trailing mean of 12 months" in texts(axes)


def test_groups_are_sums_of_their_features_and_shares_stack_to_a_hundred():
    rel = made_up(MONTHS)
    share = by_month(rel, "share")[2:]
    sums = {"Even": share[:, [0, 2, 4]].sum(axis=1), "Odd": share[:, 1], "Other": share[:, 3]}
    found = drawn(plot.lines(rel, groups=GROUPS).axes[0])
    for name, want in sums.items():
        np.testing.assert_allclose(found[name], want, rtol=0, atol=1e-10)
    axes = plot.stacked(rel, groups=GROUPS).axes[0]
    order = sorted(sums, key=lambda name: -sums[name].mean())
    assert [area.get_label() for area in axes.collections] == order
    ends = [np.unique(area.get_paths()[0].vertices[:, 1]).max() for area in axes.collections]
    np.testing.assert_allclose(ends, np.cumsum([sums[name] for name in order], axis=0).max(axis=1), rtol=0, atol=1e-9)
    few = plot.stacked(rel, top=2).axes[0]
    assert few.collections[-1].get_label() == "3 others"
    assert few.collections[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(100, abs=1e-9)
    bars = plot.bars(rel, groups=GROUPS).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], [sums[name].mean() for name in order])
    rows = plot.heat_map(rel, groups=GROUPS).axes[0]
    assert [row.get_text() for row in rows.get_yticklabels()] == order
    assert rows.get_title("left") == "Which groups predictions rest on, through time"


def test_areas_of_one_period_are_as_wide_as_the_axis():
    rel = made_up(MONTHS[:3])
    areas = plot.stacked(rel).axes[0].collections
    share = np.abs(rel.values[8:].sum(axis=1))
    share = np.sort((100 * share / share.sum(axis=1, keepdims=True)).mean(axis=0))[::-1]
    for area, top in zip(areas, np.cumsum(share), strict=True):
        at = area.get_paths()[0].vertices
        assert (at[:, 0].min(), at[:, 0].max()) == (-0.5, 0.5)
        assert at[:, 1].max() == pytest.approx(top, abs=1e-9)


def test_results_below_each_other_have_the_same_colours_and_limits():
    first, second = made_up(MONTHS), made_up(MONTHS, rule=Rudder(), spike=30)
    upper, lower = plot.lines(first, second, statistic="abs").axes
    assert upper.get_ylim() == lower.get_ylim()
    assert (upper.get_title("left"), lower.get_title("left")) == ("arras", "rudder")
    assert list(drawn(upper)) == list(drawn(lower))
    assert plot.lines(first, limits=(0, 50)).axes[0].get_ylim() == (0, 50)


def test_a_month_without_relevance_breaks_the_line_and_one_alone_is_a_point():
    rel = made_up(MONTHS[:30], gone=(10, 12))
    axes = plot.lines(rel).axes[0]
    line = drawn(axes)["factor 0"]
    assert np.flatnonzero(np.isnan(line)).tolist() == [8, 10]
    dots = next(line for line in axes.lines if line.get_marker() == "." and line.get_color() == LINES[0])
    assert np.flatnonzero(~np.isnan(np.asarray(dots.get_ydata(), float))).tolist() == [9]
    assert "gaps: no relevance in that month" in said(axes.figure)


def test_bands_are_the_members_standard_deviation():
    rel, rng = made_up(MONTHS), np.random.default_rng(2)
    members = [replace(rel, values=rel.values + rng.normal(size=rel.values.shape)) for _ in range(3)]
    values = np.mean([member.values for member in members], axis=0)
    axes = plot.lines(replace(rel, values=values), members=members, statistic="mean", smooth=3, top=2).axes[0]
    spread = np.std([trailing(by_month(member, "mean")[2:], 3) for member in members], axis=0, ddof=1)
    for band, line in zip(axes.collections, drawn(axes), strict=True):
        column, j = drawn(axes)[line], int(line.split()[1])
        top = max(column + spread[:, j])
        assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(top, abs=1e-12)
    assert "bands: one standard deviation over 3 networks, either way" in texts(axes)


# ------------------------------------------------------------------------------------------------------------- lags


@pytest.mark.parametrize("statistic", ["share", "abs", "mean"])
def test_lags_are_means_over_windows(statistic):
    rel = made_up(MONTHS)
    R = rel.values[~rel.missing]
    whole = np.abs(R).sum(axis=(1, 2), keepdims=True)
    want = {"abs": np.abs(R), "mean": R, "share": 100 * np.abs(R) / whole}[statistic].mean(axis=0)
    axes = plot.lag_map(rel, statistic=statistic).axes[0]
    rows = [int(row.get_text().split()[1]) for row in axes.get_yticklabels()]
    shown = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shown, want.T[rows], rtol=0, atol=1e-12 * abs(want).max())
    assert rows == sorted(range(5), key=lambda j: -abs(want[:, j]).sum())
    assert ticks(axes) == {0: "2", 1: "1", 2: "0"}
    assert axes.get_xlabel() == "months before the last of the window"
    profile = plot.lag_profile(rel, statistic=statistic).axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(profile, want.sum(axis=1), rtol=0, atol=1e-12 * abs(want).max())
    if statistic == "share":
        assert sum(profile) == pytest.approx(100, abs=1e-10)
        by_group = plot.lag_profile(rel, groups=GROUPS).axes[0].lines
        found = {line.get_label(): line.get_ydata() for line in by_group}
        np.testing.assert_allclose(found["Even"], want[:, [0, 2, 4]].sum(axis=1), rtol=0, atol=1e-10)


# ----------------------------------------------------------------------------------------------------------- shades


@pytest.mark.parametrize(
    ("times", "span", "places"),
    [
        (MONTHS, ("1990-07", "1991-03"), (5.5, 14.5)),
        (MONTHS, (199007, 199103), (5.5, 14.5)),
        (MONTHS, ("1990Q3", pd.Period("1991Q1")), (5.5, 14.5)),
        (MONTHS, ("1990-07-31", datetime.date(1991, 3, 1)), (5.5, 14.5)),
        (MONTHS, ("1985", "1990"), (-0.5, 11.5)),
        (MONTHS, ("1999-12", "2009"), (118.5, 119.5)),
        (MONTHS, ("1970", "1980"), None),
        (MONTHS.to_timestamp(how="end").normalize(), ("1990-07", "1991-03"), (5.5, 14.5)),
        (pd.bdate_range("2015-01-05", periods=90), ("2015-01-12", "2015-01-14"), (4 + 5 / 6, 7.5)),
        (QUARTERS, ("1990-04", "1990-06"), (0.5, 1.5)),
        (QUARTERS.to_timestamp(how="end").normalize(), ("1990-04", "1990-06"), (0.5, 1.5)),
        (["1990Q1", "1990Q2", "1990Q3"], ("1990Q2", "1990Q2"), (0.5, 1.5)),
        (range(1990, 2022), ("2020-02", "2020-04"), (29.5 + 1 / 12, 29.5 + 4 / 12)),
    ],
)  # fmt: skip
def test_a_span_stands_where_its_months_or_days_are(times, span, places):
    (found,) = checked_shade("lines", [span], [timeline(pd.Index(times))])
    low, high = _places(found, timeline(pd.Index(times)))
    if places is None:
        assert low >= high
    else:
        assert (low, high) == pytest.approx(places, abs=1e-12)


def test_shades_are_named_and_end_with_the_data():
    shade = {"recession": [("1990-07", "1991-03"), ("2001-03", "2001-11")], "war": [("1990-08", "1991-02")], "x": []}
    for function in (plot.lines, plot.stacked):
        axes = function(made_up(MONTHS), shade=shade).axes[0]
        to_data = axes.transData.inverted()
        ends = [to_data.transform(patch.get_window_extent())[:, 0] for patch in axes.patches]
        np.testing.assert_allclose(ends, [(3.5, 12.5), (4.5, 11.5)], rtol=0, atol=1e-9)
        entries = [text.get_text() for text in axes.get_legend().get_texts()]
        assert entries[-2:] == ["recession", "war"]
        assert axes.patches[0].get_hatch() is None
        assert axes.patches[1].get_hatch() is not None


# ------------------------------------------------------------------------------------------------- sizes, refusals


@pytest.mark.parametrize("features", [1, 5, 200])
def test_few_and_many_features_have_a_sensible_size_and_words_apart(features):
    rel = made_up(MONTHS[:24], features=features)
    for figure in (
        plot.lines(rel, statistic="mean", smooth=3),
        plot.stacked(rel, rel),
        plot.lag_map(rel, rel),
        plot.lag_profile(rel, rel),
    ):
        width, height = figure.get_size_inches() * figure.dpi
        assert 500 <= height <= 2240
        assert 1280 <= width <= 2240
        check_words(figure)
    axes = plot.lines(rel).axes[0]
    assert len(drawn(axes)) == min(features, 7)
    if features == 200:
        held = 100 * (1 - rel.share().mean().nlargest(7).sum())
        note = next(line for line in texts(axes) if "in colours" in line)
        assert re.fullmatch(r"in colours: 7 of 200 features; the other 193 hold ([\d.]+) % of \|relevance\|", note)
        assert float(re.search(r"hold ([\d.]+)", note)[1]) == pytest.approx(held, abs=0.06)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda rel: plot.lines(made_up(features=9), top=8),
            "lines has 7 colours that can be told apart, not 8: heat_map shows more",
        ),
        (lambda rel: plot.lines(rel, members=[rel]), "takes two or more members of one result, not 1 of 1"),
        (lambda rel: plot.lines(rel, members=[rel, made_up()[:99]]), r"members\[1\] is not of the same periods"),
        (lambda rel: plot.lines(rel, order=["x"]), "names what the result does not have: 'x'"),
        (lambda rel: plot.lines(rel, shade="1990"), r"lines\(shade=...\) takes pairs of dates such as"),
        (lambda rel: plot.lines(rel, shade=["1990-01"]), "takes pairs of dates such as .* but it holds '1990-01'"),
        (
            lambda rel: plot.stacked(rel, shade=[("1991", "1990")]),
            "ends before it begins: '1991' to '1990'",
        ),
        (lambda rel: plot.stacked(rel, shade=[("soon", "1990")]), "has a date that is not understood, 'soon'"),
        (lambda rel: plot.stacked(rel, shade=[(None, "1990")]), "has a date that is not understood, None"),
        (lambda rel: plot.lines(rel, shade=dict.fromkeys("abcde", ())), "has 5 names, expected at most 4"),
        (lambda rel: plot.lag_profile(rel, rel, groups=GROUPS), "takes one result, not 2: lines are of its groups"),
        (lambda rel: plot.lag_profile(rel, made_up(steps=4)), "the same number of steps, but theirs differ"),
        (lambda rel: plot.lag_map(made_up(gone=range(120))), "lag_map has nothing to show: no row of the result has"),
        (lambda rel: plot.stacked(made_up(gone=range(120))), "stacked has nothing to show: no period of the panel"),
        (lambda rel: plot.lines(made_up(range(30)), shade=[("1990", "1991")]), "needs times on a calendar, but"),
        (lambda rel: plot.lines(rel, groups={"A": ["factor 9"]}), "group 'A' names what is no feature"),
    ],
)
def test_refusals_are_sentences(call, words):
    with pytest.raises(ValueError, match=words):
        call(made_up(MONTHS))
