"""explain_file gives, bit for bit, what explain gives on the whole panel in memory; and how it is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from file_cases import FEATURES, STEPS
from helpers import TOTALS, close, same_bits, same_relevance
from pyarrow import dataset, parquet

import fastlrp as fl
from fastlrp.files import door

pytestmark = pytest.mark.usefixtures("here", "small_blocks")


def write(frame, name, rows=200):
    """A panel as a file of that name, in pieces of a few rows."""
    if name.endswith(".parquet"):
        frame.to_parquet(name, row_group_size=rows)
    elif name.endswith(".feather"):
        frame.reset_index().to_feather(name, chunksize=rows)
    else:
        frame.to_csv(name)
    return name


def same_as_memory(out, want):
    """Check that the file holds the values and totals of a result, row by row."""
    got = pd.read_parquet(out)
    assert got.index.names == want.index.names
    for name in got.index.names:  # of csv, dates are texts
        level, wanted = got.index.get_level_values(name), want.index.get_level_values(name)
        assert level.astype(wanted.dtype).equals(wanted)
    n = int(np.prod(want.values.shape[1:]))
    same_bits(got.iloc[:, :n].to_numpy(want.values.dtype).reshape(want.values.shape), want.values)
    for name in ("prediction", *TOTALS):
        same_bits(got[name].to_numpy(want.score.dtype), getattr(want, name))
    return got


@pytest.mark.parametrize("kind", ["parquet", "feather", "csv", "csv.gz"])
@pytest.mark.parametrize("order", ["by_time", "by_asset"])
def test_every_kind_in_both_orders_has_the_bits_of_memory(net, order, kind, request):
    panel = request.getfixturevalue(order)
    source = write(panel, f"panel.{kind}")
    if kind.startswith("csv"):
        panel = panel.astype(str).astype(np.float64)  # as the text reads: doubles of the shortest float32 texts
    summary = fl.explain_file(net, source, "out.parquet")
    want = net.explain(panel)
    same_as_memory("out.parquet", want)
    assert (summary.rows, summary.explained) == (len(panel), int((~want.missing).sum()))
    assert parquet.ParquetFile("out.parquet").num_row_groups > 3
    assert sorted(path.name for path in Path().iterdir()) == ["out.parquet", source]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("arras", None),
        ("rudder", "'rudder' leaves more than half of the score unattributed in .*use rule='arras'"),
        (fl.Arras(eps=1e-2, delta=1, recurrent=False), None),
        (fl.IntegratedGradients(12, baseline=[0.1, 0.2, -0.3, 0.0, 1.0]), None),
        (fl.IntegratedGradients(1), r"IntegratedGradients\(.*misses .* at the median"),
    ],
)
def test_rules_and_sums_over_steps(net, by_time, rule, words):
    write(by_time, "panel.parquet")
    with nothing() if words is None else pytest.warns(fl.ConservationWarning, match=words) as seen:
        fl.explain_file(net, "panel.parquet", "out.parquet", rule=rule, reduce="steps", threads=1)
        want = net.explain(by_time, rule=rule, reduce="steps")
    assert words is None or len(seen) == 2
    same_as_memory("out.parquet", want)
    assert fl.load_relevance("out.parquet").rule == want.rule


def nothing():
    import contextlib

    return contextlib.nullcontext()


def test_groups_are_those_of_by_group(net, by_asset):
    groups = {"Value": ["f0", "f3"], "Risk": ["f1"]}
    write(by_asset, "panel.parquet")
    summary = fl.explain_file(net, "panel.parquet", "out.parquet", reduce="groups", groups=groups)
    want = net.explain(by_asset, reduce="steps").by_group(groups)
    got = pd.read_parquet("out.parquet")
    assert list(got)[:3] == list(want) == ["Value", "Risk", "Other"]
    same_bits(got[list(want)].to_numpy(), want.to_numpy())
    assert set(summary.shares) == {"Value", "Risk", "Other"}


@pytest.mark.parametrize(("out", "separator"), [("out.csv", ","), ("out.csv.gz", ","), ("out.tsv.xz", "\t")])
def test_text_has_the_numbers_of_to_frame(net, by_asset, out, separator):
    write(by_asset, "panel.parquet")
    fl.explain_file(net, "panel.parquet", out, reduce="steps")
    got = pd.read_csv(out, sep=separator, parse_dates=["date"]).set_index(["ticker", "date"])
    want = net.explain(by_asset, reduce="steps").to_frame()
    assert list(got) == list(want)
    same_bits(got.to_numpy(np.float64), want.to_numpy(np.float64))


def test_a_folder_with_a_file_for_each_month_in_any_order_of_names(net, by_time):
    folder = Path("months")
    folder.mkdir()
    for k, (_, month) in enumerate(by_time.groupby(level="date")):
        month.to_parquet(folder / f"{k + 1}.parquet")  # 1, 10, 11 ... 2, 20
    fl.explain_file(net, folder, "out.parquet")
    same_as_memory("out.parquet", net.explain(by_time))


def test_a_folder_with_a_file_for_each_asset(net, by_asset):
    for asset, part in by_asset.groupby(level="ticker"):
        folder = Path("assets") / str(asset)[:3]
        folder.mkdir(parents=True, exist_ok=True)
        part.iloc[::-1].to_parquet(folder / f"{asset}.parquet")  # newest first: an asset's own rows may have any order
    fl.explain_file(net, "assets", "out.parquet", reduce="steps")
    got = pd.read_parquet("out.parquet").sort_index()
    want = net.explain(by_asset, reduce="steps").to_frame()
    same_bits(got.to_numpy(), want.to_numpy())


@pytest.mark.parametrize("order", ["by_time", "by_asset"])
@pytest.mark.parametrize("since", ["2002-02", pd.Timestamp("2002-02-28"), 20020228, "2000-01"])
def test_a_monthly_update_has_the_rows_of_the_whole(net, order, since, request):
    panel = request.getfixturevalue(order)
    write(panel, "panel.parquet", rows=60)
    fl.explain_file(net, "panel.parquet", "out.parquet", since=since)
    date = panel.index.get_level_values("date")
    new = date >= ("2002-02-01" if str(since) != "2000-01" else "1999-01-01")
    same_as_memory("out.parquet", net.explain(panel)[new])


def test_a_monthly_update_reads_the_features_of_the_months_it_needs_alone(net, by_time, monkeypatch):
    folder = Path("months")
    folder.mkdir()
    for month, part in by_time.groupby(level="date"):
        part.to_parquet(folder / f"{month:%Y-%m}.parquet")
    read = []
    from fastlrp.files.kinds import _Parquet

    plain = _Parquet.read

    def spied(self, piece, columns):
        if "f0" in columns:
            read.append(piece.path.stem)
        return plain(self, piece, columns)

    monkeypatch.setattr(_Parquet, "read", spied)
    fl.explain_file(net, folder, "out.parquet", since="2002-05", index=("date", "ticker"))
    assert sorted(set(read)) == ["2002-02", "2002-03", "2002-04", "2002-05", "2002-06"]


@pytest.mark.parametrize("where", [[("f1", ">", -0.5)], dataset.field("f1") > -0.5])
def test_rows_are_chosen_by_where(net, by_asset, where):
    write(by_asset, "panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet", where=where)
    same_as_memory("out.parquet", net.explain(by_asset[by_asset["f1"] > -0.5]))


def test_one_block_or_many_give_the_same_numbers(net, by_time, monkeypatch):
    write(by_time, "panel.parquet")
    fl.explain_file(net, "panel.parquet", "many.parquet")
    monkeypatch.setattr(door, "_MOST_ROWS", 1 << 20)
    fl.explain_file(net, "panel.parquet", "one.parquet")
    many, one = parquet.ParquetFile("many.parquet"), parquet.ParquetFile("one.parquet")
    assert (many.num_row_groups > 5, one.num_row_groups) == (True, 1)
    assert many.read().equals(one.read(), check_metadata=True)


def test_quarters_and_plain_numbers_have_the_grid_of_the_whole_panel(net, by_asset):
    """A block of few assets with rows half a year apart must not take that for its period."""
    dates = by_asset.index.get_level_values("date")
    number = (dates.year - 2000) * 12 + dates.month
    keep = (by_asset.index.get_level_values("ticker") < "A020") | (number % 2 == 0)
    frame = by_asset[keep]
    frame.index = pd.MultiIndex.from_arrays([frame.index.get_level_values(0), np.asarray(number)[keep]],
                                            names=["ticker", "month"])  # fmt: skip
    write(frame, "panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet")
    same_as_memory("out.parquet", net.explain(frame))


def test_columns_index_types_and_several_outputs(by_time):
    from file_cases import FEATURES, make_network

    net = make_network(outputs=2).replaced(features=None, outputs=["up", "down"])
    frame = by_time.reset_index().rename(columns={"date": "when", "ticker": "who"})
    frame["f2"] = frame["f2"].astype("float64")
    frame["who"] = frame["who"].astype("category")
    frame["note"] = "x"
    frame.to_parquet("panel.parquet", row_group_size=100)
    fl.explain_file(net, "panel.parquet", "out.parquet", columns=FEATURES[::-1], index=("when", "who"), target="down",
                    dtype="float32")  # fmt: skip
    panel = frame.set_index(["when", "who"])[FEATURES[::-1]]
    want = net.explain(panel, target="down", dtype="float32")
    got = pd.read_parquet("out.parquet")
    same_bits(got.iloc[:, : 4 * 5].to_numpy(), want.values.reshape(len(want), -1))
    same_bits(got[["prediction[up]", "prediction[down]"]].to_numpy(), want.prediction)
    about = json.loads(parquet.read_schema("out.parquet").metadata[b"fastlrp"])
    assert about["features"] == FEATURES[::-1]
    assert (about["target"], about["outputs"], about["steps"]) == ("down", ["up", "down"], 4)
    assert about["rule"]["parameters"]["eps"] == 1e-3
    assert len(about["network"]) == 64
    assert about["arrays"]["values"]["columns"][:2] == ["f4_lag3", "f3_lag3"]


def test_the_models_file_and_the_embedded_panel(here):
    from fastlrp.data import load_model, load_panel

    panel, model = load_panel(), load_model()
    fl.write_keras(model, "model.h5")
    panel.to_parquet("panel.parquet")
    summary = fl.explain_file("model.h5", "panel.parquet", "out.parquet", reduce="steps", memory="200MB")
    want = model.explain(panel, reduce="steps")
    same_as_memory("out.parquet", want)
    assert summary.gap < 1e-4
    close(sum(summary.shares.values()), 1.0, 1e-6)
    assert next(iter(summary.shares)) in str(summary)


def test_one_step_and_wide_numbers(here, by_time):
    """Windows of one month need no history; whole numbers, with some missing, are numbers as in a frame."""
    rng = np.random.default_rng(5)
    lstm = fl.LSTM(rng.normal(size=(5, 12)), rng.normal(size=(3, 12)), rng.normal(size=12))
    net = fl.Network([lstm, fl.Dense(rng.normal(size=(3, 1)))], steps=1, features=[f"f{j}" for j in range(5)])
    frame = (100 * by_time).round()
    frame["f0"] = frame["f0"].astype("Int64")
    frame["f1"] = frame["f1"] > 0
    write(frame, "panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet")
    same_as_memory("out.parquet", net.explain(frame))


def test_keys_that_are_whole_numbers_in_text_stay_so(net, by_asset):
    frame = by_asset.reset_index()
    frame["ticker"] = frame["ticker"].str[1:].astype(int) + 10_000
    frame["date"] = frame["date"].dt.strftime("%Y%m").astype(int)
    frame.to_csv("panel.csv", index=False, sep=";")
    fl.explain_file(net, "panel.csv", "out.parquet", reduce="steps")
    schema = parquet.read_schema("out.parquet")
    assert {schema.field(name).type for name in ("ticker", "date")} == {pyarrow.int64()}


@pytest.mark.parametrize("reduce", ["none", "steps"])
def test_the_result_is_loaded_as_one_that_was_saved(net, by_asset, reduce):
    write(by_asset, "panel.parquet")
    rule = fl.Arras(eps=0.01, delta=1)
    fl.explain_file(net, "panel.parquet", "out.parquet", rule=rule, reduce=reduce)
    want = net.explain(by_asset, rule=rule, reduce=None if reduce == "none" else reduce)
    got = fl.load_relevance("out.parquet")
    same_relevance(got, want)
    assert got.index.equals(want.index)
    for name in ("rule", "steps", "features", "target", "outputs", "reduced", "by_position", "network"):
        assert getattr(got, name) == getattr(want, name), name
    want.save("saved.parquet")
    about = [parquet.read_schema(f"{name}.parquet").metadata[b"fastlrp"] for name in ("saved", "out")]
    assert json.loads(about[0]) == json.loads(about[1])


@pytest.mark.parametrize("since", ["2002", 2002, "2002Q1", pd.Period("2002-01"), pd.Timestamp("2002-01-01")])
def test_a_year_a_quarter_and_a_period_begin_where_they_begin(net, by_time, since):
    write(by_time, "panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet", since=since)
    times = pd.read_parquet("out.parquet").index.get_level_values("date")
    assert times.min() >= pd.Timestamp("2002-01-01")
    assert len(times) == (by_time.index.get_level_values("date") >= "2002-01-01").sum()


@pytest.mark.parametrize("since", [pd.NaT, "2002-01-02 12:00"])
def test_what_is_no_day_is_refused(net, by_time, since):
    write(by_time, "panel.parquet")
    with pytest.raises(ValueError, match="since="):
        fl.explain_file(net, "panel.parquet", "out.parquet", since=since)


def test_columns_are_not_taken_in_another_order_than_the_networks(net, by_time):
    write(by_time, "panel.parquet")
    names = list(by_time.columns)
    named = net.replaced(features=names)
    with pytest.raises(ValueError, match="which is the network's input"):
        fl.explain_file(named, "panel.parquet", "out.parquet", columns=[names[1], names[0], *names[2:]])
    with pytest.raises(ValueError, match="twice"):
        fl.explain_file(net, "panel.parquet", "out.parquet", columns=[names[0], names[0], *names[2:]])
    for wrong, message in ((3, "columns= takes a list of names, not 3"), ("f", "columns= takes a list")):
        with pytest.raises(ValueError, match=message):
            fl.explain_file(net, "panel.parquet", "out.parquet", columns=wrong)
    with pytest.raises(ValueError, match="index= takes the names of two columns"):
        fl.explain_file(net, "panel.parquet", "out.parquet", index=3)
    for groups in (names, {"a": None}):
        with pytest.raises(ValueError, match="groups= takes a"):
            fl.explain_file(net, "panel.parquet", "out.parquet", reduce="groups", groups=groups)


def test_a_filter_is_recorded_in_full():
    """Long lists are cut in an expression's text; two filters that differ in the middle are two filters."""
    from fastlrp.files.explain_file import _said

    one, two = list(range(100)), [*range(50), 777, *range(51, 100)]
    field = dataset.field("asset")
    assert str(field.isin(one)) == str(field.isin(two))
    assert _said(field.isin(one)) != _said(field.isin(two))
    assert _said(field.isin(one)) == _said(field.isin(list(one)))
    assert _said([("a", "in", {"x", "y", "z"})]) == _said([("a", "in", {"z", "y", "x"})])
    assert _said(None) is None


def test_a_bar_says_rows_a_second_where_it_is_seen(net, by_time, capsys):
    pytest.importorskip("tqdm", reason="the extra fastlrp[progress] is not installed")
    write(by_time, "panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet")
    assert capsys.readouterr().err == ""  # no terminal
    fl.explain_file(net, "panel.parquet", "out.parquet", progress=True)
    said = capsys.readouterr().err
    assert "explain: 100%" in said
    assert "rows/s" in said
    assert len(by_time) < 10_000
    assert f"{len(by_time)}/{len(by_time)}" in said


def test_rows_that_overflow_are_said_and_have_no_relevance(by_asset, tmp_path):
    """Linear cells: their state is squared step by step."""
    rng = np.random.default_rng(2)
    D, H = len(FEATURES), 6
    lstm = fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)), activation="linear")
    net = fl.Network([lstm, fl.Dense(rng.normal(size=(H, 1)))], steps=STEPS, features=FEATURES)
    panel = by_asset.astype(np.float64)
    panel.iloc[40] = 1e308
    panel.to_parquet("panel.parquet")
    with pytest.warns(fl.OverflowWarning) as in_memory:
        rel = net.explain(panel)
    with pytest.warns(fl.OverflowWarning) as from_file:
        summary = fl.explain_file(net, "panel.parquet", "out.parquet")
    assert summary.overflowed == rel.overflowed.sum() > 0
    assert f"{summary.overflowed} rows overflowed" in str(summary)
    words = [re.sub(r" \(\(.*?\)[^)]*\);", ";", str(caught[0].message)) for caught in (in_memory, from_file)]
    assert words[0] == words[1]
    found = fl.load_relevance("out.parquet")
    same_bits(found.values, rel.values)
    same_bits(found.prediction, rel.prediction)
    table = parquet.read_table("out.parquet").select([f"{FEATURES[0]}_lag0", "prediction"])
    assert table[0].null_count == (~rel.explained).sum()
    assert table[1].null_count == rel.missing.sum()


@pytest.mark.parametrize("end", [".parquet", ".h5"])
def test_without_a_recurrent_layer_relevance_is_that_of_rows(by_asset, end):
    """One step has no lag: the file is that of the panel in memory."""
    rng = np.random.default_rng(3)
    net = fl.Network([fl.Dense(rng.normal(size=(len(FEATURES), 1)))], features=FEATURES)
    by_asset.to_parquet("panel.parquet")
    fl.explain_file(net, "panel.parquet", f"out{end}")
    found, want = fl.load_relevance(f"out{end}"), net.explain(by_asset)
    assert found.values.shape == want.values.shape == by_asset.shape
    same_bits(found.to_frame().to_numpy(), want.to_frame().to_numpy())
    assert list(found.to_frame().columns) == list(want.to_frame().columns)
