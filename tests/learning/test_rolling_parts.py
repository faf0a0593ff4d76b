"""Many networks over parts of one panel: each row as its own network gives it for its own window, by hand."""

from __future__ import annotations

import copy
import itertools
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastlrp as fl
from fastlrp.explain import predict_windows
from fastlrp.kernels import get_backend
from fastlrp.kernels.cpu import host
from fastlrp.learning import dealing, rolling_parts
from fastlrp.learning.dealing import deal
from fastlrp.learning.parameters import first_network
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.rolling import RollingLSTM
from fastlrp.learning.rolling_data import scaled
from fastlrp.learning.rolling_parts import predictors
from fastlrp.panels.samples import from_array, from_panel

T, WINDOW, MONTHS = 3, 8, 30
TOTALS = ("prediction", "score", "initial_state", "unattributed")


def panel(rng, stocks: int = 7, features: int = 5, *, missing: float = 0.02, dtype: str = "float64") -> pd.DataFrame:
    """Unbalanced: histories begin and end anywhere, months are absent, values are missing, rows are in no order."""
    dates = pd.date_range("2001-01-31", periods=MONTHS, freq=pd.offsets.MonthEnd())
    rows = [(date, f"s{k}") for k in range(stocks) for date in dates[rng.integers(0, 9) : MONTHS - rng.integers(0, 5)]]
    index = pd.MultiIndex.from_tuples(rows, names=["month", "stock"])
    X = pd.DataFrame(rng.standard_normal((len(rows), features)), index, list("abcdefgh")[:features])
    X = X.where(rng.random(X.shape) > missing).astype(dtype)
    return X.iloc[rng.permutation(len(rows))[: len(rows) - 10]]


def fitted(X, rng, *, outputs: int = 1, dtype: str = "float32", without=(), network=None, **given) -> RollingLSTM:
    """As after a fit, with drawn networks and scalings."""
    model = RollingLSTM(LSTMRegressor(units=(4,), steps=T, dtype=dtype, **(network or {})), window=WINDOW, **given)
    dates = X.index.unique("month").sort_values() if isinstance(X.index, pd.MultiIndex) else X.index
    model.steps_ = T
    K, D = len(model._spans(len(dates))), X.shape[1]
    names = {"features": tuple(X.columns), "outputs": tuple("uvw"[:outputs]) if outputs > 1 else None}
    model.networks_ = [
        first_network(model.estimator, D, outputs, k, np.dtype(dtype), steps=T, **names) for k in range(K)
    ]
    for k in without:
        model.networks_[k] = None
    model.centers_ = (10 * rng.standard_normal((K, D))).astype(dtype)
    model.scales_ = rng.uniform(1, 3, (K, D)).astype(dtype)
    model.times_, model._net_names, model.target_transformers_ = dates, names, [None] * K
    model._flat_target, model._n_outputs = outputs == 1, outputs
    model._first, model._step, model._target = WINDOW + model.gap, model.step, None
    return model


def by_hand(model: RollingLSTM, X: pd.DataFrame, **ask):
    """Row by row: the model of its month, by counting; its window, by looking up each month; its own explain."""
    months = list(model.times_)
    keys = {(row.month, row.stock): k for k, row in enumerate(X.index.to_frame().itertuples())}
    values = X.to_numpy(np.float64 if (X.dtypes == "float64").any() else X.dtypes.iloc[0])
    found = {}
    for (month, stock), row in keys.items():
        rank = sum(time <= month for time in months) - 1
        k = min((rank - WINDOW - model.gap) // model.step, len(model.networks_) - 1)
        at = [keys.get((month - pd.offsets.MonthEnd(T - 1 - t), stock)) for t in range(T)]
        if rank < WINDOW + model.gap or None in at or np.isnan(values[at]).any() or model.networks_[k] is None:
            continue
        window = ((values[at] - model.centers_[k]) / model.scales_[k]).astype(model.centers_.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fl.ConservationWarning)
            found[row] = model.networks_[k].explain(window[None], **ask)
    return found


def same_as_by_hand(model: RollingLSTM, X: pd.DataFrame, **ask) -> None:
    """Bit for bit: a window gets the same operations in the same order, in whatever part it stands."""
    relevance, found = model.explain(X, **ask), by_hand(model, X, **ask)  # in this order: networks keep plans by hand
    assert len(found) > 20
    assert_array_equal(relevance.missing, [row not in found for row in range(len(X))])
    for row, one in found.items():
        assert_array_equal(relevance.values[row], one.values[0])
        for name in TOTALS:
            assert_array_equal(getattr(relevance, name)[row], getattr(one, name)[0])
    predicted = model.predict(X)
    tol = 0 if relevance.rule.hands_down else 1e-6  # gradients go forward by other instructions
    assert_allclose(relevance.prediction, predicted, rtol=0, atol=tol * np.nanmax(np.abs(predicted)))
    assert relevance.index.equals(X.index)


@pytest.mark.parametrize(
    ("given", "dtype", "frame"),
    [
        ({}, "float32", "float64"),
        ({"step": 5}, "float32", "float32"),
        ({"step": 4, "gap": 2, "expanding": True}, "float64", "float64"),
        ({"step": 100}, "float64", "float32"),
    ],
)
def test_every_row_is_its_own_models(rng, given, dtype, frame):
    X = panel(rng, dtype=frame)
    same_as_by_hand(fitted(X, rng, dtype=dtype, **given), X)


@pytest.mark.parametrize(
    "ask",
    [
        {"rule": "rudder"},
        {"reduce": "steps"},
        {"rule": fl.Arras(recurrent=False)},
        {"rule": "gradient_x_input"},
        {"rule": fl.IntegratedGradients(4)},
        {"rule": fl.IntegratedGradients(4, baseline=[0.5, -1.0, 2.0, 0.0, 0.3]), "reduce": "steps"},
        {"rule": fl.IntegratedGradients(4, baseline=0.1 * np.arange(3 * 5).reshape(3, 5))},
    ],
)
@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
def test_rules_and_sums(rng, ask):
    X = panel(rng)
    same_as_by_hand(fitted(X, rng, step=3), X, **ask)


def test_rules_that_do_not_fit(rng):
    X = panel(rng)
    model = fitted(X, rng, step=3)
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(5,\) or \(3, 5\)"):
        model.explain(X, rule=fl.IntegratedGradients(baseline=[1, 2]))
    model.estimator.device = "cuda"
    with pytest.raises(ValueError, match="'gradient_x_input' is computed on the CPU alone"):
        model.explain(X, rule="gradient_x_input")


def test_several_outputs_and_windows_without_a_network(rng):
    X = panel(rng)
    model = fitted(X, rng, step=2, outputs=3, without=(0, 4), network={"bidirectional": True, "dense_units": (3,)})
    same_as_by_hand(model, X, target="v")
    assert list(model.predict(X).columns) == ["u", "v", "w"]


def test_a_later_frame_and_other_orders(rng):
    X = panel(rng)
    early = X[X.index.get_level_values("month") < pd.Timestamp("2002-09-01")]
    model = fitted(early, rng, step=3)
    same_as_by_hand(model, X)
    expected = model.predict(X)
    for other in (X.sort_index(), X.swaplevel(), X.swaplevel().sort_index(), X[X.columns[::-1]], X.iloc[::-1]):
        again = model.predict(other)
        assert again.index.equals(other.index)
        again = again if again.index.names == X.index.names else again.swaplevel()
        assert_array_equal(again.reindex(X.index), expected)


def test_mixed_columns(rng):
    """Columns of several dtypes, read each from its own memory, in float64."""
    X = panel(rng).assign(a=1.5).astype({"a": "float32"})
    X["b"] = rng.integers(0, 9, len(X))
    X["c"] = pd.array(np.where(X["c"].isna(), None, X["c"]), "Float64")
    X["d"] = rng.random(len(X)) < 0.5
    plain = X.astype("float64")
    model = fitted(plain, rng, step=3)
    same_as_by_hand(model, plain)
    assert_array_equal(model.explain(X).values, model.explain(plain).values)
    whole = panel(rng, missing=0).round().astype("int64")  # one block, but not of floating-point numbers
    assert_array_equal(model.predict(whole), model.predict(whole.astype("float64")))


def test_one_row_a_time(rng):
    months = pd.date_range("2001-01-31", periods=MONTHS, freq=pd.offsets.MonthEnd(), name="month")
    X = pd.DataFrame(rng.standard_normal((MONTHS, 5)), months, list("abcde")).drop(index=months[17])
    model = fitted(X, rng, step=2)
    found = by_hand(model, X.set_axis(pd.MultiIndex.from_product([X.index, ["s"]], names=["month", "stock"])))
    relevance = model.explain(X)
    assert len(found) == len(X) - WINDOW - (T - 1)  # the windows that reach over the absent month
    assert_array_equal(relevance.missing, [row not in found for row in range(len(X))])
    for row, one in found.items():
        assert_array_equal(relevance.values[row], one.values[0])
    assert_array_equal(model.predict(X), relevance.prediction)


@pytest.mark.parametrize(("steps", "stocks"), [(1, 40), (4, 40)])
def test_threads_and_sizes_of_parts_do_not_matter(rng, monkeypatch, steps, stocks):
    """With months shared, with windows loaded each by itself, and with runs cut into pieces: the same bits."""
    X = panel(rng, stocks=stocks, missing=0.001)
    seen = []
    for threads, part_bytes, fewest, step in itertools.product((1, 2, 3), (1 << 20, 1 << 10), (256, 8), (steps, 9)):
        monkeypatch.setattr(rolling_parts, "PART_BYTES", part_bytes)
        monkeypatch.setattr(dealing, "FEWEST_ROWS", fewest)
        model = fitted(X, np.random.default_rng(3), step=step, network={"threads": threads})
        relevance = model.explain(X)
        seen.append((step, relevance))
        first = next(one for other, one in seen if other == step)
        assert_array_equal(relevance.values, first.values)
        assert_array_equal(model.predict(X), first.prediction)


@pytest.mark.parametrize(("step", "shared"), [(1, False), (10, True)])
def test_parts_hold_every_window_once(rng, step, shared):
    """And both ways through the kernels are among these tests."""
    X = panel(rng, stocks=40)
    rolled = fitted(X, rng, step=step)._rolled(X)
    for most, threads in itertools.product((10, 1000, 10_000), (1, 7)):
        parts, done = deal(rolled.who, T, most, threads), np.full(len(rolled.who), -1)
        for part in parts:
            for begin, stop in zip(part.begin, part.stop, strict=True):
                assert (done[begin:stop] == -1).all()
                done[begin:stop] = part.k
            assert (part.stop - part.begin + T - 1).sum() <= 2 * max(most, dealing.FEWEST_ROWS)
        assert_array_equal(done, rolled.who)
    assert any(host._cut(rolled.windows(part), T, 1).months > 0 for part in parts) == shared


def test_only_rows_with_a_window_are_written(rng):
    """A backend that is given results leaves other rows as they are."""
    X = panel(rng)
    model = fitted(X, rng, step=30, network={"threads": 1})
    rolled = model._rolled(X)
    results = rolled._allocate(model.networks_[0], fl.Arras(), reduced=False)
    for array in results:
        array.fill(7)
    (part,) = deal(rolled.who, T, 10_000, 1)
    host.run_into(results, model.networks_[0], rolled.windows(part), T, rule=fl.Arras(), threads=1)
    order = rolled.panel.order
    assert (results.values[order[rolled.who < 0]] == 7).all()
    assert not (results.values[order[rolled.who >= 0]] == 7).any()
    assert len(host.run(model.networks_[0], rolled.windows(part), T).prediction) == len(rolled.windows(part).rows)


def test_a_backend_that_cannot_write_in_place(rng, monkeypatch):
    """Others compute each part by itself, and its results are copied to their places."""
    X = panel(rng)
    model = fitted(X, rng, step=4)
    expected, cpu = model.explain(X), get_backend("cpu")

    class Other:
        @staticmethod
        def run(*arguments, **given):
            return cpu.run(*arguments, **given)

    monkeypatch.setattr("fastlrp.explain.get_backend", lambda device, *rest: cpu if device == "cpu" else Other)
    other = model.set_params(estimator__device="auto").explain(X)
    assert_array_equal(other.values, expected.values)
    assert_array_equal(model.predict(X), expected.prediction)

    class Failing:
        @staticmethod
        def run(*arguments, **given):
            raise RuntimeError("the GPU failed: it is full")

    monkeypatch.setattr("fastlrp.explain.get_backend", lambda device, *rest: cpu if device == "cpu" else Failing)
    with pytest.warns(RuntimeWarning, match="computed on the CPU instead: the GPU failed: it is full"):
        assert_array_equal(model.predict(X), expected.prediction)


def test_infinities_are_refused_where_they_stand(rng):
    X = panel(rng, missing=0)
    model = fitted(X, rng, step=3)
    first, last = (
        X.index[X.index.get_level_values("month").argmin()],
        X.index[X.index.get_level_values("month").argmax()],
    )
    for month, stock in (first, last):  # one that no model's window reads, and one that some do
        other = X.copy()
        other.loc[(month, stock), "c"] = np.inf
        for method in (model.predict, model.explain):
            message = rf"the input is infinite \(inf\) at feature 'c' at month {month.date()}, stock {stock}; expected"
            with pytest.raises(ValueError, match=message):
                method(other)
    other = X.copy()
    other.loc[last, "c"] = 1e300
    with pytest.raises(ValueError, match=r"X has a value that is too large for float32 once it is scaled, expected"):
        model.predict(other)


def test_scaled_is_what_predictions_see(rng):
    """Training's scaling in NumPy and the compiled one of predictions give the same bits."""
    from fastlrp.kernels.cpu.scaling import scale_rows

    for given, model, order in itertools.product(("f4", "f8"), ("f4", "f8"), "CF"):
        X = np.array(1e3 * rng.standard_normal((50, 7)), given, order=order)
        X[3, 2], X[4, 1] = np.nan, np.inf
        center, scale = (rng.uniform(1, 3, 7).astype(model) for _ in range(2))
        at, rows = rng.integers(0, 50, 30), np.empty((30, 7), model)
        X.flags.writeable = False
        scale_rows(X, at, center, scale, rows)
        expected = scaled(X[at], center, scale, model)
        assert expected.dtype == model
        assert_array_equal(rows, expected)


def test_precision_is_that_of_the_frame(rng):
    """1e8 + x: cast to float32 first, x would be lost."""
    X = panel(rng, missing=0)
    near = fitted(X, rng, step=3)
    near.centers_[:], near.scales_[:] = 0, 1
    far = copy.copy(near)
    far.centers_ = np.full_like(near.centers_, 2.0**27)
    X = X.round(3).mul(2**20).round().div(2**20)  # exact in float64 beside 2**27
    assert_array_equal(far.predict(X + 2.0**27), near.predict(X))


def test_predictors(rng):
    months = pd.period_range("2001-01", periods=12, freq="M")
    asked = pd.period_range("2001-02", periods=13, freq="M")
    assert_array_equal(predictors(asked, months, 5, 3, 3), [-1] * 4 + [0] * 3 + [1] * 3 + [2] * 3)
    mixed = pd.Index([3, 1, 2])
    assert_array_equal(predictors(pd.Index([2, 3, 9]), mixed, 1, 1, 2), [1, -1, -1])
    with pytest.raises(ValueError, match=r"X has times such as 'x' \(.*\), expected times like those of fit, '1' \("):
        predictors(pd.Index(["x"]), pd.Index([1, 2]), 1, 1, 1)


def test_months_are_the_same_however_they_are_written():
    ends = pd.date_range("2001-01-31", periods=24, freq="ME")
    spelled = [
        ends, ends.to_period("M"), ends.tz_localize("Pacific/Auckland"), ends - pd.offsets.MonthBegin(), ends.date,
        ends.strftime("%Y-%m"), ends.strftime("%Y%m").astype(int), ends + pd.Timedelta("16h"), ends.as_unit("s"),
        pd.CategoricalIndex(ends), ends.to_period("D"),
    ]  # fmt: skip
    asked = slice(8, 21)
    want = predictors(ends[asked], ends, 10, 3, 4)
    assert_array_equal(want, [-1] * 2 + [0] * 3 + [1] * 3 + [2] * 3 + [3] * 2)
    for known in map(pd.Index, spelled):
        for times in map(pd.Index, spelled):
            assert_array_equal(predictors(times[asked], known, 10, 3, 4), want)


def test_quarters_that_begin_are_not_those_that_end():
    """A first day would be taken for one of the quarter before."""
    ends = pd.date_range("2001-03-31", periods=12, freq="QE")
    assert_array_equal(predictors(ends[5:8], ends, 6, 1, 9), [-1, 0, 1])
    for times in (ends.to_period("Q"), ends - pd.offsets.QuarterBegin(startingMonth=1)):
        with pytest.raises(
            ValueError, match=r"X has times such as .2001.*, but those of fit are 3 months apart, .2001-03"
        ):
            predictors(times[:3], ends, 6, 1, 9)


def test_days_are_compared_as_they_are():
    days = pd.date_range("2001-01-01", periods=60, freq="D")
    for times in (days[20:24], pd.Index(days[20:24].date)):
        assert_array_equal(predictors(times, days, 21, 2, 9), [-1, 0, 0, 1])
    with pytest.raises(ValueError, match=r"times such as '2001-01-21' \(datetime64\[.*, UTC\]\), expected times like"):
        predictors(days[20:24].tz_localize("UTC"), days, 21, 2, 9)


def test_no_window_at_all(rng):
    X = panel(rng)
    model = fitted(X, rng, step=3)
    early = X[X.index.get_level_values("month") < model.times_[WINDOW]]
    assert model.predict(early).isna().all()
    assert model.explain(early).missing.all()


@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
def test_progress_counts_samples(rng, capsys):
    X = panel(rng)
    model = fitted(X, rng, step=3)
    model.explain(X, progress=True)
    n = len(model._rolled(X))
    assert "RollingLSTM.explain: 100%" in (shown := capsys.readouterr().err)
    assert f"{n}/{n}" in shown


@pytest.mark.parametrize(("step", "order"), [(1, "C"), (12, "F"), (100, "C")])
def test_memory(rng, step, order):
    """Beside panel and result, at most a fifth of the panel: here 60 stocks, 240 months, 40 features."""
    dates = pd.date_range("2001-01-31", periods=240, freq=pd.offsets.MonthEnd())
    index = pd.MultiIndex.from_product([dates, range(60)], names=["month", "stock"])
    X = pd.DataFrame(
        np.asarray(rng.standard_normal((len(index), 40)), order=order), index, [f"f{k}" for k in range(40)]
    )
    model = fitted(X, rng, step=step, network={"threads": 2})
    first = model.explain(X)  # kept, so that its memory is not used again; that of threads' scratch is
    tracemalloc.start()
    relevance = model.explain(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_array_equal(relevance.prediction, first.prediction)
    own = relevance.values.nbytes + sum(np.asarray(getattr(relevance, name)).nbytes for name in TOTALS)
    assert peak - own < 0.2 * X.to_numpy().nbytes


def test_windows_of_samples(rng):
    """Held-out samples are predicted where they stand, in any order, from panels and from arrays."""
    X = panel(rng)
    net = fitted(X, rng).networks_[0]
    given = rng.standard_normal((40, T, 5)).astype(np.float32)
    for samples in (from_panel(X, T, None, "float32"), from_array(given, T)):
        some = samples.take(rng.permutation(len(samples))[:33])
        got = predict_windows(net, some.in_place(), T, device="cpu", threads=2)
        assert_array_equal(got[:, 0], net.predict(some.rows[some.starts[:, None] + np.arange(some.steps)]))
