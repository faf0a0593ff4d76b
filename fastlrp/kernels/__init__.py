"""Kernels, the only place that computes, and the seam where a backend is chosen.

A backend is a module of this package with ``run(net, windows, steps, *, rule, target, aggregate, reduced, threads,
advance)``, which returns ``Results`` in X's dtype: a row a sample, or, for a panel, one for each of its rows, at
``windows.order``. Where no window ends, or X has NaN, a row is NaN in every result. On the CPU, NaN in a prediction or
score of another row is made infinite: there the network's numbers were too large; where those of its relevance were,
all of a row but these two is NaN. Without a rule only the prediction has rows. An infinity in X raises
``FloatingPointError``; the caller finds out where it is.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import import_module
from types import ModuleType

from fastlrp.checks import check
from fastlrp.kernels.results import on_gpu
from fastlrp.messages import install_hint

#: Floating-point operations from which "auto" takes a GPU: about a second of sixteen cores. Below it, the time saved
#: would hardly repay copying and, the first time on a machine, compiling for the GPU (about ten seconds).
WORTH_A_GPU = 1e12


def get_backend(device: str, rows: object = None, work: float = 0.0) -> ModuleType:
    """The backend of a device: "cpu", "cuda", or "auto" for a GPU where one answers and the work is worth it.

    Numba is imported here, when the first kernel is needed, not with fastlrp. CUDA's modules are imported only if CUDA
    is asked for or ``work`` (floating-point operations) is worth a look.

    Raises
    ------
    ValueError
        If there is no such device, if CUDA is asked for and does not answer, or if ``rows`` live on a GPU and device
        is "cpu".
    """
    check("device", device)
    if on_gpu(rows) and device == "cpu":
        raise ValueError("X lives on the GPU, expected an array in the host's memory with device='cpu': copy it there")
    if on_gpu(rows):
        device = "cuda"
    elif device == "auto":
        device = "cpu" if work < WORTH_A_GPU or _why_no_cuda(simulated=False) is not None else "cuda"
    if device == "cuda" and (missing := _why_no_cuda()) is not None:
        raise ValueError(f"device='cuda' is not available: {missing}")
    return _module(device)


@cache
def _module(device: str) -> ModuleType:
    """A backend; importing it again would take a microsecond of each call."""
    return import_module(f"fastlrp.kernels.{device}")


def _why_no_cuda(*, simulated: bool = True) -> str | None:
    """The reason why CUDA is missing, as the end of a sentence; None where it answers."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"it needs the package numba-cuda, which is missing: {install_hint('numba-cuda[cu13]', 'cuda')}"
    try:
        from fastlrp.kernels.cuda import why_unavailable
    except Exception as error:  # a broken installation must not break the CPU
        return f"numba-cuda does not work here ({type(error).__name__}: {error})"
    return why_unavailable(simulated=simulated)
