"""Dask DataFrames: each partition a part of one panel, explained by a task of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from fastlrp.cluster.engine import Ask, asked, needed, nothing, shared
from fastlrp.explain import Given, check_rule, labelled, least_steps, panel_steps, prediction_names
from fastlrp.messages import suggest
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.panels.calendar import Calendar, PartKeys, calendar_of, part_keys
from fastlrp.panels.columns import compute_dtype, find_columns, objects_as_numbers
from fastlrp.panels.flat import time_and_asset
from fastlrp.panels.panel import as_panel
from fastlrp.relevance.as_parquet import columns_of, stored_frame

_SHUFFLE = "shuffle=True repartitions"


class Form(NamedTuple):
    """How a partition's rows are read: the names of time and asset, which of them are columns, and the features."""

    keys: tuple[Any, Any]
    columns: list[Any]
    features: list[Any]
    steps: int
    dtype: np.dtype[Any]
    least: int | None

    def rows(self, part: pd.DataFrame) -> pd.MultiIndex:
        """Times and assets of its rows."""
        both = [part[key] if key in self.columns else part.index.get_level_values(key) for key in self.keys]
        return pd.MultiIndex.from_arrays(cast(Any, both), names=self.keys)


def over_partitions(
    data: Any, net: AnyNetwork, *, index: tuple[str, str] | None, shuffle: bool, steps: int | None,
    min_steps: int | None, dtype: Any, **options: Any,
) -> Any:  # fmt: skip
    """:func:`fastlrp.cluster.explain` of a frame, or :func:`fastlrp.cluster.predict` where no rule is among the
    options."""
    ask = asked(net, **options)
    ask = ask._replace(reduced=ask.reduced or not net.recurrent)  # as of a panel in memory, one step has no lag
    form = _form(data._meta, net, index, panel_steps(net, steps), dtype, min_steps)
    if ask.rule is not None:
        check_rule(ask.rule, net, form.steps, form.dtype)
    data = data[[*form.columns, *form.features]]
    if shuffle:
        data = _shuffled(data, form.keys[1])
    delayed = needed("dask").delayed
    parts = [delayed(_part_keys)(part, form) for part in data[form.columns].to_delayed()]
    calendar = delayed(_calendar)(parts)
    meta = _computed(data._meta, net, None, form, ask)
    return data.map_partitions(_computed, shared(net), calendar, form, ask, meta=meta)


def _form(
    meta: pd.DataFrame, net: AnyNetwork, index: Any, steps: int, dtype: Any, min_steps: int | None
) -> Form:  # fmt: skip
    """What a frame's names and dtypes say.

    Raises
    ------
    ValueError
        If time and asset are not clear, or features are missing, odd or too many.
    """
    time, asset = index_names(meta, net.columns or (), index)
    columns = [key for key in (time, asset) if key in meta.columns]
    chosen = objects_as_numbers(meta[[name for name in meta.columns if name not in (time, asset)]])
    positions, _ = find_columns(chosen, net.columns, net.n_columns)
    dtypes = list(chosen.dtypes)
    return Form(
        (time, asset), columns, [chosen.columns[k] for k in positions], steps,
        compute_dtype({dtypes[k] for k in positions}, dtype), least_steps(net, steps, min_steps),
    )  # fmt: skip


def index_names(meta: pd.DataFrame, features: Sequence[str], given: Any) -> tuple[Any, Any]:
    """The names of the columns or levels of time and asset: those given, else those recognised.

    Raises
    ------
    ValueError
        If there is no such name, or it is not clear.
    """
    have = [*(name for name in meta.index.names if name is not None), *meta.columns]
    if given is None:
        time, asset = time_and_asset(meta, features)
        if time is None or asset is None:
            what = " and ".join(word for word, name in (("time", time), ("asset", asset)) if name is None)
            raise ValueError(
                f"which column of the frame is the {what} is not clear from its columns "
                f"{', '.join(map(repr, have[:8]))}: say index=(time, asset)"
            )
        return time, asset
    if not isinstance(given, tuple | list) or len(given) != 2 or given[0] == given[1]:
        raise ValueError(f"index= takes the names of two columns, a time and an asset, not {given!r}")
    missing = [str(name) for name in given if name not in have]
    if missing:
        raise ValueError(f"the frame has no column {suggest(missing, list(map(str, have)))}")
    return given[0], given[1]


def _shuffled(data: Any, asset: Any) -> Any:
    if asset in data.columns:
        return data.shuffle(on=asset)
    if data.index.name == asset:
        return data.shuffle(on_index=True)
    raise ValueError(
        f"shuffle=True needs {asset!r} as a column or as the whole index, but it is one of several levels: reset_index "
        "in each partition first"
    )


def _part_keys(part: pd.DataFrame, form: Form) -> PartKeys:
    index = form.rows(part)
    return part_keys(index) if len(index) else PartKeys(index.levels[0], index.levels[1], np.empty((0, 4), np.int64))


def _calendar(parts: list[PartKeys]) -> Calendar:
    return calendar_of(parts, [f"partition {k}" for k in range(len(parts))], _SHUFFLE)


def _computed(part: pd.DataFrame, net: AnyNetwork, calendar: Calendar | None, form: Form, ask: Ask) -> pd.DataFrame:
    """A partition's results; of no row, what they look like."""
    if len(part):
        index = form.rows(part)
        frame = part[form.features].set_axis(index)
        panel = as_panel(frame, form.steps, net.columns, form.dtype, n_features=net.n_columns, calendar=calendar,
                         least=form.least)  # fmt: skip
        results, spread = ask.run(Given(net, None, panel.windows, panel.steps, panel))
    else:
        results, spread = nothing(net, form.steps, form.dtype, ask)
    if ask.rule is None:
        out = pd.DataFrame(results.prediction, part.index, prediction_names(net))
    else:
        relevance = labelled(
            net, results, form.steps, ask.rule, ask.unit, reduced=ask.reduced, spread=spread,
            features=tuple(map(str, form.features)),
        )  # fmt: skip
        out = stored_frame(relevance, slice(None), part.index, columns_of(relevance, set(map(str, form.keys))))
    for at, name in enumerate(form.columns):
        out.insert(at, name, part[name])
    return out
