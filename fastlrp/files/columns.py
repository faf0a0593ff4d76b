"""Finds the columns of a file that hold time and asset, and a column that only numbers the rows."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

_MONTHS = {"month", "mon", "mth", "mm"}
_QUARTERS, _DAYS = {"quarter", "qtr"}, {"day", "dd"}


class Keys(NamedTuple):
    """The columns that name a row: its time (several for year and month), its asset, and all of them as written out.

    ``aside`` holds columns without a name that number the rows.
    """

    time: tuple[str, ...]
    asset: str
    written: tuple[str, ...]
    aside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_keys(sample: pd.DataFrame, arguments: argparse.Namespace) -> Keys:
    """The columns for time and asset: those asked for; else the first two, where they fit; else by name.

    Raises
    ------
    ValueError
        If the choice would be a guess.
    """
    columns, path = list(sample.columns), arguments.panel
    asked_times = _asked_times(arguments.time, columns)
    asked = [*asked_times, *([arguments.asset] if arguments.asset is not None else [])]
    for name in [*asked, *arguments.drop]:
        check_column(name, columns, path)
    aside = tuple(name for name in _row_numbers(sample) if name not in asked and name not in arguments.drop)
    free = [name for name in columns if name not in (*asked, *arguments.drop, *aside)]
    if len(columns) < 3 or len(free) + len(asked) < 3:
        raise ValueError(
            f"{path} has {len(columns)} column{'s' * (len(columns) != 1)}, expected a time, an asset and at "
            "least one feature, separated by commas, semicolons or tabs"
        )
    if arguments.asset in asked_times:
        raise ValueError(f"--time and --asset both name the column {arguments.asset!r}, expected two columns")
    near = free[: 2 - len(asked_times[:1]) - (arguments.asset is not None)]
    time = asked_times or _find_time(sample, free, near, path, arguments.asset)
    left = [name for name in near if name not in time]
    if arguments.asset is not None:
        asset = arguments.asset
    else:
        asset = _find_asset(sample, [name for name in free if name not in time], left[:1], time, path)
    plain = not asked and {*time, asset} == set(near)
    notes = []
    if aside:
        notes.append("the first column has no name and numbers the rows: it is left out")
    if not plain and not (asked_times and arguments.asset is not None):
        notes.append(f"the time is read from {' and '.join(map(repr, time))}, the asset from {asset!r}")
    return Keys(time, asset, tuple(near) if plain else (*time, asset), aside, tuple(notes))


def check_column(name: str, columns: Sequence[str], path: object) -> None:
    """Refuse a name that no column has, and suggest the one that may be meant."""
    from fastlrp.messages import suggest

    if name not in columns:
        raise ValueError(f"{path} has no column {suggest([name], list(columns))}")


def distinct(column: pd.Series) -> pd.Index:
    """A column's distinct values, as whole numbers where all texts are whole numbers."""
    import pandas as pd

    return whole_numbers(pd.Index(column.dropna().unique()))


def whole_numbers(labels: pd.Index) -> pd.Index:
    """Labels as whole numbers where all are written so: 199001 and 1, but not 001."""
    if len(labels) == 0 or not all(isinstance(text, str) for text in labels):
        return labels
    plain = all(text.isdecimal() and text.isascii() and str(int(text)) == text for text in labels)
    return labels.astype("int64") if plain and max(map(len, labels)) < 19 else labels


def _asked_times(given: str | None, columns: Sequence[str]) -> tuple[str, ...]:
    """The column that was asked for, or the columns of year and month, which a comma separates."""
    if given is None:
        return ()
    return (given,) if given in columns else tuple(given.split(","))


def _row_numbers(sample: pd.DataFrame) -> list[str]:
    """The first column, if it has no name (the second has one) and holds a different whole number in every row."""
    columns = list(sample.columns)
    if len(columns) < 4 or not columns[0].startswith("Unnamed: ") or columns[1].startswith("Unnamed: "):
        return []
    values = distinct(sample[columns[0]])
    return [columns[0]] if len(values) == len(sample) and values.dtype.kind in "iu" else []


def _simple(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def _find_time(
    sample: pd.DataFrame, free: Sequence[str], near: Sequence[str], path: object, asset: str | None
) -> tuple[str, ...]:
    from fastlrp.panels.periods import is_dates, is_time_name

    values = {
        name: distinct(sample[name]) for name in free if is_time_name(name) or _texts(sample[name]) or name in near
    }
    dated = [
        name for name, value in values.items()
        if is_dates(value) and (name in near or is_time_name(name) or value.dtype.kind not in "iuf")
    ]  # fmt: skip
    named = [name for name in dated if is_time_name(name)]
    # A name and dates say more than a position: PERMNO and ticker may come first.
    for some in ([name for name in named if name in near], [name for name in dated if name in near], named, dated):
        whole = [name for name in some if not _years_only(values[name])]
        if len(whole or some) == 1:
            time = (whole or some)[0]
            return (time, *_parts(values, free)) if not whole else (time,)
        if some:
            break
    else:
        counted = [name for name in near if is_time_name(name)]
        if len(counted) == 1 or (asset is not None and near):
            return tuple(counted or near)[:1]
        some = list(near)
    raise ValueError(f"{path}: whether {' or '.join(map(repr, some))} is the time is not clear: say --time")


def _texts(column: pd.Series) -> bool:
    import pandas as pd

    return not pd.api.types.is_numeric_dtype(column) and distinct(column).dtype.kind not in "iuf"


def _years_only(values: pd.Index) -> bool:
    return all(re.fullmatch(r"\d{4}", str(value)) for value in values)


def _parts(values: dict[str, pd.Index], free: Sequence[str]) -> tuple[str, ...]:
    """The columns that complete a column of years: month or quarter, and day."""
    found: list[str] = []
    for names, most in ((_MONTHS, 12), (_QUARTERS, 4), (_DAYS, 31)):
        one = [name for name in free if _simple(name) in names and _counts(values.get(name), most)]
        if found and names is _QUARTERS:
            continue
        if not found and names is _DAYS:
            break
        found += one[:1]
    return tuple(found)


def _counts(values: pd.Index | None, most: int) -> bool:
    try:
        return values is not None and len(values) > 0 and all(1 <= int(value) <= most for value in values)
    except (TypeError, ValueError):
        return False


def _find_asset(
    sample: pd.DataFrame, free: Sequence[str], near: Sequence[str], time: tuple[str, ...], path: object
) -> str:
    """The other of the first two columns; where that does not fit, the one column with an asset's name."""
    from fastlrp.panels.flat import is_asset_name

    if near and _may_be_asset(sample, near[0], time):
        return near[0]
    named = [name for name in free if is_asset_name(name) and name not in near]
    able = [name for name in named if _may_be_asset(sample, name, time)]
    if len(able) == 1:
        return able[0]
    if near and not named and not _fractions(sample[near[0]]):
        return near[0]  # some row occurs twice, which is reported later
    which = f", {' or '.join(map(repr, able))}," if able else ""
    raise ValueError(
        f"{path}: the time is {' and '.join(map(repr, time))}, but which column{which} is the asset is not clear: "
        "say --asset"
    )


def _may_be_asset(sample: pd.DataFrame, name: str, time: tuple[str, ...]) -> bool:
    return not _fractions(sample[name]) and not sample.duplicated([*time, name]).any()


def _fractions(column: pd.Series) -> bool:
    """Whether these are numbers, not all of them whole; such a column is a feature."""
    import pandas as pd

    numbers = pd.to_numeric(column.dropna(), errors="coerce").dropna()
    return bool(len(numbers) > 0.5 * column.notna().sum() and (numbers % 1 != 0).any())
