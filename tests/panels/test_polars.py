"""polars frames in and out: the numbers of pandas' frames, whatever polars calls a time or a missing value."""

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT, run_python, same_bits, same_relevance

import fastlrp as fl
from fastlrp.relevance.given import last_values
from fastlrp.reporting.subject import subject

pl = pytest.importorskip("polars", reason="polars is not installed")

T, NAMES = 3, ["beta", "size"]


@pytest.fixture
def net(rng):
    W, U, V = rng.normal(size=(2, 16)), rng.normal(size=(4, 16)), rng.normal(size=(4, 1))
    return fl.Network([fl.LSTM(W, U), fl.Dense(V)], steps=T, features=NAMES)


@pytest.fixture
def panel(rng):
    index = pd.MultiIndex.from_product(
        [pd.date_range("2000-01-31", periods=9, freq="ME"), ["AA", "BB", "CC"]], names=["month", "ticker"]
    )
    frame = pd.DataFrame(rng.normal(size=(27, 2)).astype(np.float32), index, NAMES)
    frame.iloc[13, 1] = np.nan
    return frame.drop(index=frame.index[4])


def as_polars(panel, **times):
    """The panel as users of polars have it: dates, null where a value is missing, and a column that is no feature."""
    flat = panel.reset_index()
    columns = {"month": pl.Series(flat["month"].to_numpy()), "ticker": flat["ticker"].tolist()}
    columns |= {name: pl.Series(flat[name].to_numpy(), nan_to_null=True) for name in NAMES}
    return pl.DataFrame({**columns, "sector": ["tech"] * len(flat)}).with_columns(**times)


@pytest.mark.parametrize(
    "time",
    [
        pl.col("month").cast(pl.Date),
        pl.col("month"),
        pl.col("month").cast(pl.Date).dt.strftime("%Y-%m"),
        # midnight in New York, and four or five hours later in UTC, which NumPy would see
        pl.col("month").dt.replace_time_zone("America/New_York"),
    ],
)
def test_numbers_are_those_of_pandas(net, panel, time):
    frame = as_polars(panel, month=time)
    same_relevance(net.explain(frame), net.explain(panel))
    out = net.predict(frame)
    assert out.columns == ["month", "ticker", "prediction"]
    assert out["prediction"].null_count() == net.predict(panel).isna().sum() > 0
    same_bits(out["prediction"].to_numpy(), net.predict(panel).to_numpy())
    assert out["ticker"].to_list() == frame["ticker"].to_list()
    if frame["month"].dtype == pl.Date:
        assert out["month"].equals(frame["month"])


def test_relevance_as_a_polars_frame(net, panel):
    rel = net.explain(as_polars(panel, month=pl.col("month").cast(pl.Date)))
    table = rel.to_polars()
    assert table.columns == ["month", "ticker", *rel.to_frame().columns]
    same_bits(table.select(NAMES).to_numpy(), rel.to_frame()[NAMES].to_numpy())
    steps = rel.to_polars(steps=True)
    assert steps.columns == ["month", "ticker", *(f"{name}_lag{lag}" for lag in (2, 1, 0) for name in NAMES)]
    same_bits(steps.select(steps.columns[2:]).to_numpy(), rel.values.reshape(len(rel), -1))
    assert net.explain(np.ones((2, T, 2))).to_polars().shape == (2, 6)


def test_outputs_have_names(rng, panel):
    W, U, V = rng.normal(size=(2, 16)), rng.normal(size=(4, 16)), rng.normal(size=(4, 2))
    net = fl.Network([fl.LSTM(W, U), fl.Dense(V)], steps=T, features=NAMES, outputs=["mean", "risk"])
    out = net.predict(as_polars(panel))
    assert out.columns[2:] == ["prediction[mean]", "prediction[risk]"]
    same_bits(out.select(out.columns[2:]).to_numpy(), net.predict(panel).to_numpy())


def test_keys_are_the_first_two_columns_where_names_do_not_tell(net, panel):
    frame = as_polars(panel, month=pl.col("month").dt.strftime("%Y%m")).rename({"month": "t", "ticker": "who"})
    same_bits(net.predict(frame)["prediction"].to_numpy(), net.predict(panel).to_numpy())
    with pytest.raises(ValueError, match="which columns of the polars frame are the time and the asset is not clear"):
        net.predict(frame.select("beta", "size", "t", "who"))


def test_a_lazy_frame_is_refused(net, panel):
    with pytest.raises(ValueError, match=r"a polars LazyFrame was given, .*collect\(\)"):
        net.explain(as_polars(panel).lazy())


def test_a_missing_package_is_named(tmp_path):
    (tmp_path / "polars.py").write_text("raise ImportError('no polars here')")
    code = "import numpy as np, fastlrp as fl\nfrom fastlrp.panels.polars import to_polars\nto_polars(None, {})"
    done = run_python("-c", code, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert "ImportError: to_polars needs the package polars, which is missing: pip install polars" in done.stderr


def test_what_looks_at_a_result_takes_the_frame_that_was_explained(net, panel):
    frame = as_polars(panel)
    one, two = net.explain(frame), net.explain(panel)
    for judge in (
        lambda X, rel: fl.faithfulness(net, X, rel, random_state=0).table(),
        lambda X, rel: fl.compare(net, X, ["arras", "rudder"]).table.mean(),
    ):
        pd.testing.assert_series_equal(judge(frame, one), judge(panel, two))
    values = [last_values(rel, X, "values=") for rel, X in ((one, frame), (two, panel))]
    np.testing.assert_array_equal(*values)
    options = dict.fromkeys(("unit", "steps", "dtype", "threads"))
    about = subject(net, frame.with_columns(y=pl.lit(1.0)), "y", **options)
    np.testing.assert_array_equal(about.predicted, net.predict(panel))
    assert (about.actual == 1).all()
