"""LSTMRegressor's ensembles, target transforms, own networks and tolerance."""

from __future__ import annotations

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, StandardScaler

import fastlrp as fl
from fastlrp.checks import ACTIVATIONS
from fastlrp.data import load_panel
from fastlrp.kernels.training.orthogonal import orthonormal_rows
from fastlrp.learning.targets import TargetTransform
from fastlrp.learning.training import constant_loss
from fastlrp.model.layers import DENSE_ACTIVATIONS

T = 4


def model(**changes) -> fl.LSTMRegressor:
    given = {"units": (5,), "max_iter": 4, "n_iter_no_change": 1000, "learning_rate_init": 0.01, "random_state": 3}
    return fl.LSTMRegressor(**{**given, **changes})


@pytest.fixture
def cube(rng) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((80, T, 3))
    return X, np.tanh(X[:, -1, 0]) + 0.5 * X[:, -2, 1]


@pytest.fixture(scope="module")
def real() -> tuple[pd.DataFrame, pd.Series]:
    X, y = load_panel(target=True)
    months, stocks = X.index.unique("month")[-40:], X.index.unique("stock")[:6]
    rows = X.index.get_level_values(0).isin(months) & X.index.get_level_values(1).isin(stocks)
    return X.loc[rows].iloc[:, :5].astype(np.float64), 10 * y.loc[rows]


# ------------------------------------------------------------------------------------------------------- ensembles


def test_members_predict_and_explain_as_one(cube):
    X, y = cube
    many = model(n_members=3, dtype="float64").fit(X, y)
    assert isinstance(many.network_, fl.Ensemble)
    nets = many.network_.networks
    assert nets[0] == model(dtype="float64").fit(X, y).network_  # the first member is the single network
    assert len({net.layers[0].W.tobytes() for net in nets}) == 3
    each = np.array([net.predict(X) for net in nets])
    assert_allclose(many.predict(X), each.mean(axis=0), rtol=0, atol=1e-14)
    relevance = many.explain(X)
    values = np.array([net.explain(X).values for net in nets])
    assert_allclose(relevance.values, values.mean(axis=0), rtol=0, atol=1e-14)
    assert_allclose(relevance.spread, values.std(axis=0, ddof=1), rtol=0, atol=1e-14)
    assert relevance.reconcile().relative_worst < 1e-13
    assert (len(many.loss_curves_), len(many.loss_curve_), many.t_) == (3, 4, 3 * 4 * 80)
    assert_allclose(many.loss_curve_, np.mean(many.loss_curves_, axis=0), rtol=1e-15)


def test_members_do_not_depend_on_threads_or_on_each_other(cube):
    X, y = cube
    expected = model(n_members=4, dropout=0.2).fit(X, y)
    for threads in (1, 3, 8):
        assert model(n_members=4, dropout=0.2, threads=threads).fit(X, y).network_ == expected.network_
    assert model(n_members=2, dropout=0.2).fit(X, y).network_.networks == expected.network_.networks[:2]


def test_members_train_on_and_survive_copies(cube, tmp_path):
    X, y = cube
    whole = model(n_members=2, max_iter=3).fit(X, y)
    parts = model(n_members=2)
    for _ in range(3):
        parts.partial_fit(X, y)
    assert parts.network_ == whole.network_
    joblib.dump(whole, tmp_path / "model")
    for again in (pickle.loads(pickle.dumps(whole)), joblib.load(tmp_path / "model")):
        assert again.network_ == whole.network_
        assert_array_equal(again.predict(X), whole.predict(X))
    assert not hasattr(clone(whole), "loss_curve_")
    warm = model(n_members=2, warm_start=True).fit(X, y)
    warm.fit(X, y)
    assert [len(curve) for curve in warm.loss_curves_] == [8, 8]
    fl.write_keras(whole.network_, tmp_path / "members")
    assert_allclose(fl.read_keras(tmp_path / "members").predict(X), whole.predict(X), rtol=0, atol=1e-6)


def test_members_in_a_pipeline_stop_on_their_own(real):
    X, y = real
    pipe = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        model(n_members=3, steps=T, early_stopping=True, max_iter=30, n_iter_no_change=2, learning_rate_init=0.05),
    )
    pipe.fit(X, y)
    fitted = pipe[-1]
    assert len(fitted.validation_scores_) == fitted.n_iter_ == max(map(len, fitted.loss_curves_))
    assert fitted.explain(pipe[:-1].transform(X)).n_members == 3
    assert np.isfinite(pipe.score(X, y))


# ------------------------------------------------------------------------------------------------------- targets


def test_standardize_is_scikit_learns(cube):
    X, y = cube
    mine = model(target_transform="standardize", dtype="float64").fit(X, 3 * y + 50)
    theirs = TransformedTargetRegressor(model(dtype="float64"), transformer=StandardScaler()).fit(X, 3 * y + 50)
    assert_allclose(mine.predict(X), theirs.predict(X), rtol=0, atol=1e-12)
    assert mine.score(X, 3 * y + 50) == pytest.approx(theirs.score(X, 3 * y + 50), abs=1e-12)
    center, scale = mine.target_transformer_.mean_[0], mine.target_transformer_.scale_[0]
    assert_allclose(mine.predict(X), center + scale * mine.explain(X).score, rtol=0, atol=1e-12)
    assert_array_equal(pickle.loads(pickle.dumps(mine)).predict(X), mine.predict(X))
    both = model(target_transform="standardize").fit(X, np.c_[y, 9 * y])
    assert_allclose(both.predict(X).std(axis=0) > 0, True)
    assert both.predict(X).shape == (80, 2)


def test_any_transformer_with_an_inverse(cube):
    X, y = cube
    mine = model(target_transform=PowerTransformer(), dtype="float64").fit(X, np.exp(y))
    theirs = TransformedTargetRegressor(model(dtype="float64"), transformer=PowerTransformer()).fit(X, np.exp(y))
    assert_allclose(mine.predict(X), theirs.predict(X), rtol=1e-12)


def test_the_validation_does_not_decide_the_transform(real):
    X, y = real
    fitted = model(steps=T, target_transform="standardize", early_stopping=True, validation_fraction=0.25).fit(X, y)
    of = X.index.get_level_values("month")
    months = X.index.unique("month")[T - 1 : 39]
    trains = of.isin(months[: -round(0.25 * len(months))])
    assert fitted.target_transformer_.mean_[0] == pytest.approx(y[trains].mean(), rel=1e-6)
    held = of.isin(months[-round(0.25 * len(months)) :])
    learnt = fitted.target_transformer_.transform(y[held].to_numpy()[:, None])[:, 0]
    score = fitted.explain(X).score[held]
    assert fitted.best_validation_score_ == pytest.approx(r2_score(learnt, score), abs=1e-5)


@pytest.mark.parametrize("name", ["rank", "demean"])
def test_cross_sections_stay_in_their_units(real, name):
    X, y = real
    fitted = model(steps=T, target_transform=name, dtype="float64").fit(X, y)
    predicted = fitted.predict(X)
    rows = predicted.notna() & y.notna()
    months = y[rows].groupby(level="month")
    want = y[rows] - months.transform("mean")
    if name == "rank":
        want = 2 * (months.rank() - 1) / (months.transform("count") - 1) - 1
    assert fitted.score(X, y) == pytest.approx(r2_score(want, predicted[rows]), abs=1e-9)
    assert_allclose(predicted[rows], fitted.explain(X).score[rows], rtol=0, atol=1e-12)
    by_hand = model(steps=T, dtype="float64").fit(X, want.reindex(X.index))
    assert_allclose(by_hand.predict(X)[rows], predicted[rows], rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------------------------- own networks


def test_training_goes_on_from_a_network(cube):
    X, y = cube
    start = model(dense_units=(4,), dense_activation="linear", dtype="float64").fit(X, y).network_
    assert [layer.activation for layer in start.layers if layer.kind == "Dense"] == ["linear", "linear"]
    still = model(network=start, dtype="float64", learning_rate_init=1e-300, units=(99,)).fit(X, y)
    assert_array_equal(still.predict(X), start.predict(X))
    better = model(network=start, dtype="float64", max_iter=30).fit(X, y)
    assert better.loss_curve_[-1] < better.loss_curve_[0] < model(dtype="float64").fit(X, y).loss_curve_[0]
    assert start == still.network_.replaced(steps=start.steps)  # the user's own is not changed
    assert clone(better).network == start


def test_a_network_names_its_columns(real):
    X, y = real
    names = list(X.columns[[2, 0]])
    start = model(steps=T).fit(X[names], y).network_
    fitted = model(network=start).fit(X, y)  # steps and columns are the network's
    assert fitted.steps_ == T
    assert_array_equal(fitted.predict(X), fitted.predict(X[names]))
    assert fitted.explain(X).features == tuple(names)
    assert_array_equal(fitted.partial_fit(X, y).predict(X), fitted.predict(X[names]))


def test_activations_are_all_that_train():
    assert set(ACTIVATIONS) == set(DENSE_ACTIVATIONS) - {"softmax"}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hidden_layers_learn_with_any_activation(cube, activation):
    X, y = cube
    fitted = model(dense_units=(6,), dense_activation=activation, max_iter=25).fit(X, y)
    assert fitted.loss_curve_[-1] < 0.9 * fitted.loss_curve_[0]


def test_first_weights_without_lapack(rng):
    for k, n in ((1, 4), (16, 64), (128, 512)):
        a = rng.standard_normal((k, n))
        q, r = np.linalg.qr(a.T)
        mine = a.copy()
        orthonormal_rows(mine)
        assert_allclose(mine, (q * np.sign(np.diag(r))).T, rtol=0, atol=1e-12)
    code = (
        "import numpy as np, fastlrp as fl; np.linalg.qr = None; X = np.ones((9, 3, 2)); "
        "fl.LSTMRegressor(max_iter=1, n_iter_no_change=1).fit(X, np.arange(9.0))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------------------------- tolerance


def test_tolerance_does_not_depend_on_units(cube):
    """y and y/1000 train alike, epoch for epoch, where Adam's epsilon is small beside their gradients."""
    X, y = cube
    given = {"max_iter": 300, "n_iter_no_change": 3, "dtype": "float64", "learning_rate_init": 1e-12, "tol": 1e-4}
    one, small = model(**given).fit(X, y), model(**given).fit(X, y / 1000)
    assert one.n_iter_ == small.n_iter_ == 5  # nothing improves: weights hardly move
    assert one.stopped_.startswith("the training loss did not improve by more than tol (")
    assert f"({1e-4 * y.var():.3g})" in one.stopped_
    assert f"({1e-10 * y.var():.3g})" in small.stopped_
    returns = model(max_iter=40, n_iter_no_change=10, learning_rate_init=1e-4, units=(8,))
    with pytest.warns(ConvergenceWarning, match=r"its loss went from \S+ to \S+ in the last 10 epochs"):
        assert returns.fit(X, 0.05 * y).n_iter_ == 40  # a fixed tolerance of 1e-4 stopped this one at once


def test_the_loss_of_a_constant(rng):
    y, w = rng.standard_normal((50, 2)), rng.uniform(1, 2, 50)
    assert constant_loss(y, None, "squared_error", 1.0) == pytest.approx(y.var(axis=0).mean())
    mean = np.average(y, axis=0, weights=w)
    assert constant_loss(y, w, "squared_error", 1.0) == pytest.approx(
        np.average((y - mean) ** 2, axis=0, weights=w).mean()
    )
    off = abs(y - np.median(y, axis=0))
    assert constant_loss(y, None, "absolute_error", 1.0) == pytest.approx(off.mean())
    huber = np.where(off < 0.3, off**2 / 2, 0.3 * (off - 0.15))
    assert constant_loss(y, None, "huber", 0.3) == pytest.approx(huber.mean())


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_members": 1.5}, r"LSTMRegressor\(n_members=...\) takes a whole number of at least 1, not 1.5"),
        ({"dense_activation": "softmax"}, r"dense_activation=...\) takes 'linear', 'relu', 'tanh', "),
        ({"target_transform": 3}, r"takes 'standardize', 'rank', 'demean', a transformer or None, not 3"),
        ({"target_transform": StandardScaler}, r"a transformer or None, not <class"),
        ({"target_transform": fl.Dropout(0.1)}, r"a transformer or None, not Dropout"),
        ({"network": "model.h5"}, r"LSTMRegressor\(network=...\) takes a fastlrp.Network or None, not str"),
    ],
)
def test_bad_parameters(cube, changes, message):
    with pytest.raises(ValueError, match=message):
        model(**changes).fit(*cube)


def test_what_a_network_is_called(cube, real, rng):
    X, y = cube
    named = model().fit(X, y).network_.replaced(features=["a", "b", "c"], outputs=["ret"])
    again = pickle.loads(pickle.dumps(model(network=named).fit(X, y)))
    assert again.explain(X, target="ret").features == ("a", "b", "c")
    flat = pd.DataFrame(rng.standard_normal((30, 3)), columns=["c", "b", "a"])
    with pytest.raises(ValueError, match=r"X's columns are not the inputs of LSTMRegressor\(network=...\) in"):
        model(network=named.replaced(steps=1)).fit(flat, flat["a"])
    panel, target = real
    some = model(steps=T).fit(panel.iloc[:, [0, 2]], target).network_
    fitted = model(network=some).fit(panel, target)
    assert fitted.n_features_in_ == 2
    assert list(fitted.feature_names_in_) == list(panel.columns[[0, 2]])
    assert fitted.predict(np.zeros((3, T, 2))).shape == (3,)


def test_a_number_beside_an_infinite_one_returns_to_its_units(rng):
    y = rng.normal(5, 3, (40, 2))
    transform = TargetTransform.of("standardize", "LSTMRegressor")
    done = transform.fit(y, None).astype(np.float32)
    want = transform.undo(done)
    assert_allclose(want, y, rtol=1e-6)
    done[3, 1], done[5, 0], done[7] = np.inf, -np.inf, np.nan
    want[3, 1], want[5, 0], want[7] = np.inf, -np.inf, np.nan
    assert_array_equal(transform.undo(done), want)


def test_scores_that_cannot_be(real):
    X, y = real
    fitted = model(steps=T, target_transform="rank").fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(ValueError, match=r"y has shape \(5,\), expected \(240,\): a target for each prediction"):
        fitted.score(X, y.to_numpy()[:5])
    with pytest.raises(ValueError, match=r"sample_weight has shape \(3,\), expected \(240,\)"):
        fitted.score(X, y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="sample_weight is not on the panel's index"):
        fitted.score(X, y, sample_weight=pd.Series(1.0, X.index[::-1]))
    assert_array_equal(fitted.predict(X), before)
    fitted.partial_fit(X, y)


def test_constant_after_the_transform(real):
    X, y = real
    same = y.groupby(level="month").transform("mean")
    with pytest.warns(UserWarning, match=r"y is constant \(0\)"):
        model(steps=T, target_transform="rank").fit(X, same)


def test_networks_and_transformers_that_do_not_fit(cube, real):
    X, y = cube
    start = model().fit(X, y).network_
    with pytest.raises(ValueError, match=r"LSTMRegressor\(network=...\) has 3 features, but X has 2"):
        model(network=start).fit(X[:, :, :2], y)
    with pytest.raises(ValueError, match=r"LSTMRegressor\(network=...\) has 1 output, but y has 2"):
        model(network=start).fit(X, np.c_[y, y])
    with pytest.raises(ValueError, match=r"LSTMRegressor\(steps=3\) was given, but its network takes 4 steps"):
        model(network=start, steps=3).fit(X, y)

    class OneWay:
        fit = transform = get_params = None

    with pytest.raises(ValueError, match="but OneWay has no inverse to undo it in predictions"):
        model(target_transform=OneWay()).fit(X, y)
    log = FunctionTransformer(np.log1p, np.expm1, check_inverse=False)
    with pytest.raises(ValueError, match="FunctionTransformer made targets that are not finite, such as that of y = "):
        model(target_transform=log).fit(X, np.where(y == y.max(), -1.0, abs(y)))
    with pytest.raises(ValueError, match="FunctionTransformer has no inverse to undo it in predictions"):
        model(target_transform=FunctionTransformer(np.log1p)).fit(X, y)
    with pytest.raises(ValueError, match=r"PCA made targets of shape \(80, 1\) and dtype float64, expected numbers of"):
        model(target_transform=PCA(1)).fit(X, np.c_[y, -y])
    warm = model(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"n_members=2\) was given, but warm_start=True goes on from 1 member"):
        warm.set_params(n_members=2).fit(X, y)
    with pytest.raises(ValueError, match="y holds 1e\\+39, too large for float32: train with dtype='float64'"):
        model().fit(X, np.where(y == y.max(), 1e39, y))
    with pytest.raises(ValueError, match="steps= is missing: X is a panel, which needs the length of its windows"):
        model().fit(*real)
