"""The progress bar: tqdm's, from the extra ``fastlrp[progress]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastlrp.messages import install_hint


@contextmanager
def progress_bar(shown: bool, total: int, what: str, unit: str) -> Iterator[Callable[[int], object]]:
    """Show a bar and yield the function that advances it by a number of units; without ``shown`` it does nothing."""
    if not shown:
        yield lambda more: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError(f"the progress bar of {what} needs tqdm: {install_hint('tqdm', 'progress')}") from None
    with tqdm(total=total, desc=what, unit=f" {unit}", unit_scale=total >= 10_000) as bar:
        yield bar.update
