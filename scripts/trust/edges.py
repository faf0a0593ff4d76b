"""Inputs at the edges: every form of an array or panel gives the plain one's bits, or is refused in a sentence."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Mapping

import edge_inputs
import numpy as np
from edge_doors import Door, Models
from edge_inputs import Given, judged, numbers

from scripts.trust.rows import Options, Row

Forms = Mapping[str, Callable[[np.ndarray], Given]]
CUBE = (edge_inputs.N, edge_inputs.T, edge_inputs.D)
ROWS = (edge_inputs.ASSETS * edge_inputs.MONTHS, edge_inputs.D)
#: Forms that training takes, or refuses, for its own reasons: it learns the number of features, and needs two samples.
OF_FIT = ("a feature too few", "a feature too many", "one sample")


def run(options: Options) -> list[Row]:
    """Three families: networks' arrays, estimators' arrays, networks' panels; each form with some draws of numbers."""
    models, draws = Models(options.seed), options.cases(20)
    taken, wrong = {**edge_inputs.ARRAYS, **edge_inputs.CUBES}, edge_inputs.WRONG
    # scikit-learn's own checks demand that estimators refuse a missing value in an array
    refused = {name: _without_plain(form) for name, form in edge_inputs.MISSING.items()}
    panels = {**edge_inputs.COLUMNS, **edge_inputs.NAMED, **edge_inputs.INDEXES, **edge_inputs.NO_PANEL}
    families: Iterable[tuple[str, Mapping[str, Door], Forms, tuple[int, ...]]] = (
        ("an array in any form, given to a network", models.cubes(), {**taken, **edge_inputs.MISSING, **wrong}, CUBE),
        ("an array in any form, given to an estimator", models.estimators(), {**taken, **refused, **wrong}, CUBE),
        ("a panel with any columns and index, given to a network", models.panels(), panels, ROWS),
    )
    rng = np.random.default_rng(options.seed)
    return [
        _row(what, doors, forms, [numbers(rng, shape) for _ in range(draws)]) for what, doors, forms, shape in families
    ]


def _without_plain(form: Callable[[np.ndarray], Given]) -> Callable[[np.ndarray], Given]:
    return lambda X: Given(form(X).X)


def _row(what: str, doors: Mapping[str, Door], forms: Forms, draws: list[np.ndarray]) -> Row:
    n, failed = 0, dict[str, str]()
    for (door, enter), (name, form), X in itertools.product(doors.items(), forms.items(), draws):
        if door == "LSTMRegressor.fit" and name in OF_FIT:
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
