"""explain_file: relevance of a panel in files, read, explained and written block by block."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Literal

import numpy.typing as npt

import fastlrp
from fastlrp.explain import check_network, check_rule, panel_steps
from fastlrp.files.blocks import Blocks
from fastlrp.files.by_time import ByTime
from fastlrp.files.chosen import compute_dtype, find_features, find_index, list_of
from fastlrp.files.door import asked_for, block_rows
from fastlrp.files.keys import Keys
from fastlrp.files.kinds import located, open_source
from fastlrp.files.layout import find_layout
from fastlrp.files.output import Output
from fastlrp.files.parting import Parted, parting_column
from fastlrp.files.places import check_places
from fastlrp.files.run import Run
from fastlrp.files.since import first_rank
from fastlrp.files.summary import FileSummary, summed
from fastlrp.keras import read_keras
from fastlrp.messages import count
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.model.fingerprint import fingerprint
from fastlrp.objects import as_path
from fastlrp.panels.calendar import Calendar
from fastlrp.rules import Aggregate, Rule

PathLike = str | os.PathLike[str]


def explain_file(
    model: PathLike | AnyNetwork,
    source: PathLike,
    destination: PathLike,
    *,
    steps: int | None = None,
    min_steps: int | None = None,
    rule: str | Rule = "arras",
    target: int | str | None = None,
    aggregate: Aggregate = "sequence",
    reduce: Literal["none", "steps", "groups", "time"] | None = "none",
    groups: Mapping[str, Sequence[str]] | None = None,
    partition_by: str | None = None,
    memory: int | str = "1GB",
    columns: Sequence[str] | None = None,
    index: tuple[str | None, str | None] | None = None,
    where: Any = None,
    since: object = None,
    resume: bool = False,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    calendar: Calendar | None = None,
) -> FileSummary:
    """Relevance of every row of a panel in files, written to a file, in bounded memory.

    Numbers are those of :meth:`fastlrp.Network.explain` on the whole panel, bit for bit. Rows must be together by asset
    (then whole assets are a block) or in the order of time, one file a month for instance (then the last T-1 rows of
    every asset are carried on). Reading, explaining and writing go on at once.

    Parameters
    ----------
    model : path or Network
        A Keras file, or the network.
    source : path
        A Parquet, Arrow IPC (Feather), HDF5 or csv file, or a folder of files of one kind: a row a time and asset.
        Names of folders, as "date=2020-01-31" or "year=2020/month=1" (then "year-month"), are columns. Of HDF5 pandas'
        table format is read, and datasets of one length, as "panel.h5::/group": of one axis a column each, of two as
        many as its attribute "columns" names. Texts that are empty or "nan" are missing.
    destination : path
        ``.parquet``, ``.csv`` or ``.tsv`` (also with .gz, .bz2 or .xz): a row for each of the source's, in its order,
        with nulls where no full window ends: the time and the asset, relevance, and the totals. Or ``.h5``, as
        :meth:`Relevance.save` writes it. It is there once it is whole; until then it grows in ``.NAME.unfinished``
        beside it. :func:`fastlrp.load_relevance` reads Parquet and HDF5.
    steps, min_steps, rule, target, aggregate, dtype, threads
        As in :meth:`fastlrp.Network.explain`. ``threads`` explain; one more reads and one more writes.
    reduce : {"none", "steps", "groups", "time"}
        Columns ``NAME_lagK`` for every feature and step; summed over steps; or also over the features of ``groups``.
        Without a recurrent layer there is one step, and no lag to name.
        "time": not rows but means over the assets of each time, a row a time and statistic ("mean", "abs", "share") as
        :meth:`Relevance.by_time` has them of a result summed over steps, to 1e-12 of the largest.
    groups : mapping of name to features, for ``reduce="groups"`` or "time"
        Features in no group are summed as "Other".
    partition_by : str or None
        ``destination`` is a new folder, with a file ``NAME=VALUE/part.parquet`` for each value of that column, or for
        each "year" of the times.
    memory : int or str
        Most bytes, as ``2_000_000_000`` or "2GB", that the process may hold beside what it holds with Python, Numba and
        pyarrow imported (about 0.3 GB). Blocks get smaller with it, down to single assets, and results stay the same.
    columns : list of str or None
        The features, in the network's order; None: those that the network names, else all other columns of numbers.
    index : (str, str) or None
        The columns of time and asset; None, also for one of them: recognised as the command line does.
    where : pyarrow expression or list of tuples
        Rows to use, as ``pyarrow.dataset.field("region") == "US"`` or ``[("region", "==", "US")]``.
    since : time or None
        Explain and write rows from this time on, as "2026-10". Of earlier ones only those are read, beside all times
        and assets, that windows need; so a month can be added to what is there.
    resume : bool
        Take up what a killed run left unfinished with the same arguments and files; if nothing is left, begin.
    device : {"auto", "cpu"}
        The CPU computes.
    progress : bool or None
        A bar of rows with the time left (needs tqdm); None: on a terminal.
    calendar : Calendar or None
        Which times follow each other in the panel that the source is a part of, as
        :func:`fastlrp.cluster.explain_files` finds it; None: the source is the whole panel.

    Returns
    -------
    FileSummary
        Numbers of rows, features' mean shares, and how well rows reconcile; ``print`` it.

    Raises
    ------
    ValueError
        If an argument, the model or a file is not what is expected; nothing then stands at ``destination``. What is
        done is kept where blocks were, and the message says so.
    ImportError
        If pyarrow is missing, or tqdm with ``progress=True``.

    Examples
    --------
    >>> print(fl.explain_file("model.h5", "panel.parquet", "relevance.parquet", memory="500MB"))  # doctest: +SKIP
    """
    net = read_keras(model) if isinstance(model, str | os.PathLike) else model
    check_network(net)
    if not isinstance(net, Chain):
        raise ValueError("explain_file takes one network, not an Ensemble: explain its members, or a panel in memory")
    asked = asked_for(
        net, rule=rule, target=target, aggregate=aggregate, reduce=reduce, groups=groups, steps=panel_steps(net, steps),
        device=device, threads=threads, memory=memory, partition_by=partition_by,
        min_steps=min_steps,
    )  # fmt: skip
    (path, inside), out = located(source, "explain_file"), as_path(destination, "explain_file(destination=...)")
    form = check_places(path, out, asked.reduce, folder=partition_by is not None)
    with ExitStack() as stack:
        tables = stack.enter_context(closing(open_source(path, where, inside)))
        columns = list_of(columns)
        keys_at = find_index(tables, path, index, columns or net.columns or ())
        features = find_features(tables, path, net, columns, keys_at)
        written = [*keys_at, *(asked.group_names(features) if asked.reduced else ())]
        by = parting_column(tables, path, partition_by, written)
        labels = list(keys_at if by is None else (*keys_at, by))
        tables.declare(labels, features)
        tables.check([*labels, *features])
        kind, stamps = compute_dtype(tables, features, dtype), tables.stamps()
        check_rule(asked.rule, net, asked.steps, kind)
        keys = stack.enter_context(closing(Keys(tables, keys_at.time, keys_at.asset, out.resolve().parent, by)))
        layout = find_layout(keys, str(path), calendar)
        first = 0 if since is None else first_rank(layout.distinct, layout.latest, since)
        settings = {
            "the version of fastlrp": fastlrp.__version__, "the network": fingerprint([net]), **asked.said(),
            "dtype=": str(kind), "where=": _said(where), "since=": str(since),
            "columns=": features, "index=": list(keys_at), "partition_by=": partition_by,
            "inside": inside, "the source": stamps,
            "the calendar": None if calendar is None else calendar.said,
            "size": block_rows(asked, tables, layout, len(keys), len(features), kind),
        }  # fmt: skip
        if asked.reduce == "time":
            form = ByTime(form, layout.names_of_times(keys_at.time), features, asked.groups, json.dumps(settings))
        parted = Parted(keys, layout, partition_by)
        with Output(out, form, settings, resume=resume, folder=partition_by is not None) as output:
            blocks = Blocks(
                tables, keys, layout, features=features, dtype=kind, steps=asked.steps, size=output.settings["size"],
                since=first, least=asked.min_steps,
            )  # fmt: skip
            form.expect(blocks.rows())
            run = Run(net, asked, blocks, output, parted, by_position=columns is None and net.columns is None)
            run.all(progress)
            if tables.stamps() != stamps:
                output.useless(f"{path} has changed while it was read")
            summary = summed(out, output.done, run.features)
            if not summary.explained and calendar is None:
                output.useless(
                    f"{path} has no row to explain: none of its {count(summary.rows, 'row')} ends a complete window "
                    f"of {count(asked.steps, 'step')} without a missing value"
                )
            output.finish()
    if summary.explained:
        run.warn()
    return summary


def _said(where: Any) -> Any:
    """A filter as a record of it, in full: the text of a pyarrow expression leaves out the middle of long lists."""
    if where is None or isinstance(where, list | tuple):
        return None if where is None else repr([[sorted(x) if isinstance(x, set) else x for x in one] for one in where])
    content = b"".join(bytes(part) for part in where.__reduce__()[1])
    return [str(where), hashlib.sha256(content).hexdigest()]
