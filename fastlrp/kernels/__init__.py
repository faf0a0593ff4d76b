"""The only place that computes: kernels, and the seam where a backend is chosen.

A backend is a module with ``run(net, windows, steps, *, rule, target, aggregate, reduced, threads, advance)``, which
gives ``Results``.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.messages import install_hint

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Windows:
    """Which windows of which rows: all that kernels know of a batch or a panel.

    Attributes
    ----------
    rows : array (row, feature), C or Fortran order; or one on a GPU, in C order
    order : int64 array or None
        ``rows[order[r]]`` is the r-th row; None where they stand in order.
    ends : bool array or None
        Row r is the last of a full window; results are then one for each row, at ``order[r]``. None: the windows are
        rows 0 ... T-1, T ... 2T-1 and so on, each a sample.
    """

    rows: Array
    order: Array | None = None
    ends: Array | None = None

    def n(self, steps: int) -> int:
        """Number of results."""
        return self.rows.shape[0] // steps if self.ends is None else self.ends.size


class Results(NamedTuple):
    """What a backend gives; without a rule only ``prediction`` has rows."""

    values: Array
    prediction: Array
    score: Array
    initial_state: Array
    unattributed: Array


#: Floating-point operations from which "auto" takes a GPU: about a second of sixteen cores. Below it, what is saved
#: would hardly repay copying and, the first time on a machine, compiling for the GPU (about ten seconds).
WORTH_A_GPU = 1e12


def on_gpu(array: object) -> bool:
    """Whether an array lives on a GPU: CuPy's, torch's, JAX's, Numba's and others say so by the same attribute."""
    try:
        named = getattr(array, "__cuda_array_interface__", None) is not None
    except Exception:  # of an array on the host some libraries do not say that there is none, but fail
        return False
    return named or getattr(array, "__cuda_ndarray__", False) is True


def runs(ends: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """First and one past the last of every run of rows that end a window; ``ends`` is ``Windows.ends``."""
    edges = np.flatnonzero(np.diff(ends, prepend=False, append=False))
    return edges[::2], edges[1::2]


def get_backend(device: str, rows: object = None, work: float = 0.0) -> ModuleType:
    """The backend of a device: "cpu", "cuda", or "auto" for a GPU where one answers and the work is worth it.

    Numba is imported here, when the first kernel is needed, and not with fastlrp; what concerns CUDA only if it is
    asked for, or ``work`` (floating-point operations) is worth a look.

    Raises
    ------
    ValueError
        If there is no such device, CUDA is asked for and does not answer, or ``rows`` live on a GPU and device is
        "cpu".
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device= takes 'auto', 'cpu' or 'cuda', not {device!r}")
    if on_gpu(rows) and device == "cpu":
        raise ValueError("X lives on the GPU, expected an array in the host's memory with device='cpu': copy it there")
    if device == "cuda" or on_gpu(rows):
        if (missing := _why_no_cuda()) is not None:
            raise ValueError(f"device='cuda' is not available: {missing}")
    elif device == "cpu" or work < WORTH_A_GPU or _why_no_cuda(simulated=False) is not None:
        from fastlrp.kernels import cpu

        return cpu
    from fastlrp.kernels import cuda

    return cuda


def _why_no_cuda(*, simulated: bool = True) -> str | None:
    """What is missing for CUDA, as the end of a sentence; None where it answers."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"it needs the package numba-cuda, which is missing: {install_hint('numba-cuda[cu13]', 'cuda')}"
    try:
        from fastlrp.kernels.cuda import why_unavailable
    except Exception as error:  # a broken installation must not break the CPU
        return f"numba-cuda does not work here ({type(error).__name__}: {error})"
    return why_unavailable(simulated=simulated)


def as_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """float32 or float64, the two that kernels are compiled for."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype= takes float32 or float64, not {dtype!r}")
    return kind
