"""Training from files: the same bits as in memory, whatever the order of rows and the memory that windows may take."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from helpers import same_bits

import fastlrp as fl
from fastlrp.files import kinds
from fastlrp.kernels import memory
from fastlrp.learning import file_panel, rows
from fastlrp.learning.rows import Rows
from fastlrp.model.plain import arrays_of

pytest.importorskip("pyarrow")
STEPS = 4


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(3)
    index = pd.MultiIndex.from_product(
        [pd.period_range("2001-01", periods=30, freq="M").to_timestamp(), [f"S{k:02d}" for k in range(25)]],
        names=["date", "permno"],
    )
    frame = pd.DataFrame(rng.standard_normal((len(index), 5)).astype(np.float32), index, list("abcde"))
    frame = frame[rng.random(len(frame)) < 0.95]
    frame.loc[rng.random(len(frame)) < 0.02, "c"] = np.nan
    frame["ret"] = frame["a"].fillna(0) - 0.5 * frame["b"] + 0.1 * rng.standard_normal(len(frame))
    frame["other"], frame["cap"] = frame["ret"] ** 2, rng.uniform(0, 2, len(frame)).round(1)
    frame.loc[rng.random(len(frame)) < 0.05, "ret"] = np.nan
    return frame


def model(**changes):
    given = {"units": (4,), "steps": STEPS, "max_iter": 3, "n_iter_no_change": 3, "random_state": 0, "batch_size": 16}
    return fl.LSTMRegressor(**{**given, **changes})


def written(frame, path, order):
    """The panel in a file, its rows by time, or by asset with assets in another order than that of their names."""
    if order == "asset":
        frame = frame.sort_index(level=["permno", "date"], ascending=[False, True])
    if order == "descending":
        frame = frame.sort_index(level=["permno", "date"], ascending=[True, False])
    frame.reset_index().to_parquet(path, row_group_size=100)
    return frame


def small(monkeypatch, windows=40):
    """Let so many windows be in memory, and read files in small blocks."""
    real = Rows.__init__

    def less(self, n, width, dtype, folder, at_once):
        real(self, n, width, dtype, folder, windows * STEPS * width * dtype.itemsize)

    monkeypatch.setattr(Rows, "__init__", less)
    monkeypatch.setattr(file_panel, "_size", lambda *given: 70)


def same(one, two):
    for a, b in zip(one, two, strict=True):
        for x, y in zip(arrays_of(a), arrays_of(b), strict=True):
            same_bits(x, y)


@pytest.mark.parametrize("order", ["time", "asset", "descending"])
@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({}, {}),
        ({"early_stopping": True, "dropout": 0.2}, {"sample_weight": "cap"}),
        ({"n_members": 2, "target_transform": "rank", "dtype": "float64"}, {}),
    ],
)
def test_weights_are_those_of_a_fit_in_memory(panel, tmp_path, monkeypatch, order, changes, given):
    frame = written(panel, tmp_path / "panel.parquet", order)
    X, y = frame[list("abcde")], frame["ret"]
    expected = model(**changes).fit(X, y, sample_weight=frame["cap"] if given else None)
    for windows in (40, None):  # on disk, in parts that end inside of a fit's last batch, and in memory
        if windows is not None:
            small(monkeypatch, windows)
        fitted = model(**changes).fit_file(tmp_path / "panel.parquet", "ret", columns=list("abcde"), **given)
        same(fitted._networks, expected._networks)
        assert fitted.loss_curves_ == expected.loss_curves_
        assert fitted.validation_scores_ == expected.validation_scores_
        assert (fitted.n_windows_, fitted.n_skipped_) == (expected.n_windows_, expected.n_skipped_)
        same_bits(fitted.predict(X), expected.predict(X))
        monkeypatch.undo()


@pytest.mark.parametrize("changes", [{"warm_start": "previous"}, {"validation": 5, "scaler": "minmax"}])
def test_rolling_fits_are_those_in_memory(panel, tmp_path, monkeypatch, changes):
    frame = written(panel, tmp_path / "panel.parquet", "time")
    X, y = frame[list("abcde")], frame[["ret", "other"]]
    given = {"target": ["ret", "other"], "sample_weight": "cap", "columns": list("abcde"), "index": ("date", None)}
    rolling = fl.RollingLSTM(model(target_transform="demean"), window=18, step=4, **changes)
    expected = fl.RollingLSTM(**{**rolling.get_params(deep=False), "directory": tmp_path / "kept"})
    expected.fit(X, y, sample_weight=frame["cap"])
    small(monkeypatch)
    fitted = rolling.fit_file(tmp_path / "panel.parquet", **given)
    same(fitted.networks_, expected.networks_)
    same_bits(fitted.predict(X), expected.predict(X))
    pd.testing.assert_frame_equal(fitted.windows_, expected.windows_, check_index_type=False)
    networks = fitted.networks_
    monkeypatch.setattr("fastlrp.learning.rolling_fit.Fits.train", None)  # the same fit: nothing is trained
    same(expected.fit_file(tmp_path / "panel.parquet", **given).networks_, networks)


def test_csv_folders_filters_and_going_on(panel, tmp_path, monkeypatch):
    (tmp_path / "months").mkdir()
    for month, rows_of in panel.groupby(level="date"):
        rows_of.drop(columns=["other", "cap"]).to_csv(tmp_path / "months" / f"{month:%Y-%m}.csv")
    frame = panel[panel["a"] > -1.5]
    small(monkeypatch)
    fitted, expected = model(warm_start=True), model(warm_start=True)
    for _ in range(2):
        fitted.fit_file(tmp_path / "months", "ret", where=[("a", ">", -1.5)])
        expected.set_params(dtype="float32").fit(frame[list("abcde")].astype(float), frame["ret"])
    assert list(fitted.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match=r"columns= names \['a'\], but warm_start=True goes on with \['a', 'b'"):
        fitted.fit_file(tmp_path / "months", "ret", columns=["a"])
    nameless = model(warm_start=True).fit(np.zeros((9, STEPS, 3), np.float32), np.arange(9.0))
    with pytest.raises(ValueError, match=r"months has 5 features, but warm_start=True goes on with 3"):
        nameless.fit_file(tmp_path / "months", "ret")
    np.testing.assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-5)  # text has fewer digits


def test_what_a_file_leads_to_goes_on_to_explain_file(panel, tmp_path):
    written(panel.drop(columns=["other", "cap"]), tmp_path / "panel.parquet", "asset")
    net = model().fit_file(tmp_path / "panel.parquet", "ret").network_
    fl.explain_file(net, tmp_path / "panel.parquet", tmp_path / "out.parquet", reduce="steps")
    expected = net.explain(panel[list("abcde")], reduce="steps")
    got = pd.read_parquet(tmp_path / "out.parquet").loc[panel.index.reorder_levels(["date", "permno"])]
    same_bits(got[list("abcde")].to_numpy(), expected.values)


def test_a_place_in_hdf5(panel, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "panel.h5", "w") as file:
        file["us/date"] = panel.index.get_level_values("date").strftime("%Y-%m-%d").to_numpy().astype("S")
        file["us/permno"] = panel.index.get_level_values("permno").to_numpy().astype("S")
        for name in panel:
            file[f"us/{name}"] = panel[name]
        file["eu/x"] = np.zeros(3)
    fitted = model().fit_file(f"{tmp_path / 'panel.h5'}::/us", "ret", columns=list("abcde"))
    same(fitted._networks, model().fit(panel[list("abcde")], panel["ret"])._networks)


def test_memory_is_bounded(tmp_path, monkeypatch):
    """Arrays take at most ``memory=`` and 100 bytes a row; the rows themselves would take 16 MB. Memory that is kept
    to be used again counts: the file's batches end inside of the blocks that are read, so that it has many sizes."""
    monkeypatch.setattr(kinds, "_ROWS", 2000)
    rng, D = np.random.default_rng(0), 100
    index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=40, freq="M").to_timestamp(), range(1000)])
    frame = pd.DataFrame(rng.standard_normal((len(index), D)).astype(np.float32), index.set_names(["date", "permno"]))
    frame.columns = [f"x{k}" for k in range(D)]
    frame.assign(ret=frame["x0"]).reset_index().to_parquet(tmp_path / "panel.parquet", row_group_size=2000)
    fresh = model(batch_size=64, max_iter=1, n_iter_no_change=1)
    ask = {"memory": "5MB", "scratch": tmp_path}
    fresh.fit_file(tmp_path / "panel.parquet", "ret", **ask)  # the first one imports 1.3 MB of code
    memory.release()  # what earlier tests left could serve, and would not be counted
    tracemalloc.start()
    try:
        fresh.fit_file(tmp_path / "panel.parquet", "ret", **ask)
        assert tracemalloc.get_traced_memory()[1] < 5e6 + 100 * len(frame)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"target": "return"}, "panel.parquet has no column 'return'"),
        ({"target": 3}, "target= takes the name of a column, or a list of them, not 3"),
        ({"sample_weight": 3}, "sample_weight= takes the name of a column or None, not 3"),
        ({"target": ["ret", "ret"]}, "index=, target= and sample_weight= name 'ret' twice, expected a column each"),
        ({"sample_weight": "ret"}, "index=, target= and sample_weight= name 'ret' twice"),
        ({"target": "date"}, "index=, target= and sample_weight= name 'date' twice"),
        ({"columns": ["a", "ret"]}, "columns= names 'ret', which is no feature by itself"),
        ({"columns": ["a", "a"]}, "columns= names 'a', which is no feature by itself"),
        ({"columns": "abc"}, "columns= takes a list of names, not 'abc'"),
        ({"memory": "lots"}, "memory= takes a number of bytes"),
        ({"memory": "1kB"}, "memory= is 0 MB, expected at least 1 MB for"),
        ({"scratch": "nowhere"}, "scratch= names nowhere, expected a folder"),
        ({"index": ("date", "stock")}, "panel.parquet has no column 'stock'"),
    ],
)
def test_what_is_refused(panel, tmp_path, given, words):
    written(panel, tmp_path / "panel.parquet", "time")
    fresh = model()
    with pytest.raises(ValueError, match=words):
        fresh.fit_file(tmp_path / "panel.parquet", **{"target": "ret", **given})
    assert not hasattr(fresh, "steps_")


def test_faults_of_files_are_sentences(panel, tmp_path, monkeypatch):
    frame = panel.copy()
    frame.iloc[77, 1] = np.inf
    written(frame, tmp_path / "panel.parquet", "asset")
    date, asset = panel.index[77]
    with pytest.raises(ValueError, match=rf"infinite \(inf.*\) at feature 'b' at date {date.date()}, permno {asset}"):
        model().fit_file(tmp_path / "panel.parquet", "ret")
    with pytest.raises(ValueError, match="steps= is missing"):
        model(steps=None).fit_file(tmp_path / "panel.parquet", "ret")
    panel.sample(frac=1, random_state=0).reset_index().to_parquet(tmp_path / "mixed.parquet")
    with pytest.raises(ValueError, match="is sorted neither by asset nor by time"):
        model().fit_file(tmp_path / "mixed.parquet", "ret")
    written(panel, tmp_path / "panel.parquet", "time")

    def full(self, places, values):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows.Rows, "write", full)
    with pytest.raises(ValueError, match=r"cannot be stored as rows in .*: No space left on device"):
        model().fit_file(tmp_path / "panel.parquet", "ret", scratch=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed.parquet", "panel.parquet"]
