"""Orthonormal columns for first weights, without LAPACK, whose threads a fit that asks for one thread must not use."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from fastlrp.kernels.target import entry


@entry
def orthonormal_rows(a):
    """Make the rows of ``a`` (k, n), k <= n, orthonormal in place: Gram-Schmidt, twice, which is as exact as QR.

    The rows of R^T have a positive diagonal, so that Gaussian rows become rows of a uniformly distributed orthogonal
    matrix (Mezzadri 2007, arXiv:math-ph/0609050).
    """
    k, n = a.shape
    for row in range(k):
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
