"""``fastlrp explain`` block by block: for files that are large, folders, and where it is asked for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastlrp.cli.console import as_notes, installed, say
from fastlrp.cli.files import STDIN, STDOUT, kind_of

if TYPE_CHECKING:
    from fastlrp.files.summary import FileSummary
    from fastlrp.model.ensemble import AnyNetwork
    from fastlrp.rules import Rule

#: Bytes of a file from which it is read block by block; a smaller one fits memory, whatever its order.
LARGE = 1 << 28
#: Kinds that are read, and those that are written, in no other way.
_ALWAYS, _WRITTEN = (".feather", ".arrow", ".ipc", ".h5", ".hdf5", ".hdf"), (".h5", ".hdf5")


def as_target(given: str | None, net: AnyNetwork) -> int | str | None:
    """The output to explain: one of the network's names, or a number."""
    return given if given is None or given in (net.outputs or ()) or not given.isdecimal() else int(given)


def in_blocks(arguments: argparse.Namespace) -> bool:
    """Whether the panel is explained block by block.

    Raises
    ------
    ValueError
        If that is asked for, or the only way, and another option does not go with it.
    """
    path, odd = arguments.panel, _odd(arguments)
    if _always(arguments):
        if odd is not None:
            why = f"{path} is read"
            if _asked(arguments):
                why = "--memory, --since, --resume, --by-time, --partition-by and HDF5 go"
            raise ValueError(f"{why} block by block, which does not go with {odd}")
        return True
    return odd is None and installed("pyarrow") and path.is_file() and path.stat().st_size >= LARGE


def _always(arguments: argparse.Namespace) -> bool:
    path = str(arguments.panel).partition("::")[0].lower()
    return _asked(arguments) or arguments.panel.is_dir() or path.endswith(_ALWAYS)


def _asked(arguments: argparse.Namespace) -> bool:
    given = (arguments.memory, arguments.since, arguments.partition_by)
    return (
        any(one is not None for one in given) or bool(arguments.resume or arguments.by_time)
        or arguments.output.suffix.lower() in _WRITTEN
    )  # fmt: skip


def _odd(arguments: argparse.Namespace) -> str | None:
    """What cannot be read, written or done block by block."""
    if arguments.panel == STDIN:
        return "a csv on stdin"
    if arguments.output == STDOUT or kind_of(arguments.output) == "xlsx":
        return f"the output {arguments.output}: write a .parquet or .csv file"
    if kind_of(arguments.panel, reads=True) == "xlsx":
        return "an Excel workbook: save it as csv"
    if arguments.model.is_dir():
        return f"the ensemble {arguments.model}"
    if arguments.at_step != -1:
        return "--at-step: write a file that the panel in memory takes"
    if arguments.drop:
        return "--drop: name the network's inputs with --features"
    if arguments.by_step and arguments.by_time:
        return "--by-step and --by-time at once"
    if arguments.device == "cuda":
        return "--device cuda"
    if arguments.dates is not None or "," in (arguments.time or ""):
        return "--dates and times in several columns: write times as 2015-01-31 or 2015-01 in one column"
    return None


def explain_in_blocks(arguments: argparse.Namespace, rule: Rule, *, bar: bool) -> FileSummary | None:
    """Write the relevance; None where a large file cannot be, and is read into memory instead.

    Raises
    ------
    ValueError
        If the files, the model or an option is not what is expected.
    """
    try:
        from fastlrp.files.explain_file import explain_file
    except ImportError as error:
        raise ValueError(str(error)) from None
    from fastlrp.keras import read_keras

    with as_notes():
        net = read_keras(arguments.model, architecture=arguments.architecture)
    try:
        with as_notes():
            return explain_file(
                net, arguments.panel, arguments.output, steps=arguments.steps, min_steps=arguments.min_steps, rule=rule,
                target=as_target(arguments.target, net), aggregate=arguments.aggregate,
                reduce="time" if arguments.by_time else "none" if arguments.by_step else "steps",
                partition_by=arguments.partition_by, memory=arguments.memory or "1GB",
                columns=_columns(arguments, net), index=(arguments.time, arguments.asset), since=arguments.since,
                resume=arguments.resume, device=arguments.device, dtype=arguments.dtype, threads=arguments.threads,
                progress=bar,
            )  # fmt: skip
    except ValueError as error:  # memory takes tables that blocks do not, and says what it does not take
        if _always(arguments):
            raise
        say(f"note: the whole file is read into memory: {error}")
        return None


def _columns(arguments: argparse.Namespace, net: AnyNetwork) -> list[str] | None:
    """The features that were named, unless they are the network's own in another order."""
    if arguments.features is None:
        return None
    asked = [name.strip() for name in arguments.features.split(",")]
    return None if set(asked) == set(net.columns or ()) else asked
