"""Pictures: dates are dates, omissions and clipping are stated, results side by side share rows and colours."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from picture_cases import MONTHS, YYYYMM, check_words, made_up, said, texts, ticks

from fastlrp import plot
from fastlrp.plot.canvas import SERIES
from fastlrp.plot.timeline import timeline
from fastlrp.rules import Arras, Rudder

# ------------------------------------------------------------------------------------------------------------- dates

QUARTERS = pd.period_range("1990Q1", periods=40, freq="Q")
EACH_YEAR = {10 + 12 * k: str(1991 + k) for k in range(9)}  # the first window ends in 1990-03


@pytest.mark.parametrize(
    "times",
    [
        YYYYMM,
        [float(month) for month in YYYYMM],
        [str(month) for month in MONTHS],
        [f"{month.year}m{month.month}" for month in MONTHS],
        MONTHS,
        MONTHS.to_timestamp(how="end").normalize(),
        [int(day.strftime("%Y%m%d")) for day in MONTHS.to_timestamp()],
        pd.Categorical([str(month) for month in MONTHS]),
    ],
    ids=["yyyymm", "floats", "strings", "1990m1", "Periods", "month ends", "yyyymmdd", "categories"],
)
def test_months_are_months_however_they_are_written(times):
    axes = plot.heat_map(made_up(times), smooth=12).axes[0]
    assert ticks(axes) == EACH_YEAR
    assert axes.get_xlabel() == "last month of the window"
    assert "4 stocks, 118 months from 1990-03 to 1999-12: 472 windows of 3 months" in texts(axes)
    assert "arras: mean over stocks, trailing mean of 12 months" in texts(axes)


@pytest.mark.parametrize(
    ("times", "span", "first_ticks"),
    [
        (QUARTERS[:8], "8 quarters from 1990-Q1 to 1991-Q4", [(0, "1990-Q1")]),
        (["1990Q1", "1990Q2", "1990Q4"], "3 quarters from 1990-Q1 to 1990-Q4", [(0, "1990-Q1"), (1, "1990-Q2")]),
        (QUARTERS.to_timestamp(how="end").normalize(), "40 quarters from 1990-03 to 1999-12", [(0, "1990")]),
        (list(range(1963, 2022)), "59 years from 1963 to 2021", [(7, "1970"), (17, "1980")]),
        (pd.period_range("1963", periods=5, freq="Y"), "5 years from 1963 to 1967", [(0, "1963"), (1, "1964")]),
        (
            pd.date_range("2000-01-07", periods=30, freq="7D"),
            "30 weeks from 2000-01-07 to 2000-07-28",
            [(0, "2000-01"), (4, "2000-02")],
        ),
        (pd.bdate_range("2015-01-05", periods=90), "90 days from 2015-01-05 to 2015-05-08", [(20, "2015-02")]),
        ([20150105, 20150106, 20150107], "3 days from 2015-01-05 to 2015-01-07", [(0, "2015-01-05")]),
        (list(range(1, 31)), "30 periods from 1 to 30", [(0, "1"), (3, "4")]),
        (["1990-01"], "1 month, 1990-01", [(0, "1990-01")]),
        (["1989-12", *map(str, MONTHS[:60])], "61 months from 1989-12 to 1994-12", [(1, "1990"), (13, "1991")]),
    ],
)
def test_units_and_ticks(times, span, first_ticks):
    found = timeline(pd.Index(times))
    assert found.span() == span
    at, names = found.ticks(10)
    assert list(zip(at.tolist(), names, strict=True))[: len(first_ticks)] == first_ticks
    assert len(at) <= 10


def test_periods_without_relevance_are_grey_and_a_trailing_mean_counts_them():
    relevance = made_up(MONTHS[:30], gone=(10, 11))
    figure = plot.heat_map(relevance, smooth=3, order=["factor 0"])
    shown = figure.axes[0].images[0].get_array()
    assert np.flatnonzero(np.ma.getmaskarray(shown)[0]).tolist() == [8, 9]
    share = 100 * relevance.by_time("share")["factor 0"]
    assert shown[0, 11] == pytest.approx(share["1991-01":"1991-02"].mean())
    assert "grey: no relevance in that month" in texts(figure.axes[0])


# ------------------------------------------------------------------------------------------------- names and legends


def test_rules_are_named_by_what_is_not_their_default_and_the_legend_is_not_over_bars():
    rules = (Arras(), Arras(delta=1), Rudder(eps=0.01), Arras(stabilizer="absorbed", recurrent=False))
    figure = plot.bars(*(made_up(rule=rule) for rule in rules))
    legend = figure.axes[0].get_legend()
    want = ["arras", "arras, delta=1", "rudder, eps=0.01", "arras, stabilizer=absorbed, recurrent=False"]
    assert [text.get_text() for text in legend.get_texts()] == want
    figure.draw_without_rendering()
    assert legend.get_window_extent().y0 >= figure.axes[0].get_window_extent().y1
    again = plot.bars(made_up(), made_up(target="up"), made_up(), made_up(rule=Rudder())).axes[0].get_legend()
    assert [text.get_text() for text in again.get_texts()] == ["arras (1)", "arras, target up", "arras (2)", "rudder"]
    named = plot.bars(made_up(), made_up(), labels=["old", "new"]).axes[0].get_legend()
    assert [text.get_text() for text in named.get_texts()] == ["old", "new"]


def test_what_bars_are_of():
    assert "arras: mean over windows, relevance summed over a window's 3 months" in said(plot.bars(made_up()))
    two = said(plot.bars(made_up(), made_up(YYYYMM[:60], rule=Rudder())))
    assert "arras: 4 stocks, 118 months from 1990-03 to 1999-12: 472 windows of 3 months" in two
    assert "rudder: 4 stocks, 58 months from 1990-03 to 1994-12: 232 windows of 3 months" in two
    of_array = replace(made_up(), index=None)
    assert "472 samples of 3 steps" in said(plot.bars(of_array))
    one = made_up(YYYYMM[:3], assets=1, names=("month", "permno"))
    assert "1 asset, 1 month, 1990-03: 1 window of 3 months" in said(plot.bars(one))


def test_each_statistic_has_its_own_title_and_unit():
    found = {}
    for statistic in ("share", "abs", "mean"):
        figure = plot.heat_map(made_up(), statistic=statistic)
        found[statistic] = (figure.axes[0].get_title("left"), figure.axes[1].get_ylabel().replace("\n", " "))
    assert found == {
        "share": ("Which features predictions rest on, through time", "% of a window's |relevance|"),
        "abs": ("How large relevance is, through time", "mean |relevance| (the score's unit)"),
        "mean": ("Which way features push predictions, through time", "mean relevance (the score's unit)"),
    }
    assert "red raises the score, blue lowers it" in said(figure)


def test_colours_of_bars_are_told_apart_in_grey():
    light = []
    for colour in SERIES:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        light.append(116 * np.cbrt((channels**2.2) @ [0.2126, 0.7152, 0.0722]) - 16)  # CIE L*
    assert min(abs(a - b) for a, b in itertools.combinations(light, 2)) > 10


# ------------------------------------------------------------------------------------------------- colours and order


def test_colours_end_at_the_largest_value_or_say_that_they_do_not():
    figure = plot.heat_map(made_up(), statistic="abs")
    image, bar = figure.axes[0].images[0], figure.axes[1]
    assert image.get_clim() == (0, image.get_array().max())
    assert texts(bar) == []
    figure = plot.heat_map(made_up(spike=100), statistic="abs")
    image, bar = figure.axes[0].images[0], figure.axes[1]
    assert image.get_clim()[1] < 0.2 * image.get_array().max()
    assert texts(bar) == [f"values up\nto {image.get_array().max():.3g}"]
    assert image.colorbar.extend == "max"
    signed = plot.heat_map(made_up(spike=100), statistic="mean").axes[0].images[0]
    assert signed.get_clim()[0] == -signed.get_clim()[1]
    figure = plot.heat_map(made_up(), limits=(10, 20))
    values = figure.axes[0].images[0].get_array()
    assert figure.axes[0].images[0].get_clim() == (10, 20)
    assert texts(figure.axes[1]) == [f"values up\nto {values.max():.3g}", f"values down\nto {values.min():.3g}"]


def test_results_side_by_side_share_rows_and_colours_and_can_be_drawn_alike_apart():
    first, second = made_up(), made_up(rule=Rudder(), features=5, spike=3)
    second = replace(second, values=second.values[:, :, ::-1])
    figure = plot.heat_map(first, second, smooth=12)
    left, right = figure.axes[:2]
    rows = list(first.by_time("share").mean().sort_values(ascending=False).index)
    assert [label.get_text() for label in left.get_yticklabels()] == rows
    assert left.images[0].get_clim() == right.images[0].get_clim()
    want = 100 * second.by_time("share")[rows].rolling(12, min_periods=1).mean().T
    np.testing.assert_allclose(np.asarray(right.images[0].get_array()), want, rtol=1e-12, atol=0)
    assert (left.get_title("left"), right.get_title("left")) == ("arras", "rudder")
    apart = plot.heat_map(second, smooth=12, order=rows, limits=left.images[0].get_clim()).axes[0]
    assert [label.get_text() for label in apart.get_yticklabels()] == rows
    assert apart.images[0].get_clim() == left.images[0].get_clim()
    drawn = plot.bars(second, order=rows, limits=(0, 50)).axes[0]
    assert [label.get_text() for label in drawn.get_yticklabels()] == rows
    assert drawn.get_xlim() == (0, 50)
    np.testing.assert_allclose([bar.get_width() for bar in drawn.patches], 100 * second.share().mean()[rows])
    longest = 100 * second.share().mean().max()
    assert f"the axis ends at 10 %, the longest bar at {longest:.1f} %" in said(plot.bars(second, limits=(0, 10)))
    assert "the axis ends" not in said(plot.bars(second, limits=(0, 50)))


# ------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("features", [1, 5, 40, 94, 200])
def test_pictures_of_few_and_many_features_have_a_sensible_size(features):
    relevance = made_up(YYYYMM[:24], features=features)
    pictures = [plot.heat_map(relevance), plot.bars(relevance, relevance)]
    pictures += [plot.heat_map(relevance, top=features), plot.bars(relevance, top=features)]
    for figure in pictures:
        width, height = figure.get_size_inches() * figure.dpi
        assert 500 <= height <= 2240
        assert 1280 <= width <= 2240
    few = features if features <= 40 else 30
    rows = [label.get_text() for label in pictures[0].axes[0].get_yticklabels()]
    assert len(rows) == few
    if few < features:
        rest = 100 * relevance.share().mean().drop(rows).sum()
        note = f"30 of {features} features; the other {features - 30} hold {rest:.1f} % of |relevance|"
        assert note in texts(pictures[0].axes[0])
        bars = pictures[1].axes[0]
        assert bars.get_yticklabels()[-1].get_text() == f"{features - 30} others together"
        assert texts(bars).count(f"{rest:.1f}") == 2


def test_nothing_is_cut_off_and_no_two_words_lie_on_each_other():
    long = made_up(features=6)
    long = replace(long, features=tuple(f"a feature with a very long name, {j}" for j in range(6)))
    for figure in (
        plot.heat_map(long, statistic="mean", smooth=12, top=3),
        plot.heat_map(made_up(spike=100), made_up(rule=Rudder()), statistic="mean", top=3),
        plot.heat_map(*[made_up(rule=Arras(eps=eps, delta=1)) for eps in (0.1, 0.2, 0.3, 0.4)], smooth=12),
        plot.bars(long, replace(long, rule=Rudder()), top=3),
    ):
        check_words(figure)


def test_long_names_are_cut_in_their_middle():
    names = tuple(f"a feature with a very long name, {j}" for j in range(5))
    rows = plot.bars(replace(made_up(), features=names)).axes[0].get_yticklabels()
    assert len({row.get_text() for row in rows}) == 5
    assert all(len(row.get_text()) == 32 for row in rows)


def test_more_days_than_pixels_are_averaged():
    days = pd.bdate_range("1990-01-01", periods=3000)
    relevance = made_up(days, assets=1, steps=1)
    figure = plot.heat_map(relevance, order=["factor 0"])
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (1, 1000)
    np.testing.assert_allclose(shown[0, :5], 100 * relevance.share()["factor 0"].to_numpy()[:15].reshape(5, 3).mean(1))
    assert "a column for 3 days" in said(figure)
    assert ticks(figure.axes[0])[int(np.flatnonzero(days.year == 1996)[0]) // 3] == "1996"


# ------------------------------------------------------------------------------------------- Axes, pyplot, notebooks


def test_axes_that_are_given_are_drawn_on_and_returned():
    from matplotlib.figure import Figure

    first, second = made_up(), made_up(rule=Rudder())
    axes = Figure(layout="constrained").subplots(2, 2)
    assert plot.heat_map(first, ax=axes[0, 0]) is axes[0, 0]
    assert plot.bars(first, second, ax=axes[0, 1]) is axes[0, 1]
    below = list(axes[1])
    assert plot.heat_map(first, second, ax=below) is below
    assert below[0].images[0].get_clim() == below[1].images[0].get_clim()
    assert len(axes[0, 1].patches) == 10
    with pytest.raises(ValueError, match=r"heat_map\(ax=...\) takes one Axes a result, 2, not 1"):
        plot.heat_map(first, second, ax=axes[0, 0])


def test_notebooks_show_a_picture_without_pyplot():
    figure = plot.bars(made_up())
    data, size = figure._repr_png_()
    assert data.startswith(b"\x89PNG")
    assert size == {"width": 768, "height": 346}
    code = (
        "import sys; from fastlrp import plot; assert 'matplotlib' not in sys.modules; "
        "from picture_cases import made_up; plot.bars(made_up())._repr_png_(); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=root, env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{here}"}
    )


@pytest.mark.parametrize("inline", [False, True])
def test_ipython_shows_it_once(inline):
    """As a cell's value it gives one png, with or without pyplot's printer for Figures."""
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    if inline:
        from matplotlib.figure import Figure

        formatter.formatters["image/png"].for_type(Figure, lambda figure: b"\x89PNG by pyplot")
    data, _ = formatter.format(plot.bars(made_up()))
    assert sorted(data) == ["image/png", "text/plain"]
    assert (data["image/png"] == b"\x89PNG by pyplot") == inline


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastlrp.plot.figure", raising=False)
    with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install matplotlib"):
        plot.bars(made_up())


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda rel, none: plot.bars(none), "bars has nothing to show: no row of the result has relevance"),
        (lambda rel, none: plot.heat_map(none), "heat_map has nothing to show: no period"),
        (lambda rel, none: plot.heat_map(), "heat_map takes one to 4 results, not 0"),
        (lambda rel, none: plot.bars([rel, rel]), "bars takes results of explain, one after the other, not list"),
        (lambda rel, none: plot.bars(rel, top=2.5), r"bars\(top=...\) takes a whole number of at least 1, not 2.5"),
        (lambda rel, none: plot.heat_map(rel, smooth="12"), r"heat_map\(smooth=...\) takes a whole number .* not '12'"),
        (lambda rel, none: plot.heat_map(rel, order=["factor1"]), r"'factor1' \(did you mean 'factor 1'\?\)"),
        (lambda rel, none: plot.bars(rel, order=["factor 1"] * 2), r"bars\(order=...\) takes names, each once"),
        (lambda rel, none: plot.bars(rel, order=[]), r"bars\(order=...\) takes names, each once"),
        (lambda rel, none: plot.heat_map(rel, limits=(3, 1)), "takes two numbers, the smaller first, not"),
        (lambda rel, none: plot.heat_map(rel, limits=3), "takes two numbers, the smaller first, not 3"),
        (lambda rel, none: plot.bars(rel, rel, labels=["one"]), r"bars\(labels=...\) takes a name a result, 2, not"),
    ],
)
def test_refusals_are_sentences(call, words):
    with pytest.raises(ValueError, match=words):
        call(made_up(), made_up(gone=range(120)))


def test_names_are_drawn_as_they_are():
    """A dollar is no formula, and a name that begins with an underscore has its place in the legend."""
    result = replace(made_up(), features=("x_$\\frac$", "a$b$c", *made_up().features[2:]))
    figure = plot.bars(result, result, labels=["_x", "$a$ and $b$"])
    figure._repr_png_()
    (axes,) = figure.axes
    assert [text.get_text().strip() for text in axes.get_legend().get_texts()] == ["_x", "$a$ and $b$"]
    assert {"x_$\\frac$", "a$b$c"} <= {text.get_text() for text in axes.get_yticklabels()}
