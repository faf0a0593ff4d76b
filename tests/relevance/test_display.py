"""The display of results at a prompt and in a notebook: numbers that are in them, and no others."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from test_relevance import GONE, made_up

import fastlrp as fl
import fastlrp.relevance.display
from fastlrp.relevance.device import DeviceRelevance


def table_of(text):
    """The lines of a repr's table as lists of cells."""
    lines = text.splitlines()
    head = next(i for i, line in enumerate(lines) if "prediction" in line and "score" in line)
    return [re.split(r" {2,}", line.strip()) for line in lines[head:]]


def cells_of(page):
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("panel", [False, True])
def test_rows_that_have_relevance_are_shown_and_add_up(panel, reduced):
    exact = made_up()
    score = exact.values.sum(axis=(1, 2)) + exact.initial_state + exact.unattributed
    rel = made_up(panel=panel, reduced=reduced, score=score)
    head, *rows, share = table_of(repr(rel))
    assert head[-2:] == ["initial_state +", "unattributed"]
    assert "1 more +" in head
    assert len(rows) == 6  # three, dots, two
    assert set(rows[3]) == {"..."}
    kept = np.setdiff1d(np.arange(12), GONE)
    names = 2 if panel else 1
    for row, at in zip(rows[:3] + rows[4:], [*kept[:3], *kept[-2:]], strict=True):
        assert row[:names] == (list(rel.index[at]) if panel else [str(at)])
        numbers = [float(cell) for cell in row[names:]]
        assert numbers[1] == pytest.approx(rel.score[at], abs=6e-4)
        assert sum(numbers[2:]) == pytest.approx(numbers[1], abs=5e-3)
    top = [name.removesuffix(" +") for name in head[names + 2 : names + 5]]
    mean = rel.share().mean().sort_values(ascending=False)
    assert top == list(mean.index[:3])
    assert share == ["mean share", *(f"{100 * x:.1f} %" for x in [*mean.iloc[:3], mean.iloc[3:].sum()])]
    assert "9 rows have relevance, 3 have none" in repr(rel)
    assert "nan" not in repr(rel)


def test_the_notebook_shows_the_same_as_the_prompt():
    rel = made_up()
    text, page = table_of(repr(rel)), cells_of(rel._repr_html_())
    assert [[cell for cell in row if cell] for row in page] == text
    assert "&lt;Relevance: 12 samples" in rel._repr_html_()


def test_names_are_shown_as_text():
    hostile = "<script>alert(1)</script>"
    page = made_up(features=tuple(f"{hostile}{j}" for j in range(4)))._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_results_without_relevance_and_of_one_row():
    assert "no row has relevance: no full window ends there" in repr(made_up()[:1])
    assert "no row has relevance" in made_up()[:0]._repr_html_()
    one = repr(made_up()[:2])
    assert "1 row has relevance, 1 has none" in one
    assert "..." not in one


def test_several_outputs_show_the_one_that_was_explained():
    prediction = np.stack([np.full(12, 0.25), np.full(12, 0.75)], axis=1)
    rel = replace(made_up(panel=False, prediction=prediction), outputs=("up", "down"), target="down")
    assert "target 'down'" in repr(rel)
    assert all(float(row[1]) == 0.75 for row in table_of(repr(rel))[1:4])
    numbered = replace(rel, outputs=None, target=0)
    assert all(float(row[1]) == 0.25 for row in table_of(repr(numbered))[1:4])


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e5, 1e12])
def test_four_digits_of_the_largest_number(scale):
    rel = made_up(panel=False)
    parts = {name: getattr(rel, name) * scale for name in ("values", "prediction", "score", "initial_state")}
    shown = table_of(repr(replace(rel, unattributed=rel.unattributed * scale, **parts)))
    assert float(shown[1][2]) == pytest.approx(rel.score[1] * scale, rel=0.05)
    assert max(len(cell) for row in shown[1:4] for cell in row) <= 10


def test_a_large_result_is_not_read_whole(monkeypatch):
    class Counted(np.ndarray):
        read = 0

        def __getitem__(self, key):
            part = super().__getitem__(key)
            Counted.read += part.size
            return np.asarray(part)

    monkeypatch.setattr(fastlrp.relevance.display, "_LOOK", 1000)
    n = 100_000
    values = np.ones((n, 2, 5), np.float32).view(Counted)
    zero = np.zeros(n, np.float32)
    rel = fl.Relevance(
        values=values, prediction=zero, score=zero + 10, initial_state=zero, unattributed=zero, rule=fl.Arras(), steps=2
    )
    text = repr(rel)
    assert Counted.read <= 1000 + 5 * 10
    assert "those of 100 rows, evenly spread" in text
    assert "20.0 %" in text


def test_a_result_on_the_gpu_is_not_copied_to_be_shown():
    parts = vars(made_up())
    names = ("values", "prediction", "score", "initial_state", "unattributed", "rule", "steps", "index", "features")
    rel = DeviceRelevance(**{name: parts[name] for name in names})
    assert "12 samples x 3 steps x 4 features" in repr(rel)
    assert "on the GPU; summary(), to_frame() and to_host() copy it" in repr(rel)
    assert "&lt;Relevance" in rel._repr_html_()
    object.__setattr__(rel, "_copy", made_up())
    assert repr(rel) == repr(made_up())
    assert rel._repr_html_() == made_up()._repr_html_()


def test_a_reconciliation_shows_its_numbers():
    found = made_up().reconcile()
    text, page = repr(found), found._repr_html_()
    for name in ("median", "worst", "relative_median", "relative_worst"):
        assert f"{name}={getattr(found, name):.2e}" in text
        assert f">{getattr(found, name):.2e}<" in page
    assert f"worst_rows={found.worst_rows.tolist()}" in text
    assert "by gap / scale: 9, 2" in page
    assert "worst=nan" in repr(made_up()[:1].reconcile())
    assert "none" in made_up()[:1].reconcile()._repr_html_()


@pytest.mark.parametrize(
    "method",
    [fl.Network.predict, fl.Network.explain, fl.LSTMRegressor.explain, fl.RollingLSTM.predict, fl.RollingLSTM.explain],
    ids=lambda method: method.__qualname__,
)
def test_help_on_the_main_methods_is_whole(method):
    text = inspect.getdoc(method)
    sections = {"Parameters", "Returns", "Raises"} | ({"Warns"} if method.__name__ == "explain" else set())
    assert sections <= {line.strip() for line in text.splitlines()}
    documented = {name for line in text.splitlines() if " : " in line for name in line.split(" : ")[0].split(", ")}
    assert set(inspect.signature(method).parameters) - {"self"} <= documented


def test_dir_lists_what_is_public():
    listed = dir(fl)
    assert set(listed) == {*fl.__all__, "cluster", "data", "plot", "__version__"}
    assert all(getattr(fl, name) is not None for name in listed)
    star: dict[str, object] = {}
    exec("from fastlrp import *", star)
    assert set(star) - {"__builtins__"} == set(fl.__all__)
