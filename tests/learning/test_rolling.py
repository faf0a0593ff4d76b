"""RollingLSTM: windows counted by hand, no look-ahead, scaling inside the window, and fits that resume."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import r2_score

from fastlrp import ConservationWarning, Network
from fastlrp.data import load_panel
from fastlrp.kernels.training import trainer as kernels
from fastlrp.learning.checkpoints import Checkpoints, fingerprint
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.rolling import RollingLSTM
from fastlrp.learning.rolling_fit import Fits
from fastlrp.model.plain import arrays_of, with_arrays

STEPS, WINDOW = 3, 12


def rolling(estimator=None, **changes) -> RollingLSTM:
    given = {"units": (4,), "steps": STEPS, "max_iter": 3, "learning_rate_init": 0.01, "random_state": 5}
    return RollingLSTM(LSTMRegressor(**{**given, **(estimator or {})}), **{"window": WINDOW, **changes})


@pytest.fixture(scope="module")
def real() -> tuple[pd.DataFrame, pd.Series]:
    """Five stocks, thirty months, four characteristics; one row is absent, one value missing."""
    X, y = load_panel(target=True)
    months, stocks = X.index.unique("month")[-30:], X.index.unique("stock")[:5]
    rows = X.index.get_level_values(0).isin(months) & X.index.get_level_values(1).isin(stocks)
    X = X.loc[rows].iloc[:, :4].drop(index=(months[7], stocks[1]))
    X.loc[(months[20], stocks[3]), "mom6m"] = np.nan
    return X, 10 * y.reindex(X.index)


@pytest.fixture
def series(rng) -> tuple[pd.DataFrame, pd.Series]:
    """One row a month."""
    index = pd.date_range("2001-01-31", periods=40, freq=pd.offsets.MonthEnd(), name="date")
    X = pd.DataFrame(rng.standard_normal((40, 3)), index, ["a", "b", "c"])
    return X, X["a"] + 0.1 * rng.standard_normal(40)


# ------------------------------------------------------------------------------------------------------- windows


def test_windows(series):
    X, y = series
    months = list(X.index)
    for step, gap, expanding in [(1, 0, False), (5, 0, False), (4, 2, True)]:
        table = rolling(step=step, gap=gap, expanding=expanding).fit(X, y).windows_
        for k, row in enumerate(table.itertuples()):
            stop = WINDOW + k * step
            assert row.train_start == months[0 if expanding else stop - WINDOW]
            assert row.train_end == months[stop - 1]
            assert row.test_start == months[stop + gap]
            assert row.test_end == months[min(stop + gap + step, 40) - 1]
            assert row.n_samples == (stop if expanding else WINDOW) - STEPS + 1
        assert row.test_end == months[-1]


def test_predictions_are_out_of_sample_and_on_the_callers_index(real, rng):
    X, y = real
    mixed = rng.permutation(len(X))
    model = rolling().fit(X, y)
    predicted = model.predict(X)
    assert predicted.index.equals(X.index)
    months = X.index.get_level_values("month")
    late = months >= X.index.unique("month")[WINDOW]
    assert predicted[~late].isna().all()
    assert predicted[late].isna().sum() == STEPS  # the windows over the missing value
    other = rolling().fit(X.iloc[mixed], y.iloc[mixed]).predict(X.iloc[mixed])
    assert_array_equal(other, predicted.iloc[mixed])
    with_prediction = predicted.notna() & y.notna()
    assert model.score(X, y) == pytest.approx(r2_score(y[with_prediction], predicted[with_prediction]))


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize(("scaler", "expanding"), [("standard", False), ("minmax", True), (None, False)])
def test_nothing_looks_ahead(real, gap, scaler, expanding):
    """A prediction for month t does not depend on anything after t, nor on targets known after t."""
    X, y = real
    given = {"gap": gap, "scaler": scaler, "expanding": expanding, "step": 2}
    whole = rolling(**given).fit(X, y).predict(X)
    months = X.index.unique("month")
    of = X.index.get_level_values("month")
    for k in (WINDOW + gap, 17, 22):
        later = of > months[k]
        other_X = X.where(~later[:, None] & np.ones(X.shape, bool), 9.0)
        poison = pd.Series(np.arange(len(y)) % 7 - 9.0, y.index)
        other_y = y.mask(of >= months[k - gap], poison)  # targets lie a month ahead
        changed = rolling(**given).fit(other_X, other_y).predict(other_X)
        assert_array_equal(changed[of <= months[k]], whole[of <= months[k]])


def test_a_model_is_what_the_regressor_trains(series):
    """One window by hand: cut rows, scale them with their own mean, make windows, train with the same kernels."""
    X, y = series
    model = rolling({"dtype": "float64", "batch_size": 4, "shuffle": False}).fit(X, y)
    k = 9
    rows = X.to_numpy()[k : k + WINDOW]
    center, scale = rows.mean(axis=0), rows.std(axis=0)
    assert_allclose(model.centers_[k], center, rtol=1e-12)
    assert_allclose(model.scales_[k], scale, rtol=1e-12)
    scaled = (rows - center) / scale
    windows = np.array([scaled[t - STEPS + 1 : t + 1] for t in range(STEPS - 1, WINDOW)])
    targets = y.to_numpy()[k + STEPS - 1 : k + WINDOW, None]
    trainer = kernels.Trainer(first_network(series, k), steps=STEPS, learning_rate=0.01, dtype=np.float64, threads=1)
    losses = [trainer.epoch(windows, targets, None, np.arange(len(windows)), 4) for _ in range(3)]
    assert_allclose(model.loss_curves_[k], losses, rtol=1e-12)
    test = (X.to_numpy()[k + WINDOW - STEPS + 1 : k + WINDOW + 1] - center) / scale
    assert model.predict(X).iloc[k + WINDOW] == pytest.approx(trainer.network().predict(test[None])[0], rel=1e-12)


def first_network(series, k) -> Network:
    """First weights of window k, unchanged by training."""
    X, y = series
    given = {"dtype": "float64", "batch_size": 4, "shuffle": False, "learning_rate_init": 1e-300}
    return rolling(given).fit(X, y).networks_[k]


def test_later_months_use_the_last_model(series):
    X, y = series
    model = rolling(step=4).fit(X.iloc[:30], y.iloc[:30])
    known = model.predict(X.iloc[:30])
    later = model.predict(X)
    assert_array_equal(later.iloc[:30], known)
    assert later.iloc[30:].notna().all()
    last = (X.to_numpy()[33:36] - model.centers_[-1]) / model.scales_[-1]
    assert later.iloc[35] == pytest.approx(model.networks_[-1].predict(last.astype(np.float32)[None])[0], rel=1e-6)
    assert_array_equal(model.predict(X.iloc[20:]).iloc[STEPS - 1 :], later.iloc[20 + STEPS - 1 :])


def test_explain(real):
    X, y = real
    model = rolling({"dtype": "float64"}).fit(X, y)
    relevance, predicted = model.explain(X), model.predict(X)
    assert relevance.index.equals(X.index)
    assert relevance.features == tuple(X.columns)
    assert_array_equal(relevance.prediction, predicted)
    total = relevance.values.sum(axis=(1, 2)) + relevance.initial_state + relevance.unattributed
    assert_allclose(total, predicted, rtol=0, atol=1e-12 * abs(predicted).max())
    assert_allclose(model.explain(X, reduce="steps").values, relevance.values.sum(1), rtol=0, atol=1e-13)
    assert len(relevance.by_time()) == 30 - WINDOW
    with pytest.warns(ConservationWarning) as told:
        model.explain(X, rule="rudder")
    assert len(told) == 1  # one for the whole, not one for each model


def test_several_targets_and_weights(real):
    X, y = real
    both = pd.DataFrame({"next": y, "twice": 2 * y})
    model = rolling().fit(X, both, sample_weight=pd.Series(np.arange(len(X)) % 4, X.index))
    assert list(model.predict(X).columns) == ["next", "twice"]
    assert model.explain(X, target="next").target == "next"
    with pytest.raises(ValueError, match="the network has 2 outputs: choose the one to explain"):
        model.explain(X)
    assert model.windows_["n_samples"].max() < rolling().fit(X, y).windows_["n_samples"].max()


def test_threads_and_chunks_do_not_matter(real, monkeypatch):
    X, y = real
    expected = rolling({"dropout": 0.2}).fit(X, y).predict(X)
    for threads in (1, 2):
        assert_array_equal(rolling({"dropout": 0.2}, threads=threads).fit(X, y).predict(X), expected)
    monkeypatch.setattr("fastlrp.learning.rolling_fit.AT_ONCE", 5)
    assert_array_equal(rolling({"dropout": 0.2}).fit(X, y).predict(X), expected)


def test_window_without_samples(series):
    X, y = series
    model = rolling().fit(X, y.mask(np.arange(40) < 14))
    assert model.networks_[0] is None
    assert np.isnan(model.windows_["loss"].iloc[0])
    assert model.predict(X).notna().sum() == 40 - WINDOW - (14 - WINDOW) - 1


def test_clone_and_pickle(series):
    X, y = series
    model = rolling().fit(X, y)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    again = clone(model)
    assert not hasattr(again, "networks_")
    assert again.estimator.units == (4,)


def test_progress(series, capsys):
    X, y = series
    model = rolling(verbose=True).fit(X, y)
    model.explain(X, progress=True)
    shown = capsys.readouterr().err
    assert "RollingLSTM.fit: 100%" in shown
    assert "28/28" in shown
    assert "RollingLSTM.explain: 100%" in shown


# ---------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("random_state", [5, None])
def test_goes_on_where_it_stopped(series, tmp_path, monkeypatch, random_state):
    X, y = series
    monkeypatch.setattr("fastlrp.learning.rolling_fit.AT_ONCE", 6)
    real_train, trained = Fits.train, []

    def interrupted(fits, chunk, *given):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(len(chunk))
        return real_train(fits, chunk, *given)

    monkeypatch.setattr(Fits, "train", interrupted)
    given = {"random_state": random_state, "units": (4, 2), "bidirectional": True}
    with pytest.raises(KeyboardInterrupt):
        rolling(given, directory=tmp_path).fit(X, y)
    assert len(list(tmp_path.glob("window_*.npz"))) == 12
    trained.clear()
    monkeypatch.setattr(
        Fits, "train", lambda fits, chunk, *more: trained.append(len(chunk)) or real_train(fits, chunk, *more)
    )
    resumed = rolling(given, directory=tmp_path, threads=1).fit(X, y)
    assert sum(trained) == 28 - 12
    trained.clear()
    again = rolling(given, directory=str(tmp_path)).fit(X, y)
    assert not trained
    assert_array_equal(again.predict(X), resumed.predict(X))
    pd.testing.assert_frame_equal(again.windows_, resumed.windows_)
    if random_state is not None:
        assert_array_equal(rolling(given).fit(X, y).predict(X), resumed.predict(X))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npz"}


def test_checkpoints_are_plain(series, tmp_path):
    X, y = series
    rolling(directory=tmp_path).fit(X, y)
    assert json.loads((tmp_path / "rolling.json").read_text())["window"] == WINDOW
    with np.load(io.BytesIO((tmp_path / "window_00003.npz").read_bytes()), allow_pickle=False) as file:
        assert all(file[name].dtype.kind == "f" for name in file.files)


def test_another_fit_is_refused(series, tmp_path):
    X, y = series
    rolling(directory=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match=r"the windows of another fit: units is \[4\] there and \[5\] here; choose"):
        rolling({"units": (5,)}, directory=tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="another fit: the data differ; choose another directory"):
        rolling(directory=tmp_path).fit(X, y + 1)
    with pytest.raises(ValueError, match="gap is 0 there and 1 here"):
        rolling(directory=tmp_path, gap=1).fit(X, y)


def test_damaged_checkpoints(series, tmp_path):
    X, y = series
    expected = rolling(directory=tmp_path).fit(X, y).predict(X)
    file = tmp_path / "window_00003.npz"
    whole = file.read_bytes()
    np.savez(tmp_path / "other.npz", weight_0=np.zeros(3))
    others = [tmp_path / "window_00004.npz", tmp_path / "other.npz"]
    for content in (whole[:100], b"", whole + b"\0", *(other.read_bytes() for other in others)):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"window_00003.npz is damaged, or was not written for window 3 of this"):
            rolling(directory=tmp_path).fit(X, y)
    rolling(directory=tmp_path / "another", gap=1).fit(X, y)
    file.write_bytes((tmp_path / "another" / file.name).read_bytes())
    with pytest.raises(ValueError, match="was not written for window 3 of this fit: delete it"):
        rolling(directory=tmp_path).fit(X, y)
    file.unlink()
    assert_array_equal(rolling(directory=tmp_path).fit(X, y).predict(X), expected)
    assert file.read_bytes() == whole
    store, rng = Checkpoints(tmp_path / "bits", {"data": "x"}, 0), np.random.default_rng(0)
    store.save(3, {"center": np.arange(9.0), "losses": np.ones(3)})
    file = tmp_path / "bits" / file.name
    whole = file.read_bytes()
    for bit in rng.choice(8 * len(whole), 800, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            store.load(3)
    (tmp_path / "rolling.json").write_text("[]")
    with pytest.raises(ValueError, match=r"rolling\.json is not the record of a rolling fit"):
        rolling(directory=tmp_path).fit(X, y)


@pytest.mark.parametrize("at", ["rolling.json", "window_00002.npz"])
def test_a_full_disk_is_a_sentence(series, tmp_path, monkeypatch, at):
    def full(path, content, real=Path.write_bytes):
        if at in path.name:
            real(path, content[:50])
            raise OSError(28, "No space left on device")
        return real(path, content)

    X, y = series
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ValueError, match=rf"{at} cannot be written: No space left on device"):
        rolling(directory=tmp_path).fit(X, y)
    assert not [path for path in tmp_path.iterdir() if at in path.name]
    monkeypatch.undo()
    assert_array_equal(rolling(directory=tmp_path).fit(X, y).predict(X), rolling().fit(X, y).predict(X))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"directory='.*file' cannot be used: File exists"):
        rolling(directory=tmp_path / "file").fit(X, y)


def test_weights_there_and_back(series):
    given = {"units": (4, 2), "bidirectional": True, "dense_units": (3,), "dropout": 0.1}
    net = rolling(given).fit(*series).networks_[0]
    assert with_arrays(net, arrays_of(net)) == net
    with pytest.raises(ValueError, match="weights have shapes"):
        with_arrays(net, arrays_of(net)[1:])


# ------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("estimator", "changes", "message"),
    [
        ({}, {"window": 0}, r"RollingLSTM\(window=...\) takes a whole number of at least 1, not 0"),
        ({}, {"step": 1.5}, r"RollingLSTM\(step=...\) takes a whole number of at least 1, not 1.5"),
        ({}, {"gap": -1}, r"RollingLSTM\(gap=...\) takes a whole number of at least 0, not -1"),
        ({}, {"scaler": "robust"}, r"RollingLSTM\(scaler=...\) takes 'standard' or 'minmax', or None, not 'robust'"),
        ({}, {"expanding": 2}, r"RollingLSTM\(expanding=...\) takes True or False, not 2"),
        ({}, {"window": 2}, r"RollingLSTM\(window=2\) is shorter than the 3 steps of one sample"),
        ({}, {"window": 39, "gap": 1}, r"X has 40 periods, expected more than window \+ gap = 40"),
        ({"early_stopping": True}, {}, "early_stopping=True is not supported"),
        ({"units": ()}, {}, r"LSTMRegressor\(units=...\) takes"),
    ],
)
def test_bad_parameters(series, estimator, changes, message):
    with pytest.raises(ValueError, match=message):
        rolling(estimator, **changes).fit(*series)


def test_bad_data(series, real):
    X, y = series
    with pytest.raises(ValueError, match="takes a DataFrame, a panel or one row a time, not ndarray"):
        rolling().fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="y is not on the panel's index: row 0 is 0 in y and 2001-01-31 in X"):
        rolling().fit(X, y.reset_index(drop=True))
    with pytest.raises(ValueError, match=r"y has shape \(39,\), expected \(40,\)"):
        rolling().fit(X, y.to_numpy()[1:])
    with pytest.raises(ValueError, match=r"y holds str, expected numbers|y\[0\] is .*, expected a number"):
        rolling().fit(X, y.astype(str) + "%")
    with pytest.raises(ValueError, match="Input y contains infinity"):
        rolling().fit(X, y.mask(np.arange(40) == 2, np.inf))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        rolling().fit(X, y, sample_weight=-np.ones(40))
    with pytest.raises(ValueError, match="no window has a complete sample of 3 steps with a target"):
        rolling().fit(X, y * np.nan)
    with pytest.raises(ValueError, match="takes an LSTMRegressor, not str"):
        RollingLSTM("lstm").fit(X, y)
    model = rolling().fit(X, y)
    with pytest.raises(ValueError, match="the panel lacks 1 of 3 features: 'b'"):
        model.predict(X[["a", "c"]])
    with pytest.raises(ValueError, match=r"X has times such as .* expected times like those of fit, '2001-01-31'"):
        model.predict(X.set_axis(pd.Index([f"x{k}" for k in range(40)], name="asset")).set_axis(range(40)))
    with pytest.raises(ValueError, match="nothing to score"):
        model.score(X.iloc[:WINDOW], y.iloc[:WINDOW])


def test_one_data_set_is_told_from_another():
    one = np.arange(6.0)
    told = [
        fingerprint(*given)
        for given in (
            ([one], ["ab", "c"]), ([one], ["a", "bc"]), ([one], ["abc"]), ([one], ["a", "b", "c"]),
            ([one.reshape(2, 3)], ["ab", "c"]), ([one.astype("f4")], ["ab", "c"]), ([one + 1], ["ab", "c"]), ([], []),
        )
    ]  # fmt: skip
    assert len(set(told)) == len(told)
    assert fingerprint([one.copy()], ["ab", "c"]) == told[0]


def test_divergence_names_the_window(series):
    X, y = series
    with pytest.raises(ValueError, match=r"training diverged in window 0 \(2001-01-31 to 2001-12-31\): lower"):
        rolling({"learning_rate_init": 1e30}).fit(X, y)
    fitted = rolling().fit(X, y)
    before = fitted.predict(X)
    with pytest.raises(ValueError, match="training diverged"):
        fitted.set_params(estimator__learning_rate_init=1e30).fit(X.iloc[:30], y.iloc[:30])
    assert_array_equal(fitted.predict(X), before)
