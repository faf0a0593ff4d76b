"""predict and explain: check the input, choose a backend, run its kernels, label the results."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeVar, cast

import numpy as np
import numpy.typing as npt

import fastlrp.kernels.program.rules  # noqa: F401  # registers the rules with their programs
from fastlrp.again import answer, remember
from fastlrp.batches import batch_of, joined_batch
from fastlrp.checks import as_dtype, check
from fastlrp.kernels import WORTH_A_GPU, get_backend
from fastlrp.kernels.memory import with_room
from fastlrp.kernels.results import Results, Spread, on_gpu
from fastlrp.messages import count, foreign_network, users_line
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork, Chains
from fastlrp.objects import as_array, is_polars
from fastlrp.panels.static import column_names, counted_at_end
from fastlrp.panels.windows import Windows
from fastlrp.progress import progress_bar
from fastlrp.relevance.arrays import overflow_of, warn_if_unattributed, warn_of_overflow
from fastlrp.relevance.result import Relevance
from fastlrp.relevance.saturation import some_rows
from fastlrp.rules import Aggregate, Rule, as_rule

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from fastlrp.panels.panel import Panel

Array = npt.NDArray[Any]
R = TypeVar("R")


class Given(NamedTuple):
    """A user's arguments, checked."""

    net: AnyNetwork
    X: Any
    windows: Windows
    steps: int
    panel: Panel | None = None
    flat: bool = False  # X is (sample, feature), or a panel, of a network that takes one step


def predict(
    net: AnyNetwork,
    X: Array | pd.DataFrame | pl.DataFrame,
    *,
    steps: int | None = None,
    min_steps: int | None = None,
    static: Sequence[str] | None = None,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Array | pd.Series | pd.DataFrame | pl.DataFrame:
    """Predictions of a network; see :meth:`fastlrp.Network.predict`."""
    options = None, (steps, min_steps, static, device, dtype, threads, progress)
    if (found := answer(net, X, options)) is not None:
        prediction = _one_or_many(found.results.prediction)
        warn_if_infinite(prediction, None)
        return prediction
    given = _given(net, X, steps, dtype, min_steps, static)
    prediction = run(given, device, threads, progress)[0].prediction
    if may_come_again(given, device, progress):
        remember(net, X, given.windows, given.steps, options)
    if net.sequence:
        prediction = prediction.reshape(len(prediction), given.steps, net.n_outputs)
    prediction = _one_or_many(prediction)
    warn_if_infinite(prediction, None if given.panel is None else given.panel.index)
    if given.panel is None:
        return prediction
    import pandas as pd

    index = given.panel.index
    if is_polars(X):
        from fastlrp.panels.polars import to_polars

        names = prediction_names(net, given.steps)
        return to_polars(index, dict(zip(names, prediction.reshape(len(index), -1).T, strict=True)))
    if prediction.ndim == 1:
        return pd.Series(prediction, index=index, name="prediction")
    columns: Any = list(net.outputs or range(net.n_outputs))
    if net.sequence:
        steps_ = pd.RangeIndex(given.steps, name="step")
        columns = steps_ if net.n_outputs == 1 else pd.MultiIndex.from_product([steps_, columns], names=["step", None])
    return pd.DataFrame(prediction.reshape(len(index), -1), index=index, columns=columns)


def warn_if_infinite(prediction: Array, index: pd.Index | None) -> None:
    """Warn of rows, named by the panel's ``index`` if there is one, whose prediction is infinite."""
    if on_gpu(prediction) or (prediction.size == 1 and not math.isinf(prediction.item())):  # one sample, cheaply
        return
    rows = np.flatnonzero(np.isinf(prediction.reshape(len(prediction), -1)).any(axis=1))
    if rows.size:
        text = overflow_of(rows, len(prediction), prediction.dtype, index)
        warn_of_overflow(text, prediction.dtype, "they have an infinite prediction")


def explain(
    net: AnyNetwork,
    X: Array | pd.DataFrame | pl.DataFrame,
    *,
    rule: str | Rule = "arras",
    steps: int | None = None,
    min_steps: int | None = None,
    static: Sequence[str] | None = None,
    target: int | str | None = None,
    aggregate: Aggregate = "sequence",
    at_step: int = -1,
    reduce: Literal["steps"] | None = None,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Relevance:
    """Relevance of every input of every sample; see :meth:`fastlrp.Network.explain`."""
    options = rule, (steps, min_steps, static, target, aggregate, at_step, reduce, device, dtype, threads, progress)
    if (found := answer(net, X, options)) is not None:
        numbers = found.results._asdict() | {"prediction": _one_or_many(found.results.prediction)}
        return finished(Relevance.of(**numbers, **found.said, origin=(net,)), found.rows)
    check_network(net, sequences=True)
    chosen, unit = as_rule(rule), target_unit(net, target)
    aggregate = checked_options(aggregate, reduce, chosen)
    check_at_step(net, at_step)
    given = _given(net, X, steps, dtype, min_steps, static)
    step, reduced = _explained_step(net, at_step, given.steps, aggregate), reduce is not None or given.flat
    check_rule(chosen, net, given.steps, np.dtype(given.windows.rows.dtype))
    ask: dict[str, Any] = {"rule": chosen, "target": unit, "aggregate": aggregate, "reduced": reduced}
    if step is not None:
        ask["at_step"] = step
    results, spread = run(given, device, threads, progress, **ask)
    if step is not None:
        of_step = slice(step * net.n_outputs, (step + 1) * net.n_outputs)
        results = results._replace(prediction=np.ascontiguousarray(results.prediction[:, of_step]))
        if spread is not None:
            spread = spread._replace(prediction=np.ascontiguousarray(spread.prediction[:, of_step]))
    of_panel: dict[str, Any] = {}
    if given.panel is not None:
        of_panel = {"index": given.panel.index, "features": given.panel.features, "by_position": net.features is None}
    relevance = labelled(
        net, results, given.steps, chosen, unit, reduced=reduced, spread=spread, at_step=step, **of_panel
    )
    if may_come_again(given, device, progress):
        remember(net, X, given.windows, given.steps, options, unit, relevance, (chosen, aggregate, reduced))
    return finished(relevance, given.windows.rows)


def may_come_again(given: Given, device: str, progress: bool) -> bool:
    """Whether a call was of an array, on the CPU, without a bar."""
    if given.panel is not None or progress:
        return False
    return device == "cpu" or (device == "auto" and 2.0 * _products(given) < WORTH_A_GPU)


def _products(given: Given) -> int:
    """Products of weights and inputs, over all samples and steps: about half of the operations."""
    return given.windows.n(given.steps) * given.steps * given.net.n_params


def finished(relevance: Relevance, rows: Any) -> Relevance:
    """A result of rows of features that a summary can look at, after warnings of what a user should know."""
    if isinstance(rows, np.ndarray):
        object.__setattr__(relevance, "_inputs", some_rows(rows))
    warn_if_unattributed(relevance)
    return relevance


def check_rule(rule: Rule, net: AnyNetwork, steps: int, dtype: np.dtype[Any]) -> None:
    """Refuse a rule that these windows do not fit, or that has no way through one of the network's layers."""
    rule.check_fits(steps, net.n_features, dtype, net.n_static)
    if (why := refused(rule, net)) is not None:
        raise ValueError(why)


def refused(rule: Rule, net: AnyNetwork) -> str | None:
    """The sentence that says why a rule has no way through a network, or None where it has one."""
    for one in _chains([net]) if rule.refuses else ():
        for cell in one.cells:
            if cell.kind in rule.refuses:
                which = f"{cell.kind} {cell.name!r}" if cell.name else cell.kind
                return f"rule={rule.name!r} was given, but the network has a {which}: {rule.refuses[cell.kind]}"
    return None


def checked_options(aggregate: Aggregate, reduce: object, rule: Rule) -> Aggregate:
    """``aggregate`` as kernels take it: "sequence", True or False; both options checked."""
    if not (aggregate in ("sequence", "average", "last") or isinstance(aggregate, bool)):
        raise ValueError(f"aggregate= takes 'sequence', 'average' (True) or 'last' (False), not {aggregate!r}")
    if reduce not in (None, "steps"):
        raise ValueError(f"reduce= takes 'steps' or None, not {reduce!r}")
    if aggregate != "sequence" and not rule.hands_down:
        raise ValueError(
            f"aggregate={aggregate!r} was given, but the rule {rule.name!r} follows gradients, of which every step has "
            "its own: leave it at 'sequence'"
        )
    return {"average": True, "last": False}.get(cast(str, aggregate), aggregate)


def labelled(
    net: AnyNetwork,
    results: Results,
    steps: int,
    rule: Rule,
    unit: int,
    *,
    reduced: bool,
    index: pd.Index | None = None,
    features: tuple[str, ...] | None = None,
    by_position: bool = False,
    spread: Spread | None = None,
    origin: Sequence[AnyNetwork] | None = None,
    at_step: int | None = None,
) -> Relevance:
    """Kernel results as the Relevance that users get, named by ``features``, of which static ones are the last, or by
    the network's names; ``origin`` are the networks that were explained, if there are several."""
    kind, S = Relevance, net.n_static
    if on_gpu(results.values):
        from fastlrp.relevance.device import DeviceRelevance as kind
    values, beside = results.values, _fields(spread)
    if S:
        values, beside["static"] = _parted(results.values, net, reduced=reduced)
        beside["static_features"] = net.static if features is None else features[-S:]
        features = None if features is None else features[:-S]
        if spread is not None:
            beside["spread"], beside["static_spread"] = _parted(spread.values, net, reduced=reduced)
    return kind.of(
        values=values,
        prediction=_one_or_many(results.prediction),
        score=results.score,
        initial_state=results.initial_state,
        unattributed=results.unattributed,
        index=index,
        features=net.features if features is None else features,  # None: x0, x1 ...
        steps=steps,
        rule=rule,
        target=None if net.n_outputs == 1 else net.outputs[unit] if net.outputs else unit,
        outputs=net.outputs,
        reduced=reduced,
        by_position=by_position,
        at_step=at_step,
        origin=_chains(origin) if origin else (net,) if isinstance(net, Chain) else tuple(net.networks),
        **beside,
    )


def _parted(values: Array, net: AnyNetwork, *, reduced: bool) -> tuple[Array, Array]:
    """Relevance of a window's features and of static ones, which stand behind them in a row; views."""
    n, D, S = len(values), net.n_features, net.n_static
    windows = values[:, :-S]
    return windows if reduced else windows.reshape(n, windows.shape[1] // D, D), values[:, -S:]


def _chains(nets: Sequence[AnyNetwork]) -> tuple[Chain, ...]:
    """Networks, and the members of ensembles."""
    return tuple([one for net in nets for one in (net.networks if isinstance(net, Chains) else (net,))])


def _fields(spread: Spread | None) -> dict[str, Any]:
    if spread is None:
        return {"spread": None, "prediction_spread": None, "share_spread": None, "n_members": None}
    return {
        "spread": spread.values, "prediction_spread": _one_or_many(spread.prediction), "share_spread": spread.share,
        "n_members": spread.n_members,
    }  # fmt: skip


def prediction_names(net: AnyNetwork, steps: int = 1) -> list[str]:
    """Names of the columns of predictions, in tables that hold others, too; ``steps`` is T."""
    outputs = net.outputs or range(net.n_outputs)
    if net.sequence:
        each = [""] if net.n_outputs == 1 else [f", {output}" for output in outputs]
        return [f"prediction[{step}{output}]" for step in range(steps) for output in each]
    return ["prediction"] if net.n_outputs == 1 else [f"prediction[{output}]" for output in outputs]


def _one_or_many(prediction: Array) -> Array:
    """Without the axis of outputs, the last one, where there is one output."""
    if prediction.shape[prediction.ndim - 1] > 1:
        return prediction
    return prediction.reshape(prediction.shape[0]) if on_gpu(prediction) else prediction[..., 0]


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
    **step: int,
) -> tuple[Results, Spread | None]:
    """Results of what was given, explained if there is a rule; of an ensemble, their mean and spread. ``step`` is the
    ``at_step`` of a network that predicts at every step."""
    check("threads", threads)
    net, windows, steps = given.net, given.windows, given.steps
    if net.n_static:
        windows = counted_at_end(windows, net.n_static)
    ask: dict[str, Any] = {
        "rule": rule, "target": target, "aggregate": aggregate, "reduced": reduced, "threads": threads, **step,
    }  # fmt: skip

    def compute(backend: ModuleType) -> tuple[Results, Spread | None]:
        if isinstance(net, Chain):
            return backend.run(net, windows, steps, **ask), None
        from fastlrp.kernels.members import run_members

        return run_members(backend, net.networks, windows, steps, **ask)

    def compute_with_bar(backend: ModuleType) -> tuple[Results, Spread | None]:
        what = "predict" if rule is None else "explain"
        with progress_bar(True, windows.n(steps), what, "samples") as ask["advance"]:
            return compute(backend)

    try:
        if given.panel is not None:
            _look_aside(given.panel)
        how = compute_with_bar if progress else compute
        return run_on_device(how, _device_of(net, device), _products(given), windows.rows, rule, net)
    except FloatingPointError:  # how backends report an infinite value, which is named outside of this error
        pass
    return _refuse_infinite(given)


def run_on_device(
    run: Callable[[ModuleType], R],
    device: str,
    products: float,
    rows: object = None,
    rule: Rule | None = None,
    net: AnyNetwork | None = None,
) -> R:
    """Run on the backend of a device; where "auto" has chosen a GPU that fails, on the CPU. ``products`` of weights
    and inputs, over all samples and steps, are about half of the operations. What only the CPU computes, a ``rule`` or
    a ``net``, runs there."""
    alone = net.cpu_only if isinstance(net, Chain) else None
    if alone is None and rule is not None and not rule.hands_down:
        alone = f"the rule {rule.name!r}"
    if alone is not None:
        device = _cpu_for(alone, device, rows)
    backend = get_backend(device, rows, 2.0 * products)
    try:
        return run(backend)
    except (MemoryError, RuntimeError) as error:
        instead = get_backend("cpu") if device == "auto" and not on_gpu(rows) else backend
        if instead is backend:
            raise
        warnings.warn(f"computed on the CPU instead: {error}", RuntimeWarning, stacklevel=users_line())
        return run(instead)


def run_into(
    backend: ModuleType, results: Results, net: Chain, windows: Windows, steps: int, threads: int | None, **ask: Any
) -> None:
    """Compute a part of a whole: each result is written to its window's place, and other rows stay as they are."""
    if backend is get_backend("cpu"):
        backend.run_into(results, net, windows, steps, threads=threads, **ask)
        return
    assert windows.ends is not None
    assert windows.places is not None
    places = windows.places[windows.ends]
    for whole, part in zip(results, backend.run(net, windows, steps, threads=threads, **ask), strict=True):
        if len(part):
            whole[places] = part[windows.ends]


def predict_windows(net: Chain, windows: Windows, steps: int, *, device: str, threads: int | None) -> Array:
    """Predictions (sample, output) for windows whose places count samples, in the dtype of their rows."""
    assert windows.ends is not None
    n, dtype = int(np.count_nonzero(windows.ends)), windows.rows.dtype
    results = Results(*(np.empty(shape, dtype) for shape in ((0, 0), (n, net.n_outputs), (0,), (0,), (0,))))
    run_on_device(
        lambda backend: run_into(backend, results, net, windows, steps, threads), device, n * steps * net.n_params,
        net=net,
    )  # fmt: skip
    return results.prediction


def _device_of(net: AnyNetwork, device: str) -> str:
    """The device, which for an ensemble is the CPU."""
    if isinstance(net, Chain) or device not in ("auto", "cuda"):
        return device
    if device == "cuda":
        raise ValueError(
            "device='cuda' computes no Ensemble, expected 'auto' or 'cpu': its members, in .networks, one by one"
        )
    return "cpu"


def _cpu_for(what: str, device: str, rows: object) -> str:
    """The CPU, for what no other device computes: a rule, or a network."""
    check("device", device)
    if device == "cuda" or on_gpu(rows):
        given = "X lives on the GPU" if on_gpu(rows) else "device='cuda' was given"
        raise ValueError(f"{given}, but {what} is computed on the CPU alone: give X there, and device='cpu' or 'auto'")
    return "cpu"


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
    elif given.net.n_static:
        for array, own in zip(X, (names, given.net.static), strict=True):
            locate_infinite_array(as_array(array, "X", "arrays"), own)
    elif on_gpu(X):
        locate_infinite_array(cast(Any, rows).copy_to_host().reshape(X.shape), names)
    else:
        locate_infinite_array(as_array(X, "X", "an array"), names)
    todo = ": compute with dtype='float64'" if rows.dtype == np.float32 else ""
    raise ValueError(f"X has a value that is too large for {rows.dtype}, expected finite ones{todo}")


def check_network(net: object, *, sequences: bool = False) -> None:
    """Refuse what is no network or, unless ``sequences``, one that predicts at every step."""
    if not isinstance(net, Chain | Chains):
        raise ValueError(f"expected a fastlrp.Network, not {foreign_network(net) or type(net).__name__}")
    if net.sequence and not sequences:
        raise ValueError(
            "the network returns sequences, expected one that predicts once a sample: its own predict and "
            "explain(at_step=...) take it"
        )


def check_at_step(net: AnyNetwork, at_step: object) -> None:
    """Refuse what is no whole number, and any but the default for a network that predicts once a sample."""
    if isinstance(at_step, bool) or not isinstance(at_step, int | np.integer):
        raise ValueError(f"at_step= takes a whole number, the step whose output is explained, not {at_step!r}")
    if at_step != -1 and not net.sequence:
        raise ValueError(
            f"at_step={at_step} was given, but the network predicts once a sample, not at every step: leave it out"
        )


def _explained_step(net: AnyNetwork, at_step: int, steps: int, aggregate: Aggregate) -> int | None:
    """The step that is explained, 0 to T - 1; None where the network predicts once."""
    if not net.sequence:
        return None
    if not -steps <= at_step < steps:
        raise ValueError(f"at_step={at_step} is outside of a window of {count(steps, 'step')}, expected "
                         f"{-steps} to {steps - 1}")  # fmt: skip
    step = int(at_step) % steps
    if aggregate != "sequence" and step != steps - 1:
        raise ValueError(
            f"aggregate= hands relevance to the last step of a window, but at_step={at_step} explains an earlier one: "
            "leave it at 'sequence'"
        )
    return step


def target_unit(net: AnyNetwork, target: int | str | None) -> int:
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


@with_room
def _given(
    net: AnyNetwork, X: Any, steps: int | None, dtype: Any, min_steps: int | None = None, static: Any = None
) -> Given:
    """X, checked, as windows of rows, with T and, if X is one, its panel."""
    check_network(net, sequences=True)
    if static is not None and not net.n_static:
        raise ValueError("static= was given, but the network has no static features: leave it out")
    if dtype is not None:
        dtype = as_dtype(dtype)
    if not isinstance(X, np.ndarray) and (is_polars(X) or hasattr(X, "columns")):
        from fastlrp.panels.panel import as_panel

        if is_polars(X):
            from fastlrp.panels.polars import from_polars

            X = from_polars(X, (*(net.features or ()), *(net.static or static or ())))
        T, names = panel_steps(net, steps), column_names(X, net, static) if net.n_static else net.features
        least = least_steps(net, T, min_steps)
        panel = as_panel(X, T, names, dtype, n_features=net.n_columns, least=least)
        return Given(net, X, panel.windows, panel.steps, panel, flat=not net.recurrent)
    if static is not None:
        raise ValueError("static= names columns of a panel, but X is none: give the two arrays as [X, S]")
    refuse_of_array(min_steps)
    batch = joined_batch(net, X, steps, dtype) if net.n_static else batch_of(net, X, steps, dtype)
    n, T, D = batch.shape
    return Given(net, X, Windows(batch.reshape((n * T, D))), T, flat=not net.recurrent and np.ndim(X) == 2)


def panel_steps(net: AnyNetwork, steps: int | None) -> int:
    """T for a panel: the network's, or the one given."""
    if steps is None:
        if net.steps is None:
            raise ValueError("steps= is missing: a panel needs the length of its windows, and the network knows none")
        return net.steps
    if net.steps is not None and steps != net.steps:
        raise ValueError(f"steps={steps!r} was given, but the network takes windows of {count(net.steps, 'step')}")
    return steps


def refuse_of_array(min_steps: int | None) -> None:
    """Refuse ``min_steps`` for an array, whose windows are all of one length."""
    if min_steps is not None:
        raise ValueError(
            f"min_steps={min_steps!r} was given, but X is an array, whose windows are all there: fill the first steps "
            "of short ones with the value of the network's Masking layer"
        )


def least_steps(net: AnyNetwork, steps: int, min_steps: int | None) -> int | None:
    """The fewest steps of a panel's windows, as ``min_steps`` asks for them; None: all of T.

    Raises
    ------
    ValueError
        If it is no number from 1 to T, or a network has no Masking, and so was not trained to skip steps.
    """
    if min_steps is None:
        return None
    check("min_steps", min_steps)
    if min_steps > steps:
        raise ValueError(f"min_steps={min_steps} was given, expected at most the {count(steps, 'step')} of a window")
    nets = (net,) if isinstance(net, Chain) else net.networks
    if any(one.mask_value is None for one in nets):
        raise ValueError(
            f"min_steps={min_steps} was given, but the network has no Masking layer: it was trained on windows of "
            f"{count(steps, 'step')}, and how it reads shorter ones was never learnt; train with Masking, or by "
            "LSTMRegressor(min_steps=...)"
        )
    return int(min_steps)
