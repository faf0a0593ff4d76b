"""``fastlrp explain`` block by block: the same files and numbers as in memory, and where it goes that way."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fastlrp.cli import blocks

pytest.importorskip("pyarrow", reason="the extra fastlrp[parquet] is not installed")


@pytest.fixture
def large(monkeypatch):
    """Every file is large."""
    monkeypatch.setattr(blocks, "LARGE", 0)


def both_ways(run, monkeypatch, *arguments, out):
    """The file written in memory, and block by block."""
    frames = []
    for least in (1 << 40, 0):
        monkeypatch.setattr(blocks, "LARGE", least)
        code, _, err = run("explain", *arguments, "-o", out)
        assert code == 0, err
        frames.append(Path(out).read_bytes() if out.endswith("csv") else pd.read_parquet(out))
    return frames


@pytest.mark.parametrize("panel", ["panel.csv", "panel.parquet"])
@pytest.mark.parametrize(("out", "more"), [("out.csv", []), ("out.parquet", ["--by-step"]),
                                           ("out.csv", ["--rule", "rudder", "--dtype", "float32"])])  # fmt: skip
def test_what_is_written_is_the_same(run, monkeypatch, small, demo_model, panel, out, more):
    frame = small.sort_values(["stock", "month"])
    frame.to_csv(panel, index=False) if panel.endswith("csv") else frame.to_parquet(panel, index=False)
    memory, blockwise = both_ways(run, monkeypatch, demo_model, panel, *more, out=out)
    if out.endswith("csv"):
        assert memory == blockwise
    else:
        pd.testing.assert_frame_equal(memory, blockwise, check_exact=True)


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory):
    import fastlrp
    from fastlrp.data import load_model

    path = tmp_path_factory.mktemp("demo") / "model.h5"
    fastlrp.write_keras(load_model(), path)
    return str(path)


@pytest.mark.parametrize("option", [["--memory", "300MB"], ["--since", "1995-02"], ["--resume"]])
def test_options_go_that_way_and_say_what_was_done(run, small, demo_model, option):
    small.sort_values(["month", "stock"]).to_parquet("panel.parquet", index=False)
    code, out, err = run("explain", demo_model, "panel.parquet", "-o", "out.parquet", *option)
    assert (code, err) == (0, "")
    rows = 6 if option[0] == "--since" else 45
    assert f"Wrote out.parquet: {rows} rows" in out
    assert "Reconciles: " in out
    assert len(pd.read_parquet("out.parquet")) == rows


def test_a_folder_with_a_file_a_month(run, small, demo_model):
    Path("months").mkdir()
    for month, part in small.groupby("month"):
        part.to_csv(f"months/{month:%Y%m}.csv", index=False)
    code, out, _ = run("explain", demo_model, "months", "-o", "out.csv")
    assert code == 0
    assert "Wrote out.csv: 45 rows" in out


def test_means_by_time_parts_and_hdf5(run, small, demo_model):
    small.sort_values(["month", "stock"]).to_parquet("panel.parquet", index=False)
    for out, option in (("means.csv", ["--by-time"]), ("out.h5", []), ("years", ["--partition-by", "year"])):
        code, said, err = run("explain", demo_model, "panel.parquet", "-o", out, *option)
        assert (code, err) == (0, "")
        assert f"Wrote {out}: 45 rows" in said
    means = pd.read_csv("means.csv").set_index(["month", "statistic"])
    assert set(means.index.get_level_values("statistic")) == {"mean", "abs", "share"}
    import fastlrp

    rel = fastlrp.load_relevance("out.h5")
    assert len(rel) == sum(len(pd.read_parquet(path)) for path in Path("years").rglob("*.parquet")) == 45
    code, said, err = run(
        "explain", demo_model, "panel.parquet", "-o", "x.parquet", "--by-time", "--partition-by", "year"
    )
    assert (code, said) == (2, "")
    assert err == "fastlrp: --partition-by parts rows, and --by-time leaves none: leave one of them out\n"


def test_a_large_file_in_no_order_is_read_into_memory(run, large, small, demo_model):
    small.sample(frac=1, random_state=0).to_parquet("panel.parquet", index=False)
    code, out, err = run("explain", demo_model, "panel.parquet", "-o", "out.parquet")
    assert code == 0
    assert err.startswith("note: the whole file is read into memory: panel.parquet is sorted neither by asset nor by ")
    assert "Wrote out.parquet: 45 rows" in out
    code, _, err = run("explain", demo_model, "panel.parquet", "-o", "out.parquet", "--memory", "1GB")
    assert code == 2
    assert err.startswith("fastlrp: panel.parquet is sorted neither by asset nor by time: asset ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["panel.parquet", "-o", "-", "--memory", "1GB"], "go with the output -: write a .parquet or .csv file"),
        (["panel.parquet", "-o", "out.xlsx", "--resume"], "go with the output out.xlsx: write a .parquet or .csv file"),
        (["-", "-o", "out.csv", "--since", "1995-02"], "does not go with a csv on stdin"),
        (["panel.parquet", "-o", "out.csv", "--memory", "1GB", "--drop", "beta"], "does not go with --drop: name"),
        (["panel.parquet", "-o", "out.csv", "--memory", "much"], "--memory takes a number of bytes, or text such as"),
        (["panel.parquet", "-o", "out.csv", "--memory", "1MB"], "--memory is 1 MB, expected at least "),
        (["panel.parquet", "-o", "out.csv", "--since", "1999-01"], "--since 1999-01 is after the panel's last time"),
        (["panel.parquet", "-o", "out.csv", "--since", "soon"], "--since soon is not understood as a time"),
        (["empty", "-o", "out.csv"], "empty is an empty folder, expected"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(run, small, demo_model, arguments, said):
    small.sort_values(["month", "stock"]).to_parquet("panel.parquet", index=False)
    Path("empty").mkdir()
    code, out, err = run("explain", demo_model, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["empty", "panel.parquet"]
