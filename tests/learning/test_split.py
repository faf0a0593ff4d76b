"""PanelSplit: periods counted by hand, whole windows in test parts, no look-ahead, and scikit-learn's tools."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from helpers import same_bits
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastlrp import CrossSectionalRank, LSTMRegressor, PanelSplit
from fastlrp.data import load_panel

STEPS = 3


def regressor(**changes) -> LSTMRegressor:
    given = {"units": (4,), "steps": STEPS, "max_iter": 2, "n_iter_no_change": 2, "random_state": 5}
    return LSTMRegressor(**{**given, **changes})


def scaled() -> object:
    return make_pipeline(StandardScaler().set_output(transform="pandas"), regressor())


@pytest.fixture(scope="module")
def real() -> tuple[pd.DataFrame, pd.Series]:
    """Six stocks in 40 months that came and went: rows in no order, a month absent for all, values missing."""
    X, y = load_panel(target=True)
    months, stocks = X.index.unique("month")[-40:], X.index.unique("stock")[:6]
    X = X.loc[(months, stocks), :].iloc[:, :4]
    at, who = (X.index.get_level_values(level) for level in ("month", "stock"))
    gone = (at == months[24]) | ((who == stocks[0]) & (at < months[22])) | ((who == stocks[1]) & (at > months[29]))
    X = X[~gone & ~((who == stocks[2]) & (at == months[33]))].sample(frac=1, random_state=1)
    X.loc[(months[31], stocks[3]), "mom6m"] = np.nan
    return X, 10 * y.reindex(X.index)


def by_hand(X, n_splits, gap, window, steps, embargo, size):
    """The splits as sets of rows, by loops over dates; the history is that of the test's windows, in whole months."""
    months = sorted(set(X.index.get_level_values("month")))
    rows = {month: {k for k, (at, _) in enumerate(X.index) if at == month} for month in months}
    have = set(X.index)
    for split in range(n_splits):
        first = len(months) - (n_splits - split) * size
        stop = first - gap - embargo
        tested, begin = months[first : first + size], months[first]
        for stock in set(X.index.get_level_values("stock")):
            for month in tested:
                window_of = [month - pd.offsets.MonthEnd(k) for k in range(steps)]
                if all((at, stock) in have for at in window_of):
                    begin = min(begin, window_of[-1])
        trained = months[max(0, stop - window) if window else 0 : stop]
        tested = [month for month in months if begin <= month <= tested[-1]]
        yield tuple(sorted(set().union(*(rows[month] for month in part))) for part in (trained, tested))


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"n_splits": 3}, 9),  # 39 months over 3 + 1
        ({"n_splits": 5, "gap": 0, "steps": STEPS}, 6),
        ({"n_splits": 4, "window": 12, "steps": STEPS, "embargo": 2}, 6),  # (39 - 12 - 1 - 2) over 4
        ({"n_splits": 8, "window": 7, "steps": 4, "gap": 2, "test_size": 1}, 1),
        ({"n_splits": 1, "steps": STEPS, "test_size": 20}, 20),
    ],
)
def test_splits_are_those_counted_by_hand(real, given, size):
    X, _ = real
    cv = PanelSplit(**given)
    got = list(cv.split(X))
    full = {"gap": 1, "window": None, "steps": 1, "embargo": 0, **given, "size": size}
    full.pop("test_size", None)
    want = list(by_hand(X, **full))
    assert len(got) == len(want) == cv.get_n_splits(X)
    for (train, test), (other_train, other_test) in zip(got, want, strict=True):
        assert_array_equal(train, other_train)
        assert_array_equal(test, other_test)


def test_windows_of_the_test_are_whole_and_nothing_else_is_scored(real):
    """Predictions in a test part are those on the whole panel, in tested months, and NaN in the months before."""
    X, y = real
    cv = PanelSplit(5, gap=0, steps=STEPS)
    months = X.index.get_level_values("month")
    distinct, history = np.sort(months.unique()), 0
    for k, (train, test) in enumerate(cv.split(X, y)):
        first = distinct[len(distinct) - (5 - k) * 6]
        model = regressor().fit(X.iloc[train], y.iloc[train])
        part, whole = model.predict(X.iloc[test]), model.predict(X).iloc[test]
        tested = np.asarray(months[test] >= first)
        assert_array_equal(part[tested], whole[tested])
        assert part[~tested].isna().all()
        assert whole[tested].notna().any()
        history += whole[~tested].notna().sum()
        assert months[train].max() < first
    assert history  # or the months before would be NaN in any case


def test_scores_are_those_of_a_loop(real):
    X, y = real[0].astype(np.float64), real[1]
    cv, want = PanelSplit(4, window=12, steps=STEPS), []
    for train, test in cv.split(X):
        centre, spread = X.iloc[train].mean(), X.iloc[train].std(ddof=0)
        model = regressor(dtype="float64").fit((X.iloc[train] - centre) / spread, y.iloc[train])
        predicted = model.predict((X.iloc[test] - centre) / spread)
        known = predicted.notna() & y.iloc[test].notna()
        want.append(r2_score(y.iloc[test][known], predicted[known]))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), regressor(dtype="float64"))
    got = cross_val_score(pipeline, X, y, cv=cv, error_score="raise")
    assert_allclose(got, want, rtol=0, atol=1e-9)


def test_the_future_changes_no_earlier_score(real):
    """Other features and targets after the test, or after training, move no bit of a score, a scaler or a weight."""
    X, y = real
    gap, n, size = 1, 4, 5
    cv = PanelSplit(n, gap, steps=STEPS, test_size=size)
    model = make_pipeline(CrossSectionalRank(), *(step for _, step in scaled().steps))
    months, of = np.sort(X.index.unique("month")), X.index.get_level_values("month")

    def run(poisoned):
        other_X, other_y = X.copy(), y.copy()
        other_X[poisoned], other_y[poisoned] = 7.0, -9.0
        given = {"cv": cv, "return_train_score": True, "return_estimator": True, "error_score": "raise"}
        return cross_validate(model, other_X, other_y, **given)

    whole = run(of < months[0])
    for k in range(n - 1):
        first = len(months) - (n - k) * size
        after_test, after_training = run(of >= months[first + size]), run(of >= months[first - gap])
        same_bits(after_test["test_score"][: k + 1], whole["test_score"][: k + 1])
        same_bits(after_training["train_score"][: k + 1], whole["train_score"][: k + 1])
        for one, two in zip(after_training["estimator"][: k + 1], whole["estimator"], strict=False):
            same_bits(one[1].mean_, two[1].mean_)
            same_bits(one[-1].network_.layers[0].W, two[-1].network_.layers[0].W)
        assert after_training["test_score"][k] != whole["test_score"][k]


@pytest.mark.parametrize("horizon", [1, 2, 4])
def test_a_gap_of_the_horizon_less_one_keeps_targets_out_of_the_test(real, horizon):
    """A target over h months is known h months later: at the latest when the first prediction is made, and no sooner
    than needed unless a month is absent."""
    X, _ = real
    months, spare = X.index.get_level_values("month"), []
    for train, test in PanelSplit(6, gap=horizon - 1).split(X):
        known, made = months[train].max() + pd.offsets.MonthEnd(horizon), months[test].min()
        spare.append((made.year - known.year) * 12 + made.month - known.month)
    assert min(spare) == 0
    assert max(spare) <= 1


def test_grid_search_cross_val_and_their_own_refusal(real):
    X, y = real
    cv = PanelSplit(3, gap=0, steps=STEPS)
    search = GridSearchCV(scaled(), {"lstmregressor__alpha": [0.0, 1.0]}, cv=cv, error_score="raise").fit(X, y)
    for k, alpha in enumerate((0.0, 1.0)):
        scores = cross_val_score(scaled().set_params(lstmregressor__alpha=alpha), X, y, cv=cv)
        assert_array_equal([search.cv_results_[f"split{split}_test_score"][k] for split in range(3)], scores)
    assert search.predict(X).index.equals(X.index)
    with pytest.raises(ValueError, match="partitions"):
        cross_val_predict(scaled(), X, y, cv=cv)


def test_other_metrics_by_a_callable_that_leaves_out_what_is_missing(real):
    X, y = real

    def mse(model, X, y):
        predicted = model.predict(X)
        known = predicted.notna() & y.notna()
        return -mean_squared_error(y[known], predicted[known])

    cv = PanelSplit(3, steps=STEPS)
    got = cross_val_score(regressor(), X, y, cv=cv, scoring=mse, error_score="raise")
    for score, (train, test) in zip(got, cv.split(X), strict=True):
        predicted = regressor().fit(X.iloc[train], y.iloc[train]).predict(X.iloc[test])
        errors = (y.iloc[test] - predicted).to_numpy(np.float64)
        assert score == pytest.approx(-np.nanmean(errors**2), rel=1e-14)  # processors sum in orders of their own


def test_one_row_a_time(rng):
    index = pd.period_range("2001-01", periods=24, freq="M")
    X = pd.DataFrame(rng.standard_normal((24, 2)), index[rng.permutation(24)])
    rank = np.argsort(np.argsort(X.index))
    got = list(PanelSplit(2, 0, steps=3, test_size=4).split(X))
    for (train, test), first in zip(got, (16, 20), strict=True):
        assert set(rank[train]) == set(range(first))
        assert set(rank[test]) == set(range(first - 2, first + 4))


def test_windows_that_step_over_other_assets_times_keep_their_history():
    """Annual rows, in June for one half of the firms and in December for the other: two steps are a year apart."""
    years = range(1990, 2010)
    rows = [(f"{year}-{6 if firm % 2 else 12:02}", firm) for firm in range(6) for year in years]
    X = pd.DataFrame({"a": 0.0}, pd.MultiIndex.from_tuples(rows, names=["month", "firm"]))
    ((_, test),) = PanelSplit(1, steps=3, test_size=2).split(X)
    months = sorted(set(X.index[test].get_level_values("month")))
    assert months == [f"{year}-{month}" for year in (2007, 2008, 2009) for month in ("06", "12")]


def test_parameters_are_shown_and_copied():
    cv = PanelSplit(3, 2, 60, steps=12)
    assert repr(cv) == "PanelSplit(embargo=0, gap=2, n_splits=3, steps=12, test_size=None, window=60)"
    assert repr(copy.deepcopy(cv)) == repr(cv)
    assert cv.get_n_splits() == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_splits": 0}, r"PanelSplit\(n_splits=...\) takes a whole number of at least 1, not 0"),
        ({"gap": -1}, r"PanelSplit\(gap=...\) takes a whole number of at least 0, not -1"),
        ({"embargo": 0.5}, r"PanelSplit\(embargo=...\) takes a whole number of at least 0, not 0.5"),
        ({"steps": None}, r"PanelSplit\(steps=...\) takes a whole number of at least 1, not None"),
        ({"test_size": 0}, r"PanelSplit\(test_size=...\) takes a whole number of at least 1, or None, not 0"),
        ({"window": True}, r"PanelSplit\(window=...\) takes a whole number of at least 1, not True"),
        ({"window": 2, "steps": 3}, r"PanelSplit\(window=2\) is shorter than the 3 steps of one sample"),
        ({"window": 35, "embargo": 1}, r"X has 39 periods, expected at least 42: 35 to train on \(window\), 2 left "
         r"out \(gap \+ embargo\), and 5 test parts of 1$"),
        ({"test_size": 39, "n_splits": 1}, r"at least 41: 1 to train on \(steps\), 1 left out .* 1 test part of 39$"),
    ],
)  # fmt: skip
def test_bad_parameters_are_a_sentence_before_any_split(real, given, message):
    with pytest.raises(ValueError, match=message):
        PanelSplit(**given).split(real[0])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((9, 2)), "PanelSplit splits a DataFrame, a panel or one row a time, not ndarray"),
        (pd.DataFrame({"a": [1.0, 2.0]}, ["x", "y"]), "not understood as times"),
        (pd.DataFrame({"a": 1.0}, pd.MultiIndex.from_tuples([("1990-01", "x")] * 2)), "twice"),
    ],
)
def test_what_has_no_times_is_a_sentence(X, message):
    with pytest.raises(ValueError, match=message):
        PanelSplit(1).split(X)


def test_groups_are_refused(real):
    with pytest.raises(ValueError, match="by the times of X's index: expected no groups"):
        PanelSplit().split(real[0], groups=np.zeros(len(real[0])))
