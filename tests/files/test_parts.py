"""Outputs that are not one table of rows: means by period, and folders of parts; and folders of parts as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import close, same_bits
from pyarrow import dataset, parquet

import fastlrp as fl
from fastlrp.files import run

pytestmark = pytest.mark.usefixtures("here", "small_blocks")


@pytest.mark.parametrize("order", ["by_time", "by_asset"])
@pytest.mark.parametrize("groups", [None, {"Value": ["f0", "f3"], "Risk": ["f1"]}])
def test_means_by_period_are_those_of_by_time(net, order, groups, request):
    panel = request.getfixturevalue(order)
    panel.to_parquet("panel.parquet", row_group_size=200)
    summary = fl.explain_file(net, "panel.parquet", "out.parquet", reduce="time", groups=groups)
    got, want = pd.read_parquet("out.parquet"), net.explain(panel, reduce="steps")
    assert got.index.names == ["date", "statistic"]
    for statistic in ("mean", "abs", "share"):
        table = want.by_time(statistic, groups=groups)
        mine = got.xs(statistic, level="statistic")
        assert mine.index.equals(table.index)
        assert list(mine) == list(table)
        close(mine.to_numpy(), table.to_numpy(), 1e-12)
    assert summary.explained == int((~want.missing).sum())
    assert b"fastlrp_table" in parquet.read_schema("out.parquet").metadata
    fl.explain_file(net, "panel.parquet", "out.tsv.gz", reduce="time", groups=groups, since="2002-02")
    text = pd.read_csv("out.tsv.gz", sep="\t", parse_dates=["date"], index_col=["date", "statistic"])
    new = got[got.index.get_level_values("date") >= "2002-02"]
    assert text.index.equals(new.index)
    close(text.to_numpy(), new.to_numpy(), 1e-12)
    assert sorted(path.name for path in Path().iterdir()) == ["out.parquet", "out.tsv.gz", "panel.parquet"]


def fail_once(monkeypatch, at):
    left, plain = [at], run.Run._stored

    def stored(self, *args):
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "full")
        return plain(self, *args)

    monkeypatch.setattr(run.Run, "_stored", stored)


@pytest.mark.parametrize(("out", "options"), [("out.parquet", {"reduce": "time"}), ("out", {"partition_by": "year"})])
def test_what_is_taken_up_again_ends_in_the_same_bytes(net, by_time, out, options, monkeypatch):
    by_time.to_parquet("panel.parquet", row_group_size=200)
    fl.explain_file(net, "panel.parquet", out, **options)
    Path(out).rename("want" + Path(out).suffix)
    with monkeypatch.context() as patch:
        fail_once(patch, 4)
        with pytest.raises(ValueError, match=r"cannot be written: full .*keeps what is done"):
            fl.explain_file(net, "panel.parquet", out, **options)
    assert not Path(out).exists()
    if Path(f".{out}.unfinished").is_dir():  # a part that was begun and not noted goes
        Path(f".{out}.unfinished/year=1066").mkdir()
        Path(f".{out}.unfinished/year=1066/part.parquet").write_text("half")
    fl.explain_file(net, "panel.parquet", out, resume=True, **options)
    got, want = (contents(name) for name in (out, "want" + Path(out).suffix))
    assert got == want


def contents(name):
    paths = sorted(Path(name).rglob("*")) if Path(name).is_dir() else [Path(name)]
    return [(path.relative_to(name).as_posix(), path.is_file() and path.read_bytes()) for path in paths]


def test_a_folder_for_each_year_or_value_holds_the_rows_of_one_file(net, by_asset):
    region = by_asset.index.get_level_values("ticker").str[-1].map(lambda end: "a/b" if end < "5" else "Ö")
    by_asset.assign(region=region).to_parquet("panel.parquet", row_group_size=200)
    fl.explain_file(net, "panel.parquet", "one.parquet", reduce="steps")
    one = pd.read_parquet("one.parquet")
    fl.explain_file(net, "panel.parquet", "years", reduce="steps", partition_by="year")
    fl.explain_file(net, "panel.parquet", "regions", reduce="steps", partition_by="region", since="2001-07")
    years, dates = one.index.get_level_values("date").year, one.index.get_level_values("date")
    assert sorted(path.name for path in Path("years").iterdir()) == [f"year={year}" for year in sorted(set(years))]
    for year in set(years):
        part = pd.read_parquet(f"years/year={year}/part.parquet", partitioning=None)
        assert part.equals(one[years == year])
        assert fl.load_relevance(f"years/year={year}/part.parquet").rule == fl.Arras()
    for value, name in (("a/b", "a%2Fb"), ("Ö", "%C3%96")):
        part = pd.read_parquet(f"regions/region={name}/part.parquet", partitioning=None)
        assert part.equals(one[(region == value) & (dates >= "2001-07")])
    whole = dataset.dataset("regions", partitioning="hive").to_table()
    assert set(whole.column("region").to_pylist()) == {"a/b", "Ö"}


def test_folders_named_by_time_are_a_panel(net, by_time):
    want = net.explain(by_time, reduce="steps")
    for date, month in by_time.groupby(level="date"):
        for folder in (f"days/date={date:%Y-%m-%d}", f"months/year={date.year}/month={date.month}"):
            Path(folder).mkdir(parents=True)
            month.droplevel("date").to_parquet(f"{folder}/part.parquet")
    fl.explain_file(net, "days", "days.parquet", reduce="steps")
    fl.explain_file(net, "months", "months.parquet", reduce="steps", where=[("year-month", ">=", "2000-01")])
    for name, column in (("days", "date"), ("months", "year-month")):
        got = pd.read_parquet(f"{name}.parquet")
        same_bits(got["f0"].to_numpy(), want.to_frame()["f0"].to_numpy())
        assert got.index.get_level_values("ticker").equals(by_time.index.get_level_values("ticker"))
        times = pd.to_datetime(got.index.get_level_values(column)).to_period("M")
        assert np.array_equal(times, by_time.index.get_level_values("date").to_period("M"))


def test_folders_named_by_numbers_too_long_for_any_type_are_texts(net, by_asset):
    want = net.explain(by_asset, reduce="steps")
    for asset, rows in by_asset.groupby(level="ticker"):
        folder = Path(f"assets/ticker={10**25 + int(asset[1:])}")
        folder.mkdir(parents=True)
        rows.droplevel("ticker").to_parquet(folder / "part.parquet")
    fl.explain_file(net, "assets", "out.parquet", reduce="steps")
    same_bits(fl.load_relevance("out.parquet").values, want.values)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"partition_by": "f9"}, "panel.parquet has no column 'f9', which partition_by= names$"),
        ({"partition_by": 3}, "partition_by= takes the name of a column, or 'year', not 3"),
        ({"partition_by": "date"}, "partition_by='date' names folders as the files' own column 'date': give a column"),
        ({"partition_by": "f1", "reduce": "steps"}, "partition_by='f1' names folders as the files' own column 'f1'"),
        ({"partition_by": "year", "reduce": "time"}, "partition_by= parts rows, and reduce='time' leaves none"),
        ({"partition_by": "year", "destination": "panel.parquet"}, "panel.parquet is a file, expected a new folder"),
        ({"partition_by": "year", "destination": "full"}, "full is a folder that holds files, expected a new folder"),
    ],
)
def test_parts_that_cannot_be(net, by_time, options, match):
    by_time.to_parquet("panel.parquet")
    Path("full").mkdir()
    Path("full/x").write_text("x")
    before = sorted(Path().rglob("*"))
    with pytest.raises(ValueError, match=match):
        fl.explain_file(net, "panel.parquet", **{"destination": "out", **options})
    assert sorted(Path().rglob("*")) == before


def test_years_need_dates(net, by_time):
    frame = by_time.reset_index()
    frame["date"] = frame["date"].rank(method="dense").astype(int)
    frame.to_parquet("panel.parquet")
    with pytest.raises(ValueError, match="partition_by='year' needs dates, but the panel's times are '1' and such"):
        fl.explain_file(net, "panel.parquet", "out", partition_by="year")
