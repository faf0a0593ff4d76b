"""The kernels as plain Python: the same functions, uncompiled, against the same reference.

Coverage and debuggers see inside them only this way, and the intrinsics have a second form that nothing else runs.
"""

import os

from helpers import TESTS, run_python


def test_kernels_agree_with_the_reference_uncompiled():
    command = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(TESTS / "test_against_reference.py")]
    command += ["-k", "agrees_with_the_reference or (missing_value and shallow) or infinity"]
    command += ["-W", "ignore:invalid value:RuntimeWarning"]  # inf - inf warns for a NumPy scalar, not when compiled
    run = run_python(*command, NUMBA_DISABLE_JIT="1")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


def test_this_run_is_compiled():
    from fastlrp.kernels.cpu.tile import execute

    assert ("signatures" in dir(execute)) != (os.environ.get("NUMBA_DISABLE_JIT") == "1")
