"""dask DataFrames against the same panel in memory, on a cluster of processes and on none."""

import os
import signal
import threading
import time

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from cluster_cases import FEATURES, STEPS, make_network
from helpers import run_python, same_bits

import fastlrp as fl

TOTALS = ["prediction", "score", "initial_state", "unattributed"]
LAGS = [f"{name}_lag{lag}" for lag in (2, 1, 0) for name in FEATURES]


@pytest.fixture
def by_asset(panel):
    """Index ticker, a column date: divisions are known."""
    return dd.from_pandas(panel.reset_index("date").sort_values(["ticker", "date"]), npartitions=5)


def aligned(got, panel):
    """The rows in the panel's order."""
    return got.reset_index().set_index(["date", "ticker"]).loc[panel.index]


def same_as_in_memory(got, want, panel):
    """Check a table by step against a result."""
    table = aligned(got, panel)
    same_bits(table[LAGS].to_numpy(), want.values.reshape(len(want), -1))
    for name in TOTALS:
        same_bits(table[name].to_numpy(), getattr(want, name))


def synchronously(lazy):
    return lazy.compute(scheduler="synchronous")


def test_on_processes_numbers_are_those_in_memory(client, net, panel, by_asset):
    rule = fl.Arras(eps=1e-2, delta=1)
    lazy = fl.cluster.explain(by_asset, net, rule=rule)
    assert lazy.divisions == by_asset.divisions
    assert list(lazy.columns) == ["date", *LAGS, *TOTALS]
    got = lazy.compute()
    pd.testing.assert_frame_equal(got[:0], lazy._meta)
    same_as_in_memory(got, net.explain(panel, rule=rule), panel)


def test_a_partition_alone_would_find_other_windows(net, panel, by_asset):
    """Why all times are read first: the quarterly assets have no window, though alone their quarters follow."""
    quarterly = panel[panel.index.get_level_values("ticker") >= "A30"]
    assert net.predict(panel).loc[quarterly.index].isna().all()
    assert net.predict(quarterly).notna().any()
    got = synchronously(fl.cluster.predict(by_asset, net))
    assert list(got.columns) == ["date", "prediction"]
    same_bits(aligned(got, panel)["prediction"].to_numpy(), net.predict(panel).to_numpy())


def test_columns_levels_and_order_are_free(net, panel):
    """Time and asset as columns among others, as both levels, by other names, and rows in any order."""
    want = net.explain(panel, reduce="steps")
    flat = panel.reset_index().assign(sector="x").sort_values(["ticker", "f0"])
    cuts = [flat[flat["ticker"].between(low, high)] for low, high in (("A00", "A12"), ("A13", "A13"), ("A14", "A39"))]
    frames = {
        "columns": (lambda part: part, None),
        "levels": (lambda part: part.set_index(["ticker", "date"])[FEATURES[::-1]], None),
        "named": (lambda part: part.rename(columns={"date": "a", "ticker": "b"}), ("a", "b")),
    }
    for form, names in frames.values():
        parts = [form(part) for part in [*cuts, flat[:0]]]  # a partition may be empty
        lazy = dd.from_map(lambda k, parts=parts: parts[k], range(4), meta=parts[0][:0])
        got = synchronously(fl.cluster.explain(lazy, net, reduce="steps", index=names))
        table = aligned(got.rename(columns={"a": "date", "b": "ticker"}), panel)
        same_bits(table[FEATURES].to_numpy(), want.values)
        assert "sector" not in table


def test_several_outputs_and_ensembles(panel, by_asset):
    two = make_network(outputs=2)
    got = aligned(synchronously(fl.cluster.predict(by_asset, two)), panel)
    same_bits(got[["prediction[0]", "prediction[1]"]].to_numpy(), two.predict(panel).to_numpy())
    both = fl.Ensemble([make_network(seed=0), make_network(seed=1)])
    want = both.explain(panel, reduce="steps")
    got = aligned(synchronously(fl.cluster.explain(by_asset, both, reduce="steps")), panel)
    same_bits(got[FEATURES].to_numpy(), want.values)
    same_bits(got[[f"{name}_spread" for name in FEATURES]].to_numpy(), want.spread)


def test_without_a_recurrent_layer_relevance_is_that_of_rows(panel, by_asset):
    net = fl.Network([fl.Dense(np.array([[0.5], [-2.0]]))], features=FEATURES)
    table = synchronously(fl.cluster.explain(by_asset, net))
    assert list(table.columns) == ["date", *FEATURES, *TOTALS]
    same_bits(aligned(table, panel)[FEATURES].to_numpy(), net.explain(panel).values)


def test_an_asset_in_two_partitions_is_refused_or_moved(client, net, panel):
    by_time = dd.from_pandas(panel.reset_index(), npartitions=3)
    lazy = fl.cluster.explain(by_time, net)
    with pytest.raises(ValueError, match=r"asset A00 stands in partition 0 and in partition 1, .*shuffle=True"):
        lazy.compute()
    with pytest.raises(ValueError, match="asset A00 stands in partition 0"):
        lazy.partitions[2].compute()
    same_as_in_memory(fl.cluster.explain(by_time, net, shuffle=True).compute(), net.explain(panel), panel)
    by_date = dd.from_pandas(panel.reset_index("ticker"), npartitions=3)
    got = fl.cluster.predict(by_date, net, shuffle=True).compute()
    same_bits(aligned(got, panel)["prediction"].to_numpy(), net.predict(panel).to_numpy())


def test_the_network_is_one_key_of_the_graph(net, by_asset):
    graph = dict(fl.cluster.explain(by_asset, net).optimize().dask)
    holders = [key for key, task in graph.items() if "fastlrp-network" in str(key)]
    assert len(holders) == 1
    users = [key for key, task in graph.items() if holders[0] in task.dependencies]
    assert len(users) == by_asset.npartitions


def test_tasks_start_no_threads_of_their_own(net, by_asset, monkeypatch):
    """A worker runs as many tasks at once as it has threads, so each must do with its own."""
    started = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append(self))
    synchronously(fl.cluster.explain(by_asset, net))
    assert not started


def test_times_and_assets_are_all_that_is_read_first(net, panel):
    flat, seen = panel.reset_index().assign(sector="x"), []

    def read(k, columns=None):
        seen.append(columns)
        return flat[columns]

    lazy = fl.cluster.explain(dd.from_map(read, [0], meta=flat[:0]), net)
    assert not seen
    same_as_in_memory(synchronously(lazy), net.explain(panel), panel)
    assert seen == [["date", "ticker"], ["date", "ticker", *FEATURES]]


def slow(part, folder):
    """A partition that takes a while, and says which process has it."""
    open(os.path.join(folder, f"{os.getpid()}"), "w").close()
    time.sleep(0.3)
    return part


def test_a_killed_worker_changes_nothing(client, net, panel, by_asset, tmp_path):
    slowed = by_asset.map_partitions(slow, str(tmp_path), meta=by_asset._meta)
    future = client.compute(fl.cluster.explain(slowed, net))
    while not (found := os.listdir(tmp_path)):
        time.sleep(0.02)
    os.kill(int(found[0]), signal.SIGKILL)
    same_as_in_memory(future.result(), net.explain(panel), panel)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d, {"rule": "lrp"}, "lrp"),
        (lambda d: d, {"steps": 4}, "steps=4 was given, but the network takes windows of 3 steps"),
        (lambda d: d, {"reduce": "time"}, "reduce= takes 'none' or 'steps', not 'time'"),
        (lambda d: d, {"device": "cuda"}, "computes on the CPU, not on device='cuda'"),
        (lambda d: d, {"threads": 0}, "threads= takes a whole number of at least 1, not 0"),
        (lambda d: d, {"threads": None}, "threads= takes"),
        (lambda d: d, {"index": ("date", "permno")}, "the frame has no column 'permno'"),
        (lambda d: d, {"index": "date"}, "index= takes the names of two columns"),
        (
            lambda d: d.rename(columns={"date": "q"}).astype({"q": int}),
            {},
            r"is the time is not clear .* say index=\(time, asset\)",
        ),
        (lambda d: d[["date", "f0"]], {}, "lacks 1 of 2 features: 'f1'"),
        (lambda d: d.assign(f1="x"), {}, "do not hold real numbers: 'f1'"),
        (lambda d: d["f0"], {}, "takes a dask DataFrame or array, not dask's Series"),
        (lambda d: np.ones((2, STEPS, 2)), {}, "takes a dask DataFrame or array, not numpy's ndarray"),
    ],
)
def test_refusals_come_before_work(net, by_asset, change, options, message):
    with pytest.raises(ValueError, match=message):
        fl.cluster.explain(change(by_asset), net, **options)


def test_refusals_of_values_name_time_and_asset(net, panel):
    odd = panel.reset_index()
    odd.loc[7, "f1"] = np.inf
    lazy = fl.cluster.predict(dd.from_pandas(odd, npartitions=1), net)
    row = odd.loc[7]
    with pytest.raises(
        ValueError, match=f"infinite .* feature 'f1' at date {row['date'].date()}, ticker {row['ticker']}"
    ):
        synchronously(lazy)
    twice = pd.concat([panel, panel[5:6]]).reset_index()
    with pytest.raises(ValueError, match="twice, expected one row a time and asset"):
        synchronously(fl.cluster.predict(dd.from_pandas(twice, npartitions=1), net))
    empty = dd.from_pandas(panel.reset_index(), npartitions=2)
    with pytest.raises(ValueError, match="the panel is empty"):
        synchronously(fl.cluster.predict(empty[empty["f0"] > 99], net))


def test_a_frame_of_dask_in_the_wrong_place_is_sent_here(net, by_asset):
    with pytest.raises(ValueError, match=r"not a dask one, which fl\.cluster\.explain"):
        net.explain(by_asset)


def test_dask_is_imported_on_use_and_named_where_it_is_missing(tmp_path):
    code = (
        "import sys, fastlrp as fl\nassert fl.cluster and 'dask' not in sys.modules\nfl.cluster.explain_files(1, 2, 3)"
    )
    (tmp_path / "dask.py").write_text("raise ImportError('none here')")
    done = run_python(
        "-c", code, PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    assert "ImportError: fl.cluster needs Dask, which is missing" in done.stderr
    assert 'pip install "dask[dataframe,distributed]"' in done.stderr
