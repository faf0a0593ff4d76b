"""Wording that messages share, and the places where users see it."""

from __future__ import annotations

import builtins
import pickle
import re
import tomllib
import zipfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastlrp as fl
from fastlrp.explain import explain
from fastlrp.messages import FROM_TORCH, count, install_hint, printable
from fastlrp.panels.flat import refuse_flat
from fastlrp.progress import progress_bar

ROOT = Path(__file__).resolve().parents[1]


def small(T=None, D=2):
    rng = np.random.default_rng(3)
    return fl.Network([fl.LSTM(rng.normal(size=(D, 8)), rng.normal(size=(2, 8))), fl.Dense(np.ones((2, 1)))], steps=T)


# ----------------------------------------------------------------------------------------------------- words


def test_numbers_and_their_nouns():
    assert [count(n, "name") for n in (0, 1, 2, 2000)] == ["0 names", "1 name", "2 names", "2,000 names"]
    assert [count(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


def test_what_would_steer_a_terminal_is_spelled_out():
    assert printable("é\x1b[31m\n") == "é\\x1b[31m\\n"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fl.Network([fl.LSTM(np.ones((2, 4)), np.ones((1, 4)))], features=["a"]), "has 1 name, expected 2"),
        (lambda: fl.LSTM(np.ones((2, 8)), np.ones((1, 4))), "since U has 1 unit$"),
        (lambda: fl.Dense([[np.nan, 1.0]]), "W has 1 weight that is NaN or infinite, of 2"),
        (lambda: fl.Dense([[np.nan, np.inf]]), "W has 2 weights that are NaN or infinite, of 2"),
        (lambda: small().predict(np.ones((1, 5, 1))), "X has 1 feature, expected 2 features"),
        (lambda: small(5).predict(np.ones((1, 1, 2))), "X has 1 step, expected 5 steps"),
        (lambda: small(1).predict(np.ones((1, 5, 2))), "X has 5 steps, expected 1 step:"),
    ],
)
def test_one_of_a_kind_is_singular(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------ extras


def test_hints_name_the_package_and_the_extra_of_a_checkout():
    assert install_hint("shap") == "pip install shap"
    assert install_hint("tqdm", "progress") == (
        'pip install tqdm (or, in a checkout of fastlrp, pip install ".[progress]")'
    )
    assert install_hint("numba-cuda[cu13]", "cuda").startswith('pip install "numba-cuda[cu13]" (or')


def test_no_message_points_to_an_index_that_has_no_fastlrp():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for path in sorted((ROOT / "fastlrp").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"pip install '?\"?fastlrp", text), path
        for package, extra in re.findall(r"install_hint\(['\"]([^'\"]+)['\"], ['\"](\w+)['\"]\)", text):
            assert any(one.startswith(package) for one in extras[extra]), (path, package, extra)


def test_a_missing_progress_bar(monkeypatch):
    found = builtins.__import__

    def without(module, *rest, **more):
        if module.startswith("tqdm"):
            raise ImportError(module)
        return found(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'explain needs tqdm: pip install tqdm \(or, .* "\.\[progress\]"\)'):  # noqa: SIM117
        with progress_bar(True, 3, "explain", "samples"):
            pass


# --------------------------------------------------------------------------------- networks of other libraries


def other(module, *names):
    """An object whose class and bases look like another library's, which need not be installed."""
    kind: type = object
    for name in names:
        kind = type(name, (kind,), {"__module__": module, "__iter__": lambda self: iter(())})
    return kind()


@pytest.mark.parametrize("given", [lambda module: module, lambda module: [module]], ids=["alone", "in a list"])
def test_a_torch_module_is_named_and_what_to_do(given):
    module = other("torch.nn.modules.module", "Module", "Sequential")
    with pytest.raises(ValueError, match=r"torch module Sequential: give .* W = weight_ih_l0\.T, U = weight_hh_l0\.T"):
        fl.Network(given(module))


def test_torch_modules_elsewhere():
    module = other("torch.nn.modules.module", "Module", "MyModel")
    with pytest.raises(ValueError, match="not the torch module MyModel: give"):
        explain(module, np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match="such as LSTMRegressor, not the torch module MyModel: give"):
        fl.LRPTransformer(module).fit(np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match=r"LSTM: W must be an array of numbers, not the torch module MyModel"):
        fl.LSTM(module, np.ones((1, 4)))


def test_a_keras_model_is_named_and_what_to_do():
    model = other("keras.src.models.functional", "Layer", "Model", "Functional")
    with pytest.raises(ValueError, match=r"the Keras model Functional: save its model.*read_keras"):
        fl.Network(model)
    layer = other("keras.src.layers.rnn.lstm", "Layer", "LSTM")
    with pytest.raises(ValueError, match=r"layer 0, expected .* is the Keras layer LSTM: save its model"):
        fl.Network([layer])


class NeedsDetach:
    """Fails as a torch tensor that requires grad does."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


def test_a_tensor_that_requires_grad_says_what_to_do():
    with pytest.raises(ValueError, match=r"LSTM: W must be an array of numbers: .*detach\(\)"):
        fl.LSTM(NeedsDetach(), np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"X must be an array \(sample, step, feature\): .*detach\(\)"):
        small().predict(NeedsDetach())


# ----------------------------------------------------------------------------------------- arrays of objects


def test_arrays_of_numbers_as_objects_are_converted():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(6, 5, 2))
    net = small()
    objects = X.astype(object)
    np.testing.assert_array_equal(net.predict(objects), net.predict(X))
    W = rng.normal(size=(2, 4))
    np.testing.assert_array_equal(fl.LSTM(W.astype(object), np.ones((1, 4), object)).W, W)
    assert fl.LSTM(W.astype(object), np.ones((1, 4), object)).U.dtype == np.float64
    objects[1, 2, 0], objects[3, 0, 1], objects[4, 4, 1] = None, pd.NA, np.nan
    before = objects.copy()
    assert np.flatnonzero(np.isnan(net.predict(objects))).tolist() == [1, 3, 4]
    assert objects[3, 0, 1] is before[3, 0, 1] is pd.NA
    mixed = np.array([[[1, True], [Decimal("0.5"), Fraction(1, 4)]]], object)
    np.testing.assert_array_equal(net.predict(mixed), net.predict(np.array([[[1, 1], [0.5, 0.25]]])))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2.5", "'2.5'"),
        (1j, "1j"),
        (np.zeros((2, 3)), r"itself an array, of shape \(2, 3\)"),
        ("x" * 99, "of type str"),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(value, shown):
    X = np.ones((6, 5, 2), object)
    X[2, 3, 1] = value
    with pytest.raises(ValueError, match=rf"^X\[2, 3, 1\] is {shown}, expected a number$"):
        small().explain(X)
    W = np.ones((2, 4), object)
    W[1, 3] = value
    with pytest.raises(ValueError, match=rf"^LSTM 'top': W\[1, 3\] is {shown}, expected a number$"):
        fl.LSTM(W, np.ones((1, 4)), name="top")


def test_numbers_beyond_float64():
    with pytest.raises(ValueError, match="W holds a whole number beyond float64's range"):
        fl.Dense(np.array([[10**400]], object))


def panel(n_months=8):
    index = pd.MultiIndex.from_product(
        [pd.period_range("2000-01", periods=n_months, freq="M"), ["A", "B"]], names=["month", "stock"]
    )
    return pd.DataFrame(np.random.default_rng(2).normal(size=(len(index), 2)), index, ["beta", "size"])


def test_a_panels_columns_of_objects():
    frame, net = panel(), small()
    objects = frame.astype(object)
    pd.testing.assert_series_equal(net.predict(objects, steps=3), net.predict(frame, steps=3))
    assert set(objects.dtypes) == {np.dtype(object)}
    objects.iloc[9, 1] = None
    frame.iloc[9, 1] = np.nan
    pd.testing.assert_series_equal(net.predict(objects, steps=3), net.predict(frame, steps=3))
    objects.iloc[5, 1] = "n.v."
    message = r"columns that do not hold real numbers: 'size' \(object, 'n\.v\.' at \(2000-03, B\)\)$"
    with pytest.raises(ValueError, match=message):
        net.explain(objects, steps=3)


# ---------------------------------------------------------------------- panels whose time and asset are columns

FLAT = [
    (lambda frame: frame.reset_index(), r"frame\.set_index\(\['month', 'stock'\]\)"),
    (lambda frame: frame.reset_index("stock"), r"frame\.reset_index\(\)\.set_index\(\['month', 'stock'\]\)"),
    (lambda frame: frame.rename_axis(["t", "who"]).reset_index(), r"frame\.set_index\(\['t', 'who'\]\)"),
    (
        lambda frame: frame.reset_index().assign(yyyymm=200001, permno=10107).drop(columns=["month", "stock"]),
        r"frame\.set_index\(\['yyyymm', 'permno'\]\)",
    ),
    (
        lambda frame: frame.reset_index().drop(columns="stock"),
        r"frame\.set_index\(\[\.\.\.\]\) with 'month', the time, and the asset",
    ),
    (
        lambda frame: frame.reset_index().drop(columns="month"),
        r"frame\.set_index\(\[\.\.\.\]\) with 'stock', the asset, and the time",
    ),
    (lambda frame: frame.reset_index(drop=True), r"frame\.set_index\(\['date', 'asset'\]\), with the names of your"),
]


@pytest.mark.parametrize(("flatten", "todo"), FLAT)
def test_a_panel_whose_time_and_asset_are_columns(flatten, todo):
    message = rf"^the panel's index has one level, expected two, a time and an asset: use {todo}"
    for use in (small().explain, small().predict):
        with pytest.raises(ValueError, match=message):
            use(flatten(panel()), steps=3)


def test_features_are_not_taken_for_time_or_asset():
    frame = panel().rename(columns={"beta": "firm_age", "size": "day"}).rename_axis([None, None]).reset_index(drop=True)
    with pytest.raises(ValueError, match=r"\['date', 'asset'\]\), with the names"):
        refuse_flat(frame, ["firm_age", "day"])


def test_three_levels():
    frame = panel().assign(country="US").set_index("country", append=True)
    with pytest.raises(ValueError, match=r"has 3 levels, .* frame\.reset_index\(\)\.set_index\(\['month', 'stock'\]\)"):
        small().predict(frame, steps=3)


def test_estimators_say_it_too():
    frame = panel(12)
    y = pd.Series(np.arange(24.0), frame.index)
    for flat in (frame.reset_index(), frame.reset_index().astype({"month": str})):
        with pytest.raises(ValueError, match=r"use frame\.set_index\(\['month', 'stock'\]\)"):
            fl.LSTMRegressor(units=(2,), steps=3).fit(flat, y)


# ---------------------------------------------------------------------------------------------------- files of torch


def torch_zip(path, *, zip64=False):
    """The members that torch.save writes; torch's own files are zip64, which zipfile writes only where necessary."""
    with zipfile.ZipFile(path, "w") as bundle:
        for name in ("archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/version"):
            bundle.writestr(name, b"\x80\x02}q\x00.")
    if zip64:
        data = path.read_bytes()
        at = data.rindex(b"PK\x05\x06")
        path.write_bytes(data[:at] + b"PK\x06\x07" + bytes(16) + data[at:])


@pytest.mark.parametrize("kind", ["zip", "zip64", "pickle"])
def test_a_torch_file_is_named_and_never_unpickled(kind, tmp_path, monkeypatch):
    path = tmp_path / "m.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps({"weight": 1}, protocol=2))
    else:
        torch_zip(path, zip64=kind == "zip64")
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "Unpickler", None)
    for read in (fl.read_keras, fl.describe_keras):
        with pytest.raises(fl.ModelFileError, match=r"m\.pt is a torch file, .* W = weight_ih_l0\.T, U = w") as caught:
            read(path)
        assert "b = bias_ih_l0 + bias_hh_l0" in str(caught.value)


def test_other_pickles_are_named(tmp_path):
    for protocol in (2, 3, 4, 5):
        path = tmp_path / f"model{protocol}.pkl"
        path.write_bytes(pickle.dumps({"a": 1}, protocol=protocol))
        with pytest.raises(fl.ModelFileError, match="is a Python pickle, which is never opened, expected a Keras file"):
            fl.read_keras(path)


def test_the_recipe_for_torch_is_that_of_the_docs():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for part in ("weight_ih_l0.T", "weight_hh_l0.T", "bias_ih_l0 + bias_hh_l0"):
        assert part in FROM_TORCH
        assert part in page


def test_names_cannot_steer_a_terminal():
    red = "\x1b[31mred"
    net = fl.Network([fl.LSTM(np.ones((1, 4)), np.ones((1, 4)), name=red), fl.Dense(np.ones((1, 1)))], name=red)
    index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=4, freq="M"), [red]])
    panel = pd.DataFrame(np.ones((4, 1)), index, [red])
    relevance = net.with_features([red]).explain(panel, steps=2)
    assert relevance.features == (red,)
    for text in (repr(net), net.summary(), repr(relevance), relevance.summary()):
        assert "\x1b" not in text
        assert "[31mred" in text


def test_panels_in_columns_are_told_so_by_every_estimator():
    panel = pd.DataFrame({"date": pd.to_datetime(["2000-01-31"] * 2), "stock": ["A", "B"], "x": [1.0, 2.0]})
    for call in (
        lambda: fl.RollingLSTM(window=3).fit(panel, panel["x"]),
        lambda: fl.CrossSectionalRank().fit_transform(panel),
    ):
        with pytest.raises(ValueError, match=r"set_index\(\['date', 'stock'\]\)"):
            call()
