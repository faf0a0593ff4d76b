"""Helpers of many test files: where things are, numbers compared at a scale, processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
#: Arrays of a result besides its values and prediction.
TOTALS = ("score", "initial_state", "unattributed")


def close(got: Any, want: Any, tol: float, scale: float | None = None) -> None:
    """Check that numbers agree within ``tol`` of the largest one that is wanted, or of ``scale``; NaN where NaN is."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    largest = np.nanmax(np.abs(want), initial=0.0) if scale is None else scale
    assert_allclose(got, want, rtol=0, atol=tol * largest)


def same_bits(one: Any, two: Any) -> None:
    """Check that two arrays hold the same bits."""
    one, two = np.ascontiguousarray(one), np.ascontiguousarray(two)
    assert (one.dtype, one.shape) == (two.dtype, two.shape)
    assert one.tobytes() == two.tobytes(), f"{np.sum(one != two)} of {one.size} numbers differ"


def same_relevance(one: Any, two: Any, rows: Any = slice(None)) -> None:
    """Check that all numbers of two results agree bit for bit; ``rows`` selects those of the first."""
    for key in ("values", "prediction", *TOTALS):
        same_bits(np.asarray(getattr(one, key))[rows], np.asarray(getattr(two, key)))


def run_python(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own; the time limit is for hangs alone."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=3600,
    )
