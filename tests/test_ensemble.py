"""Ensembles against a plain loop over their members: means, spreads, and what is said of them."""

from __future__ import annotations

import pickle
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import TOTALS, close, run_python, same_bits
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

import fastlrp as fl
from fastlrp.cli import main
from fastlrp.kernels import cpu, members
from fastlrp.panels.windows import Windows

T, D, H = 4, 5, 6
RULES = {"arras": fl.Arras(), "rudder": fl.Rudder(delta=1.0), "gradients": fl.IntegratedGradients(16, [0.1] * 5)}
pytestmark = pytest.mark.filterwarnings("ignore:rule 'rudder' leaves")


def network(rng, outputs=1, dtype=np.float64, activation="linear", gates="sigmoid", **names):
    def weights(*shape):
        return rng.normal(0, 0.7, shape).astype(dtype)

    lstm = fl.LSTM(weights(D, 4 * H), weights(H, 4 * H), weights(4 * H), recurrent_activation=gates)
    head = fl.Dense(weights(H, outputs), weights(outputs), activation=activation)
    return fl.Network([lstm, fl.Dropout(0.2), head], **{"steps": T, **names})


def ensemble(rng, n=5, **options):
    return fl.Ensemble([network(rng, **options) for _ in range(n)])


def messy(rng, assets=30, months=40):
    """A panel with late starts, early ends, gaps and missing values, its rows in no order."""
    keys = []
    for asset in range(assets):
        first, last = sorted(rng.integers(0, months, 2))
        keys += [(asset, month) for month in range(first, last + 1) if rng.random() > 0.03]
    dates = pd.date_range("2001-01", periods=months, freq="MS")
    index = pd.MultiIndex.from_tuples([(dates[m], f"s{a}") for a, m in keys], names=["date", "permno"])
    values = rng.normal(size=(len(keys), D))
    values[rng.random(values.shape) < 0.01] = np.nan
    return pd.DataFrame(values, index, [f"f{d}" for d in range(D)]).sample(frac=1, random_state=1)


def by_hand(nets, X, **options):
    """Mean and standard deviation of everything over a loop of single networks, in float64."""
    each = [net.explain(X, **options) for net in nets]
    stacked = {k: np.array([getattr(r, k) for r in each], np.float64) for k in ("values", "prediction", *TOTALS)}
    summed = stacked["values"] if each[0].reduced else stacked["values"].sum(axis=2)
    with np.errstate(invalid="ignore"):
        share = np.abs(summed) / np.abs(summed).sum(axis=2, keepdims=True)
    return {
        **{key: part.mean(axis=0) for key, part in stacked.items()},
        "spread": stacked["values"].std(axis=0, ddof=1),
        "prediction_spread": stacked["prediction"].std(axis=0, ddof=1),
        "share_spread": np.nanmean(share, axis=1).std(axis=0, ddof=1),
    }


def agrees(rel, want, tol):
    for key, due in want.items():
        close(getattr(rel, key), due, tol)


def same(one, two, rows=slice(None)):
    for key in ("values", "prediction", *TOTALS, "spread", "prediction_spread"):
        same_bits(getattr(one, key)[rows], getattr(two, key))


# ----------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("reduce", [None, "steps"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("what", ["array", "panel", "sorted panel"])
def test_an_ensemble_is_the_mean_of_its_members(rng, what, outputs, rule, reduce):
    nets, panel = ensemble(rng, outputs=outputs), messy(rng)
    X = {"panel": panel, "sorted panel": panel.sort_index(level=[1, 0])}.get(what)
    if X is None:
        X = rng.normal(size=(700, T, D))
        X[[3, 699], 1, 2] = np.nan
    options = {"rule": RULES[rule], "reduce": reduce, "target": None if outputs == 1 else 1}
    rel, want = nets.explain(X, **options), by_hand(nets, X, **options)
    agrees(rel, want, 1e-12)
    close(np.asarray(nets.predict(X)), want["prediction"], 1e-12)
    assert 0 < np.isnan(want["score"]).sum() < len(rel)
    assert (rel.n_members, rel.rule, rel.reduced) == (5, RULES[rule], reduce is not None)
    assert rel.reconcile().relative_worst < (1e-3 if rel.rule.approximates else 1e-12)
    if what != "array":
        assert rel.index.equals(X.index)
        assert nets.predict(X).index.equals(X.index)


@pytest.mark.parametrize("n", [2, members.HELD, members.HELD + 1, 41])
@pytest.mark.parametrize(("dtype", "tol"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_any_number_of_members(rng, n, dtype, tol):
    nets, X = ensemble(rng, n, dtype=dtype), rng.normal(size=(300, T, D)).astype(dtype)
    rel = nets.explain(X)
    assert rel.values.dtype == rel.spread.dtype == rel.prediction_spread.dtype == dtype
    agrees(rel, by_hand(nets, X), tol)


@pytest.mark.parametrize("n", [1, 2])
def test_few_samples(rng, n):
    nets, X = ensemble(rng), rng.normal(size=(n, T, D))
    agrees(nets.explain(X), by_hand(nets, X), 1e-12)


def test_wide_windows_are_added_a_row_at_a_time(rng, monkeypatch):
    monkeypatch.setattr(members, "BLOCK_BYTES", 1)  # one group of rows a block
    wide = 5000
    nets = fl.Ensemble([
        fl.Network([fl.LSTM(*(rng.normal(0, 0.02, s) for s in ((wide, 8), (2, 8), (8,)))), fl.Dense(np.ones((2, 1)))])
        for _ in range(3)
    ])  # fmt: skip
    X = rng.normal(size=(members.GROUP + 5, 2, wide))
    agrees(nets.explain(X), by_hand(nets, X), 1e-12)


@pytest.mark.parametrize("what", ["array", "panel", "sorted panel", "column by column"])
def test_bits_depend_on_neither_threads_nor_blocks(rng, monkeypatch, what):
    nets, panel = ensemble(rng, 10), messy(rng, 60, 90)
    X = {"panel": panel, "sorted panel": panel.sort_index(level=[1, 0])}.get(what, rng.normal(size=(2000, T, D)))
    if what == "column by column":
        X = pd.DataFrame({name: panel[name].to_numpy() for name in panel}, index=panel.index).sort_index(level=[1, 0])
    assert len(X) > 3 * members.GROUP
    whole = nets.explain(X, threads=1)
    for size, threads in ((1 << 30, 3), (1, 1), (1, 2), (3 * members.GROUP * T * D * 8, 2)):
        monkeypatch.setattr(members, "BLOCK_BYTES", size)
        some = nets.explain(X, threads=threads)
        same(some, whole)
        same_bits(some.share_spread, whole.share_spread)
        same_bits(np.asarray(nets.predict(X, threads=threads)), whole.prediction)


def test_members_that_agree_have_no_spread_and_their_own_bits(rng):
    net, X = network(rng, dtype=np.float32), rng.normal(size=(400, T, D)).astype(np.float32)
    rel, alone = fl.Ensemble([net] * 7).explain(X), net.explain(X)
    for key in ("values", "prediction", *TOTALS):
        same_bits(getattr(rel, key), getattr(alone, key))
    assert not rel.spread.any()
    assert not rel.prediction_spread.any()
    assert rel.share_spread.max() < 1e-15
    assert rel.agreement() == pytest.approx(1.0, abs=1e-12)
    assert alone.spread is alone.prediction_spread is alone.share_spread is alone.n_members is None


def test_the_prediction_is_the_mean_of_activated_outputs(rng):
    nets, X = ensemble(rng, activation="sigmoid"), rng.normal(size=(50, T, D))
    rel = nets.explain(X)
    each = np.array([net.explain(X).score for net in nets])
    close(rel.score, each.mean(axis=0), 1e-12)
    close(rel.prediction, (1 / (1 + np.exp(-each))).mean(axis=0), 1e-12)


def test_rows_without_relevance(rng):
    nets = ensemble(rng, 3)
    rel = nets.explain(np.full((5, T, D), np.nan))
    assert np.isnan(rel.spread).all()
    assert np.isnan(rel.prediction_spread).all()
    assert np.isnan(rel.share_spread).all()
    assert np.isnan(rel.agreement())
    assert "nothing to reconcile" in rel.summary()
    assert "no row has relevance" in repr(rel)


def test_memory_does_not_grow_with_members(rng, monkeypatch):
    monkeypatch.setattr(members, "BLOCK_BYTES", 1 << 18)
    X = rng.normal(size=(60_000, T, D))

    def peak(n):
        nets = ensemble(rng, n)
        nets.explain(X[:10])  # plans and code are kept
        tracemalloc.start()
        rel = nets.explain(X, threads=1)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most - rel.values.nbytes - rel.spread.nbytes

    few, many = peak(members.HELD), peak(5 * members.HELD)
    assert many < few + members.BLOCK_BYTES
    assert many < (members.HELD + 8) * members.BLOCK_BYTES < X.nbytes / 2


def test_progress_counts_samples_once(rng):
    done = []
    rows = rng.normal(size=(3 * members.GROUP * T, D))
    members.run_members(cpu, ensemble(rng, 3).networks, Windows(rows), T, rule=fl.Arras(), advance=done.append)
    assert sum(done) == 3 * members.GROUP


def test_one_warning_for_all_members(rng):
    nets = fl.Ensemble([net.replaced(layers=[net.layers[0], fl.Dense(np.ones((H, 1)))]) for net in ensemble(rng, 4)])
    with pytest.warns(fl.ConservationWarning) as caught:
        nets.explain(rng.normal(size=(300, T, D)), rule=fl.Rudder(eps=10.0))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_infinite_values_are_named(rng):
    nets, panel = ensemble(rng), messy(rng)
    panel.iloc[7, 3] = np.inf
    with pytest.raises(ValueError, match=f"infinite .* feature 'f3' at .*{panel.index[7][1]}"):
        nets.explain(panel)


def test_uncompiled_it_is_the_same():
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "few_samples"]
    run = run_python(*command, NUMBA_DISABLE_JIT="1")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "2 passed" in run.stdout


# --------------------------------------------------------------------------------------------------- what is said of it


def test_agreement_is_the_correlation_of_two_members(rng):
    nets, panel = ensemble(rng, 6), messy(rng)
    rel = nets.explain(panel)
    each = np.array([net.explain(panel).values[~rel.missing].ravel() for net in nets])
    each -= each.mean()
    products = each @ each.T / each.shape[1]
    assert rel.agreement() == pytest.approx(
        products[~np.eye(6, dtype=bool)].mean() / np.diag(products).mean(), abs=1e-12
    )
    pairs = np.corrcoef(each)[~np.eye(6, dtype=bool)].mean()
    assert rel.agreement() == pytest.approx(pairs, abs=0.05)
    with pytest.raises(ValueError, match="of one network"):
        nets[0].explain(panel).agreement()


def test_summary_and_display_show_the_spread(rng):
    names = [f"f{d}" for d in range(D)]
    rel = ensemble(rng, 10, features=names).explain(messy(rng))
    text, top = rel.summary(top=2), rel.share().mean().sort_values(ascending=False).index[0]
    cell = f"{100 * rel.share().mean()[top]:.1f} % +- {100 * rel.share_spread[names.index(top)]:.1f}"
    assert re.search(rf"^  {top} +{re.escape(cell)}$", text, re.MULTILINE)
    assert f"ensemble of 10 networks; the relevance of two of them correlates at {rel.agreement():.2f}" in text
    assert cell in repr(rel)
    assert cell in rel._repr_html_()
    assert "mean of 10 networks" in repr(rel).splitlines()[0]
    part = rel[10:40]
    assert part.share_spread is None  # of some rows it is not known
    assert "+-" not in part.summary()
    same(rel, part, slice(10, 40))
    same(rel, rel[~rel.missing], ~rel.missing)


def test_frames_have_the_spread_of_predictions(rng):
    one, two = ensemble(rng).explain(messy(rng)), ensemble(rng, outputs=2).explain(messy(rng), target=1)
    np.testing.assert_array_equal(one.to_frame()["prediction_spread"], one.prediction_spread)
    np.testing.assert_array_equal(two.to_frame()["prediction_spread[1]"], two.prediction_spread[:, 1])


def test_to_xarray_has_the_spread(rng):
    pytest.importorskip("xarray")
    one = ensemble(rng).explain(messy(rng))
    np.testing.assert_array_equal(one.to_xarray()["spread"], one.spread)


def test_bars_have_whiskers(rng):
    pytest.importorskip("matplotlib")
    rel = ensemble(rng).explain(messy(rng))
    axes = fl.plot.bars(rel, replace(rel, share_spread=None)).axes[0]
    whiskers, none = (container.errorbar for container in axes.containers if hasattr(container, "patches"))
    (ends,) = whiskers.lines[2]
    order = np.argsort(-rel.share().mean().to_numpy(), kind="stable")
    lengths = [np.ptp(segment[:, 0]) for segment in ends.get_segments()]
    share, spread = 100 * rel.share().mean().to_numpy()[order], 100 * rel.share_spread[order]
    close(lengths, spread + np.minimum(spread, share), 1e-6)
    assert none is None
    assert "standard deviation over an ensemble's members" in " ".join(text.get_text() for text in axes.texts)


# --------------------------------------------------------------------------------------------------------- the value


def test_it_is_a_value(rng):
    nets = ensemble(rng, 3, features=list("abcde"), outputs=1)
    assert (len(nets), list(nets), nets[1]) == (3, list(nets.networks), nets.networks[1])
    assert nets.n_params == 3 * nets[0].n_params
    assert (nets.features, nets.outputs, nets.steps, nets.n_features, nets.n_outputs) == (tuple("abcde"), None, T, D, 1)
    assert nets.dtype == np.float64
    again = pickle.loads(pickle.dumps(nets))
    assert again == nets
    assert again != fl.Ensemble(nets.networks[::-1])
    assert nets != nets[0]
    with pytest.raises(TypeError, match="unhashable"):
        hash(nets)
    assert nets.with_features(None).features is None
    assert (
        repr(nets)
        == f"<Ensemble of 3 networks: LSTM({H}), Dropout(0.2), Dense(1); {D} features, {nets.n_params} parameters>"
    )
    assert nets.summary().count("LSTM") == 1
    small = nets[0].replaced(layers=[nets[0].layers[0], fl.Dense(np.ones((H, 2))), fl.Dense(np.ones((2, 1)))])
    mixed = fl.Ensemble([*nets, small])
    assert " or LSTM" in repr(mixed)
    assert "members 0, 1, 2:" in mixed.summary()
    assert "member 3:" in mixed.summary()


def test_bad_members(rng):
    net, named = network(rng), network(rng, features=list("abcde"))
    narrow = fl.Network([fl.LSTM(np.ones((3, 8)), np.ones((2, 8))), fl.Dense(np.ones((2, 1)))], steps=T)
    for given, words in [
        (net, "takes a list of networks, not Network"),
        (7, "takes a list of networks, not int"),
        ([net], "at least two networks, not 1"),
        ([], "at least two networks, not 0"),
        ([net, "b"], "member 1 is str, expected a fastlrp.Network"),
        ([net, fl.Ensemble([net, net])], r"member 1 is an Ensemble: give its .networks"),
        ([net, net, narrow], "member 2 has 3 features, but member 0 has 5 features"),
        ([net, network(rng, outputs=2)], "member 1 has 2 outputs, but member 0 has 1 output"),
        ([net, network(rng, steps=None)], "member 1 has windows of any length, but member 0 has windows of 4 steps"),
        ([net, named], "member 1 has names for its features, but member 0 has none"),
        ([named, net], "member 0 has names for its features, but member 1 has none"),
        ([named, network(rng, features=list("abxde"))], r"features\[2\] is 'x' in member 1, but 'c' in member 0"),
    ]:
        with pytest.raises(ValueError, match=words):
            fl.Ensemble(given)


def test_bad_arguments(rng):
    nets, X = ensemble(rng, outputs=2), rng.normal(size=(3, T, D))
    for call, words in [
        (lambda: nets.explain(X), "2 outputs: choose the one to explain"),
        (lambda: nets.explain(X[:, :2], target=0), "X has 2 steps, expected 4 steps"),
        (lambda: nets.predict(X, device="cuda"), "device='cuda' computes no Ensemble"),
        (lambda: nets.predict(X, device="gpu"), "device= takes"),
        (lambda: nets.explain(X, target=0, rule=fl.IntegratedGradients(2, [1, 2])), r"shape \(2,\), expected \(5,\)"),
        (lambda: nets.explain(X, target=0, rule="lrp"), "lrp"),
        (lambda: nets.predict(X, threads=0), "threads= takes"),
        (lambda: nets.with_features(["a"]), "1 name, expected 5"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("by", ["feature", "step", "both"])
def test_as_a_transformer(rng, by):
    nets, panel = ensemble(rng), messy(rng)
    rel = nets.explain(panel)
    columns = {"feature": rel.values.sum(1), "step": rel.values.sum(2), "both": rel.values.reshape(len(rel), -1)}
    transformer = clone(fl.LRPTransformer(nets, by=by)).fit(panel)
    out = pickle.loads(pickle.dumps(transformer)).transform(panel)
    close(out.to_numpy(), columns[by], 1e-12)
    assert isinstance(transformer.network_, fl.Ensemble)
    X = rng.normal(size=(80, T, D))
    pipeline = make_pipeline(fl.LRPTransformer(nets, by=by), LinearRegression()).fit(X, X[:, 0, 0])
    assert pipeline.predict(X).shape == (80,)


# -------------------------------------------------------------------------------------------------------- Keras files


def test_a_folder_of_keras_files(rng, tmp_path):
    nets, X = ensemble(rng, 12, features=list("abcde"), outputs=1), rng.normal(size=(20, T, D))
    fl.write_keras(nets, tmp_path / "models")
    (tmp_path / "models" / "notes.txt").write_text("left alone")
    assert [p.name for p in sorted((tmp_path / "models").glob("*.keras"))] == [
        f"member_{k:03}.keras" for k in range(12)
    ]
    read = fl.read_keras(tmp_path / "models", check=(X, nets.predict(X)))
    assert isinstance(read, fl.Ensemble)
    same_bits(read.predict(X), nets.predict(X))
    assert read.features == tuple("abcde")
    with pytest.raises(fl.ModelFileError, match="predicts otherwise than check= expects"):
        fl.read_keras(tmp_path / "models", check=(X, nets[0].predict(X)))
    with pytest.raises(ValueError, match=r"holds .notes\.txt., expected a new folder"):
        fl.write_keras(nets, tmp_path / "models")


def test_a_folder_is_replaced_whole_or_not_at_all(rng, tmp_path):
    nets, folder = ensemble(rng, 4), tmp_path / "models"
    folder.mkdir()
    fl.write_keras(nets, folder)
    fl.write_keras(fl.Ensemble(nets.networks[:2]), folder)
    assert [path.name for path in sorted(folder.iterdir())] == ["member_000.keras", "member_001.keras"]
    mixed = fl.LSTM(*nets[0].layers[0].arrays, activation="hard_sigmoid", recurrent_activation="hard_sigmoid_keras2")
    with pytest.raises(ValueError, match="member 1: the network has hard_sigmoid both"):
        fl.write_keras(fl.Ensemble([nets[0], nets[0].replaced(layers=[mixed, *nets[0].layers[1:]])]), folder)
    assert len(fl.read_keras(folder)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_keras_2_members_are_written_as_h5(rng, tmp_path):
    nets = fl.Ensemble([network(rng), network(rng, gates="hard_sigmoid_keras2")])
    fl.write_keras(nets, tmp_path / "models")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["member_000.keras", "member_001.h5"]
    X = rng.normal(size=(20, T, D))
    same_bits(fl.read_keras(tmp_path / "models").predict(X), nets.predict(X))


def test_folders_that_are_refused(rng, tmp_path):
    nets = ensemble(rng, 2)
    for path, words in [
        (tmp_path / "model.keras", "takes the name of a folder for an Ensemble, one without .keras"),
        (tmp_path / "absent" / "models", "cannot be written"),
        (tmp_path / "file", "is no folder"),
    ]:
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match=words):
            fl.write_keras(nets, path)
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(fl.ModelFileError, match="is a folder without Keras files"):
        fl.read_keras(folder)
    fl.write_keras(nets[0], folder / "b.keras")
    with pytest.raises(fl.ModelFileError, match="one Keras file, expected two or more"):
        fl.read_keras(folder)
    fl.write_keras(network(rng, outputs=2), folder / "a.h5")
    with pytest.raises(fl.ModelFileError, match=r"b\.keras has 1 output, but a\.h5 has 2 outputs"):
        fl.read_keras(folder)
    found = fl.describe_keras(folder)
    assert not found.explainable
    assert found.verdict.startswith("b.keras has 1 output")
    (folder / "a.h5").write_bytes(b"damaged")
    with pytest.raises(fl.ModelFileError, match=r"a\.h5"):
        fl.read_keras(folder)


def test_the_command_line_takes_a_folder(rng, tmp_path, capsys):
    nets, panel = ensemble(rng, 3, features=[f"f{d}" for d in range(D)]), messy(rng)
    folder, table, out = tmp_path / "models", tmp_path / "panel.csv", tmp_path / "out.csv"
    fl.write_keras(nets, folder)
    panel.to_csv(table)
    assert main(["info", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "can be explained: an ensemble of 3 networks, windows (4, 5) in, 1 output, float64" in shown
    assert f"folder of 3 Keras files, Keras 3.0.5, {nets.n_params:,} parameters" in shown
    assert main(["explain", str(folder), str(table), "-o", str(out), "--no-progress"]) == 0
    assert "ensemble of 3 networks" in capsys.readouterr().out
    got, want = pd.read_csv(out), nets.explain(panel, reduce="steps")
    close(got["score"].to_numpy(), want.score, 1e-12)
    close(got["prediction_spread"].to_numpy(), want.prediction_spread, 1e-12)
