"""The same question again: a few samples of the same shape, with the same options, as a loop over single samples asks.

All that is checked and chosen for an array depends on its shape, dtype and layout and on the options, not on its
numbers. Where these are those of the call before, the numbers are computed at once: of one sample of a small network,
that is half of the time. Whatever goes wrong here goes the long way, which says why.
"""

from __future__ import annotations

from dataclasses import fields
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.kernels.program.inference import keep_plan
from fastlrp.kernels.results import Results
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.panels.windows import Windows
from fastlrp.relevance.arrays import RelevanceArrays
from fastlrp.rules import Aggregate, Rule

Array = npt.NDArray[Any]
#: The rule or its name, and all other options. Those are compared by identity: equal ones go the long way if they are
#: not the same object, as True is 1, which some options take and others refuse.
Options = tuple[str | Rule | None, tuple[object, ...]]
#: What is said of a result besides its numbers. A network that kept a result's origin, itself, would never go.
_SAID = tuple({field.name for field in fields(RelevanceArrays)} - {*Results._fields, "origin"})


class _Kept(NamedTuple):
    """A call, and what computes it; it stands among the network's plans."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rule: str | Rule | None
    options: tuple[object, ...]
    few: Any
    target: int
    said: dict[str, Any]

    @property
    def nbytes(self) -> int:
        return int(self.few.nbytes)


class Answer(NamedTuple):
    """The results for X, all that is said of them, and X as rows of features."""

    results: Results
    said: dict[str, Any]
    rows: Array


def _key(rule: str | Rule | None) -> tuple[str, object]:
    """One place for each kind of rule, so that two rules in turn do not drive each other out."""
    return "again", rule if rule is None or isinstance(rule, str) else type(rule)


def answer(net: object, X: Any, options: Options) -> Answer | None:
    """The same for X as for the last call's; None where that was another one."""
    if type(X) is not np.ndarray or not isinstance(net, Chain):
        return None
    rule, others = options
    kept: _Kept | None = net._plans.get(_key(rule))
    if kept is None or X.shape != kept.shape or X.dtype != kept.dtype or not all(map(is_, others, kept.options)):
        return None
    if not (X.flags.c_contiguous and X.flags.aligned and (kept.rule is rule or kept.rule == rule)):
        return None
    rows = X.reshape(-1, X.shape[-1])
    try:
        return Answer(kept.few.run(rows, kept.target), kept.said, rows)
    except (FloatingPointError, MemoryError):
        return None


def remember(
    net: AnyNetwork,
    X: Any,
    windows: Windows,
    steps: int,
    options: Options,
    target: int = 0,
    said: RelevanceArrays | None = None,
    ask: tuple[Rule | None, Aggregate, bool] = (None, "sequence", False),
) -> None:
    """Keep a call that was computed on the CPU, if it was of a few samples that kernels read where they lie; ``said``
    is its result, and ``ask`` the rule, aggregate and reduced that kernels got."""
    if type(X) is not np.ndarray or not np.may_share_memory(X, windows.rows):  # kernels got a copy
        return
    if not isinstance(net, Chain) or net.sequence or net.n_static or net.mask_value is not None:
        return
    from fastlrp.kernels.cpu.few_host import few_of

    rule, aggregate, reduced = ask
    few = few_of(net, windows, steps, rule, aggregate, reduced=reduced)
    if few is not None:
        words = {} if said is None else {name: getattr(said, name) for name in _SAID}
        keep_plan(net, _key(options[0]), _Kept(X.shape, X.dtype, *options, few, target, words))
