"""A panel in files as a frame in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from fastlrp.files.arrow import pyarrow
from fastlrp.files.chosen import find_features, find_index, list_of
from fastlrp.files.columns import whole_numbers
from fastlrp.files.kinds import open_source
from fastlrp.files.sources import readable
from fastlrp.messages import suggest
from fastlrp.model.ensemble import AnyNetwork


def read_frame(
    path: Path,
    net: AnyNetwork,
    columns: Sequence[str] | None,
    index: tuple[str | None, str | None] | None,
    beside: Sequence[str] = (),
) -> pd.DataFrame:
    """The features that a network takes, and ``beside`` them other columns of numbers, indexed by time and asset.

    Raises
    ------
    ValueError
        If the files cannot be read, or lack what is asked for.
    """
    columns = list_of(columns)
    with closing(open_source(path, None)) as source:
        unknown = [name for name in beside if name not in source.schema.names]
        if unknown:
            raise ValueError(f"{path} has no column {suggest(unknown, source.schema.names)}")
        keys = find_index(source, path, index, [*(columns or net.columns or ()), *beside])
        chosen = columns
        if columns is None and net.columns is None and beside:
            kinds = {field.name: field.type for field in source.schema if field.name not in (*keys, *beside)}
            number = (pyarrow.types.is_floating, pyarrow.types.is_integer)
            chosen = [name for name, kind in kinds.items() if any(test(kind) for test in number)]
        features = find_features(source, path, net, chosen, keys)  # type: ignore[arg-type]  # an Ensemble will do
        source.declare(keys, [*features, *beside])
        source.check([*keys, *features, *beside])
        wanted: list[str] = list(dict.fromkeys([*features, *beside]))
        parts: list[Any] = []
        for one in source.paths:
            with readable(one):
                for piece in source.pieces(one):
                    parts += source.read(piece, [*keys, *wanted])
    if not parts:
        raise ValueError(f"{path} has no rows to explain")
    frame: pd.DataFrame = pyarrow.Table.from_batches(parts).to_pandas(ignore_metadata=True)
    levels = [whole_numbers(pd.Index(frame.pop(name))) for name in keys]
    frame.index = pd.MultiIndex.from_arrays(levels, names=list(keys))
    return frame[wanted]
