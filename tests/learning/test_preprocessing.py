"""Cross-sectional transformers: each period on its own, against loops over months, and scikit-learn's suite."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastlrp.learning.preprocessing import CrossSectionalRank, CrossSectionalWinsorizer, CrossSectionalZScore
from fastlrp.learning.regressor import LSTMRegressor

ALL = [CrossSectionalRank(), CrossSectionalZScore(clip=3.0), CrossSectionalWinsorizer((0.1, 0.9))]
SUITE = [*ALL, *(type(one)(missing=missing) for one in ALL for missing in ("center", "error"))]
ONE_PERIOD = {
    "check_methods_subset_invariance": "an array is one cross-section; a part of its assets is another cross-section"
}


@parametrize_with_checks(SUITE, expected_failed_checks=lambda estimator: ONE_PERIOD)
def test_scikit_learn_suite(estimator, check):
    check(estimator)


@pytest.fixture
def panel(rng) -> pd.DataFrame:
    """Twelve months of up to nine stocks, unsorted, with ties and missing values."""
    index = pd.MultiIndex.from_product(
        [pd.date_range("2001-01-31", periods=12, freq=pd.offsets.MonthEnd()), list("ABCDEFGHI")]
    )
    values = rng.integers(0, 6, (108, 3)) / 2.0
    frame = pd.DataFrame(values, index.set_names(["month", "stock"]), ["beta", "size", "mom"])
    frame = frame.mask(rng.random(frame.shape) < 0.15)
    frame.loc[(index.levels[0][4], slice(None)), "size"] = np.nan  # a month without a value
    frame.loc[(index.levels[0][5], slice(None)), "size"] = 2.5  # a month where all values are equal
    frame.loc[(index.levels[0][6], list("BCDEFGHI")), "mom"] = np.nan  # a month with one asset
    frame.loc[(index.levels[0][6], "A"), "mom"] = 7.0
    return frame.iloc[rng.permutation(108)].iloc[:100]


def by_month(frame: pd.DataFrame, formula) -> np.ndarray:
    """``formula`` of the values present, column by column and month by month."""
    out = np.full(frame.shape, np.nan)
    months = frame.index.get_level_values("month")
    for month in set(months):
        for j in range(frame.shape[1]):
            rows = np.flatnonzero((months == month) & frame.iloc[:, j].notna().to_numpy())
            if len(rows):
                out[rows, j] = formula(frame.iloc[rows, j].to_numpy())
    return out


def ranks(values):
    return 2 * (rankdata(values) - 1) / (len(values) - 1) - 1 if len(values) > 1 else [0.0]


def z_scores(values, ddof):
    spread = values.std(ddof=ddof) if len(values) > 1 else 0
    return (values - values.mean()) / spread if np.ptp(values) else 0 * values


FORMULAS = [
    (CrossSectionalRank(), ranks),
    (CrossSectionalZScore(), lambda values: z_scores(values, 0)),
    (CrossSectionalZScore(ddof=1, clip=1.0), lambda values: np.clip(z_scores(values, 1), -1, 1)),
    (CrossSectionalWinsorizer((0.2, 0.7)), lambda values: np.clip(values, *np.quantile(values, [0.2, 0.7]))),
]


@pytest.mark.parametrize(("transformer", "formula"), FORMULAS)
def test_each_month_by_itself(panel, transformer, formula):
    out = transformer.fit(panel).transform(panel)
    assert isinstance(out, pd.DataFrame)
    pd.testing.assert_index_equal(out.index, panel.index)
    assert list(out.columns) == list(panel.columns)
    assert_allclose(out.to_numpy(), by_month(panel, formula), rtol=0, atol=1e-12)


@pytest.mark.parametrize("transformer", ALL)
def test_no_look_ahead(panel, transformer):
    """A month's values are the same whatever follows or precedes, and whatever was fitted."""
    whole = transformer.fit(panel).transform(panel)
    months = panel.index.get_level_values("month")
    for cut in sorted(set(months))[1::4]:
        for part in (panel[months < cut], panel[months >= cut]):
            pd.testing.assert_frame_equal(transformer.fit(panel * 100).transform(part), whole.loc[part.index])


@pytest.mark.parametrize(("transformer", "middle"), [(ALL[0], 0.0), (ALL[1], 0.0), (ALL[2], None)])
def test_missing_policies(panel, transformer, middle):
    gaps = panel.isna().to_numpy()
    kept = transformer.fit_transform(panel).to_numpy()
    assert_array_equal(np.isnan(kept), gaps)
    filled = type(transformer)(**{**transformer.get_params(), "missing": "center"}).fit_transform(panel).to_numpy()
    assert_array_equal(filled[~gaps], kept[~gaps])
    if middle is None:
        medians = panel.groupby(level="month").transform("median").to_numpy()
        assert_array_equal(filled[gaps], medians[gaps])
        assert np.isnan(filled).any()  # the month without a value
    else:
        assert (filled[gaps] == middle).all()
    strict = type(transformer)(missing="error")
    with pytest.raises(ValueError, match=rf"X has {gaps.sum()} missing values \(NaN\), the first in row \(2001-"):
        strict.fit(panel)


def test_dtype_and_output(panel):
    for transformer in ALL:
        assert (transformer.fit_transform(panel.astype("float32")).dtypes == np.float32).all()
        out = type(transformer)().set_output(transform="pandas").fit_transform(panel)
        pd.testing.assert_index_equal(out.index, panel.index)
        plain = transformer.fit_transform(panel.to_numpy()[:9])
        assert isinstance(plain, np.ndarray)
        assert list(transformer.get_feature_names_out()) == ["x0", "x1", "x2"]


def test_ranks_are_what_the_embedded_panel_has():
    from fastlrp.data import load_panel

    panel = load_panel().iloc[-2000:]
    again = CrossSectionalRank().fit_transform(np.exp(panel.astype("float64")))
    assert_allclose(again.to_numpy(), panel.to_numpy(), rtol=0, atol=1e-6)


def test_in_a_pipeline(panel):
    y = panel["beta"].fillna(0)
    pipe = make_pipeline(
        CrossSectionalWinsorizer((0.1, 0.9), missing="center"),
        CrossSectionalRank(missing="center"),
        LSTMRegressor(units=(3,), steps=2, max_iter=3, n_iter_no_change=3, random_state=0),
    )
    assert pipe.fit(panel, y).predict(panel).notna().sum() > 50


def test_large_mean_costs_no_digits():
    values = 1e8 + np.arange(5.0)[:, None]
    assert_allclose(CrossSectionalZScore().fit_transform(values)[:, 0], (np.arange(5) - 2) / 2**0.5, rtol=1e-12)


@pytest.mark.parametrize(
    ("transformer", "message"),
    [
        (CrossSectionalRank(missing="mean"), r"CrossSectionalRank\(missing=...\) takes 'keep', 'center' or 'error'"),
        (CrossSectionalZScore(ddof=2), r"CrossSectionalZScore\(ddof=...\) takes 0 or 1, not 2"),
        (CrossSectionalZScore(clip=0), r"CrossSectionalZScore\(clip=...\) takes a positive number or None"),
        (CrossSectionalWinsorizer((0.9, 0.1)), "takes two rising quantiles between 0 and 1"),
        (CrossSectionalWinsorizer(0.1), "takes two rising quantiles between 0 and 1"),
    ],
)
def test_bad_parameters(panel, transformer, message):
    with pytest.raises(ValueError, match=message):
        transformer.fit(panel)


def test_bad_panels(panel):
    with pytest.raises(ValueError, match="infinity"):
        CrossSectionalRank().fit(panel.fillna(np.inf))
    with pytest.raises(ValueError, match="feature names"):
        CrossSectionalRank().fit(panel).transform(panel[["size", "beta", "mom"]])
    months = panel.index.get_level_values("month").to_series().mask(np.arange(100) == 7)
    no_time = panel.set_axis(pd.MultiIndex.from_arrays([months, range(100)], names=["month", "stock"]))
    with pytest.raises(ValueError, match="the panel's index has no time in row 7"):
        CrossSectionalRank().fit(no_time)
