"""Reads results that were saved; nothing in a file is trusted, and nothing of it is executed."""

from __future__ import annotations

import os
from typing import Any, cast

import numpy.typing as npt
import pandas as pd

from fastlrp.objects import as_path
from fastlrp.relevance import as_hdf5, as_parquet
from fastlrp.relevance.arrays import SAMPLE_ARRAYS
from fastlrp.relevance.result import Relevance
from fastlrp.relevance.storage import kind_of

Array = npt.NDArray[Any]


def load_relevance(path: str | os.PathLike[str], *, mmap: bool = False) -> Relevance:
    """Read a result that :meth:`Relevance.save` wrote.

    Parameters
    ----------
    path : str or path
        A ``.parquet`` file (needs pyarrow), or ``.h5`` or ``.hdf5``.
    mmap : bool
        Leave ``values`` and the totals in the file, which must be HDF5: they are read as they are used, and methods
        read some rows at a time, so that a result may be larger than memory. The file must stay as it is, and damage to
        its numbers is not noticed: their checksums are compared where they are read into memory.

    Returns
    -------
    Relevance
        Equal to the one that was saved: arrays bit for bit, index, rule and all else. ``network`` is the fingerprint of
        the networks that were explained, which are not stored themselves.

    Raises
    ------
    ValueError
        If it is not such a file, is damaged, or was made by a rule that is not known here.
    ImportError
        If pyarrow is missing.
    """
    where = as_path(path, "load_relevance(path=...)")
    if not isinstance(mmap, bool):
        raise ValueError(f"load_relevance(mmap=...) takes True or False, not {mmap!r}")
    kind = kind_of(where, "load_relevance")
    if not where.is_file():
        raise ValueError(f"{where} {'is no file' if where.exists() else 'does not exist'}")
    if mmap and kind != "hdf5":
        raise ValueError(f"load_relevance(mmap=True) needs an HDF5 file, not {where}: Parquet is unpacked into memory")
    own, arrays, index = as_parquet.read(where) if kind == "parquet" else as_hdf5.read(where, mmap=mmap)
    _check_shapes(own, arrays, index, str(where))
    return Relevance(**own, **cast(Any, arrays), index=index)


def _check_shapes(own: dict[str, Any], arrays: dict[str, Array], index: pd.Index | None, where: str) -> None:
    """Refuse arrays that are not there, or whose shapes are not those of one result."""
    lacking = [name for name in SAMPLE_ARRAYS if name not in arrays and not hasattr(Relevance, name)]
    if lacking:
        raise ValueError(f"{where} is damaged: it lacks {lacking[0]!r}")
    n, steps, features, outputs = arrays["score"].size, own["steps"], len(own["features"]), own["outputs"]
    static = len(own.get("static_features", ()))
    many = (len(outputs) if outputs else arrays["prediction"].shape[-1],) if arrays["prediction"].ndim == 2 else ()
    shapes = {
        "values": (n, features) if own["reduced"] else (n, steps, features),
        "prediction": (n, *many),
        "static": (n, static),
    }
    for name, array in arrays.items():
        expected = shapes.get(SAMPLE_ARRAYS[name], (n,))
        if array.shape != expected or array.dtype.kind != "f":
            raise ValueError(
                f"{where} is damaged: {name!r} has shape {array.shape} and dtype {array.dtype}, expected numbers of "
                f"shape {expected}"
            )
    if len({"spread" in arrays, "prediction_spread" in arrays, own["n_members"] is not None}) > 1:
        raise ValueError(f"{where} is damaged: it has some of 'spread', 'prediction_spread' and 'n_members', not all")
    spread = bool(static) and own["n_members"] is not None
    if ("static" in arrays, "static_spread" in arrays) != (bool(static), spread):
        raise ValueError(f"{where} is damaged: 'static' and 'static_spread' are not those of its static features")
    if own["share_spread"] is not None and len(own["share_spread"]) != features + static:
        raise ValueError(
            f"{where} is damaged: 'share_spread' has {len(own['share_spread'])} numbers, its features are "
            f"{features + static}"
        )
    if index is not None and len(index) != n:
        raise ValueError(f"{where} is damaged: its index has {len(index):,} rows, its scores {n:,}")
