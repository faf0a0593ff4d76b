"""How far explanations of the same samples agree, sample by sample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[Any]


class View(NamedTuple):
    """What is compared of an explanation, (sample, unit) each: ranks less their mean, the largest units, signs."""

    ranks: Array
    largest: Array
    sign: Array


def view(relevance: Array, top: int) -> View:
    """Of relevance (sample, unit); the ``top`` largest by size, of equal ones the first."""
    ranks = rankdata(relevance, axis=-1)
    largest = np.zeros(relevance.shape, bool)
    first = np.argsort(-np.abs(relevance), axis=-1, kind="stable")[:, :top]
    np.put_along_axis(largest, first, True, axis=-1)
    return View(ranks - ranks.mean(axis=-1, keepdims=True), largest, np.sign(relevance))


def agreement(one: View, other: View) -> Array:
    """Each sample's Spearman correlation, share of the largest units that are so in both, and share of units with the
    same sign, of those that are not zero in both; (3, sample), NaN where ranks are constant, or all units are zero."""
    scale = np.sqrt(np.square(one.ranks).sum(axis=1) * np.square(other.ranks).sum(axis=1))
    counted = (one.sign != 0) | (other.sign != 0)
    same = counted & (one.sign == other.sign)
    both = one.largest & other.largest
    return np.array([
        _over((one.ranks * other.ranks).sum(axis=1), scale),
        _over(both.sum(axis=1), one.largest.sum(axis=1)),
        _over(same.sum(axis=1), counted.sum(axis=1)),
    ])  # fmt: skip


def _over(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))
