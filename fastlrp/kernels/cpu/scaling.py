"""Rows of a frame, gathered from its own memory, scaled and cast in one pass.

For a market of 500 stocks, refitted every month, NumPy's passes took longer than the predictions themselves.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from fastlrp.kernels.target import entry


@entry
def scale_rows(X, at, center, scale, rows):
    """rows = (X[at] - center) / scale, computed in the widest of their dtypes."""
    for k in range(at.size):
        row = at[k]
        for d in range(center.size):
            rows[k, d] = (X[row, d] - center[d]) / scale[d]
