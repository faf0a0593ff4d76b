"""A run that ends early, by SIGKILL or an error: nothing stands under the final name, and it can be taken up again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from file_cases import make_network
from helpers import ROOT, TESTS
from pyarrow import parquet

import fastlrp as fl
from fastlrp.files import explain_file, run

pytestmark = pytest.mark.usefixtures("here", "small_blocks")
KEPT = r" \(\.out\.parquet\.unfinished keeps what is done, for resume=True\)$"


def names():
    return sorted(path.name for path in Path().iterdir())


def attempts(out, *moments):
    """Runs up to some moments, one after the other: whether each was killed, and the output's digest after it."""
    done = script(
        f"sys.argv[1:] = {[out, *map(str, moments)]}; exec(open({str(TESTS / 'files' / 'killed.py')!r}).read())"
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def script(code):
    return subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], capture_output=True, text=True, timeout=3600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS / "files")])},
    )  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
@pytest.mark.parametrize(("order", "out"), [("by_time", "out.parquet"), ("by_asset", "out.csv")])
def test_a_killed_run_is_taken_up_and_ends_in_the_same_bytes(net, order, out, request):
    panel = request.getfixturevalue(order)
    panel.to_parquet("panel.parquet", row_group_size=200)
    fl.explain_file(net, "panel.parquet", out)
    want = hashlib.sha256(Path(out).read_bytes()).hexdigest()
    Path(out).unlink()
    # its first line half there; a block not written, written and not noted, half noted: one after the other; then as
    # the footer is written, before all is in its place, and just after
    early, late = (2, 4, 6, 8, 9), ("-3", "-1", "-0")
    plan = ["whole", *early, "whole", *(moment for one in late for moment in (one, "whole"))]
    whole, killed = (False, want), (True, None)
    expected = [whole, *[killed] * len(early), whole, killed, whole, killed, whole, (True, want), whole]
    assert attempts(out, *plan) == [(str(given), *what) for given, what in zip(plan, expected, strict=True)]
    assert names() == ["panel.parquet"]


def fails_at(monkeypatch, block, error):
    """Let the ``block``-th block's writing fail."""
    left, plain = [block], run.Run._stored

    def stored(self, *args):
        left[0] -= 1
        if left[0] == 0:
            raise error
        return plain(self, *args)

    monkeypatch.setattr(run.Run, "_stored", stored)


def test_a_full_disk_is_a_sentence_and_work_goes_on_later(net, by_time, monkeypatch):
    by_time.to_parquet("panel.parquet")
    fl.explain_file(net, "panel.parquet", "want.parquet")
    with monkeypatch.context() as patch:
        fails_at(patch, 4, OSError(28, "No space left on device"))
        with pytest.raises(ValueError, match=r"out.parquet cannot be written: No space left on device" + KEPT):
            fl.explain_file(net, "panel.parquet", "out.parquet")
    assert names() == [".out.parquet.unfinished", ".out.parquet.unfinished.log", "panel.parquet", "want.parquet"]
    fl.explain_file(net, "panel.parquet", "out.parquet", resume=True)
    assert Path("out.parquet").read_bytes() == Path("want.parquet").read_bytes()
    assert names() == ["out.parquet", "panel.parquet", "want.parquet"]


@pytest.mark.parametrize("line", [0, 2])
def test_work_goes_on_before_a_damaged_line_of_the_log(net, by_time, monkeypatch, line):
    by_time.to_parquet("panel.parquet")
    fl.explain_file(net, "panel.parquet", "want.parquet")
    with monkeypatch.context() as patch:
        fails_at(patch, 6, OSError(28, "full"))
        with pytest.raises(ValueError, match="full"):
            fl.explain_file(net, "panel.parquet", "out.parquet")
    log = Path(".out.parquet.unfinished.log")
    lines = log.read_bytes().splitlines(keepends=True)
    lines[line] = b"\xff" + lines[line][1:]
    log.write_bytes(b"".join(lines))
    fl.explain_file(net, "panel.parquet", "out.parquet", resume=True)
    assert Path("out.parquet").read_bytes() == Path("want.parquet").read_bytes()


def test_a_limit_of_the_system_is_met_where_it_writes(net, by_time):
    by_time.to_parquet("panel.parquet")
    done = script(
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000)); import fastlrp as fl; "
        "from file_cases import make_network; fl.explain_file(make_network(), 'panel.parquet', 'out.parquet')"
    )
    assert "ValueError: " in done.stderr
    assert "out.parquet cannot be written: File too large" in done.stderr
    assert not Path("out.parquet").exists()


def test_the_first_block_fails_and_nothing_is_left(net, by_time, monkeypatch):
    by_time.to_parquet("panel.parquet")
    fails_at(monkeypatch, 1, OSError(28, "No space left on device"))
    with pytest.raises(ValueError, match=r"No space left on device$"):
        fl.explain_file(net, "panel.parquet", "out.parquet")
    assert names() == ["panel.parquet"]


def test_what_stood_there_stays_until_the_new_is_whole(net, by_time, monkeypatch):
    by_time.to_parquet("panel.parquet")
    Path("out.parquet").write_text("old")
    fails_at(monkeypatch, 3, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fl.explain_file(net, "panel.parquet", "out.parquet")
    assert Path("out.parquet").read_text() == "old"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rule": fl.Arras(eps=0.1)}, "rule= has changed since .*: it was .Arras"),
        ({"model": 7}, "the network has changed"),
        ({"source": True}, "the source has changed"),
        ({"rule": fl.IntegratedGradients(4, [1.0] * 5)}, "rule= in full has changed"),
        ({"since": "2001-01"}, "since= has changed .* it was 'None' and is '2001-01'"),
        ({"dtype": "float64"}, "dtype= has changed"),
    ],
)
def test_other_arguments_or_files_are_not_mixed(net, by_time, monkeypatch, change, what):
    by_time.to_parquet("panel.parquet")
    first = {"rule": fl.IntegratedGradients(4, [0.0] * 5)} if "in full" in what else {}
    with monkeypatch.context() as patch:
        fails_at(patch, 3, OSError(28, "full"))
        with pytest.raises(ValueError, match="full"):
            fl.explain_file(net, "panel.parquet", "out.parquet", **first)
    if change.pop("source", False):
        (2 * by_time).to_parquet("panel.parquet")
    model = make_network(change.pop("model", 0))
    with pytest.raises(ValueError, match=rf"^resume=True, but {what}.*; begin again without resume$"):
        fl.explain_file(model, "panel.parquet", "out.parquet", resume=True, **change)
    assert ".out.parquet.unfinished" in names()


def test_another_memory_takes_the_same_blocks(net, by_asset, monkeypatch):
    by_asset.to_parquet("panel.parquet")
    fl.explain_file(net, "panel.parquet", "want.parquet")
    with monkeypatch.context() as patch:
        fails_at(patch, 3, OSError(28, "full"))
        with pytest.raises(ValueError, match="full"):
            fl.explain_file(net, "panel.parquet", "out.parquet")
    monkeypatch.setattr(explain_file, "block_rows", lambda *_: 1 << 17)
    fl.explain_file(net, "panel.parquet", "out.parquet", resume=True, memory="2GB")
    assert Path("out.parquet").read_bytes() == Path("want.parquet").read_bytes()


def test_a_source_that_changes_while_it_is_read_is_refused(net, by_time, monkeypatch):
    by_time.to_parquet("panel.parquet")
    plain = run.Run._stored

    def stored(self, *args):
        os.utime("panel.parquet", ns=(0, len(self.output.done)))
        return plain(self, *args)

    monkeypatch.setattr(run.Run, "_stored", stored)
    with pytest.raises(ValueError, match=r"^panel.parquet has changed while it was read$"):
        fl.explain_file(net, "panel.parquet", "out.parquet")
    assert names() == ["panel.parquet"]


def test_two_at_once_are_refused(net, by_time, monkeypatch):
    pytest.importorskip("fcntl", reason="files are locked by fcntl")
    by_time.to_parquet("panel.parquet")
    plain = run.Run._stored

    def stored(self, *args):
        with pytest.raises(ValueError, match=r"^out.parquet is being written by another process$"):
            fl.explain_file(net, "panel.parquet", "out.parquet")
        return plain(self, *args)

    monkeypatch.setattr(run.Run, "_stored", stored)
    fl.explain_file(net, "panel.parquet", "out.parquet")
    assert len(pd.read_parquet("out.parquet")) == len(by_time)


def test_a_damaged_block_is_a_sentence(net, by_time):
    by_time.to_parquet("panel.parquet", row_group_size=200, compression="snappy")
    file = parquet.ParquetFile("panel.parquet").metadata
    column = file.row_group(3).column(2)
    data = bytearray(Path("panel.parquet").read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    Path("panel.parquet").write_bytes(data)
    with pytest.raises(ValueError, match=r"^panel.parquet cannot be read: "):
        fl.explain_file(net, "panel.parquet", "out.parquet")
    assert "out.parquet" not in names()


def test_an_infinite_value_is_named_as_in_memory(net, by_asset):
    frame = by_asset.copy()
    frame.iloc[400, 1] = np.inf
    frame.to_parquet("panel.parquet")
    ticker, date = frame.index[400]
    where = rf"the input is infinite \(inf.*\) at feature 'f1' at ticker {ticker}, date {date:%Y-%m-%d}"
    with pytest.raises(ValueError, match=where):
        fl.explain_file(net, "panel.parquet", "out.parquet")
    assert "out.parquet" not in names()
