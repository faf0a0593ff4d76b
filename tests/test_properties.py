"""Each promise on a few dozen drawn cases; ``python -m scripts.trust --only properties`` tries thousands."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from itertools import count

import numpy as np
import promises
import pytest
from helpers import ROOT
from hypothesis import given, settings
from promises import PROMISES, broken, differing
from strategies import examples

#: Number of cases; files and Dask take most of the time.
CASES = dict.fromkeys(PROMISES, 30) | {"same bits": 20} | dict.fromkeys(["files", "dask frames", "dask arrays"], 10)
NEEDS = {"files": "pyarrow", "comes back": "pyarrow", "dask frames": "dask", "dask arrays": "dask"}


def tried(name, cases, look):
    """Let ``look`` see the errors of some cases of a promise."""
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")

    @settings(max_examples=examples(cases))
    @given(drawn=PROMISES[name].cases)
    def check(drawn):
        look(PROMISES[name].errors(drawn))

    check()


@pytest.mark.parametrize("name", PROMISES)
def test_it_holds(name):
    bounds, found = PROMISES[name].bounds, {}

    def look(errors):
        assert not broken(errors, bounds, certain=True)
        for key, numbers in errors.items():
            found.setdefault(key, []).extend(numbers)

    tried(name, CASES[name], look)
    assert set(found) == set(bounds)
    assert not broken(found, bounds)


def spoiled(real):
    """The function with every other result spoiled, beginning with the first."""
    calls = count()

    def explain(*given, **asked):
        rel = real(*given, **asked)
        return rel if next(calls) % 2 else replace(rel, values=rel.values + 1)

    return explain


@pytest.mark.parametrize("name", PROMISES)
def test_a_wrong_number_breaks_it(name, monkeypatch):
    seen = []
    monkeypatch.setattr(promises, "explained", spoiled(promises.explained))
    monkeypatch.setattr(promises.Panel, "explained", spoiled(promises.Panel.explained))
    tried(name, 3, lambda errors: seen.extend(broken(errors, PROMISES[name].bounds)))
    assert seen


def test_how_errors_are_counted():
    one = np.array([0.0, 1.0, np.nan], np.float32)
    assert differing(one, one.copy()) == 0
    assert differing(one, np.array([-0.0, np.nextafter(np.float32(1), np.float32(2)), np.nan], np.float32)) == 2
    assert differing(one, one.astype(np.float64)) == differing(one, one[:, None]) == 3
    bounds = {"a": {0.5: 1e-6, 1.0: 1e-3}}
    assert not broken({"a": np.array([1e-7, 1e-7, 1e-4])}, bounds)
    assert len(broken({"a": np.array([1e-7, 1e-5, 1e-4])}, bounds)) == 1
    assert not broken({"a": np.array([1e-7, 1e-5, 1e-4])}, bounds, certain=True)
    assert len(broken({"a": np.array([1e-7, 1e-7, np.nan])}, bounds)) == 2


def test_the_section_says_what_it_found(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT)
    from scripts.trust import properties as section

    family, job = section.Family("a claim", {"permutes": 0}), section.Job("permutes", 12, "a seed")

    def found():
        return section.row(family, [section.tried(job)])

    assert found().fine
    assert "12 questions" in found().cases
    assert "units median" in found().found
    assert not capsys.readouterr().err
    monkeypatch.setattr(promises, "explained", spoiled(promises.explained))
    assert not found().fine
    assert "failures in 12 cases (permutes)" in found().found
    assert "permutes: features: " in capsys.readouterr().err
    monkeypatch.setattr(promises, "explained", None)
    assert found().found == "12 failures in 12 cases (permutes)"
    assert "TypeError" in capsys.readouterr().err
    assert section.row(family, [section.Found()]).found == "nothing was measured of features, units"
