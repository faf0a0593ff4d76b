"""Arguments of explain_file, checked before work starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.checks import as_dtype, check
from fastlrp.explain import checked_options, target_unit
from fastlrp.files.arrow import pyarrow
from fastlrp.files.columns import find_keys
from fastlrp.files.forms import PACKERS, TEXTS, Form, Parquet, Text
from fastlrp.files.hdf5_form import Hdf5
from fastlrp.files.layout import Layout
from fastlrp.files.sources import Source
from fastlrp.messages import count, suggest
from fastlrp.model.chain import Chain
from fastlrp.relevance.metadata import rule_as_json
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Aggregate, Rule, as_rule

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MOST_ROWS = 1 << 16  # in a block: more gain nothing, and a block is what a killed process loses
_FEWEST_ROWS = 1 << 10
#: The part of the memory for arrays that are used again, and bytes for pages, and for tables and what libraries keep.
KEPT, _APART = 8, 80 << 20


class Asked(NamedTuple):
    """What is to be computed, checked."""

    rule: Rule
    unit: int
    aggregate: Aggregate
    reduce: str
    groups: dict[str, list[str]] | None
    steps: int
    threads: int | None
    memory: int
    n_outputs: int

    @property
    def reduced(self) -> bool:
        """Whether kernels sum over steps."""
        return self.reduce != "none"

    def said(self) -> dict[str, Any]:
        """What decides the numbers, ready for JSON, under the names that users know."""
        return {
            "rule=": repr(self.rule), "rule= in full": rule_as_json(self.rule), "target=": self.unit,
            "aggregate=": self.aggregate, "reduce=": self.reduce, "groups=": self.groups, "steps=": self.steps,
        }  # fmt: skip

    def group_names(self, features: Sequence[str]) -> list[str]:
        """Names of the groups or features of each row.

        Raises
        ------
        ValueError
            If the groups do not fit the features.
        """
        nothing = np.empty(0)
        empty = Relevance(
            values=np.empty((0, len(features))), prediction=nothing, score=nothing, initial_state=nothing,
            unattributed=nothing, rule=self.rule, steps=self.steps, features=tuple(features), reduced=True,
        )  # fmt: skip
        return list(self.grouped(empty).features) if self.reduce == "groups" else list(features)

    def grouped(self, relevance: Relevance) -> Relevance:
        """Relevance summed over groups, where rows have them."""
        if self.groups is None or self.reduce != "groups":
            return relevance
        table = relevance.by_group(self.groups)
        return replace(relevance, values=table.to_numpy(), features=tuple(table.columns))


def asked_for(
    net: Chain, *, rule: str | Rule, target: int | str | None, aggregate: Aggregate, reduce: str | None,
    groups: Mapping[str, Sequence[str]] | None, steps: int, device: str, threads: int | None, memory: int | str,
    partition_by: str | None,
) -> Asked:  # fmt: skip
    """The options of a run.

    Raises
    ------
    ValueError
        If one is refused.
    """
    reduce = "none" if reduce is None else reduce
    if reduce not in ("none", "steps", "groups", "time"):
        raise ValueError(f"reduce= takes 'none', 'steps', 'groups' or 'time', not {reduce!r}")
    if partition_by is not None and reduce == "time":
        raise ValueError("partition_by= parts rows, and reduce='time' leaves none: leave one of them out")
    if reduce != "time" and (reduce == "groups") != (groups is not None):
        raise ValueError("reduce='groups' and groups={name: [features]} go together, but only one of them was given")
    if groups is not None and not isinstance(groups, Mapping):
        raise ValueError(f"groups= takes a dict of name to list of features, not {groups!r}")
    odd = next((name for name, members in (groups or {}).items() if not hasattr(members, "__iter__")), None)
    if odd is not None:
        raise ValueError(f"groups= takes a list of features for {odd!r}, not {(groups or {})[odd]!r}")
    check("device", device)
    if device == "cuda":
        raise ValueError("explain_file computes on the CPU, not on device='cuda': leave device= out")
    check("threads", threads)
    check("steps", steps, required=True)
    plain = None if groups is None else {str(k): [v] if isinstance(v, str) else list(v) for k, v in groups.items()}
    rule = as_rule(rule)
    return Asked(
        rule, target_unit(net, target), checked_options(aggregate, None, rule), reduce, plain, int(steps), threads,
        _bytes(memory), net.n_outputs,
    )  # fmt: skip


def _bytes(memory: int | str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(memory).lower())
    if isinstance(memory, bool) or not found or found[2] not in _UNITS:
        raise ValueError(f"memory= takes a number of bytes, or text such as '500MB' or '2GB', not {memory!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def form_of(out: Path, reduce: str) -> Form:
    """The form in which a file is written, by its name.

    Raises
    ------
    ValueError
        If it ends otherwise.
    """
    name = out.name.lower()
    plain = name.removesuffix(next((end for end in PACKERS if name.endswith(end)), ""))
    kind = plain.rpartition(".")[2]
    if kind in TEXTS:
        return Text(kind, out)
    if name.endswith(".parquet"):
        return Parquet()
    if not name.endswith((".h5", ".hdf5")):
        raise ValueError(
            f"relevance is written block by block to a .parquet, .csv, .csv.gz or .h5 file, not {str(out)!r}"
        )
    if reduce == "time":
        raise ValueError(f"{out}: means by period are a table, expected a .parquet or .csv file")
    return Hdf5()


def check_places(source: Path, out: Path, reduce: str, *, folder: bool) -> Form:
    """How the destination is written.

    Raises
    ------
    ValueError
        If it cannot be written, or is the source.
    """
    form = Parquet() if folder else form_of(out, reduce)
    if folder and out.exists() and (not out.is_dir() or any(out.iterdir())):
        what = "a folder that holds files" if out.is_dir() else "a file"
        raise ValueError(f"{out} is {what}, expected a new folder for partition_by=")
    if not folder and out.exists() and not out.is_file():
        raise ValueError(f"{out} is {'a folder' if out.is_dir() else 'not a plain file'}, expected a file to write")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"{out} cannot be written: there is no folder {out.resolve().parent}")
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise ValueError(f"{out} lies in the folder {source} that is read: choose another folder for the output")
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"{out} is the panel itself: choose another file for the output")
    return form


class Index(NamedTuple):
    """The columns of time and asset."""

    time: str
    asset: str


def check_columns(columns: object) -> None:
    """Refuse what is no list of names."""
    if columns is not None and (isinstance(columns, str) or not hasattr(columns, "__iter__")):
        raise ValueError(f"columns= takes a list of names, not {columns!r}")


def find_index(
    source: Source, path: Path, given: tuple[str | None, str | None] | None, features: Sequence[str]
) -> Index:
    """The columns of time and asset: those given, and those not given as the command line finds them.

    Raises
    ------
    ValueError
        If there is no such column, or the choice would be a guess.
    """
    if given is not None and (not isinstance(given, tuple | list) or len(given) != 2):
        raise ValueError(f"index= takes the names of two columns, a time and an asset, not {given!r}")
    time, asset = given or (None, None)
    missing = [str(name) for name in (time, asset) if name is not None and name not in source.schema.names]
    if missing:
        raise ValueError(f"{path} has no column {suggest(missing, source.schema.names)}")
    if time is not None and asset is not None:
        if time == asset:
            raise ValueError(f"index= names {time!r} twice, expected a time and an asset")
        return Index(time, asset)
    sample = source.sample()
    sample = sample[[name for name in sample.columns if name not in features or len(sample.columns) < 4]]
    if sample.shape[1] < 3:  # keys alone are left
        sample = source.sample()
    try:
        keys = find_keys(sample, SimpleNamespace(panel=path, time=time, asset=asset, drop=[]))  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(re.sub(r"say --(time|asset)", "say index=(time, asset)", str(error))) from None
    if len(keys.time) > 1:
        raise ValueError(
            f"{path} has its times in the columns {' and '.join(map(repr, keys.time))}, expected one column"
        )
    return Index(keys.time[0], keys.asset)


def find_features(
    source: Source, path: Path, net: Chain, given: Sequence[str] | None, index: Index
) -> list[str]:  # fmt: skip
    """The columns of features: those given, else those that the network names, else all other numbers.

    Raises
    ------
    ValueError
        If they are not there, not numbers, or not as many as the network takes.
    """
    have = [name for name in source.schema.names if name not in index]
    chosen = given if given is not None else net.features
    names = [name for name in have if _is_number(source, name)] if chosen is None else list(chosen)
    missing = [name for name in names if name not in have]
    if missing:
        spare = [name for name in have if name not in names]
        raise ValueError(f"{path} lacks {len(missing)} of {count(len(names), 'feature')}: {suggest(missing, spare)}")
    odd = [f"{name!r} ({source.schema.field(name).type})" for name in names if not _is_number(source, name)]
    if odd and source.says_types:  # of text, reading names the cell
        raise ValueError(f"{path} has columns that do not hold real numbers: {', '.join(odd[:8])}")
    if given is not None and len(names) == net.n_features:
        net.with_features(names)  # refuses its own names in another order, and a name twice
    if len(names) != net.n_features:
        raise ValueError(
            f"{path} has {count(len(names), 'column')} of numbers besides time and asset, the network takes "
            f"{count(net.n_features, 'feature')}: name its columns in the network's order with columns=[...]"
            if chosen is None
            else f"columns= names {count(len(names), 'column')}, but the network takes {net.n_features:,}"
        )
    return names


def _is_number(source: Source, name: str) -> bool:
    kind, types = source.schema.field(name).type, pyarrow.types
    return bool(
        types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)
        or (types.is_null(kind) and source.says_types is False)
    )  # fmt: skip


def compute_dtype(source: Source, features: Sequence[str], asked: npt.DTypeLike | None) -> np.dtype[Any]:
    """The dtype asked for; by default float32 if every feature is, else float64."""
    if asked is not None:
        return as_dtype(asked)
    kinds = {source.schema.field(name).type for name in features}
    return np.dtype(np.float32 if kinds <= {pyarrow.float32(), pyarrow.float16()} else np.float64)


def block_rows(asked: Asked, source: Source, layout: Layout, rows: int, n_features: int, dtype: np.dtype[Any]) -> int:
    """How many rows may be in a block, so that all that is under way at once fits into ``asked.memory``.

    Blocks are held as they are read (once more as columns are turned) and explained, results as they are explained and
    written.

    Raises
    ------
    ValueError
        If the smallest block does not fit.
    """
    width = n_features * (asked.steps if asked.reduce == "none" else 1) + asked.n_outputs + 3
    each = dtype.itemsize * (3 * n_features + 2 * width) + 64
    runs = np.diff(layout.first, append=rows)
    fixed, fewest = source.overhead(n_features) + _APART + asked.memory // KEPT, _FEWEST_ROWS
    if layout.by_asset:
        fewest = max(fewest, int(runs.max()))
    else:
        history = np.convolve(runs, np.ones(min(asked.steps, len(runs)), np.int64)).max()
        fixed += 3 * int(history) * dtype.itemsize * n_features
    fits = (asked.memory - fixed) // each
    if fits < min(fewest, rows):
        least = (fixed - asked.memory // KEPT + each * min(fewest, rows)) * KEPT // (KEPT - 1) + 1
        raise ValueError(
            f"memory= is {asked.memory / 1e6:,.0f} MB, expected at least {-(-least // 10**6):,} MB for these files"
        )
    return int(min(fits, max(_MOST_ROWS, fewest)))
