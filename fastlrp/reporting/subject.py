"""What a report is about: a model of any kind, and the panel that it explains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from fastlrp.explain import check_network, panel_steps, target_unit
from fastlrp.files.since import first_rank
from fastlrp.keras import read_keras
from fastlrp.learning.regressor import LSTMRegressor
from fastlrp.learning.rolling import RollingLSTM
from fastlrp.messages import count, foreign_network, suggest
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork, Chains
from fastlrp.objects import is_polars
from fastlrp.panels.periods import label, periods, ranked_times, time_level
from fastlrp.panels.polars import from_polars
from fastlrp.panels.samples import is_panel, refuse_other_index
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Rule

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model beside a panel, checked.

    Attributes
    ----------
    net : Network, Ensemble or None
        What is explained; None for refits through time, of which each period has its own.
    model : Network, Ensemble, LSTMRegressor or RollingLSTM
    frame : DataFrame
        The panel as the network takes it.
    predicted, actual : array (n,)
        Predictions in the units of the target, and what followed, where it was given.
    steps, unit, threads
        The length of a window, the output that is explained, and how many threads compute.
    explain : callable
        Relevance of the frame, given a rule and ``reduce``.
    test_from : int or None
        The rank of the first period that the model has not seen.
    source, panel : str
        Where model and panel come from.
    asked : dict
        What was said of them.
    """

    net: AnyNetwork | None
    model: Any
    frame: pd.DataFrame
    predicted: Array
    actual: Array | None
    test_from: int | None
    steps: int
    unit: int | str | None
    threads: int | None
    explain: Callable[..., Relevance]
    source: str
    panel: str
    asked: dict[str, Any]


def subject(
    model: Any,
    panel: Any,
    target: Any,
    *,
    test_from: object = None,
    unit: int | str | None,
    columns: Sequence[str] | None = None,
    index: tuple[str | None, str | None] | None = None,
    **how: Any,
) -> Subject:
    """Check a model and a panel, and predict.

    Raises
    ------
    ValueError
        If they are not what is expected.
    """
    source = Path(model).name if isinstance(model, str | os.PathLike) else f"a {type(model).__name__} in memory"
    if isinstance(model, str | os.PathLike):
        model = read_keras(model)
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not isinstance(last, Chain | Chains | LSTMRegressor | RollingLSTM):
        raise ValueError(
            "report takes a Keras file, a Network, an Ensemble, or a fitted LSTMRegressor, RollingLSTM or pipeline "
            f"that ends in one, not {foreign_network(model) or type(model).__name__}"
        )
    is_net = isinstance(last, Chain | Chains)
    if is_net:
        check_network(last)
        if not last.recurrent:
            raise ValueError(
                "the report is about windows, but the network has no recurrent layer: its explain and predict take "
                "rows of features"
            )
        refuse_input(last, target)
    where = Path(panel).name if isinstance(panel, str | os.PathLike) else "a DataFrame in memory"
    if isinstance(panel, str | os.PathLike):
        if not is_net:
            raise ValueError(
                f"a panel in files goes with a network: give {type(last).__name__} its panel as a DataFrame"
            )
        panel = _read(Path(panel), last, columns, index, target)
    elif columns is not None or index is not None:
        raise ValueError("columns= and index= say what a file holds, but the panel is a DataFrame: choose its columns")
    if is_polars(panel):
        panel = from_polars(panel, (last.columns or ()) if is_net else ())
    if not is_panel(panel):
        raise ValueError(
            "report takes a panel, a DataFrame indexed by time and asset or a file of one, not "
            f"{type(panel).__name__}{'' if not isinstance(panel, pd.DataFrame) else ' without such an index'}"
        )
    panel, actual = _apart(panel, target)
    if actual is None and test_from is not None:
        raise ValueError("test_from= says from where predictions are judged, which needs what followed: give target=")
    first = None if test_from is None else _rank(panel.index, test_from)
    of_model = _of_network(last, panel, unit, how) if is_net else _of_estimator(model, last, panel, unit, how)
    asked = {"target": target, "unit": unit, "test_from": test_from}
    return Subject(
        **of_model, model=last, actual=actual, test_from=first, unit=unit, threads=how["threads"], source=source,
        panel=where, asked=asked,
    )  # fmt: skip


def _rank(index: Any, test_from: object) -> int:
    """The rank of the first period that the model has not seen."""
    times = ranked_times(index, time_level(index))[0]
    return first_rank(times, label(periods(index)[1][-1]), test_from, "test_from")


def refuse_input(net: AnyNetwork, target: Any) -> None:
    """Refuse a target that the network reads."""
    if isinstance(target, str) and target in (*(net.features or ()), *(net.static or ())):
        raise ValueError(f"target={target!r} is an input of the network, expected a column of what followed")


def _read(path: Path, net: AnyNetwork, columns: Any, index: Any, target: Any) -> pd.DataFrame:
    if target is not None and not isinstance(target, str):
        raise ValueError("target= names a column where the panel is a file")
    try:
        from fastlrp.files.frame import read_frame
    except ImportError as error:
        raise ImportError(str(error)) from None
    return read_frame(path, net, columns, index, () if target is None else (target,))


def _apart(panel: pd.DataFrame, target: Any) -> tuple[pd.DataFrame, Array | None]:
    """The panel without its target, and the target."""
    if target is None:
        return panel, None
    if isinstance(target, str):
        if target not in panel.columns:
            raise ValueError(
                f"target= names no column of the panel: {suggest([target], list(map(str, panel.columns)))}"
            )
        panel, target = panel.drop(columns=target), panel[target]
    refuse_other_index(panel, target, "target")
    try:
        values = np.asarray(target, np.float64)
    except (TypeError, ValueError):
        raise ValueError("target= must hold numbers") from None
    if values.shape != (len(panel),):
        raise ValueError(f"target= has the shape {values.shape}, expected a number for each of the panel's "
                         f"{count(len(panel), 'row')}")  # fmt: skip
    if not np.isfinite(values).any() or np.isinf(values).any():
        raise ValueError("target= holds " + ("an infinite value" if np.isinf(values).any() else "no number at all"))
    return panel, values


def _of_network(net: Any, frame: pd.DataFrame, unit: Any, how: dict[str, Any]) -> dict[str, Any]:
    at, steps = target_unit(net, unit), panel_steps(net, how["steps"])
    if how["dtype"] is not None:  # all that looks at the panel then computes in it
        frame = frame.astype(how["dtype"])
    predicted = _column(net.predict(frame, **how), at)

    def explain(rule: Rule, frame: pd.DataFrame = frame, **more: Any) -> Relevance:
        return cast(Relevance, net.explain(frame, rule=rule, target=unit, **how, **more))

    return {"net": net, "frame": frame, "predicted": predicted, "steps": steps, "explain": explain}


def _of_estimator(model: Any, last: Any, panel: pd.DataFrame, unit: Any, how: dict[str, Any]) -> dict[str, Any]:
    given = [f"{name}=" for name, value in how.items() if value is not None]
    if given:
        raise ValueError(f"{' and '.join(given)} belong to a network; {type(last).__name__} has its own")
    predicted = model.predict(panel)
    frame = model[:-1].transform(panel) if isinstance(model, Pipeline) and len(model) > 1 else panel
    if not is_panel(frame):
        raise ValueError("the pipeline makes arrays of the panel: use .set_output(transform='pandas') in its steps")
    net = last.network_ if isinstance(last, LSTMRegressor) else None
    at = 0 if getattr(predicted, "ndim", 1) == 1 else target_unit(net or last.networks_[-1], unit)

    def explain(rule: Rule, frame: pd.DataFrame = frame, **more: Any) -> Relevance:
        return cast(Relevance, last.explain(frame, rule=rule, target=unit, **more))

    return {"net": net, "frame": frame, "predicted": _column(predicted, at), "steps": last.steps_, "explain": explain}


def _column(predicted: Any, at: int) -> Array:
    values = np.asarray(predicted, np.float64)
    return values if values.ndim == 1 else values[:, at]
