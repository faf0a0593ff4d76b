"""The result of explain, against plain NumPy over the same made-up numbers."""

from __future__ import annotations

import builtins
import pickle
import subprocess
import sys
import tracemalloc
import types
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import fastlrp as fl
import fastlrp.explain
import fastlrp.relevance.arrays
from fastlrp.errors import ConservationWarning
from fastlrp.relevance.arrays import warn_if_unattributed
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Arras, Rudder

T, FEATURES = 3, ("beta", "mom12m", "size", "value")
MONTHS = ["1990m9", "1990m10", "1990m11", "1990m12"]  # sorted as text, October would come before September
GONE = [0, 5, 7]
TOTALS = ("score", "initial_state", "unattributed")


def made_up(*, panel=True, dtype=np.float64, outputs=None, reduced=False, **changes):
    """Twelve rows in no order, three of them missing; all others but rows 2 and 9 reconcile exactly."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(12, T, 4)).astype(dtype)
    initial_state, unattributed = rng.normal(size=(2, 12)).astype(dtype)
    score = values.sum(axis=(1, 2), dtype=np.float64) + initial_state + unattributed
    score[2] += 0.5
    score[9] -= 2.0
    prediction = np.tanh(score) if outputs is None else rng.normal(size=(12, outputs))
    for part in (values, initial_state, unattributed, score, prediction):
        part[GONE] = np.nan
    index = pd.MultiIndex.from_product([["B", "C", "A"], MONTHS], names=["stock", "month"])
    index = index[rng.permutation(12)] if panel else None
    given = {
        "values": values.sum(axis=1) if reduced else values,
        "prediction": prediction,
        "score": score.astype(dtype),
        "initial_state": initial_state,
        "unattributed": unattributed,
        "rule": Arras(),
        "steps": T,
        "index": index,
        "features": FEATURES,
        "reduced": reduced,
    }
    return Relevance(**{**given, **changes})


def test_frame_by_feature():
    rel = made_up()
    frame = rel.to_frame()
    assert list(frame.columns) == [*FEATURES, "prediction", "score", "initial_state", "unattributed"]
    pd.testing.assert_index_equal(frame.index, rel.index)
    np.testing.assert_allclose(frame[list(FEATURES)], rel.values.sum(axis=1), rtol=0, atol=1e-14)
    for name in ("prediction", "score", "initial_state", "unattributed"):
        np.testing.assert_array_equal(frame[name], getattr(rel, name))
    assert frame.iloc[GONE].isna().all(axis=None)


def test_frame_by_step_and_feature():
    rel = made_up()
    frame = rel.to_frame(steps=True)
    assert frame.columns.names == ["step", "feature"]
    assert frame.columns[0] == (2, "beta")
    assert frame.columns[-1] == (0, "value")
    for k, lag in enumerate((2, 1, 0)):
        np.testing.assert_array_equal(frame[lag], rel.values[:, k])


def test_frames_are_the_callers_to_change():
    for rel in (made_up(), made_up(reduced=True)):
        before = rel.values.copy()
        frame = rel.to_frame()
        frame.iloc[:, :] = 0.0
        np.testing.assert_array_equal(rel.values, before)
        np.testing.assert_array_equal(rel.score, made_up().score)


def test_frames_of_arrays_and_of_several_outputs():
    frame = made_up(panel=False, outputs=2, features=None).to_frame()
    pd.testing.assert_index_equal(frame.index, pd.RangeIndex(12, name="sample"))
    assert list(frame.columns[:6]) == ["x0", "x1", "x2", "x3", "prediction[0]", "prediction[1]"]


def test_outputs_by_name():
    prediction = np.arange(24.0).reshape(12, 2)
    rel = replace(made_up(prediction=prediction), outputs=("up", "down"), target="up")
    np.testing.assert_array_equal(rel.to_frame()["prediction[down]"], prediction[:, 1])
    assert "target 'up'" in rel.summary()


def test_a_feature_that_is_called_score():
    frame = made_up(features=("score", "score_", "b", "prediction")).to_frame()
    assert frame.columns.is_unique
    np.testing.assert_array_equal(frame["score__"], made_up().score)


def test_groups():
    rel = made_up()
    frame = rel.by_group({"Risk": ["value", "beta"], "Momentum": "mom12m"})
    summed = rel.values.sum(axis=1)
    assert list(frame.columns) == ["Risk", "Momentum", "Other"]
    np.testing.assert_allclose(frame["Risk"], summed[:, 0] + summed[:, 3], rtol=0, atol=1e-14)
    np.testing.assert_allclose(frame["Momentum"], summed[:, 1], rtol=0, atol=1e-14)
    np.testing.assert_allclose(frame["Other"], summed[:, 2], rtol=0, atol=1e-14)
    assert list(rel.by_group({"all": FEATURES}).columns) == ["all"]
    pd.testing.assert_frame_equal(made_up(reduced=True).by_group({"all": FEATURES}), rel.by_group({"all": FEATURES}))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"Risk": ["bet"]}, r"group 'Risk' names what is no feature: 'bet' \(did you mean 'beta'\?\)"),
        ({"Risk": ["beta"], "Size": ["size", "beta"]}, "'beta' stands in group 'Risk' and again in 'Size'"),
        ({"Risk": ["beta", "beta"]}, "'beta' stands in group 'Risk' and again in 'Risk'"),
        ({"Risk": []}, "group 'Risk' is empty"),
        ({"Other": ["beta"]}, "3 features are in no group .* the first being 'mom12m'"),
        ({}, "as a dict"),
        ([["beta"]], "as a dict"),
    ],
)
def test_groups_that_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        made_up().by_group(groups)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares(dtype):
    rel = made_up(dtype=dtype)
    summed = rel.values.astype(np.float64).sum(axis=1)
    want = np.abs(summed) / np.abs(summed).sum(axis=1, keepdims=True)
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(rel.share(), want, rtol=0, atol=tolerance)
    np.testing.assert_allclose(rel.share(signed=True), np.sign(summed) * want, rtol=0, atol=tolerance)
    kept = np.setdiff1d(np.arange(12), GONE)
    np.testing.assert_allclose(rel.share().iloc[kept].sum(axis=1), 1.0, rtol=0, atol=tolerance)
    zeros = np.zeros((12, T, 4), dtype)
    assert made_up(dtype=dtype, values=zeros).share().isna().all(axis=None)


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
@pytest.mark.parametrize("statistic", ["abs", "mean", "share"])
def test_by_time(statistic, chunk, monkeypatch):
    monkeypatch.setattr(fastlrp.relevance.arrays, "_CHUNK", chunk)
    rel = made_up()
    frame = rel.by_time(statistic)
    summed = rel.values.sum(axis=1)
    numbers = {"abs": np.abs(summed), "mean": summed, "share": rel.share().to_numpy()}[statistic]
    want = []
    for month in MONTHS:
        rows = [i for i, (_, when) in enumerate(rel.index) if when == month and i not in GONE]
        want.append(numbers[rows].mean(axis=0))
    assert list(frame.index) == MONTHS
    assert frame.index.name == "month"
    assert tuple(frame.columns) == FEATURES
    np.testing.assert_allclose(frame, want, rtol=0, atol=1e-14)


def test_by_time_leaves_out_periods_without_relevance():
    rel = made_up()
    values = np.where([[[when == "1990m10"]] for _, when in rel.index], np.nan, rel.values)
    assert list(made_up(values=values).by_time().index) == ["1990m9", "1990m11", "1990m12"]


def test_by_time_refuses_arrays_and_unknown_statistics():
    with pytest.raises(ValueError, match="by_time needs the result of a panel"):
        made_up(panel=False).by_time()
    with pytest.raises(ValueError, match="takes 'abs', 'mean' or 'share', not 'median'"):
        made_up().by_time("median")


@pytest.mark.parametrize("chunk", [1, 30, 1 << 20])
@pytest.mark.parametrize("reduced", [False, True])
def test_reconciliation_finds_the_worst_rows(reduced, chunk, monkeypatch):
    monkeypatch.setattr(fastlrp.relevance.arrays, "_CHUNK", chunk)
    rel = made_up(reduced=reduced)
    found = rel.reconcile()
    gap = rel.score - (rel.values.reshape(12, -1).sum(axis=1) + rel.initial_state + rel.unattributed)
    scale = np.abs(rel.values.reshape(12, -1)).sum(axis=1)
    scale += np.abs(rel.initial_state) + np.abs(rel.unattributed) + np.abs(rel.score)
    np.testing.assert_allclose(rel.gap, gap, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(rel.missing, np.isin(np.arange(12), GONE))
    assert found.worst == pytest.approx(2.0, rel=1e-12)
    assert found.median < 1e-14
    assert found.relative_worst == pytest.approx(np.nanmax(np.abs(gap) / scale), rel=1e-12)
    assert found.relative_median < 1e-15
    assert found.worst_rows[:2].tolist() == [9, 2]


def test_gaps_are_summed_in_float64():
    values = np.full((1, 1000, 100), 0.1, np.float32)
    score = np.array([100_000 * np.float64(np.float32(0.1))])
    zero = np.zeros(1, np.float32)
    rel = made_up(values=values, score=score, prediction=score, initial_state=zero, unattributed=zero, index=None)
    assert abs(rel.gap[0]) < 1e-8


def test_summary_names_what_matters():
    rel = made_up()
    text = rel.summary(top=2)
    share = rel.share().mean().sort_values(ascending=False)
    assert "Arras(eps=0.001" in text
    assert "9 samples of 3 steps x 4 features" in text
    assert "3 of 12 rows are missing" in text
    for name, value in share.iloc[:2].items():
        assert any(line.split()[:2] == [name, f"{100 * value:.1f}"] for line in text.splitlines())
    assert f"2 more: {100 * share.iloc[2:].sum():.1f} %" in text
    stock, month = rel.index[9]
    worst = rel.gap[9] / (np.abs(rel.values[9]).sum() + sum(abs(getattr(rel, name)[9]) for name in TOTALS))
    assert rel.reconcile().relative_worst == pytest.approx(-worst, rel=1e-12)
    assert f"worst rows     by gap / scale: ({stock}, {month}) {worst:+.1e}, " in text
    assert f"median {100 * rel.median_unattributed_share():.1f} % of |score|" in text
    assert f"by gap / scale: sample 9 {worst:+.1e}, sample 2 +" in made_up(panel=False).summary()


def test_summary_without_any_window():
    nothing = np.full(12, np.nan)
    rel = made_up(values=np.full((12, T, 4), np.nan), score=nothing, prediction=nothing)
    assert "12 of 12 rows are missing" in rel.summary()
    assert "no row ends a complete window of 3 steps" in rel.summary()
    assert np.isnan(rel.median_unattributed_share())
    assert np.isnan(rel.reconcile().worst)
    assert len(rel.by_time()) == 0


def test_relevance_that_is_nan_where_the_score_is_not_is_the_worst_row():
    values = made_up().values.copy()
    values[4] = np.nan
    assert made_up(values=values).reconcile().worst_rows[0] == 4
    assert np.isnan(made_up(values=values).reconcile().worst)


@pytest.mark.parametrize(
    ("score", "unattributed", "want"),
    [
        ([2.0, -4.0, 1.0], [1.0, 1.0, 3.0], 0.5),
        ([np.nan, 2.0, 0.0], [np.nan, 1.0, 0.0], 0.25),
        ([0.0], [1.0], np.inf),
        ([0.0], [0.0], 0.0),
        ([-4.0], [1.0], 0.25),
        ([np.nan], [np.nan], np.nan),
    ],
)
def test_median_unattributed_share(score, unattributed, want):
    rel = made_up(panel=False, score=np.array(score), unattributed=np.array(unattributed))
    np.testing.assert_array_equal(rel.median_unattributed_share(), want)
    assert rel.mostly_unattributed() == (want > 0.5)


def test_mostly_unattributed_is_what_the_median_says(rng):
    verdicts = set()
    for n in (2, 3, 4, 5, 20, 21):
        for _ in range(50):
            score, lost = rng.integers(-3, 4, n).astype(float), rng.integers(-2, 3, n).astype(float)
            score[rng.random(n) < 0.1] = np.nan
            rel = made_up(panel=False, score=score, unattributed=np.where(np.isnan(score), np.nan, lost))
            median = rel.median_unattributed_share()
            assert rel.mostly_unattributed() == (median > 0.5)
            verdicts.add(median == 0.5 or median > 0.5)
    assert verdicts == {True, False}


def test_rudder_warns_and_names_the_alternative():
    lost = {"score": np.array([1.0, 2.0]), "unattributed": np.array([0.9, 1.0])}
    with pytest.warns(
        ConservationWarning, match=r"more than half of the score unattributed in 1 of 2 rows: .*\(fastlrp\.Arras\)"
    ) as caught:
        warn_if_unattributed(made_up(panel=False, rule=Rudder(), **lost))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_unattributed(made_up(panel=False, rule=Arras(), **lost))
        warn_if_unattributed(made_up(panel=False, rule=Rudder(), score=lost["score"], unattributed=np.zeros(2)))


def test_summed_results_refuse_views_by_step():
    rel = made_up(reduced=True)
    pd.testing.assert_frame_equal(rel.to_frame(), made_up().to_frame())
    with pytest.raises(ValueError, match=r"needs every step, but .* call explain without reduce='steps'"):
        rel.to_frame(steps=True)


@pytest.mark.parametrize("key", [slice(2, 9, 3), [4, 1], np.arange(12) % 2 == 0, pd.Series(np.arange(12) > 6), -1, 3])
@pytest.mark.parametrize("panel", [True, False])
def test_rows_can_be_chosen(key, panel):
    rel = made_up(panel=panel)
    at = np.arange(12)[key if not isinstance(key, int) else [key]]
    part = rel[key]
    assert len(part) == len(at)
    pd.testing.assert_frame_equal(part.to_frame(), rel.to_frame().iloc[at])
    np.testing.assert_array_equal(part.values, rel.values[at])


@pytest.mark.parametrize("key", ["beta", 1.5, [[1, 2]], (slice(2), 1)])
def test_rows_that_cannot_be_chosen(key):
    with pytest.raises(ValueError, match="rows are chosen by position, slice or mask"):
        made_up()[key]


def test_rows_that_are_not_there():
    with pytest.raises(IndexError):
        made_up()[12]


def test_a_frozen_value_that_shows_itself():
    rel = made_up(rule=Rudder())
    assert len(rel) == 12
    assert repr(rel).startswith("<Relevance: 12 samples x 3 steps x 4 features, Rudder(")
    assert "(summed)" in repr(made_up(reduced=True))
    with pytest.raises(AttributeError):
        rel.steps = 4
    again = pickle.loads(pickle.dumps(rel))
    pd.testing.assert_frame_equal(again.to_frame(), rel.to_frame())


def test_making_one_is_cheap():
    """It takes two microseconds, a fraction of one sample's cost: attributes are set, and no array is examined."""
    given, calls = vars(made_up(features=None)), []

    def count(frame, event, what):
        if event in ("call", "c_call"):
            calls.append(what or frame.f_code.co_qualname)

    sys.setprofile(count)
    try:
        Relevance(**given)
    finally:
        sys.setprofile(None)
    assert 1 < len(calls) <= 6, calls


def test_large_results_are_summed_in_small_pieces():
    n = 40_000
    values = np.ones((n, 8, 16), np.float32)
    zero = np.zeros(n, np.float32)
    index = pd.MultiIndex.from_product([range(400), pd.period_range("1990-01", periods=100, freq="M")])
    rel = Relevance(
        values=values, prediction=zero, score=zero + 128, initial_state=zero, unattributed=zero, rule=Arras(), steps=8,
        index=index,
    )  # fmt: skip
    tracemalloc.start()
    try:
        rel.summary()
        assert tracemalloc.get_traced_memory()[1] < 0.75 * values.nbytes + 100 * n
        np.testing.assert_array_equal(rel.by_time(), np.full((100, 16), 8.0))
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        frame = rel.to_frame()
        assert tracemalloc.get_traced_memory()[1] - before < frame.memory_usage(index=False).sum() + values.nbytes
    finally:
        tracemalloc.stop()
    assert rel.reconcile().worst == 0.0


# ----------------------------------------------------------------------------------------------------- other libraries


@pytest.mark.parametrize("reduced", [False, True])
def test_to_shap(reduced, monkeypatch):
    """The package is heavy, so only its constructor's keywords are imitated, those of shap 0.40 and later."""
    module = types.ModuleType("shap")
    module.Explanation = lambda **given: given
    monkeypatch.setitem(sys.modules, "shap", module)
    rel = made_up(reduced=reduced)
    kept = np.setdiff1d(np.arange(12), [*GONE, 2, 9])  # rows 2 and 9 do not reconcile
    given = made_up(reduced=reduced).to_shap(data=np.arange(48).reshape(12, 4))
    rows = np.isin(np.setdiff1d(np.arange(12), GONE), kept)
    total = (given["values"].sum(axis=1) + given["base_values"])[rows]
    np.testing.assert_allclose(total, rel.score[kept], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(given["data"][rows], np.arange(48).reshape(12, 4)[kept])
    assert given["feature_names"] == list(FEATURES)
    with pytest.raises(ValueError, match=r"has shape \(3, 4\), expected \(12, 4\)"):
        rel.to_shap(data=np.zeros((3, 4)))


@pytest.mark.parametrize("name", ["shap", "xarray", "polars"])
def test_a_package_that_is_missing_is_named(name, monkeypatch):
    found = builtins.__import__

    def without(module, *rest, **more):
        if module == name:
            raise ImportError(module)
        return found(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=f"needs the package {name}, which is missing: pip install {name}"):
        getattr(made_up(), f"to_{name}")()


@pytest.mark.parametrize("panel", [True, False])
@pytest.mark.parametrize("reduced", [False, True])
def test_to_xarray(panel, reduced):
    pytest.importorskip("xarray")
    rel = made_up(panel=panel, reduced=reduced)
    data = rel.to_xarray()
    assert data["relevance"].dims == (("sample", "feature") if reduced else ("sample", "step", "feature"))
    np.testing.assert_array_equal(data["relevance"], rel.values)
    np.testing.assert_array_equal(data["score"], rel.score)
    if not reduced:
        np.testing.assert_array_equal(data["relevance"].sel(step=0, feature="size"), rel.values[:, 2, 2])
    if panel:
        row = rel.index.get_loc(("B", "1990m12"))
        np.testing.assert_array_equal(data["score"].sel(stock="B", month="1990m12"), rel.score[row])


def test_an_array_is_explained_without_pandas():
    code = (
        "import sys, numpy as np, fastlrp as fl; net = fl.Network([fl.LSTM(np.ones((2, 4)), np.ones((1, 4)))]);"
        "relevance = net.explain(np.ones((3, 2, 2)), rule='rudder'); relevance.reconcile(), repr(relevance);"
        "assert 'pandas' not in sys.modules;"
        "assert relevance.to_frame().shape == (3, 6)"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_warning_points_to_the_users_line_through_every_door(rng):
    W, U, V = (rng.normal(size=shape) for shape in ((3, 16), (4, 16), (4, 1)))
    b = np.repeat([0.0, -3.0, 0.0, 0.0], 4)
    net, X = fl.Network([fl.LSTM(W, U, b), fl.Dense(V)]), rng.normal(size=(40, 6, 3))
    model = fl.LSTMRegressor(units=(3,), max_iter=2, n_iter_no_change=2, random_state=0).fit(X, X[:, 0, 0])
    model._network = net
    for call in (
        lambda: net.explain(X, rule="rudder"),
        lambda: fastlrp.explain.explain(net, X, rule="rudder"),
        lambda: model.explain(X, rule="rudder"),
        lambda: fl.LRPTransformer(net, rule="rudder").fit(X).transform(X),
    ):
        with pytest.warns(ConservationWarning, match="rule 'rudder' leaves more than half") as caught:
            call()
        assert [warning.filename for warning in caught] == [__file__]
