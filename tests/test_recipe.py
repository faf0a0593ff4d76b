"""The recipe in docs/out-of-sample.md: its code as it stands, and each of its numbers by NumPy alone."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "out-of-sample.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"

pytestmark = pytest.mark.skipif(not COMPILED, reason="a rolling fit of the whole panel needs compiled kernels")


def needs(package: str, project: str):
    absent = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(absent, reason=f"the recipe needs {project}, which is absent: pip install {project}")


def run(number: int, names: dict) -> dict:
    """The names after a snippet, which starts from those before it."""
    names = dict(names)
    exec(compile(SNIPPETS[number], f"{PAGE.name}, python snippet {number}", "exec"), names)
    return names


@pytest.fixture(scope="module")
def predictions() -> dict:
    assert len(SNIPPETS) == 3
    return run(0, {})


@pytest.fixture(scope="module")
def tested(predictions) -> dict:
    return run(1, predictions)


def table(names) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and returns, a row a month and a column a stock: the recipe's panel is whole where it predicts."""
    whole = [names[name].unstack("stock").to_numpy(np.float64) for name in ("predicted", "y")]
    rows = np.isfinite(whole[0] + whole[1]).any(axis=1)
    predicted, actual = (part[rows] for part in whole)
    assert np.isfinite(predicted + actual).all()
    return predicted, actual


def newey_west(series: np.ndarray) -> tuple[float, float]:
    """The mean and its t, by the formula: Bartlett's weights over autocovariances."""
    n, error, lags = len(series), series - series.mean(), 5  # 4 * (275 / 100)^(2/9) is 5.01
    total = sum(error[t] ** 2 for t in range(n))
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * sum(error[t] * error[t - lag] for t in range(lag, n))
    return series.mean(), series.mean() / (np.sqrt(total) / n)


def rank(values: np.ndarray) -> np.ndarray:
    return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


def ics(names) -> np.ndarray:
    pairs = zip(*table(names), strict=True)
    return np.array([np.corrcoef(rank(predicted), rank(actual))[0, 1] for predicted, actual in pairs])


def test_r2_is_against_zero_and_score_against_the_mean(predictions):
    predicted, actual = table(predictions)
    assert actual.shape == (
        275,
        20,
    )  # 2000-01 to 2022-11, after 120 months and before the last, whose return is unknown
    error = np.sum((actual - predicted) ** 2)
    assert predictions["r2"] == pytest.approx(1 - error / np.sum(actual**2), rel=0, abs=1e-12)
    score = predictions["model"].score(predictions["X"], predictions["y"])
    assert score == pytest.approx(1 - error / np.sum((actual - actual.mean()) ** 2), rel=0, abs=1e-12)
    assert score < predictions["r2"]


def test_information_coefficients_are_rank_correlations(predictions):
    np.testing.assert_allclose(predictions["ic"], ics(predictions), rtol=0, atol=1e-12)


@needs("statsmodels", "statsmodels")
def test_t_is_neweys_and_wests(tested):
    mean, t = newey_west(ics(tested))
    assert tested["mean"] == pytest.approx(mean, rel=0, abs=1e-12)
    assert tested["t"] == pytest.approx(t, rel=1e-9)


@needs("alphalens", "alphalens-reloaded")
def test_quantile_portfolios_are_means_of_sorted_fifths(tested):
    names = run(2, tested)
    predicted, actual = table(names)
    in_order = np.take_along_axis(actual, np.argsort(predicted, axis=1), axis=1)
    fifths = in_order.reshape(len(actual), 5, 4).mean(axis=2)
    assert list(names["portfolios"]) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(names["portfolios"], fifths, rtol=0, atol=1e-12)
    spread, t = newey_west(fifths[:, 4] - fifths[:, 0])
    assert names["spread"] == pytest.approx(spread, rel=0, abs=1e-12)
    assert names["spread_t"] == pytest.approx(t, rel=1e-9)
