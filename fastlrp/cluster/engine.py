"""What all of fastlrp.cluster asks of Dask, and what it asks users for, checked."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlrp.checks import check
from fastlrp.explain import Given, check_network, checked_options, run, target_unit
from fastlrp.kernels.results import Results, Spread
from fastlrp.messages import install_hint
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.model.fingerprint import fingerprint
from fastlrp.rules import Rule, as_rule


class Ask(NamedTuple):
    """What is to be computed, checked; without a rule, predictions."""

    rule: Rule | None
    unit: int
    aggregate: Any
    reduced: bool
    threads: int

    def run(self, given: Given) -> tuple[Results, Spread | None]:
        """The results of a part."""
        return run(
            given, "cpu", self.threads, False, rule=self.rule, target=self.unit, aggregate=self.aggregate,
            reduced=self.reduced,
        )  # fmt: skip


def asked(
    net: AnyNetwork, *, device: str, threads: int, rule: Any = None, target: Any = None, aggregate: Any = "sequence",
    reduce: Any = None,
) -> Ask:  # fmt: skip
    """The options that do not depend on the data.

    Raises
    ------
    ValueError
        If one is refused, or the network is none.
    """
    check_network(net)
    check("device", device)
    if device == "cuda":
        raise ValueError("fl.cluster computes on the CPU, not on device='cuda': leave device= out")
    check("threads", threads, required=True)
    if rule is None:
        return Ask(None, 0, "sequence", False, threads)
    if reduce not in (None, "none", "steps"):
        raise ValueError(f"reduce= takes 'none' or 'steps', not {reduce!r}")
    chosen = as_rule(rule)
    return Ask(
        chosen, target_unit(net, target), checked_options(aggregate, None, chosen), reduce == "steps", int(threads)
    )


def needed(module: str) -> Any:
    """A module of Dask.

    Raises
    ------
    ImportError
        If it is missing; the message says what to install.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        hint = install_hint("dask[dataframe,distributed]", "dask")
        raise ImportError(f"fl.cluster needs Dask, which is missing ({error}): {hint}") from None


def shared(net: AnyNetwork) -> Any:
    """The network as one key of a graph, which travels to each worker once and not with each task."""
    nets = (net,) if isinstance(net, Chain) else tuple(net.networks)
    named = repr([(one.steps, one.features, one.static, one.outputs) for one in nets])
    name = f"fastlrp-network-{fingerprint(nets)}-{needed('dask.base').tokenize(named)}"
    return needed("dask").delayed(net, name=name, traverse=False)


def is_dask_array(data: object) -> bool:
    """Whether it is a dask array; Dask is not imported for it."""
    return _is(data, "dask.array", "Array")


def is_dask_frame(data: object) -> bool:
    """Whether it is a dask DataFrame."""
    return _is(data, "dask.dataframe", "DataFrame")


def _is(data: object, module: str, name: str) -> bool:
    return any(kind.__module__.startswith(module) and kind.__name__ == name for kind in type(data).__mro__)


def nothing(net: AnyNetwork, steps: int, dtype: np.dtype[Any], ask: Ask) -> tuple[Results, Spread | None]:
    """The results of no sample."""

    def empty(*shape: int) -> Any:
        return np.empty(shape, dtype)

    values = empty(0, *net.relevance_shape(steps, reduced=ask.reduced))
    results = Results(values, empty(0, net.n_outputs), empty(0), empty(0), empty(0))
    if isinstance(net, Chain):
        return results, None
    return results, Spread(values, results.prediction, np.zeros(net.n_columns), len(net.networks))
