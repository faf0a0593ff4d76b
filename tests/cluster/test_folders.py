"""Folders of files against the same panel in memory, whatever workers die over them."""

import os
import signal
import time

import pandas as pd
import pytest
from cluster_cases import make_network
from helpers import same_bits

import fastlrp as fl
from fastlrp.cluster import parts

FORMS = (
    lambda part: part,
    lambda part: part.swaplevel().sort_index(),
    lambda part: part,
    lambda part: part.astype("float32"),
)


@pytest.fixture
def folder(panel, tmp_path):
    """Four files of ten assets, by time and by asset; the last holds the quarterly ones."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    tickers = panel.index.get_level_values("ticker")
    for k, form in enumerate(FORMS):
        part = panel[(tickers >= f"A{k}0") & (tickers <= f"A{k}9")]
        form(part).to_parquet(tmp_path / "in" / ("more" if k == 3 else "") / f"part.{k}.parquet")
    return tmp_path


def whole(out, panel):
    """The values of all parts, in the panel's order."""
    tables = [fl.load_relevance(path).to_frame(steps=True) for path in sorted(out.rglob("*.parquet"))]
    return pd.concat([table.reorder_levels(["date", "ticker"]) for table in tables]).loc[panel.index].to_numpy()


def test_files_without_rows_are_left_out(client, net, panel, folder):
    """As Spark and Dask write of an empty partition."""
    for name in ("a.parquet", "z.parquet"):
        panel.head(0).to_parquet(folder / "in" / name)
    summary = explain(folder, net).compute()
    assert summary.rows == len(panel)
    assert len(list((folder / "out").rglob("*.parquet"))) == len(FORMS)
    same_bits(whole(folder / "out", panel), net.explain(panel).to_frame(steps=True).to_numpy())


def contents(out):
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def explain(folder, net, **options):
    return fl.cluster.explain_files(folder / "in", folder / "out", net, **options)


def test_parts_are_those_of_the_whole_panel(client, net, panel, folder):
    fl.write_keras(net, folder / "model.h5")
    lazy = explain(folder, folder / "model.h5")
    assert not (folder / "out").exists()
    summary = lazy.compute()
    want = net.explain(panel)
    same_bits(whole(folder / "out", panel), want.values.reshape(len(want), -1))
    assert (summary.rows, summary.explained) == (len(panel), int((~want.missing).sum()))
    assert sum(summary.shares.values()) == pytest.approx(1)
    names = sorted(path.relative_to(folder / "out").as_posix() for path in (folder / "out").rglob("[!.]*.parquet"))
    assert names == ["more/part.3.parquet", "part.0.parquet", "part.1.parquet", "part.2.parquet"]


def test_a_killed_worker_leaves_whole_parts_or_none_and_the_same_bytes(client, net, panel, folder):
    client.run(_slow_down, str(folder))
    future = client.compute(explain(folder, net))
    while not (found := list(folder.glob("pid-*"))):
        time.sleep(0.02)
    os.kill(int(found[0].name[4:]), signal.SIGKILL)
    for path in (folder / "out").rglob("[!.]*.parquet"):
        fl.load_relevance(path)
    future.result()
    same_bits(whole(folder / "out", panel), net.explain(panel).values.reshape(len(panel), -1))
    assert not list((folder / "out").rglob("*.unfinished*"))
    client.run(_as_before)


def _slow_down(folder):
    """On a worker: each part says which process has it, and takes a while."""
    from pathlib import Path

    real = parts.explain_file

    def explain_file(*arguments, **options):
        (Path(folder) / f"pid-{os.getpid()}").touch()
        time.sleep(0.3)
        return real(*arguments, **options)

    explain_file.real = real
    parts.explain_file = explain_file


def _as_before():
    parts.explain_file = getattr(parts.explain_file, "real", parts.explain_file)


def test_resume_makes_what_is_missing_and_nothing_else(net, panel, folder, monkeypatch):
    explain(folder, net).compute(scheduler="synchronous")
    want = contents(folder / "out")
    (folder / "out" / "part.1.parquet").unlink()
    (folder / "out" / ".part.2.parquet.json").unlink()
    made, real = [], parts.explain_file
    monkeypatch.setattr(parts, "explain_file", lambda *a, **how: made.append(a[1].name) or real(*a, **how))
    assert explain(folder, net, resume=True).compute(scheduler="synchronous").rows == len(panel)
    assert sorted(made) == ["part.1.parquet", "part.2.parquet"]
    assert contents(folder / "out") == want
    with pytest.raises(ValueError, match=r"rule= has changed since .*part\.3\.parquet was written"):
        explain(folder, net, resume=True, rule="rudder").compute(scheduler="synchronous")
    with pytest.raises(ValueError, match="the network has changed since"):
        explain(folder, make_network(seed=3), resume=True).compute(scheduler="synchronous")
    os.utime(folder / "in" / "part.0.parquet")
    with pytest.raises(ValueError, match="the source has changed since"):
        explain(folder, net, resume=True).compute(scheduler="synchronous")
    with pytest.raises(ValueError, match="holds files already: choose an empty folder, or resume=True"):
        explain(folder, net)


def test_refusals_leave_nothing(net, panel, folder):
    (folder / "in" / "more" / "part.9.parquet").write_bytes((folder / "in" / "part.0.parquet").read_bytes())
    with pytest.raises(
        ValueError, match=r"asset A00 stands in .*part\.9\.parquet and in .*part\.0\.parquet, .* one file"
    ):
        explain(folder, net).compute(scheduler="synchronous")
    (folder / "in" / "more" / "part.9.parquet").unlink()
    for options, message in (
        ({"rule": "lrp"}, "lrp"),
        ({"reduce": "time"}, "reduce= takes .*, not .time."),
        ({"memory": "much"}, "memory= takes"),
        ({"threads": 0}, "threads= takes"),
        ({"index": ("date", "permno")}, "has no column 'permno'"),
        ({"columns": ["f0"]}, "columns= names 1 column"),
    ):
        with pytest.raises(ValueError, match=message):
            explain(folder, net, **options)
    with pytest.raises(ValueError, match="one network, not an Ensemble"):
        explain(folder, fl.Ensemble([net, net]))
    with pytest.raises(ValueError, match="is no folder"):
        fl.cluster.explain_files(folder / "in" / "part.0.parquet", folder / "out", net)
    for out in (folder / "in" / "out", folder, folder / "in"):
        with pytest.raises(ValueError, match="lie in each other"):
            fl.cluster.explain_files(folder / "in", out, net)
    for path in (folder / "in").rglob("*.parquet"):
        path.unlink()
    panel.loc[:"2000-02"].to_parquet(folder / "in" / "short.parquet")
    with pytest.raises(ValueError, match=r"would hold no relevance: none of .* ends a complete window"):
        explain(folder, net).compute(scheduler="synchronous")
    assert not [path for path in (folder / "out").rglob("*") if path.is_file()]
