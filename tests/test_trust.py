"""The README's table of trust is the one that was measured last, and every section can be run."""

from __future__ import annotations

import ast
import json

from scripts.trust import __main__ as trust
from scripts.trust import rows

ROW = ["what was tried", "5 cases", "what was found", True]


def agree(page: str, results: bool, found: dict) -> bool:
    """Whether a page has the table of what was found, or neither is there; a table without results is nobody's."""
    marks = [page.count(mark) for mark in (rows.BEGIN, rows.END)]
    if not results:
        return marks == [0, 0]
    return marks == [1, 1] and rows.embedded(page, found) == page


def test_the_readme_has_the_table_that_was_measured() -> None:
    assert agree(rows.README.read_text(encoding="utf-8"), rows.RESULTS.exists(), rows.load())


def test_only_both_or_neither_agree() -> None:
    found = {"files": {"rows": [ROW], "where": "here", "seconds": 3}}
    page = rows.embedded(f"before {rows.BEGIN}{rows.END} after", found)
    assert "| What was tried | 5 cases | what was found | `files` |" in page
    assert agree(page, True, found)
    assert agree("no table", False, {})
    assert not agree(page, False, {})
    assert not agree("no table", True, found)
    assert not agree(page.replace("5 cases", "6 cases"), True, found)
    assert not agree(page + page, True, found)


def test_what_is_not_as_promised_says_so() -> None:
    table = rows.table({"files": {"rows": [[*ROW[:3], False]], "where": "here", "seconds": 3}})
    assert "**not as promised:** what was found" in table


def test_results_come_back(tmp_path) -> None:
    path, found = tmp_path / "results.json", {"files": {"rows": [ROW], "where": "here", "seconds": 3}}
    assert rows.load(path) == {}
    rows.save(found, path)
    assert rows.load(path) == found == json.loads(path.read_text("utf-8"))
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def test_results_are_those_of_sections() -> None:
    found = rows.load()
    assert list(found) == [section for section in trust.SECTIONS if section in found]
    for entry in found.values():
        assert all(isinstance(row.fine, bool) for row in (rows.Row(*cells) for cells in entry["rows"]))


def test_every_section_can_be_run() -> None:
    """Parsed, not imported, since some sections start much. All are there once anything was measured."""
    files = {name: rows.RESULTS.with_name(f"{name}.py") for name in trust.SECTIONS}
    there = {name: path for name, path in files.items() if path.exists()}
    assert there
    assert list(there) == list(files) or not rows.RESULTS.exists()
    for name, path in there.items():
        defined = {one.name: one for one in ast.parse(path.read_text("utf-8")).body if isinstance(one, ast.FunctionDef)}
        assert [one.arg for one in defined["run"].args.args] == ["options"], name
