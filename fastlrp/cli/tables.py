"""Panels in files: a table is read for a network, whatever wrote it, or refused with advice."""

from __future__ import annotations

import argparse
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from fastlrp.cli.console import say
from fastlrp.cli.files import STDIN, check_kind, kind_of
from fastlrp.files.columns import Keys, check_column, find_keys, whole_numbers
from fastlrp.files.text import find_text, is_workbook
from fastlrp.messages import count
from fastlrp.model.ensemble import AnyNetwork

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 1000  # rows examined to find the columns of time and asset
_DATES = "write times as 2015-01-31, 2015-01 or 31/01/2015, years with four digits, or name another column with --time"
_LIKE_NUMBER = re.compile(r"[-+]?(\d{1,3}([,.' \xa0]\d{3})+([.,]\d+)?|\d+,\d+|\d+([.,]\d+)? ?%)")


class Table(NamedTuple):
    """A file's rows and columns, the columns that name a row, and the place of each row in the file."""

    frame: pd.DataFrame
    keys: Keys
    place: Callable[[int], str]


def read_panel(
    arguments: argparse.Namespace, net: AnyNetwork, beside: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.MultiIndex]:
    """The panel, its feature columns in the network's order, and the names of its rows as the file writes them.

    ``beside`` names other columns of numbers, which then follow the features.

    Raises
    ------
    ValueError
        If the file cannot be read as a table, or its panel does not fit the network and the arguments.
    """
    path = arguments.panel
    if path != STDIN and (path.is_dir() or not path.exists()):
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {problem}, expected a csv or parquet file")
    try:
        table = _read(arguments)
    except UnicodeError as error:
        encoding = getattr(error, "encoding", "utf-8").upper()
        raise ValueError(f"{path} cannot be read as text in {encoding} ({error}): save it as csv in UTF-8") from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for note in table.keys.notes:
        say(f"note: {note}")
    frame, place = _index(table, arguments)
    written = cast("pd.MultiIndex", frame.index)
    if table.frame.empty:
        raise ValueError(f"{path} has no rows, only a header")
    _make_numbers(frame, place, _wanted(arguments, net), path)
    _make_numbers(frame, place, beside, path)
    frame = frame[[*_features(frame, arguments, net), *beside]]
    frame.index = _timed(written, table.keys, place, arguments)
    return frame, written


def counted_times(panel: pd.DataFrame) -> str:
    """A hint for when no window is found: the times are plain numbers, as dates in spreadsheets and SAS are."""
    from fastlrp.panels.periods import is_dates

    times = panel.index.levels[0]  # type: ignore[attr-defined]
    return "" if is_dates(times) else f"; its times are plain numbers such as {times[0]}: {_DATES}"


def source_of(path: Any) -> Callable[[], BinaryIO]:
    """A function that opens the file's bytes; those of a pipe are kept, since it can be read only once."""
    if path != STDIN and path.is_file():
        return lambda: path.open("rb")
    data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
    return lambda: io.BytesIO(data)


def _read(arguments: argparse.Namespace) -> Table:
    """Read the file by its bytes; its name has already been checked."""
    path = arguments.panel
    source = source_of(path)
    with source() as file:
        start = file.read(4)
    kind = "parquet" if start == b"PAR1" or kind_of(path) == "parquet" else None
    kind = "xlsx" if kind is None and is_workbook(source) else kind
    if kind is None:
        if kind_of(path) == "xlsx":
            raise ValueError(f"{path} cannot be read: it is no Excel workbook (.xlsx), whatever its name")
        text = find_text(path, source)
        keys = find_keys(text.sample(), arguments)
        return Table(text.read([*keys.time, keys.asset]), keys, text.place)
    check_kind(kind, path, "the panel is read from", "to be read")
    frame = (_read_parquet if kind == "parquet" else _read_workbook)(path, source)
    place = "row {}".format if kind == "parquet" else "row {} of the sheet".format
    first = 1 if kind == "parquet" else 2  # a sheet's first row is its header
    return Table(frame, find_keys(frame.head(_SAMPLE), arguments), lambda row: place(row + first))


def _read_parquet(path: object, source: Callable[[], BinaryIO]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow

    try:
        with source() as file:
            frame = pd.read_parquet(file, engine="pyarrow")
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}") from None
    if frame.index.nlevels > 1 or frame.index.name is not None:
        frame = frame.reset_index()
    frame.columns = frame.columns.map(str)
    _check_names(list(frame.columns), path)
    return frame


def _read_workbook(path: object, source: Callable[[], BinaryIO]) -> pd.DataFrame:
    import pandas as pd

    with source() as file:
        sheets = pd.read_excel(
            file, sheet_name=None, engine="openpyxl", header=None, dtype=object, keep_default_na=False, na_values=[""]
        )
    filled = {name: sheet for name, sheet in sheets.items() if not sheet.empty}
    if len(filled) != 1:
        names = f": {', '.join(map(repr, filled))}" if filled else ""
        raise ValueError(f"{path} has {len(filled)} sheets that hold something{names}; expected one: save it as csv")
    (sheet,) = filled.values()
    head = [f"Unnamed: {j}" if pd.isna(name) or name == "" else str(name) for j, name in enumerate(sheet.iloc[0])]
    _check_names(head, path)
    frame = sheet.iloc[1:].set_axis(head, axis=1).reset_index(drop=True)
    return frame.replace("", None).infer_objects()


def _check_names(names: Sequence[str], path: object) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{path}: two columns are called {twice!r}")


# ----------------------------------------------------------------------------------------------- names of the rows


def _index(table: Table, arguments: argparse.Namespace) -> tuple[pd.DataFrame, Callable[[int], str]]:
    """The rows that hold something, named as the file writes them, and the place of each in it.

    Columns with neither a name nor values are left out.
    """
    import pandas as pd

    path, keys = arguments.panel, table.keys
    frame = table.frame.drop(columns=list(keys.aside))
    empty = [name for name in frame if str(name).startswith("Unnamed: ") and frame[name].isna().all()]
    frame = frame.drop(columns=empty)
    for name in keys.aside:
        if table.frame[name].dropna().duplicated().any():
            raise ValueError(
                f"{path}: the first column has no name, and what it is is not clear: name it in the header"
            )
    absent = frame[list(keys.written)].isna()
    if absent.to_numpy().any():
        blank = frame.isna().all(axis=1)  # spreadsheets leave such rows below a table
        for name in keys.written:
            missing = (absent[name] & ~blank).to_numpy().nonzero()[0]
            if len(missing):
                what = "asset" if name == keys.asset else "time"
                raise ValueError(f"{path} has no {what} in {table.place(int(missing[0]))}, column {name!r}")
        frame = frame[~blank]
    found = [pd.factorize(frame[name]) for name in keys.written]
    levels: Any = [whole_numbers(pd.Index(labels)) for _, labels in found]
    codes: Any = [codes for codes, _ in found]
    frame = frame.drop(columns=list(keys.written))
    rows = frame.index.to_numpy()
    frame.index = pd.MultiIndex(levels, codes, names=list(keys.written))
    return frame, lambda row: table.place(int(rows[row]))


def _timed(
    index: pd.MultiIndex, keys: Keys, place: Callable[[int], str], arguments: argparse.Namespace
) -> pd.MultiIndex:
    """The same rows indexed by levels named time and asset, so that the panel need not guess which is which."""
    import pandas as pd

    from fastlrp.panels.periods import AmbiguousDates, is_times, written_dates

    path = arguments.panel
    codes = dict(zip(index.names, index.codes, strict=True))
    levels = dict(zip(index.names, index.levels, strict=True))
    if len(keys.time) > 1:
        rows, times = _combined([levels[name].take(codes[name]) for name in keys.time], keys.time, path)
    else:
        (name,) = keys.time
        rows, times = codes[name], levels[name]
    texts = [str(text).strip() for text in times]
    what = f"{path}: the time column {' and '.join(map(repr, keys.time))}"
    try:
        if arguments.dates is not None:
            dates = written_dates(texts, day_first=arguments.dates == "day-first")
            if dates is None:
                raise ValueError(f"{what} is not written {arguments.dates} with numbers and four digits for the year: "
                                 f"it holds {texts[0]!r}")  # fmt: skip
            times = pd.DatetimeIndex(dates.astype("datetime64[s]"))
        elif not is_times(times):
            raise ValueError(f"{what} {_odd_time(times, rows, place)}; {_DATES}")
    except AmbiguousDates as error:
        which = str(error).split(":")[0]
        raise ValueError(f"{what}: {which}: say --dates day-first or --dates month-first") from None
    both: Any = [times, levels[keys.asset]]
    return pd.MultiIndex(both, cast(Any, [rows, codes[keys.asset]]), names=["time", "asset"])


def _combined(parts: Sequence[pd.Index], names: Sequence[str], path: object) -> tuple[Any, pd.Index]:
    """Codes and labels of times spread over several columns: year, then month or quarter, perhaps day."""
    import pandas as pd

    numbers = pd.DataFrame({k: pd.to_numeric(pd.Series(part), errors="coerce") for k, part in enumerate(parts)})
    if numbers.isna().to_numpy().any() or (numbers % 1 != 0).to_numpy().any():
        raise ValueError(f"{path}: the columns {' and '.join(map(repr, names))} must hold whole numbers to make a time")
    mark = "q" if re.search("q", names[1], re.IGNORECASE) else "-"
    rows, labels = pd.factorize(pd.MultiIndex.from_frame(numbers.astype("int64")))
    texts = [
        f"{label[0]:04d}{mark}{label[1]:0{1 if mark == 'q' else 2}d}" + "".join(f"-{d:02d}" for d in label[2:])
        for label in labels
    ]
    return rows, pd.Index(texts)


def _odd_time(times: pd.Index, rows: Any, place: Callable[[int], str]) -> str:
    """Says what is wrong with a column that cannot be read as times."""
    from fastlrp.panels.periods import is_dates

    odd = next((k for k in range(len(times)) if not is_dates(times[k : k + 1])), None)
    if odd is None or odd == 0:
        return f"is not understood: it holds {str(times[0])!r}" + ("" if odd == 0 else ", and times written otherwise")
    row = int((rows == odd).nonzero()[0][0])
    return f"holds {str(times[odd])!r} in {place(row)}, which is not understood as a time as {str(times[0])!r} is"


# ----------------------------------------------------------------------------------------------- columns of numbers


def _wanted(arguments: argparse.Namespace, net: AnyNetwork) -> list[str] | None:
    """The columns that must hold numbers, if they are named."""
    if arguments.features is not None:
        return list(arguments.features.split(","))
    return None if net.columns is None else list(net.columns)


def _make_numbers(frame: pd.DataFrame, place: Callable[[int], str], wanted: Sequence[str] | None, path: object) -> None:
    """Turn columns of mixed cells into numbers; the first cell that is no number is reported with its place.

    A column that nobody named counts as numeric if half of its cells are numbers.
    """
    import pandas as pd

    for name in frame.columns if wanted is None else [name for name in wanted if name in frame.columns]:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
            continue
        numbers = pd.to_numeric(column, errors="coerce")
        bad = (numbers.isna() & column.notna()).to_numpy().nonzero()[0]
        if len(bad) and wanted is None:
            odd = sum(not _LIKE_NUMBER.fullmatch(str(cell)) for cell in column.iloc[bad])
            if 2 * odd > column.notna().sum():
                continue
        if len(bad):
            cell = str(column.iloc[bad[0]])
            raise ValueError(
                f"{path} holds {cell!r} in {place(int(bad[0]))}, column {name!r}, where a number is due: "
                f"{_todo(cell, name, wanted)}"
            )
        frame[name] = numbers


def _todo(cell: str, name: str, wanted: Sequence[str] | None) -> str:
    if _LIKE_NUMBER.fullmatch(cell):
        return "write numbers as 1234.5, without separators of thousands and signs such as %"
    drop = "" if wanted is not None else f", or leave the column out with --drop {name!r}"
    return f"correct it, or leave the cell empty where the value is missing{drop}"


def _features(frame: pd.DataFrame, arguments: argparse.Namespace, net: AnyNetwork) -> list[str]:
    """Columns for the network's inputs, in its order: those given, those the network names, or all numeric ones."""
    import pandas as pd

    if arguments.features is not None:
        columns = list(frame.columns)
        asked = [name if name in columns else name.strip() for name in arguments.features.split(",")]
        both = next((name for name in asked if name in arguments.drop), None)
        if both is not None:
            raise ValueError(f"--features and --drop both name {both!r}, expected it in one of them")
        for name in asked:
            check_column(name, columns, arguments.panel)
        if len(asked) != net.n_columns:
            raise ValueError(f"--features names {count(len(asked), 'column')}, but the network takes {net.n_columns:,}")
        return list(net.columns) if net.columns and set(asked) == set(net.columns) else asked
    left = [name for name in frame.columns if name not in arguments.drop]
    if net.columns is not None:
        _refuse_missing(net.columns, left, arguments)
        return list(net.columns)
    usable = [name for name in left if pd.api.types.is_numeric_dtype(frame[name])]
    other = [name for name in left if name not in usable]
    if len(usable) != net.n_columns:
        odd = f", and {len(other)} that are not: {', '.join(map(repr, other[:5]))}" if other else ""
        raise ValueError(
            f"{arguments.panel} has {count(len(usable), 'column')} of numbers besides time and asset{odd}; the network "
            f"takes {count(net.n_columns, 'feature')}: leave columns out with --drop, or name its own in order with "
            "--features"
        )
    say(
        "note: the model does not name its inputs; they are taken to be, in this order (--features says otherwise): "
        + ", ".join(usable)
    )
    return usable


def _refuse_missing(features: Sequence[str], left: Sequence[str], arguments: argparse.Namespace) -> None:
    """Refuse a file that lacks columns that the network names as its inputs."""
    from fastlrp.messages import suggest

    dropped = [name for name in features if name in arguments.drop]
    if dropped:
        raise ValueError(f"--drop leaves out {', '.join(map(repr, dropped))}, which the network takes as an input")
    missing = [name for name in features if name not in left]
    if missing:
        spare = [name for name in left if name not in features]
        raise ValueError(
            f"{arguments.panel} lacks {len(missing)} of the network's {count(len(features), 'feature')}: "
            f"{suggest(missing, spare)}; where it calls them otherwise, name its columns in the network's order with "
            "--features"
        )
