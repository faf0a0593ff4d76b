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

# Every session compiles afresh, as a user's first call does, unless FASTLRP_TESTS_NUMBA names a folder that keeps
# machine code from session to session, for those who run a few tests again and again. Numba reads its own variable
# once, when it is imported; subprocesses inherit it.
if "numba" in sys.modules:
    raise RuntimeError("numba was imported before tests/conftest.py, so a fresh NUMBA_CACHE_DIR would come too late")
# The processes that pytest-xdist starts share their parent's.
if "PYTEST_XDIST_WORKER" in os.environ:
    _SCRATCH = os.environ["FASTLRP_TESTS_SCRATCH"]
else:
    _SCRATCH = os.environ["FASTLRP_TESTS_SCRATCH"] = tempfile.mkdtemp(prefix="fastlrp-tests-")
    atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
os.environ["NUMBA_CACHE_DIR"] = os.environ.get("FASTLRP_TESTS_NUMBA") or os.path.join(_SCRATCH, "numba")
os.environ["SCIPY_ARRAY_API"] = "1"  # SciPy reads it once; scikit-learn's suite then skips none of its checks
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = os.path.join(_SCRATCH, "hypothesis")

from hypothesis import HealthCheck, Phase, settings  # after its storage directory is set

# The examples are the same on every machine and every day. There is no deadline and no check for slow drawing, because
# the first example pays for Numba's compilation and the machine may be busy.
# With FASTLRP_TESTS_SHRINK=0 the first one that fails is not made smaller, for those who ask only whether one does.
FOUND = (Phase.explicit, Phase.generate)
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, print_blob=False,
    suppress_health_check=[HealthCheck.too_slow],
    phases=FOUND if os.environ.get("FASTLRP_TESTS_SHRINK") == "0" else tuple(Phase),
)  # fmt: skip
settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """Turn our own warnings into errors; other packages' warnings are only shown.

    A warning belongs to the module that it points to; NumPy's and pandas' point to the line that called them. Kinds of
    warning that only fastlrp raises here are errors wherever they point to; so are pytest's warnings about tests, such
    as an exception in a thread.
    """
    files = "|".join(sorted(path.stem for path in Path(__file__).parent.rglob("*.py")))
    config.addinivalue_line("filterwarnings", r"error:::(fastlrp|benchmarks)(\.|$)")
    config.addinivalue_line("filterwarnings", rf"error:::({files}|<string>)$")  # <string>: the README's snippets
    ours = ("fastlrp.ConservationWarning", "fastlrp.OverflowWarning")
    for kind in (*ours, "sklearn.exceptions.ConvergenceWarning", "pytest.PytestWarning"):
        config.addinivalue_line("filterwarnings", f"error::{kind}")


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
