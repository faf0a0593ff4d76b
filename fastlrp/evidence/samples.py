"""Samples that explanations are tested on: complete windows, some at a time, and what a network says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.batches import batch_of
from fastlrp.explain import Given, panel_steps, run
from fastlrp.kernels.results import on_gpu
from fastlrp.masks import masked_rows
from fastlrp.messages import count
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.model.layers import WEIGHTLESS, Dense
from fastlrp.objects import is_polars
from fastlrp.panels.infinities import locate_infinite_array
from fastlrp.panels.polars import from_polars
from fastlrp.panels.samples import Samples, from_array, from_panel
from fastlrp.panels.windows import Windows
from fastlrp.rules import Rule

Array = npt.NDArray[Any]
_BYTES = 1 << 22  # of gathered windows at once, which stay in cache while they are made


def samples_of(net: AnyNetwork, X: Any, steps: int | None, dtype: npt.DTypeLike | None) -> tuple[Samples, pd.Index]:
    """The complete windows of an array or a panel, and the names of its rows.

    Windows with masked steps are left out: what stands in for a feature there would make the step count.

    Raises
    ------
    ValueError
        If X is neither, holds an infinite value, or has no complete window.
    """
    if net.n_static:
        raise ValueError(
            "networks with static features are not tested yet: compare and faithfulness change windows alone"
        )
    if on_gpu(X):
        raise ValueError("X lives on the GPU, expected an array or a panel in the host's memory: copy it there")
    if is_polars(X):
        X = from_polars(X, net.features or ())
    if not isinstance(X, np.ndarray) and hasattr(X, "columns"):
        samples = from_panel(X, panel_steps(net, steps), net.features, cast(Any, dtype), net.n_features)
        samples = samples.take(np.argsort(samples.caller, kind="stable"))
        names = X.index
    else:
        batch = batch_of(net, X, steps, dtype)
        if np.isinf(batch).any():
            locate_infinite_array(batch, net.features)
        samples = from_array(batch, batch.shape[1]).take(np.flatnonzero(~np.isnan(batch).any(axis=(1, 2))))
        names = pd.RangeIndex(len(batch), name="sample")
    samples = _unmasked(net, samples)
    if not len(samples):
        raise ValueError(
            f"no row of X has a prediction: of {count(samples.n_given, 'row')} none ends a full window without a "
            "missing value"
        )
    return samples, names


def _unmasked(net: AnyNetwork, samples: Samples) -> Samples:
    """The samples without a masked step."""
    for one in (net,) if isinstance(net, Chain) else net.networks:
        masked = None if one.mask_value is None else masked_rows(samples.rows, one.mask_value)
        if masked is not None:
            so_far = np.concatenate([[0], np.cumsum(masked)])
            some = so_far[samples.starts + samples.steps] == so_far[samples.starts]
            samples = samples.take(np.flatnonzero(some))
    return samples


def drawn(samples: Samples, n: int | None, seed: int) -> Samples:
    """At most ``n`` of the samples, drawn at random, in their order; all if it is None."""
    if n is None or n >= len(samples):
        return samples
    return samples.take(np.sort(np.random.default_rng(seed).choice(len(samples), n, replace=False)))


def gather(samples: Samples, which: Any) -> Array:
    """Windows (sample, step, feature) of some samples, copied."""
    return samples.rows[samples.starts[which, None] + np.arange(samples.steps)]


def blocks(samples: Samples, copies: int = 1) -> Iterator[slice]:
    """Samples some at a time, so that ``copies`` of their windows take bounded memory."""
    one = copies * samples.steps * samples.rows.shape[1] * samples.rows.itemsize
    size = max(1, _BYTES // one)
    return (slice(k, min(k + size, len(samples))) for k in range(0, len(samples), size))


@dataclass(frozen=True)
class Model:
    """What a network says of one output: its score, before the activation, and the relevance of features or cells."""

    net: AnyNetwork
    unit: int
    threads: int | None

    @cached_property
    def _scorer(self) -> AnyNetwork:
        return _linear(self.net)

    def scores(self, X: Array) -> Array:
        """Scores (sample,) of windows (sample, step, feature), float64."""
        results, _ = run(_given(self._scorer, X), "cpu", self.threads, False)
        return results.prediction[:, self.unit].astype(np.float64)

    def relevance(self, X: Array, rule: Rule, by: str) -> tuple[Array, Array]:
        """Relevance (sample, unit) by feature or cell, and how much of each score is unattributed; float64."""
        ask: dict[str, Any] = {"rule": rule, "target": self.unit, "reduced": by == "feature"}
        results, _ = run(_given(self.net, X), "cpu", self.threads, False, **ask)
        share = np.divide(
            np.abs(results.unattributed), np.abs(results.score), out=np.zeros(len(X)), where=results.score != 0
        )
        return results.values.reshape(len(X), -1).astype(np.float64), share


def _given(net: AnyNetwork, X: Array) -> Given:
    n, T, D = X.shape
    return Given(net, X, Windows(np.ascontiguousarray(X).reshape(n * T, D)), T)


def _linear(net: AnyNetwork) -> AnyNetwork:
    """The network whose predictions are its scores; itself where they are already."""
    if not isinstance(net, Chain):
        members = [_linear(one) for one in net.networks]
        same = all(one is other for one, other in zip(members, net.networks, strict=True))
        return net if same else type(net)(members)
    at = max(k for k, layer in enumerate(net.layers) if not isinstance(layer, WEIGHTLESS))
    last = net.layers[at]
    if not isinstance(last, Dense) or last.activation == "linear":
        return net
    layers = (*net.layers[:at], replace(last, activation="linear"), *net.layers[at + 1 :])
    return net.replaced(layers=layers)
