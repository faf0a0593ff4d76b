"""pyarrow, from the extra ``fastlrp[parquet]``, or the sentence that says how to install it."""

from __future__ import annotations

from fastlrp.messages import install_hint

try:
    import pyarrow
    from pyarrow import compute, csv, ipc, parquet
except ImportError:
    hint = install_hint("pyarrow", "parquet")
    raise ImportError(f"explain_file and fit_file need the package pyarrow: {hint}") from None

__all__ = ["compute", "csv", "ipc", "parquet", "pyarrow"]
