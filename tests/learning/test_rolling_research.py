"""RollingLSTM as research uses it: validation, settings, ensembles, targets, first weights; none looks ahead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import r2_score
from sklearn.preprocessing import PowerTransformer

import fastlrp as fl
from fastlrp.data import load_panel
from fastlrp.kernels.training.trainer import Trainer
from fastlrp.learning.parameters import first_network, member_seeds
from fastlrp.learning.rolling_fit import window_seed
from fastlrp.learning.training import epoch_order

T, WINDOW, HELD = 3, 14, 4
SETTINGS = [{"units": (3,)}, {"units": (5,), "alpha": 2.0}, {"units": (3,), "dense_units": (4,)}]


def rolling(estimator=None, **changes) -> fl.RollingLSTM:
    given = {"units": (4,), "steps": T, "max_iter": 6, "learning_rate_init": 0.03, "random_state": 5}
    return fl.RollingLSTM(
        fl.LSTMRegressor(**{**given, **(estimator or {})}), **{"window": WINDOW, "step": 3, **changes}
    )


@pytest.fixture(scope="module")
def real() -> tuple[pd.DataFrame, pd.Series]:
    """Six stocks, thirty months, four characteristics; one row is absent, one value missing."""
    X, y = load_panel(target=True)
    months, stocks = X.index.unique("month")[-30:], X.index.unique("stock")[:6]
    rows = X.index.get_level_values(0).isin(months) & X.index.get_level_values(1).isin(stocks)
    X = X.loc[rows].iloc[:, :4].drop(index=(months[7], stocks[1]))
    X.loc[(months[20], stocks[3]), "mom6m"] = np.nan
    return X.astype(np.float64), 10 * y.reindex(X.index)


# ------------------------------------------------------------------------------------------------------- no look-ahead

EVERYTHING = {
    "validation and settings": ({}, {"validation": HELD, "settings": SETTINGS}),
    "expanding, minmax, a gap": ({}, {"expanding": True, "scaler": "minmax", "gap": 2, "validation": HELD}),
    "standardised targets of an ensemble": ({"n_members": 2, "target_transform": "standardize"}, {"validation": HELD}),
    "ranks, from the window before": ({"target_transform": "rank"}, {"warm_start": "previous"}),
    "deviations, the same first weights": ({"target_transform": "demean", "dropout": 0.2}, {"warm_start": "first"}),
    "a transformer": ({"target_transform": PowerTransformer(), "loss": "huber"}, {"validation": HELD}),
    "a penalty": ({"alpha": 0.5}, {}),
}


@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
@pytest.mark.parametrize("name", EVERYTHING)
def test_nothing_looks_ahead(real, name, tmp_path):
    """Poison everything after month k, features, targets and weights: no bit of an earlier result may change."""
    (estimator, changes), (X, y) = EVERYTHING[name], real
    gap = changes.get("gap", 0)
    weight = pd.Series(np.random.default_rng(1).uniform(0.5, 2, len(X)), X.index)
    known = y.mask(X.index.get_level_values("month") >= X.index.unique("month")[29])
    whole = rolling(estimator, **changes).fit(X, known, sample_weight=weight)
    predicted, relevance = whole.predict(X), whole.explain(X)
    months, of = X.index.unique("month"), X.index.get_level_values("month")
    for k in (WINDOW + gap + 3, 23):
        later, unknown = of > months[k], of >= months[k - gap]  # a target lies a month ahead
        other_X = X.where(~later[:, None] & np.ones(X.shape, bool), 9.0)
        poison = pd.Series(77.0 + np.arange(len(y)) % 13, y.index)
        other_y, other_weight = y.mask(unknown, poison), weight.mask(unknown, 1e4)  # known where it was missing, too
        other = rolling(estimator, directory=tmp_path / str(k), **changes)
        other.fit(other_X, other_y, sample_weight=other_weight)
        assert_array_equal(other.predict(other_X)[~later], predicted[~later])
        theirs = other.explain(other_X)
        for field in ("values", "score", "unattributed", *(["spread"] if estimator.get("n_members") else [])):
            assert_array_equal(getattr(theirs, field)[~later], getattr(relevance, field)[~later])
        done = np.flatnonzero(whole.windows_["test_start"] <= months[k])
        assert len(done) >= 2
        pd.testing.assert_frame_equal(other.windows_.iloc[done[:-1]], whole.windows_.iloc[done[:-1]])
        assert_array_equal(other.centers_[done], whole.centers_[done])
        assert_array_equal(other.scales_[done], whole.scales_[done])
        for j in done:
            assert_array_equal(other.validation_scores_[j], whole.validation_scores_[j])
        again = rolling(estimator, directory=tmp_path / str(k), **changes)  # and what was saved is what was trained
        again.fit(other_X, other_y, sample_weight=other_weight)
        assert_array_equal(again.predict(other_X), other.predict(other_X))


# ------------------------------------------------------------------------------------------------ validation, settings


def by_hand(X, y, model, k, units, alpha=0.0, seed_of=None):
    """The epochs of one window, trained here: validation losses, and the networks after each epoch."""
    months, of = X.index.unique("month"), X.index.get_level_values("month")
    row = model.windows_.iloc[k]
    start, cut, stop = (months.get_loc(row[name]) for name in ("train_start", "train_end", "test_start"))
    inside = X[(of >= row["train_start"]) & (of <= row["train_end"])]
    center, scale = inside.mean().to_numpy(), inside.std(ddof=0).to_numpy()
    found = {"train": [], "held": []}
    for stock in X.index.unique("stock"):
        mine = X.xs(stock, level="stock").reindex(months)
        for t in range(start + T - 1, stop):
            window, target = mine.iloc[t - T + 1 : t + 1].to_numpy(), y.get((months[t], stock), np.nan)
            if np.isfinite(window).all() and np.isfinite(target) and (t <= cut or t >= stop - HELD):
                found["train" if t <= cut else "held"].append((months[t], (window - center) / scale, target))
    (X0, y0), (X1, y1) = (
        (np.array([window for _, window, _ in part]), np.array([[target] for *_, target in part]))
        for part in found.values()
    )
    seed = window_seed(model_seed(), k)
    estimator = fl.LSTMRegressor(units=units)
    net = first_network(estimator, 4, 1, seed, np.float64, steps=T, features=None, outputs=None)
    trainer = Trainer(net, steps=T, learning_rate=0.03, alpha=alpha, dtype=np.float64, seed=seed)
    losses, nets = [], []
    for epoch in range(6):
        trainer.epoch(X0, y0, None, epoch_order(len(X0), seed, epoch, True), 32)
        nets.append(trainer.network())
        losses.append(np.square(nets[-1].predict(X1)[:, None] - y1).mean())
    return losses, nets, (X1, y1), len(X0)


def model_seed() -> int:
    return int(np.random.RandomState(5).randint(np.iinfo(np.int32).max))


def test_the_last_months_stop_and_choose(real):
    """Every window again by hand, from windows cut out of the panel: the best epoch of the best setting is kept."""
    X, y = real
    settings = [{"units": (3,)}, {"units": (5,), "alpha": 2.0}]
    model = rolling({"dtype": "float64"}, validation=HELD, settings=settings).fit(X, y)
    assert set(model.windows_["setting"]) == {0, 1}  # the data decide, and not always alike
    for k in (0, 2, len(model.networks_) - 1):
        scores, best = [], []
        for setting in settings:
            losses, nets, (X1, y1), n = by_hand(X, y, model, k, **setting)
            best.append(nets[int(np.argmin(losses))])
            scores.append(r2_score(y1[:, 0], best[-1].predict(X1)))
        chosen = int(np.argmax(scores))
        assert model.windows_["n_samples"].iloc[k] == n
        assert model.windows_["setting"].iloc[k] == chosen
        assert_allclose(model.validation_scores_[k], scores, rtol=0, atol=1e-9)
        assert model.windows_["validation_score"].iloc[k] == pytest.approx(scores[chosen], abs=1e-9)
        for mine, theirs in zip(model.networks_[k].layers, best[chosen].layers, strict=True):
            for a, b in zip(mine.arrays, theirs.arrays, strict=True):
                assert_allclose(a, b, rtol=0, atol=1e-9)


def test_the_gap_is_left_out_before_validation_too(real):
    X, y = real
    table = rolling(validation=HELD, gap=2).fit(X, y).windows_
    months = list(X.index.unique("month"))
    for row in table.itertuples():
        cut, held, test = (months.index(at) for at in (row.train_end, row.validation_start, row.test_start))
        assert (held - cut - 1, test - held) == (2, HELD + 2)


def test_a_patience_stops_early(real):
    X, y = real
    eager = rolling({"n_iter_no_change": 1, "max_iter": 40, "tol": 1.0}, validation=HELD).fit(X, y)
    assert (eager.windows_["epochs"] == 3).all()  # the first improves on nothing; more than one then do not


def test_a_setting_that_diverges_is_not_chosen(real):
    X, y = real
    model = rolling(validation=HELD, settings=[{"learning_rate_init": 1e30}, {"units": (3,)}]).fit(X, y)
    assert (model.windows_["setting"] == 1).all()
    assert all(scores[0] == -np.inf < scores[1] for scores in model.validation_scores_)
    with pytest.raises(ValueError, match=r"training diverged in window 0 \(.*\): lower learning_rate_init"):
        rolling(validation=HELD, settings=[{"learning_rate_init": 1e30}]).fit(X, y)


# ------------------------------------------------------------------------------------------------------- ensembles


def test_an_ensemble_is_its_members(real):
    X, y = real
    model = rolling({"n_members": 3, "dtype": "float64"}).fit(X, y)
    relevance, predicted = model.explain(X), model.predict(X)
    alone = [rolling({"dtype": "float64"}).fit(X, y) for _ in range(3)]
    for m, one in enumerate(alone):
        one.networks_ = [net[m] for net in model.networks_]
    assert_array_equal(alone[0].explain(X).values, rolling({"dtype": "float64"}).fit(X, y).explain(X).values)
    parts = np.array([one.explain(X).values for one in alone])
    assert_allclose(relevance.values, parts.mean(axis=0), rtol=0, atol=1e-13 * np.nanmax(abs(parts)))
    assert_allclose(relevance.spread, parts.std(axis=0, ddof=1), rtol=0, atol=1e-13 * np.nanmax(abs(parts)))
    assert_allclose(predicted, np.mean([one.predict(X) for one in alone], axis=0), rtol=0, atol=1e-12)
    assert_allclose(relevance.prediction, predicted, rtol=0, atol=1e-14)
    assert relevance.reconcile().relative_worst < 1e-12
    assert (relevance.n_members, len(relevance.share_spread)) == (3, 4)
    assert "ensemble of 3 networks" in relevance.summary()
    same = model.explain(X, reduce="steps")
    assert_allclose(same.values, relevance.values.sum(axis=1), rtol=0, atol=1e-13)


def test_members_do_not_depend_on_threads(real):
    X, y = real
    expected = rolling({"n_members": 3}, validation=HELD, settings=SETTINGS, threads=1).fit(X, y)
    other = rolling({"n_members": 3}, validation=HELD, settings=SETTINGS, threads=7).fit(X, y)
    assert_array_equal(other.explain(X).spread, expected.explain(X).spread)
    pd.testing.assert_frame_equal(other.windows_, expected.windows_)


# ------------------------------------------------------------------------------------------------------- targets


def test_a_standardised_target_is_undone(real):
    """Twice the target, and a thousand more: the same networks, and predictions in its units."""
    X, y = real
    one = rolling({"target_transform": "standardize", "dtype": "float64"}).fit(X, y)
    two = rolling({"target_transform": "standardize", "dtype": "float64"}).fit(X, 2 * y + 1000)
    assert_allclose(two.predict(X), 2 * one.predict(X) + 1000, rtol=0, atol=1e-7)
    assert two.score(X, 2 * y + 1000) == pytest.approx(one.score(X, y), abs=1e-8)
    k = 2
    row, of = one.windows_.iloc[k], X.index.get_level_values("month")
    months = X.index.unique("month")
    ends = (of >= months[months.get_loc(row["train_start"]) + T - 1]) & (of <= row["train_end"])
    complete = pd.concat([X.xs(s, level="stock").reindex(months).isna().any(axis=1).rolling(T).sum().eq(0) for s in
                          X.index.unique("stock")], keys=X.index.unique("stock"), names=["stock"])  # fmt: skip
    trains = y[ends & complete.reorder_levels(X.index.names).reindex(X.index).to_numpy()].dropna()
    assert len(trains) == row["n_samples"]
    scaler = one.target_transformers_[k]
    assert scaler.mean_[0] == pytest.approx(trains.mean(), rel=1e-12)
    assert scaler.scale_[0] == pytest.approx(trains.std(ddof=0), rel=1e-12)
    score = one.explain(X).score
    rows = np.isin(of, months[months.get_loc(row["test_start"]) : months.get_loc(row["test_end"]) + 1])
    assert_allclose(one.predict(X)[rows], score[rows] * scaler.scale_[0] + scaler.mean_[0], rtol=1e-10)


def test_ranks_are_scored_as_ranks(real):
    X, y = real
    model = rolling({"target_transform": "rank"}).fit(X, y)
    predicted = model.predict(X)
    rows = predicted.notna() & y.notna()
    rank = y[rows].groupby(level="month").rank()
    count = y[rows].groupby(level="month").transform("count")
    scaled = 2 * (rank - 1) / (count - 1) - 1
    assert model.score(X, y) == pytest.approx(r2_score(scaled, predicted[rows]), abs=1e-9)
    assert predicted.abs().max() < 2


def test_scores_take_weights(real):
    X, y = real
    model = rolling().fit(X, y)
    predicted = model.predict(X)
    weight = pd.Series(np.random.default_rng(0).uniform(0, 3, len(X)), X.index)
    rows = predicted.notna() & y.notna()
    expected = r2_score(y[rows], predicted[rows], sample_weight=weight[rows])
    assert model.score(X, y, sample_weight=weight) == pytest.approx(expected, abs=1e-12)


# ------------------------------------------------------------------------------------------------------- first weights


def test_where_windows_start(real):
    X, y = real
    still = {"learning_rate_init": 1e-30, "shuffle": False}
    W = lambda model: [net.layers[0].W for net in model.networks_]  # noqa: E731
    own, first = W(rolling(still).fit(X, y)), W(rolling(still, warm_start="first").fit(X, y))
    assert all((a != own[0]).any() for a in own[1:])
    assert all((a == first[0]).all() for a in first)
    assert_array_equal(first[0], own[0])
    net = rolling().fit(X, y).networks_[3]
    mine = rolling({**still, "network": net, "units": (9,)}).fit(X, y)
    assert all((a == net.layers[0].W).all() for a in W(mine))
    before = rolling({"max_iter": 1}, warm_start="previous").fit(X, y)
    cold = rolling({"max_iter": 1}).fit(X, y)
    assert_array_equal(W(before)[0], W(cold)[0])
    step = abs(W(before)[1] - W(before)[0]).max()
    assert 0 < step < 0.1 * abs(W(cold)[1] - W(before)[0]).max() + 0.1 * 0.03 * 10


@pytest.mark.parametrize("alone", [True, False])
def test_an_interrupted_window_is_not_kept(real, tmp_path, monkeypatch, alone):
    X, y = real
    real_epoch, seen = Trainer.epoch, []

    def epoch(*arguments):
        seen.append(1)
        if len(seen) == 25:
            raise KeyboardInterrupt
        return real_epoch(*arguments)

    monkeypatch.setattr(Trainer, "epoch", epoch)
    model = rolling(validation=HELD, directory=tmp_path, threads=1 if alone else 3)
    monkeypatch.setattr("fastlrp.learning.rolling_fit.AT_ONCE", 3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert len(list(tmp_path.glob("*.npz"))) == 3  # of 18 epochs; the next three windows' were not all run
    monkeypatch.setattr(Trainer, "epoch", real_epoch)
    assert_array_equal(model.fit(X, y).predict(X), rolling(validation=HELD).fit(X, y).predict(X))


def test_the_window_before_is_gone_on_from_only_if_alike(real, tmp_path):
    X, y = real
    settings = [{"dense_units": (4,)}, {"dense_units": (4,), "dense_activation": "tanh"}]
    given = {"validation": HELD, "settings": settings, "warm_start": "previous", "step": 2}
    model = rolling(directory=tmp_path, **given).fit(X, y)
    assert set(model.windows_["setting"]) == {0, 1}
    for net, chosen in zip(model.networks_, model.windows_["setting"], strict=True):
        assert net.layers[-2].activation == ("relu", "tanh")[chosen]
    next(tmp_path.glob("window_00003.npz")).unlink()
    assert_array_equal(rolling(directory=tmp_path, **given).fit(X, y).predict(X), model.predict(X))


def test_what_was_fitted_decides_who_predicts(real):
    X, y = real
    model = rolling({"target_transform": "rank"}).fit(X, y)
    predicted, score = model.predict(X), model.score(X, y)
    model.set_params(window=4, gap=3, step=1, estimator__target_transform=None)
    assert_array_equal(model.predict(X), predicted)
    assert model.score(X, y) == score


def test_large_targets_keep_their_digits(real):
    X, y = real
    one = rolling({"target_transform": "standardize"}).fit(X, y)
    far = rolling({"target_transform": "standardize"}).fit(X, y + 1e8)
    assert_allclose(far.predict(X) - 1e8, one.predict(X), rtol=0, atol=1e-4)  # float32 alone knows 1e8 to 8
    with pytest.raises(ValueError, match=r"y holds \S+e\+3[89], too large for float32: train with dtype='float64', or"):
        rolling().fit(X, y * 1e39)


def test_folders_tell_networks_and_transformers_apart(real, tmp_path):
    X, y = real
    nets = [
        fl.LSTMRegressor((3,), (2,), steps=T, max_iter=1, n_iter_no_change=1, random_state=0, dense_activation=name)
        .fit(X, y).network_.replaced(features=list(X.columns)) for name in ("relu", "tanh")
    ]  # fmt: skip
    nets[1] = nets[0].replaced(layers=[*nets[0].layers[:1], nets[1].layers[1], nets[0].layers[2]])
    rolling({"network": nets[0]}, directory=tmp_path / "a").fit(X, y)
    with pytest.raises(ValueError, match="holds the windows of another fit: network is"):
        rolling({"network": nets[1]}, directory=tmp_path / "a").fit(X, y)
    power = {"target_transform": PowerTransformer()}
    rolling(power, directory=tmp_path / "b").fit(X, y)
    mixed = np.random.default_rng(0).permutation(len(X))
    again = rolling(power, directory=tmp_path / "b").fit(X.iloc[mixed], y.iloc[mixed])  # the order of rows is no matter
    assert_array_equal(again.predict(X), rolling(power).fit(X, y).predict(X))
    with pytest.raises(ValueError, match="another fit: target_transform is"):
        rolling({"target_transform": PowerTransformer(standardize=False)}, directory=tmp_path / "b").fit(X, y)


def test_constant_targets_are_said(real):
    X, y = real
    with pytest.warns(RuntimeWarning, match="y is constant, and that value .* in 6 windows, first in window 0"):
        model = rolling(validation=HELD).fit(X, y * 0)
    assert np.isnan(model.windows_["validation_score"]).all()


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("estimator", "changes", "message"),
    [
        ({}, {"validation": 0}, r"RollingLSTM\(validation=...\) takes a whole number of at least 1, or None, not 0"),
        (
            {},
            {"validation": 12},
            r"RollingLSTM\(window=14\) less 12 of validation and a gap of 0 is shorter than the 3",
        ),
        ({}, {"settings": SETTINGS}, r"RollingLSTM\(settings=...\) needs validation="),
        ({}, {"validation": 4, "settings": {"units": (3,)}}, r"settings=...\) takes a list of dicts of parameters"),
        ({}, {"validation": 4, "settings": []}, r"settings=...\) takes a list of dicts of parameters, not \[\]"),
        ({}, {"validation": 4, "settings": ["units"]}, r"settings\[0\] takes a dict of LSTMRegressor's parameters"),
        ({}, {"validation": 4, "settings": [{}, {"unit": 3}]}, r"settings\[1\] names 'unit', expected some of alpha, "),
        ({}, {"validation": 4, "settings": [{"steps": 3}]}, r"settings\[0\] names 'steps', expected some of alpha, "),
        ({}, {"validation": 4, "settings": [{"units": 0}]}, r"LSTMRegressor\(units=...\) takes a tuple"),
        ({}, {"validation": 4, "settings": [{"network": None}]}, r"settings\[0\] names 'network', expected some of"),
        ({}, {"validation": 4, "settings": 3}, r"settings=...\) takes a list of dicts of parameters, not 3"),
        ({}, {"validation": 4, "settings": [{"alpha": -1}]}, r"settings\[0\]: LSTMRegressor\(alpha=...\) takes"),
        ({}, {"warm_start": True}, r"RollingLSTM\(warm_start=...\) takes False, 'first' or 'previous', not True"),
        (
            {"steps": None},
            {},
            r"steps= is missing: a panel needs the length of its windows, as LSTMRegressor\(steps=12",
        ),
        ({"early_stopping": True}, {}, "early_stopping=True is not supported, expected validation="),
        ({"n_members": 0}, {}, r"LSTMRegressor\(n_members=...\) takes a whole number of at least 1, not 0"),
        (
            {"target_transform": "log"},
            {},
            r"target_transform=...\) takes 'standardize', 'rank', 'demean', a transformer",
        ),
    ],
)
def test_bad_parameters(real, estimator, changes, message):
    with pytest.raises(ValueError, match=message):
        rolling(estimator, **changes).fit(*real)


def test_member_seeds_begin_alike():
    assert member_seeds(7, 5)[:3] == member_seeds(7, 3)
    assert len(set(member_seeds(7, 50))) == 50
