"""Results to draw, and what pictures of them say."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from fastlrp.relevance.result import Relevance
from fastlrp.rules import Arras

YYYYMM = [year * 100 + month for year in range(1990, 2000) for month in range(1, 13)]
MONTHS = pd.period_range("1990-01", periods=120, freq="M")


def made_up(
    times=YYYYMM, *, features=5, steps=3, assets=4, rule=None, spike=None, gone=(), names=("month", "stock"), **k
):
    """Relevance that decreases from feature to feature; the first ``steps - 1`` times and ``gone`` have none."""
    rng = np.random.default_rng(features)
    index = pd.MultiIndex.from_product([pd.Index(times), [f"A{i}" for i in range(assets)]], names=names)
    values = rng.normal(size=(len(index), steps, features)) * np.exp(-np.arange(features) / features)
    if spike is not None:
        values[len(index) // 2, :, -1] = spike
    at = np.arange(len(index)) // assets
    missing = (at < steps - 1) | np.isin(at, list(gone))
    values[missing] = np.nan
    rest = np.where(missing, np.nan, 0.0)
    return Relevance(
        values=values, prediction=rest, score=rest, initial_state=rest, unattributed=rest, rule=rule or Arras(),
        steps=steps, index=index, features=tuple(f"factor {j}" for j in range(features)), **k,
    )  # fmt: skip


def texts(axes):
    return [text.get_text() for text in [axes.title, axes._left_title, *axes.texts] if text.get_text()]


def said(figure):
    return "\n".join(itertools.chain.from_iterable(texts(axes) for axes in figure.axes))


def ticks(axes):
    return dict(zip([int(at) for at in axes.get_xticks()], [t.get_text() for t in axes.get_xticklabels()], strict=True))


def check_words(figure):
    """Nothing is cut off, and no two words lie on each other."""
    figure.draw_without_rendering()
    whole = figure.get_window_extent()
    for axes in figure.axes:
        low, high = sorted(axes.get_ylim())
        rows = [row for row in axes.get_yticklabels() if low <= row.get_position()[1] <= high]
        lines = [axes._left_title, *axes.texts, axes.xaxis.label, axes.yaxis.label, *rows]
        boxes = [line.get_window_extent() for line in lines if axes.get_visible() and line.get_text()]
        assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 + 1 for box in boxes)
        assert all(whole.y0 <= box.y0 and box.y1 <= whole.y1 + 1 for box in boxes)
        assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].shrunk(1, 0.8).overlaps(pair[1])]
