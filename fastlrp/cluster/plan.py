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
from fastlrp.files.keys import Keys, NoRows
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
    """What all files say together, and what each part is made with; None of a file without rows, which makes none."""

    parts: list[Part]
    calendar: Calendar
    dtype: str
    settings: list[dict[str, Any] | None]


def looked(path: Path, index: Index, features: list[str]) -> Look | None:
    """Read a file's times and assets, a block at a time; None where there are none, as engines write of empty parts."""
    with ExitStack() as stack:
        tables = stack.enter_context(closing(open_source(path)))
        tables.check([*index, *features])
        tables.declare(index, features)
        stamps, kind = tables.stamps(), compute_dtype(tables, features, None)
        try:
            keys = stack.enter_context(closing(Keys(tables, index.time, index.asset, Path(tempfile.gettempdir()))))
        except NoRows:
            return None
        levels: Any = [pd.Index(level.values.to_pandas()) for level in (keys.time, keys.asset)]
        codes: Any = keys[0 : len(keys)]
        names: Any = list(index)
        return Look(part_keys(pd.MultiIndex(levels, codes, names=names, verify_integrity=False)), kind, stamps)


def planned(parts: list[Part], looks: list[Look | None], said: dict[str, Any], dtype: Any) -> Plan:
    """The calendar of all files and their dtype; nothing is written before they are known.

    Raises
    ------
    ValueError
        If an asset stands in two files, or a part that is there was made with something else.
    """
    seen = [look for look in looks if look is not None]
    names = [str(part.source) for part, look in zip(parts, looks, strict=True) if look is not None]
    calendar = calendar_of([look.keys for look in seen], names, "write each asset's rows into one file")
    kind = np.result_type(*(look.dtype for look in seen)) if dtype is None else np.dtype(dtype)
    shared_by_all = {**said, "dtype=": str(kind), "the calendar": calendar.said}
    settings = [
        None if look is None else json.loads(json.dumps({**shared_by_all, "the source": look.stamps})) for look in looks
    ]
    for part, wanted in zip(parts, settings, strict=True):
        if wanted is None:
            continue
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
