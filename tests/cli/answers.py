"""What commands answer, checked the same way wherever they are tried."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

#: Exit code, what was printed, what was said.
Answer = tuple[int, str, str]


def refused(answer: Answer, *words: str) -> None:
    """Check for exit code 2, nothing printed, no file, and one sentence with these words and no Python in it."""
    code, out, err = answer
    sentences = [line for line in err.splitlines() if line.startswith("fastlrp")]
    assert (code, out) == (2, ""), err
    assert len(sentences) == 1, err
    for word in words:
        assert word in sentences[0]
    assert not re.search(r"pd\.|\b[a-z_]+=[^=]|set_index|Traceback", sentences[0])
    assert not Path("out.csv").exists()


def table(file: Any, **options: Any) -> pd.DataFrame:
    """A csv with its numbers to the last bit, which pandas reads by itself since version 3."""
    if int(pd.__version__.partition(".")[0]) < 3:
        options["float_precision"] = "round_trip"
    return pd.read_csv(file, **options)
