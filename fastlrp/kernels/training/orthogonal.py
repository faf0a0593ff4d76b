"""Orthonormal columns for first weights, without LAPACK, whose threads a fit that asks for one thread must not use."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.kernels.target import entry

#: Rows of one compiled call: a thousand rows take ten seconds, and Ctrl-C is noticed between calls.
_ROWS = 16


def orthonormal_rows(a: npt.NDArray[Any]) -> None:
    """Make the rows of ``a`` (k, n), k <= n, orthonormal in place: Gram-Schmidt, twice, which is as exact as QR.

    The rows of R^T have a positive diagonal, so that Gaussian rows become rows of a uniformly distributed orthogonal
    matrix (Mezzadri 2007, arXiv:math-ph/0609050).
    """
    for first in range(0, len(a), _ROWS):
        _orthonormal_rows(a, first, min(first + _ROWS, len(a)))


@entry
def _orthonormal_rows(a, first, last):
    """Some of the rows; those before them are orthonormal already."""
    n = a.shape[1]
    for row in range(first, last):
        for _ in range(2):
            for other in range(row):
                along = 0.0
                for j in range(n):
                    along += a[other, j] * a[row, j]
                for j in range(n):
                    a[row, j] -= along * a[other, j]
        length = 0.0
        for j in range(n):
            length += a[row, j] * a[row, j]
        length = np.sqrt(length)
        for j in range(n):
            a[row, j] /= length
