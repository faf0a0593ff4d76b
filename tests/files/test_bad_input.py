"""Whatever a user could get wrong about files and arguments is one sentence, before work starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from file_cases import FEATURES, make_network
from helpers import run_python, same_bits
from pyarrow import feather, parquet

import fastlrp as fl
from fastlrp.data import load_model
from fastlrp.files.layout import UnsortedError

pytestmark = pytest.mark.usefixtures("here", "small_blocks")


def refused(match, model=None, source="panel.parquet", out="out.parquet", **options):
    """Check the sentence, and that nothing was written."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(ValueError, match=match) as caught:
        fl.explain_file(make_network() if model is None else model, source, out, **options)
    assert "\n" not in str(caught.value)
    assert sorted(Path().rglob("*")) == before
    return caught.value


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"rule": "lime"}, r"rule= takes 'arras'"),
        ({"target": 1}, r"target=1 is not an output"),
        ({"steps": 5}, r"steps=5 was given, but the network takes windows of 4 steps"),
        ({"aggregate": "sum"}, r"aggregate= takes"),
        ({"reduce": "all"}, r"reduce= takes 'none', 'steps', 'groups' or 'time', not 'all'"),
        ({"reduce": "groups"}, r"go together"),
        ({"groups": {"a": ["f0"]}}, r"go together"),
        ({"reduce": "groups", "groups": {"a": ["g"]}}, r"group 'a' names what is no feature: 'g'"),
        ({"memory": "lots"}, r"memory= takes a number of bytes"),
        ({"memory": True}, r"memory= takes a number of bytes"),
        ({"memory": "1MB"}, r"memory= is 1 MB, expected at least \d+ MB for these files$"),
        ({"columns": ["f0", "f1"]}, r"columns= names 2 columns, but the network takes 5"),
        ({"columns": ["f0", "f1", "f2", "f3", "x"]}, r"panel.parquet lacks 1 of 5 features: 'x'"),
        ({"columns": ["f0", 1]}, r"columns= takes a list of names, not \['f0', 1\]"),
        ({"columns": ["f0", "f1", "f2", "f3", "note"]}, r"do not hold real numbers: 'note' \("),
        ({"index": "date"}, r"index= takes the names of two columns"),
        ({"index": ("date", "date")}, r"index= names 'date' twice"),
        ({"index": ("dat", "ticker")}, r"panel.parquet has no column 'dat' \(did you mean 'date'\?\)"),
        ({"index": ("f0", "ticker")}, r"panel.parquet lacks 1 of 5 features: 'f0'"),
        ({"index": ("note", "ticker")}, r"the panel's time level 'note' is not understood as times \(it holds 'x'\)"),
        ({"where": "f0 > 1"}, r"where= takes a pyarrow.dataset expression or tuples"),
        ({"where": [("f0", ">", 1e9)]}, r"panel.parquet has no rows to explain"),
        ({"since": "2030-01"}, r"since='2030-01' is after the panel's last time, 2002-06-30, expected one not later"),
        ({"since": "soon"}, r"since='soon' is not understood as a time such as the panel's '2002-06-30'"),
        ({"device": "cuda"}, r"explain_file computes on the CPU, not on device='cuda'"),
        ({"device": "tpu"}, r"device= takes"),
        ({"dtype": "int8"}, r"dtype= takes float32 or float64"),
        ({"threads": 0}, r"threads= takes"),
        ({"model": "no.h5"}, r"no.h5"),
        ({"model": fl.Ensemble([make_network(0), make_network(1)])}, "takes one network, not an Ensemble"),
        ({"rule": fl.IntegratedGradients(baseline=[1.0])}, r"shape \(1,\), expected \(5,\) or \(4, 5\)"),
        ({"model": 5}, r"expected a fastlrp.Network, not int"),
        ({"source": "no.parquet"}, r"no.parquet does not exist"),
        ({"source": "note.md"}, r"note.md is of no kind that is read block by block"),
        ({"source": "text.parquet"}, r"text.parquet cannot be read: "),
        ({"source": "empty"}, r"empty is an empty folder"),
        ({"source": "mixed"}, r"mixed holds a.csv and b.parquet, expected files of one kind"),
        ({"out": "panel.parquet"}, r"panel.parquet is the panel itself"),
        ({"out": "mixed/out.parquet", "source": "mixed"}, r"lies in the folder mixed that is read"),
        (
            {"out": "out.md"},
            r"relevance is written block by block to a .parquet, .csv, .csv.gz or .h5 file, not 'out.md'",
        ),
        ({"out": "out.parquet.gz"}, r"not 'out.parquet.gz'"),
        ({"out": "no/out.parquet"}, r"no.out.parquet cannot be written: there is no folder"),
        ({"out": "folder.parquet"}, r"folder.parquet is a folder, expected a file to write"),
    ],
)
def test_arguments_and_places(by_time, options, match):
    by_time.reset_index().assign(note="x").to_parquet("panel.parquet")
    for folder in ("empty", "mixed", "folder.parquet"):
        Path(folder).mkdir()
    Path("note.md").write_text("x")
    Path("text.parquet").write_text("not parquet")
    Path("mixed/a.csv").write_text("a,b,c\n")
    by_time.to_parquet("mixed/b.parquet")
    refused(match, **options)


def test_tables_that_pandas_or_others_write_and_no_reader_expects(by_time):
    empty = by_time.iloc[:0]
    with parquet.ParquetWriter("panel.parquet", pyarrow.Table.from_pandas(empty).schema):
        pass  # no row group
    refused("^panel.parquet has no rows to explain$")
    frame = by_time.reset_index()
    frame.assign(date=frame["date"].dt.to_period("M")).to_parquet("panel.parquet")
    refused(r"panel.parquet holds extension<.*> in column 'date', expected dates, texts or numbers: write Periods as")
    table = pyarrow.Table.from_pandas(frame)
    parquet.write_table(table.append_column("f0", table.column("f1")), "panel.parquet")
    refused("^panel.parquet: two columns are called 'f0'$")
    refused("^panel.parquet: two columns are called 'f0'$", columns=["f1"])


@pytest.mark.parametrize("write", [parquet.write_table, feather.write_feather])
def test_a_first_file_without_rows_and_columns_in_another_order(net, by_time, write):
    Path("months").mkdir()
    for k, (_, month) in enumerate([(None, by_time.iloc[:0]), *by_time.groupby(level="date")]):
        columns = FEATURES if k % 2 else FEATURES[::-1]
        table = pyarrow.Table.from_pandas(month[columns].reset_index())
        write(table, f"months/{k:02d}.{'parquet' if write is parquet.write_table else 'feather'}")
    fl.explain_file(net, "months", "out.parquet", columns=by_time.columns)
    same_bits(fl.load_relevance("out.parquet").values, net.explain(by_time).values)


def test_texts_as_views_and_lists_beside_numbers(net, by_time):
    table = pyarrow.Table.from_pandas(by_time.reset_index())
    if int(pyarrow.__version__.partition(".")[0]) >= 20:  # earlier ones do little with views
        at = table.schema.names.index("ticker")
        table = table.set_column(at, "ticker", pyarrow.array(table["ticker"].to_pylist(), pyarrow.string_view()))
    parquet.write_table(table.append_column("list", pyarrow.array([[1.0]] * len(table))), "panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet")
    got = fl.load_relevance("out.parquet")
    same_bits(got.values, net.explain(by_time).values)
    assert got.index.equals(by_time.index)


def test_a_place_without_room_is_named(by_time, monkeypatch):
    by_time.to_parquet("panel.parquet")

    def full(file, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastlrp.files.keys.write_all", full)
    refused(f"^times and assets of rows cannot be kept in {Path().resolve()}: No space left on device$")


def test_rows_in_no_order_name_the_first_that_is_out_of_place(by_time):
    frame = by_time.sample(frac=1, random_state=0)
    frame.to_parquet("panel.parquet")
    error = refused(r"^panel.parquet is sorted neither by asset nor by time: asset 'A\d+' comes back in row \d+ after")
    assert isinstance(error, UnsortedError)
    assert "frame.sort_index()" in str(error)


def test_an_asset_in_two_files_is_said(by_asset):
    Path("parts").mkdir()
    assets = by_asset.index.get_level_values("ticker")
    by_asset[assets <= "A020"].to_parquet("parts/1.parquet")
    by_asset[assets >= "A020"].to_parquet("parts/2.parquet")
    fl.explain_file(make_network(), "parts/1.parquet", "one.parquet")
    halves = by_asset.loc["A020"]
    first = by_asset[(assets < "A020") | ((assets == "A020") & (np.arange(len(assets)) % 2 == 0))]
    first.to_parquet("parts/1.parquet")
    rest = by_asset[~by_asset.index.isin(first.index)]
    pd.concat([rest[rest.index.get_level_values(0) != "A020"], rest.loc[["A020"]]]).to_parquet("parts/2.parquet")
    assert len(halves) > 20
    refused(r"^parts is sorted neither by asset nor by time: asset 'A020' comes back in row ", source="parts")


@pytest.mark.parametrize("order", ["by_time", "by_asset"])
def test_a_row_twice_is_named_wherever_blocks_end(order, request):
    frame = request.getfixturevalue(order)
    at = 700
    twice = pd.concat([frame.iloc[: at + 1], frame.iloc[at:]])
    twice.to_parquet("panel.parquet")
    key = dict(zip(frame.index.names, frame.index[at], strict=True))
    refused(
        rf"^the panel has row \({key['date']:%Y-%m-%d}, {key['ticker']}\) twice, expected one row a time and asset$"
    )


@pytest.mark.parametrize("order", ["by_time", "by_asset"])
def test_a_row_twice_far_from_the_first_is_no_matter_of_order(order, request):
    frame = request.getfixturevalue(order)
    pd.concat([frame, frame.iloc[[40]]]).to_parquet("panel.parquet")
    key = dict(zip(frame.index.names, frame.index[40], strict=True))
    refused(
        rf"^the panel has row \({key['date']:%Y-%m-%d}, {key['ticker']}\) twice, expected one row a time and asset$"
    )


def test_two_dates_in_a_month_are_named_as_in_memory(by_time):
    frame = by_time.reset_index()
    frame.loc[len(frame)] = [pd.Timestamp("2001-05-15"), "A007", *[0.0] * 5]
    frame = frame.set_index(["date", "ticker"]).astype("float32").sort_index()
    frame.to_parquet("panel.parquet")
    match = (
        r"about one date a month for each asset, but rows \(2001-05-15, A007\) and \(2001-05-31, A007\) share a month"
    )
    refused(match)
    with pytest.raises(ValueError, match=match):
        make_network().explain(frame)


def test_a_row_without_an_asset(by_time):
    frame = by_time.reset_index()
    frame.loc[10, "ticker"] = None
    frame.to_parquet("panel.parquet")
    refused(r"^panel.parquet has no 'ticker' in row 11$")


def test_files_of_a_folder_must_agree(by_time):
    Path("months").mkdir()
    for k, (_, month) in enumerate(by_time.groupby(level="date")):
        frame = month.drop(columns="f3") if k == 4 else month.astype({"f3": "float64"}) if k == 7 else month
        frame.to_parquet(f"months/{k:02d}.parquet")
    refused(r"^months.04.parquet lacks 1 of the columns to read: 'f3'", source="months")
    by_time.loc[["2000-05-31"]].to_parquet("months/04.parquet")
    refused(r"^months.07.parquet holds double in column 'f3', expected float as in 00.parquet$", source="months")


def test_text_that_is_no_number(by_asset):
    by_asset.astype(object).replace({by_asset.iloc[500, 2]: "many"}).to_csv("panel.csv")
    with pytest.raises(ValueError, match=r"^panel.csv cannot be read: .*many"):
        fl.explain_file(make_network(), "panel.csv", "out.parquet")
    assert not Path("out.parquet").exists()


def test_no_row_has_a_window(by_time):
    by_time.loc["2000-01":"2000-02"].to_parquet("panel.parquet")
    refused(r"^panel.parquet has no row to explain: none of its \d+ rows ends a complete window of 4 steps")


def test_unnamed_inputs_must_be_as_many_as_the_columns(by_time):
    net = make_network().with_features(None)
    by_time.assign(more=1.0).to_parquet("panel.parquet")
    refused(r"^panel.parquet has 6 columns of numbers besides time and asset, the network takes 5 features: ", net)
    by_time[FEATURES].to_parquet("panel.parquet")
    fl.explain_file(net, "panel.parquet", "out.parquet")
    refused(r"steps= is missing", load_model().replaced(steps=None))


def test_without_pyarrow_a_sentence_says_what_to_install():
    code = "import sys; sys.modules['pyarrow'] = None; import fastlrp; fastlrp.explain_file"
    done = run_python("-c", code)
    assert "ImportError: explain_file and fit_file need the package pyarrow: pip install pyarrow" in done.stderr
