"""What pictures of single rows and of cross-sections are made of: rows of a time, relevance against their mean."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.panels.periods import label, time_level
from fastlrp.plot.canvas import shortened
from fastlrp.plot.shown import Groups, panel_times
from fastlrp.relevance import tables
from fastlrp.relevance.given import last_values
from fastlrp.relevance.parts import by_feature, of_times
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]
Base = Literal["mean", "zero"]
UP, DOWN = "#b2182b", "#2166ac"  # as in heat maps: red raises the score, blue lowers it
#: The part of a score that no feature has: what reached the initial state, and what biases and the rule keep.
REST = "initial state, biases, rule"


def check_base(function: str, base: str) -> None:
    """Refuse a base that is none."""
    if base not in ("mean", "zero"):
        raise ValueError(f"{function}(base=...) takes 'mean' or 'zero', not {base!r}")


def parts(relevance: Relevance, groups: Groups | None) -> pd.DataFrame:
    """Each row's score as a sum: relevance by feature or group, then what no feature has; in float64."""
    if groups is None:
        found = np.concatenate([part for _, part in by_feature(relevance)]) if len(relevance) else np.empty((0, 0))
        table = pd.DataFrame(found, columns=list(relevance.inputs))
    else:
        table = tables.by_group(relevance, groups).reset_index(drop=True)
    rest = relevance.initial_state.astype(np.float64) + relevance.unattributed
    return pd.concat([table, pd.Series(rest, name=REST)], axis=1)


def time_named(function: str, relevance: Relevance, time: Any) -> tuple[Array, str]:
    """The rows of a time that have relevance, and its name; None stands for the last time that has any.

    Raises
    ------
    ValueError
        If the result has no such time, or no relevance there.
    """
    rank, all_times, times = panel_times(relevance)
    found = relevance.explained
    if not found.any():
        raise ValueError(f"{function} has nothing to show: no row of the result has relevance")
    at = int(rank[found].max()) if time is None else _place(function, all_times, times.names, time)
    rows = np.flatnonzero(found & (rank == at))
    if not len(rows):
        raise ValueError(f"{function}(time={time!r}) has nothing to show: no row of {times.names[at]} has relevance")
    return rows, str(times.names[at])


def _place(function: str, all_times: pd.Index, names: Array, time: Any) -> int:
    """The position of a time, as the index has it or as pictures name it."""
    if isinstance(time, str) and np.count_nonzero(names == time) == 1:
        return int(np.argmax(names == time))
    at: Any = None
    with suppress(KeyError, TypeError, ValueError):
        at = all_times.get_loc(time)
    if isinstance(at, slice) and at.stop - at.start == 1:  # a part of a date, such as its month
        at = at.start
    if not isinstance(at, int | np.integer):
        span = f"{label(all_times[0])!r} ... {label(all_times[-1])!r}"
        raise ValueError(f"{function}(time={time!r}) is not one of the result's times, which are {span}")
    return int(at)


def row_named(function: str, relevance: Relevance, row: Any) -> int:
    """The position of a row, given as a position or by its key in the index.

    Raises
    ------
    ValueError
        If there is none, or it has no relevance.
    """
    n = len(relevance)
    if isinstance(row, int | np.integer) and not isinstance(row, bool):
        if not -n <= row < n:
            raise ValueError(f"{function}: row {row} is none of the result's {n:,} rows")
        at = int(row) % n
    else:
        at = _located(function, relevance, row)
    if not relevance.explained[at]:
        why = "no full window ends there, or a value is missing"
        why = f"numbers inside overflowed {relevance.score.dtype}" if relevance.overflowed[at] else why
        raise ValueError(f"{function}: {row_text(relevance, at)} has no relevance: {why}")
    return at


def _located(function: str, relevance: Relevance, row: Any) -> int:
    index = relevance.index
    if index is None:
        raise ValueError(f"{function}: rows of an array are chosen by position, not by {row!r}")
    at: Any = slice(0, 0)
    with suppress(KeyError, TypeError, ValueError):
        at = index.get_loc(row)
    found = np.arange(len(index))[at].reshape(-1)
    if len(found) != 1:
        expected = f"a position, or a key such as {_key(index[0])}" if len(index) else "a position"
        raise ValueError(f"{function}: {row!r} is not one row of the result, expected {expected}")
    return int(found[0])


def _key(key: Any) -> str:
    return f"({', '.join(repr(label(part)) for part in key)})" if isinstance(key, tuple) else repr(label(key))


def row_text(relevance: Relevance, row: int) -> str:
    """A row as pictures name it: "AAPL, 2020-03" or "sample 7"."""
    index = relevance.index
    if not of_times(index):
        return f"sample {row:,}" if index is None else shortened(label(index[row]))
    rank, _, times = panel_times(relevance)
    name = str(times.names[rank[row]])
    if not isinstance(index, pd.MultiIndex):
        return name
    return f"{shortened(label(index[row][1 - time_level(index)]))}, {name}"


def given_values(function: str, relevance: Relevance, values: Any, rows: Array) -> Array:
    """The features' values at the last step of some rows' windows, in float64; (rows, D).

    Raises
    ------
    ValueError
        If they are not of the result's rows and features, or are no numbers.
    """
    where = f"{function}(values=...)"
    found = last_values(relevance, values, where, rows)
    if found.dtype.kind not in "fiub":
        raise ValueError(f"{where} takes numbers, not values of dtype {found.dtype}")
    return found.astype(np.float64)


def number(value: float, largest: float, sign: bool = True) -> str:
    """A number with three digits of the largest that stands beside it."""
    exponent = int(np.floor(np.log10(largest))) if largest > 0 else 0
    mark = "+" if sign else ""
    text = format(value, f"{mark}.{max(2 - exponent, 0)}f" if -5 <= exponent < 6 else f"{mark}.2e")
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else "0"
