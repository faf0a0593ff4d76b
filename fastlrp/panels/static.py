"""Static features in panels: columns of which a window has one value, that of its last month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastlrp.messages import count
from fastlrp.model.chain import as_names
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.panels.windows import Windows

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]


def column_names(frame: pd.DataFrame, net: AnyNetwork, static: Any) -> tuple[str, ...] | None:
    """Names of the columns that a network with static features reads, static ones last; None: all, by position.

    Parameters
    ----------
    frame : DataFrame
    net : Network or Ensemble
    static : list of str or None
        Names of the static columns, for a network that has none for them.

    Raises
    ------
    ValueError
        If ``static`` are not the network's own names, or not as many.
    """
    if static is not None:
        names = as_names(static, net.n_static, "static=", "one for each static feature of the network")
        if net.static is not None and names != net.static:
            raise ValueError(
                f"static= names {', '.join(names or ())}, but the network's static features are "
                f"{', '.join(net.static)}: leave it out, and call the panel's columns so"
            )
    else:
        names = net.static
    if names is None or net.features is None:
        if names is None:
            if net.features is not None:
                raise ValueError(
                    f"static= is missing: the network has {count(net.n_static, 'static feature')} without names, which "
                    "columns of the panel are they?"
                )
            return None
        return (*(str(name) for name in frame.columns if str(name) not in names), *names)
    both = next((name for name in names if name in net.features), None)
    if both is not None:
        raise ValueError(f"static= names {both!r}, which is one of the network's features, too")
    return (*net.features, *names)


def fill_static(rows: Array, n_static: int) -> None:
    """Put 0 where one of the last ``n_static`` columns is missing, in place: no window that ends there is read."""
    static = rows[:, -n_static:]
    static[np.isnan(static)] = 0


def counted_at_end(windows: Windows, n_static: int) -> Windows:
    """Windows whose last ``n_static`` columns count in the row where a window ends, and in no other.

    Where one of them is missing, no window ends; in rows of other windows it is no missing value.
    """
    if windows.ends is None:
        return windows
    lacks = np.asarray(np.isnan(windows.rows[:, -n_static:]).any(axis=1))
    if not lacks.any():
        return windows
    rows, fine = windows.rows.copy(order="K"), ~(lacks if windows.order is None else lacks[windows.order])
    fill_static(rows, n_static)
    lengths = None if windows.lengths is None else np.where(fine, windows.lengths, 0)
    return windows._replace(rows=rows, ends=windows.ends & fine, lengths=lengths)
