"""Where a few samples go: the machine whose lanes are units, while tiles of samples would be nearly empty."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from fastlrp.kernels import memory
from fastlrp.kernels.cpu.few import JOB, PLAN_FIELDS, run_few, spare_numbers
from fastlrp.kernels.memory import read_only
from fastlrp.kernels.program.inference import Plan, make_plan
from fastlrp.kernels.program.rows import LANES, PANELS
from fastlrp.kernels.results import Results
from fastlrp.model.chain import Chain
from fastlrp.panels.windows import Windows
from fastlrp.rules import Aggregate, Rule

#: Most samples.
MOST = int(os.environ.get("MOST", "7"))


def few_plan(
    net: Chain, windows: Windows, steps: int, rule: Rule | None, aggregate: Aggregate, *, reduced: bool
) -> Plan | None:
    """The plan by which a few samples are computed one by one; None where tiles compute them."""
    rows = windows.rows
    if rows.shape[0] > MOST * steps or windows.ends is not None or not rows.flags.c_contiguous:
        return None
    return make_plan(net, steps, rows.dtype, rule=rule, aggregate=aggregate, reduced=reduced, layout=PANELS)


def run_samples(
    plan: Plan, windows: Windows, rule: Rule | None, target: int, advance: Callable[[int], object] | None
) -> Results:
    """Results of a few samples, on this thread."""
    n, dtype = windows.n(plan.steps), plan.weights.dtype
    ld = -(-plan.rows // LANES) * LANES
    numbers = (0.0, 0.0, 0.0) if rule is None else rule.numbers
    size = plan.steps * plan.n_features
    job = (n, ld, size, *[getattr(plan, name) for name in PLAN_FIELDS], target, *numbers)
    scratch = memory.aligned(n * ld + spare_numbers(plan.n_zeros), dtype)
    programs = (plan.before, plan.start, plan.forward, plan.relevance, plan.end)
    explained = n if plan.explains else 0
    shape = (explained, plan.n_features) if plan.reduced else (explained, plan.steps, plan.n_features)
    results = Results(
        np.empty(shape, dtype), np.empty((n, plan.n_outputs), dtype), *(np.empty(explained, dtype) for _ in range(3))
    )
    status = np.zeros(1, np.int64)
    run_few(np.array([job], JOB), programs, plan.nodes.reshape(-1), plan.weights, read_only(windows.rows.reshape(-1)),
            scratch, tuple([array.reshape(-1) for array in results]), status)  # fmt: skip
    if status[0]:
        raise FloatingPointError("infinite value")
    if advance is not None:
        advance(n)
    return results
