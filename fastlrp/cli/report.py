"""``fastlrp report``: the panel is read as by ``explain``, and the page written by ``fastlrp.report``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlrp.cli.blocks import as_target
from fastlrp.cli.console import as_notes
from fastlrp.cli.files import STDIN, STDOUT, check_kind, kind_of
from fastlrp.cli.tables import read_panel
from fastlrp.keras import read_keras
from fastlrp.messages import count
from fastlrp.reporting.report import check_asked, write_report
from fastlrp.reporting.subject import refuse_input, subject
from fastlrp.rules import Rule

if TYPE_CHECKING:
    import pandas as pd


def run_report(arguments: argparse.Namespace, rule: Rule) -> int:
    """Write the page, and say where."""
    out, target, path = arguments.output, arguments.target, arguments.panel
    if out == STDOUT:
        raise ValueError("the report is written to a file, not to stdout: -o report.html")
    check_asked(out, {"the model": arguments.model, "the panel": path}, arguments.horizon, arguments.title)
    if path.suffix or path.is_file():
        check_kind(kind_of(path, reads=True), path, "the panel is read from", "to be read")
    groups = None if arguments.groups is None else _groups(arguments.groups)
    with as_notes():
        net = read_keras(arguments.model, architecture=arguments.architecture)
    refuse_input(net, target)
    if target is not None:
        arguments.drop = [*arguments.drop, target]  # it is no feature
    panel, written = read_panel(arguments, net, () if target is None else (target,))
    panel.index = panel.index.set_names(_asset(panel.index, written), level=1)
    if arguments.features is not None or net.columns is None:  # a note has said which columns they are
        net = net.with_columns([name for name in panel.columns if name != target])
    about = subject(
        net, panel, target, test_from=arguments.test_from, unit=as_target(arguments.unit, net), steps=arguments.steps,
        dtype=arguments.dtype, threads=arguments.threads,
    )  # fmt: skip
    about = replace(about, source=arguments.model.name, panel="stdin" if path == STDIN else path.name)
    write_report(about, out, rule, groups=groups, horizon=arguments.horizon, title=arguments.title)
    print(f"Wrote {out}: {count(len(panel), 'row')} on one page of {out.stat().st_size / 1e6:.1f} MB")
    return 0


def _asset(index: Any, written: pd.MultiIndex) -> str:
    """What the file calls its assets."""
    pairs = zip(written.names, written.levels, strict=True)
    return next((str(name) for name, level in pairs if level.equals(index.levels[1])), "asset")


def _groups(path: Path) -> dict[str, Any]:
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(groups, dict) or not all(isinstance(members, list) for members in groups.values()):
        raise ValueError(f'{path} holds no groups, expected {{"name": ["feature", ...], ...}}')
    return groups
