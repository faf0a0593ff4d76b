"""Numbers at the ends of a dtype's range: overflow, a state of its own; large logits; scores that are denormal."""

from __future__ import annotations

import dataclasses
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import TOTALS, same_bits, same_relevance

import fastlrp as fl

T, D, H = 6, 3, 8
MISSING, OVER = 7, [2, 5]


def network(rng, scale=1.0, dtype=np.float64, **options):
    """With linear cells, whose state is squared step by step: it explodes where features are far from 0."""
    W, U, V = (rng.normal(size=size).astype(dtype) for size in ((D, 4 * H), (H, 4 * H), (H, 1)))
    return fl.Network([fl.LSTM(scale * W, U, np.zeros(4 * H, dtype), activation="linear"), fl.Dense(V)], **options)


def twin(net, x):
    """The prediction of one sample, in plain NumPy and the dtype of the network."""
    lstm, dense = net.layers
    h = c = np.zeros(H, x.dtype)
    with np.errstate(all="ignore"):
        for t in range(T):
            zi, zf, zg, zo = np.split(x[t] @ lstm.W + h @ lstm.U, 4)
            i, f, o = (1 / (1 + np.exp(-z)) for z in (zi, zf, zo))
            c = f * c + i * zg
            h = o * c
        return h @ dense.W


def samples(rng, dtype=np.float64, n=12):
    X = rng.normal(size=(n, T, D)).astype(dtype)
    X[OVER] = np.sign(X[OVER]) * np.finfo(dtype).max
    X[MISSING, 2, 1] = np.nan
    return X


def quietly(call, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*arguments, **options)


@pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ["arras", "rudder", "gradient_x_input"])
def test_rows_that_overflow_are_told_from_missing_ones(rng, rule, dtype):
    net, X = network(rng, dtype=dtype), samples(rng, dtype)
    with pytest.warns(fl.OverflowWarning, match=rf"^2 of 12 rows overflowed: .* {np.dtype(dtype)} \(2, 5\); they have"):
        rel = net.explain(X, rule=fl.Arras(delta=1) if rule == "arras" else rule)
    assert np.flatnonzero(rel.overflowed).tolist() == OVER
    assert np.flatnonzero(rel.missing).tolist() == [MISSING]
    assert np.isinf(rel.score[OVER]).all()
    for name in ("values", "initial_state", "unattributed"):
        assert np.isnan(getattr(rel, name)[OVER]).all()
    fine = np.flatnonzero(rel.explained)
    assert len(fine) == len(X) - 3
    assert np.isfinite(rel.values[fine]).all()
    same_relevance(rel, quietly(net.explain, X[fine], rule=rel.rule), fine)
    assert not any(np.isfinite(twin(net, X[row])).any() for row in OVER)


def test_predictions_that_overflow_are_infinite_and_named(rng):
    net, X = network(rng, steps=T), samples(rng)
    with pytest.warns(fl.OverflowWarning, match=r"^2 of 12 rows .* \(2, 5\); they have an infinite prediction: scale"):
        predicted = net.predict(X)
    assert np.isinf(predicted[OVER]).all()
    assert np.flatnonzero(np.isnan(predicted)).tolist() == [MISSING]
    months = pd.period_range("2015-01", periods=T, freq="M")
    panel = pd.DataFrame(
        X.transpose(1, 0, 2).reshape(-1, D), pd.MultiIndex.from_product([months, [f"s{k}" for k in range(12)]])
    )
    with pytest.warns(fl.OverflowWarning, match=r"2 of 72 rows .* \(\(2015-06, s2\), \(2015-06, s5\)\)"):
        same_bits(net.predict(panel).to_numpy()[-12:], predicted)
    with pytest.warns(fl.OverflowWarning, match=r"2 of 12 rows .* \(2, 5\).* compute with dtype='float64'"):
        net.predict(samples(rng, np.float32))


def test_rolling_predictions_that_overflow_are_named_too(rng):
    months = pd.period_range("2015-01", periods=30, freq="M")
    index = pd.MultiIndex.from_product([months, [f"s{k}" for k in range(4)]])
    X = pd.DataFrame(rng.normal(size=(len(index), D)).astype(np.float32), index)
    y = pd.Series(rng.normal(size=len(index)), index)
    estimator = fl.LSTMRegressor(network=network(rng, dtype=np.float32), steps=T, max_iter=1, random_state=0)
    rolled = fl.RollingLSTM(estimator, window=15, step=15)
    quietly(rolled.fit, X, y)
    later = X.copy()
    later.iloc[-1 - 4 * T :: 4] = np.sign(later.iloc[-1 - 4 * T :: 4]) * np.finfo(np.float32).max / 10
    with pytest.warns(fl.OverflowWarning, match=r"of 120 rows overflowed: .* s3\).* infinite prediction"):
        predicted = rolled.predict(later)
    over = np.isinf(predicted)
    assert over.iloc[-1]
    assert set(predicted.index[over].get_level_values(1)) == {"s3"}


def test_a_summary_counts_and_names_them(rng):
    rel = quietly(network(rng).explain, samples(rng))
    lines = rel.summary().split("\n")
    assert lines[1:4] == [
        "  9 samples of 6 steps x 3 features",
        "  1 of 12 rows is missing: no full window ends there, or a value is missing",
        "  2 of 12 rows overflowed: numbers inside were too large for float64 (2, 5)",
    ]
    assert "nan" not in rel.summary()
    assert "or numbers inside overflowed" in repr(rel)
    assert "no row is left" in rel[OVER].summary()


@pytest.mark.parametrize("ending", ["parquet", "h5"])
def test_the_state_is_saved(rng, ending, tmp_path):
    rel = quietly(network(rng).explain, samples(rng))
    rel.save(tmp_path / f"relevance.{ending}")
    again = fl.load_relevance(tmp_path / f"relevance.{ending}")
    assert np.flatnonzero(again.overflowed).tolist() == OVER
    assert np.flatnonzero(again.missing).tolist() == [MISSING]


def test_a_rule_that_overflows_leaves_prediction_and_score(rng):
    """The cell ends near 0 with a score near float32's largest number: Rudder divides the one by the other."""
    W, U, b = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32), np.zeros(4, np.float32)
    W[0, 2] = 1.0
    V, c = np.ones((1, 1), np.float32), np.array([3e38], np.float32)
    net = fl.Network([fl.LSTM(W, U, b, activation="linear"), fl.Dense(V, c)])
    X = np.array([[[1.0], [-0.5 - 1e-4]], [[1e37], [1e37]]], np.float32)
    with pytest.warns(fl.OverflowWarning, match=r"1 of 2 rows"):
        rel = net.explain(X, rule=fl.Rudder(eps=1e-3, delta=1))
    assert rel.overflowed.tolist() == [True, False]
    assert np.isfinite(rel.score).all()
    assert np.isfinite(rel.prediction).all()
    whole = rel.values[1].sum(dtype=np.float64) + rel.initial_state[1] + rel.unattributed[1]
    assert abs(whole - rel.score[1]) <= 1e-6 * rel.score[1]


def test_an_ensemble_overflows_where_a_member_does(rng):
    nets, X = [network(rng), network(rng, 1e-160), network(rng, 1e-160)], samples(rng)
    X[MISSING, 2, 1] = 0.5
    assert np.isfinite(nets[1].predict(X)).all()
    with pytest.warns(fl.OverflowWarning, match=r"2 of 12 rows .* \(2, 5\)"):
        rel = fl.Ensemble(nets).explain(X)
    assert np.flatnonzero(rel.overflowed).tolist() == OVER
    assert not rel.missing.any()
    assert np.isinf(rel.score[OVER]).all()
    with pytest.warns(fl.OverflowWarning, match=r"infinite prediction"):
        assert np.flatnonzero(np.isinf(fl.Ensemble(nets).predict(X))).tolist() == OVER


@pytest.mark.parametrize(("eps", "dtype"), [(1e-46, "float32"), (1e39, "float32")])
def test_an_eps_out_of_the_dtypes_range_is_refused(rng, eps, dtype):
    net, X = network(rng), rng.normal(size=(3, T, D))
    expected = rf"eps={re.escape(repr(eps))}\) is out of float32's range, expected a number from 1.2e-38 to 3.4e\+38"
    for rule in (fl.Arras(eps=eps), fl.Rudder(eps=eps)):
        with pytest.raises(ValueError, match=expected):
            net.explain(X, rule=rule, dtype=dtype)
    assert np.isfinite(net.explain(X, rule=fl.Arras(eps=eps)).values).all()


def test_totals_of_one_sample_warn_too(rng):
    with pytest.warns(fl.OverflowWarning, match="1 of 1 row "):
        rel = network(rng).explain(samples(rng)[OVER[:1]])
    assert all(getattr(rel, name).shape == (1,) for name in TOTALS)
    with pytest.warns(fl.OverflowWarning, match="1 of 1 row "):
        network(rng).predict(samples(rng)[OVER[:1]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_holds_for_large_logits(rng, dtype):
    """Shifted by any logit but the largest it would overflow."""
    W, U = rng.normal(size=(D, 4 * H)).astype(dtype), np.zeros((H, 4 * H), dtype)
    V = (2000 * rng.normal(size=(H, 4))).astype(dtype)
    head = np.array([-3000, 0, 500, 499], dtype)
    X = rng.normal(size=(300, T, D)).astype(dtype)
    net, logits = (fl.Network([fl.LSTM(W, U), fl.Dense(V, head, activation=name)]) for name in ("softmax", "linear"))
    z = logits.predict(X).astype(np.longdouble)
    want = np.exp(z - z.max(axis=1, keepdims=True))
    want /= want.sum(axis=1, keepdims=True)
    assert (z - z[:, :1]).max() > 2000
    assert len(np.unique(z.argmax(axis=1))) > 1
    assert abs(net.predict(X) - want).max() <= 16 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaps_of_denormal_scores_are_rounding(rng, dtype):
    net, X = network(rng, dtype=dtype), rng.normal(size=(20, T, D)).astype(dtype)
    lstm, dense = net.layers
    tiny = np.finfo(dtype).smallest_normal
    for scale in (tiny, tiny * np.finfo(dtype).eps * 4):
        rel = fl.Network([lstm, fl.Dense((dense.W / abs(dense.W).max() * scale).astype(dtype))]).explain(X)
        assert abs(rel.score).max() > 0
        assert rel.reconcile().relative_worst <= 100 * np.finfo(dtype).eps
    lost = rel.score + 0.01 * tiny  # a hundredth of the smallest normal number is not rounding
    assert dataclasses.replace(rel, score=lost.astype(dtype)).reconcile().relative_worst > 0.005
