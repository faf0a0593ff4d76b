"""Settings of the whole test session, and fixtures that many files use."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

# Numba keeps a caller's machine code when a function in another file changes, so every session compiles afresh.
# Numba reads the variable once, when it is imported; subprocesses inherit it.
if "numba" in sys.modules:
    raise RuntimeError("numba was imported before tests/conftest.py, so a fresh NUMBA_CACHE_DIR would come too late")
_SCRATCH = tempfile.mkdtemp(prefix="fastlrp-tests-")
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
os.environ["NUMBA_CACHE_DIR"] = os.path.join(_SCRATCH, "numba")
os.environ["SCIPY_ARRAY_API"] = "1"  # read once, by SciPy: scikit-learn's suite then skips none of its checks
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = os.path.join(_SCRATCH, "hypothesis")

from hypothesis import settings  # noqa: E402  # after its storage directory is set

# The same examples on every machine and every day; the first one pays for Numba's compilation, so no deadline.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=False)
settings.load_profile("ci")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220131)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that may lie beside the checkout but is not part of the project."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/data beside the checkout is absent; it holds data that fastlrp does not ship")
    return folder
