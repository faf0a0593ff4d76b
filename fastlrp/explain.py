"""predict and explain: check at the door, choose a backend, run its kernels, label what comes back."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import numpy as np
import numpy.typing as npt

from fastlrp.kernels import Results, Windows, as_dtype, get_backend, on_gpu
from fastlrp.messages import count, foreign_network
from fastlrp.network import Aggregate, Network
from fastlrp.objects import as_array
from fastlrp.progress import progress_bar
from fastlrp.rules import Rule, as_rule

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.panel import Panel
    from fastlrp.relevance import Relevance

Array = npt.NDArray[Any]


def predict(
    net: Network,
    X: Array | pd.DataFrame,
    *,
    steps: int | None = None,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Array | pd.Series | pd.DataFrame:
    """Predictions of a network, as :meth:`fastlrp.Network.predict` says."""
    _check_network(net)
    windows, panel, T = _windows(net, X, steps, dtype)
    results = _run(net, X, windows, panel, T, device, threads, progress)
    prediction = _one_or_many(results.prediction)
    if panel is None:
        return prediction
    import pandas as pd

    if prediction.ndim == 1:
        return pd.Series(prediction, index=panel.index, name="prediction")
    return pd.DataFrame(prediction, index=panel.index, columns=list(net.outputs or range(net.n_outputs)))


def explain(
    net: Network,
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
    """Relevance of every input of every sample, as :meth:`fastlrp.Network.explain` says."""
    _check_network(net)
    chosen = as_rule(rule)
    unit = _target(net, target)
    if not (aggregate in ("sequence", "average", "last") or isinstance(aggregate, bool)):
        raise ValueError(f"aggregate= takes 'sequence', 'average' (True) or 'last' (False), not {aggregate!r}")
    aggregate = {"average": True, "last": False}.get(cast(str, aggregate), aggregate)
    if reduce not in (None, "steps"):
        raise ValueError(f"reduce= takes 'steps' or None, not {reduce!r}")
    windows, panel, T = _windows(net, X, steps, dtype)
    results = _run(
        net, X, windows, panel, T, device, threads, progress,
        rule=chosen, target=unit, aggregate=aggregate, reduced=reduce is not None,
    )  # fmt: skip
    return _label(net, results, panel, T, chosen, unit, reduced=reduce is not None)


def _label(
    net: Network, results: Results, panel: Panel | None, steps: int, rule: Rule, unit: int, *, reduced: bool
) -> Relevance:
    from fastlrp.relevance import Relevance, warn_if_unattributed

    kind = Relevance
    if on_gpu(results.values):
        from fastlrp.device_relevance import DeviceRelevance as kind
    named = None if net.n_outputs == 1 else net.outputs[unit] if net.outputs else unit
    relevance = kind(
        values=results.values,
        prediction=_one_or_many(results.prediction),
        score=results.score,
        initial_state=results.initial_state,
        unattributed=results.unattributed,
        index=None if panel is None else panel.index,
        features=net.features if panel is None else panel.features,  # type: ignore[arg-type]  # None: x0, x1 ...
        steps=steps,
        rule=rule,
        target=named,
        outputs=net.outputs,
        reduced=reduced,
        by_position=panel is not None and net.features is None,
    )
    warn_if_unattributed(relevance, stacklevel=5)
    return relevance


def _one_or_many(prediction: Array) -> Array:
    if prediction.shape[1] > 1:
        return prediction
    return prediction.reshape(prediction.shape[0]) if on_gpu(prediction) else prediction[:, 0]


def _run(
    net: Network,
    X: Any,
    windows: Windows,
    panel: Panel | None,
    steps: int,
    device: str,
    threads: int | None,
    progress: bool,
    *,
    rule: Rule | None = None,
    target: int = 0,
    aggregate: Aggregate = "sequence",
    reduced: bool = False,
) -> Results:
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int | np.integer) or threads < 1):
        raise ValueError(f"threads= takes a whole number of at least 1, not {threads!r}")
    work = 2.0 * windows.n(steps) * steps * net.n_params  # operations, about: two for each weight and step
    backend = get_backend(device, windows.rows, work)
    ask: dict[str, Any] = {
        "rule": rule,
        "target": target,
        "aggregate": aggregate,
        "reduced": reduced,
        "threads": threads,
    }

    def run_on(backend: ModuleType) -> Results:
        if not progress:
            return cast(Results, backend.run(net, windows, steps, **ask))
        with progress_bar(True, windows.n(steps), "predict" if rule is None else "explain", "samples") as advance:
            return cast(Results, backend.run(net, windows, steps, **ask, advance=advance))

    try:
        if panel is not None:
            _look_aside(panel)
        try:
            return run_on(backend)
        except (MemoryError, RuntimeError) as error:
            instead = get_backend("cpu") if device == "auto" and not on_gpu(X) else backend
            if instead is backend:
                raise
            warnings.warn(f"computed on the CPU instead: {error}", RuntimeWarning, stacklevel=4)
            return run_on(instead)
    except FloatingPointError:
        _refuse_infinite(X, windows, panel, net)


def _look_aside(panel: Panel) -> None:
    """Kernels look at what windows read; an infinity elsewhere in a panel is refused all the same."""
    from fastlrp.panel import has_infinity_aside

    if has_infinity_aside(panel):
        raise FloatingPointError("infinite value")


def _refuse_infinite(X: Any, windows: Windows, panel: Panel | None, net: Network) -> NoReturn:
    from fastlrp.panel import locate_infinite, locate_infinite_array

    if panel is not None:
        locate_infinite(panel)
    elif on_gpu(X):
        locate_infinite_array(cast(Any, windows.rows).copy_to_host().reshape(X.shape), net.features)
    else:
        locate_infinite_array(np.asarray(X), net.features)
    raise ValueError(
        f"X has a value that is too large for {windows.rows.dtype}, expected finite ones: compute with dtype='float64'"
    )


def _check_network(net: object) -> None:
    if not isinstance(net, Network):
        raise ValueError(f"expected a fastlrp.Network, not {foreign_network(net) or type(net).__name__}")


def _target(net: Network, target: int | str | None) -> int:
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


def _windows(net: Network, X: Any, steps: int | None, dtype: Any) -> tuple[Windows, Panel | None, int]:
    """X checked, as windows of rows; the panel it came from, if it did; and T."""
    if dtype is not None:
        dtype = as_dtype(dtype)
    if not isinstance(X, np.ndarray) and hasattr(X, "columns"):
        from fastlrp.panel import as_panel

        T = _panel_steps(net, steps)
        panel = as_panel(X, T, net.features, dtype, n_features=net.n_features)
        return Windows(panel.values, panel.order, panel.ends), panel, T
    batch = _batch_on_gpu(net, X, steps, dtype) if on_gpu(X) else _batch(net, X, steps, dtype)
    n, T, D = batch.shape
    return Windows(batch.reshape((n * T, D))), None, T


def _panel_steps(net: Network, steps: int | None) -> int:
    if steps is None:
        if net.steps is None:
            raise ValueError("steps= is missing: a panel needs the length of its windows, and the network knows none")
        return net.steps
    if net.steps is not None and steps != net.steps:
        raise ValueError(f"steps={steps!r} was given, but the network takes windows of {count(net.steps, 'step')}")
    return steps


def _batch(net: Network, X: Any, steps: int | None, dtype: Any) -> Array:
    """An array (sample, step, feature) of the compute dtype, in C order."""
    if X is None:
        raise ValueError("X is None, expected an array (sample, step, feature) or a panel")
    if isinstance(X, np.ma.MaskedArray):  # what is masked is missing, and asarray would unmask it
        X = np.where(np.ma.getmaskarray(X), np.nan, X.data).astype(np.result_type(X.dtype, np.float16))
    array = as_array(X, "X", "an array (sample, step, feature)")
    kind = array.dtype
    if kind.kind not in "fiub":
        raise ValueError(f"X must hold float32 or float64 numbers, not dtype {kind}")
    _check_shape(net, array.shape, steps)
    if dtype is None:
        dtype = np.float32 if kind in (np.float32, np.float16) else np.float64
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused by name
        return np.require(array, dtype, ["C", "A"])


def _batch_on_gpu(net: Network, X: Any, steps: int | None, dtype: Any) -> Any:
    """An array (sample, step, feature) that stays where it is, on the GPU."""
    backend = get_backend("cuda")  # says what is missing
    try:
        array = backend.adopt(X)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"X must be an array (sample, step, feature) on the GPU: {error}") from None
    if array.dtype not in (np.float32, np.float64) or dtype not in (None, array.dtype):
        wanted = "float32 or float64" if dtype is None else dtype
        raise ValueError(f"X is {array.dtype} on the GPU, expected {wanted}: convert it there")
    _check_shape(net, array.shape, steps)
    if not array.is_c_contiguous():
        raise ValueError("X on the GPU is not contiguous, expected C order: copy it there into an array of its own")
    return array


def _check_shape(net: Network, shape: tuple[int, ...], steps: int | None) -> None:
    """Refuse a shape that is not (sample, step, feature) of this network."""
    D, wanted = net.n_features, net.steps if steps is None else steps
    T = "T" if wanted is None else wanted
    if len(shape) != 3:
        raise ValueError(f"X has shape {shape}, expected 3 dimensions (sample, step, feature): (n, {T}, {D})")
    if shape[2] != D:
        due = count(D, "feature")
        raise ValueError(
            f"X has {count(shape[2], 'feature')}, expected {due}: shape {shape} where (n, {T}, {D}) is due"
        )
    if (wanted is not None and shape[1] != wanted) or (steps is not None and net.steps not in (None, steps)):
        T = net.steps or T
        due = f"{T} step{'s' * (T != 1)}"
        raise ValueError(f"X has {count(shape[1], 'step')}, expected {due}: shape {shape} where (n, {T}, {D}) is due")
    if shape[0] == 0 or shape[1] == 0:
        raise ValueError(f"X is empty: shape {shape}, expected at least one sample and one step")
