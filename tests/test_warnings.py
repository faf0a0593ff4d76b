"""The suite's own rule: our warnings are errors, other packages' warnings are not."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastlrp as fl


@pytest.mark.parametrize("module", ["fastlrp", "fastlrp.kernels.cpu", "benchmarks.cases", "test_panel", "oracles"])
@pytest.mark.parametrize("kind", [UserWarning, DeprecationWarning, RuntimeWarning])
def test_warnings_that_point_to_our_modules_are_errors(module, kind):
    with pytest.raises(kind, match="something"):
        warnings.warn_explicit("something", kind, "file.py", 1, module=module)


@pytest.mark.parametrize("module", ["numba_cuda.numba.cuda", "pyparsing.util", "fastlrpish", "pandas.core.frame"])
def test_warnings_of_other_packages_are_not(module):
    with warnings.catch_warnings(record=True) as told:  # by the same filters; or every summary would show it
        warnings.warn_explicit("something", DeprecationWarning, "file.py", 1, module=module)
    assert len(told) == 1


@pytest.mark.parametrize(
    "kind",
    [fl.ConservationWarning, fl.OverflowWarning, ConvergenceWarning, pytest.PytestUnhandledThreadExceptionWarning],
)
def test_what_we_say_is_an_error_wherever_it_points(kind):
    with pytest.raises(kind):
        warnings.warn_explicit("something", kind, "file.py", 1, module="sklearn.pipeline")


def test_what_numpy_says_of_our_numbers_is_an_error():
    with pytest.raises(RuntimeWarning, match="divide by zero"):
        np.ones(1) / np.zeros(1)
