"""A panel in files, read once for training: its rows sorted on disk, its targets and what orders its rows in memory."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.files.blocks import Stream
from fastlrp.files.chosen import Index, compute_dtype, find_index, is_number, list_of
from fastlrp.files.door import KEPT, n_bytes
from fastlrp.files.keys import Keys
from fastlrp.files.kinds import located, open_source
from fastlrp.files.layout import Layout, find_layout
from fastlrp.files.sources import Source
from fastlrp.kernels.memory import keeping
from fastlrp.learning.inputs import Targets
from fastlrp.learning.rows import Rows
from fastlrp.messages import suggest
from fastlrp.panels.infinities import locate_infinite
from fastlrp.panels.order import complete_ends, sorted_order, window_ends
from fastlrp.panels.panel import Panel
from fastlrp.panels.samples import Samples
from fastlrp.panels.windows import Windows

Array = npt.NDArray[Any]
_FEWEST_ROWS = 1 << 10


@dataclass(frozen=True)
class Asked:
    """What of a file is to be read, and how; the arguments of ``fit_file``."""

    source: str | os.PathLike[str]
    target: str | Sequence[str]
    sample_weight: str | None
    columns: Sequence[str] | None
    index: tuple[str | None, str | None] | None
    where: Any
    memory: int | str
    scratch: str | os.PathLike[str] | None

    @cached_property
    def targets(self) -> list[str]:
        """Names of the columns of targets."""
        names = [self.target] if isinstance(self.target, str) else self.target
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"target= takes the name of a column, or a list of them, not {self.target!r}")
        return list(names)

    @property
    def besides(self) -> list[str]:
        """The columns of targets, and of weights."""
        if not isinstance(self.sample_weight, str | None):
            raise ValueError(f"sample_weight= takes the name of a column or None, not {self.sample_weight!r}")
        return self.targets + ([] if self.sample_weight is None else [self.sample_weight])


@dataclass(frozen=True, eq=False)
class FilePanel:
    """A panel as :class:`fastlrp.panels.panel.Unread` has it, sorted: rows are read from disk, part by part.

    Attributes
    ----------
    ends, complete : bool array (row,)
        Whether a row ends a full window, and whether one without a missing value.
    period : int32 array (row,)
        The rank of its time.
    times : Index
        The distinct times.
    """

    rows: Rows
    features: tuple[str, ...]
    steps: int
    targets: Targets
    index: pd.MultiIndex
    ends: Array
    complete: Array
    period: Array
    times: pd.Index
    order: None = None
    lengths: None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of its rows."""
        return self.rows.dtype

    def read(self, rows: Array) -> Array:
        """A copy of some rows, by ascending numbers."""
        return self.rows.take(rows)

    def samples(self) -> Samples:
        """The complete windows; of rows in memory, if all of them fit into what may be read at a time."""
        last = np.flatnonzero(self.complete)
        values: Any = self.rows
        if self.rows.nbytes <= self.rows.at_once:
            values = self.rows.read(np.zeros(1, np.int64), np.full(1, len(self.rows)))
        return Samples(
            values, last - (self.steps - 1), last, len(self.rows), self.steps, self.period[last], self.features
        )


@contextmanager
def file_panel(
    asked: Asked, steps: int, features: Sequence[str] | None, dtype: npt.DTypeLike | None, *, readers: int = 1
) -> Iterator[FilePanel]:
    """The panel of some files, as long as the context lasts.

    ``features`` are those that a model knows; ``dtype`` None: that of the files' features, as in memory. ``readers``
    share ``memory``.

    Raises
    ------
    ValueError
        If an argument or a file is not what is expected, or the disk is full; the message says which.
    """
    (path, inside), folder = (
        located(asked.source, "fit_file"),
        Path(tempfile.gettempdir() if asked.scratch is None else asked.scratch),
    )
    memory = n_bytes(asked.memory)
    if not folder.is_dir():
        raise ValueError(f"scratch= names {folder}, expected a folder for the panel's rows")
    asked = replace(asked, columns=list_of(asked.columns))
    with ExitStack() as stack:
        source = stack.enter_context(closing(open_source(path, asked.where, inside)))
        keys_at = find_index(source, path, asked.index, asked.columns or features or ())
        named = Counter([*keys_at, *asked.besides])
        if twice := [name for name, n in named.items() if n > 1]:
            raise ValueError(f"index=, target= and sample_weight= name {twice[0]!r} twice, expected a column each")
        names = _features(source, path, asked, keys_at, features)
        source.declare(keys_at, [*names, *asked.besides])
        source.check([*keys_at, *names, *asked.besides])
        kind, stamps = compute_dtype(source, names, dtype), source.stamps()
        at = np.dtype(kind).itemsize * len(names)
        if memory < (least := 4 * _FEWEST_ROWS * (8 * (len(names) + len(asked.besides)) + at)):
            raise ValueError(
                f"memory= is {memory / 1e6:,.0f} MB, expected at least {-(-least // 10**6):,} MB for {path}"
            )
        stack.enter_context(keeping(memory // KEPT))
        try:
            keys = stack.enter_context(closing(Keys(source, keys_at.time, keys_at.asset, folder)))
            layout, n = find_layout(keys, str(path)), len(keys)
            rows = stack.enter_context(closing(Rows(n, len(names), kind, folder, memory // readers)))
            panel = _read(source, keys, layout, asked, names, rows, steps, memory)
        except OSError as error:
            raise ValueError(
                f"{path} cannot be stored as rows in {folder}: {error.strerror or error} (scratch= names another)"
            ) from error
        if source.stamps() != stamps:
            raise ValueError(f"{path} has changed while it was read")
        yield panel


def _features(
    source: Source, path: Path, asked: Asked, index: Index, known: Sequence[str] | None
) -> list[str]:  # fmt: skip
    """The columns of features: those given, else those that the model knows, else all other numbers."""
    have = [name for name in source.schema.names if name not in (*index, *asked.besides)]
    chosen = asked.columns if asked.columns is not None else known
    names = [name for name in have if is_number(source, name)] if chosen is None else list(chosen)
    missing = [name for name in (*names, *asked.besides) if name not in source.schema.names]
    if missing:
        raise ValueError(f"{path} has no column {suggest(missing, have)}")
    both = [name for name in names if name not in have]
    if both or len(set(names)) != len(names):
        odd = both[0] if both else next(name for k, name in enumerate(names) if name in names[:k])
        raise ValueError(f"columns= names {odd!r}, which is no feature by itself: it stands there twice, or is the "
                         "time, the asset, a target or the weight")  # fmt: skip
    odd_kind = [name for name in (*names, *asked.besides) if not is_number(source, name)]
    if odd_kind and source.says_types:
        raise ValueError(f"{path} has columns that do not hold real numbers: {', '.join(odd_kind[:8])}")
    if not names:
        raise ValueError(f"{path} has no column of numbers besides time, asset and target, expected one a feature")
    return names


def _read(
    source: Source, keys: Keys, layout: Layout, asked: Asked, names: list[str], rows: Rows, steps: int, memory: int
) -> FilePanel:
    """Read all rows once, and put them where they belong."""
    n, D, K = len(rows), len(names), len(asked.targets)
    time, asset = keys[0:n]
    period, asset = layout.rank[time], pd.Categorical(layout.assets).codes.astype(np.int32)[asset]
    order = sorted_order(asset, period, len(layout.assets), len(layout.position))
    place: Any = np.empty(n, np.int64 if n > np.iinfo(np.int32).max else np.int32)
    place[slice(None) if order is None else order] = np.arange(n)
    index = _index(keys, layout, order)
    if order is not None:
        period, asset = period[order], asset[order]
        del order
    ends = window_ends(asset, layout.position[period], layout.step, steps)
    usable, besides = np.empty(n, bool), np.empty((n, len(asked.besides)))
    stream, size = Stream(source, keys, [*names, *asked.besides], 0), _size(memory, D + besides.shape[1], rows.dtype)
    for start in range(0, n, size):
        to = place[start : start + size]
        block = np.empty((len(to), D + besides.shape[1]))
        stream.fill(block, len(to), None)
        with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused
            values = block[:, :D].astype(rows.dtype)
        if np.isinf(values).any():
            locate_infinite(Panel(Windows(values), index.take(to), tuple(names), steps))
        usable[to], besides[to] = np.isfinite(values).all(axis=1), block[:, D:]
        sort = np.argsort(to, kind="stable")
        rows.write(to[sort], values[sort])
    y: Any = besides[:, 0] if isinstance(asked.target, str) else pd.DataFrame(besides[:, :K], columns=asked.targets)
    targets = Targets.read(y, None if asked.sample_weight is None else besides[:, K], n, missing=True)
    times = layout.times[np.unique(layout.rank, return_index=True)[1]]
    return FilePanel(
        rows, tuple(names), steps, targets, index, ends, complete_ends(ends, usable, steps), period, times
    )  # fmt: skip


def _size(memory: int, width: int, dtype: np.dtype[Any]) -> int:
    """Rows to read at a time: the block, its features in their dtype, and those sorted, in half of memory."""
    return max(_FEWEST_ROWS, memory // (2 * width * (8 + 2 * dtype.itemsize)))


def _index(keys: Keys, layout: Layout, order: Array | None) -> pd.MultiIndex:
    """Names of the sorted rows, as a frame would have them."""
    codes = keys[0 : len(keys)]
    levels = {keys.time.name: (layout.times, codes[0]), keys.asset.name: (layout.assets, codes[1])}
    both: Any = [levels[name] for name in keys.written]
    sorted_codes = [code if order is None else code[order] for _, code in both]
    return pd.MultiIndex([level for level, _ in both], sorted_codes, names=keys.written, verify_integrity=False)
