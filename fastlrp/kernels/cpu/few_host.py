"""Where a few samples go: to the machine whose lanes are units, since a tile of samples would be nearly empty.

One sample at a time is a loop of calls, so all that does not depend on X is made once and kept with the network.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastlrp.kernels import memory
from fastlrp.kernels.cpu.few import JOB, PLAN_FIELDS, run_few, spare_numbers
from fastlrp.kernels.program.inference import Plan, keep_plan, make_plan
from fastlrp.kernels.program.instructions import Array, UnknownInstructionError
from fastlrp.kernels.program.rows import LANES, PANELS
from fastlrp.kernels.results import Results
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows
from fastlrp.rules import Aggregate, Rule

#: Most samples that are computed here. Time over that of a tile, which takes as long for 16 samples as for one: explain
#: in float32, one thread, AVX2 (Zen 1); predict and float64 are within 0.15 of it::
#:
#:     samples         1     2     4     8    12    16
#:     (5, 16, 16)   0.40  0.49  0.51  0.56  0.60  0.63
#:     (5, 16, 32)   0.36  0.44  0.49  0.55  0.63  0.69
#:     (12, 96, 64)  0.15  0.24  0.31  0.52  0.73  0.92
#:
#: A processor with AVX-512 has a tile of half as many vectors, at the same rate of multiply-adds for one sample.
MOST = 12


#: Bytes of scratch up to which it waits here for the next call; larger ones are kept by memory.py, within its bounds.
KEPT_BYTES = 1 << 20


class _Ready(NamedTuple):
    """What so many samples and a target need: the kernel's numbers, the shapes of results, and scratch that no thread
    uses at present."""

    job: Array
    values: tuple[int, ...]
    prediction: tuple[int, int]
    n_explained: int
    scratch: list[Array]


class _Nowhere:
    """In the place of a plan that this machine cannot run."""

    nbytes = 1 << 10


class Few:
    """A plan for a few samples, and what calls need besides X."""

    def __init__(self, plan: Plan, rule: Rule | None) -> None:
        self._plan, self._numbers = plan, (0.0, 0.0, 0.0) if rule is None else rule.numbers
        self._programs = (plan.before, plan.start, plan.forward, plan.relevance, plan.end)
        self._nodes = plan.nodes.reshape(-1)
        self._ready: dict[tuple[int, int], _Ready] = {}
        self.nbytes = plan.nbytes

    def run(self, rows: Array, target: int) -> Results:
        """Results of samples whose steps are ``rows``, one after the other, on this thread.

        Raises
        ------
        FloatingPointError
            If a value of X is infinite.
        """
        plan, dtype = self._plan, rows.dtype
        n = rows.shape[0] // plan.steps
        ready = self._ready.get((n, target)) or self._prepare(n, target)
        m = ready.n_explained
        values, prediction = np.empty(ready.values, dtype), np.empty(ready.prediction, dtype)
        score, initial_state, unattributed = np.empty(m, dtype), np.empty(m, dtype), np.empty(m, dtype)
        X = rows.reshape(-1)
        X.flags.writeable = False  # users' arrays may or may not be writable, and Numba would compile for each case
        try:
            scratch = ready.scratch.pop()
        except IndexError:  # the first call, or other threads have what there is
            scratch = memory.aligned(int(ready.job[0]["scratch"]), dtype)
        fine = run_few(ready.job, self._programs, self._nodes, plan.weights, X, scratch,
                       (values.reshape(-1), prediction.reshape(-1), score, initial_state, unattributed))  # fmt: skip
        if scratch.nbytes <= KEPT_BYTES:
            ready.scratch.append(scratch)
        if not fine:
            raise FloatingPointError("infinite value")
        return Results(values, prediction, score, initial_state, unattributed)

    def _prepare(self, n: int, target: int) -> _Ready:
        plan = self._plan
        ld = -(-plan.rows // LANES) * LANES
        sizes = (n, ld, plan.steps * plan.n_features, n * ld + spare_numbers(plan.n_zeros))
        numbers = (*sizes, *(getattr(plan, name) for name in PLAN_FIELDS), target, *self._numbers)
        m = n if plan.explains else 0
        assert math.prod(plan.shape) == plan.width  # kernels write so many numbers
        ready = _Ready(np.array([numbers], JOB), (m, *plan.shape), (n, plan.n_outputs), m, [])
        self._ready[n, target] = ready
        return ready


def few_of(
    net: Chain, windows: Windows, steps: int, rule: Rule | None, aggregate: Aggregate, *, reduced: bool,
    at_step: int | None = None,
) -> Few | None:  # fmt: skip
    """What computes a few samples of a network; None where tiles do, as there are more, or as their windows share
    rows, or as the network has an instruction that only tiles know."""
    rows = windows.rows
    if rows.shape[0] > MOST * steps or not rows.flags.c_contiguous:
        return None
    if windows.ends is not None or windows.order is not None or windows.wanted is not None:
        return None
    key = (Few, steps, rows.dtype, rule, aggregate, reduced, at_step)
    few: Few | _Nowhere | None = net._plans.get(key)
    if few is None:
        few = _few(net, steps, rows.dtype, rule, aggregate, reduced=reduced, at_step=at_step)
        keep_plan(net, key, few)
    return few if isinstance(few, Few) else None


def _few(
    net: Chain, steps: int, dtype: np.dtype[Any], rule: Rule | None, aggregate: Aggregate, *, reduced: bool,
    at_step: int | None,
) -> Few | _Nowhere:  # fmt: skip
    ask: dict[str, Any] = {"rule": rule, "aggregate": aggregate, "reduced": reduced, "at_step": at_step}
    try:
        plan = make_plan(net, steps, dtype, **ask, layout=PANELS)
    except UnknownInstructionError:
        return _Nowhere()
    return Few(plan, rule)
