"""The command ``compile``: kernels compiled ahead of time, so that images and workers begin at once.

Each job makes the smallest calls that need a kernel, so that its code is that of users' own calls. A new kernel joins
by a call in one of ``JOBS``, or a job of its own; ``tests/cli/test_compile.py`` names one that none calls.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastlrp.ensemble import Ensemble
from fastlrp.messages import count
from fastlrp.model.layers import LSTM, Dense
from fastlrp.network import Network

#: Steps, features and units of the jobs' networks; windows enough for more than one tile.
T, D, H, N = 2, 3, 2, 200


class Job(NamedTuple):
    """What users do, and calls that need the same kernels, with X (N, T, D) of the dtype to compile for."""

    what: str
    run: Callable[[Any], None]
    trains: bool = False


def run_compile(arguments: argparse.Namespace) -> int:
    """``fastlrp compile``: compile what is not there yet; say what, how long it took, and where it is."""
    folders = _folders()
    dtypes = ("float32", "float64") if arguments.dtype is None else (arguments.dtype,)
    print(f"{'':24}{'dtype':10}{'seconds':>8}{'bytes':>11}")
    before: set[Path] = set()
    for job in JOBS:
        if job.trains and arguments.no_training:
            continue
        for dtype in dtypes:
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers, and of what is asked for below
                job.run(np.zeros((N, T, D), dtype))
            seconds = time.perf_counter() - start
            used = _used()
            new = {path: found for path, found in used.items() if path not in before}
            before |= new.keys()
            size = sum(path.stat().st_size for path in new)
            state = "was there" if all(new.values()) else "compiled"
            print(f"{job.what:24}{dtype:10}{seconds:8.1f}{size:11,}  {state}", flush=True)
    used = _used()
    size, found = sum(path.stat().st_size for path in used), sum(used.values())
    print(f"\n{count(len(used), 'file')}, {size:,} bytes, of which {found} were there before, in "
          f"{_common(folders)}")  # fmt: skip
    print(_processor())
    return 0


# ---------------------------------------------------------------------------------------------------------- the jobs


def _network(dtype: Any, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    W, U, V = (rng.normal(size=shape).astype(dtype) for shape in ((D, 4 * H), (H, 4 * H), (H, 1)))
    return Network([LSTM(W, U), Dense(V)], steps=T)


def _explain(X: Any) -> None:
    net = _network(X.dtype)
    net.predict(X)
    net.predict(X[:1])
    for rule in ("arras", "rudder"):
        net.explain(X, rule=rule)
        net.explain(X[:1], rule=rule)
    net.explain(_panel(X), rule="arras")


def _gradients(X: Any) -> None:
    _network(X.dtype).explain(X, rule="gradient_x_input")


def _ensemble(X: Any) -> None:
    Ensemble([_network(X.dtype, seed) for seed in range(2)]).explain(X)


def _train(X: Any) -> None:
    from fastlrp.learning.regressor import LSTMRegressor

    y = np.linspace(-1, 1, len(X), dtype=X.dtype)
    LSTMRegressor(units=(H,), max_iter=1, dtype=X.dtype.name, random_state=0).fit(X, y)


def _scale(X: Any) -> None:
    from fastlrp.kernels.cpu.scaling import scale_rows
    from fastlrp.kernels.memory import read_only

    rows, one = np.ascontiguousarray(X[:, 0]), np.ones(D, X.dtype)
    for block in (rows, np.asfortranarray(rows)):  # a frame's memory is either
        scale_rows(read_only(block), np.arange(N), one, one, np.empty_like(rows))


JOBS = (
    Job("predict and explain", _explain),
    Job("gradients, rare layers", _gradients),
    Job("ensembles", _ensemble),
    Job("training", _train, trains=True),
    Job("refitting", _scale, trains=True),
)


def _panel(X: Any) -> Any:
    import pandas as pd

    index = pd.MultiIndex.from_product([range(N // 10), range(10)], names=["time", "asset"])
    return pd.DataFrame(X[:, 0], index)


# ---------------------------------------------------------------------------------------------- where the code is kept


def _kernels() -> Sequence[Any]:
    """All kernels, with their modules imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no folder is an error here
        import fastlrp.kernels.cpu.scaling
        import fastlrp.kernels.members
        import fastlrp.kernels.training.epochs
        import fastlrp.kernels.training.orthogonal  # noqa: F401
        from fastlrp.kernels.target import ENTRIES
    return ENTRIES


def _folders() -> list[Path]:
    """The folders that kernels are kept in.

    Raises
    ------
    ValueError
        If there is none, or it is not the one that the user names, or nothing is compiled.
    """
    from numba import config

    from fastlrp.kernels.target import kept_code

    if config.DISABLE_JIT:
        raise ValueError("NUMBA_DISABLE_JIT is set, so nothing is compiled: unset it")
    if config.OPT == 0:
        raise ValueError("NUMBA_OPT is 0, at which Numba keeps no code for later processes: unset it")
    kept = [kept_code(kernel) for kernel in _kernels()]
    folders = [one.folder for one in kept if one is not None]
    named = Path(config.CACHE_DIR).absolute() if config.CACHE_DIR else None
    if named is not None and not all(named in folder.absolute().parents for folder in folders):
        raise ValueError(f"NUMBA_CACHE_DIR names {named}, where nothing can be written")
    if len(folders) < len(kept):
        raise ValueError(
            "Numba finds no folder that it can write compiled kernels to: set the environment variable NUMBA_CACHE_DIR "
            "to one"
        )
    return folders


def _used() -> dict[Path, bool]:
    """Files of compiled code that jobs used, and whether they were there before.

    Raises
    ------
    ValueError
        If one could not be written.
    """
    from fastlrp.kernels.target import kept_code

    used: dict[Path, bool] = {}
    for kept in filter(None, map(kept_code, _kernels())):
        if kept.failure is not None:
            raise ValueError(f"compiled kernels cannot be kept in {kept.folder}: {kept.failure}")
        used |= kept.used
    return used


def _common(folders: Sequence[Path]) -> Path:
    """The folder that holds all of them."""
    return Path(os.path.commonpath(folders))


def _processor() -> str:
    from numba import config
    from numba.core.registry import cpu_target

    name = cpu_target.target_context.codegen().magic_tuple()[1]
    chosen = "which NUMBA_CPU_NAME names" if config.CPU_NAME else "which this machine has"
    return f"They are for the processor {name}, {chosen}; one of another kind compiles its own at its first call."
