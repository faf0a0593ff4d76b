"""pyarrow, from the extra ``fastlrp[parquet]``, or the sentence that says how to install it."""

from __future__ import annotations

from fastlrp.messages import install_hint

try:
    import pyarrow
    from pyarrow import compute, csv, ipc, parquet
except ImportError:
    raise ImportError(f"explain_file needs the package pyarrow: {install_hint('pyarrow', 'parquet')}") from None

__all__ = ["compute", "csv", "ipc", "parquet", "pyarrow"]
