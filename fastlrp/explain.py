"""predict and explain: check the input, choose a backend, run its kernels, label the results."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, cast

import numpy as np
import numpy.typing as npt

import fastlrp.kernels.program.rules  # noqa: F401  # registers the rules with their programs
from fastlrp.batches import batch_of
from fastlrp.checks import as_dtype, check
from fastlrp.kernels import get_backend
from fastlrp.kernels.results import Results, on_gpu
from fastlrp.messages import count, foreign_network, users_line
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows
from fastlrp.progress import progress_bar
from fastlrp.relevance.arrays import warn_if_unattributed
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Aggregate, Rule, as_rule

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.panels.panel import Panel

Array = npt.NDArray[Any]


class Given(NamedTuple):
    """A user's arguments, checked."""

    net: Chain
    X: Any
    windows: Windows
    steps: int
    panel: Panel | None = None


def predict(
    net: Chain,
    X: Array | pd.DataFrame,
    *,
    steps: int | None = None,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Array | pd.Series | pd.DataFrame:
    """Predictions of a network; see :meth:`fastlrp.Network.predict`."""
    given = _given(net, X, steps, dtype)
    prediction = _one_or_many(run(given, device, threads, progress).prediction)
    if given.panel is None:
        return prediction
    import pandas as pd

    index = given.panel.index
    if prediction.ndim == 1:
        return pd.Series(prediction, index=index, name="prediction")
    return pd.DataFrame(prediction, index=index, columns=list(net.outputs or range(net.n_outputs)))


def explain(
    net: Chain,
    X: Array | pd.DataFrame,
    *,
    rule: str | Rule = "arras",
    steps: int | None = None,
    target: int | str | None = None,
    aggregate: Aggregate = "sequence",
    reduce: Literal["steps"] | None = None,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Relevance:
    """Relevance of every input of every sample; see :meth:`fastlrp.Network.explain`."""
    check_network(net)
    chosen, unit = as_rule(rule), target_unit(net, target)
    aggregate = checked_options(aggregate, reduce)
    given, reduced = _given(net, X, steps, dtype), reduce is not None
    results = run(given, device, threads, progress, rule=chosen, target=unit, aggregate=aggregate, reduced=reduced)
    of_panel: dict[str, Any] = {}
    if given.panel is not None:
        of_panel = {"index": given.panel.index, "features": given.panel.features, "by_position": net.features is None}
    relevance = labelled(net, results, given.steps, chosen, unit, reduced=reduced, **of_panel)
    warn_if_unattributed(relevance)
    return relevance


def checked_options(aggregate: Aggregate, reduce: object) -> Aggregate:
    """``aggregate`` as kernels take it: "sequence", True or False; both options checked."""
    if not (aggregate in ("sequence", "average", "last") or isinstance(aggregate, bool)):
        raise ValueError(f"aggregate= takes 'sequence', 'average' (True) or 'last' (False), not {aggregate!r}")
    if reduce not in (None, "steps"):
        raise ValueError(f"reduce= takes 'steps' or None, not {reduce!r}")
    return {"average": True, "last": False}.get(cast(str, aggregate), aggregate)


def labelled(
    net: Chain,
    results: Results,
    steps: int,
    rule: Rule,
    unit: int,
    *,
    reduced: bool,
    index: pd.Index | None = None,
    features: tuple[str, ...] | None = None,
    by_position: bool = False,
    origin: tuple[Chain, ...] | None = None,
) -> Relevance:
    """Kernel results as the Relevance that users get, named by ``features`` or by the network's names; ``origin`` are
    the networks that were explained, if there are several."""
    kind = Relevance
    if on_gpu(results.values):
        from fastlrp.relevance.device import DeviceRelevance as kind
    return kind(
        values=results.values,
        prediction=_one_or_many(results.prediction),
        score=results.score,
        initial_state=results.initial_state,
        unattributed=results.unattributed,
        index=index,
        features=net.features if features is None else features,  # type: ignore[arg-type]  # None: x0, x1 ...
        steps=steps,
        rule=rule,
        target=None if net.n_outputs == 1 else net.outputs[unit] if net.outputs else unit,
        outputs=net.outputs,
        reduced=reduced,
        by_position=by_position,
        origin=origin or (net,),
    )


def _one_or_many(prediction: Array) -> Array:
    if prediction.shape[1] > 1:
        return prediction
    return prediction.reshape(prediction.shape[0]) if on_gpu(prediction) else prediction[:, 0]


def run(
    given: Given,
    device: str,
    threads: int | None,
    progress: bool,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
) -> Results:
    """Kernels' results for what was given, explained if there is a rule; an infinite value is refused by name."""
    """Kernels' results for what was given, explained if there is a rule; an infinite value is refused by name."""
    check("threads", threads)
    net, windows, steps = given.net, given.windows, given.steps
    work = 2.0 * windows.n(steps) * steps * net.n_params  # approximate operations: two for each weight and step
    backend = get_backend(device, windows.rows, work)
    ask: dict[str, Any] = {
        "rule": rule, "target": target, "aggregate": aggregate, "reduced": reduced, "threads": threads,
    }  # fmt: skip

    def run_on(backend: ModuleType) -> Results:
        if not progress:
            return cast(Results, backend.run(net, windows, steps, **ask))
        with progress_bar(True, windows.n(steps), "predict" if rule is None else "explain", "samples") as advance:
            return cast(Results, backend.run(net, windows, steps, **ask, advance=advance))

    try:
        if given.panel is not None:
            _look_aside(given.panel)
        try:
            return run_on(backend)
        except (MemoryError, RuntimeError) as error:
            instead = get_backend("cpu") if device == "auto" and not on_gpu(given.X) else backend
            if instead is backend:
                raise
            warnings.warn(f"computed on the CPU instead: {error}", RuntimeWarning, stacklevel=users_line())
            return run_on(instead)
    except FloatingPointError:
        _refuse_infinite(given)


def _look_aside(panel: Panel) -> None:
    """Refuse an infinity outside a panel's windows, too; kernels look only at the rows that windows read."""
    from fastlrp.panels.infinities import has_infinity_aside

    if has_infinity_aside(panel):
        raise FloatingPointError("infinite value")


def _refuse_infinite(given: Given) -> NoReturn:
    from fastlrp.panels.infinities import locate_infinite, locate_infinite_array

    X, rows, names = given.X, given.windows.rows, given.net.features
    if given.panel is not None:
        locate_infinite(given.panel)
    elif on_gpu(X):
        locate_infinite_array(cast(Any, rows).copy_to_host().reshape(X.shape), names)
    else:
        locate_infinite_array(np.asarray(X), names)
    raise ValueError(
        f"X has a value that is too large for {rows.dtype}, expected finite ones: compute with dtype='float64'"
    )


def check_network(net: object) -> None:
    """Refuse what is no network."""
    if not isinstance(net, Chain):
        raise ValueError(f"expected a fastlrp.Network, not {foreign_network(net) or type(net).__name__}")


def target_unit(net: Chain, target: int | str | None) -> int:
    """The output unit to explain."""
    n, names = net.n_outputs, net.outputs
    listed = ", ".join(map(repr, names)) if names else "0" if n == 1 else f"0 to {n - 1}"
    if target is None:
        if n > 1:
            raise ValueError(f"the network has {count(n, 'output')}: choose the one to explain with target= ({listed})")
        return 0
    if isinstance(target, str):
        if names is None or target not in names:
            raise ValueError(f"target={target!r} is not an output of the network, expected one of {listed}")
        return names.index(target)
    if isinstance(target, bool) or not isinstance(target, int | np.integer) or not 0 <= target < n:
        raise ValueError(f"target={target!r} is not an output of the network, expected one of {listed}")
    return int(target)


def _given(net: Chain, X: Any, steps: int | None, dtype: Any) -> Given:
    """X, checked, as windows of rows, with T and, if X is one, its panel."""
    check_network(net)
    if dtype is not None:
        dtype = as_dtype(dtype)
    if not isinstance(X, np.ndarray) and hasattr(X, "columns"):
        from fastlrp.panels.panel import as_panel

        panel = as_panel(X, panel_steps(net, steps), net.features, dtype, n_features=net.n_features)
        return Given(net, X, panel.windows, panel.steps, panel)
    batch = batch_of(net, X, steps, dtype)
    n, T, D = batch.shape
    return Given(net, X, Windows(batch.reshape((n * T, D))), T)


def panel_steps(net: Chain, steps: int | None) -> int:
    """T for a panel: the network's, or the one given."""
    if steps is None:
        if net.steps is None:
            raise ValueError("steps= is missing: a panel needs the length of its windows, and the network knows none")
        return net.steps
    if net.steps is not None and steps != net.steps:
        raise ValueError(f"steps={steps!r} was given, but the network takes windows of {count(net.steps, 'step')}")
    return steps
