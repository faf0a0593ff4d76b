"""Saved results: they come back as they were, others can read them, and a bad file is a sentence."""

from __future__ import annotations

import builtins
import datetime
import json
import pickle
import shutil
import warnings
from dataclasses import dataclass, fields, replace

import h5py
import numpy as np
import pandas as pd
import pytest
from helpers import TOTALS, same_bits
from test_relevance import FEATURES, T, made_up

import fastlrp as fl
import fastlrp.relevance.as_hdf5
import fastlrp.relevance.as_parquet
from fastlrp import data
from fastlrp.model.fingerprint import fingerprint
from fastlrp.relevance.device import DeviceRelevance
from fastlrp.relevance.metadata import understood
from fastlrp.rules import Rule

parquet = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")
ENDS = ("parquet", "h5", "hdf5")
ARRAYS = ("values", "prediction", *TOTALS, "spread", "prediction_spread", "share_spread")


def small(seed=0, **options):
    """A network of every kind of layer."""
    rng = np.random.default_rng(seed)
    lstm = fl.LSTM(rng.normal(size=(4, 8)), rng.normal(size=(2, 8)), rng.normal(size=8), return_sequences=True)
    two = [fl.LSTM(rng.normal(size=(2, 12)).astype(np.float32), rng.normal(size=(3, 12))) for _ in range(2)]
    layers = [lstm, fl.Bidirectional(*two), fl.Dropout(0.25), fl.Dense(rng.normal(size=(6, 1)))]
    return fl.Network(layers, **options)


def same(got, want):
    """Check that two results are the same in all that belongs to them."""
    for name in ARRAYS:
        one, other = (np.asarray(getattr(rel, name)) for rel in (got, want))  # None is one, too
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        np.testing.assert_array_equal(one, other)
    if want.index is None:
        assert got.index is None
    elif not len(want):  # levels that no row uses are not stored
        assert got.index.equals(want.index)
        assert got.index.names == want.index.names
    else:
        pd.testing.assert_index_equal(got.index, want.index, exact="equiv")
    for name in {field.name for field in fields(fl.Relevance)} - {*ARRAYS, "index", "origin"}:
        one, other = getattr(got, name), getattr(want, name)
        assert (type(one), one) == (type(other), other), name
    assert got.network == want.network


def round_trips(rel, folder):
    """The result read back from each kind of file."""
    for end in ENDS:
        rel.save(folder / f"relevance.{end}")
        yield fl.load_relevance(folder / f"relevance.{end}")
    yield fl.load_relevance(folder / "relevance.h5", mmap=True)


# ------------------------------------------------------------------------------------------------------- and back again


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("panel", [False, True])
@pytest.mark.parametrize("outputs", [None, 2])
def test_a_result_comes_back_as_it_was(tmp_path, dtype, reduced, panel, outputs, monkeypatch):
    monkeypatch.setattr(fastlrp.relevance.as_parquet, "_BLOCK", 256)  # several row groups, also of one row
    monkeypatch.setattr(fastlrp.relevance.as_parquet, "_LANES", 1)
    monkeypatch.setattr(fastlrp.relevance.as_hdf5, "_BLOCK", 256)
    rel = made_up(dtype=dtype, reduced=reduced, panel=panel, outputs=outputs)
    for one in (
        rel,
        replace(rel, rule=fl.Arras(eps=0.1 + 0.2, delta=1, stabilizer="absorbed", recurrent=False), origin=(small(),)),
        replace(rel, rule=fl.Rudder(), target="up", outputs=("up", "déjà vu / 2")[: outputs or 1], by_position=True),
        replace(rel, target=np.int64(1) if outputs else None),
        rel[3:4],
        rel[:0],
        rel[[5, 2, 2]] if panel else rel[[5, 2]],
    ):
        want = replace(one, target=int(one.target)) if isinstance(one.target, np.integer) else one
        for got in round_trips(one, tmp_path):
            same(got, want)


def test_the_real_panel_comes_back(tmp_path):
    net = data.load_model()
    rel = net.explain(data.load_panel().loc["2018":])
    for got in round_trips(rel, tmp_path):
        same(got, rel)
        assert got.network == fingerprint([net])
        assert got.summary() == rel.summary()
        pd.testing.assert_frame_equal(*(one.by_time("share", groups=data.GROUPS) for one in (got, rel)))
        same(got[5:300:7], rel[5:300:7])


@pytest.mark.parametrize("reduce", [None, "steps"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_an_ensembles_result_comes_back_with_its_spread(tmp_path, reduce, outputs):
    rng = np.random.default_rng(1)
    lstms = [fl.LSTM(rng.normal(size=(4, 8)), rng.normal(size=(2, 8))) for _ in range(3)]
    nets = fl.Ensemble([fl.Network([lstm, fl.Dense(rng.normal(size=(2, outputs)))], steps=3) for lstm in lstms])
    X = rng.normal(size=(7, 3, 4))
    X[2] = np.nan
    rel = nets.explain(X, reduce=reduce, target=outputs - 1)
    assert rel.spread.shape == rel.values.shape
    for one in (rel, rel[1:4], replace(rel, share_spread=rel.share_spread * np.nan)):
        for got in round_trips(one, tmp_path):
            same(got, one)
            assert (got.n_members, got.network) == (3, fingerprint(nets.networks))
            assert got.agreement() == one.agreement()
    stored = pd.read_parquet(tmp_path / "relevance.parquet")
    first = "x0" if reduce else "x0_lag2"
    np.testing.assert_array_equal(stored[f"{first}_spread"], rel.spread.reshape(7, -1)[:, 0])


DAYS = pd.DatetimeIndex(["2000-01-31", "2000-02-29", "2000-03-31", "2000-04-30"])
STOCKS = ["B", "ü", "A"]
TIMES = {
    "datetimes": DAYS,
    "datetimes in ns": DAYS.as_unit("ns") + pd.Timedelta(1, "ns"),
    "datetimes in s": DAYS.as_unit("s"),
    "zone": DAYS.tz_localize("America/New_York"),
    "UTC": DAYS.tz_localize("UTC"),
    "months": pd.period_range("2000-01", periods=4, freq="M"),
    "quarters": pd.period_range("2000Q1", periods=4, freq="Q-NOV"),
    "weeks": pd.period_range("2000-01-05", periods=4, freq="W-WED"),
    "three months": pd.period_range("2000-02", periods=4, freq="3M"),
    "minutes": pd.period_range("2000-01-01 05:59", periods=4, freq="min"),
    "yyyymm": pd.Index([199911, 199912, 200001, 200002]),
    "small numbers": pd.Index([1, 2, 3, 4], dtype="int8"),
    "years": pd.Index([1999.0, 2000.0, 2001.0, 2002.0]),
    "text": pd.Index(["1999-11", "1999-12", "2000-01", "2000-02"]),
    "text as objects": pd.Index(["1999-11", "1999-12", "2000-01", "2000-02"], dtype=object),
    "pandas text": pd.Index(["1999-11", "1999-12", "2000-01", "2000-02"], dtype="string"),
    "Arrow's datetimes": pd.Index(DAYS).astype("timestamp[ns][pyarrow]"),
    "Arrow's numbers": pd.Index([1, 2, 3, 4]).astype("int64[pyarrow]"),
    "nullable": pd.Index([1, 2, 3, 4], dtype="Int64"),
    "dates": pd.Index([datetime.date(2000, month, 1) for month in range(1, 5)], dtype=object),
    "categories": pd.CategoricalIndex(["x", "b", "a", "c"], categories=["c", "x", "unused", "a", "b"], ordered=True),
    "categories of months": pd.CategoricalIndex(pd.period_range("2000-01", periods=4, freq="M")),
    "categories of numbers": pd.CategoricalIndex([4, 3, 2, 1]),
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_every_kind_of_index_comes_back(tmp_path, times):
    panel = pd.MultiIndex.from_product([STOCKS, times], names=["stock", "month"])
    for index in (panel, panel[::-1].set_names([None, None]), times.take([0, 1, 2, 3] * 3).set_names(["date"])):
        rel = replace(made_up(), index=index)
        for got in round_trips(rel, tmp_path):
            same(got, rel)
            assert got.index.names == index.names
            kinds = [level.dtype for level in getattr(index, "levels", [index])]
            assert [level.dtype for level in getattr(got.index, "levels", [got.index])] == kinds


def test_other_assets_and_names_come_back(tmp_path):
    months = TIMES["months"]
    for index in (
        pd.MultiIndex.from_product(
            [months, pd.Categorical(STOCKS, ["A", "gone", "B", "ü"])], names=["beta", "beta_lag0"]
        ),
        pd.MultiIndex.from_product([months, [3, 1, 2]], names=["score", "score"]),
        pd.MultiIndex.from_product([months, ["a", None, ""]], names=["time", 0]),
        pd.MultiIndex.from_arrays([STOCKS * 4, ["x"] * 12, range(12)], names=["a/b", "c.d", ""]),
    ):
        rel = replace(made_up(features=("beta", "a.b", "a/b", "score")), index=index)
        for got in round_trips(rel, tmp_path):
            same(got, rel)


@dataclass(frozen=True)
class Weighted(Rule):
    """A rule with parameters of every kind that a frozen value may have."""

    baseline: tuple[tuple[float, ...], ...] | None = None
    n_steps: int = 32
    numbers = (0.0, 0.0, 0.0)


def test_any_rule_comes_back_by_its_class_and_parameters(tmp_path):
    for rule in (Weighted(), Weighted(((0.1, -2.5e-300), (3.0, 1e22)), n_steps=7), Weighted(())):
        for got in round_trips(made_up(rule=rule), tmp_path):
            assert got.rule == rule
            assert hash(got.rule) == hash(rule)


def test_results_on_the_gpu_are_saved_from_the_host(tmp_path):
    parts = {field.name: getattr(made_up(), field.name) for field in fields(fl.Relevance)}
    rel = DeviceRelevance(**parts)
    object.__setattr__(rel, "_copy", made_up())
    rel.save(tmp_path / "relevance.h5")
    same(fl.load_relevance(tmp_path / "relevance.h5"), made_up())


# ----------------------------------------------------------------------------------------------------- read by others


def test_others_read_parquet(tmp_path):
    rel = replace(made_up(outputs=2), outputs=("up", "down"), origin="abc")
    rel.save(tmp_path / "relevance.parquet")
    frame = pd.read_parquet(tmp_path / "relevance.parquet")
    pd.testing.assert_index_equal(frame.index, rel.index)
    totals = ["prediction[up]", "prediction[down]", *TOTALS]
    assert list(frame.columns) == [*(f"{name}_lag{lag}" for lag in (2, 1, 0) for name in FEATURES), *totals]
    np.testing.assert_array_equal(frame["size_lag2"], rel.values[:, 0, 2])
    np.testing.assert_array_equal(frame["score"], rel.score)
    table = parquet.read_table(tmp_path / "relevance.parquet")
    assert table.column("beta_lag0").null_count == 3
    assert table.column_names[-2:] == ["stock", "month"]
    described = json.loads(table.schema.metadata[b"fastlrp"])
    assert described["fastlrp"] == fl.__version__
    assert described["rule"] == {
        "class": "Arras",
        "name": "arras",
        "parameters": {"eps": 0.001, "delta": 0.0, "stabilizer": "paper", "recurrent": True},
    }
    assert (described["features"], described["steps"], described["network"]) == (list(FEATURES), 3, "abc")
    made_up(reduced=True).save(tmp_path / "reduced.parquet")
    assert list(pd.read_parquet(tmp_path / "reduced.parquet").columns[:5]) == [*FEATURES, "prediction"]


def test_others_read_periods_as_dates_and_hdf5_as_plain_arrays(tmp_path):
    months = pd.period_range("2000-01", periods=4, freq="M")
    rel = replace(made_up(), index=pd.MultiIndex.from_product([STOCKS, months], names=["stock", "month"]))
    rel.save(tmp_path / "relevance.parquet")
    column = parquet.read_table(tmp_path / "relevance.parquet").column("month")
    assert pa.types.is_timestamp(column.type)
    assert column[1].as_py() == datetime.datetime(2000, 2, 1)
    rel.save(tmp_path / "relevance.h5")
    with h5py.File(tmp_path / "relevance.h5") as file:
        np.testing.assert_array_equal(file["values"][()], rel.values)
        assert json.loads(file.attrs["fastlrp"])["features"] == list(FEATURES)
        labels = [text.decode() for text in file["index/0/labels"][()]]
        assert [labels[code] for code in file["index/0/codes"][()]] == list(rel.index.get_level_values(0))
        assert file["index/1/labels"].asstr()[1] == "2000-02-01T00:00:00"


def test_a_mapped_result_stays_in_its_file(tmp_path):
    rel = made_up()
    rel.save(tmp_path / "relevance.h5")
    mapped = fl.load_relevance(tmp_path / "relevance.h5", mmap=True)
    assert all(isinstance(getattr(mapped, name), np.memmap) for name in ("values", "prediction", *TOTALS))
    with pytest.raises(ValueError, match="read-only"):
        mapped.values[0] = 1
    pd.testing.assert_frame_equal(mapped.to_frame(), rel.to_frame())
    mapped.save(tmp_path / "relevance.h5")  # onto itself: the new file replaces the old one when it is complete
    same(fl.load_relevance(tmp_path / "relevance.h5"), rel)
    same(mapped, rel)


# -------------------------------------------------------------------------------------------------------- fingerprints


def test_a_fingerprint_is_of_what_a_network_computes():
    net = small()
    known = fingerprint([net])
    lstm, two, dropout, dense = net.layers
    assert known == fingerprint([small()])
    assert known == fingerprint([pickle.loads(pickle.dumps(net))])
    named = [replace(layer, name=f"layer {k}") for k, layer in enumerate(net.layers)]
    assert known == fingerprint([fl.Network(named, steps=3, features=list("abcd"), outputs=["y"], name="other")])
    nudged = dense.W.copy()
    nudged[0, 0] = np.nextafter(nudged[0, 0], 9)
    others = [
        [lstm, two, dropout, replace(dense, W=nudged)],
        [lstm, two, dropout, replace(dense, W=dense.W.astype(np.float32))],
        [lstm, two, dropout, replace(dense, b=np.zeros(1))],
        [lstm, two, dropout, replace(dense, activation="tanh")],
        [lstm, two, replace(dropout, rate=0.5), dense],
        [lstm, two, dense],
        [lstm, replace(two, forward=two.backward, backward=two.forward), dropout, dense],
        [lstm, replace(two, forward=replace(two.forward, recurrent_activation="hard_sigmoid")), dropout, dense],
        [replace(lstm, go_backwards=True), two, dropout, dense],
    ]
    found = {known, *(fingerprint([fl.Network(layers)]) for layers in others)}
    found |= {fingerprint([net, net]), fingerprint([net, small(1)]), fingerprint([small(1), net]), fingerprint([])}
    assert len(found) == len(others) + 5
    assert all(len(one) == 64 and set(one) <= set("0123456789abcdef") for one in found)


def test_a_fingerprint_is_the_same_everywhere():
    """Recorded once: another machine, Python or NumPy must find the same."""
    lstm = fl.LSTM(np.arange(16.0).reshape(2, 8) / 8, np.ones((2, 8), np.float32), return_sequences=np.bool_(False))
    dense = fl.Dense(np.full((2, 1), -0.5), np.zeros(1), activation="relu")
    assert fingerprint([fl.Network([lstm, fl.Dropout(0.1), dense])]) == RECORDED


RECORDED = "ed16168173131faa0212150494f178bfd3d72a214305b9b949a294bc33ac2b76"


def test_explaining_hashes_nothing_and_a_pickle_holds_no_network(monkeypatch):
    net = small()
    with monkeypatch.context() as patch:
        patch.setattr(fastlrp.relevance.arrays, "fingerprint", lambda networks: pytest.fail("hashed"))
        rel = net.explain(np.zeros((2, 3, 4)))
        part = rel[:1]
    assert rel.network == part.network == fingerprint([net])
    again = pickle.loads(pickle.dumps(rel))
    assert (again.origin, again.network) == (fingerprint([net]),) * 2
    assert made_up().network is None


def test_a_rolling_fits_result_is_of_all_its_networks():
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=12, freq="M"), list("abc")])
    panel, y = pd.DataFrame(rng.normal(size=(36, 2)), index), pd.Series(rng.normal(size=36), index)
    learner = fl.LSTMRegressor(units=(2,), steps=2, max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that training this short has not converged
        model = fl.RollingLSTM(learner, window=6, step=3).fit(panel, y)
    assert len(model.networks_) > 1
    assert model.explain(panel).network == fingerprint(model.networks_)


# ------------------------------------------------------------------------------------------------ whole files or none


@pytest.mark.parametrize("end", ENDS)
def test_a_file_is_replaced_when_the_new_one_is_complete_or_not_at_all(tmp_path, end, monkeypatch):
    path = tmp_path / f"relevance.{end}"
    made_up().save(path)
    before, calls = path.read_bytes(), []

    def full(*given, **options):
        calls.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.ParquetWriter, "write_table", full)
    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(ValueError, match=rf"relevance.{end} cannot be written: No space left on device$"):
        made_up(dtype=np.float32).save(path)
    assert calls
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("relevance.csv", r"save\(path=...\) takes a name that ends in .parquet, .h5 or .hdf5, not '.*relevance.csv'"),
        ("relevance", "takes a name that ends in"),
        ("no/folder/relevance.h5", "cannot be written: No such file or directory"),
        ("folder.parquet", "folder.parquet cannot be written: Is a directory"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path, name, message):
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(ValueError, match=message):
        made_up().save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.parquet"]


def test_results_that_cannot_be_written(tmp_path):
    index = made_up().index
    mixed = index.set_levels([pd.Index([1, "B", 2.5], dtype=object), index.levels[1]])
    spans = pd.MultiIndex.from_product([STOCKS, pd.timedelta_range("1D", periods=4)], names=["stock", "span"])
    for end in ENDS:
        for rel, message in (
            (
                replace(made_up(), index=mixed),
                "its index has mixed(-integer)? in 'stock', expected times",
            ),
            (replace(made_up(), index=spans), "its index has timedelta64 in 'span', expected times"),
            (made_up(rule=Weighted(float("nan"))), "JSON cannot hold what describes it"),
            (made_up(rule=Weighted({1})), r"JSON cannot hold what describes it \(\{1\} is of type set\)"),
        ):
            with pytest.raises(ValueError, match=message):
                rel.save(tmp_path / f"relevance.{end}")
    with pytest.raises(ValueError, match="a text in its index has a NUL character"):
        replace(made_up(), index=index.set_levels(["A", "B\0", "C"], level=0)).save(tmp_path / "relevance.h5")
    assert not list(tmp_path.iterdir())


def test_pyarrow_that_is_missing_is_named(tmp_path, monkeypatch):
    found = builtins.__import__

    def without(module, *rest, **more):
        if module.partition(".")[0] == "pyarrow":
            raise ImportError(module)
        return found(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (made_up().save, fl.load_relevance):
        with pytest.raises(ImportError, match=r"needs pyarrow: pip install pyarrow .*, or a name that ends in .h5$"):
            call(tmp_path / "relevance.parquet")
    made_up().save(tmp_path / "relevance.h5")


# ----------------------------------------------------------------------------------------------------------- bad files


def refused(path, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        fl.load_relevance(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "gone.h5", "gone.h5 does not exist$")
    (tmp_path / "folder.parquet").mkdir()
    refused(tmp_path / "folder.parquet", "folder.parquet is no file$")
    (tmp_path / "text.parquet").write_text("month,stock,beta\n")
    refused(tmp_path / "text.parquet", "text.parquet is not a readable Parquet file: ")
    (tmp_path / "text.h5").write_text("month,stock,beta\n")
    refused(tmp_path / "text.h5", "text.h5 is not a readable HDF5 file: ")
    pd.DataFrame({"beta": [1.0]}).to_parquet(tmp_path / "other.parquet")
    refused(tmp_path / "other.parquet", "holds no relevance: its schema has no metadata called 'fastlrp'$")
    fl.write_keras(data.load_model(), tmp_path / "model.h5")
    refused(tmp_path / "model.h5", "holds no relevance: it has no attribute called 'fastlrp'$")
    made_up().save(tmp_path / "relevance.parquet")
    refused(tmp_path / "relevance.parquet", "needs an HDF5 file, not .*: Parquet is unpacked into memory", mmap=True)
    with pytest.raises(ValueError, match=r"load_relevance\(mmap=...\) takes True or False, not 1"):
        fl.load_relevance(tmp_path / "relevance.parquet", mmap=1)
    with pytest.raises(ValueError, match=r"load_relevance\(path=...\) takes a name that ends in"):
        fl.load_relevance("relevance.pkl")


@pytest.mark.parametrize("end", ["parquet", "h5"])
def test_a_file_that_was_cut_off_is_refused(tmp_path, end):
    path = tmp_path / f"relevance.{end}"
    made_up().save(path)
    content = path.read_bytes()
    for size in range(0, len(content) - 1, max(1, len(content) // 60)):
        path.write_bytes(content[:size])
        refused(path, "is not a readable|is damaged|holds no relevance")
        if end == "h5":
            refused(path, "is not a readable|is damaged|holds no relevance", mmap=True)


def test_a_flipped_bit_in_parquets_numbers_is_noticed(tmp_path):
    path = tmp_path / "relevance.parquet"
    made_up().save(path)
    content = bytearray(path.read_bytes())
    with parquet.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(5)
        at = chunk.data_page_offset + chunk.total_compressed_size - 9
    content[at] ^= 4
    path.write_bytes(content)
    refused(path, "is not a readable Parquet file: .*(checksum|corrupt|CRC)")


def unsealed(text):
    """The metadata as files of older versions have them, which may be changed."""
    metadata = json.loads(text)
    assert len(metadata.pop("sha256")) == 64
    return metadata


@pytest.mark.parametrize("end", ["parquet", "h5"])
def test_a_flipped_bit_in_metadata_is_noticed(tmp_path, end):
    """Of a name of a column, say: numbers were another column's before metadata had a hash."""
    path = tmp_path / f"relevance.{end}"
    made_up().save(path)
    if end == "parquet":
        table = parquet.read_table(path)
        text = table.schema.metadata[b"fastlrp"].decode()
    else:
        with h5py.File(path) as file:
            text = file.attrs["fastlrp"]
    metadata = unsealed(text)
    assert understood(text, "here")[1] == understood(json.dumps(metadata), "here")[1] == metadata
    for at in range(text.index('"steps"'), len(text) - 1):
        damaged = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        try:
            found = understood(damaged, "here")[1]
        except ValueError as error:
            assert str(error).startswith(("here is damaged: ", "here was "))  # noqa: PT017
        else:  # the name of the hash itself is damaged, and all else is whole
            assert metadata.items() <= found.items()


def edited_parquet(path, edit):
    """Write the file's table again, after a change of it or of its metadata."""
    table = parquet.read_table(path)
    metadata = unsealed(table.schema.metadata[b"fastlrp"])
    table, metadata = edit(table, metadata)
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    parquet.write_table(table.replace_schema_metadata({"fastlrp": text}), path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda table: table.drop_columns(["beta_lag1"]), "is damaged: it lacks the column 'beta_lag1'$"),
        (lambda table: table.drop_columns(["month"]), "is damaged: it lacks the column 'month'$"),
        (
            lambda table: table.append_column("score", table["score"]),
            "it has several times the column 'score'$",
        ),
        (
            lambda table: table.set_column(0, "beta_lag2", table["beta_lag2"].cast("string")),
            "is damaged: it has as string the column 'beta_lag2'$",
        ),
        (lambda table: table.set_column(0, "beta_lag2", table["score"].cast("float")), None),
        (lambda table: table.select(table.column_names[::-1]), None),
    ],
)
def test_parquet_with_other_columns(tmp_path, edit, message):
    path = tmp_path / "relevance.parquet"
    made_up().save(path)
    edited_parquet(path, lambda table, metadata: (edit(table), metadata))
    if message is None:
        assert fl.load_relevance(path).values.shape == (12, T, 4)
    else:
        refused(path, message)


LEVEL = {"name": "stock", "column": "stock", "dtype": "str"}


@pytest.mark.parametrize("end", ["parquet", "h5"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("{", "its metadata are no JSON"),
        ("[" * 200_000, "its metadata are no JSON"),
        ("[]", "its metadata are no description of a result"),
        ({"format": "1"}, "its metadata are no description of a result"),
        ({"format": 99, "fastlrp": "9.1"}, "was written by fastlrp 9.1, whose files are newer: upgrade fastlrp"),
        ({"steps": 4}, r"'values' has shape \(12, 3, 4\) and dtype float64, expected numbers of shape \(12, 4, 4\)"),
        ({"steps": True}, "its metadata have True as 'steps', expected a positive whole number"),
        ({"steps": -1}, "its metadata have -1 as 'steps'"),
        ({"steps": None}, "its metadata have None as 'steps'"),
        ({"features": list("abc")}, r"expected numbers of shape \(12, 3, 3\)"),
        ({"features": [1, 2, 3, 4]}, r"have \[1, 2, 3, 4\] as 'features', expected a list of names"),
        ({"reduced": True}, r"expected numbers of shape \(12, 4\)"),
        ({"reduced": "no"}, "have 'no' as 'reduced', expected true or false"),
        ({"target": [1]}, r"have \[1\] as 'target'"),
        ({"outputs": "up"}, "have 'up' as 'outputs'"),
        ({"network": 3}, "have 3 as 'network'"),
        ({"n_members": 1}, "have 1 as 'n_members', expected a number above 1 or null"),
        ({"n_members": 3}, "has some of 'spread', 'prediction_spread' and 'n_members', not all"),
        ({"share_spread": [0.1]}, r"have \[0.1\] as 'share_spread', expected an array of numbers"),
        ({"share_spread": {"array": [0.1, None]}}, "'share_spread' has 2 numbers, its features are 4"),
        ({"index": 3}, "have 3 as 'index', expected a list of levels or null"),
        ({"index": [LEVEL | {"dtype": "datetime64[ns]"}]}, "its index cannot be read"),
        ({"index": [LEVEL | {"dtype": "no dtype"}]}, "its index cannot be read"),
        ({"index": [LEVEL | {"dtype": "period[NO]"}]}, "its index cannot be read"),
        ({"index": [{"name": "stock", "column": "stock"}]}, "its index cannot be read"),
        ({"rule": "Arras()"}, r"have 'Arras\(\)' as 'rule', expected a rule's class and parameters"),
        (
            {"rule": {"class": "Other", "parameters": {}}},
            "made by the rule Other, which is unknown here: import its",
        ),
        ({"rule": {"class": "Arras", "parameters": {"eps": -1}}}, "names a rule that cannot be made: Arras"),
        ({"rule": {"class": "Arras", "parameters": {"other": 1}}}, "names a rule that cannot be made: .*'other'"),
        ({"rule": {"class": "Rule", "parameters": {}}}, "the rule Rule, which is unknown here"),
    ],
)
def test_metadata_that_describe_no_result(tmp_path, end, changes, message):
    path = tmp_path / f"relevance.{end}"
    made_up().save(path)
    if end == "parquet":
        edited_parquet(path, lambda table, meta: (table, changes if isinstance(changes, str) else {**meta, **changes}))
    else:
        with h5py.File(path, "a") as file:
            meta = unsealed(file.attrs["fastlrp"])
            file.attrs["fastlrp"] = changes if isinstance(changes, str) else json.dumps({**meta, **changes})
    refused(path, message)


@pytest.mark.parametrize("arrays", [None, [], {"values": 3}, {"values": {"shape": [3], "columns": ["score"]}}, {}])
def test_parquet_that_does_not_say_what_its_columns_are(tmp_path, arrays):
    path = tmp_path / "relevance.parquet"
    made_up().save(path)
    edited_parquet(path, lambda table, meta: (table, {**meta, "arrays": arrays}))
    refused(path, "is damaged: (its metadata do not|it lacks 'values')")


def linked(file, name, other):
    del file[name]
    file[name] = h5py.ExternalLink(other, name)


def virtual(file, name, other):
    layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
    layout[...] = h5py.VirtualSource(other, name, file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def external(file, name, other):
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(other, 0, h5py.h5f.UNLIMITED)])


def huge(file, name, other):
    del file[name]
    file.create_dataset(name, (1 << 40, 3, 4), "f8")


def replaced(file, name, data):
    """As a file from before there were checksums may be."""
    del file["crc32"], file[name]
    file[name] = data


def recoded(file, code):
    """Likewise."""
    del file["crc32"]
    file["index/0/codes"].write_direct(np.full(12, code, "i1"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda file, other: linked(file, "values", other), "it lacks the plain dataset 'values'"),
        (lambda file, other: linked(file, "index/0/labels", other), "it lacks the plain dataset 'index/0/labels'"),
        (lambda file, other: linked(file, "index/0", other), "it lacks the plain dataset 'index/0/codes'"),
        (lambda file, other: virtual(file, "score", other), "it lacks the plain dataset 'score'"),
        (lambda file, other: external(file, "score", other), "it lacks the plain dataset 'score'"),
        (lambda file, other: huge(file, "values", other), "it lacks the plain dataset 'values'"),
        (lambda file, other: file.pop("index/1/codes"), "it lacks the plain dataset 'index/1/codes'"),
        (lambda file, other: file.pop("score"), "it lacks 'score'"),
        (lambda file, other: replaced(file, "score", 1.0), "expected numbers of shape"),
        (lambda file, other: recoded(file, 3), "its index cannot be read"),
        (lambda file, other: recoded(file, -9), "its index cannot be read"),
        (lambda file, other: file["index/1/codes"].write_direct(np.zeros(12, "i1")), "'index/1/codes' has changed sin"),
        (lambda file, other: file.pop("crc32/index/0/labels"), "it lacks the plain dataset 'crc32/index/0/labels'"),
        (lambda file, other: file.attrs.create("fastlrp", 3), "it has no attribute called 'fastlrp'"),
    ],
)
@pytest.mark.parametrize("mmap", [False, True])
def test_hdf5_that_was_changed(tmp_path, edit, message, mmap):
    path, other = tmp_path / "relevance.h5", tmp_path / "other.h5"
    made_up().save(path)
    shutil.copy(path, other)
    with h5py.File(path, "a") as file:
        edit(file, str(other))
    refused(path, message, mmap=mmap)


def test_numbers_that_have_changed_are_refused(tmp_path):
    made_up().save(tmp_path / "relevance.h5")
    for name, array in fastlrp.relevance.arrays.sample_arrays(made_up()):
        with h5py.File(tmp_path / "relevance.h5", "a") as file:
            was = file[name][()]
            file[name][...] = np.nextafter(was, 9)
        refused(tmp_path / "relevance.h5", f"is damaged: '{name}' has changed since it was written$")
        assert len(fl.load_relevance(tmp_path / "relevance.h5", mmap=True)) == len(array)  # looks at no number
        with h5py.File(tmp_path / "relevance.h5", "a") as file:
            file[name][...] = was
    same(fl.load_relevance(tmp_path / "relevance.h5"), made_up())


def test_files_from_before_there_were_checksums(tmp_path):
    made_up().save(tmp_path / "relevance.h5")
    with h5py.File(tmp_path / "relevance.h5", "a") as file:
        del file["crc32"]
    same(fl.load_relevance(tmp_path / "relevance.h5"), made_up())


def test_what_a_newer_file_has_beside_is_left_out(tmp_path):
    made_up().save(tmp_path / "relevance.h5")
    with h5py.File(tmp_path / "relevance.h5", "a") as file:
        file["note"] = "mine"
        file.attrs["fastlrp"] = json.dumps({**unsealed(file.attrs["fastlrp"]), "note": "mine"})
    same(fl.load_relevance(tmp_path / "relevance.h5"), made_up())


def test_bits_are_the_same(tmp_path):
    """Also those of negative zeros and of the smallest numbers."""
    values = made_up().values.copy()
    values[1] = [[-0.0, 5e-324, -1e308, 1.0]] * 3
    kept = np.flatnonzero(~made_up().missing)
    for got in round_trips(made_up(values=values), tmp_path):
        same_bits(np.asarray(got.values)[kept], values[kept])
