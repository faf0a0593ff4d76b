"""What a folder's files say together before any is explained: their calendar, their dtype, and what is done already."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fastlrp.files.chosen import Index, compute_dtype
from fastlrp.files.keys import Keys
from fastlrp.files.kinds import open_source
from fastlrp.panels.calendar import Calendar, PartKeys, calendar_of, part_keys


class Part(NamedTuple):
    """A file, and the one that is made of it."""

    source: Path
    out: Path

    @property
    def record(self) -> Path:
        """What the part was made with, once it is there."""
        return self.out.with_name(f".{self.out.name}.json")


class Look(NamedTuple):
    """What a file's times, assets and columns say."""

    keys: PartKeys
    dtype: Any
    stamps: list[list[Any]]


class Plan(NamedTuple):
    """What all files say together, and what each part is made with."""

    parts: list[Part]
    calendar: Calendar
    dtype: str
    settings: list[dict[str, Any]]


def looked(path: Path, index: Index, features: list[str]) -> Look:
    """Read a file's times and assets, a block at a time."""
    with ExitStack() as stack:
        tables = stack.enter_context(closing(open_source(path)))
        tables.check([*index, *features])
        tables.declare(index, features)
        stamps, kind = tables.stamps(), compute_dtype(tables, features, None)
        keys = stack.enter_context(closing(Keys(tables, index.time, index.asset, Path(tempfile.gettempdir()))))
        levels: Any = [pd.Index(level.values.to_pandas()) for level in (keys.time, keys.asset)]
        codes: Any = keys[0 : len(keys)]
        names: Any = list(index)
        return Look(part_keys(pd.MultiIndex(levels, codes, names=names, verify_integrity=False)), kind, stamps)


def planned(parts: list[Part], looks: list[Look], said: dict[str, Any], dtype: Any) -> Plan:
    """The calendar of all files and their dtype; nothing is written before they are known.

    Raises
    ------
    ValueError
        If an asset stands in two files, or a part that is there was made with something else.
    """
    names, todo = [str(part.source) for part in parts], "write each asset's rows into one file"
    calendar = calendar_of([look.keys for look in looks], names, todo)
    kind = np.result_type(*(look.dtype for look in looks)) if dtype is None else np.dtype(dtype)
    shared_by_all = {**said, "dtype=": str(kind), "the calendar": calendar.said}
    settings = [json.loads(json.dumps({**shared_by_all, "the source": look.stamps})) for look in looks]
    for part, wanted in zip(parts, settings, strict=True):
        had = recorded(part)
        odd = None if had is None else next((key for key in wanted if had["settings"].get(key) != wanted[key]), None)
        if odd is not None:
            raise ValueError(f"resume=True, but {odd} has changed since {part.out} was written: choose another folder")
    return Plan(parts, calendar, str(kind), settings)


def recorded(part: Part) -> dict[str, Any] | None:
    """The record of a part that is there; None where there is none, or it is not whole."""
    if not (part.out.exists() and part.record.exists()):
        return None
    found: dict[str, Any] = json.loads(part.record.read_text(encoding="utf-8"))
    return found
