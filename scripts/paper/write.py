"""Tables in Markdown."""

from __future__ import annotations

import numpy as np
import pandas as pd


def markdown(table: pd.DataFrame, digits: int = 3) -> str:
    """A table whose first column is the index; what is missing stays empty."""

    def text(value: object) -> str:
        if isinstance(value, str):
            return value
        return "" if pd.isna(value) else f"{value:.{digits}f}"

    head = [str(table.index.name or ""), *map(str, table.columns)]
    rows = [[str(name), *map(text, row)] for name, row in zip(table.index, table.to_numpy(object), strict=True)]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation of some seeds."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({np.std(values, ddof=1):.{digits}f})"
