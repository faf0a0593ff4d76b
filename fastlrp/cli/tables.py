"""Tables in files, csv and parquet: a panel is read for a network, and relevance is written, some rows at a time."""

from __future__ import annotations

import argparse
import gzip
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastlrp.cli.console import say
from fastlrp.cli.files import kind_of, whole
from fastlrp.messages import count
from fastlrp.network import Network
from fastlrp.progress import progress_bar

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance import Relevance

_MISSING = ["", "NA", "N/A", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "."]  # of features, never of names
_BLOCK = 50_000  # rows turned into a frame and written at once: memory stays bounded, and Ctrl-C is heard


# ----------------------------------------------------------------------------------------------------------- reading


def read_panel(arguments: argparse.Namespace, net: Network) -> tuple[pd.DataFrame, tuple[str, str]]:
    """The panel with its two index levels and the features' columns in the network's order; the index's own names.

    Raises
    ------
    ValueError
        If the file cannot be read as a table, or is no panel that fits the network and the arguments.
    """
    from fastlrp.periods import time_level

    path = arguments.panel
    if path.is_dir() or not path.exists():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {problem}, expected a csv or parquet file")
    try:
        frame, names = (_read_parquet if kind_of(path) == "parquet" else _read_csv)(path, arguments)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if frame.empty:
        raise ValueError(f"{path} has no rows, only a header")
    features = _features(frame, arguments, net)
    frame = frame[features]
    given = [names.index(name) for name in (arguments.time, arguments.asset) if name is not None]
    if given:  # the user has said which is which: under these names the panel need not guess
        time = given[0] if arguments.time is not None else 1 - given[0]
        frame.index = frame.index.set_names(["asset" if k != time else "time" for k in (0, 1)])
    try:
        time_level(frame.index)
    except ValueError:
        raise ValueError(f"{path}: whether {names[0]!r} or {names[1]!r} is the time is not clear: say --time") from None
    return frame, names


def _identify(columns: Sequence[str], arguments: argparse.Namespace) -> tuple[str, str]:
    """The two columns that say which row is whose and when."""
    asked = [name for name in (arguments.time, arguments.asset) if name is not None]
    for name in [*asked, *arguments.drop]:
        _check_column(name, columns, arguments.panel)
    free = (name for name in columns if name not in asked and name not in arguments.drop)
    names = [name if name is not None else next(free, None) for name in (arguments.time, arguments.asset)]
    if names[0] is None or names[1] is None or len(columns) < 3:
        raise ValueError(
            f"{arguments.panel} has {count(len(columns), 'column')}, expected a time, an asset and at "
            "least one feature, separated by commas"
        )
    if names[0] == names[1]:
        raise ValueError(f"--time and --asset both name the column {names[0]!r}, expected two columns")
    return names[0], names[1]


def _check_column(name: str, columns: Sequence[str], path: Path) -> None:
    from fastlrp.panel import suggest

    if name not in columns:
        raise ValueError(f"{path} has no column {suggest([name], list(columns))}")


def _read_csv(path: Path, arguments: argparse.Namespace) -> tuple[pd.DataFrame, tuple[str, str]]:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header lose values
            head = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
            twice = head[head.duplicated() & (head != "")]
            if len(twice):
                raise ValueError(f"two columns are called {twice.iloc[0]!r}")
            columns = [str(name) for name in pd.read_csv(path, nrows=0, index_col=False).columns]
            names = _identify(columns, arguments)
            # A ticker may be called NA, and an identifier may start with 0: names of rows are read as they stand.
            frame = pd.read_csv(
                path, index_col=False, low_memory=False, dtype=dict.fromkeys(names, str), keep_default_na=False,
                na_values={name: [""] if name in names else _MISSING for name in columns},
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path} cannot be read as csv: {str(error).strip()}") from None
    found = [pd.factorize(frame.pop(name)) for name in names]
    levels: Any = [_whole_numbers(pd.Index(labels)) for _, labels in found]
    codes: Any = [codes for codes, _ in found]
    frame.index = pd.MultiIndex(levels, codes, names=list(names))
    return frame, names


def _whole_numbers(labels: pd.Index) -> pd.Index:
    """Labels as whole numbers where all are written as such: 199001 and 1, but not 001."""
    plain = len(labels) > 0 and all(str(text).isdecimal() and str(int(text)) == str(text) for text in labels)
    return labels.astype("int64") if plain and max(map(len, labels)) < 19 else labels


def _read_parquet(path: Path, arguments: argparse.Namespace) -> tuple[pd.DataFrame, tuple[str, str]]:
    import pandas as pd
    import pyarrow

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}") from None
    if frame.index.nlevels > 1 or frame.index.name is not None:
        frame = frame.reset_index()
    frame.columns = frame.columns.map(str)
    names = _identify(list(frame.columns), arguments)
    return frame.set_index(list(names)), names


def _features(frame: pd.DataFrame, arguments: argparse.Namespace, net: Network) -> list[str]:
    """Columns for the network's inputs, in its order: those named, those it names itself, or all of numbers."""
    import pandas as pd

    if arguments.features is not None:
        asked = arguments.features.split(",")
        for name in asked:
            _check_column(name, list(frame.columns), arguments.panel)
        if len(asked) != net.n_features:
            raise ValueError(
                f"--features names {count(len(asked), 'column')}, but the network takes {net.n_features:,}"
            )
        return list(net.features) if net.features and set(asked) == set(net.features) else asked
    left = [name for name in frame.columns if name not in arguments.drop]
    if net.features is not None:
        _refuse_missing(net.features, left, arguments)
        return list(net.features)
    usable = [name for name in left if pd.api.types.is_numeric_dtype(frame[name])]
    other = [name for name in left if name not in usable]
    if len(usable) != net.n_features:
        odd = f", and {len(other)} that are not: {', '.join(map(repr, other[:5]))}" if other else ""
        raise ValueError(
            f"{arguments.panel} has {count(len(usable), 'column')} of numbers besides time and asset{odd}; the network "
            f"takes {count(net.n_features, 'feature')}: leave columns out with --drop, or name its own in order with "
            "--features"
        )
    say(
        "note: the model does not name its inputs; they are taken to be, in this order (--features says otherwise): "
        + ", ".join(usable)
    )
    return usable


def _refuse_missing(features: Sequence[str], left: Sequence[str], arguments: argparse.Namespace) -> None:
    """Refuse a file that lacks columns which the network names as its inputs."""
    from fastlrp.panel import suggest

    dropped = [name for name in features if name in arguments.drop]
    if dropped:
        raise ValueError(f"--drop leaves out {', '.join(map(repr, dropped))}, which the network takes as an input")
    missing = [name for name in features if name not in left]
    if missing:
        spare = [name for name in left if name not in features]
        raise ValueError(
            f"{arguments.panel} lacks {len(missing)} of the network's {len(features)} features: "
            f"{suggest(missing, spare)}; where it calls them otherwise, name its columns in the network's order with "
            "--features"
        )


# ----------------------------------------------------------------------------------------------------------- writing


def write_relevance(relevance: Relevance, out: Path, names: tuple[str, str], *, by_step: bool, bar: bool) -> None:
    """Relevance as a file with the panel's own ``names`` for its index: whole, or not at all.

    Raises
    ------
    ValueError
        If it cannot be written.
    """
    with whole(out) as temporary, progress_bar(bar, len(relevance), "write", "rows") as advance:
        blocks = _frames(relevance, names, by_step, advance)
        if kind_of(out) == "parquet":
            _write_parquet(temporary, blocks)
            return
        opened = gzip.open if kind_of(out) == "csv.gz" else open
        with opened(temporary, "wt", encoding="utf-8", newline="") as file:
            for i, block in enumerate(blocks):
                block.to_csv(file, header=i == 0)


def _frames(
    relevance: Relevance, names: tuple[str, str], by_step: bool, advance: Callable[[int], object]
) -> Iterator[pd.DataFrame]:
    """What is written, some rows at a time."""
    import pandas as pd

    for start in range(0, len(relevance), _BLOCK):
        part = relevance[start : start + _BLOCK]
        frame = part.to_frame()
        if by_step:
            steps = part.to_frame(steps=True)
            steps.columns = [f"{feature}_lag{step}" for step in part.lags for feature in part.features]
            frame = pd.concat([steps, frame.iloc[:, len(part.features) :]], axis=1)
        frame.index = frame.index.set_names(list(names))
        yield frame
        advance(len(frame))


def _write_parquet(path: Path, blocks: Iterator[pd.DataFrame]) -> None:
    import pyarrow
    from pyarrow import parquet

    first = pyarrow.Table.from_pandas(next(blocks))
    with parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for block in blocks:
            writer.write_table(pyarrow.Table.from_pandas(block, schema=first.schema))
