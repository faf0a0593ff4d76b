"""Folders of files: each file a part of one panel, explained from file to file by a task of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

import fastlrp
from fastlrp.checks import check
from fastlrp.cluster.engine import needed, shared
from fastlrp.cluster.plan import Part, Plan, looked, planned, recorded
from fastlrp.explain import check_network, panel_steps
from fastlrp.files.chosen import find_features, find_index, list_of
from fastlrp.files.door import asked_for
from fastlrp.files.explain_file import explain_file
from fastlrp.files.kinds import open_source
from fastlrp.files.summary import FileSummary
from fastlrp.keras import read_keras
from fastlrp.messages import count
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.model.fingerprint import fingerprint
from fastlrp.objects import as_path
from fastlrp.rules import Aggregate, Rule
from fastlrp.whole import whole

PathLike = str | os.PathLike[str]


def explain_files(
    source: PathLike,
    destination: PathLike,
    model: PathLike | AnyNetwork,
    *,
    rule: str | Rule = "arras",
    steps: int | None = None,
    min_steps: int | None = None,
    target: int | str | None = None,
    aggregate: Aggregate = "sequence",
    reduce: Literal["none", "steps", "groups"] | None = "none",
    groups: Mapping[str, Sequence[str]] | None = None,
    columns: Sequence[str] | None = None,
    index: tuple[str | None, str | None] | None = None,
    memory: int | str = "1GB",
    resume: bool = False,
    dtype: npt.DTypeLike | None = None,
    threads: int = 1,
) -> Any:
    """Relevance of a panel in a folder of files, each of which a worker explains by :func:`fastlrp.explain_file`.

    Numbers are those of the whole panel in memory, bit for bit. Times and assets of all files are read first. A part of
    the destination appears whole or not at all; what a worker that died has left unfinished is taken up by another.

    Parameters
    ----------
    source : path
        A folder of Parquet, Arrow IPC or csv files, each with whole assets. Workers must see it under the same name.
    destination : path
        A folder, made if need be: for each file of the source that has rows a Parquet file of the same name, and beside
        it a hidden record of what it was made with.
    model : path or Network
        A Keras file, or the network, which travels to each worker once.
    rule, steps, min_steps, target, aggregate, reduce, groups, columns, index, dtype
        As in :func:`fastlrp.explain_file`.
    memory : int or str
        Most bytes for the blocks and buffers of one part; a worker has as many parts under way as threads.
    resume : bool
        Go on with what was begun in this folder, with the same arguments and files; otherwise it must be empty.
    threads : int
        Threads that explain in each task; one more reads and one more writes.

    Returns
    -------
    dask Delayed
        ``compute()`` explains, and gives a FileSummary.

    Raises
    ------
    ValueError
        If an argument, the model or a file is not what is expected, or, when it is computed, an asset stands in two
        files; nothing is then written.
    ImportError
        If Dask is missing.

    Examples
    --------
    >>> print(fl.cluster.explain_files("panel", "relevance", "model.h5").compute())     # doctest: +SKIP
    """
    delayed = needed("dask").delayed
    net = read_keras(model) if isinstance(model, str | os.PathLike) else model
    check_network(net)
    if not isinstance(net, Chain):
        raise ValueError("explain_files takes one network, not an Ensemble: explain its members one by one")
    check("threads", threads, required=True)
    folder = as_path(source, "explain_files(source=...)").absolute()
    out = as_path(destination, "explain_files(destination=...)").absolute()
    options: dict[str, Any] = {
        "rule": rule, "target": target, "aggregate": aggregate, "reduce": reduce, "groups": groups,
        "steps": panel_steps(net, steps), "min_steps": min_steps, "memory": memory, "threads": threads,
    }  # fmt: skip
    if reduce not in (None, "none", "steps", "groups"):  # no "time": a part has not all assets of a period
        raise ValueError(f"explain_files' reduce= takes 'none', 'steps' or 'groups', not {reduce!r}")
    said = asked_for(net, device="cpu", partition_by=None, **options).said()
    _check_places(folder, out, resume=resume)
    columns = list_of(columns)
    with closing(open_source(folder)) as tables:
        paths = tables.paths
        first = find_index(tables, folder, index, columns or net.columns or ())
        options |= {"index": first, "columns": find_features(tables, folder, net, columns, first)}
    parts = [Part(path, out / _name(path, folder)) for path in paths]
    said |= {"the version of fastlrp": fastlrp.__version__, "the network": fingerprint([net]),
             "columns=": options["columns"], "index=": list(first)}  # fmt: skip
    sent = shared(net)
    looks = [delayed(looked)(part.source, first, options["columns"]) for part in parts]
    plan = delayed(planned)(parts, looks, said, dtype)
    done = [delayed(_explained)(k, plan, sent, options) for k in range(len(parts))]
    return delayed(_summed)(out, parts, done)


def _check_places(folder: Path, out: Path, *, resume: bool) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder, expected one of files: fl.explain_file explains a single one")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file, expected a folder to write files into")
    if out == folder or folder in out.resolve().parents or out.resolve() in folder.resolve().parents:
        raise ValueError(f"{out} and the folder {folder} that is read lie in each other: choose another folder")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} holds files already: choose an empty folder, or resume=True to go on with it")


def _name(path: Path, folder: Path) -> Path:
    """The place of a part below the destination; of another kind than Parquet, with the kind in its name."""
    place = path.relative_to(folder)
    return place if place.name.lower().endswith(".parquet") else place.with_name(f"{place.name}.parquet")


def _explained(number: int, plan: Plan, net: Chain, options: dict[str, Any]) -> FileSummary:
    """Explain one file, unless that is done."""
    part, settings = plan.parts[number], plan.settings[number]
    if settings is None:
        return FileSummary(part.out, 0, 0, {}, float("nan"), "")
    record = recorded(part)
    if record is None:
        part.out.parent.mkdir(parents=True, exist_ok=True)
        summary = explain_file(
            net, part.source, part.out, resume=True, dtype=plan.dtype, calendar=plan.calendar, progress=False, **options
        )
        record = {"settings": settings, "summary": {**vars(summary), "path": str(part.out)}}
        with whole(part.record) as file:
            file.write_text(json.dumps(record), encoding="utf-8")
    return FileSummary(**{**record["summary"], "path": part.out})


def _summed(out: Path, parts: Sequence[Part], done: Sequence[FileSummary]) -> FileSummary:
    """The summary of all parts; shares are means over their explained rows.

    Raises
    ------
    ValueError
        If no part has a row with relevance; nothing then stays.
    """
    some = [part for part in done if part.explained]
    if not some:
        for part in parts:
            part.out.unlink(missing_ok=True)
            part.record.unlink(missing_ok=True)
        rows = count(sum(part.rows for part in done), "row")
        raise ValueError(f"{out} would hold no relevance: none of {rows} ends a complete window without missing values")
    explained = sum(part.explained for part in some)
    known = [part for part in some if part.shares]
    weights = sum(part.explained for part in known)
    shares = {name: sum(part.explained * part.shares[name] for part in known) / weights
              for name in (known[0].shares if known else ())}  # fmt: skip
    worst = max(some, key=lambda part: part.gap)
    return FileSummary(
        out, sum(part.rows for part in done), explained, dict(sorted(shares.items(), key=lambda item: -item[1])),
        worst.gap, worst.worst_row, sum(part.overflowed for part in done),
    )  # fmt: skip
