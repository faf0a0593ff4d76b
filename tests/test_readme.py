"""Runs the README's examples, and checks its statements about commands."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastlrp
from fastlrp import cli

ROOT = Path(__file__).resolve().parents[1]
TEXTS = {
    str(path.relative_to(ROOT).as_posix()): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = TEXTS["README.md"]
#: Pages with code; tests/test_recipe.py runs the one that is left out, and recomputes its numbers.
PAGES = [page for page, text in TEXTS.items() if "```python" in text and page != "docs/out-of-sample.md"]
TESTS = 'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/python -m pytest'
DEMO = 'python3 -m venv .venv && .venv/bin/pip install ".[all]" && .venv/bin/fastlrp demo'
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


def absent_packages(snippet: str) -> set[str]:
    """Those that a snippet imports and that are not installed."""
    imports = re.findall(r"^(?:import|from) (\w+)", snippet, re.MULTILINE)
    return {name for name in imports if importlib.util.find_spec(name) is None}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.skipif(not COMPILED, reason="the whole panel needs compiled kernels")
def test_snippets_run_one_after_the_other_and_print_what_they_say(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"^```python\n(.*?)^```$", TEXTS[page], re.MULTILINE | re.DOTALL)
    assert len(snippets) == TEXTS[page].count("```python")
    names: dict[str, object] = {}
    absent: set[str] = set()
    for number, snippet in enumerate(snippets):
        lacking = absent_packages(snippet)
        absent |= lacking
        if not lacking:
            exec(compile(snippet, f"{page}, python snippet {number}", "exec"), names)
    printed = re.findall(r"<!-- printed -->\n```text\n(.*?)^```$", TEXTS[page], re.MULTILINE | re.DOTALL)
    assert len(printed) == (page == "README.md")
    out = capsys.readouterr().out
    assert all(text in out for text in printed)
    if page == "README.md":
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "factors.png", "model.h5", "models", "panel.parquet", "relevance.parquet", "report.html",
            "through-time.png", "trained.keras", "update.parquet", "whole.parquet",
        ]  # fmt: skip
    if absent:
        pytest.skip(f"all ran but for the snippets that import {' and '.join(sorted(absent))}, which are not installed")


def test_the_two_commands_stand_in_the_readme_and_the_second_in_ci():
    indented = [line.strip() for line in README.splitlines() if line.startswith("    python3")]
    assert indented == [DEMO, TESTS]
    ci = ROOT / ".ci" / "run"
    assert f"bash -c '{TESTS}'" in ci.read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    setup, test = TESTS.rsplit(" && ", 1)
    assert f"    {setup} " in contributing
    assert f"    {test} " in contributing


def test_extras_named_in_commands_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"]["fastlrp"] == "fastlrp.cli:main"
    extras = project["optional-dependencies"]
    assert {"all", "test", "progress", "parquet", "plot", "report", "shap", "dask", "cuda", "cuda12"} <= set(extras)
    assert "cuda" not in " ".join(extras["test"] + extras["all"]), "NVIDIA's wheels are for those who work on CUDA"
    assert extras["test-cuda"] == ["fastlrp[test,cuda]"]
    assert "[test-cuda]" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert project["version"] == fastlrp.__version__


def test_commands_and_options_named_exist():
    """Each `fastlrp ...` line parses once its placeholders are filled in."""
    section = README.split("## Command line")[1].split("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    fastlrp ")]
    assert len(lines) == 7
    for line in lines:
        words = shlex.split(
            re.split(r" {3,}", line)[0].replace("[", "").replace("]", "").replace("both|arras|rudder", "both")
        )
        cli._parser().parse_args(words[1:])
    for option in re.findall(r"`(--[a-z-]+)", section):
        assert option in subprocess.run(
            [sys.executable, "-m", "fastlrp", "explain", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout  # fmt: skip


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", TEXTS[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


def test_pages_are_linked_from_the_readme():
    assert [page for page in TEXTS if page != "README.md" and f"({page}" not in README] == []


def test_files_and_modules_named_exist():
    house = README.split("## Architecture")[1].split("\n## ")[0]
    for room in (ROOT / "fastlrp").iterdir():  # and everything that is there is named
        named = room.name.startswith("_") or room.name == "py.typed" or room.name in house
        assert named, f"{room.name} is not in the README's Architecture"
    for name in re.findall(r"^      ([a-z]+(?:\.py|/)) ", house, re.MULTILINE):
        assert (ROOT / "fastlrp" / name).exists(), name
    for name in re.findall(r"^    ([a-z]+/) ", house, re.MULTILINE):
        assert (ROOT / name).exists(), name
