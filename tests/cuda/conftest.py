"""Tests of the CUDA kernels, on a GPU or, at a small size, in Numba's simulator.

python -m pytest tests/cuda                                                      where there is a GPU
NUMBA_ENABLE_CUDASIM=1 NUMBA_DISABLE_JIT=1 python -m pytest tests/cuda           anywhere, as plain Python
"""

from __future__ import annotations

import sys

import pytest

from fastlrp.kernels import _why_no_cuda

# The simulator's threads are Python's, and one of them only checks whether the others have met. Let it check for a
# tenth of a millisecond at a time instead of five milliseconds.
sys.setswitchinterval(1e-4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if "cuda" in item.path.parent.name]
    if here and (missing := _why_no_cuda()) is not None:
        for item in here:
            item.add_marker(pytest.mark.skip(reason=f"{missing}; test_cuda.py runs these in the simulator"))
