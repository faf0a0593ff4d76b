"""Files as users' programs write them: read as the same panel, or refused in one sentence that says what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from answers import refused, table

from fastlrp import Network
from fastlrp.data import load_model, model_path
from fastlrp.model.layers import Dense
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Arras

MODEL = str(model_path())
FEATURES = list(load_model().features or [])


class Read(Exception):
    """Carries the panel that a file was read as; no kernel needs to run."""


@pytest.fixture
def read(run, monkeypatch):
    """Run explain on a file up to the kernels; return the panel they would get, the output's names, and stderr."""
    got = []

    def explain(net, panel, **options):
        n = len(panel)
        got.append((panel, options))
        totals = dict.fromkeys(("prediction", "score", "initial_state", "unattributed"), np.arange(n, dtype=float))
        values = panel.to_numpy(np.float64, na_value=np.nan)
        return Relevance(
            values=values,
            **totals,
            rule=Arras(),
            steps=12,
            index=panel.index,
            features=tuple(panel.columns),
            reduced=True,
        )

    monkeypatch.setattr(Network, "explain", explain)

    def read(path, *options):
        code, _, said = run("explain", MODEL, path, "-o", "out.csv", *options)
        assert code == 0, said
        panel, given = got[-1]
        return panel, table("out.csv", dtype=str, keep_default_na=False), said, given

    return read


def same_panel(panel, small):
    """Check that the kernels would get the panel that was written: values, and each asset's consecutive months."""
    from fastlrp.panels.periods import ranked_times

    np.testing.assert_array_equal(panel.to_numpy(), small[FEATURES].to_numpy())
    assert panel.index.names == ["time", "asset"]
    times, rank, _ = ranked_times(panel.index, 0)
    months = small["month"].dt.year * 12 + small["month"].dt.month - 1
    np.testing.assert_array_equal(times.month[rank], months)


def written(small, fmt="%Y-%m-%d"):
    return small.assign(month=small["month"].dt.strftime(fmt))


# ------------------------------------------------------------------------------------------- separators and encodings

FASHIONS = {
    "commas": {}, "semicolons": {"sep": ";"}, "European Excel": {"sep": ";", "decimal": ","}, "tabs": {"sep": "\t"},
    "tabs and decimal commas": {"sep": "\t", "decimal": ","}, "bars": {"sep": "|"}, "all quoted": {"quoting": 1},
    "Windows": {"lineterminator": "\r\n"}, "old Mac": {"lineterminator": "\r"},
}  # fmt: skip


@pytest.mark.parametrize("fashion", FASHIONS)
def test_separators_and_decimal_commas(read, small, fashion):
    Path("panel.csv").write_bytes(written(small).to_csv(index=False, **FASHIONS[fashion]).encode())
    panel, out, _, _ = read("panel.csv")
    same_panel(panel, small)
    assert list(out.columns[:2]) == ["month", "stock"]
    assert list(out["month"]) == list(written(small)["month"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(read, small, encoding):
    names = small.assign(stock=small["stock"].replace("KO", "Köln"))
    if encoding == "utf-32":
        names = small
    Path("panel.csv").write_bytes(written(names).to_csv(index=False).encode(encoding))
    panel, out, _, _ = read("panel.csv")
    same_panel(panel, small)
    assert set(out["stock"]) == set(names["stock"])


def test_odds_and_ends_of_spreadsheets(read, small):
    lines = written(small).to_csv(index=False, sep=";", decimal=",").splitlines()
    empty = ";" * lines[0].count(";")
    Path("panel.csv").write_text("sep=;\r\n" + "\r\n".join(f"{line};" for line in [*lines, empty, "", empty]))
    same_panel(read("panel.csv")[0], small)
    Path("spaces.csv").write_text(written(small).to_csv(index=False).replace(",", ", "))
    same_panel(read("spaces.csv")[0], small)
    commas = small.assign(stock=small["stock"].replace("KO", 'Coca-Cola, "KO"'))
    Path("commas.csv").write_text(written(commas).to_csv(index=False))
    panel, out, _, _ = read("commas.csv")
    same_panel(panel, small)
    assert list(out["stock"]) == list(commas["stock"])


PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("end", [*PACKED, "zip"])
def test_packed_files_whatever_their_name(read, small, end):
    data = written(small).to_csv(index=False).encode()
    if end == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("folder/panel.csv", data)
        data = packed.getvalue()
    else:
        data = PACKED[end](data)
    for name in (f"panel.csv.{end}", "panel.csv"):
        Path(name).write_bytes(data)
        same_panel(read(name)[0], small)


def test_tables_that_are_no_text(read, run, small):
    pytest.importorskip("pyarrow")
    small.to_parquet("plain.parquet")
    small.set_index(["month", "stock"]).to_parquet("indexed.parquet")
    small.to_parquet("parquet.csv")
    for name in ("plain.parquet", "indexed.parquet", "parquet.csv"):
        same_panel(read(name)[0], small)
    pytest.importorskip("openpyxl")
    small.to_excel("plain.xlsx", index=False)
    written(small).to_excel("numbered.xlsx")
    Path("workbook.csv").write_bytes(Path("plain.xlsx").read_bytes())
    for name in ("plain.xlsx", "numbered.xlsx", "workbook.csv"):
        np.testing.assert_allclose(read(name)[0].to_numpy(), small[FEATURES].to_numpy(), rtol=1e-14)
    Path("out.csv").unlink()
    with pd.ExcelWriter("two.xlsx") as book:
        small.to_excel(book, sheet_name="A", index=False)
        small.to_excel(book, sheet_name="B", index=False)
    refused(run("explain", MODEL, "two.xlsx", "-o", "out.csv"), "2 sheets", "'A', 'B'", "save it as csv")
    cells = written(small).astype(object)
    cells.loc[7, "beta"] = "n.v."
    cells.to_excel("words.xlsx", index=False)
    refused(run("explain", MODEL, "words.xlsx", "-o", "out.csv"), "'n.v.' in row 9 of the sheet", "'beta'")


def test_packages_that_are_missing_are_said(run, monkeypatch, small):
    monkeypatch.setattr("fastlrp.cli.files.installed", lambda name: False)
    Path("panel.csv").write_text(written(small).to_csv(index=False))
    refused(run("explain", MODEL, "panel.xlsx", "-o", "out.csv"), "openpyxl", "pip install openpyxl")
    refused(run("explain", MODEL, "panel.csv", "-o", "out.xlsx"), "openpyxl", "use csv")


# ---------------------------------------------------------------------------------------------------------- the times

DATES = [
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%Y 00:00", "%b %Y", "%B %Y", "%b-%Y", "%Y-%b", "%b%Y",
    "%m/%Y", "%m.%Y", "%d %b %Y", "%d-%b-%Y", "%d%b%Y", "%d. %B %Y", "%B %d, %Y", "%Y/%m/%d", "%Y%m%d", "%Y%m", "%Y-%m",
]  # fmt: skip


@pytest.mark.parametrize("fmt", DATES)
def test_dates_as_they_are_written(read, small, fmt):
    frame = written(small, fmt)
    frame.to_csv("panel.csv", index=False)
    panel, out, _, _ = read("panel.csv")
    same_panel(panel, small)
    assert list(out["month"]) == list(frame["month"])  # as the user wrote them


def test_dates_that_could_be_two_are_refused_until_told(read, run, small):
    first = small.assign(month=small["month"].dt.to_period("M").dt.to_timestamp())
    written(first, "%d/%m/%Y").to_csv("days.csv", index=False)
    written(first, "%m/%d/%Y").to_csv("months.csv", index=False)
    for name in ("days.csv", "months.csv"):
        refused(run("explain", MODEL, name, "-o", "out.csv"), "'month'", "--dates day-first or --dates month-first")
    same_panel(read("days.csv", "--dates", "day-first")[0], small)
    same_panel(read("months.csv", "--dates", "month-first")[0], small)


def test_dates_that_are_told_wrongly(run, small):
    written(small, "%d/%m/%Y").to_csv("panel.csv", index=False)
    refused(
        run("explain", MODEL, "panel.csv", "-o", "out.csv", "--dates", "month-first"), "month-first", "'31/01/1994'"
    )


BAD_TIMES = {
    "two digits": ("%d/%m/%y", "'31/01/94'", "four digits", "--time"),
    "Excel's short months": ("%b-%y", "'Jan-94'", "four digits"),
    "words": ("%Y: %m", "'1994: 01'", "2015-01-31"),
}


@pytest.mark.parametrize("name", BAD_TIMES)
def test_times_that_are_not_understood(run, small, name):
    fmt, *words = BAD_TIMES[name]
    written(small, fmt).to_csv("panel.csv", index=False)
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "'month'", *words)


def test_one_time_that_is_none_has_its_line(run, small):
    frame = written(small)
    frame.loc[20, "month"] = "unknown"
    frame.to_csv("panel.csv", index=False)
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "'unknown' in line 22", "'month'")
    frame = written(small, "%d/%m/%Y")
    frame.loc[20, "month"] = "07/31/1994"
    frame.to_csv("panel.csv", index=False)
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "'month'", "'31/01/1994'")


# -------------------------------------------------------------------------------------------------- time, asset, others


def permnos(small):
    return small["stock"].map({"AAPL": 14593, "KO": 11308, "XOM": 11850})


def placed(small, layout):
    """The panel with its key columns in other places."""
    frame = written(small).rename(columns={"month": "date"}).assign(permno=permnos(small), sector="x")
    frame["year"], frame["month"] = small["month"].dt.year, small["month"].dt.month
    frame["quarter"] = 1
    return frame[layout]


LAYOUTS = {
    "last": ([*FEATURES, "permno", "date"], ["date", "permno"]),
    "scattered": ([*FEATURES[:5], "permno", *FEATURES[5:], "date"], ["date", "permno"]),
    "two assets first": (["permno", "stock", "date", *FEATURES], ["date", "permno"]),
    "asset, feature, date": (["permno", FEATURES[0], "date", *FEATURES[1:]], ["date", "permno"]),
    "a sector first": (["sector", "stock", "date", *FEATURES], ["date", "stock"]),
    "a sector between": (["date", "sector", "stock", *FEATURES], ["date", "stock"]),
    "year and month": (["permno", "year", "month", *FEATURES], ["year", "month", "permno"]),
    "year and month last": ([*FEATURES, "permno", "month", "year"], ["year", "month", "permno"]),
    "asset and date": (["permno", "date", *FEATURES], ["permno", "date"]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_time_and_asset_in_other_places(read, small, layout):
    names, keys = LAYOUTS[layout]
    frame = placed(small, names)
    frame.to_csv("panel.csv", index=False)
    panel, out, said, _ = read("panel.csv")
    same_panel(panel, small)
    assert list(out.columns[: len(keys)]) == keys
    for key in keys:
        assert list(out[key]) == list(frame[key].astype(str))
    assert ("the time is read from" in said) == (layout != "asset and date")


def test_two_columns_that_are_named_as_the_time(read, small):
    placed(small, [*FEATURES, "year", "month", "permno"]).to_csv("panel.csv", index=False)
    same_panel(read("panel.csv", "--time", "year,month", "--asset", "permno")[0], small)


def test_keys_that_need_a_guess_are_refused(run, small):
    frame = placed(small, ["permno", "stock", *FEATURES])
    frame.to_csv("none.csv", index=False)  # PERMNO is not a time, though it is a whole number
    refused(run("explain", MODEL, "none.csv", "-o", "out.csv"), "'permno' or 'stock' is the time", "--time")
    frame = placed(small, [*FEATURES, "permno", "stock", "date"])
    frame.to_csv("assets.csv", index=False)
    refused(run("explain", MODEL, "assets.csv", "-o", "out.csv"), "'permno' or 'stock'", "--asset")
    frame = placed(small, [*FEATURES, "date", "permno"]).assign(datadate=written(small)["month"])
    frame.to_csv("dates.csv", index=False)
    refused(run("explain", MODEL, "dates.csv", "-o", "out.csv"), "'date' or 'datadate'", "--time")


def test_a_column_that_numbers_the_rows_is_left_out(read, run, small):
    for name, frame in [("all.csv", written(small)), ("some.csv", written(small)[::-1])]:
        frame.to_csv(name)
        panel, out, said, _ = read(name)
        assert list(out.columns[:2]) == ["month", "stock"]
        assert "numbers the rows: it is left out" in said
        np.testing.assert_array_equal(panel.to_numpy(), frame[FEATURES].to_numpy())
    small.set_index(["month", "stock"]).rename_axis([None, None]).to_csv("nameless.csv")  # row names, not row numbers
    same_panel(read("nameless.csv")[0], small)


# ------------------------------------------------------------------------------------------------------ bad cells


@pytest.mark.parametrize(("cell", "todo"), [("n.v.", "--drop 'beta'"), ("5%", "1234.5"), ("1'234.5", "1234.5")])
def test_a_cell_of_text_has_its_line_column_and_value(run, small, nameless, cell, todo):
    frame = written(small).astype(object)
    frame.loc[7, "beta"] = cell
    frame.to_csv("panel.csv", index=False)
    text = Path("panel.csv").read_text().splitlines()
    Path("panel.csv").write_text("\n".join([*text[:3], "", *text[3:]]))  # a blank line counts
    refused(run("explain", nameless, "panel.csv", "-o", "out.csv"), repr(cell), "in line 10, column 'beta'", todo)
    named = run("explain", nameless, "panel.csv", "-o", "out.csv", "--features", ",".join(FEATURES))
    refused(named, "in line 10, column 'beta'")
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), repr(cell), "in line 10, column 'beta'")


def test_thousands_are_never_taken_for_decimals(run, small):
    frame = written(small).assign(beta=(small["beta"] * 1e6).map("{:,.1f}".format))
    for sep in (",", ";"):
        frame.to_csv("panel.csv", index=False, sep=sep)
        refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "column 'beta'", "thousands")
    frame["beta"] = (small["beta"].abs() * 1e3 + 5000).round().map("{:,.0f}".format)
    frame.to_csv("panel.csv", index=False, sep=";")
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "column 'beta'", "decimals or thousands")


BYTES = {
    "empty": (b"", "is empty"),
    "blank": (b"\n\n\n", "is empty"),
    "one column": (b"beta\n1\n2\n", "1 column,", "commas, semicolons or tabs"),
    "html": (b"<html><body>404</body></html>", "1 column,"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "cannot be read as text"),
    "latin-1": (
        "date,stock,beta\n1994-01-31,Köln,1\n".encode("latin-1"),
        "in UTF-8",
        "0xf6",
        "save it as csv in UTF-8",
    ),
    "cut gzip": (gzip.compress(b"date,stock,beta\n" * 99)[:40], "cannot be read"),
    "header too short": (b"# a remark\ndate,stock,beta\n1994-01-31,KO,1\n", "has 1 column", "above the header"),
    "two separators": (b"a,b,c;d;e\n1,2,3;4;5\n", "by commas or by semicolons", "quote"),
}


@pytest.mark.parametrize("name", BYTES)
def test_files_that_are_no_table(run, name):
    data, *words = BYTES[name]
    Path("panel.csv").write_bytes(data)
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), *words)


def test_a_zip_of_many_files(run):
    with zipfile.ZipFile("panel.csv", "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "panel.csv", "a zip of 2 files", "unpack it")


def test_times_that_are_a_spreadsheets_serial_numbers(run, small, monkeypatch):
    def explain(net, panel, **options):
        nothing = np.full(len(panel), np.nan)
        parts = dict.fromkeys(("prediction", "score", "initial_state", "unattributed"), nothing)
        return Relevance(
            values=panel.to_numpy() * np.nan, **parts, rule=Arras(), steps=12, index=panel.index, reduced=True
        )

    monkeypatch.setattr(Network, "explain", explain)
    small.assign(month=(small["month"] - pd.Timestamp("1899-12-30")).dt.days).to_csv("panel.csv", index=False)
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "no row to explain", "plain numbers such as 34365")


# -------------------------------------------------------------------------------------- stdin, stdout, other outputs


def test_stdin_and_stdout(run, read, small, monkeypatch):
    data = written(small).to_csv(index=False)
    Path("panel.csv").write_text(data)
    _, want, _, _ = read("panel.csv")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
    code, out, said = run("explain", MODEL, "-", "-o", "-")
    assert code == 0
    pd.testing.assert_frame_equal(table(io.StringIO(out), dtype=str, keep_default_na=False), want)
    assert "Reconciles" in said
    assert "Wrote stdout: 45 rows" in said
    assert sorted(path.name for path in Path().iterdir()) == ["out.csv", "panel.csv"]


@pytest.mark.parametrize("name", ["out.tsv", "out.tsv.gz", "out.csv.bz2", "out.csv.xz", "out.xlsx", "out.parquet"])
def test_other_outputs_hold_the_same(run, read, small, name):
    pytest.importorskip({"xlsx": "openpyxl", "parquet": "pyarrow"}.get(name.split(".")[-1], "pandas"))
    written(small).to_csv("panel.csv", index=False)
    read("panel.csv")
    want = table("out.csv")
    assert run("explain", MODEL, "panel.csv", "-o", name)[0] == 0
    if name.endswith("parquet"):
        got = pd.read_parquet(name).reset_index()
    else:
        got = pd.read_excel(name) if name.endswith("xlsx") else table(name, sep="\t" if "tsv" in name else ",")
    assert list(got.columns) == list(want.columns)
    assert list(got["stock"]) == list(want["stock"])
    np.testing.assert_allclose(got.iloc[:, 2:].astype(float), want.iloc[:, 2:].astype(float), rtol=1e-15)


def test_the_words_of_aggregate_are_the_librarys(read, small):
    written(small).to_csv("panel.csv", index=False)
    for word in ("sequence", "average", "last"):
        assert read("panel.csv", "--aggregate", word)[3]["aggregate"] == word


def test_the_librarys_arguments_are_said_as_options(run, small, monkeypatch):
    written(small).to_csv("panel.csv", index=False)
    head = load_model().layers[-1]
    two = Dense(np.repeat(head.W, 2, axis=1), np.repeat(head.b, 2))
    net = load_model()
    two_headed = Network([*net.layers[:-1], two], steps=net.steps)
    monkeypatch.setattr("fastlrp.keras.read_keras", lambda *args, **kwargs: two_headed)
    refused(run("explain", MODEL, "panel.csv", "-o", "out.csv"), "2 outputs", "with --target")
