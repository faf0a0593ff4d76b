"""Networks with static features, of which a sample has one value each: against the reference, on arrays and panels."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from helpers import TOTALS, close, run_python, same_bits, same_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Rule
from strategies import (
    bidirectional,
    cases,
    cast,
    dense,
    examples,
    gradient_batch,
    joined,
    lstm,
    network,
    reference_batch,
    rule_value,
)

import fastlrp as fl
from fastlrp.panels.static import counted_at_end
from fastlrp.panels.windows import Windows

pytestmark = pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")

D, T, S = 3, 4, 2
NAMES = {"features": ["beta", "mom", "bm"], "static": ["tech", "log_size"]}
RULES = [Rule("arras"), Rule("arras", eps=0.02, delta=1.0), Rule("arras", recurrent=False), Rule("rudder")]


def layers_of(rng, n_outputs=1, H=5):
    return [lstm(rng, D, H), {"kind": "static", "n": S}, dense(rng, H + S, 4, activation="tanh"),
            dense(rng, 4, n_outputs)]  # fmt: skip


def deep(rng, n_outputs=1):
    return [bidirectional(rng, D, 4, "concat", return_sequences=True), lstm(rng, 8, 5, go_backwards=True),
            {"kind": "dropout"}, {"kind": "static", "n": S}, dense(rng, 5 + S, n_outputs)]  # fmt: skip


def drawn(rng, n=70, dtype=np.float64):
    return rng.normal(size=(n, T, D)).astype(dtype), rng.normal(size=(n, S)).astype(dtype)


def panel_of(rng, n_assets=9, n_months=12):
    index = pd.MultiIndex.from_product(
        [pd.period_range("2000-01", periods=n_months, freq="M"), [f"A{k}" for k in range(n_assets)]],
        names=["month", "asset"],
    )
    columns = ["log_size", "bm", "mom", "tech", "beta"]
    return pd.DataFrame(rng.normal(size=(len(index), 5)), index, columns)


def windows_of(panel):
    """Windows, static features and the row of each, from a sorted panel's frame, by loops."""
    X, beside, rows = [], [], []
    for _, frame in panel.groupby(level="asset"):
        for k in range(T - 1, len(frame)):
            X.append(frame[NAMES["features"]].to_numpy()[k - T + 1 : k + 1])
            beside.append(frame[NAMES["static"]].to_numpy()[k])
            rows.append(panel.index.get_loc(frame.index[k]))
    return np.array(X), np.array(beside), np.array(rows)


def hold(got, want, tol=1e-10):
    scale = max(
        np.abs(want["values"]).max(), np.abs(want["static"]).max(), *(np.abs(want[key]).max() for key in TOTALS)
    )
    close(got.values, want["values"], tol, scale)
    close(got.static, want["static"], tol, scale)
    for key in TOTALS:
        close(getattr(got, key), want[key], tol, scale)


# -- arrays ------------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(60))
@given(case=cases(), n_static=st.integers(1, 5))
def test_float64_agrees_with_the_reference(case, n_static):
    rng = np.random.default_rng(n_static)
    layers, beside = joined(rng, case.layers, n_static), rng.normal(size=(len(case.X), n_static))
    if layers is None:
        return
    want = reference_batch(layers, case.X, case.rule, case.target, case.aggregate, S=beside)
    if want["least_sign"].min() < 1e-10:
        return
    net, options = network(layers), {"target": case.target, "aggregate": case.aggregate, "dtype": np.float64}
    got = net.explain([case.X, beside], rule=rule_value(case.rule), **options)
    hold(got, want)
    expected = want["prediction"][:, 0] if want["prediction"].shape[1] == 1 else want["prediction"]
    close(got.prediction, expected, 1e-12)
    same_bits(net.predict([case.X, beside], dtype=np.float64), got.prediction)
    summed = net.explain((case.X, beside), rule=rule_value(case.rule), reduce="steps", **options)
    scale = max(np.abs(want["values"]).max(), np.abs(want["static"]).max())
    close(summed.values, want["values"].sum(axis=1), 1e-10, scale)
    close(summed.static, want["static"], 1e-10, scale)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name}-{rule.delta:g}-{rule.recurrent}")
def test_float32_agrees_with_the_reference(rule, rng):
    layers = [cast(layer, np.float32) for layer in deep(rng)]
    X, beside = drawn(rng, 60, np.float32)
    want = reference_batch(layers, X, rule, S=beside)
    got = network(layers).explain([X, beside], rule=rule_value(rule))
    assert got.values.dtype == got.static.dtype == np.float32
    both = [np.concatenate([a.reshape(60, -1), b], axis=1) for a, b in
            ((got.values, got.static), (want["values"], want["static"]))]  # fmt: skip
    error = np.abs(both[0] - both[1])[want["least_sign"] > 1e-6]
    assert np.median(error) <= 1e-5 * np.abs(both[1]).max()
    assert error.max() <= 1e-3 * np.abs(both[1]).max()
    close(got.prediction, want["prediction"][:, 0], 1e-6)


@pytest.mark.parametrize("reduce", [None, "steps"])
def test_gradient_rules_agree_with_the_reference(reduce, rng):
    layers, (X, beside) = layers_of(rng), drawn(rng, 20)
    away, static = rng.normal(size=(T, D)), rng.normal(size=S)
    rules = (fl.GradientXInput(), fl.IntegratedGradients(6), fl.IntegratedGradients(6, away, static))
    for rule in rules:
        want = gradient_batch(layers, X, rule, S=beside)
        got = network(layers).explain([X, beside], rule=rule, reduce=reduce)
        if reduce:
            want["values"] = want["values"].sum(axis=1)
        hold(got, want)
    full = network(layers).explain([X, beside], rule=fl.IntegratedGradients(64, away, static))
    assert full.reconcile().relative_worst < 1e-6  # completeness: it adds up to the difference of two scores
    close(full.unattributed, gradient_batch(layers, X, rules[2], S=beside)["unattributed"], 1e-10)


def test_delta_of_one_conserves(rng):
    net, (X, beside) = network(deep(rng)), drawn(rng)
    got = net.explain([X, beside], rule=fl.Arras(eps=0.02, delta=1))
    total = got.values.sum(axis=(1, 2)) + got.static.sum(axis=1) + got.initial_state
    close(total, got.score, 1e-11, np.abs(got.values).sum(axis=(1, 2)).max())


def test_below_a_linear_head_relevance_is_value_times_weight(rng):
    """In closed form: score = h w + s v, and the epsilon rule hands static feature j the part s_j v_j of it."""
    head, (X, beside) = dense(rng, 5 + S, 1, bias=False), drawn(rng)
    net = network([lstm(rng, D, 5), {"kind": "static", "n": S}, head])
    got = net.explain([X, beside], rule=fl.Arras(eps=1e-12, stabilizer="absorbed"))
    close(got.static, beside * head["W"][-S:, 0], 1e-9)
    for rule in (fl.Rudder(eps=1e-12, stabilizer="absorbed"), fl.GradientXInput(), fl.IntegratedGradients(1)):
        close(net.explain([X, beside], rule=rule).static, beside * head["W"][-S:, 0], 1e-9)


def test_a_static_feature_without_weight_has_no_relevance_but_its_even_share(rng):
    layers, (X, beside) = layers_of(rng), drawn(rng)
    layers[2]["W"][-1] = 0
    got = network(layers).explain([X, beside], rule=fl.Arras(stabilizer="absorbed"))
    assert np.all(got.static[:, 1] == 0)
    assert np.all(got.static[:, 0] != 0)


def test_a_batch_is_its_rows_and_threads_change_no_bit(rng):
    net, (X, beside) = network(deep(rng)), drawn(rng, 300, np.float32)
    whole = net.explain([X, beside])
    for cut in (1, 7, 128):
        one = net.explain([X[:cut], beside[:cut]])
        same_relevance(whole, one, slice(cut))
        same_bits(whole.static[:cut], one.static)
    for threads in (1, 2, 3):
        same_bits(net.explain([X, beside], threads=threads).static, whole.static)


def test_a_missing_static_value_is_a_missing_row(rng):
    net, (X, beside) = network(layers_of(rng), **NAMES), drawn(rng)
    whole, holes = net.explain([X, beside]), beside.copy()
    holes[[3, 69], [0, 1]] = np.nan
    got = net.explain([X, holes])
    assert np.flatnonzero(got.missing).tolist() == [3, 69]
    assert np.isnan(got.values[[3, 69]]).all()
    assert np.isnan(got.static[[3, 69]]).all()
    kept = np.setdiff1d(np.arange(70), [3, 69])
    same_bits(got.static[kept], whole.static[kept])
    masked = np.ma.masked_invalid(holes)
    same_bits(net.predict([X, masked]), got.prediction)


BAD_PAIRS = {
    "windows alone": (lambda X, s: X, r"2 static features.*pair \[X, S\].*not a ndarray"),
    "nothing": (lambda X, s: None, r"pair \[X, S\].*not None"),
    "three arrays": (lambda X, s: [X, s, s], "not 3 arrays"),
    "the other order": (lambda X, s: [s, X], r"shape \(70, 2\), expected 3 dimensions"),
    "too few columns": (lambda X, s: [X, s[:, :1]], r"S has shape \(70, 1\), expected \(70, 2\)"),
    "too few rows": (lambda X, s: [X, s[:9]], r"S has shape \(9, 2\), expected \(70, 2\)"),
    "one axis": (lambda X, s: [X, s[:, 0]], r"S has shape \(70,\), expected \(70, 2\)"),
    "infinity": (lambda X, s: [X, np.where(s == s[4, 1], np.inf, s)], r"infinite .*sample 4, feature 1 \('log_size'\)"),
    "infinity in a window": (lambda X, s: [np.where(X[4, 1, 2] == X, -np.inf, X), s], r"sample 4, step 1, feature 2"),
    "text": (lambda X, s: [X, np.full(s.shape, "a")], "dtype <U1"),
    "an object": (lambda X, s: [X, np.full(s.shape, "a", object)], r"S\[0, 0\] is 'a', expected a number"),
    "frames": (lambda X, s: [X, pd.DataFrame(s)], "not of frames"),
}


@pytest.mark.parametrize("kind", BAD_PAIRS)
def test_bad_pairs_are_refused_in_one_sentence(kind, rng):
    make, words = BAD_PAIRS[kind]
    net, (X, beside) = network(layers_of(rng), **NAMES), drawn(rng)
    for call in (net.predict, net.explain):
        with pytest.raises(ValueError, match=words) as caught:
            call(make(X, beside))
        assert "\n" not in str(caught.value)


def test_other_networks_take_no_pair_and_no_names(rng):
    net, (X, beside) = network([lstm(rng, D, 4), dense(rng, 4, 1)]), drawn(rng)
    with pytest.raises(ValueError, match="pair of arrays, but the network has no static features"):
        net.predict([X, beside])
    with pytest.raises(ValueError, match=r"static= was given, but the network has no static features"):
        net.predict(X, static=["a"])
    with pytest.raises(
        ValueError, match=r"IntegratedGradients\(static=...\) has shape \(1,\), but the network takes none"
    ):
        net.explain(X, rule=fl.IntegratedGradients(static=[1.0]))


def test_baselines_of_another_size_are_refused(rng):
    net, pair = network(layers_of(rng)), list(drawn(rng))
    for static, words in (([1.0], r"shape \(1,\), but the network takes 2"), ([[1.0, 2.0]], r"shape \(1, 2\)"),
                          ([np.nan, 1.0], "nan at")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            net.explain(pair, rule=fl.IntegratedGradients(static=static))


def test_a_gpu_does_not_compute_them(rng):
    net, pair = network(layers_of(rng)), list(drawn(rng))
    with pytest.raises(ValueError, match="device='cuda' was given, but a network with static features is computed on"):
        net.explain(pair, device="cuda")


# -- the network -------------------------------------------------------------------------------------------------------


def test_a_network_knows_its_static_features(rng):
    net = network(deep(rng), steps=T, **NAMES)
    assert (net.n_features, net.n_static, net.n_columns, net.static) == (D, S, D + S, ("tech", "log_size"))
    assert net.columns == ("beta", "mom", "bm", "tech", "log_size")
    assert "3 features, 2 static" in repr(net)
    assert [line.split()[0] for line in net.summary().splitlines()][-4:-2] == ["static", "3"]
    assert "static: tech, log_size" in net._repr_html_()
    assert net == network(deep(np.random.default_rng(0)), steps=T, **NAMES) or net != net.with_static(None)
    assert pickle.loads(pickle.dumps(net)) == net
    plain = net.with_static(None)
    assert (plain.static, plain.n_static, plain.columns) == (None, S, None)
    assert plain.with_static(NAMES["static"]) == net
    assert net.with_features(None).with_columns([*NAMES["features"], *NAMES["static"]]) == net


BAD_NETWORKS = {
    "no dense": (lambda rng: fl.Network([fl.LSTM(*weights(rng))], static=2), "in front of a Dense layer above it"),
    "a width that does not fit": (
        lambda rng: fl.Network([fl.LSTM(*weights(rng)), fl.Dense(np.ones((6, 1)))], static=3),
        r"takes 6 inputs, but layer 0 \(LSTM\) below it gives 4 and 3 static features join it",
    ),
    "a name twice": (lambda rng: fl.Network(rng_layers(rng), static=["a", "a"]), "names 'a' twice"),
    "a feature's name": (
        lambda rng: fl.Network(rng_layers(rng), features=["a", "b", "c"], static=["d", "b"]), "'b', which is one of",
    ),
    "text": (lambda rng: fl.Network(rng_layers(rng), static="ab"), "takes a list of names"),
    "a flag": (lambda rng: fl.Network(rng_layers(rng), static=True), "takes a list of names"),
    "below zero": (lambda rng: fl.Network(rng_layers(rng), static=-1), "not -1"),
    "moved": (lambda rng: network(layers_of(rng), **NAMES).with_static(["log_size", "tech"]), "cannot change it"),
}  # fmt: skip


def weights(rng):
    return rng.normal(size=(3, 16)), rng.normal(size=(4, 16))


def rng_layers(rng):
    return [fl.LSTM(*weights(rng)), fl.Dense(np.ones((6, 1)))]


@pytest.mark.parametrize("kind", BAD_NETWORKS)
def test_bad_networks_are_refused_in_one_sentence(kind, rng):
    make, words = BAD_NETWORKS[kind]
    with pytest.raises(ValueError, match=words) as caught:
        make(rng)
    assert "\n" not in str(caught.value)


def test_an_ensemble_is_the_mean_of_its_members(rng):
    nets, pair = [network(layers_of(np.random.default_rng(k)), **NAMES) for k in range(5)], list(drawn(rng, 600))
    got, each = fl.Ensemble(nets).explain(pair), [net.explain(pair) for net in nets]
    close(got.values, np.mean([one.values for one in each], axis=0), 1e-12)
    close(got.static, np.mean([one.static for one in each], axis=0), 1e-12)
    close(got.static_spread, np.std([one.static for one in each], axis=0, ddof=1), 1e-12)
    close(got.spread, np.std([one.values for one in each], axis=0, ddof=1), 1e-12)
    shares = [one.share().mean().to_numpy() for one in each]
    close(got.share_spread, np.std(shares, axis=0, ddof=1), 1e-10)
    assert got.reconcile().relative_worst < 1e-12
    flat = [np.concatenate([one.values.reshape(600, -1), one.static], axis=1).ravel() for one in each]
    between = np.var(np.mean(flat, axis=0)), np.mean(np.var(flat, axis=0, ddof=1))
    close(got.agreement(), (between[0] - between[1] / 5) / (between[0] + between[1] * 4 / 5), 1e-9)
    other = network(layers_of(rng), features=NAMES["features"], static=["a", "b"])
    with pytest.raises(ValueError, match=r"static\[0\] is 'a' in member 1, but 'tech' in member 0"):
        fl.Ensemble([nets[0], other])


# -- panels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["time first", "sorted", "shuffled"])
@pytest.mark.parametrize("n_assets", [4, 40])
def test_a_panel_gives_what_its_windows_give(order, n_assets, rng):
    """Few assets are loaded window by window, many share their months."""
    net, panel = network(deep(rng), steps=T, **NAMES), panel_of(rng, n_assets, 30)
    panel = {"time first": panel, "sorted": panel.sort_index(level="asset"), "shuffled": panel.sample(frac=1)}[order]
    X, beside, rows = windows_of(panel.sort_index())
    places = panel.index.get_indexer(panel.sort_index().index[rows])
    for rule in ("arras", "rudder", "gradient_x_input", fl.IntegratedGradients(2, np.ones(D), [0.5, -1.0])):
        want, got = net.explain([X, beside], rule=rule), net.explain(panel, rule=rule)
        assert (got.features, got.static_features) == (tuple(NAMES["features"]), tuple(NAMES["static"]))
        close(got.values[places], want.values, 1e-11)
        close(got.static[places], want.static, 1e-11, np.abs(want.values).max())
        close(got.prediction[places], want.prediction, 1e-12)
        assert np.isnan(np.delete(got.static, places, axis=0)).all()
    close(net.predict(panel).to_numpy()[places], want.prediction, 1e-12)


def test_a_static_feature_counts_in_a_windows_last_month_alone(rng):
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng, 30, 20).sort_index(level="asset")
    whole = net.explain(panel)
    holes = panel.copy()
    gone = rng.random(len(panel)) < 0.2
    holes.loc[gone, "log_size"] = np.nan
    got = net.explain(holes)
    assert np.array_equal(got.missing, whole.missing | gone)
    kept = ~got.missing
    close(got.values[kept], whole.values[kept], 1e-12)
    close(got.static[kept], whole.static[kept], 1e-12)
    assert holes["log_size"].isna().sum() == gone.sum()  # nothing that is given is changed
    temporal = panel.copy()
    temporal.iloc[10, panel.columns.get_loc("mom")] = np.nan
    assert net.explain(temporal).missing[10 : 10 + T].all()
    holes.iloc[5, holes.columns.get_loc("tech")] = np.inf
    with pytest.raises(ValueError, match="feature 'tech' at"):
        net.explain(holes)


def test_columns_are_found_by_name_or_named(rng):
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng)
    want = net.explain(panel)
    by_place = net.with_features(None).with_static(None)
    ordered = panel[[*NAMES["features"], *NAMES["static"]]]
    same_bits(by_place.explain(ordered).static, want.static)
    named = by_place.explain(panel[["tech", "beta", "mom", "log_size", "bm"]], static=NAMES["static"])
    same_bits(named.static, want.static)
    assert named.by_position
    assert named.features == tuple(NAMES["features"])
    half = net.with_static(None)
    same_bits(half.explain(panel, static=NAMES["static"]).static, want.static)
    for bad, kind, words in (
        (half, None, "static= is missing: the network has 2 static features without names"),
        (net, ["log_size", "tech"], "leave it out, and call the panel's columns so"),
        (half, ["tech"], "has 1 name, expected 2"),
        (half, ["tech", "beta"], "'beta', which is one of the network's features"),
        (half, ["tech", "logsize"], r"lacks 1 of 5 features: 'logsize' \(did you mean 'log_size'"),
    ):
        with pytest.raises(ValueError, match=words):
            bad.explain(panel, static=kind)
    with pytest.raises(ValueError, match=r"static= names columns of a panel, but X is none"):
        net.explain(list(drawn(rng)), static=NAMES["static"])


def test_polars_frames_are_panels(rng):
    polars = pytest.importorskip("polars")
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng)
    frame = polars.from_pandas(panel.reset_index().assign(month=lambda f: f["month"].dt.to_timestamp()))
    got, want = net.explain(frame), net.explain(panel)
    same_bits(got.static, want.static)
    assert got.to_polars(steps=True).columns[-S:] == NAMES["static"]


# -- the result --------------------------------------------------------------------------------------------------------


def explained(rng, **options):
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng)
    return net.explain(panel, **options), panel


def test_tables_hold_static_features_behind_the_others(rng):
    rel, _ = explained(rng)
    rows, names = rel.explained, [*NAMES["features"], *NAMES["static"]]
    summed = np.concatenate([rel.values.sum(axis=1), rel.static], axis=1)
    assert rel.inputs == tuple(names)
    frame = rel.to_frame()
    assert list(frame.columns[:5]) == names
    close(frame[names].to_numpy(), summed, 1e-14)
    close(frame[[*names, "initial_state", "unattributed"]].sum(axis=1).to_numpy()[rows], rel.score[rows], 1e-12)
    steps = rel.to_frame(steps=True)
    assert list(steps.columns[-2:]) == [(0, "tech"), (0, "log_size")]
    close(steps.T.groupby(level="feature").sum().T[names].to_numpy()[rows], summed[rows], 1e-14)
    share = rel.share()
    close(share.to_numpy(), np.abs(summed) / np.abs(summed).sum(axis=1, keepdims=True), 1e-14)
    grouped = rel.by_group({"Size": ["log_size", "bm"]})
    close(grouped["Size"].to_numpy(), summed[:, 4] + summed[:, 2], 1e-14)
    by_time = rel.by_time("mean")
    assert list(by_time.columns) == names
    close(by_time.iloc[-1].to_numpy(), np.nanmean(summed.reshape(12, 9, 5)[-1], axis=0), 1e-13)
    lags = rel.by_lag("share")
    assert list(lags.columns) == NAMES["features"]
    assert abs(lags.to_numpy().sum() - 1) < 1e-12
    assert list(rel.by_lag(groups={"Size": ["log_size", "bm"], "Sector": ["tech"]}).columns) == ["Size", "Other"]
    text = rel.summary()
    assert "4 steps x 3 features and 2 static features" in text
    assert "log_size" in text
    assert "gap / scale" in text
    assert rel.reconcile().relative_worst < 1e-13
    assert "and 2 static features" in repr(rel)
    assert "log_size" in rel._repr_html_()
    one = rel[[20, 100]]
    same_bits(one.static, rel.static[[20, 100]])
    assert one.static_features == rel.static_features
    reduced = explained(np.random.default_rng(1), reduce="steps")[0]
    assert list(reduced.to_frame().columns[:5]) == names
    assert reduced.reconcile().relative_worst < 1e-13


def test_other_libraries_get_them(rng):
    shap, xarray = pytest.importorskip("shap"), pytest.importorskip("xarray")
    rel, panel = explained(rng)
    got = rel.to_shap(panel)
    assert isinstance(got, shap.Explanation)
    assert got.feature_names == list(rel.inputs)
    close(got.values.sum(axis=1) + got.base_values, rel.score[rel.explained], 1e-12)
    close(got.data, panel[list(rel.inputs)].to_numpy()[rel.explained], 0.0)
    data = rel.to_xarray()
    assert isinstance(data, xarray.Dataset)
    close(data["static"].sel(static_feature="tech").to_numpy(), rel.static[:, 0], 0.0)


def test_alphalens_gets_a_static_feature(rng):
    rel, _ = explained(rng)
    assert len(rel.to_alphalens("log_size")) == rel.explained.sum()


@pytest.mark.parametrize("end", ["h5", "parquet"])
@pytest.mark.parametrize("reduce", [None, "steps"])
def test_a_result_is_saved_whole(end, reduce, rng, tmp_path):
    rel, panel = explained(rng, reduce=reduce)
    nets = fl.Ensemble([network(layers_of(np.random.default_rng(k)), steps=T, **NAMES) for k in range(3)])
    for one in (rel, nets.explain(panel, reduce=reduce), rel[:5]):
        one.save(tmp_path / f"rel.{end}")
        back = fl.load_relevance(tmp_path / f"rel.{end}")
        same_relevance(back, one)
        for key in ("static", "static_spread", "spread"):
            if getattr(one, key) is not None:
                same_bits(getattr(back, key), getattr(one, key))
        assert (back.static_features, back.features, back.network) == (one.static_features, one.features, one.network)
        same_bits(back.gap, one.gap)
    if end == "h5":
        mapped = fl.load_relevance(tmp_path / "rel.h5", mmap=True)
        same_bits(np.asarray(mapped.static), one.static)


def test_pictures_are_drawn(rng):
    pytest.importorskip("matplotlib")
    rel, panel = explained(rng)
    pictures = [
        fl.plot.bars(rel), fl.plot.heat_map(rel), fl.plot.lag_map(rel), fl.plot.lag_profile(rel),
        fl.plot.waterfall(rel, 50, values=panel), fl.plot.beeswarm(rel, panel),
    ]  # fmt: skip
    texts = [{text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))} for figure in pictures]
    assert all(any("log_size" in text for text in texts[k]) for k in (0, 1, 4, 5))
    assert not any("log_size" in text for text in texts[2])


# -- files, clusters, the command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["none", "steps", "groups", "time"])
@pytest.mark.parametrize("out", ["rel.parquet", "rel.csv", "rel.h5"])
def test_files_go_through_the_same_door(out, reduce, rng, tmp_path):
    pytest.importorskip("pyarrow")
    if reduce == "time" and out == "rel.h5":
        pytest.skip("means by period are a table, which HDF5 does not hold")
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng, 30, 20)
    panel.iloc[40, 0] = panel.iloc[77, 3] = np.nan
    frame = panel.reset_index()
    frame["month"] = frame["month"].astype(str)
    frame.to_parquet(tmp_path / "panel.parquet")
    groups = {"Size": ["log_size", "bm"], "Rest": ["mom", "tech", "beta"]} if reduce in ("groups", "time") else None
    summary = fl.explain_file(net, tmp_path / "panel.parquet", tmp_path / out, reduce=reduce, groups=groups)
    rel = net.explain(panel)
    assert summary.explained == rel.explained.sum()
    assert summary.gap < 1e-12
    if out == "rel.h5":
        loaded = fl.load_relevance(tmp_path / out)
        back = loaded.to_frame().reset_index()
        if reduce == "none":
            assert loaded.static_features == rel.static_features
            close(loaded.static[loaded.explained], rel.static[rel.explained], 1e-12)
    else:
        back = pd.read_parquet(tmp_path / out) if out.endswith("parquet") else pd.read_csv(tmp_path / out)
        back = back.reset_index() if "month" not in back.columns else back
    if reduce == "time":
        back = back[back["statistic"] == "abs"]
        close(back["Size"].to_numpy(), rel.by_time(groups=groups)["Size"].to_numpy(), 1e-12)
        return
    name = "Size" if reduce == "groups" else "log_size"
    want = rel.by_group(groups) if reduce == "groups" else rel.to_frame()
    found = back.set_index([back["month"].astype(str).str[:7], "asset"])[name]
    months, assets = (panel.index.get_level_values(k) for k in range(2))
    keys = pd.MultiIndex.from_arrays([months.astype(str), assets])
    close(found.reindex(keys).to_numpy(), want[name].to_numpy(), 1e-12)


def test_a_cluster_takes_frames_and_says_what_it_does_not_take(rng):
    dask = pytest.importorskip("dask.dataframe")
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng, 12, 10)
    frame = panel.swaplevel().sort_index().reset_index()
    frame["month"] = frame["month"].dt.to_timestamp()
    data = dask.from_pandas(frame.set_index("asset"), npartitions=3)
    got = fl.cluster.explain(data, net, rule="arras", index=("month", "asset")).compute()
    want = net.explain(frame.set_index(["month", "asset"]))
    close(got["log_size"].to_numpy(), want.static[:, 1], 1e-13)
    close(got["bm_lag2"].to_numpy(), want.values[:, T - 3, 2], 1e-13)
    summed = fl.cluster.explain(data, net, reduce="steps", index=("month", "asset")).compute()
    close(summed["tech"].to_numpy(), want.static[:, 0], 1e-13)
    arrays = pytest.importorskip("dask.array")
    with pytest.raises(ValueError, match="no pair of dask arrays"):
        fl.cluster.explain(arrays.zeros((4, T, D)), net)


def test_what_is_not_tested_says_so(rng):
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng)
    with pytest.raises(ValueError, match="static features are not tested yet"):
        fl.compare(net, panel)
    with pytest.raises(ValueError, match="static features are not tested yet"):
        fl.faithfulness(net, panel, net.explain(panel))


def test_a_report_is_written(rng, tmp_path):
    pytest.importorskip("jinja2")
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng)
    page = fl.report(net, panel, tmp_path / "report.html").read_text()
    assert "3 features and 2 static features" in page
    assert "log_size" in page
    assert "static features, for which this is not computed yet" in page


def test_the_command_line_explains(rng, tmp_path):
    net, panel = network(layers_of(rng), steps=T, **NAMES), panel_of(rng)
    fl.write_keras(net, tmp_path / "model.h5")
    frame = panel.reset_index()
    frame["month"] = frame["month"].astype(str)
    frame.to_csv(tmp_path / "panel.csv", index=False)
    for more, column in (([], "log_size"), (["--by-step"], "bm_lag2")):
        done = run_python("-m", "fastlrp", "explain", str(tmp_path / "model.h5"), str(tmp_path / "panel.csv"), "-o",
                          str(tmp_path / "out.csv"), *more)  # fmt: skip
        assert done.returncode == 0, done.stderr
        back, rel = pd.read_csv(tmp_path / "out.csv"), net.explain(panel)
        close(back["log_size"].to_numpy(), rel.static[:, 1], 1e-6)
        assert column in back
    assert "2 static" in run_python("-m", "fastlrp", "info", str(tmp_path / "model.h5")).stdout


def test_a_missing_static_value_ends_the_window_of_its_own_row_whatever_the_order():
    rows = np.arange(8.0).reshape(4, 2)
    rows[3, 1] = np.nan
    order = np.array([3, 0, 1, 2])  # the caller's last row is the first in order
    got = counted_at_end(Windows(rows, order, np.ones(4, bool)), 1)
    np.testing.assert_array_equal(got.ends, [False, True, True, True])
    assert np.isnan(rows[3, 1])
