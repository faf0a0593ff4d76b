"""min_steps= of LSTMRegressor and RollingLSTM: training, prediction and relevance of short histories."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from helpers import close, same_bits
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

import fastlrp as fl
from fastlrp.kernels.training.trainer import Trainer
from fastlrp.learning.architecture import PADDING
from fastlrp.panels.samples import from_panel

T, FEATURES = 4, ["a", "b"]


def make_panel(rng, n_assets=30, months=16):
    """Half of the assets begin late; some have a hole or a missing value. The target is the sum of what is there."""
    times, parts = pd.date_range("2001-01-31", periods=months, freq="ME"), []
    for k in range(n_assets):
        own = times[rng.integers(1, months) if k % 2 else 0 :]
        if k % 7 == 0 and len(own) > 5:
            own = own.delete(3)
        frame = pd.DataFrame(rng.normal(size=(len(own), 2)), own, FEATURES)
        if k % 5 == 0:
            frame.iloc[0, 0] = np.nan
        parts.append(frame.assign(asset=f"s{k:02d}").rename_axis("date").set_index("asset", append=True))
    panel = pd.concat(parts).sample(frac=1, random_state=0)
    y = pd.Series(panel.a.fillna(0) - panel.b + 0.1 * rng.normal(size=len(panel)), panel.index, name="y")
    return panel, y


def padded_windows(panel, least):
    """Rows that end a window, and the windows: padded by hand, from months looked up by name."""
    rows, windows = [], []
    for row, (date, asset) in enumerate(panel.index):
        months = pd.date_range(end=date, periods=T, freq="ME")
        own = panel.xs(asset, level="asset")
        have = [month in own.index for month in months]
        n = have[::-1].index(False) if False in have else T
        if n < least or any(have[: T - n]):
            continue
        window = np.full((T, 2), PADDING)
        window[T - n :] = own.loc[months[T - n :]].to_numpy()
        if not np.isnan(window).any():
            rows.append(row)
            windows.append(window)
    return np.array(rows), np.array(windows)


def model(**options):
    settings = {"units": (5,), "steps": T, "min_steps": 2, "max_iter": 4, "n_iter_no_change": 4, "random_state": 0}
    return fl.LSTMRegressor(**{**settings, **options})


@pytest.mark.parametrize("least", [1, 2, 3])
def test_samples_are_the_padded_windows(least):
    panel, _ = make_panel(np.random.default_rng(least))
    samples = from_panel(panel, T, None, np.float64, least=least, padding=PADDING)
    rows, want = padded_windows(panel, least)
    got = samples.rows[samples.starts[:, None] + np.arange(T)]
    order, other = np.argsort(samples.caller), np.argsort(rows)
    assert np.array_equal(samples.caller[order], rows[other])
    same_bits(got[order], want[other])
    assert (want == PADDING).any()


def test_training_sees_short_histories_as_arrays_with_masked_steps():
    """The loss of the first weights, by the trainer and by hand, over the same windows."""
    panel, y = make_panel(np.random.default_rng(1))
    fitted = model(dtype="float64").fit(panel, y)
    assert [layer.kind for layer in fitted.network_] == ["Masking", "LSTM", "Dense"]
    assert fitted.network_.mask_value == PADDING
    rows, X = padded_windows(panel, 2)
    assert fitted.n_windows_ == len(rows) > model(min_steps=None).fit(panel, y).n_windows_
    loss = Trainer(fitted.network_, steps=T, dtype=np.float64).loss(X, y.to_numpy()[rows, None])
    predicted = fitted.predict(panel).to_numpy()
    close(loss, np.mean((predicted[rows] - y.to_numpy()[rows]) ** 2), 1e-9)
    assert np.isnan(np.delete(predicted, rows)).all()
    same_bits(fitted.predict(X), predicted[rows])
    rel = fitted.explain(panel)
    same_bits(rel.prediction, predicted)
    assert not rel.values[rows][X == PADDING].any()
    close(rel.score[rows], rel.values[rows].sum(axis=(1, 2)) + rel.initial_state[rows] + rel.unattributed[rows], 1e-9)


def test_arrays_and_panels_train_alike():
    panel, y = make_panel(np.random.default_rng(2))
    by_panel = model(shuffle=False).fit(panel, y)
    samples = from_panel(panel, T, None, np.float32, least=2, padding=PADDING)
    X = samples.rows[samples.starts[:, None] + np.arange(T)]
    by_array = model(shuffle=False, min_steps=2).fit(X, y.to_numpy()[samples.caller])
    for one, two in zip(by_panel.network_, by_array.network_, strict=True):
        for a, b in zip(one.arrays, two.arrays, strict=True):
            same_bits(a, b)


@pytest.mark.parametrize("options", [{"early_stopping": True}, {"bidirectional": True, "dropout": 0.2, "units": (4, 3)},
                                     {"n_members": 2}, {"shuffle": False}])  # fmt: skip
def test_threads_and_options(options):
    panel, y = make_panel(np.random.default_rng(3))
    weight = pd.Series(np.random.default_rng(4).uniform(0, 2, len(panel)), panel.index)
    one, two = (model(threads=k, batch_size=50, **options).fit(panel, y, weight) for k in (1, 2))
    same_bits(one.predict(panel).to_numpy(), two.predict(panel).to_numpy())
    again = one.__class__.__new__(one.__class__)
    again.__setstate__(one.__getstate__())
    same_bits(again.predict(panel).to_numpy(), one.predict(panel).to_numpy())


def test_the_future_is_not_seen():
    """Poison after a month changes no prediction up to it."""
    panel, y = make_panel(np.random.default_rng(5))
    fitted = model().fit(panel, y)
    times = panel.index.get_level_values("date")
    cut = np.unique(times)[9]
    poisoned = panel.copy()
    poisoned[times > cut] = 1e6
    before = times <= cut
    same_bits(fitted.predict(poisoned).to_numpy()[before], fitted.predict(panel).to_numpy()[before])
    assert fitted.predict(panel)[before].notna().any()


def test_a_network_of_ones_own():
    panel, y = make_panel(np.random.default_rng(6))
    own = fl.Network([fl.Masking(-5.0), *model().fit(panel, y).network_.layers[1:]])
    fitted = model(network=own).fit(panel, y)
    assert fitted.network_.mask_value == -5.0
    assert fitted.predict(panel).notna().sum() == fitted.n_windows_
    plain = fl.Network(own.layers[1:])
    with pytest.raises(ValueError, match="its network has no Masking layer, expected one as the first"):
        model(network=plain).fit(panel, y)


def test_what_cannot_be_is_refused(tmp_path):
    panel, y = make_panel(np.random.default_rng(7))
    with pytest.raises(ValueError, match=re.escape("LSTMRegressor(min_steps=5) is more than the 4 steps of a window")):
        model(min_steps=5).fit(panel, y)
    with pytest.raises(ValueError, match=re.escape("LSTMRegressor(min_steps=9) is more than the 4 steps of X")):
        model(min_steps=9, steps=None).fit(np.ones((5, T, 2)), np.arange(5.0))
    with pytest.raises(ValueError, match=re.escape("(min_steps=...) takes a whole number of at least 1, or None")):
        model(min_steps=0).fit(panel, y)
    with pytest.raises(ValueError, match="fit_file trains on full windows alone"):
        model().fit_file(tmp_path / "panel.parquet", "y")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_conventions():
    assert clone(model()).get_params()["min_steps"] == 2
    check_estimator(
        fl.LSTMRegressor(min_steps=1, max_iter=100, random_state=0, learning_rate_init=0.05, dtype="float64")
    )


def rolled(**options):
    return fl.RollingLSTM(model(**options), window=6, step=3)


def test_rolling_fits_take_short_histories():
    panel, y = make_panel(np.random.default_rng(8))
    rolling = rolled().fit(panel, y)
    predicted, full = rolling.predict(panel), rolled(min_steps=None).fit(panel, y).predict(panel)
    assert predicted.notna().sum() > full.notna().sum() > 0
    rel = rolling.explain(panel)
    same_bits(rel.prediction, predicted.to_numpy())
    times = np.unique(panel.index.get_level_values("date"))
    rows, X = padded_windows(panel, 2)
    found = 0
    for row, window in zip(rows, X, strict=True):
        rank = int(np.searchsorted(times, panel.index[row][0]))
        if rank < 6:
            assert np.isnan(predicted.iloc[row])
            continue
        k = min((rank - 6) // 3, len(rolling.networks_) - 1)
        scaled = (window - rolling.centers_[k]) / rolling.scales_[k]
        scaled[(window == PADDING).all(axis=1)] = PADDING
        net = rolling.networks_[k]
        close(predicted.iloc[row], net.predict(scaled[None].astype(np.float32))[0], 1e-5, 1.0)
        found += 1
    assert found == predicted.notna().sum()


def test_rolling_windows_train_on_histories_inside_of_them():
    panel, y = make_panel(np.random.default_rng(9))
    rolling = rolled(max_iter=1, n_iter_no_change=1).fit(panel, y)
    times = np.unique(panel.index.get_level_values("date"))
    rows, X = padded_windows(panel, 2)
    rank = np.searchsorted(times, panel.index.get_level_values("date")[rows])
    first = rank - (X != PADDING).all(axis=2).sum(axis=1) + 1
    for k, n in enumerate(rolling.windows_["n_samples"]):
        start = 3 * k
        assert n == ((first >= start) & (rank < start + 6)).sum()


def test_a_rolling_fits_future_is_not_seen():
    panel, y = make_panel(np.random.default_rng(10))
    times = panel.index.get_level_values("date")
    cut = np.unique(times)[8]
    poisoned, target = panel.copy(), y.copy()
    poisoned[times > cut], target[times > cut] = 1e3, np.arange((times > cut).sum())
    one, two = rolled().fit(panel, y).predict(panel), rolled().fit(poisoned, target).predict(poisoned)
    same_bits(one.to_numpy()[times <= cut], two.to_numpy()[times <= cut])
    assert one[times <= cut].notna().any()
