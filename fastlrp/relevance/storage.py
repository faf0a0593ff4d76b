"""Results as files that others can read."""

from __future__ import annotations

import os
from pathlib import Path

from fastlrp.messages import install_hint
from fastlrp.objects import as_path
from fastlrp.relevance import as_hdf5, as_parquet
from fastlrp.relevance.arrays import RelevanceArrays
from fastlrp.whole import whole


def save(relevance: RelevanceArrays, path: str | os.PathLike[str]) -> None:
    """``Relevance.save``."""
    out = as_path(path, "save(path=...)")
    write = as_parquet.write if kind_of(out, "save") == "parquet" else as_hdf5.write
    with whole(out) as temporary:
        write(relevance, temporary)


def kind_of(path: Path, who: str) -> str:
    """Parquet or hdf5, by the path's ending.

    Raises
    ------
    ValueError
        If it ends otherwise.
    ImportError
        If the package is missing.
    """
    end = path.suffix.lower()
    if end in (".h5", ".hdf5"):
        return "hdf5"
    if end != ".parquet":
        raise ValueError(f"{who}(path=...) takes a name that ends in .parquet, .h5 or .hdf5, not {str(path)!r}")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        hint = install_hint("pyarrow", "parquet")
        raise ImportError(f"{path} needs pyarrow: {hint}, or a name that ends in .h5") from None
    return "parquet"
