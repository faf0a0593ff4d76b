"""LSTMRegressor: scikit-learn's own suite, its tools, the three forms of X, and every refusal."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastlrp import ConservationWarning, Rudder
from fastlrp.data import load_panel
from fastlrp.kernels.training.threads import Stop
from fastlrp.learning.architecture import Architecture
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.training import Schedule, train
from fastlrp.model.layers import LSTM, Dense
from fastlrp.panels.samples import Samples

STEPS = 4


def model(**changes) -> LSTMRegressor:
    """A small regressor that trains for exactly its epochs."""
    given = {"units": (5,), "max_iter": 4, "n_iter_no_change": 1000, "learning_rate_init": 0.01, "random_state": 3}
    return LSTMRegressor(**{**given, **changes})


@pytest.fixture(scope="module")
def real() -> tuple[pd.DataFrame, pd.Series]:
    """Six stocks, sixty months, five characteristics; the target is missing in the last month."""
    X, y = load_panel(target=True)
    months, stocks = X.index.unique("month")[-60:], X.index.unique("stock")[:6]
    rows = X.index.get_level_values(0).isin(months) & X.index.get_level_values(1).isin(stocks)
    return X.loc[rows].iloc[:, :5].copy(), 10 * y.loc[rows]


@pytest.fixture
def cube(rng) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((80, STEPS, 3)).astype(np.float32)
    return X, np.tanh(X[:, -1, 0]) + 0.5 * X[:, -2, 1]


# ------------------------------------------------------------------------------------------------ scikit-learn's suite

SUITE = [
    # One batch, so that weights and repetitions give the same sum; X's own dtype, float64, so that they agree to 1e-7.
    LSTMRegressor(units=(8,), batch_size=256, max_iter=60, n_iter_no_change=60, learning_rate_init=0.02, dtype=None),
    LSTMRegressor(max_iter=40, n_iter_no_change=40, learning_rate_init=0.02),
    LSTMRegressor((4, 3), (5,), bidirectional=True, max_iter=60, n_iter_no_change=60, learning_rate_init=0.02),
]


def expected_failures(estimator: LSTMRegressor) -> dict[str, str]:
    if estimator.dtype is None:
        return {}
    return {
        "check_sample_weight_equivalence_on_dense_data": "equal to 1e-7 is out of reach in float32, and batches differ",
        "check_regressor_multioutput": "asks for float64 predictions; these are float32, as they are computed",
    }


@pytest.mark.filterwarnings("ignore:y is constant")
@parametrize_with_checks(SUITE, expected_failed_checks=expected_failures)
def test_scikit_learn_suite(estimator, check):
    check(estimator)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_dtype_none_follows_x(cube, real, kind):
    X, y = cube
    fitted = model(dtype=None).fit(X.astype(kind), y)
    assert (fitted.network_.dtype, fitted.predict(X).dtype, fitted.explain(X).values.dtype) == (kind, kind, kind)
    assert_array_equal(fitted.predict(X), model(dtype=np.dtype(kind).name).fit(X, y).predict(X))
    panel, target = real
    assert model(dtype=None, steps=STEPS).fit(panel.astype(kind), target).predict(panel).dtype == kind


def test_suite_is_not_hollow():
    tags = LSTMRegressor().__sklearn_tags__()
    assert tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert not tags._skip_test
    assert not tags.no_validation
    assert not tags.non_deterministic


# --------------------------------------------------------------------------------------------- scikit-learn's tools


def test_grid_search_over_time(real):
    X, y = real
    X = X.sort_index(level="month")
    y = y.reindex(X.index)
    search = GridSearchCV(model(steps=STEPS), {"units": [(3,), (5,)]}, cv=TimeSeriesSplit(3), error_score="raise")
    search.fit(X, y)
    assert search.best_params_["units"] in [(3,), (5,)]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).index.equals(X.index)


def test_cross_val_score_in_processes(cube):
    X, y = cube
    scores = cross_val_score(model(), X, y, cv=3, n_jobs=2, error_score="raise")
    assert_array_equal(scores, cross_val_score(model(), X, y, cv=3))


def test_transformed_target(cube, real):
    X, y = cube
    shifted = TransformedTargetRegressor(model(max_iter=30), transformer=StandardScaler()).fit(X, 1000 + 5 * y)
    assert abs(shifted.predict(X).mean() - 1000) < 5
    panel, target = real
    known = target.notna()
    predicted = TransformedTargetRegressor(model(steps=STEPS), transformer=StandardScaler())
    predicted = predicted.fit(panel[known], target[known]).predict(panel[known])
    assert np.isnan(predicted).sum() == 6 * (STEPS - 1)


def test_stacking(cube):
    X, y = cube
    flat = X.reshape(len(X), -1)
    stack = StackingRegressor([("lstm", model(steps=STEPS)), ("ols", LinearRegression())], cv=3).fit(flat, y)
    assert stack.predict(flat).shape == y.shape
    assert stack.named_estimators_["lstm"].network_.steps == STEPS


def test_pipeline_on_a_panel(real):
    X, y = real
    pipe = make_pipeline(StandardScaler().set_output(transform="pandas"), model(steps=STEPS)).fit(X, y)
    predicted = pipe.predict(X)
    assert predicted.index.equals(X.index)
    assert_array_equal(pipe[-1].feature_names_in_, X.columns)
    relevance = pipe[-1].explain(pipe[:-1].transform(X))
    assert relevance.index.equals(X.index)
    assert_array_equal(relevance.prediction, predicted.to_numpy())
    assert np.isfinite(pipe.score(X, y))


@pytest.mark.parametrize("copy", ["pickle", "joblib", "skops"])
def test_state_is_plain(cube, tmp_path, copy):
    X, y = cube
    fitted = model(units=(3, 2), bidirectional=True, dense_units=(4,)).fit(X, y)
    state = fitted.__getstate__()
    assert all(plain(value) for value in state.values()), state
    if copy == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    elif copy == "joblib":
        joblib.dump(fitted, tmp_path / "model")
        again = joblib.load(tmp_path / "model")
    else:
        sio = pytest.importorskip("skops.io", reason="skops is not installed: its file format is not tried")
        data = sio.dumps(fitted)
        kinds = sio.get_untrusted_types(data=data)
        assert kinds == ["fastlrp.learning.regressor.LSTMRegressor"]
        again = sio.loads(data, trusted=kinds)
    assert_array_equal(again.predict(X), fitted.predict(X))
    assert again.network_ == fitted.network_
    assert_array_equal(again.partial_fit(X, y).predict(X), fitted.partial_fit(X, y).predict(X))


def plain(value) -> bool:
    """Arrays, numbers, strings, and lists, tuples and dicts of them."""
    if isinstance(value, dict):
        return all(map(plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or isinstance(value, np.ndarray | str | int | float | bool)


def test_clone_and_repr(cube):
    fitted = model(rule=Rudder(eps=0.01)).fit(*cube)
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    assert not hasattr(again, "network_")
    assert "LSTMRegressor" in repr(fitted)
    with pytest.raises(NotFittedError):
        again.predict(cube[0])


# ---------------------------------------------------------------------------------------------------- forms of X


def test_three_forms_are_one(real):
    X, y = real
    wide = {stock: part.to_numpy() for stock, part in X.groupby(level="stock")}
    ends = [(k, stock) for stock in sorted(wide) for k in range(STEPS - 1, 59)]  # the last month has no target
    cube = np.array([wide[stock][k - STEPS + 1 : k + 1] for k, stock in ends])
    months = X.index.unique("month")
    target = np.array([y[(months[k], stock)] for k, stock in ends])
    flat = cube.reshape(len(cube), -1)
    on_cube, on_flat, on_panel = (model(steps=STEPS).fit(*data) for data in ((cube, target), (flat, target), (X, y)))
    assert on_cube.n_features_in_ == on_panel.n_features_in_ == 5
    assert on_flat.n_features_in_ == 5 * STEPS
    for one in (on_cube, on_flat, on_panel):
        assert one.loss_curve_ == on_cube.loss_curve_
        for form in (cube, flat):
            assert_array_equal(one.predict(form), on_cube.predict(cube))
        series = one.predict(X)
        assert_array_equal([series[(months[k], stock)] for k, stock in ends], on_cube.predict(cube))
        assert_array_equal(one.explain(flat).values, on_cube.explain(cube).values)


def test_panel_rows_that_do_not_train(real, capsys):
    X, y = (frame.copy() for frame in real)
    X = X.drop(index=(X.index.unique("month")[20], X.index.unique("stock")[0]))  # removes STEPS windows and one row
    X.iloc[100, 2] = np.nan
    y = y.reindex(X.index)
    fitted = model(steps=STEPS, verbose=True).fit(X, y)
    full = fitted.predict(X).notna()
    lost = 6 * (STEPS - 1) + (STEPS - 1) + STEPS
    assert full.sum() == len(X) - lost
    assert fitted.n_windows_ == full.sum() - 6  # no target in the last month
    assert fitted.n_skipped_ == len(X) - fitted.n_windows_
    assert f"{fitted.n_windows_} of {len(X)} rows train: {lost} end no complete window of 4 steps, 6 have no" in (
        capsys.readouterr().out
    )


def test_masked_values_are_missing(real, cube):
    X, y = real
    hidden = np.arange(len(X)) % 5 == 0
    masked = np.ma.MaskedArray(y.to_numpy(), mask=hidden)
    fitted, plain = (model(steps=STEPS).fit(X, target) for target in (masked, y.mask(hidden)))
    assert fitted.n_windows_ == plain.n_windows_ < model(steps=STEPS).fit(X, y).n_windows_
    assert_array_equal(fitted.predict(X), plain.predict(X))
    assert fitted.score(X, masked) == plain.score(X, y.mask(hidden))
    X, y = cube
    hidden = np.arange(len(y)) == 3
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model().fit(X, np.ma.MaskedArray(y, mask=hidden))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model().fit(np.ma.MaskedArray(X, mask=X > 2), y)
    with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
        model().fit(X, y, sample_weight=np.ma.MaskedArray(np.ones(len(y)), mask=hidden))


def test_order_of_rows_does_not_matter(real, rng):
    X, y = real
    mixed = rng.permutation(len(X))
    straight = model(steps=STEPS).fit(X, y).predict(X)
    other = model(steps=STEPS).fit(X.iloc[mixed], y.iloc[mixed])
    assert_array_equal(other.predict(X), straight)
    assert_array_equal(other.predict(X[X.columns[::-1]]), straight)  # columns are found by name


def test_score_leaves_rows_without_prediction_out(real):
    X, y = real
    fitted = model(steps=STEPS).fit(X, y)
    predicted = fitted.predict(X)
    rows = predicted.notna() & y.notna()
    assert fitted.score(X, y) == pytest.approx(r2_score(y[rows], predicted[rows]))
    with pytest.raises(ValueError, match="nothing to score: none of the 6 rows has both"):
        fitted.score(X.iloc[-6:], y.iloc[-6:])


def test_several_targets(real):
    X, y = real
    both = pd.DataFrame({"next": y, "twice": 2 * y})
    fitted = model(steps=STEPS).fit(X, both)
    predicted = fitted.predict(X)
    assert list(predicted.columns) == ["next", "twice"]
    assert fitted.n_outputs_ == 2
    assert fitted.explain(X, target="twice").target == "twice"
    assert np.isfinite(fitted.score(X, both))
    one = model(steps=STEPS).fit(X, both[["next"]]).predict(X)
    assert list(one.columns) == ["next"]
    with pytest.raises(ValueError, match="y has 1 target, but the model was trained on 2"):
        fitted.partial_fit(X, y)


def test_column_target_of_an_array(cube):
    X, y = cube
    assert model().fit(X, y[:, None]).predict(X).shape == (80, 1)
    assert_array_equal(model().fit(X, y[:, None]).predict(X)[:, 0], model().fit(X, y).predict(X))


# ------------------------------------------------------------------------------------------------------- training


def test_learns(cube):
    X, y = cube
    for changes in ({}, {"units": (6, 4)}, {"bidirectional": True}, {"dense_units": (6,)}, {"loss": "huber"}):
        fitted = model(max_iter=150, **changes).fit(X, y)
        assert fitted.score(X, y) > 0.9, changes
        assert fitted.loss_curve_[-1] < fitted.loss_curve_[0] / 5
        assert fitted.best_loss_ == min(fitted.loss_curve_)
        assert (fitted.n_iter_, fitted.t_) == (150, 150 * 80)


def test_network_is_as_asked(cube):
    layers = model(units=(6, 4), dense_units=(3,), dropout=0.2).fit(*cube).network_.layers
    assert [layer.kind for layer in layers] == ["LSTM", "Dropout", "LSTM", "Dropout", "Dense", "Dropout", "Dense"]
    assert [layer.activation for layer in layers if isinstance(layer, Dense)] == ["relu", "linear"]
    both = model(units=(3,), bidirectional=True).fit(*cube).network_
    assert both.layers[0].n_outputs == 6


def test_first_weights_are_as_keras_draws_them():
    net = Architecture((32, 8)).network(20, 1, np.random.default_rng(0), np.float64)
    lstm = net.layers[0]
    assert isinstance(lstm, LSTM)
    assert_allclose(lstm.U @ lstm.U.T, np.eye(32), rtol=0, atol=1e-12)
    limit = np.sqrt(6 / (20 + 128))
    assert 0.95 * limit < abs(lstm.W).max() <= limit
    assert abs(lstm.W.std() / (limit / 3**0.5) - 1) < 0.05
    assert_array_equal(lstm.b, np.repeat([0.0, 1.0, 0.0, 0.0], 32))
    assert_array_equal(net.layers[-1].b, [0.0])


@pytest.mark.parametrize(("loss", "middle"), [("squared_error", np.mean), ("absolute_error", np.median)])
def test_losses_find_their_middle(rng, loss, middle):
    X, y = np.ones((400, 2, 1)), rng.exponential(2, 400)
    fitted = model(loss=loss, max_iter=300, batch_size=400, learning_rate_init=0.02, dtype="float64").fit(X, y)
    assert fitted.predict(X)[0] == pytest.approx(middle(y), abs=0.03)


def test_huber_is_between(rng):
    X, y = np.ones((400, 2, 1)), rng.exponential(2, 400)
    given = {"loss": "huber", "max_iter": 300, "batch_size": 400, "learning_rate_init": 0.02, "dtype": "float64"}
    middles = [model(huber_delta=delta, **given).fit(X, y).predict(X)[0] for delta in (0.1, 1.0, 100.0)]
    assert np.median(y) - 0.05 < middles[0] < middles[1] < middles[2] == pytest.approx(y.mean(), abs=0.03)


def test_alpha_shrinks_kernels(cube):
    free, held = (model(alpha=alpha, max_iter=60).fit(*cube) for alpha in (0.0, 20.0))
    assert (held.network_.layers[0].W ** 2).sum() < 0.5 * (free.network_.layers[0].W ** 2).sum()


def test_clipnorm_slows_a_leap(cube):
    X, y = cube
    free = model(max_iter=1).fit(X, 1e3 * y)
    held = model(max_iter=1, clipnorm=1e-9).fit(X, 1e3 * y)  # below epsilon, so that Adam cannot scale it up again
    start = Architecture((5,)).network(3, 1, np.random.default_rng((free._seed,)), np.float32).layers[-1].W
    assert abs(held.network_.layers[-1].W - start).max() < 0.5 * abs(free.network_.layers[-1].W - start).max()


def test_dropout_is_only_in_training(cube):
    X, y = cube
    wet, dry = model(dropout=0.5).fit(X, y), model().fit(X, y)
    assert wet.loss_curve_ != dry.loss_curve_
    assert_array_equal(wet.predict(X), wet.predict(X))
    assert_array_equal(wet.predict(X[:7]), wet.predict(X)[:7])


def test_same_seed_same_bits(cube):
    X, y = cube
    one = model(dropout=0.3).fit(X, y).predict(X)
    for threads in (1, 2, 3):
        assert_array_equal(model(dropout=0.3, threads=threads).fit(X, y).predict(X), one)
    assert_array_equal(model(dropout=0.3, random_state=np.random.RandomState(3)).fit(X, y).predict(X), one)
    assert (model(dropout=0.3, random_state=4).fit(X, y).predict(X) != one).any()
    assert (model(random_state=None).fit(X, y).predict(X) != model(random_state=None).fit(X, y).predict(X)).any()


def test_partial_fits_are_a_fit(cube):
    X, y = cube
    whole = model(dropout=0.2, max_iter=3).fit(X, y)
    parts = model(dropout=0.2)
    for _ in range(3):
        parts.partial_fit(X, y)
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.t_ == whole.t_ == 240
    assert parts.n_iter_ == 1
    assert_array_equal(parts.predict(X), whole.predict(X))


def test_warm_start_goes_on(cube):
    X, y = cube
    warm = model(warm_start=True).fit(X, y)
    before = warm.loss_curve_
    warm.set_params(max_iter=2).fit(X, y)
    assert warm.loss_curve_[:4] == before
    assert len(warm.loss_curve_) == 6
    assert warm.loss_curve_[4] < before[0]
    cold = model().fit(X, y).fit(X, y)
    assert len(cold.loss_curve_) == 4
    with pytest.raises(ValueError, match=r"X has shape \(80, 3, 3\), expected \(n, 4, 3\)"):
        warm.fit(X[:, 1:], y)


def test_zero_weight_is_absence(cube, rng):
    X, y = cube
    weight = rng.integers(0, 3, len(X)).astype(float)
    kept = weight > 0
    with_zeros = model().fit(X, y, sample_weight=weight)
    without = model().fit(X[kept], y[kept], sample_weight=weight[kept])
    assert with_zeros.loss_curve_ == without.loss_curve_
    assert with_zeros.n_windows_ == kept.sum()
    equal = model().fit(X, y, sample_weight=np.full(len(X), 7.0))
    assert_allclose(equal.loss_curve_, model().fit(X, y).loss_curve_, rtol=1e-5)


def test_weights_of_a_panel(real):
    X, y = real
    weight = pd.Series(np.arange(len(X)) % 3, index=X.index)
    fitted = model(steps=STEPS).fit(X, y, sample_weight=weight)
    assert fitted.n_windows_ == sum((weight > 0) & y.notna() & fitted.predict(X).notna())


def test_early_stopping_holds_out_the_last_months(real):
    X, y = real
    fitted = model(steps=STEPS, early_stopping=True, validation_fraction=0.25, max_iter=12).fit(X, y)
    months = X.index.unique("month")
    ends = months[STEPS - 1 : 59]  # months that train or validate
    last = X.index.get_level_values("month").isin(ends[-round(0.25 * len(ends)) :])
    predicted = fitted.predict(X)
    assert len(fitted.validation_scores_) == fitted.n_iter_
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    assert fitted.best_validation_score_ == pytest.approx(r2_score(y[last], predicted[last]), abs=1e-6)
    assert fitted.best_loss_ is None
    assert fitted.t_ == fitted.n_iter_ * 6 * (len(ends) - round(0.25 * len(ends)))


def test_early_stopping_of_arrays(cube):
    X, y = cube
    ordered = model(early_stopping=True, shuffle=False, max_iter=6).fit(X, y)
    assert ordered.best_validation_score_ == pytest.approx(r2_score(y[-8:], ordered.predict(X[-8:])), abs=1e-6)
    mixed = model(early_stopping=True, max_iter=6).fit(X, y)
    assert mixed.best_validation_score_ != pytest.approx(r2_score(y[-8:], mixed.predict(X[-8:])), abs=1e-6)
    with pytest.raises(ValueError, match="validation set would have 1 of 5 samples, expected at least 2"):
        model(early_stopping=True).fit(X[:5], y[:5])
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        model(early_stopping=True).partial_fit(X, y)


def test_stops_when_nothing_improves(cube, capsys):
    X, y = cube
    fitted = model(max_iter=200, tol=1e6, n_iter_no_change=3, verbose=True).fit(X, y)
    assert fitted.n_iter_ == 5  # the first epoch improves, then more than three do not
    assert "training loss did not improve by more than tol (" in capsys.readouterr().out
    with pytest.warns(ConvergenceWarning, match=r"maximum of 4 epochs \(max_iter\) was reached"):
        model(n_iter_no_change=3).fit(X, y)


def test_stops_when_no_score_improves(cube, capsys):
    X, y = cube
    fitted = model(max_iter=200, tol=1e6, n_iter_no_change=3, early_stopping=True, verbose=True).fit(X, y)
    assert fitted.n_iter_ == 5
    assert "validation score did not improve by more than tol (" in capsys.readouterr().out


def test_progress(cube, capsys, monkeypatch):
    model(verbose=True).fit(*cube)
    shown = capsys.readouterr().err
    assert "LSTMRegressor" in shown
    assert "loss" in shown
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model(verbose=True).fit(*cube)
    assert "epoch 4/4, loss" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------- explain


def test_explain(real):
    X, y = real
    fitted = model(steps=STEPS, dtype="float64").fit(X, y)
    relevance = fitted.explain(X)
    assert relevance.rule.name == "arras"
    assert relevance.features == tuple(X.columns)
    assert_array_equal(relevance.values, fitted.network_.explain(X, dtype="float64").values)
    total = relevance.values.sum(axis=(1, 2)) + relevance.initial_state + relevance.unattributed
    rows = fitted.predict(X).notna()
    assert_allclose(total[rows], fitted.predict(X)[rows], rtol=0, atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)
        assert fitted.explain(X, rule=Rudder(), reduce="steps").values.shape == (len(X), 5)
        assert model(steps=STEPS, rule="rudder").fit(X, y).explain(X).rule == Rudder()


def test_named_columns(cube, rng):
    frame = pd.DataFrame(rng.standard_normal((30, 2)), columns=["beta", "size"])
    assert model().fit(frame, frame["beta"]).network_.features == ("beta", "size")
    wide = pd.DataFrame(rng.standard_normal((30, 4)), columns=list("abcd"))
    fitted = model(steps=2).fit(wide, wide["a"])
    assert fitted.network_.features is None
    assert_array_equal(fitted.feature_names_in_, list("abcd"))
    fitted.set_params(steps=None).fit(*cube)
    assert not hasattr(fitted, "feature_names_in_")


def test_fastlrp_alone_does_not_import_scikit_learn():
    code = "import fastlrp, sys; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------------- bad input

BAD_PARAMETERS = [
    *[("units", value, "a tuple of whole numbers of at least 1, one a layer") for value in ((), (0,), 16)],
    ("dense_units", (2.5,), "a tuple of whole numbers of at least 1, one a layer"),
    ("bidirectional", 1, "True or False"),
    ("dropout", 1.0, "a number from 0 to below 1"),
    ("alpha", -1, "a number of at least 0"),
    ("steps", 0, "a whole number of at least 1, or None"),
    ("batch_size", 0, "a whole number of at least 1"),
    ("learning_rate_init", 0, "a positive number"),
    ("max_iter", 1.5, "a whole number of at least 1"),
    ("shuffle", "yes", "True or False"),
    ("tol", np.nan, "a number of at least 0"),
    ("early_stopping", None, "True or False"),
    ("validation_fraction", 0.0, "a number between 0 and 1"),
    ("n_iter_no_change", 0, "a whole number of at least 1, or infinity"),
    ("warm_start", "no", "True or False"),
    ("dtype", "int8", "'float32' or 'float64', or None"),
    ("dtype", "half a number", "'float32' or 'float64', or None"),
    ("device", "tpu", "'auto', 'cpu' or 'cuda'"),
    ("loss", "mse", "'squared_error', 'absolute_error' or 'huber'"),
    ("huber_delta", 0, "a positive number"),
    ("clipnorm", -1, "a positive number, or None"),
    ("beta_1", 1.0, "a number from 0 to below 1"),
    ("epsilon", 0.0, "a positive number"),
    ("threads", 0, "a whole number of at least 1, or None"),
]


@pytest.mark.parametrize(("name", "value", "takes"), BAD_PARAMETERS)
def test_bad_parameters(cube, name, value, takes):
    with pytest.raises(ValueError, match="LSTMRegressor") as error:
        model(**{name: value}).fit(*cube)
    assert str(error.value) == f"LSTMRegressor({name}=...) takes {takes}, not {value!r}"


def test_bad_rule(cube):
    with pytest.raises(ValueError, match="rule= takes 'arras' or 'rudder'"):
        model(rule="ig").fit(*cube)


BAD_DATA = [
    (lambda X, y: (X, y[:-1]), r"y has shape \(79,\), expected \(80,\) or \(80, targets\)"),
    (lambda X, y: (X, np.where(np.arange(80) == 3, np.nan, y)), "Input y contains NaN"),
    (lambda X, y: (np.where(X > 2, np.nan, X), y), "Input X contains NaN"),
    (lambda X, y: (np.where(X > 2, np.inf, X), y), "Input X contains infinity"),
    (lambda X, y: (X, np.stack([[y] * 2] * 2)), "Found array with dim 3|y has shape"),
    (lambda X, y: (X[..., None], y), "4|dim"),
    (lambda X, y: (X[:, :, :0], y), "X is empty|0 feature"),
    (lambda X, y: (X[:0], y[:0]), "0 sample"),
    (lambda X, y: (X[:1], y[:1]), r"there is 1 sample to train on \(n_samples = 1, of 1 row\)"),
    (lambda X, y: (X[:, :3], y), r"X has 3 steps, expected steps=4: shape \(80, 3, 3\)"),
    (lambda X, y: (X.reshape(80, -1)[:, :11], y), "X has 11 columns, which steps=4 does not divide"),
    (lambda X, y: (X, None), "requires y to be passed"),
    (lambda X, y: (X.astype(complex), y), "Complex data not supported"),
    (lambda X, y: (X, np.full(80, "high")), "y holds <U4, expected numbers"),
]


@pytest.mark.parametrize(("change", "message"), BAD_DATA)
def test_bad_arrays(cube, change, message):
    with pytest.raises(ValueError, match=message):
        model(steps=STEPS).fit(*change(*cube))


def test_bad_weights(cube):
    X, y = cube
    with pytest.raises(ValueError, match="zero"):
        model().fit(X, y, sample_weight=np.zeros(80))
    with pytest.raises(ValueError, match="Negative"):
        model().fit(X, y, sample_weight=-np.ones(80))


def test_constant_target(cube):
    X, _ = cube
    with pytest.warns(UserWarning, match=r"y is constant \(2.5\): that value is all the network can learn"):
        model().fit(X, np.full(80, 2.5))


def test_bad_panels(real):
    X, y = real
    with pytest.raises(ValueError, match=r"nothing is left to train on, 0 samples: 0 of 360 rows train: 360 end no"):
        model(steps=61).fit(X, y)
    with pytest.raises(ValueError, match="nothing is left to train on"):
        model(steps=STEPS).fit(X, y * np.nan)
    with pytest.raises(ValueError, match="y is not on the panel's index: row 0 is"):
        model(steps=STEPS).fit(X, y.iloc[::-1])
    with pytest.raises(ValueError, match="y is not on the panel's index: row 0 is 0 in y and"):
        model(steps=STEPS).fit(X, y.reset_index(drop=True))
    with pytest.raises(ValueError, match="y has 354 rows, but the panel has 360"):
        model(steps=STEPS).fit(X, y.iloc[6:])
    with pytest.raises(ValueError, match="sample_weight is not on the panel's index"):
        model(steps=STEPS).fit(X, y, sample_weight=y.iloc[::-1] ** 2)
    with pytest.raises(ValueError, match=r"infinite \(inf.* at month 2018-01-31, stock"):
        model(steps=STEPS).fit(X.mask(X.iloc[0, 0] == X, np.inf), y)
    with pytest.raises(ValueError, match="Input y contains infinity"):
        model(steps=STEPS).fit(X, y.mask(np.arange(360) == 0, np.inf))
    fitted = model(steps=STEPS).fit(X, y)
    with pytest.raises(ValueError, match="the panel lacks 1 of 5 features"):
        fitted.predict(X.iloc[:, 1:])
    with pytest.raises(ValueError, match="X has 7 columns, expected 20: 4 steps of 5 features, step-major"):
        fitted.predict(np.ones((3, 7)))
    with pytest.raises(ValueError, match=r"X has shape \(3, 4, 7\), expected \(n, 4, 5\)"):
        fitted.predict(np.ones((3, 4, 7)))


# ------------------------------------------------------------------------------------------------------ divergence


class Scripted:
    """Stands in for a trainer with known losses; its weights are the number of epochs it has seen."""

    def __init__(self, losses):
        self.losses, self.seen = losses, 0

    def epoch(self, X, y, sample_weight, order, batch_size):
        self.seen += 1
        return self.losses[self.seen - 1]

    def finite(self):
        return True

    def network(self):
        return None if self.seen == 0 else object()

    def get_state(self):
        return {"seen": np.array(self.seen)}

    def set_state(self, state):
        self.seen = int(state["seen"])


def run(losses, trainer=Scripted, **changes):
    trainer = trainer(losses)
    samples = Samples(np.zeros((4, 1)), np.arange(4), np.arange(4), 4, 1)
    given = {"epochs": len(losses), "batch_size": 2, "shuffle": True, "seed": 0, "tol": 0, "patience": 99}
    given["interrupted"] = Stop()
    schedule = Schedule(**{**given, **changes})
    return trainer, train(trainer, samples, np.zeros((4, 1)), None, schedule)


def test_divergence_keeps_the_best_epoch():
    # Epoch 3 found the weights after epoch 2 best; epoch 4 was worse, epoch 5 is not a number.
    trainer, history = run([3.0, 2.0, 1.0, 4.0, np.nan])
    text, kind = history.warning
    assert kind is RuntimeWarning
    assert "diverged in epoch 5 (loss nan): the weights after epoch 2, the best one" in text
    assert trainer.seen == 2
    assert history.losses == [3.0, 2.0, 1.0, 4.0]


def test_divergence_at_once_is_an_error():
    with pytest.raises(ValueError, match=r"diverged in epoch 2 \(loss inf\), before any epoch improved the network"):
        run([3.0, np.inf])


def test_divergence_keeps_the_best_score():
    scores = iter([0.1, 0.5, 0.2])
    trainer, history = run([3.0, 2.0, 1.0, np.nan], score=lambda trainer: next(scores))
    assert trainer.seen == 2
    assert "diverged in epoch 4 (loss nan): the weights after epoch 2" in history.warning[0]


def test_real_divergence_names_the_epoch(cube):
    X, y = cube
    with pytest.raises(
        ValueError, match=r"training diverged in epoch \d+ .*lower learning_rate_init, or scale X and y"
    ):
        model(learning_rate_init=1e30, max_iter=20).fit(X, y)


def test_a_fit_that_fails_changes_nothing(cube):
    X, y = cube
    fitted = model().fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(ValueError, match="training diverged"):
        fitted.set_params(learning_rate_init=1e30, max_iter=20).fit(X[:, :, :2], y)
    assert_array_equal(fitted.predict(X), before)
    fresh = model(learning_rate_init=1e30, max_iter=20)
    with pytest.raises(ValueError, match="training diverged"):
        fresh.fit(X, y)
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_interruption_keeps_what_was_trained():
    class Interrupted(Scripted):
        def epoch(self, *arguments):
            if self.seen == 2:
                self.seen = 77
                raise KeyboardInterrupt
            return super().epoch(*arguments)

    trainer, history = run([3.0, 2.0, 1.0], trainer=Interrupted)
    assert history.warning == (
        "training was interrupted in epoch 3: the weights are those of the epoch before",
        UserWarning,
    )
    assert trainer.seen == len(history.losses) == 2


def test_warnings_point_to_the_caller(cube):
    with pytest.warns(UserWarning, match="y is constant|maximum of 4 epochs") as told:
        model(n_iter_no_change=3).fit(cube[0], np.ones(80))
    assert [one.category.__name__ for one in told] == ["UserWarning", "ConvergenceWarning"]
    assert {one.filename for one in told} == {__file__}
