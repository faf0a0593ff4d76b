"""Dask arrays (sample, step, feature): each chunk of samples a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastlrp.batches import check_shape
from fastlrp.checks import as_dtype
from fastlrp.cluster.engine import Ask, asked, needed, shared
from fastlrp.explain import Given, check_rule, labelled, refuse_of_array
from fastlrp.kernels.results import Results
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.panels.windows import Windows
from fastlrp.relevance.result import Relevance


@dataclass(frozen=True, eq=False, repr=False)
class LazyRelevance:
    """A Relevance whose arrays are dask arrays, chunked along samples; each chunk is computed once for all of them.

    Attributes
    ----------
    values : dask array (n, T, D), or (n, D) summed over steps
    prediction : dask array (n,) or (n, outputs)
    score, initial_state, unattributed : dask array (n,)
    """

    values: Any
    prediction: Any
    score: Any
    initial_state: Any
    unattributed: Any
    _labelled: Callable[[Results], Relevance]

    def compute(self, **options: Any) -> Relevance:
        """The Relevance, in memory; options are those of ``dask.compute``."""
        arrays = (self.values, self.prediction, self.score, self.initial_state, self.unattributed)
        found = needed("dask").compute(*arrays, **options)
        results = Results(*map(np.ascontiguousarray, found))
        return self._labelled(results._replace(prediction=results.prediction.reshape(len(results.score), -1)))

    def __repr__(self) -> str:
        """Shape and chunks."""
        return f"<LazyRelevance: {self.values!r}>"


def predict_array(
    X: Any, net: AnyNetwork, *, steps: int | None, dtype: Any, min_steps: int | None = None, **options: Any
) -> Any:  # fmt: skip
    """:func:`fastlrp.cluster.predict` of an array."""
    refuse_of_array(min_steps)
    ask = asked(net, **options)
    kind = _checked(X, net, steps, dtype)
    record = np.dtype([("prediction", kind, (net.n_outputs,))])
    predicted = X.map_blocks(_block, shared(net), ask, record, dtype=record, drop_axis=[1, 2], meta=np.empty(0, record))
    return _one_or_many(predicted["prediction"], net)


def explain_array(
    X: Any, net: AnyNetwork, *, steps: int | None, dtype: Any, min_steps: int | None = None, **options: Any
) -> LazyRelevance:  # fmt: skip
    """:func:`fastlrp.cluster.explain` of an array."""
    refuse_of_array(min_steps)
    ask = asked(net, **options)
    if not isinstance(net, Chain):
        raise ValueError("a dask array is explained by one network, not an Ensemble: explain its .networks one by one")
    kind = _checked(X, net, steps, dtype)
    T, D = int(X.shape[1]), net.n_features
    assert ask.rule is not None
    check_rule(ask.rule, net, T, kind)
    shapes = [(D,) if ask.reduced else (T, D), (net.n_outputs,), (), (), ()]
    record = np.dtype([(name, kind, shape) for name, shape in zip(Results._fields, shapes, strict=True)])
    whole = X.map_blocks(_block, shared(net), ask, record, dtype=record, drop_axis=[1, 2], meta=np.empty(0, record))
    found = Results(*(whole[name] for name in Results._fields))
    found = found._replace(prediction=_one_or_many(found.prediction, net))
    label = partial(_relevance, net=net, steps=T, ask=ask)
    return LazyRelevance(*found, label)


def _relevance(results: Results, *, net: AnyNetwork, steps: int, ask: Ask) -> Relevance:
    assert ask.rule is not None
    return labelled(net, results, steps, ask.rule, ask.unit, reduced=ask.reduced)


def _one_or_many(prediction: Any, net: AnyNetwork) -> Any:
    return prediction[:, 0] if net.n_outputs == 1 else prediction


def _checked(X: Any, net: AnyNetwork, steps: int | None, dtype: Any) -> np.dtype[Any]:
    """The dtype to compute in; X's shape and chunks are what is expected.

    Raises
    ------
    ValueError
        If they are not.
    """
    if net.n_static:
        raise ValueError(
            "fl.cluster takes no pair of dask arrays, as a network with static features needs: give it a dask "
            "DataFrame with columns of both"
        )
    check_shape(net, X.shape, steps)
    if X.numblocks[1:] != (1, 1):
        raise ValueError(
            f"X has {X.numblocks[1]} chunks of steps and {X.numblocks[2]} of features, expected chunks of samples "
            "alone: X.rechunk({1: -1, 2: -1})"
        )
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X must hold float32 or float64 numbers, not dtype {X.dtype}")
    if dtype is not None:
        return as_dtype(dtype)
    return np.dtype(np.float32 if X.dtype in (np.float32, np.float16) else np.float64)


def _block(X: Any, net: AnyNetwork, ask: Ask, record: np.dtype[Any], block_info: Any = None) -> Any:
    """The results of a chunk as an array of records."""
    out = np.empty(len(X), record)
    if not len(X):
        return out
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused by name
        X = np.require(X, record["prediction"].base, ["C", "A"])
    n, T, D = X.shape
    try:
        results, _ = ask.run(Given(net, X, Windows(X.reshape(n * T, D)), T))
    except ValueError as error:
        raise ValueError(f"{error} (samples are counted from {_start(block_info)})") from None
    for name in record.names or ():
        out[name] = getattr(results, name)
    return out


def _start(block_info: Any) -> str:
    """The number of a chunk's first sample, if sizes are known."""
    first = block_info[0]["array-location"][0][0] if block_info else None
    return f"{first:,} on" if isinstance(first, int | np.integer) else "the start of its chunk"
