"""The page says the library's numbers, stands alone, holds hostile names, and appears whole or not at all."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pages import HOSTILE, Page

import fastlrp as fl
from fastlrp import cli
from fastlrp.data import GROUPS, load_model, load_panel, model_path
from fastlrp.plot.canvas import header, sheet
from fastlrp.reporting import about, evidence, parts, report, subject, trust
from fastlrp.reporting.page import LIMIT
from fastlrp.reporting.svg import inline_svg

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
pytestmark = pytest.mark.skipif(not COMPILED, reason="thousands of windows need compiled kernels")
SPACE = "\N{NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def page(volatility):
    return Page(volatility)


@pytest.fixture(scope="module")
def small():
    """Three stocks over 15 months, with a missing value in the first, and what followed."""
    X, y = load_panel(target="volatility")
    rows = X.loc["1994-01":"1995-03"].loc[(slice(None), ["AAPL", "KO", "XOM"]), :]
    rows.iloc[0, 3] = np.nan
    return rows, y[rows.index]


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures take most of a page's time; those of other tests are drawn."""
    monkeypatch.setattr(parts, "inline_svg", lambda figure, name, words: f'<svg role="img" aria-label="{name}"></svg>')


def column(table, k=1):
    return {row[0]: row[k] for row in table[1:]}


def test_shares_and_lags_are_the_librarys(page, explained):
    got, want = column(page.tables["Features, largest first"]), explained.share().mean()
    assert got == {name: f"{100 * share:.1f}{SPACE}%" for name, share in want.items()}
    assert list(got)[:2] == ["retvol", "maxret"]  # past volatility leads, as it should
    lags = column(page.tables["Share of |relevance| by lag, in months"])
    size = np.abs(explained.values[~explained.missing].astype(np.float64)).sum(axis=2)
    want = (size / size.sum(axis=1, keepdims=True)).mean(axis=0)
    assert lags == {str(lag): f"{100 * share:.1f}{SPACE}%" for lag, share in zip(range(11, -1, -1), want, strict=True)}
    groups = page.tables["Shares of groups, means over years"]
    last = explained.share().loc["2022"].groupby("month").mean().mean()
    want = [f"{100 * last[members].sum():.1f}{SPACE}%" for members in GROUPS.values()]
    assert groups[-1] == ["2022", *want]


def test_what_is_left_out_and_how_it_adds_up(page, explained):
    text = page.text("p")
    # 20 stocks lack 11 months of history; the 36-month factors begin in 1993, and 12 months later windows are whole
    assert f"940 rows of {len(explained):,} are left out: 220 because no full window of 12 months" in text
    assert "720 because a value is missing in the window" in text
    assert explained.network in page.text("dd")
    gaps = explained.reconcile()
    assert f"{gaps.relative_worst:.2e}".replace("e-0", "e\N{MINUS SIGN}") in text
    month = explained.to_frame().loc["2022"]
    want = (month["unattributed"].abs() / month["score"].abs()).groupby("month").median().mean()
    assert page.tables["How relevance adds up, by month, means over years"][-1][3] == f"{100 * want:.1f}{SPACE}%"


def test_the_cross_section_adds_up(page, explained):
    data, frame = page.stocks, explained.to_frame().loc["2022-12-31"]
    features = list(explained.features)
    apart = frame[[*features, "initial_state", "unattributed"]]
    apart = (apart - apart.mean()).to_numpy()
    assert data["features"] == [*features, "initial state", "unattributed"]
    order = frame["prediction"].sort_values(ascending=False)
    assert [asset[0] for asset in data["assets"]] == list(order.index)
    tol = data["unit"] * 1.01
    for name, rank, prediction, _, shown, rest in data["assets"]:
        at = frame.index.get_loc(name)
        triples = np.reshape(shown, (-1, 3))
        np.testing.assert_allclose(triples[:, 1] * data["unit"], apart[at][triples[:, 0]], rtol=0, atol=tol)
        whole = (triples[:, 1].sum() + rest) * data["unit"]
        assert whole == pytest.approx(frame["score"].iloc[at] - frame["score"].mean(), rel=0, abs=tol)
        assert prediction == pytest.approx(order.iloc[rank - 1], rel=1e-4)
        value = load_panel().loc["2022-12-31"][features].rank(pct=True).loc[name].to_numpy()
        own = triples[triples[:, 0] < 20]
        np.testing.assert_array_equal(own[:, 2], np.round(100 * value[own[:, 0]]))


def test_predictions_are_judged_out_of_sample(page):
    table = page.tables["Predictions and what followed"]
    assert table[0][1:] == ["out of sample, 2010-01 to 2022-11", "1993-12 to 2009-12"]
    X, y = load_panel(target="volatility")
    both = pd.DataFrame({"p": load_model("volatility").predict(X), "y": y}).dropna().loc["2010-01":]
    ic = [month["p"].corr(month["y"], method="spearman") for _, month in both.groupby("month")]
    assert column(table)["mean rank correlation"] == f"+{np.mean(ic):.3f}" == "+0.767"
    assert column(table)["months"] == "155"
    r2 = 1 - ((both["y"] - both["p"]) ** 2).sum() / (both["y"] ** 2).sum()
    assert column(table)["R² against zero"] == f"{100 * r2:.1f}{SPACE}%"


def test_every_picture_has_words_and_numbers(page):
    pictures = page.elements["svg"]
    assert len(pictures) == len(page.elements["figure"]) == len(page.elements["details"]) == 11
    assert all(picture["role"] == "img" and len(picture["aria-label"]) > 60 for picture in pictures)
    ids = [one["id"] for elements in page.elements.values() for one in elements if "id" in one]
    assert len(ids) == len(set(ids))
    assert len(page.elements["text"]) > 300  # text is text


@pytest.mark.parametrize("which", ["volatility", "crowded"])
def test_the_page_stands_alone(request, which):
    path = request.getfixturevalue(which)
    text, page = path.read_text(encoding="utf-8"), Page(path)
    assert path.stat().st_size <= LIMIT == 2_000_000
    policy = page.elements["meta"][1]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")
    links = [
        one[key]
        for elements in page.elements.values()
        for one in elements
        for key in ("src", "href", "xlink:href")
        if key in one
    ]
    assert all(re.match(r"#|data:", link) for link in links)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "{{" not in re.sub(r"\{\{ 7\*7 \}\}", "", text)


def test_hostile_names_are_text(crowded, crowd):
    page = Page(crowded)
    assert len(page.elements["script"]) == 2
    assert "img" not in page.elements
    assert "i" not in page.elements
    assert page.text("h1") == HOSTILE[0]
    assert all(any(name in text for name in [*HOSTILE, "…"]) for text in [page.text("text")])
    assert page.stocks["features"][:3] == HOSTILE
    assert len(page.stocks["assets"]) == 5000


def test_what_has_no_room_is_left_out_of_the_middle(crowd, undrawn, monkeypatch):
    net, X = crowd
    about = report.subject(net, X.loc[:"2020-03"], None, unit=None, steps=None, dtype=None, threads=None)
    e = evidence.gathered(about, fl.Arras(), None)
    from fastlrp.reporting.latest import embedded

    for room, n in ((1_000_000, 5000), (200_000, None)):
        text = embedded(e, room)
        assert 0.5 * room < len(text) <= room
        places = re.findall(r'\["stock[^"]*",(\d+),', text)
        assert places[0] == "1"
        assert places[-1] == "5000"
        assert len(places) == n if n else 2000 > len(places) > 500


def test_steps_of_some_assets_where_all_are_too_large(small, tmp_path, undrawn, monkeypatch):
    X, _ = small
    monkeypatch.setattr(evidence, "_MOST", 2 * 15 * 12 * 20 * 4)  # two of the three stocks
    fl.report(load_model("volatility"), X, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert "of 2 of 3 assets, drawn at random" in page.text("p")
    whole = load_model("volatility").explain(X).share().mean()
    assert column(page.tables["Features, largest first"]) == {k: f"{100 * v:.1f}{SPACE}%" for k, v in whole.items()}


def test_estimators_pipelines_and_refits(small, tmp_path, undrawn):
    X, y = load_panel(target="volatility")
    X, y = X.loc["1996":"1999"], y.loc["1996":"1999"]
    lstm = fl.LSTMRegressor(units=(4,), steps=3, max_iter=2, n_iter_no_change=2, n_members=2, random_state=0)
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(fl.CrossSectionalRank(), lstm).fit(X, y)
    rolling = fl.RollingLSTM(lstm, window=24, step=12).fit(X, y)
    cases = ((model, "arras", "the mean of 2 networks"), (rolling, "rudder", "refitted through time: 2 windows"))
    for one, rule, said in cases:
        fl.report(one, X.assign(followed=y), tmp_path / "page.html", target="followed", rule=rule)
        page = Page(tmp_path / "page.html")
        assert said in page.text("dd")
        predicted = one.predict(X)
        both = pd.DataFrame({"p": predicted, "y": y}).dropna()
        ic = np.mean([month["p"].corr(month["y"], method="spearman") for _, month in both.groupby("month")])
        shown = column(page.tables["Predictions and what followed"])["mean rank correlation"]
        assert float(shown.replace("\N{MINUS SIGN}", "-")) == pytest.approx(ic, rel=0, abs=5e-3 * abs(ic))
        if one is model:
            rel = model[-1].explain(model[:-1].transform(X))
            spread = column(page.tables["Features, largest first"], 2)
            assert spread == {k: f"{100 * v:.1f}{SPACE}%" for k, v in zip(rel.features, rel.share_spread, strict=True)}
    assert "fitted on earlier periods alone" in page.text("p")


def test_files_and_the_command_line_give_the_same_page(small, tmp_path, undrawn, monkeypatch, capsys):
    X, y = small
    monkeypatch.chdir(tmp_path)
    X.assign(followed=y).reset_index().to_csv("panel.csv", index=False, date_format="%Y-%m")
    asked = {"target": "followed", "test_from": "1995-01", "dtype": "float32"}
    fl.report(model_path("volatility"), X.assign(followed=y), "frame.html", **asked)
    pytest.importorskip("pyarrow", reason="a panel in files needs pyarrow, which is absent")
    fl.report(model_path("volatility"), "panel.csv", "file.html", **asked)
    assert cli.main(["report", str(model_path("volatility")), "panel.csv", "-o", "line.html", "--target", "followed",
                     "--test-from", "1995-01", "--dtype", "float32"]) == 0  # fmt: skip
    assert "Wrote line.html: 45 rows on one page" in capsys.readouterr().out
    frame, file, line = (Page(tmp_path / f"{name}.html") for name in ("frame", "file", "line"))
    assert frame.tables == file.tables == line.tables
    assert frame.stocks == file.stocks == line.stocks
    assert "panel.csv" in file.text("dd")
    assert str(tmp_path) not in (tmp_path / "file.html").read_text()


def test_a_target_that_no_prediction_has(small, tmp_path, undrawn):
    X, y = small
    fl.report(
        load_model("volatility"), X, tmp_path / "page.html", target=y.where(y.index.get_level_values(0) < "1994-06")
    )
    assert "No prediction has a target beside it" in Page(tmp_path / "page.html").text("p")


def test_rows_that_overflow_are_counted_apart(small):
    of = subject.subject(load_model("volatility"), small[0], None, unit=None, steps=None, dtype=None, threads=None)
    e = evidence.gathered(of, fl.Arras(), None)
    lost = e.relevance.unattributed.copy()
    lost[np.flatnonzero(e.found)[[0, 3]]] = np.nan
    e = replace(e, relevance=replace(e.relevance, unattributed=lost))
    (said,) = about._left_out(e, int(e.found.sum()))
    assert "1 because a value is missing in the window, 2 because numbers inside overflowed float32; most" in said


def test_a_second_rule_that_overflows_in_every_row(small):
    of = subject.subject(load_model("volatility"), small[0], None, unit=None, steps=None, dtype=None, threads=None)
    e = evidence.gathered(of, fl.Arras(), None)
    lost = np.full_like(e.second.score, np.nan)
    section = trust.rules_section(replace(e, second=replace(e.second, unattributed=lost)))
    assert section.lead == ["Rules are not compared: by rudder numbers overflow in every row."]


def test_one_asset_of_few_features(tmp_path, undrawn, rng):
    """Sentences are in the singular, and a third of three features is one."""
    index = pd.MultiIndex.from_product([range(45), ["A"]], names=["time", "asset"])
    X = pd.DataFrame(rng.normal(size=(45, 3)).astype(np.float32), index, ["a", "b", "c"])
    layers = [fl.LSTM(rng.normal(size=(3, 16)), np.zeros((4, 16)), np.zeros(16)), fl.Dense(rng.normal(size=(4, 1)))]
    fl.report(fl.Network(layers, steps=2), X, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    for said in (
        "44 predictions of 1 asset from 1 to 44 are",
        "One asset has a prediction",
        "The latest period of the 2",
    ):
        assert said in page.text("p")
    assert page.tables["Agreement of rules, in 44 windows"][0][3] == "top 1 in common"
    table = page.tables["How relevance adds up, by period, means over stretches of equal length"]
    assert [row[0] for row in table[1:3]] == ["1 to 2", "3"]


@pytest.mark.filterwarnings("error")
def test_names_in_other_scripts_are_the_browsers_to_draw():
    figure = sheet(4.0, 1.0)
    header(figure.subplots(), "\u65e5\u672c", ["a\x01b"])
    svg = inline_svg(figure, "one", "words")
    assert "\u65e5\u672c" in svg
    assert "a\ufffdb" in svg  # XML has no control characters


def test_numbers_have_three_digits():
    numbers = {999.4: "999", 999.6: "1,000", 123456.7: "123,457", -0.0: "0.00", 1e-7: "1.00e\u22127", 0.5: "0.500"}
    assert {x: parts.number(x) for x in numbers} == numbers


def test_an_interrupted_page_leaves_the_old_one(small, tmp_path, undrawn, monkeypatch):
    out = tmp_path / "page.html"
    out.write_text("old")

    def broken(*args):
        raise OSError("disk full")

    monkeypatch.setattr(report, "page", broken)
    with pytest.raises(OSError, match="disk full"):
        fl.report(load_model("volatility"), small[0], out)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"destination": "page.pdf"}, r"written to a \.html file, not 'page\.pdf'"),
        ({"destination": "nowhere/page.html"}, "there is no folder"),
        ({"model": object()}, "report takes a Keras file, a Network.*not object"),
        ({"panel": [1, 2]}, "report takes a panel, a DataFrame indexed by time and asset or a file of one, not list"),
        ({"target": "retvoll"}, "names no column of the panel: 'retvoll'"),
        ({"target": "retvol"}, "target='retvol' is an input of the network"),
        ({"target": np.zeros(3)}, r"has the shape \(3,\), expected a number for each of the panel's 45 rows"),
        ({"target": ["a"] * 45}, "must hold numbers"),
        ({"target": np.full(45, np.nan)}, "no number at all"),
        ({"target": np.zeros(45), "test_from": "2050-01"}, "test_from='2050-01' is after the panel's last time"),
        ({"test_from": "noon"}, "needs what followed"),
        ({"target": np.zeros(45), "horizon": 0}, "horizon= takes a whole number of at least 1, not 0"),
        ({"test_from": "1995-01"}, "needs what followed: give target="),
        ({"groups": {"Risk": ["betaa"]}}, "betaa"),
        ({"title": 3}, "title= takes a text, not 3"),
        ({"columns": ["beta"]}, "say what a file holds, but the panel is a DataFrame"),
        ({"rule": "lrp"}, "lrp"),
        ({"unit": 4}, "target=4 is not an output"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_written(small, tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    given = {"model": load_model("volatility"), "panel": small[0], "destination": "page.html", **change}
    with pytest.raises(ValueError, match=said) as caught:
        fl.report(given.pop("model"), given.pop("panel"), given.pop("destination"), **given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'a report needs jinja2: pip install jinja2 .*"\.\[report\]"'):
        fl.report(load_model("volatility"), small[0], tmp_path / "page.html")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--target", "retvoll"], "has no column 'retvoll' (did you mean 'retvol'?)"),
        (["--target", "retvol"], "--target retvol is an input of the network"),
        (["--groups", "groups.json"], "groups.json holds no groups"),
        (["-o", "-"], "written to a file, not to stdout"),
        (["--target", "followed", "--test-from", "2050-01"], "--test-from '2050-01' is after the panel's last time"),
    ],
)
def test_mistakes_on_the_command_line(small, tmp_path, monkeypatch, capsys, more, said):
    monkeypatch.chdir(tmp_path)
    small[0].assign(followed=small[1]).to_csv("panel.csv", date_format="%Y-%m")
    (tmp_path / "groups.json").write_text("[]")
    before = sorted(tmp_path.iterdir())
    assert cli.main(["report", str(model_path("volatility")), "panel.csv", "-o", "page.html", *more]) == 2
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
