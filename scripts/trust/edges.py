"""Inputs at the edges: every form of an array or panel gives the plain one's bits, or is refused in a sentence; and
numbers at the edges, whose relevance is that of the slow reference in long doubles."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import edge_inputs
import numpy as np
import reference
from edge_doors import Door, Models
from edge_inputs import Given, judged, numbers
from promises import explained, gaps
from strategies import Case, dense, lstm, reference_answer

from scripts.trust.rows import Options, Row

Forms = Mapping[str, Callable[[np.ndarray], Given]]
CUBE = (edge_inputs.N, edge_inputs.T, edge_inputs.D)
ROWS = (edge_inputs.ASSETS * edge_inputs.MONTHS, edge_inputs.D)
#: Forms that a call takes, or refuses, for its own reasons, by what it is called: training learns the number of
#: features, and needs two samples and more than one value of a target; a rolling fit is asked for times of its own
#: kind; and a test needs a result.
OWN = {
    "fit": (
        "a feature too few",
        "a feature too many",
        "one sample",
        "one row",
        "a column too few",
        "one level",
        "bool",
    ),
    "RollingLSTM": ("counter", "years", "one level"),
    "compare": ("one row",),
    "faithfulness": ("one row",),
}


def families(models: Models) -> list[tuple[str, Mapping[str, Door], Forms, tuple[int, ...]]]:
    """What is tried: the row's words, the calls, the forms that each is given, and the shape of their numbers."""
    taken, wrong = {**edge_inputs.ARRAYS, **edge_inputs.CUBES}, edge_inputs.WRONG
    # scikit-learn's own checks demand that estimators refuse a missing value in an array
    refused = {name: edge_inputs.refused(form) for name, form in edge_inputs.MISSING.items()}
    usual, no_panel = {**edge_inputs.COLUMNS, **edge_inputs.INDEXES}, edge_inputs.NO_PANEL
    panels = {**usual, **edge_inputs.NAMED, **no_panel}
    once = {"sparse": edge_inputs.refused(usual["sparse"])}
    alone = {name: form for name, form in no_panel.items() if name not in edge_inputs.CROSS_SECTIONS}
    weights = {**edge_inputs.WEIGHTS, **edge_inputs.NO_TARGETS}
    return [
        ("an array in any form, given to a network", models.cubes(), {**taken, **edge_inputs.MISSING, **wrong}, CUBE),
        ("an array in any form, given to an estimator", models.estimators(), {**taken, **refused, **wrong}, CUBE),
        ("a panel with any columns and index, given to a network", models.panels(), panels, ROWS),
        ("a panel with any columns and index, given to an ensemble or a test", models.tests(), panels, ROWS),
        ("a panel with any columns and index, given to an estimator", models.learning(), {**usual, **no_panel}, ROWS),
        ("a panel with any columns and index, of which each period is a cross-section", models.cross_sections(),
         {**usual, **once, **alone}, ROWS),
        ("a target in any form", models.targets(), {**weights, **edge_inputs.TARGETS}, CUBE[:1]),
        ("weights in any form", models.weights(), {name: _positive(form) for name, form in weights.items()}, CUBE[:1]),
    ]  # fmt: skip


def run(options: Options) -> list[Row]:
    """Forms of arrays and panels, given to networks and estimators, with some draws of numbers; numbers; sizes."""
    models, draws, rng = Models(options.seed), options.cases(20), np.random.default_rng(options.seed)
    rows = [
        judged_row(what, doors, forms, [numbers(rng, shape) for _ in range(draws)])
        for what, doors, forms, shape in families(models)
    ]
    return [*rows, _numbers(options.cases(10), rng), _sizes(rng)]


# ---- numbers ---------------------------------------------------------------------------------------------------------

RULES = [
    reference.Rule(name=name, delta=delta, stabilizer=stabilizer)
    for name, delta, stabilizer in itertools.product(("arras", "rudder"), (0.0, 1.0), ("paper", "absorbed"))
]
#: Factors of X: features that are denormal, tiny, as in training, unscaled, and beyond what gates can tell apart.
FACTORS = (1e-310, 1e-30, 1.0, 1e3, 1e30)
#: Factors of all weights and biases. 0: all denominators are eps alone; then of its size; and gates that are shut.
WEIGHTS = (0.0, 1e-3, 1.0, 1e3)
#: Steps, features, units: each at its least and at its most.
SIZES = ((1, 1, 1), (1000, 2, 3), (2, 3, 1024), (2, 5000, 4))
BOUND = 1e-10


def _case(
    rng: np.random.Generator, T: int, D: int, H: int, weights: float, factor: float, rule: reference.Rule
) -> Case:
    layers = [lstm(rng, D, H), dense(rng, H, 1)]
    for layer in layers:
        layer |= {name: weights * layer[name] for name in ("W", "U", "b") if name in layer}
    return Case(layers, factor * rng.normal(size=(2, T, D)), rule, 0, "sequence")


#: Beside what a result stands: the reference in long doubles; where a sign hangs on a number that float64 does not hold
#: (e^-743), the same in float64; and where one hangs on the last bits of tanh or of a gate, as the difference of two
#: numbers near 1 may, the same with these off by a few units there, as ours may be.
EXACT, RANGE, BITS = "", "its range decides a sign", "the last bits of tanh or of a gate decide one"
#: Draws of such last bits, each up to so many units.
SHAKEN, UNITS = 64, 3


def _gap(case: Case) -> tuple[float, str]:
    """The largest error of a row beside its scale, and what the result stands beside."""
    got = explained(case)
    reference.FLOAT = np.longdouble
    try:
        want = reference_answer(case)
    finally:
        reference.FLOAT = np.float64
    gap = float(gaps(got, want).max())
    if gap <= BOUND:
        return gap, EXACT
    gap = float(gaps(got, reference_answer(case)).max())
    if gap <= BOUND:
        return gap, RANGE
    return min(float(gaps(got, want).max()) for want in _shaken(case)), BITS


def _shaken(case: Case) -> Iterator[Any]:
    """The reference's answers where the last bits of its activations are drawn."""
    rng, usual = np.random.default_rng(0), dict(reference.ACTIVATIONS)

    def shaken(name: str) -> Callable[[Any], Any]:
        return lambda z: usual[name](z) * (1 + 2.0**-52 * rng.integers(-UNITS, UNITS + 1, np.shape(z)))

    reference.ACTIVATIONS |= {name: shaken(name) for name in ("tanh", "sigmoid")}
    try:
        for _ in range(SHAKEN):
            yield reference_answer(case)
    finally:
        reference.ACTIVATIONS.update(usual)


def _said(found: dict[str, tuple[float, str]]) -> tuple[str, bool]:
    worst = max(found, key=lambda name: np.nan_to_num(found[name][0], nan=np.inf))
    fine = all(gap <= BOUND for gap, _ in found.values())
    text = f"largest error {found[worst][0]:.0e} of a row's largest number, at most {BOUND:.0e} promised"
    for beside in (RANGE, BITS):
        if n := sum(one == beside for _, one in found.values()):
            text += f"; {n} of them beside the reference in float64, where {beside}"
    return (text if fine else f"{text}: {worst}"), fine


def _numbers(n: int, rng: np.random.Generator) -> Row:
    found = {}
    for k, factor, weights, rule in itertools.product(range(n), FACTORS, WEIGHTS, RULES):
        found[f"X x {factor:g}, weights x {weights:g}, {rule}, network {k}"] = _gap(
            _case(rng, 4, 3, 5, weights, factor, rule)
        )
    what = "Denormal, tiny, unscaled and huge features; weights of 0, denominators of eps, gates that are shut"
    return Row(what, f"{len(found):,} networks, both rules, stabilisers and deltas", *_said(found))


def _sizes(rng: np.random.Generator) -> Row:
    found = {
        f"(T, D, H) = {sizes}, {rule}": _gap(_case(rng, *sizes, 1.0, 1.0, rule))
        for sizes, rule in itertools.product(SIZES, RULES)
    }
    what = "One step, feature, unit and sample; 1,000 steps; 1,024 units; 5,000 features"
    return Row(what, f"{len(found)} networks, both rules, stabilisers and deltas", *_said(found))


def _positive(form: Callable[[np.ndarray], Given]) -> Callable[[np.ndarray], Given]:
    return lambda X: form(np.abs(X) + 0.25)


def judged_row(what: str, doors: Mapping[str, Door], forms: Forms, draws: list[np.ndarray]) -> Row:
    """Give every form to every call, with each of some draws of numbers."""
    n, failed = 0, dict[str, str]()
    for (door, enter), (name, form), X in itertools.product(doors.items(), forms.items(), draws):
        if any(name in OWN.get(word, ()) for word in re.split(r"[ .]", door)):
            continue
        n += 1
        if (why := judged(enter, form(X))) is not None:
            failed.setdefault(f"{name} to {door}", why)
    for case, why in failed.items():
        print(f"  {case}: {why}", file=sys.stderr)
    found = "each gives the plain one's bits, or is refused in one sentence; no input is changed"
    if failed:
        found = f"{len(failed)} of {len(doors) * len(forms)} forms and calls fail, such as {next(iter(failed))}"
    return Row(what, f"{n:,} calls, {len(forms)} forms to {len(doors)} calls each", found, not failed)
