"""Arrays in every form that users may have them in give the plain array's bits, or are refused in one sentence."""

from __future__ import annotations

import warnings

import edge_inputs
import numpy as np
import pandas as pd
import pytest
from edge_doors import Models
from helpers import same_bits

import fastlrp as fl
from scripts.trust import edges


@pytest.fixture(scope="module")
def models():
    return Models()


@pytest.mark.parametrize("door", ["predict", "explain", "an ensemble explains"])
def test_forms_of_arrays(models, rng, door):
    X = edge_inputs.numbers(rng, (edge_inputs.N, edge_inputs.T, edge_inputs.D))
    forms = {**edge_inputs.ARRAYS, **edge_inputs.MISSING, **edge_inputs.WRONG, **edge_inputs.CUBES}
    wrong = {name: edge_inputs.judged(models.cubes()[door], form(X)) for name, form in forms.items()}
    assert {name: why for name, why in wrong.items() if why is not None} == {}


@pytest.mark.parametrize("family", range(2, 8), ids=str)
def test_forms_of_panels_targets_and_weights(models, rng, family):
    """A third of the forms, each third with other numbers; ``python -m scripts.trust`` tries all of them."""
    what, doors, forms, shape = edges.families(models)[family]
    some = dict(list(forms.items())[family % 3 :: 3])
    row = edges.judged_row(what, doors, some, [edge_inputs.numbers(rng, shape)])
    assert row.fine, row.found


@pytest.mark.parametrize("order", ["<", ">"])
def test_float32_is_computed_in_float32_in_either_byte_order(models, rng, order):
    X = rng.normal(size=(4, edge_inputs.T, edge_inputs.D)).astype(np.float32)
    same_bits(models.net.predict(X.astype(f"{order}f4")), models.net.predict(X))


@pytest.mark.parametrize("value", [np.inf, np.longdouble("1e400")])
def test_an_infinity_is_the_only_error_shown(models, rng, value):
    """Not below the one by which kernels report it, nor below NumPy's about objects."""
    X = rng.normal(size=(4, edge_inputs.T, edge_inputs.D)).astype(np.longdouble)
    X[2, 1, 3] = value
    for given in (X, X.astype(object)) if np.isinf(value) else (X,):
        with pytest.raises(
            ValueError, match=r"infinite \(inf\) at sample 2, step 1, feature 3|large for float64, "
        ) as at:
            models.net.explain(given)
        assert at.value.__context__ is None
        assert "compute with" not in str(at.value)


def test_an_infinity_in_a_rolling_panel_is_the_only_error_shown(models):
    frame = edge_inputs.plain_frame(np.random.default_rng(0).normal(size=(32, edge_inputs.D)))
    rolling = fl.RollingLSTM(models.regressor(), window=5, step=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rolling.fit(frame, pd.Series(np.linspace(-1, 1, 32), frame.index))
    frame.iloc[7, 1] = np.inf
    with pytest.raises(ValueError, match=r"infinite \(inf\) at feature 'f1' at date 2019-08-31, asset s0") as at:
        rolling.predict(frame)
    assert at.value.__context__ is None


@pytest.mark.parametrize("model", [fl.CrossSectionalRank(), fl.CrossSectionalZScore()], ids=repr)
def test_texts_and_times_are_no_cross_section(model):
    for X in (np.array([["1", "2"], ["3", "4"]]), np.array([["2020-01", "2020-02"]], "M8[M]"),
              pd.DataFrame({"f": pd.date_range("2020", periods=3)})):  # fmt: skip
        with pytest.raises(ValueError, match="expected numbers"):
            model.fit(X)


@pytest.mark.parametrize("model", [fl.CrossSectionalRank(), fl.CrossSectionalZScore()], ids=repr)
def test_missing_objects_and_columns_that_stand_twice(model, rng):
    frame = edge_inputs.plain_frame(rng.normal(size=(32, edge_inputs.D)))
    frame.iloc[5, 1] = np.nan
    same_bits(model.fit_transform(frame.astype(object).where(frame.notna(), pd.NA)), model.fit_transform(frame))
    small = model.fit_transform(frame.astype("Float32"))
    same_bits(small, model.fit_transform(frame.astype("float32")))
    with pytest.raises(ValueError, match=r"^X has the column 'f1' twice$"):
        model.fit(pd.concat([frame, frame[["f1"]]], axis=1))


def test_what_is_scored_is_checked(models, rng):
    X, y = models.X, models.y
    for bad, said in ((y.astype(str), "y holds .*, expected numbers"), (y[None], r"y has shape \(1, 12\), expected")):
        with pytest.raises(ValueError, match=said):
            models.trained.score(X, bad)
    with pytest.raises(ValueError, match="Negative values"):
        models.trained.score(X, y, -np.ones(12))
    assert models.trained.score(X, y[:, None]) == models.trained.score(X, y.tolist())
