"""HDF5 in, as pandas and as h5py write it, and out, as a result that was saved."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from helpers import same_bits, same_relevance

import fastlrp as fl
from fastlrp.files import run

pytestmark = pytest.mark.usefixtures("here", "small_blocks")


def plain(frame, name="panel.h5", group="panel"):
    """The panel as datasets of one group: its keys, and a matrix that names its columns."""
    with h5py.File(name, "w") as file:
        file[f"{group}/date"] = frame.index.get_level_values("date").strftime("%Y-%m-%d").to_list()
        file[f"{group}/ticker"] = np.array(frame.index.get_level_values("ticker").to_list(), "S4")
        file[f"{group}/X"] = frame.to_numpy()
        file[f"{group}/X"].attrs["columns"] = list(frame.columns)


@pytest.mark.parametrize("order", ["by_time", "by_asset"])
def test_datasets_of_a_group_are_columns(net, order, request):
    panel = request.getfixturevalue(order)
    plain(panel)
    fl.explain_file(net, "panel.h5", "one.parquet", reduce="steps")
    fl.explain_file(net, "panel.h5::/panel", "two.parquet", reduce="steps", since="2001-01")
    one, want = pd.read_parquet("one.parquet"), net.explain(panel, reduce="steps").to_frame()
    same_bits(one.to_numpy(), want.to_numpy())
    assert list(one.index.get_level_values("ticker")) == list(panel.index.get_level_values("ticker"))
    new = panel.index.get_level_values("date") >= "2001-01"
    same_bits(pd.read_parquet("two.parquet").to_numpy(), want[new].to_numpy())


@pytest.mark.parametrize("index", [["date", "ticker"], ["ticker"]])
def test_the_table_format_of_pandas(net, by_time, index):
    pytest.importorskip("tables", reason="pandas writes HDF5 with PyTables")
    frame = by_time.reset_index().assign(note="x").set_index(index)
    frame["f3"] = frame["f3"].astype("float64")
    if index == ["ticker"]:
        frame = frame.reset_index().set_index("date")
    frame.to_hdf("panel.h5", key="panel", format="table", complevel=1)
    fl.explain_file(net, "panel.h5", "out.parquet", dtype="float32", where=[("note", "==", "x")])
    same_relevance(fl.load_relevance("out.parquet"), net.explain(by_time))
    got = pd.read_parquet("out.parquet").index
    assert [str(label) for label in got.get_level_values("ticker")] == list(by_time.index.get_level_values("ticker"))
    assert (
        pd.to_datetime(got.get_level_values(1 - got.names.index("ticker"))) == by_time.index.get_level_values(0)
    ).all()
    frame.to_hdf("fixed.h5", key="panel")
    with pytest.raises(
        ValueError, match=r"^fixed.h5 has /panel in pandas' format 'frame', which cannot be read in parts"
    ):
        fl.explain_file(net, "fixed.h5", "other.parquet")


@pytest.mark.parametrize("order", ["by_time", "by_asset"])
@pytest.mark.parametrize("options", [{}, {"reduce": "steps", "since": "2001-06"}])
def test_a_file_is_loaded_as_one_that_was_saved_also_when_taken_up(net, order, options, request, monkeypatch):
    panel = request.getfixturevalue(order)
    panel.to_parquet("panel.parquet", row_group_size=200)
    want = net.explain(panel, reduce=options.get("reduce"))
    want = want[panel.index.get_level_values("date") >= options.get("since", "1999")]
    left, stored = [3], run.Run._stored

    def fails(self, *args):
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "full")
        return stored(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "_stored", fails)
        with pytest.raises(ValueError, match="full"):
            fl.explain_file(net, "panel.parquet", "out.h5", **options)
    assert not Path("out.h5").exists()
    fl.explain_file(net, "panel.parquet", "out.h5", resume=True, **options)
    for mmap in (False, True):
        got = fl.load_relevance("out.h5", mmap=mmap)
        same_relevance(got, want)
        assert got.index.equals(want.index)
        assert (got.rule, got.features, got.network) == (want.rule, want.features, want.network)


class Refused:
    def __reduce__(self):
        return print, ("run",)


def test_what_is_no_panel_is_refused_and_nothing_is_run(net, by_time, capsys):
    import pickle

    plain(by_time, "two.h5", "a")
    with h5py.File("two.h5", "a") as file:
        file["b/X"] = np.zeros((3, 2))
        file["b/date"] = np.zeros(4)
        file["c/d/X"] = file["e/date"] = np.zeros(3)
        file["e/X"] = np.zeros((3, 2))
        file["e/X"].attrs["columns"] = ["f0", "f1", "f2"]
        file["f/date"] = file["f/X"] = np.zeros((3, 1))
        for name in ("f/date", "f/X"):
            file[name].attrs["columns"] = ["f0"]
    with h5py.File("evil.h5", "w") as file:
        file.create_group("panel").attrs["pandas_type"] = np.bytes_("frame_table")
        table = np.zeros(3, [("index", "i8"), ("values_block_0", "f4", (5,))])
        file["panel/table"] = table
        file["panel/table"].attrs["index_kind"] = np.bytes_("integer")
        file["panel/table"].attrs["values_block_0_kind"] = np.void(pickle.dumps(Refused()))
    with h5py.File("empty.h5", "w"):
        pass
    Path("text.h5").write_text("no")
    for source, match in {
        "two.h5": r"two.h5 holds a, b, c, e, f: say which to read, as two.h5::/a$",
        "two.h5::/g": r"two.h5 has nothing at '/g': it holds a, b, c, e, f$",
        "two.h5::/c": r"two.h5 has no dataset of one axis or two at /c, expected a row a time and asset: it holds d$",
        "two.h5::/e": r"two.h5 has /e/X with 2 columns, of which its attribute 'columns' names 3$",
        "two.h5::/f": r"two.h5: two columns are called 'f0'$",
        "two.h5::/b": r"two.h5 has datasets of different lengths at /b \(/b/X of 3, /b/date of 4\)",
        "evil.h5": r"evil.h5 cannot be read: its names of columns cannot be read \(a pickled STACK_GLOBAL, expected",
        "empty.h5": r"empty.h5 holds nothing: say which to read$",
        "text.h5": r"text.h5 cannot be read: ",
    }.items():
        with pytest.raises(ValueError, match=match):
            fl.explain_file(net, source, "out.parquet")
    assert capsys.readouterr().out == ""
    plain(by_time)
    with pytest.raises(ValueError, match=r"out.h5: means by period are a table, expected a .parquet or .csv file"):
        fl.explain_file(net, "panel.h5", "out.h5", reduce="time")
