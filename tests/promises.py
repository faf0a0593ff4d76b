"""What fastlrp promises of every network, one measure a promise: drawn cases go in, errors come out.

``test_properties.py`` tries each on a few dozen cases, ``scripts/trust/properties.py`` on thousands.
"""

from __future__ import annotations

import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import h5py
import numpy as np
import numpy.typing as npt
import oracles
import pandas as pd
import reference
from helpers import TOTALS
from hypothesis import strategies as st
from strategies import Case, given, network, options, questions, reference_answer, width

import fastlrp as fl
from fastlrp.kernels.cpu import few_host

Array = npt.NDArray[Any]
#: Errors by name, a number a row: gaps relative to the row's scale, or counts of numbers whose bits differ.
Errors = dict[str, Array]
#: The largest errors that are allowed, by name and quantile; those of quantile 1 hold for each case.
Bounds = Mapping[str, Mapping[float, float]]


class Promise(NamedTuple):
    """Cases, the errors of one of them, and the errors that are allowed."""

    cases: st.SearchStrategy[Any]
    errors: Callable[[Any], Errors]
    bounds: Bounds


def broken(found: Errors, bounds: Bounds, *, certain: bool = False) -> list[str]:
    """What the errors break, in words, or what is ``certain``: bounds of single cases. NaN breaks every bound."""
    return [
        f"{name}: {value:.1e} at quantile {quantile:g}, expected at most {bound:.1e}"
        for name, errors in found.items()
        for quantile, bound in bounds[name].items()
        if quantile == 1.0 or not certain
        if not (value := np.quantile(errors, quantile)) <= bound
    ]


@contextmanager
def quiet() -> Iterator[None]:
    """Rules may lose relevance by definition, and unbounded cells explode; results say so, and promises are about them.

    A row that overflows has the same bits wherever it is computed, and breaks every bound on numbers.
    """
    with warnings.catch_warnings():
        for kind in (fl.ConservationWarning, fl.OverflowWarning):
            warnings.simplefilter("ignore", kind)
        yield


def explained(case: Case, **asked: Any) -> fl.Relevance:
    """The answer to a case, in its own dtype unless another is asked for."""
    with quiet():
        return network(case.layers).explain(given(case), **{"dtype": case.X.dtype, **options(case), **asked})


# -- numbers beside a row's scale --------------------------------------------------------------------------------------


def rows_of(numbers: Any) -> Array:
    """An array (n, ...) as (n, numbers) in float64."""
    numbers = np.asarray(numbers, np.float64)
    return numbers.reshape(len(numbers), -1)


def parts(answer: Any) -> dict[str, Array]:
    """Relevance and totals by name, of a Relevance or of the reference's answer."""
    found = answer if isinstance(answer, dict) else vars(answer)
    static = found.get("static")
    names = ("values", *TOTALS, *(["static"] if static is not None and np.size(static) else []))
    return {name: rows_of(found[name]) for name in names}


def scale_of(answer: Any, dtype: npt.DTypeLike) -> Array:
    """A row's scale (n,): the largest of its relevance and totals, or the least number whose rounding does not
    underflow in the dtype of the computation."""
    least = np.finfo(dtype).tiny / np.finfo(dtype).eps
    return np.max([np.abs(numbers).max(axis=1, initial=least) for numbers in parts(answer).values()], axis=0)


def beside(gap: Array, scale: Array) -> Array:
    """Each row's largest gap beside its scale."""
    return np.abs(rows_of(gap)).max(axis=1, initial=0.0) / scale


def gaps(got: fl.Relevance, want: Any) -> Array:
    """The largest error of each row beside the wanted row's scale."""
    scale, ours, theirs = scale_of(want, got.values.dtype), parts(got), parts(want)
    return np.max([beside(ours[name] - theirs[name], scale) for name in theirs], axis=0)


def prediction_gaps(got: Array, want: Array) -> Array:
    """Errors of predictions beside the row's largest one, or 1 where that is less."""
    got, want = rows_of(got), rows_of(want)
    return beside(got - want, np.maximum(1.0, np.abs(want).max(axis=1)))


def whole(rel: fl.Relevance) -> Array:
    """What adds up to the score: relevance, and what reached the initial state."""
    found = parts(rel)
    return sum(found[name].sum(axis=1) for name in ("values", "initial_state", "static") if name in found)


def sums(case: Case) -> Errors:
    """Relevance + initial state + unattributed = score, of every step or summed over steps."""
    found = []
    for reduce in (None, "steps"):
        rel = explained(case, reduce=reduce)
        found.append(beside(rel.score - whole(rel) - rel.unattributed, scale_of(rel, rel.values.dtype)))
    return {str(case.X.dtype): np.concatenate(found)}


def conserves(case: Case) -> Errors:
    """With delta = 1, relevance + initial state = score, and nothing is unattributed."""
    rel = explained(case)
    lost = np.stack([rel.score - whole(rel), rel.unattributed], axis=1)
    return {"delta = 1": beside(lost, scale_of(rel, rel.values.dtype))}


def reconciles(case: Case) -> Errors:
    """Both; integrated gradients add up to the error of their nodes alone, which the reference shares."""
    if isinstance(case.rule, fl.IntegratedGradients):
        case = replace(case, rule=fl.GradientXInput())
    found = sums(case)
    if isinstance(case.rule, reference.Rule) and case.X.dtype == np.float64:
        rule = replace(case.rule, name="arras", delta=1.0, recurrent=True)
        found |= conserves(replace(case, rule=rule, aggregate="sequence"))
    return found


def agrees(case: Case) -> Errors:
    """Relevance, totals and predictions are the slow reference's."""
    want, got, summed = reference_answer(case), explained(case), explained(case, reduce="steps")
    of_sums = beside(summed.values - want["values"].sum(axis=1), scale_of(want, case.X.dtype))
    name = str(case.X.dtype)
    return {
        name: np.concatenate([gaps(got, want), of_sums]),
        f"{name} predictions": prediction_gaps(got.prediction, want["prediction"]),
    }


def differentiates(case: Case) -> Errors:
    """As eps goes to 0 arras is x times the gradient with gates held constant, and gradient x input is x times the
    gradient: both by automatic differentiation. Totals have no such oracle, and are taken as they are."""
    # eps is far below any z but 0, of which it keeps a share eps/z; numbers as near to 0 as 4e-8 were drawn
    read = np.array([oracles.reads(case.layers, x) for x in case.X])
    if not read.any():
        return {}
    case = replace(case, X=case.X[read], S=None if case.S is None else case.S[read])
    beside_x = [()] * len(case.X) if case.S is None else case.S
    rule = reference.Rule(eps=1e-22, delta=0.0, stabilizer="absorbed")
    found = {}
    for name, asked, oracle in (
        ("arras", replace(case, rule=rule, aggregate="sequence"), oracles.x_times_gradient),
        ("gradient x input", replace(case, rule=fl.GradientXInput(), aggregate="sequence"), oracles.input_x_gradient),
    ):
        got = explained(asked)
        wanted = [oracle(case.layers, x, case.target, case.at_step, s) for x, s in zip(case.X, beside_x, strict=True)]
        want = parts(got) | {"values": rows_of([values for values, _ in wanted])}
        if case.S is not None:
            want["static"] = rows_of([static for _, static in wanted])
        found[name] = gaps(got, want)
    return found


@dataclass(frozen=True)
class Reordered:
    """A case, and an order for its features and for the units of one of its layers."""

    case: Case
    features: Array
    layer: int | None
    units: Array


@st.composite
def reordered(draw: st.DrawFn) -> Reordered:
    """Any case and any orders; without a layer where there is none below another."""
    case = draw(questions())
    weighted = [i for i, layer in enumerate(case.layers) if layer["kind"] not in ("dropout", "masking", "static")]
    layer = draw(st.sampled_from(weighted[:-1])) if len(weighted) > 1 else None
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = case.layers[layer or 0]
    units = 0 if layer is None else width(chosen) // (2 if chosen.get("merge_mode") == "concat" else 1)
    return Reordered(case, rng.permutation(case.X.shape[2]), layer, rng.permutation(units))


def permutes(drawn: Reordered) -> Errors:
    """Another order of features, with the weights', is that order of relevance; one of units changes nothing."""
    case, order = drawn.case, drawn.features
    want, rule = explained(case), case.rule
    if isinstance(rule, fl.IntegratedGradients) and rule.baseline is not None:
        rule = fl.IntegratedGradients(rule.n_steps, np.asarray(rule.baseline)[..., order])
    layers = oracles.with_features_permuted(case.layers, order)
    got = explained(replace(case, layers=layers, X=case.X[:, :, order], rule=rule))
    there = parts(want) | {"values": rows_of(np.asarray(want.values).reshape(case.X.shape)[:, :, order])}
    found = {"features": gaps(got, there)}
    if drawn.layer is not None:
        units = oracles.with_units_permuted(case.layers, drawn.units, drawn.layer)
        found["units"] = gaps(explained(replace(case, layers=units)), want)
    return found


# -- bits --------------------------------------------------------------------------------------------------------------


def differing(one: Any, two: Any) -> int:
    """How many numbers of two arrays differ in their bits; a NaN is any other. All, where shapes or dtypes differ."""
    one, two = np.ascontiguousarray(one), np.ascontiguousarray(two)
    if (one.dtype, one.shape) != (two.dtype, two.shape):
        return max(one.size, two.size, 1)
    bits = f"u{one.itemsize}"
    return int(np.count_nonzero((one.view(bits) != two.view(bits)) & ~(np.isnan(one) & np.isnan(two))))


def differing_relevance(one: Any, two: Any, rows: Any = slice(None)) -> int:
    """The same of all numbers of two results; ``rows`` selects those of the first."""
    names = ["values", "prediction", *TOTALS]
    names += ["static"] * (one.static is not None or two.static is not None)
    return sum(differing(np.asarray(getattr(one, name))[rows], np.asarray(getattr(two, name))) for name in names)


def some(case: Case, rows: Any) -> Case:
    """The case with some of its samples."""
    return replace(case, X=case.X[rows], S=None if case.S is None else case.S[rows])


DTYPES = st.sampled_from([np.float32, np.float64])
_SIZES = st.sampled_from([*range(1, few_host.MOST + 2), 40, 64, 65, 129, 300, 700])


@dataclass(frozen=True)
class Batch:
    """A case, how it is summed, and rows of it in another order."""

    case: Case
    reduce: str | None
    order: Array
    cut: int


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Any case of few or many samples, some with a value missing."""
    case = draw(DTYPES.flatmap(lambda dtype: questions(dtype, _SIZES)))
    rng, n = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), len(case.X)
    X = case.X.copy()
    if draw(st.booleans()):
        X[tuple(rng.integers(X.shape))] = np.nan
    return Batch(replace(case, X=X), draw(st.sampled_from([None, "steps"])), rng.permutation(n), int(rng.integers(n)))


def same_bits_however_computed(batch: Batch) -> Errors:
    """One sample alone, or in any batch, on any number of threads, by either machine, has one answer."""
    case, order, cut, ask = batch.case, batch.order, batch.cut, {"reduce": batch.reduce}
    want = explained(case, threads=1, **ask)
    pieces = [slice(0, cut), slice(cut, None)] if cut else [slice(None)]
    net = network(case.layers)
    with quiet():
        predicted = net.predict(given(case), dtype=case.X.dtype)
    predicted = predicted[:, case.at_step] if net.sequence else predicted
    with patch.object(few_host, "MOST", 0):
        by_tiles = explained(case, **ask)
    frozen = np.asfortranarray(case.X)
    frozen.setflags(write=False)
    found = {
        "threads": sum(differing_relevance(want, explained(case, threads=k, **ask)) for k in (2, 3)),
        "rows alone": sum(differing_relevance(want, explained(some(case, [k]), **ask), [k]) for k in order[:6]),
        "pieces": sum(differing_relevance(want, explained(some(case, piece), **ask), piece) for piece in pieces),
        "orders of rows": differing_relevance(want, explained(some(case, order), **ask), order),
        "machines": differing_relevance(want, by_tiles),
        "layouts in memory": differing_relevance(want, explained(replace(case, X=frozen), **ask)),
    }
    if isinstance(case.rule, reference.Rule):  # gradients need other numbers of the same pass, and may round otherwise
        found["predict beside explain"] = differing(predicted, want.prediction)
    return {name: np.array([count]) for name, count in found.items()}


# -- panels, files, clusters -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """A network that knows its columns, a panel for it, and what is asked."""

    net: fl.Network
    frame: pd.DataFrame  # index (date, ticker)
    ask: dict[str, Any]
    min_steps: int | None
    draws: int  # numbers for what else varies

    def __repr__(self) -> str:
        return f"Panel({self.net!r}, {len(self.frame)} rows, {self.ask}, min_steps={self.min_steps})"

    def explained(self) -> fl.Relevance:
        with quiet():
            return self.net.explain(self.frame, **self.ask, **self.least())

    def least(self) -> dict[str, int]:
        return {} if self.min_steps is None else {"min_steps": self.min_steps}


@st.composite
def panels(draw: st.DrawFn, orders: tuple[str, ...], **kinds: Any) -> Panel:
    """A panel for any case, by asset, by time or in no order, with late starts, early ends, holes and missing values.

    One asset has every month and value: there is a window, and months that the others lack are known to be months.
    """
    case = draw(DTYPES.flatmap(lambda dtype: questions(dtype, st.just(1), **kinds)))
    (T, D), S = case.X.shape[1:], 0 if case.S is None else case.S.shape[1]
    draws = draw(st.integers(0, 2**32 - 1))
    rng, months = np.random.default_rng(draws), T + draw(st.integers(1, 30))
    keys = [(month, 0) for month in range(months)]
    for asset in range(1, draw(st.integers(1, 12))):
        first, last = sorted(rng.integers(0, months, 2)) if rng.random() < 0.4 else (0, months - 1)
        keys += [(month, asset) for month in range(first, last + 1) if rng.random() > 0.03]
    values = rng.normal(size=(len(keys), D + S)).astype(case.X.dtype)
    values[months:][rng.random((len(keys) - months, D + S)) < 0.1 / (D + S)] = np.nan
    dates = pd.period_range("2001-01", periods=months, freq="M").to_timestamp()
    index = pd.MultiIndex.from_tuples([(dates[m], f"A{a:02d}") for m, a in keys], names=["date", "ticker"])
    columns = [*(f"f{k}" for k in range(D)), *(f"s{k}" for k in range(S))]
    frame, order = pd.DataFrame(values, index, columns), draw(st.sampled_from(orders))
    if order != "asset":
        frame = frame.sort_index() if order == "time" else frame.iloc[rng.permutation(len(frame))]
    net = network(case.layers, features=columns[:D], static=columns[D:] or None, steps=T)
    least = draw(st.integers(1, T)) if net.mask_value is not None and draw(st.booleans()) else None
    ask = {key: value for key, value in options(case).items() if key != "device"}
    return Panel(net, frame, {**ask, "reduce": draw(st.sampled_from([None, "steps"]))}, least, draws)


def windows_by_hand(panel: Panel) -> tuple[Array, list[Array], list[Array]]:
    """The rows that have a window, the windows and the static features, by looking up month after month."""
    net, T, D = panel.net, panel.net.steps, panel.net.n_features
    rows = {(date.year * 12 + date.month, ticker): k for k, (date, ticker) in enumerate(panel.frame.index)}
    values, found, windows, beside_them = panel.frame.to_numpy(), [], [], []
    for (month, ticker), row in rows.items():
        there = [rows.get((month - lag, ticker)) for lag in range(T)]
        known = there.index(None) if None in there else T
        begins = all(earlier is None for earlier in there[known:])  # an asset's history, rather than behind a hole
        if known < T and not (begins and panel.min_steps is not None and known >= panel.min_steps):
            continue
        window = np.full((T, D), net.mask_value or 0.0, values.dtype)
        window[T - known :] = values[there[:known][::-1], :D]
        if not np.isnan(window).any() and not np.isnan(values[row, D:]).any():
            found.append(row)
            windows.append(window)
            beside_them.append(values[row, D:])
    return np.array(found, int), windows, beside_them


def panel_is_its_windows(panel: Panel) -> Errors:
    """A panel's rows have the bits of an array of their windows, and no other row has a number."""
    got = panel.explained()
    rows, windows, static = windows_by_hand(panel)
    others = np.setdiff1d(np.arange(len(panel.frame)), rows)
    names = ("values", "prediction", *TOTALS, *(["static"] if panel.net.n_static else []))
    wrong = sum(np.count_nonzero(~np.isnan(np.asarray(getattr(got, name))[others])) for name in names)
    if len(rows):
        X = np.array(windows)
        with quiet():
            want = panel.net.explain([X, np.array(static)] if panel.net.n_static else X, **panel.ask)
        for name in names:
            ours, theirs = np.asarray(getattr(got, name))[rows], np.asarray(getattr(want, name))
            wrong += differing(ours, theirs.reshape(ours.shape) if ours.size == theirs.size else theirs)
    return {"panels": np.array([wrong])}


def _write(frame: pd.DataFrame, path: Path, rng: np.random.Generator) -> None:
    """A panel as Parquet, in row groups, or as datasets of HDF5."""
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=int(rng.integers(5, 100)))
        return
    with h5py.File(path, "w") as file:
        file["panel/date"] = frame.index.get_level_values("date").strftime("%Y-%m-%d").to_list()
        file["panel/ticker"] = np.array(frame.index.get_level_values("ticker").to_list(), "S3")
        file["panel/X"] = frame.to_numpy()
        file["panel/X"].attrs["columns"] = list(frame.columns)


def file_is_memory(panel: Panel) -> Errors:
    """From file to file, in blocks of few rows, the bits are those of the panel in memory."""
    from fastlrp.files import door  # needs pyarrow

    rng, found = np.random.default_rng(panel.draws), {}
    want = panel.explained()
    with tempfile.TemporaryDirectory() as folder:
        for source, end in zip(("panel.parquet", "panel.h5"), rng.permutation([".parquet", ".h5"]), strict=True):
            _write(panel.frame, Path(folder, source), rng)
            result = Path(folder, f"result-of-{source}").with_suffix(end)
            with patch.multiple(door, _MOST_ROWS=int(rng.integers(5, 200)), _FEWEST_ROWS=1), quiet():
                fl.explain_file(panel.net, Path(folder, source), result, **panel.ask, **panel.least())
            found[source] = np.array([differing_relevance(fl.load_relevance(result), want)])
    return found


def dask_is_memory(panel: Panel) -> Errors:
    """A dask DataFrame's numbers are those of the panel in memory."""
    import dask.dataframe as dd

    want, rng = panel.explained(), np.random.default_rng(panel.draws)
    flat = panel.frame.reset_index("date").sort_index(kind="stable")
    lazy = fl.cluster.explain(dd.from_pandas(flat, npartitions=int(rng.integers(1, 6))), panel.net, **panel.ask,
                              **panel.least())  # fmt: skip
    with quiet():
        table = lazy.compute(scheduler="synchronous").reset_index().set_index(["date", "ticker"]).loc[panel.frame.index]
    arrays = [want.values.reshape(len(want), -1), want.prediction.reshape(len(want), -1)]
    arrays += [np.asarray(getattr(want, name))[:, None] for name in TOTALS]
    if want.static is not None:
        arrays.append(want.static)
    return {"dask frames": np.array([differing(table.to_numpy(), np.concatenate(arrays, axis=1))])}


def dask_array_is_memory(case: Case) -> Errors:
    """A dask array's numbers, chunk by chunk, are those of the array in memory."""
    import dask.array as da

    want, ask = explained(case), {key: value for key, value in options(case).items() if key != "device"}
    chunks = da.from_array(case.X, chunks=(max(1, len(case.X) // 3), -1, -1))
    with quiet():
        got = fl.cluster.explain(chunks, network(case.layers), **ask).compute(scheduler="synchronous")
    return {"dask arrays": np.array([differing_relevance(got, want)])}


# -- there and back ----------------------------------------------------------------------------------------------------


def _endings(layers: list[dict[str, Any]]) -> list[str]:
    """The endings of files that can hold a network: Keras lacks gelu_tanh, and each of its versions a hard_sigmoid."""
    cells = [layer[half] for layer in layers if layer["kind"] == "bidirectional" for half in ("forward", "backward")]
    used = {layer.get(key) for layer in [*layers, *cells] for key in ("activation", "recurrent_activation")}
    masked = layers[0]["kind"] == "masking"
    reversed_masks = masked and any(layer.get("go_backwards") and layer["return_sequences"] for layer in layers)
    if "gelu_tanh" in used or {"hard_sigmoid", "hard_sigmoid_keras2"} <= used or reversed_masks:
        return []
    return [".h5"] if "hard_sigmoid_keras2" in used else [".h5", ".keras"]


def comes_back(case: Case) -> Errors:
    """A network written for Keras and read back, or pickled, has the same bits of everything; so has a saved result."""
    want, net, found = explained(case), network(case.layers), {"networks": 0, "results": 0}
    with tempfile.TemporaryDirectory() as folder:
        nets = [pickle.loads(pickle.dumps(net))]
        for end in _endings(case.layers):
            fl.write_keras(net, Path(folder, f"model{end}"))
            nets.append(fl.read_keras(Path(folder, f"model{end}")))
        for one in nets:
            with quiet():
                again = one.explain(given(case), dtype=case.X.dtype, **options(case))
            found["networks"] += differing_relevance(again, want) + (net_dtypes(one) != net_dtypes(net))
        results = [pickle.loads(pickle.dumps(want))]
        for end in (".parquet", ".h5"):
            want.save(Path(folder, f"relevance{end}"))
            results.append(fl.load_relevance(Path(folder, f"relevance{end}")))
        for one in results:
            found["results"] += differing_relevance(one, want) + (one.rule != want.rule) + (one.network != want.network)
    return {name: np.array([count]) for name, count in found.items()}


def net_dtypes(net: fl.Network) -> list[Any]:
    """The dtypes of a network's weights."""
    return [array.dtype for layer in net for array in getattr(layer, "arrays", ())]


# -- all of them -------------------------------------------------------------------------------------------------------

_TIGHT = {1.0: 1e-10}
#: float32 rounds 5e8 times as much as float64, and a denominator near eps = 1e-3 multiplies that by a thousand.
_FLOAT32 = {0.5: 1e-6, 0.99: 1e-4, 0.999: 1e-3}
_EPS = (1e-3, 1e-2, 0.3)
_FEW = st.integers(1, 6)
_ONCE = ("usual", "usual", "curves", "dense")  # kinds that predict once a sample


def _exact(*names: str) -> Bounds:
    return {name: {1.0: 0.0} for name in names}


def _of_either_dtype(**how: Any) -> st.SearchStrategy[Case]:
    return DTYPES.flatmap(lambda dtype: questions(dtype, **how))


PROMISES = {
    "reconciles": Promise(questions(np.float64, _FEW), reconciles, {"float64": _TIGHT, "delta = 1": _TIGHT}),
    "reconciles in float32": Promise(questions(np.float32, _FEW, _EPS), reconciles, {"float32": _FLOAT32}),
    "agrees": Promise(
        questions(np.float64, _FEW), agrees, {"float64": _TIGHT, "float64 predictions": {1.0: 1e-12}}
    ),
    "agrees in float32": Promise(
        questions(np.float32, _FEW, _EPS), agrees,
        {"float32": _FLOAT32, "float32 predictions": {0.99: 1e-6, 1.0: 1e-5}},
    ),
    "differentiates": Promise(
        questions(np.float64, st.integers(1, 3)), differentiates, {"arras": {1.0: 1e-9}, "gradient x input": _TIGHT}
    ),
    "permutes": Promise(reordered(), permutes, {"features": _TIGHT, "units": _TIGHT}),
    "same bits": Promise(
        batches(), same_bits_however_computed,
        _exact("threads", "rows alone", "pieces", "orders of rows", "machines", "layouts in memory",
               "predict beside explain"),
    ),
    "panels": Promise(panels(("asset", "time", "none")), panel_is_its_windows, _exact("panels")),
    "files": Promise(panels(("asset", "time"), kinds=_ONCE), file_is_memory, _exact("panel.parquet", "panel.h5")),
    "dask frames": Promise(panels(("asset", "time"), kinds=_ONCE), dask_is_memory, _exact("dask frames")),
    "dask arrays": Promise(
        _of_either_dtype(kinds=_ONCE).filter(lambda case: case.S is None), dask_array_is_memory, _exact("dask arrays")
    ),
    "comes back": Promise(_of_either_dtype(samples=_FEW), comes_back, _exact("networks", "results")),
}  # fmt: skip


def network_of(drawn: Any) -> fl.Network:
    """The network of a drawn case of any promise."""
    if isinstance(drawn, Panel):
        return drawn.net
    return network((drawn if isinstance(drawn, Case) else drawn.case).layers)


def rows_in(drawn: Any) -> int:
    """Samples, or a panel's rows, of a drawn case of any promise."""
    if isinstance(drawn, Panel):
        return len(drawn.frame)
    return len((drawn if isinstance(drawn, Case) else drawn.case).X)
