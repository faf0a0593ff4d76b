"""Input arrays: checked, and laid out as kernels read them."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastlrp.kernels import get_backend
from fastlrp.kernels.results import on_gpu
from fastlrp.messages import count
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.objects import as_array

Array = npt.NDArray[Any]
_KINDS = (np.dtype(np.float32), np.dtype(np.float64))


def batch_of(net: AnyNetwork, X: Any, steps: int | None, dtype: Any) -> Array:
    """An array (sample, step, feature) of the compute dtype, in C order; one on the GPU stays there. For a network
    without a recurrent layer X may be (sample, feature), which is one step.

    Raises
    ------
    ValueError
        If X is not such an array. The message says what was given, what was expected, and where.
    """
    if on_gpu(X):
        return cast(Array, _on_gpu(net, X, steps, dtype))
    if X is None:
        raise ValueError("X is None, expected an array (sample, step, feature) or a panel")
    if isinstance(X, np.ma.MaskedArray):  # masked values are missing, and asarray would unmask them
        X = np.where(np.ma.getmaskarray(X), np.nan, X.data).astype(np.result_type(X.dtype, np.float16))
    if isinstance(X, list | tuple) and [np.ndim(one) for one in X if hasattr(one, "shape")] == [3, 2]:
        raise ValueError("X is a pair of arrays, but the network has no static features: give the windows alone")
    array = as_array(X, "X", "an array (sample, step, feature)")
    kind = array.dtype
    if kind.kind not in "fiub":
        raise ValueError(f"X must hold float32 or float64 numbers, not dtype {kind}")
    if not net.recurrent and array.ndim == 2:
        check_rows(net, array.shape, steps)
        array = array[:, None]
    else:
        check_shape(net, array.shape, steps)
    if (dtype is None or dtype == kind) and kind in _KINDS and array.flags.c_contiguous and array.flags.aligned:
        return array  # as it is: what follows takes several microseconds to find that out
    if dtype is None:
        dtype = np.float32 if kind.kind == "f" and kind.itemsize <= 4 else np.float64  # in either byte order
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused by name
        return np.require(array, dtype, ["C", "A"])


def joined_batch(net: AnyNetwork, X: Any, steps: int | None, dtype: Any) -> Array:
    """Two arrays, (sample, step, feature) and (sample, static), as one (sample, step, feature): static features are its
    last ones, at the last step alone.

    Raises
    ------
    ValueError
        If X is not such a pair. The message says what was given, what was expected, and where.
    """
    wanted = f"the network has {count(net.n_static, 'static feature')}, so X must be a pair [X, S] of arrays, (sample, "
    wanted += "step, feature) and (sample, static)"
    if not isinstance(X, list | tuple):
        raise ValueError(f"{wanted}, or a panel, not {'None' if X is None else f'a {type(X).__name__}'}")
    if len(X) != 2:
        raise ValueError(f"{wanted}, not {count(len(X), 'array')}")
    if any(hasattr(one, "columns") for one in X):
        raise ValueError(f"{wanted}, not of frames: a panel holds both as columns of one")
    if any(map(on_gpu, X)):
        raise ValueError("X lives on the GPU, but a network with static features is computed on the CPU alone: give X "
                         "there, and device='cpu' or 'auto'")  # fmt: skip
    windows, S = batch_of(net, X[0], steps, dtype), X[1]
    if isinstance(S, np.ma.MaskedArray):  # as in batch_of
        S = np.where(np.ma.getmaskarray(S), np.nan, S.data)
    S = as_array(S, "S", "an array (sample, static)")
    if S.dtype.kind not in "fiub":
        raise ValueError(f"S must hold float32 or float64 numbers, not dtype {S.dtype}")
    n, T, D = windows.shape
    if S.shape != (n, net.n_static):
        raise ValueError(f"S has shape {S.shape}, expected ({n}, {net.n_static}): a row a sample of X, and a column a "
                         "static feature")  # fmt: skip
    batch = np.zeros((n, T, D + net.n_static), windows.dtype)
    batch[:, :, :D] = windows
    with np.errstate(over="ignore"):  # as in batch_of
        batch[:, -1, D:] = S
    return batch


def _on_gpu(net: AnyNetwork, X: Any, steps: int | None, dtype: Any) -> Any:
    """An array (sample, step, feature) that stays where it is, on the GPU."""
    backend = get_backend("cuda")  # its error says what is missing
    try:
        array = backend.adopt(X)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ValueError(f"X must be an array (sample, step, feature) on the GPU: {error}") from None
    if array.dtype not in (np.float32, np.float64) or dtype not in (None, array.dtype):
        wanted = "float32 or float64" if dtype is None else dtype
        raise ValueError(f"X is {array.dtype} on the GPU, expected {wanted}: convert it there")
    check_shape(net, array.shape, steps)
    if not array.is_c_contiguous():
        raise ValueError("X on the GPU is not contiguous, expected C order: copy it there into an array of its own")
    return array


def check_rows(net: AnyNetwork, shape: tuple[int, ...], steps: int | None) -> None:
    """Refuse a shape that is not (sample, feature) of this network, which takes one step."""
    n, D = shape
    if steps not in (None, 1):
        raise ValueError(f"steps={steps!r} was given, but X (sample, feature) is one step: leave it out")
    if net.n_features != D:
        due = count(net.n_features, "feature")
        raise ValueError(
            f"X has {count(D, 'feature')}, expected {due}: shape {shape} where (n, {net.n_features}) is due"
        )
    if n == 0:
        raise ValueError(f"X is empty: shape {shape}, expected at least one sample")


def check_shape(net: AnyNetwork, shape: tuple[int, ...], steps: int | None) -> None:
    """Refuse a shape that is not (sample, step, feature) of this network."""
    D, wanted = net.n_features, net.steps if steps is None else steps
    T = "T" if wanted is None else wanted
    if len(shape) != 3:
        flat = "" if net.recurrent else f"(sample, feature), (n, {D}), or "
        raise ValueError(f"X has shape {shape}, expected {flat}3 dimensions (sample, step, feature): (n, {T}, {D})")
    if shape[2] != D:
        due = count(D, "feature")
        raise ValueError(
            f"X has {count(shape[2], 'feature')}, expected {due}: shape {shape} where (n, {T}, {D}) is due"
        )
    if (wanted is not None and shape[1] != wanted) or (steps is not None and net.steps not in (None, steps)):
        T = net.steps or T
        due = f"{T} step{'s' * (T != 1)}"
        raise ValueError(f"X has {count(shape[1], 'step')}, expected {due}: shape {shape} where (n, {T}, {D}) is due")
    if shape[0] == 0 or shape[1] == 0:
        raise ValueError(f"X is empty: shape {shape}, expected at least one sample and one step")
