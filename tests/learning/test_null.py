"""null_relevance: what is permuted, fits by hand, known drivers above the null's line, and what it refuses."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import close, same_bits
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastlrp import ConservationWarning, LSTMRegressor, Network, RollingLSTM, null_relevance
from fastlrp.model.layers import LSTM

STEPS, DRIVERS = 3, ["f0", "f1"]
SEEN: list[tuple[int, object]] = []


class Spy(LSTMRegressor):
    """Notes each fit's random state and targets."""

    def fit(self, X, y, sample_weight=None):
        SEEN.append((self.random_state, y))
        return super().fit(X, y, sample_weight)


def model(kind=LSTMRegressor, **changes):
    given = {"units": (8,), "steps": STEPS, "max_iter": 5, "n_iter_no_change": 5, "learning_rate_init": 0.01}
    return kind(**{**given, "random_state": 1, **changes})


def market(seed, months=60, stocks=40, signal=1.0):
    """Persistent features f0 ... f7; the target is this month's f0 less 0.8 of last month's f1, and as much noise."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((months, stocks, 8))
    for t in range(1, months):
        values[t] = 0.6 * values[t - 1] + 0.8 * values[t]
    y = signal * values[:, :, 0] + rng.standard_normal((months, stocks))
    y[1:] -= 0.8 * signal * values[:-1, :, 1]
    index = pd.MultiIndex.from_product(
        [pd.period_range("2000-01", periods=months, freq="M"), range(stocks)], names=["month", "stock"]
    )
    X = pd.DataFrame(values.reshape(-1, 8).astype("f4"), index, [f"f{k}" for k in range(8)])
    return X, pd.Series(y.ravel(), index, name="y")


@pytest.fixture(scope="module")
def small():
    """Rows in no order, some absent, values and targets missing."""
    X, y = market(3, months=14, stocks=6)
    X, y = X.iloc[:, :3], y.copy()
    y.iloc[[5, 17, 40]] = np.nan
    X.iloc[22, 1] = np.nan
    rows = np.random.default_rng(0).permutation(len(X))[4:]
    return X.iloc[rows], y.iloc[rows]


def watched(X, y, n=3, **given):
    """The result of a spied model, and the random states and targets of its null fits."""
    SEEN.clear()
    result = null_relevance(model(Spy), X, y, n, random_state=0, **given)
    (state, first), *fits = SEEN
    assert state == 1
    assert_array_equal(first, y)
    assert len(fits) == n == len({state for state, _ in fits}) == len(result.null)
    return result, fits


# --------------------------------------------------------------------------------------------------- permutations


def test_targets_move_between_the_assets_of_a_period(small):
    X, y = small
    _, fits = watched(X, y)
    months = y.index.get_level_values("month")
    for _, other in fits:
        assert other.index.equals(y.index)
        assert_array_equal(other.isna(), y.isna())
        for month in months.unique():
            assert sorted(other[months == month].dropna()) == sorted(y[months == month].dropna())
        assert 0 < (other == y).sum() < 0.5 * len(y)  # by chance one in six stays; all rows would leave nearly none
    assert not fits[0][1].equals(fits[1][1])


def test_several_targets_move_together(small):
    X, y = small
    _, fits = watched(X, pd.DataFrame({"y": y, "twice": 2 * y}), target="y")
    for _, other in fits:
        assert_array_equal(other["twice"], 2 * other["y"])
        assert list(other) == ["y", "twice"]


def test_elsewhere_targets_move_between_all_samples(small, rng):
    X, y = rng.standard_normal((30, STEPS, 2)), rng.standard_normal(30)
    for given_X, given_y in ((X, y), (X, list(y)), (X[:, -1].repeat(3, 1), y[:, None])):
        for _, other in watched(given_X, given_y)[1]:
            assert sorted(np.ravel(other)) == sorted(y)
            assert (np.ravel(other) == y).sum() < 10
    one = small[0].index.get_level_values("stock") == 2
    alone = small[1][one]
    for _, other in watched(small[0][one], alone)[1]:
        assert sorted(other.dropna()) == sorted(alone.dropna())
        assert not other.equals(alone)


# -------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
@pytest.mark.parametrize("by", ["feature", "step", "both"])
@pytest.mark.parametrize("statistic", ["share", "abs", "mean"])
def test_statistics_are_those_of_fits_by_hand(small, statistic, by):
    X, y = small
    result, fits = watched(X, y, statistic=statistic, by=by, rule="rudder" if by == "step" else None)
    for got, (state, targets) in zip([result.actual, *result.null.iloc], [(1, y), *fits], strict=True):
        relevance = model(random_state=state, rule="rudder" if by == "step" else "arras").fit(X, targets).explain(X)
        frame = relevance.to_frame(steps=True).dropna().astype(np.float64)
        if by != "both":
            frame = frame.T.groupby(level=by, sort=False).sum().T
        frame = frame if statistic == "mean" else frame.abs()
        want = frame.div(frame.sum(axis=1), axis=0).mean() if statistic == "share" else frame.mean()
        assert list(got.index) == list(want.index)
        assert got.index.names == want.index.names
        close(got, want, 1e-6)  # the kernel sums float32 over steps


@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
def test_the_table_counts_null_fits_at_or_above_the_model(small):
    result, _ = watched(*small, n=7, statistic="mean", rule="rudder")
    table = result.table(level=0.9)
    for name, column in result.null.items():
        draws, actual = sorted(abs(value) for value in column), result.actual[name]
        assert table.loc[name, "actual"] == actual
        assert table.loc[name, "p_value"] == (1 + sum(draw >= abs(actual) for draw in draws)) / 8
        assert table.loc[name, "line"] == pytest.approx(0.6 * draws[5] + 0.4 * draws[6], rel=1e-12)  # 0.9 * 6 = 5.4
        assert table.loc[name, "mean"] == pytest.approx(sum(column) / 7, rel=1e-9)
        spread = (sum((value - sum(column) / 7) ** 2 for value in column) / 6) ** 0.5
        assert table.loc[name, "std"] == pytest.approx(spread, rel=1e-9)
    assert str(result).startswith("Mean relevance beside 7 fits on permuted targets\n")
    assert str(result.table()) in str(result)


@pytest.mark.parametrize("seed", range(3))
def test_known_drivers_stand_above_the_line_and_other_features_below(seed):
    """Measured with six seeds: drivers at 1.9 to 2.6 times their line, others at 0.1 to 0.5 times."""
    table = null_relevance(model(), *market(seed), random_state=seed).table()
    ratio = table["actual"] / table["line"]
    assert (ratio[DRIVERS] > 1.5).all()
    assert (ratio.drop(DRIVERS) < 0.75).all()
    assert (table.loc[DRIVERS, "p_value"] == 1 / 11).all()


def test_where_there_is_nothing_to_find_p_values_are_spread_evenly():
    """Of 16 markets without a signal: a uniform p-value of eleven steps has mean 0.545, and a tenth is at 1/11."""
    p = np.array([null_relevance(model(max_iter=1), *market(seed, 20, 20, 0.0), random_state=seed).table()["p_value"]
                  for seed in range(16)])  # fmt: skip
    assert 0.45 < p.mean() < 0.64
    assert 0.03 < (p == p.min()).mean() < 0.18


# --------------------------------------------------------------------------------------------------------- models


def test_the_same_seed_gives_the_same_bits_and_nothing_else_is_touched(small):
    X, y = small
    given = model()
    before, others = np.random.get_state()[1].copy(), (X.copy(), y.copy())  # noqa: NPY002
    one, two, third = (null_relevance(given, X, y, 2, random_state=seed) for seed in (7, 7, 8))
    same_bits(one.null, two.null)
    assert not one.null.equals(third.null)
    same_bits(one.actual, third.actual)
    assert not hasattr(given, "network_")
    assert given.get_params() == model().get_params()
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert X.equals(others[0])
    assert y.equals(others[1])
    same_bits(null_relevance(clone(given).fit(X, y), X, y, 2, random_state=7).null, one.null)


def test_only_the_model_itself_warns(small):
    with pytest.warns(ConservationWarning) as caught:
        null_relevance(model(rule="rudder"), *small, 3)
    assert len(caught) == 1
    with pytest.warns(ConvergenceWarning) as caught:
        null_relevance(model(max_iter=3, n_iter_no_change=2, tol=0), *small, 3)
    assert len(caught) == 1
    assert caught[0].filename == __file__


class Neighboured(LSTMRegressor):
    """Another thread warns while this is fitted."""

    def fit(self, X, y, sample_weight=None):
        thread = threading.Thread(target=warnings.warn, args=("another thread's", ConservationWarning))
        thread.start()
        thread.join()
        return super().fit(X, y, sample_weight)


def test_other_threads_still_warn(small):
    with pytest.warns(ConservationWarning) as caught:
        null_relevance(model(Neighboured, rule="rudder"), *small, 3)
    assert [str(one.message) for one in caught].count("another thread's") == 4
    assert len(caught) == 5


def test_pipelines_and_rolling_models(small, tmp_path):
    X, y = small
    scaler = StandardScaler().set_output(transform="pandas")
    pipeline = make_pipeline(scaler, "passthrough", model())
    got = null_relevance(pipeline, X, y, 2)
    scaled = clone(scaler).fit_transform(X)
    close(got.actual, model().fit(scaled, y).explain(scaled).share().mean(), 1e-6)
    close(null_relevance(make_pipeline(model()), X, y, 1).actual, model().fit(X, y).explain(X).share().mean(), 1e-6)
    rolling = RollingLSTM(model(), window=8, step=2, directory=tmp_path / "fits")
    got = null_relevance(rolling, X, y, 2)
    close(got.actual, clone(rolling).set_params(directory=None).fit(X, y).explain(X).share().mean(), 1e-6)
    assert not (got.null == got.actual).any(axis=None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "n= takes a whole number of at least 1, not 0"),
        ({"statistic": "sum"}, "statistic= takes 'abs', 'mean' or 'share', not 'sum'"),
        ({"by": "lag"}, "by= takes 'feature', 'step' or 'both', not 'lag'"),
        ({"model": RandomForestRegressor()}, "a pipeline that ends in one, not RandomForestRegressor: it has to be"),
        ({"model": make_pipeline(StandardScaler())}, "not StandardScaler"),
        ({"model": LSTMRegressor}, "not type"),
        ({"model": Network([LSTM(np.ones((3, 4)), np.ones((1, 4)))])}, "not Network"),
        ({"y": None}, "y to be passed"),
        ({"y": np.ones(3)}, "y has shape"),
        ({"rule": "shap"}, "shap"),
        ({"target": "z"}, "target"),
        ({"random_state": "x"}, "seed"),
    ],
)
def test_what_is_refused(small, given, message):
    X, y = small
    given = {"model": model(max_iter=1), "X": X, "y": y, **given}
    with pytest.raises(ValueError, match=message):
        null_relevance(**given)


def test_a_level_is_a_share(small):
    result = null_relevance(model(max_iter=1), *small, 1)
    assert result.table(1)["line"].equals(result.null.iloc[0].rename("line"))
    for level in (0, 95, "0.95"):
        with pytest.raises(ValueError, match="level= takes a number above 0 and at most 1"):
            result.table(level)
