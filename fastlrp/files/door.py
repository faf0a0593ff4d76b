"""Arguments of explain_file, checked before work starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastlrp.checks import check
from fastlrp.explain import checked_options, least_steps, target_unit
from fastlrp.files.layout import Layout
from fastlrp.files.sources import Source
from fastlrp.model.chain import Chain
from fastlrp.relevance.metadata import rule_as_json
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Aggregate, Rule, as_rule

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MOST_ROWS = 1 << 16  # in a block: more gain nothing, and a block is what a killed process loses
_FEWEST_ROWS = 1 << 10
#: The part of the memory for arrays that are used again, and bytes for pages, and for tables and what libraries keep.
KEPT, _APART = 8, 80 << 20


class Asked(NamedTuple):
    """What is to be computed, checked."""

    rule: Rule
    unit: int
    aggregate: Aggregate
    reduce: str
    groups: dict[str, list[str]] | None
    steps: int
    threads: int | None
    memory: int
    n_outputs: int
    min_steps: int | None = None

    @property
    def reduced(self) -> bool:
        """Whether kernels sum over steps."""
        return self.reduce != "none"

    def said(self) -> dict[str, Any]:
        """What decides the numbers, ready for JSON, under the names that users know."""
        said = {
            "rule=": repr(self.rule), "rule= in full": rule_as_json(self.rule), "target=": self.unit,
            "aggregate=": self.aggregate, "reduce=": self.reduce, "groups=": self.groups, "steps=": self.steps,
        }  # fmt: skip
        return said if self.min_steps is None else {**said, "min_steps=": self.min_steps}

    def group_names(self, features: Sequence[str]) -> list[str]:
        """Names of the groups or features of each row.

        Raises
        ------
        ValueError
            If the groups do not fit the features.
        """
        nothing = np.empty(0)
        empty = Relevance(
            values=np.empty((0, len(features))), prediction=nothing, score=nothing, initial_state=nothing,
            unattributed=nothing, rule=self.rule, steps=self.steps, features=tuple(features), reduced=True,
        )  # fmt: skip
        return list(self.grouped(empty).features) if self.reduce == "groups" else list(features)

    def grouped(self, relevance: Relevance) -> Relevance:
        """Relevance summed over groups, where rows have them."""
        if self.groups is None or self.reduce != "groups":
            return relevance
        table = relevance.by_group(self.groups)
        return replace(relevance, values=table.to_numpy(), features=tuple(table.columns), static=None,
                       static_features=())  # fmt: skip


def asked_for(
    net: Chain, *, rule: str | Rule, target: int | str | None, aggregate: Aggregate, reduce: str | None,
    groups: Mapping[str, Sequence[str]] | None, steps: int, device: str, threads: int | None, memory: int | str,
    partition_by: str | None, min_steps: int | None = None,
) -> Asked:  # fmt: skip
    """The options of a run.

    Raises
    ------
    ValueError
        If one is refused.
    """
    reduce = "none" if reduce is None else reduce
    if reduce not in ("none", "steps", "groups", "time"):
        raise ValueError(f"reduce= takes 'none', 'steps', 'groups' or 'time', not {reduce!r}")
    if partition_by is not None and reduce == "time":
        raise ValueError("partition_by= parts rows, and reduce='time' leaves none: leave one of them out")
    if reduce != "time" and (reduce == "groups") != (groups is not None):
        raise ValueError("reduce='groups' and groups={name: [features]} go together, but only one of them was given")
    if groups is not None and not isinstance(groups, Mapping):
        raise ValueError(f"groups= takes a dict of name to list of features, not {groups!r}")
    odd = next((name for name, members in (groups or {}).items() if not hasattr(members, "__iter__")), None)
    if odd is not None:
        raise ValueError(f"groups= takes a list of features for {odd!r}, not {(groups or {})[odd]!r}")
    if reduce == "none" and not net.recurrent:
        reduce = "steps"  # as of a panel in memory, relevance of the one step has no lag
    check("device", device)
    if device == "cuda":
        raise ValueError("explain_file computes on the CPU, not on device='cuda': leave device= out")
    check("threads", threads)
    check("steps", steps, required=True)
    plain = None if groups is None else {str(k): [v] if isinstance(v, str) else list(v) for k, v in groups.items()}
    rule = as_rule(rule)
    return Asked(
        rule, target_unit(net, target), checked_options(aggregate, None, rule), reduce, plain, int(steps), threads,
        n_bytes(memory), net.n_outputs, least_steps(net, int(steps), min_steps),
    )  # fmt: skip


def n_bytes(memory: int | str) -> int:
    """The number of bytes that ``memory=`` says.

    Raises
    ------
    ValueError
        If it says none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(memory).lower())
    if isinstance(memory, bool) or not found or found[2] not in _UNITS:
        raise ValueError(f"memory= takes a number of bytes, or text such as '500MB' or '2GB', not {memory!r}")
    return int(float(found[1]) * _UNITS[found[2]])


def block_rows(asked: Asked, source: Source, layout: Layout, rows: int, n_features: int, dtype: np.dtype[Any]) -> int:
    """How many rows may be in a block, so that all that is under way at once fits into ``asked.memory``.

    Blocks are held as they are read (once more as columns are turned) and explained, results as they are explained and
    written.

    Raises
    ------
    ValueError
        If the smallest block does not fit.
    """
    width = n_features * (asked.steps if asked.reduce == "none" else 1) + asked.n_outputs + 3
    each = dtype.itemsize * (3 * n_features + 2 * width) + 64
    runs = np.diff(layout.first, append=rows)
    fixed, fewest, most = source.overhead(n_features) + _APART + asked.memory // KEPT, _FEWEST_ROWS, _MOST_ROWS
    if layout.by_asset:
        fewest = max(fewest, int(runs.max()))
    else:
        history = int(np.convolve(runs, np.ones(min(asked.steps, len(runs)), np.int64)).max())
        fixed += 3 * history * dtype.itemsize * n_features
        most = max(most, history)  # a block that is smaller than its history mostly repeats what others have done
    fits = (asked.memory - fixed) // each
    if fits < min(fewest, rows):
        least = (fixed - asked.memory // KEPT + each * min(fewest, rows)) * KEPT // (KEPT - 1) + 1
        raise ValueError(
            f"memory= is {asked.memory / 1e6:,.0f} MB, expected at least {-(-least // 10**6):,} MB for these files"
        )
    return int(min(fits, max(most, fewest)))
