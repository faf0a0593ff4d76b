"""Faithfulness against loops over samples, a case by hand, and networks whose contributions are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import reference
import slow
from helpers import close
from sklearn.utils import check_random_state

import fastlrp as fl
from fastlrp.evidence import samples as sampled

T, D, H = 3, 4, 5
EXACT = fl.Arras(eps=1e-12, stabilizer="absorbed")


def linear(w, steps=T, forget=1.0, name=None):
    """Score = sum_t forget^(T-1-t) w'x_t: gates are 1, and linear units add up what they read."""
    w = np.asarray(w, float)[:, None]
    W, U = np.zeros((len(w), 4)), np.zeros((1, 4))
    W[:, 2:3] = w
    bias = [99.0, 99.0 if forget == 1 else 6 * forget - 3, 0.0, 99.0]
    lstm = fl.LSTM(W, U, bias, activation="linear", recurrent_activation="hard_sigmoid")
    return fl.Network([lstm, fl.Dense([[1.0]])], steps=steps, name=name)


def network(rng, activation="linear", outputs=1, dtype=np.float64):
    """A network, and the same for the reference, with a linear head, whose predictions are scores."""
    w = {k: rng.normal(0, 0.7, s).astype(dtype) for k, s in {"W": (D, 4 * H), "U": (H, 4 * H), "b": (4 * H,)}.items()}
    head = {"W": rng.normal(0, 1, (H, outputs)).astype(dtype), "b": rng.normal(0, 1, outputs).astype(dtype)}
    net = fl.Network([fl.LSTM(**w), fl.Dense(**head, activation=activation)], steps=T)
    lstm = {"kind": "lstm", **w, "return_sequences": False, "go_backwards": False, "activation": "tanh"}
    return net, [{**lstm, "recurrent_activation": "sigmoid"}, {"kind": "dense", **head, "activation": "linear"}]


def panel_of(rng, assets=5, months=9):
    """A panel in no order, with gaps and missing values."""
    index = pd.MultiIndex.from_product(
        [pd.period_range("2001-01", periods=months, freq="M"), [f"s{a}" for a in range(assets)]]
    )
    panel = pd.DataFrame(rng.normal(size=(len(index), D)), index.set_names(["month", "permno"]), list("abcd"))
    panel.iloc[[7, 20], [1, 2]] = np.nan
    return panel.drop(panel.index[33]).sample(frac=1, random_state=1)


def seed_of(random_state):
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def random_orders(draws, shape, random_state=0):
    """The random orders that are used: a stream a draw, sample after sample."""
    rngs = [np.random.default_rng((seed_of(random_state), k)) for k in range(draws)]
    return [rng.random(shape).argsort(axis=1) for rng in rngs]


def units(rel, by):
    return rel.values.sum(axis=1) if by == "feature" else rel.values.reshape(len(rel), -1)


# ------------------------------------------------------------------------------------------------------- by the loops


@pytest.mark.parametrize(
    ("by", "mean", "order", "points"),
    [("feature", "mean", "abs", 20), ("cell", "mean", "signed", 5), ("cell", "zero", "abs", 7),
     ("feature", "zero", "signed", 1)],
)  # fmt: skip
def test_panels_and_arrays_are_as_the_loops_say(rng, by, mean, order, points):
    """Of the score before the activation, with windows that overlap: what is deleted is the sample's own."""
    net, layers = network(rng, activation="sigmoid")
    panel = panel_of(rng)
    windows = slow.windows(panel, T)
    keys = [key for key in panel.index if key in windows]
    X = np.array([windows[key] for key in keys])
    assert 0.3 * len(panel) < len(keys) < 0.8 * len(panel)
    months = [np.mean([windows[key] for key in keys if key[0] == month], axis=0) for month, _ in keys]

    def score(x):
        return reference.predict(layers, x)[0]

    for given in ("panel", "array"):
        bases = months if given == "panel" else [X.mean(axis=0)] * len(X)
        bases = bases if mean == "mean" else np.zeros_like(X)
        data = panel if given == "panel" else X
        rel = net.explain(data)
        of = net.explain(X)
        orders = random_orders(2, units(of, by).shape)
        want, curves, share = slow.faithful(
            score, X, bases, units(of, by), orders, by=by, signed=order == "signed", points=points
        )
        got = fl.faithfulness(
            net, data, rel, by=by, replace=mean, order=order, points=points, n_random=2, radius=None, random_state=0
        )
        for name, numbers in want.items():
            close(got.samples[name], numbers, 1e-9, want["squared_change"].max() if name.startswith("inf") else None)
        close(got.samples["gain"], want["most"] - want["random"], 1e-9, abs(want["most"]).max())
        close(got.curves.index, share, 1e-15)
        for name, lines in curves.items():
            close(got.curves[name], lines.mean(axis=0), 1e-9)
        close(got.curves["random_std"], curves["random"].std(axis=0, ddof=1), 1e-9, abs(curves["random"]).max())
        areas = [slow.area(share, line) for line in curves["random"]]
        close(got.random_std, np.std(areas, ddof=1), 1e-9, max(np.abs(areas)))
        if given == "array":
            assert got.by_time is None
            continue
        assert list(got.samples.index) == keys
        whose = got.samples.groupby(level="month")
        pd.testing.assert_frame_equal(got.by_time.drop(columns="samples"), whose.mean(), check_freq=False)
        assert got.by_time["samples"].equals(whose.size().rename("samples"))
        table = got.table()
        gain = whose["gain"].mean()
        want_table = {
            "samples": len(keys), "months": len(gain), "gain_std": gain.std(), "months_won": (gain > 0).mean(),
            "infidelity_relative": want["infidelity"].mean() / want["squared_change"].mean(),
            "reversed": (want["least"] - want["random"]).mean(),
        }  # fmt: skip
        for name, number in want_table.items():
            close(table[name], number, 1e-9)


@pytest.mark.parametrize("by", ["feature", "cell"])
def test_sensitivity_is_the_largest_move_of_all_draws(rng, by):
    net, layers = network(rng)
    X = rng.normal(size=(6, T, D))
    got = fl.faithfulness(net, X, net.explain(X), by=by, radius=0.3, n_random=4, points=1, random_state=3).samples

    def explained(x):
        R = reference.explain(layers, x, reference.Rule("arras")).relevance
        return R.sum(axis=0) if by == "feature" else R.ravel()

    moves = []
    for k in range(4):
        noise = 0.3 * (2 * np.random.default_rng((seed_of(3), 4, k)).random(X.shape) - 1)
        assert abs(noise).max() <= 0.3
        moves.append([np.linalg.norm(explained(x + e) - explained(x)) for x, e in zip(X, noise, strict=True)])
    close(got["max_sensitivity"], np.max(moves, axis=0), 1e-8)
    close(got["norm"], [np.linalg.norm(explained(x)) for x in X], 1e-9)


def test_float32_agrees_with_float64(rng):
    net, _ = network(rng, dtype=np.float32)
    X = rng.normal(size=(40, T, D)).astype(np.float32)
    one, two = (fl.faithfulness(net, x, net.explain(x), by="cell", random_state=0) for x in (X, X.astype(np.float64)))
    for name in ("most", "least", "random", "infidelity", "squared_change"):
        close(one.samples[name], two.samples[name], 1e-4)
    close(one.samples["norm"], two.samples["norm"], 1e-3)


def test_blocks_do_not_matter(rng, monkeypatch):
    net, _ = network(rng)
    panel = panel_of(rng)
    rel = net.explain(panel)
    one = fl.faithfulness(net, panel, rel, by="cell", random_state=0, n_random=3)
    monkeypatch.setattr(sampled, "_BYTES", 2 * 20 * T * D * 8)
    two = fl.faithfulness(net, panel, rel, by="cell", random_state=0, n_random=3)
    for name in one.samples:
        close(two.samples[name], one.samples[name], 1e-12)
    close(two.curves, one.curves, 1e-12)


# --------------------------------------------------------------------------------------------------- what is known


def test_a_case_by_hand():
    """Score 3a - b at (2, 1) is 5. Without a it is -1, without b 6, without both 0."""
    net, X = linear([3.0, -1.0], steps=1), np.array([[[2.0, 1.0]]])
    rel = net.explain(X, rule=EXACT)
    close(rel.values, [[[6.0, -1.0]]], 1e-9)
    f = fl.faithfulness(net, X, rel, replace="zero", radius=None, random_state=0)
    close(f.curves["most"], [0, 6, 5], 1e-9)
    close(f.curves["least"], [0, 1, 5], 1e-9)
    close(f.samples[["most", "least"]], [[4.25, 1.75]], 1e-9)
    close(f.samples["infidelity"], [0], 1e-18, 25)
    signed = fl.faithfulness(net, X, rel, replace="zero", order="signed", radius=None, random_state=0)
    close(signed.curves["least"], [0, -1, 5], 1e-9)
    assert "gain_relative" not in signed.table()
    # says that a gave 1 and b 2: b goes first, and the errors are 25 or 9, and 4 for both together
    wrong = fl.faithfulness(net, X, replace_values(rel, [[[1.0, 2.0]]]), replace="zero", radius=None, random_state=0)
    close(wrong.curves["most"], [0, 1, 5], 1e-9)
    first = np.mean([orders[0][0] == 0 for orders in random_orders(10, (1, 2))])
    assert 0 < first < 1
    close(wrong.samples["random"], [first * 4.25 + (1 - first) * 1.75], 1e-9)
    close(wrong.samples["infidelity"], [first * 14.5 + (1 - first) * 6.5], 1e-9)
    close(wrong.samples["squared_change"], [first * 30.5 + (1 - first) * 13], 1e-9)
    assert wrong.table()["gain"] < 0 < f.table()["gain"]


def replace_values(rel, values):
    return replace(rel, values=np.asarray(values, float))


@pytest.mark.parametrize("rule", [EXACT, fl.GradientXInput(), fl.IntegratedGradients(2)])
@pytest.mark.parametrize("by", ["feature", "cell"])
def test_true_contributions_win_and_reversed_ones_lose(rng, rule, by):
    """Of a linear network with a discount by lag every rule gives the true contributions, and infidelity is 0."""
    w, X = np.array([2.0, -1.0, 0.5, 0.1]), rng.normal(size=(200, T, D))
    net = linear(w, forget=0.5)
    rel = net.explain(X, rule=rule)
    truth = X * w * np.array([0.25, 0.5, 1])[:, None]
    close(rel.values, truth, 1e-8)
    table = fl.faithfulness(net, X, rel, by=by, replace="zero", random_state=0).table()
    assert table["infidelity_relative"] < 1e-15
    assert table["gain"] > 5 * table["random_std"]
    assert table["reversed"] < -5 * table["random_std"]
    against = replace_values(rel, np.sign(truth) / (abs(truth) + 1e-3))  # the most relevant are the least
    lost = fl.faithfulness(net, X, against, by=by, replace="zero", random_state=0, radius=None).table()
    assert lost["gain"] < -5 * table["random_std"]
    # with mean features away from zero, what is missing beside the mean is w (x - mean), which exact relevance is not
    assert fl.faithfulness(net, X + 3, net.explain(X + 3, rule=rule), radius=None).table()["infidelity_relative"] > 0.1
    moved = replace_values(net.explain(X + 3, rule=rule), truth - truth.mean(axis=0))
    assert fl.faithfulness(net, X + 3, moved, by=by, radius=None).table()["infidelity_relative"] < 1e-15


def test_what_a_network_ignores_is_deleted_last_and_changes_nothing(rng):
    net, X = linear([2.0, 0.0, 1.0, 0.0]), rng.normal(size=(50, T, D))
    rel = net.explain(X, rule=EXACT)
    f = fl.faithfulness(net, X, rel, random_state=0, radius=None)
    close(f.curves["most"].iloc[2:], np.full(3, f.curves["most"].iloc[-1]), 1e-12)
    close(f.curves["least"].iloc[:3], np.zeros(3), 1e-12, 1.0)
    blind = np.zeros_like(X)
    blind[..., [1, 3]] = 1 + rng.random((50, T, 2))
    bad = fl.faithfulness(net, X, replace_values(rel, blind), random_state=0, radius=None).table()
    assert bad["gain"] < -7 * bad["random_std"]
    assert bad["infidelity_relative"] > 1


def test_sensitivity_of_a_linear_network_has_a_bound(rng):
    """Phi = w x moves by at most radius |w| of the cells, and comes near it with enough draws."""
    w = np.array([2.0, -1.0, 0.5, 0.1])
    net, X = linear(w), rng.normal(size=(20, T, D))
    rel = net.explain(X, rule=fl.GradientXInput())
    found = fl.faithfulness(net, X, rel, by="cell", radius=0.1, n_random=200, points=1, random_state=0).samples
    most = 0.1 * np.sqrt(T) * np.linalg.norm(w)
    assert (found["max_sensitivity"] <= most * (1 + 1e-9)).all()
    assert (found["max_sensitivity"] > 0.75 * most).all()


def test_an_ensemble_is_tested_as_one(rng):
    """The mean of linear networks is the linear network of mean weights."""
    several = np.array([[2.0, -1.0, 0.5, 0.1], [1.0, 1.0, -0.5, 0.3]])
    nets, mean, X = fl.Ensemble([linear(w) for w in several]), linear(several.mean(axis=0)), rng.normal(size=(30, T, D))
    got = fl.faithfulness(nets, X, nets.explain(X, rule=EXACT), random_state=0)
    want = fl.faithfulness(mean, X, mean.explain(X, rule=EXACT), random_state=0)
    for name in want.samples.columns.drop("infidelity_scaled"):
        close(got.samples[name], want.samples[name], 1e-8, want.samples["squared_change"].max())


def test_one_of_several_outputs_and_some_rows(rng):
    net, layers = network(rng, outputs=3, activation="softmax")
    panel = panel_of(rng)
    rel = net.explain(panel, target=2, reduce="steps")
    whole = fl.faithfulness(net, panel, rel, radius=None, random_state=0)
    X = np.array([slow.windows(panel, T)[key] for key in whole.samples.index])
    few = fl.faithfulness(net, panel, rel[np.arange(len(panel)) % 2 == 0], radius=None, random_state=0)
    kept = [key for k, key in enumerate(panel.index) if k % 2 == 0 and key in set(whole.samples.index)]
    assert list(few.samples.index) == kept
    close(few.samples[["most", "least"]], whole.samples.loc[kept, ["most", "least"]], 1e-12)  # the same means replace
    bases = [X[[k for k, other in enumerate(whole.samples.index) if other[0] == key[0]]].mean(axis=0) for key in kept]
    all_gone = [
        abs(reference.predict(layers, x)[2] - reference.predict(layers, base)[2])
        for x, base in zip(X[whole.samples.index.get_indexer(pd.MultiIndex.from_tuples(kept))], bases, strict=True)
    ]
    close(few.curves["most"].iloc[-1], np.mean(all_gone), 1e-9)
    drawn = fl.faithfulness(net, panel, rel, n_samples=4, radius=None, random_state=0)
    assert len(drawn.samples) == 4
    assert set(drawn.samples.index) <= set(whole.samples.index)


def test_the_repr_and_the_picture_say_what_was_done(rng):
    net, _ = network(rng)
    panel = panel_of(rng)
    f = fl.faithfulness(net, panel, net.explain(panel), random_state=0)
    assert repr(f).startswith("Faithfulness of Arras(eps=0.001")
    assert f"features of {len(f.samples)} samples replaced by their mean\nsamples" in repr(f)
    axes = f.plot().axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    close(lines["most relevant first"], f.curves["most"], 1e-15)
    close(lines["least relevant first"], f.curves["least"], 1e-15)
    said = "\n".join(text.get_text() for text in axes.texts)
    assert f"positive in {100 * f.table()['months_won']:.0f} % of {len(f.by_time)} periods" in said
    assert axes.get_xlabel() == "% of features replaced by their mean"


# ------------------------------------------------------------------------------------------------------------ refusals


def bad_calls(rng):
    net, _ = network(rng)
    X = rng.normal(size=(6, T, D))
    rel = net.explain(X)
    other, _ = network(np.random.default_rng(9))
    yield {}, "relevance is not of this network and this X: in row 0 its score is", other, X, rel
    yield {}, r"relevance is not of this network and this X.*differ in 3 rows of 6", net, np.r_[X[:3], X[3:] + 1], rel
    yield {}, r"relevance has 6 rows, of which X, with 4, lacks 2, such as 4: give the X", net, X[:4], rel
    yield {}, r"relevance has 44 rows, of which X, with 6, lacks", net, X, net.explain(panel_of(rng))
    yield {}, "relevance= takes a result of explain, not ndarray", net, X, rel.values
    yield {}, "expected a fastlrp.Network, not LSTMRegressor", fl.LSTMRegressor(), X, rel
    yield {}, "relevance has 2 features, but the network takes 4", net, X, linear([1, 2]).explain(X[..., :2])
    yield {"by": "cell"}, r"faithfulness\(by='cell'\) needs every step", net, X, net.explain(X, reduce="steps")
    yield {"by": "step"}, "by= takes 'feature' or 'cell', not 'step'", net, X, rel
    yield {"replace": 0}, "replace= takes 'mean' or 'zero', not 0", net, X, rel
    yield {"order": "size"}, "order= takes 'abs' or 'signed', not 'size'", net, X, rel
    yield {"points": 0}, "points= takes a whole number of at least 1, not 0", net, X, rel
    yield {"n_random": 1.5}, "n_random= takes a whole number of at least 1, not 1.5", net, X, rel
    yield {"radius": 0}, "radius= takes a positive number, or None, not 0", net, X, rel
    yield {}, "X is empty", net, X[:0], rel
    yield {}, r"infinite \(inf\) at sample 1, step 0, feature 2", net, with_value(X, np.inf), rel
    gone = with_value(X[:2], np.nan)[1:]
    yield {}, "no row of X has a prediction: of 1 row none ends a full window", net, gone, net.explain(gone)
    yield (
        {},
        "mean of the sample's cross-section, but there is one sample, which is its own mean",
        net,
        X[:1],
        net.explain(X[:1]),
    )
    alone = panel_of(rng, assets=1, months=60).fillna(0.0)
    yield {}, "but each period has one complete window, which is its own mean: take r", net, alone, net.explain(alone)
    yield {}, "relevance is missing in all of 1 row", net, with_value(X, np.nan), net.explain(with_value(X, np.nan))[1]
    deep = fl.Network([fl.LSTM(**lstm_of(rng, D), return_sequences=True), fl.LSTM(**lstm_of(rng, H))], steps=T)
    averaged = deep.replaced(layers=[*deep.layers, fl.Dense(rng.normal(size=(H, 1)))])
    yield {}, "radius= needs relevance that explain", averaged, X, averaged.explain(X, aggregate="last", reduce="steps")


def lstm_of(rng, inputs):
    return {"W": rng.normal(size=(inputs, 4 * H)), "U": rng.normal(size=(H, 4 * H))}


def with_value(X, value):
    X = X.copy()
    X[1, 0, 2] = value
    return X


def test_what_does_not_fit_is_refused_in_a_sentence(rng):
    for options, words, net, X, rel in bad_calls(rng):
        with pytest.raises(ValueError, match=words):
            fl.faithfulness(net, X, rel, **options)
