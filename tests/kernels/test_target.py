"""The processor that kernels are compiled for, and processes that cannot keep compiled code."""

import platform
import shutil

import pytest
from helpers import ROOT, run_python

PACKAGE = ROOT / "fastlrp"

EXPLAIN = """
import numpy as np
import fastlrp as fl
rng = np.random.default_rng(4)
T, D, H = 3, 4, 5
W, U, b, V = (0.5 * rng.normal(size=shape) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,), (H, 1)))
net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V, None)])
X = rng.normal(size=(3, T, D))
found = net.explain(X, rule=fl.Arras(delta=1))
whole = found.values.sum(axis=(1, 2)) + found.initial_state + found.unattributed
np.testing.assert_allclose(whole, found.score, rtol=0, atol=1e-12 * abs(found.score).max())
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="looks at x86 instructions")
def test_a_processor_without_fused_multiply_add_gets_two_instructions():
    """On the processor that Numba calls generic, a function call for each number was 40 times as slow."""
    check = """
from fastlrp.kernels.cpu.tiles import run_tiles
code = "".join(run_tiles.inspect_asm().values())
assert "mulpd" in code and "addpd" in code, "no vector code at all"
calls = [line.strip() for line in code.splitlines() if "fma" in line]
assert not calls, calls[:3]
"""
    done = run_python("-c", EXPLAIN + check, NUMBA_CPU_NAME="generic")
    assert done.returncode == 0, done.stderr[-2000:]


def test_kernels_compile_where_nothing_can_be_kept(tmp_path):
    """A read-only installation and home, even for root: files take the place of Numba's folders."""
    shutil.copytree(PACKAGE, tmp_path / "fastlrp", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("cpu", "training"):
        (tmp_path / "fastlrp" / "kernels" / folder / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    nowhere = str(tmp_path / "home" / "cache")
    environment = {"XDG_CACHE_HOME": nowhere, "HOME": nowhere, "NUMBA_CACHE_DIR": "", "PYTHONPATH": str(tmp_path)}
    done = run_python(
        "-c",
        EXPLAIN + "net.explain(X.astype('f4')); import fastlrp.kernels.training.epochs",
        cwd=tmp_path,
        **environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("NUMBA_CACHE_DIR") == 1, done.stderr
