"""Infinite values, which kernels detect but cannot name: found again, and refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.panels.panel import Panel
from fastlrp.panels.periods import label
from fastlrp.panels.windows import runs

Array = npt.NDArray[Any]
_BLOCK = 4096  # rows searched at once, so that temporaries stay in cache and add little to peak memory


def has_infinity_aside(panel: Panel) -> bool:
    """Whether a row that no window reads, and so no kernel looks at, has an infinite value."""
    rows, order, ends = panel.windows.rows, panel.windows.order, panel.windows.ends
    assert ends is not None
    begin, stop = runs(ends)
    reads = np.zeros(len(ends), bool)
    if (stop - begin + panel.steps - 1).sum() == len(reads):  # every row is read by a window
        return False
    for first, last in zip((begin - panel.steps + 1).tolist(), stop.tolist(), strict=True):
        reads[first:last] = True
    aside = np.flatnonzero(~reads)
    at = aside if order is None else order[aside]
    return any(np.isinf(rows[at[k : k + _BLOCK]]).any() for k in range(0, len(at), _BLOCK))


def locate_infinite(panel: Panel) -> None:
    """Name the first infinite value of a panel; call it once an infinite value has been detected.

    Raises
    ------
    ValueError
        Unless all values are finite or NaN. The message gives the row's time and asset, the feature, and the value.
    """
    found = _first_infinite(panel.windows.rows)
    if found is not None:
        row, column = found
        named = zip(panel.index.names, panel.index[row], strict=True)
        where = ", ".join(f"{name} {label(value)}" if name is not None else label(value) for name, value in named)
        raise ValueError(_infinite(panel.windows.rows[found], f"feature {panel.features[column]!r} at {where}"))


def locate_infinite_array(X: Array, features: Sequence[str] | None = None) -> None:
    """Name the first infinite value of an array (sample, ..., feature), as :func:`locate_infinite` does for a panel.

    Raises
    ------
    ValueError
        Unless all values are finite or NaN. The message gives the position, and the feature's name if it has one.
    """
    found = _first_infinite(X)
    if found is not None:
        axes = ("sample", "step", "feature") if X.ndim == 3 else ("sample", "feature")
        where = ", ".join(f"{axis} {at}" for axis, at in zip(axes, found, strict=True))
        name = f" ({features[found[-1]]!r})" if features is not None else ""
        raise ValueError(_infinite(X[found], where + name))


def _first_infinite(values: Array) -> tuple[int, ...] | None:
    for start in range(0, len(values), _BLOCK):
        bad = np.isinf(values[start : start + _BLOCK])
        if bad.any():
            row, *rest = np.unravel_index(int(bad.argmax()), bad.shape)
            return (start + int(row), *map(int, rest))
    return None


def _infinite(value: Any, where: str) -> str:
    too_large = ", or too large for float32" if value.dtype == np.float32 else ""
    return f"the input is infinite ({value}{too_large}) at {where}; expected finite numbers, or NaN where missing"
