"""The command line: it writes the library's numbers, reports an error in one sentence, and leaves no half file."""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from answers import refused, table
from helpers import close

import fastlrp
from fastlrp import cli, plot
from fastlrp.cli import writing
from fastlrp.data import GROUPS, describe, load_model, load_panel, model_path, panel_path
from fastlrp.errors import ConservationWarning
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Arras, Rudder

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
compiled_only = pytest.mark.skipif(not COMPILED, reason="thousands of windows need compiled kernels")
MODEL = str(model_path())


@pytest.fixture(scope="module")
def small():
    """Three stocks over 15 months with one missing value; float64, as read from a csv."""
    panel = load_panel().loc["1994-01":"1995-03"].loc[(slice(None), ["AAPL", "KO", "XOM"]), :].astype("float64")
    panel.iloc[0, 3] = np.nan
    return panel


@pytest.fixture
def panel_csv(small, tmp_path):
    path = tmp_path / "panel.csv"
    small.to_csv(path, date_format="%Y-%m")
    return path


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty folder of its own; return its exit code, stdout and stderr."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def explained(frame, **options):
    """The library's answer on the same panel."""
    net = load_model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)
        return net.explain(frame[list(net.features)], **options)


def same_frame(got, want, tol=1e-12):
    assert list(got.columns) == list(want.columns)
    for name in want.columns:
        close(got[name].to_numpy(), want[name].to_numpy(), tol)


# ---------------------------------------------------------------------------------------------------------- explain


@pytest.mark.parametrize("rule", ["arras", "rudder"])
def test_csv_holds_the_librarys_numbers(run, panel_csv, small, tmp_path, monkeypatch, rule):
    out = tmp_path / "relevance.csv"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    code, printed, said = run("explain", MODEL, panel_csv, "-o", out, "--rule", rule)
    assert code == 0, said
    got = table(out)
    assert list(got.columns[:2]) == ["month", "stock"]
    assert list(got["month"]) == [f"{month:%Y-%m}" for month in small.index.get_level_values("month")]
    assert list(got["stock"]) == list(small.index.get_level_values("stock"))
    want = explained(small, rule=rule).to_frame()
    assert 0 < want["score"].isna().sum() < len(want)
    same_frame(got.drop(columns=["month", "stock"]), want)
    assert "Reconciles" in printed
    assert "median" in printed
    assert "worst" in printed
    assert "explain:" in said  # the progress bar
    assert ("note: rule 'rudder' leaves" in said) == (rule == "rudder")
    assert "in this order" not in said  # the model names its inputs
    assert "by position" not in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cwd", "panel.csv", "relevance.csv"]


@compiled_only
def test_parquet_in_and_out_by_step(run, small, tmp_path):
    panel, out = tmp_path / "panel.parquet", tmp_path / "relevance.parquet"
    small.astype("float32").to_parquet(panel)
    code, _, said = run("explain", MODEL, panel, "-o", out, "--by-step", "--no-progress")
    assert code == 0, said
    assert "%|" not in said
    got, rel = pd.read_parquet(out), explained(small.astype("float32"))
    pd.testing.assert_index_equal(got.index, small.index, exact="equiv", check_names=True)
    steps = rel.to_frame(steps=True)
    totals = rel.to_frame()[["prediction", "score", "initial_state", "unattributed"]]
    for lag, feature in [(0, "mom1m"), (11, "beta"), (5, "retvol")]:
        close(got[f"{feature}_lag{lag}"].to_numpy(), steps[lag, feature].to_numpy(), 1e-6)
    assert got.shape[1] == steps.shape[1] + 4
    close(got.iloc[:, :-4].to_numpy(), steps.to_numpy(), 1e-6)
    close(got.iloc[:, -4:].to_numpy(), totals.to_numpy(), 1e-6)


@compiled_only
def test_options_reach_the_library(run, panel_csv, small, tmp_path):
    out = tmp_path / "relevance.csv.gz"
    options = ["--eps", "0.01", "--delta", "1", "--stabilizer", "absorbed", "--no-recurrent", "--dtype", "float32"]
    more = ["--target", "0", "--steps", "12", "--aggregate", "average", "--threads", "1", "--no-progress"]
    code, printed, said = run("explain", MODEL, panel_csv, "-o", out, *options, *more)
    assert code == 0, said
    rule = Arras(eps=0.01, delta=1, stabilizer="absorbed", recurrent=False)
    assert repr(rule) in printed
    with gzip.open(out) as file:
        got = table(file)
    same_frame(got.drop(columns=["month", "stock"]), explained(small, rule=rule, dtype="float32").to_frame(), 1e-5)


@compiled_only
def test_files_are_written_in_blocks(run, panel_csv, small, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_BLOCK", 7)
    want = explained(small).to_frame()
    for name in ("relevance.csv", "relevance.parquet"):
        assert run("explain", MODEL, panel_csv, "-o", tmp_path / name, "--no-progress")[0] == 0
    same_frame(table(tmp_path / "relevance.csv", index_col=["month", "stock"]), want)
    same_frame(pd.read_parquet(tmp_path / "relevance.parquet"), want)


@compiled_only
def test_columns_are_found_dropped_and_named(run, small, nameless, tmp_path):
    panel, out = tmp_path / "panel.csv", tmp_path / "relevance.csv"
    frame = small.reset_index()
    frame.insert(0, "sector", "Tech")
    frame["ret_next"] = 0.1
    frame = frame[[*frame.columns[:1], *frame.columns[:0:-1]]]  # features in the wrong order, the index last
    frame.to_csv(panel, index=False)
    base = ["explain", nameless, panel, "-o", out, "--time", "month", "--asset", "stock"]
    refused(run(*base), "21 columns of numbers", "1 that are not: 'sector'", "20 features")
    code, printed, said = run(*base, "--features", ",".join(small.columns))
    assert code == 0, said
    got = table(out)
    assert list(got.columns[:2]) == ["month", "stock"]
    same_frame(got.drop(columns=["month", "stock"]), explained(small).to_frame())
    assert "by position" not in printed  # they were named
    assert "in this order" not in said


@compiled_only
def test_a_nameless_model_takes_columns_by_position_and_says_so(run, panel_csv, small, nameless, tmp_path):
    out = tmp_path / "relevance.csv"
    code, printed, said = run("explain", nameless, panel_csv, "-o", out, "--no-progress")
    assert code == 0, said
    notes = [line for line in said.splitlines() if line.startswith("note: the model does not name its inputs")]
    assert len(notes) == 1
    assert notes[0].endswith(": " + ", ".join(small.columns))
    assert "columns were taken by position" not in printed  # said once, in the command line's own words
    same_frame(table(out, index_col=["month", "stock"]), explained(small).to_frame())


@compiled_only
def test_a_named_model_finds_its_columns(run, small, tmp_path):
    """Columns in another order, among others, with and without --drop and --features, give the same numbers."""
    panel, out = tmp_path / "panel.csv", tmp_path / "relevance.csv"
    frame = small[small.columns[::-1]].assign(ret_next=0.1)
    frame.insert(3, "sector", "Tech")
    frame.to_csv(panel)
    want, turned = explained(small).to_frame(), ",".join(small.columns[::-1])
    for options in ([], ["--drop", "ret_next", "--drop", "sector"], ["--features", turned]):
        code, printed, said = run("explain", MODEL, panel, "-o", out, "--no-progress", *options)
        assert code == 0, said
        same_frame(table(out, index_col=["month", "stock"]), want)
        assert "note" not in said
        assert "by position" not in printed


@compiled_only
def test_a_file_may_call_a_named_models_inputs_otherwise(run, small, tmp_path):
    panel, out = tmp_path / "panel.csv", tmp_path / "relevance.csv"
    renamed = small.rename(columns={"beta": "bta", "mom1m": "reversal"})
    renamed.to_csv(panel)
    base = ["explain", MODEL, panel, "-o", out, "--no-progress"]
    refused(run(*base), "lacks 2 of the network's 20 features: 'mom1m', 'beta' (did you mean 'bta'?)", "--features")
    names = list(renamed.columns)
    assert run(*base, "--features", ",".join(names))[0] == 0
    want = explained(small).to_frame().rename(columns={"beta": "bta", "mom1m": "reversal"})
    same_frame(table(out, index_col=["month", "stock"]), want)
    names[1], names[2] = names[2], names[1]
    refused(run(*base, "--features", ",".join(names)), "input 1 would be called 'mom12m'", "the network's input 2")


@compiled_only
def test_row_names_are_read_as_they_stand(run, small, tmp_path):
    panel, out = tmp_path / "panel.csv", tmp_path / "relevance.csv"
    frame = small.reset_index()
    frame["stock"] = frame["stock"].map({"AAPL": "NA", "KO": "007", "XOM": "7"})
    frame["month"] = frame["month"].dt.strftime("%Y%m")
    frame.to_csv(panel, index=False, na_rep=".")
    assert run("explain", MODEL, panel, "-o", out)[0] == 0
    got = table(out, dtype={"month": str, "stock": str}, keep_default_na=False, na_values={"score": [""]})
    assert list(got["month"]) == list(frame["month"])
    assert list(got["stock"]) == list(frame["stock"])
    close(got["score"].to_numpy(), explained(small).score, 1e-12)


def test_time_and_asset_that_cannot_be_told_apart(run, small, tmp_path):
    panel, out = tmp_path / "panel.csv", tmp_path / "relevance.csv"
    frame = small.reset_index()
    frame.insert(0, "a", frame.pop("stock").map({"AAPL": 1, "KO": 2, "XOM": 3}))
    frame.insert(1, "b", frame.pop("month").rank(method="dense").astype(int))
    frame.to_csv(panel, index=False)
    refused(run("explain", MODEL, panel, "-o", out), "'a' or 'b' is the time", "--time")
    assert not out.exists()
    if COMPILED:
        for given in (["--time", "b"], ["--asset", "a"]):
            assert run("explain", MODEL, panel, "-o", out, *given)[0] == 0
            got = table(out)
            assert set(got.columns[:2]) == {"a", "b"}
            close(got["score"].to_numpy(), explained(small).score, 1e-12)


# -------------------------------------------------------------------------------------------------------- bad input


def test_bad_models(run, panel_csv, tmp_path):
    out, text = tmp_path / "out.csv", tmp_path / "text.h5"
    text.write_text("not a model\n")
    for model, words in [
        (tmp_path / "none.h5", "No such file"),
        (tmp_path, "is a folder"),
        (text, "is not a Keras file"),
    ]:
        refused(run("explain", model, panel_csv, "-o", out), str(model), words)
        refused(run("info", model), str(model), words)
    assert not out.exists()


def broken(panel_csv, name):
    """A panel's file with an error in it."""
    lines, path = panel_csv.read_text().splitlines(), panel_csv.with_name(name)
    if name == "spaces.csv":
        lines = [line.replace(",", " ") for line in lines]
    elif name == "twice.csv":
        lines[0] = lines[0].replace("mom6m", "mom1m")
    elif name == "longer.csv":
        lines[4] += ",1.0"
    elif name == "words.csv":
        lines[4] = lines[4].rsplit(",", 1)[0] + ",n.v."
    elif name == "infinite.csv":
        lines[4] = lines[4].rsplit(",", 1)[0] + ",inf"
    elif name == "repeated.csv":
        lines.append(lines[4])
    elif name == "nameless.csv":
        lines[4] = re.sub(",(AAPL|KO|XOM),", ",,", lines[4])
    elif name == "header.csv":
        lines = lines[:1]
    elif name == "empty.csv":
        lines = []
    path.write_bytes(
        b"\xff\xfe\x00" * 9 if name in ("bytes.csv", "bytes.csv.gz", "bytes.parquet") else "\n".join(lines).encode()
    )
    return path


BROKEN = {
    "spaces.csv": "separated by commas",
    "twice.csv": "called 'mom1m'",
    "longer.csv": "cannot be read as csv",
    "words.csv": "holds 'n.v.' in line 5, column 'residmom', where a number is due",
    "infinite.csv": "infinite",
    "repeated.csv": "twice",
    "nameless.csv": "no asset in line 5, column 'stock'",
    "header.csv": "no rows",
    "empty.csv": "cannot be read",
    "bytes.csv": "cannot be read",
    "bytes.csv.gz": "cannot be read",
    "bytes.parquet": "cannot be read",
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_panels(run, panel_csv, tmp_path, name):
    if name == "infinite.csv" and not COMPILED:
        pytest.skip("inf - inf of a NumPy scalar warns, which compiled code does not")
    out = tmp_path / "out.csv"
    refused(run("explain", MODEL, broken(panel_csv, name), "-o", out, "--no-progress"), BROKEN[name])
    assert not list(tmp_path.glob("*out*")), "a file stayed"


def test_panels_that_are_no_such_files(run, panel_csv, nameless, tmp_path):
    out, folder = tmp_path / "out.csv", tmp_path / "folder.csv"
    folder.mkdir()
    refused(run("explain", MODEL, tmp_path / "none.csv", "-o", out), "does not exist")
    refused(run("explain", MODEL, folder, "-o", out), "is an empty folder")
    refused(run("explain", MODEL, tmp_path / "panel.dta", "-o", out), ".csv, .csv.gz or .parquet", "panel.dta")
    refused(run("explain", MODEL, panel_csv, "-o", out, "--time", "mnth"), "no column 'mnth'", "did you mean 'month'?")
    refused(run("explain", MODEL, panel_csv, "-o", out, "--drop", "size"), "no column 'size'")
    refused(run("explain", nameless, panel_csv, "-o", out, "--drop", "beta"), "19 columns of numbers", "20 features")
    refused(run("explain", MODEL, panel_csv, "-o", out, "--drop", "beta"), "leaves out 'beta'", "takes as an input")
    refused(run("explain", MODEL, panel_csv, "-o", out, "--features", "beta,mom1m"), "names 2 columns")
    refused(run("explain", MODEL, panel_csv, "-o", out, "--features", "bta"), "did you mean 'beta'?")
    refused(run("explain", MODEL, panel_csv, "-o", out, "--time", "month", "--asset", "month"), "both name")
    assert not out.exists()


def test_a_panel_of_missing_values_alone(run, small, tmp_path):
    panel, out = tmp_path / "panel.csv", tmp_path / "out.csv"
    (small * np.nan).to_csv(panel)
    refused(run("explain", MODEL, panel, "-o", out, "--no-progress"), "no row to explain", "12 steps")
    assert not out.exists()


def test_bad_outputs(run, panel_csv, tmp_path, monkeypatch):
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    before = panel_csv.read_bytes()
    refused(run("explain", MODEL, panel_csv, "-o", panel_csv), "is the panel itself")
    (tmp_path / "link.csv").symlink_to(panel_csv)
    refused(run("explain", MODEL, panel_csv, "-o", tmp_path / "link.csv"), "is the panel itself")
    refused(run("explain", MODEL, panel_csv, "-o", folder), "is a folder")
    refused(run("explain", MODEL, panel_csv, "-o", tmp_path / "out.xml"), "is written to a .csv", "out.xml")
    refused(run("explain", MODEL, panel_csv, "-o", tmp_path / "none" / "out.csv"), "cannot be written", "No such file")

    def full(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    refused(run("explain", MODEL, panel_csv, "-o", tmp_path / "out.csv"), "cannot be written: Permission denied")
    assert panel_csv.read_bytes() == before
    assert not list(tmp_path.glob("*out*"))


def test_bad_options(run, panel_csv, tmp_path):
    base = ["explain", MODEL, panel_csv, "-o", tmp_path / "out.csv"]
    refused(run(*base, "--rule", "foo"), "--rule", "'arras', 'rudder'")
    refused(run(*base, "--eps", "0"), "eps", "positive")
    refused(run(*base, "--eps", "x"), "--eps")
    refused(run(*base, "--rule", "rudder", "--no-recurrent"), "--no-recurrent does not belong to the rule rudder")
    refused(run(*base, "--target", "3"), "--target 3 is")
    refused(run(*base, "--steps", "5"), "12 steps")
    refused(run(*base, "--threads", "0"), "--threads takes")
    refused(run("explain", MODEL), "PANEL")
    refused(run(), "COMMAND")
    refused(run("report"), "report")
    assert not (tmp_path / "out.csv").exists()


def test_missing_extras_are_said(run, panel_csv, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    refused(run("explain", MODEL, panel_csv, "-o", tmp_path / "out.parquet"), "pip install pyarrow (or", '".[parquet]"')
    refused(run("explain", MODEL, tmp_path / "panel.parquet", "-o", tmp_path / "out.csv"), "pyarrow")


# -------------------------------------------------------------------------------------------- whole files, or none


class Broken(Exception):
    """An error that nobody expected."""


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), Broken()])
def test_no_half_file_stays(run, panel_csv, small, tmp_path, monkeypatch, name, error):
    out, whole, rel = tmp_path / name, writing._frames, made_up(small)
    out.write_text("what was there")

    def breaks(*args):
        yield next(whole(*args))
        raise error

    monkeypatch.setattr(fastlrp.Network, "explain", lambda *args, **kwargs: rel)
    monkeypatch.setattr(writing, "_frames", breaks)
    arguments = ("explain", MODEL, panel_csv, "-o", out, "--no-progress")
    if isinstance(error, Broken):
        with pytest.raises(Broken):  # a traceback, since nobody expected it
            run(*arguments)
    elif isinstance(error, OSError):
        refused(run(*arguments), "out.", "No space left on device")
    else:
        code, printed, said = run(*arguments)
        assert (code, printed) == (130, "")
        assert "interrupted" in said
        assert "Traceback" not in said
    assert out.read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["cwd", "panel.csv", name])


def made_up(panel):
    """An invented result for this panel."""
    n = len(panel)
    values = np.random.default_rng(1).normal(size=(n, panel.shape[1]))
    score, nothing = values.sum(1), np.zeros(n)
    return Relevance(
        values=values, prediction=score, score=score, initial_state=nothing, unattributed=nothing,
        rule=Arras(), steps=12, index=panel.index, features=tuple(panel.columns), reduced=True,
    )  # fmt: skip


def test_a_link_stays_a_link(run, panel_csv, small, tmp_path, monkeypatch):
    monkeypatch.setattr(fastlrp.Network, "explain", lambda *args, **kwargs: made_up(small))
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert run("explain", MODEL, panel_csv, "-o", tmp_path / "link.csv", "--no-progress")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").is_file()


# ---------------------------------------------------------------------------------------------------- other commands


def test_info_on_what_cannot_be_explained_shows_it_and_exits_with_1(run, tmp_path):
    with zipfile.ZipFile(Path(__file__).parents[1] / "data" / "keras-3.15.zip") as archive:
        archive.extract("refused_simple_rnn.h5", tmp_path)
    code, printed, said = run("info", tmp_path / "refused_simple_rnn.h5")
    assert (code, said) == (1, "")
    assert "(3,4) (4,4) (4)" in printed
    assert "37 parameters" in printed.splitlines()[0]
    assert "cannot be explained: layer 'rnn' (SimpleRNN)" in printed.splitlines()[-1]


def test_version_help_and_info(run):
    assert run("--version") == (0, f"fastlrp {fastlrp.__version__}\n", "")
    for command in ([], ["demo"], ["info"], ["explain"], ["report"], ["bench"]):
        code, printed, _ = run(*command, "--help")
        assert code == 0
        assert "usage: fastlrp" in printed
    code, printed, _ = run("info", MODEL)
    assert code == 0
    for word in ("LSTM", "Dense", "(20,64)", "2,385 parameters", "can be explained", "in this order: mom1m, mom6m"):
        assert word in printed


@compiled_only
def test_demo(run, tmp_path):
    code, printed, _ = run("demo", "--out", tmp_path / "pictures")
    assert code == 0
    assert "Explained 6,980 windows of 12 months by arras and rudder" in printed
    panel = load_panel()
    for factor, (group, meaning) in describe()[["group", "meaning"]].iterrows():
        assert re.search(rf"^  {factor} +{group} +{re.escape(meaning)}$", printed, re.MULTILINE)
    for rule in ("arras", "rudder"):
        rel = explained(panel, rule=rule)
        share, gaps = 100 * rel.share().mean(), rel.reconcile()
        lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
        for factor in panel.columns:
            assert f"{share[factor]:.1f} %" in lines[factor]
            assert f"{rel.to_frame()[factor].mean():+.4f}" in lines[factor]
        assert f"{gaps.median:.1e}" in printed
        assert f"{gaps.worst:.1e}" in printed
        assert f"{rule} leaves {rel.median_unattributed_share():.0%} of the score unattributed" in printed
    groups = {group: 100 * explained(panel).share().mean()[factors].sum() for group, factors in GROUPS.items()}
    for group, part in groups.items():
        assert re.search(rf"^ +{group} +{part:.1f} %", printed, re.MULTILINE)
    best = explained(panel).to_frame().loc["2022-12-31"].nlargest(1, "prediction")
    assert re.search(rf"2022-12 +{best.index[0]} +{re.escape(format(best.prediction.iloc[0], '+.3f'))}", printed)
    assert "rank correlation with what followed is 0.767 (t 59); this month's volatility alone has 0.677" in printed
    names = ["factors.png", "returns.html", "through-time.png", "volatility.html"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == names
    pages = {name: (tmp_path / "pictures" / name) for name in names}
    assert all(pages[name].read_bytes().startswith(b"\x89PNG") for name in names if name.endswith("png"))
    assert all(str(page) in printed for page in pages.values())
    assert "no skill is shown" in pages["returns.html"].read_text()
    assert "they rank what follows" in pages["volatility.html"].read_text()


@compiled_only
def test_demo_by_one_rule_and_without_matplotlib(run, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    code, printed, _ = run("demo", "--rule", "rudder")
    assert code == 0
    assert "arras" not in printed
    assert 'pip install matplotlib (or, in a checkout of fastlrp, pip install ".[plot]")' in printed
    assert not list(Path().iterdir())


def test_demo_refuses_a_file_for_its_pictures(run, tmp_path):
    (tmp_path / "file").touch()
    refused(run("demo", "--out", tmp_path / "file"), "pictures cannot be written", "--out")


@compiled_only
def test_bench_without_a_checkout(run, tmp_path, monkeypatch):
    monkeypatch.setattr(fastlrp, "__file__", str(tmp_path / "site-packages" / "fastlrp" / "__init__.py"))
    code, printed, _ = run("bench", "--threads", "1")
    assert code == 0
    rows = [line.split() for line in printed.splitlines() if re.match(r" +\d", line)]
    assert [tuple(map(int, row[:3])) for row in rows] == [(5, 16, 16), (5, 16, 32), (12, 96, 64), (60, 96, 128)]
    assert all(float(cell.replace(",", "")) > 0 for row in rows for cell in row[3:])
    assert "compared with no other library" in printed


def test_bench_in_a_checkout(run, tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__main__.py").touch()
    (tmp_path / "pyproject.toml").touch()
    called = []
    monkeypatch.setattr(fastlrp, "__file__", str(tmp_path / "fastlrp" / "__init__.py"))
    monkeypatch.setattr(subprocess, "call", lambda command, cwd: called.append((command[1:], cwd)) or 3)
    assert run("bench", "--quick", "--threads", "2")[0] == 3
    assert called == [(["-m", "benchmarks", "--quick", "--threads", "2"], tmp_path.resolve())]


@compiled_only
def test_as_a_program(tmp_path):
    def program(*arguments):
        root = str(Path(fastlrp.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, "-m", "fastlrp", *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": path}, check=False, timeout=3600,
        )  # fmt: skip

    done = program("explain", MODEL, panel_path(), "-o", "relevance.csv")
    assert done.returncode == 0, done.stderr
    assert "6,980 samples of 12 steps x 20 features" in done.stdout
    got = table(tmp_path / "relevance.csv")
    want = explained(load_panel(), dtype="float64")
    close(got["score"].to_numpy(), want.score, 1e-6)  # a csv's values as float64, the panel's as float32
    failed = program("explain", MODEL, "none.csv", "-o", "other.csv")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr == "fastlrp: none.csv does not exist, expected a csv or parquet file\n"


# --------------------------------------------------------------------------------------------------------- pictures


def test_pictures_show_the_numbers(small):
    rel = made_up(small)
    other = Relevance(**{**vars_of(rel), "rule": Rudder()})
    figure = plot.bars(rel, other, top=5)
    axes, share = figure.axes[0], 100 * rel.share().mean()
    best = list(share.nlargest(5).index)
    assert [label.get_text() for label in axes.get_yticklabels()] == [*best, "15 others together"]
    assert f"{share.drop(best).sum():.1f}" in [text.get_text() for text in axes.texts]
    close([bar.get_width() for bar in axes.containers[0]], share[best], 1e-12)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["arras", "rudder"]
    for statistic in ("share", "abs", "mean"):
        figure = plot.heat_map(rel, statistic=statistic, top=4, smooth=2)
        order = rel.by_time(statistic).abs().mean().nlargest(4).index
        want = rel.by_time(statistic)[order].rolling(2, min_periods=1).mean().T * (100 if statistic == "share" else 1)
        close(np.asarray(figure.axes[0].images[0].get_array()), want.to_numpy(), 1e-12)
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(order)


def vars_of(rel):
    names = (
        "values",
        "prediction",
        "score",
        "initial_state",
        "unattributed",
        "rule",
        "steps",
        "index",
        "features",
        "reduced",
    )
    return {name: getattr(rel, name) for name in names}


def test_pictures_refuse(small):
    rel = made_up(small)
    other = Relevance(**{**vars_of(rel), "features": tuple(f"f{j}" for j in range(20))})
    for call, words in [
        (lambda: plot.bars(), "one to 4 results"),
        (lambda: plot.bars(rel, other), "same features"),
        (lambda: plot.bars(rel, top=0), "top"),
        (lambda: plot.heat_map(rel, smooth=0), "smooth"),
        (lambda: plot.heat_map(rel, statistic="sum"), "statistic"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
