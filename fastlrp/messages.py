"""Phrases that many messages share: numbers with their nouns, what to install, and networks of other libraries.

This module imports only the standard library: nobody should have to wait for an error message.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

#: Advice for a network that was trained with torch.
FROM_TORCH = (
    "give fastlrp.Network its arrays: W = weight_ih_l0.T, U = weight_hh_l0.T and b = bias_ih_l0 + bias_hh_l0 make an "
    "fl.LSTM, W = weight.T and b = bias an fl.Dense (each .detach().cpu().numpy())"
)


def count(n: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: "1 name", "2,000 names"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """Text of unknown origin, with characters that could control a terminal escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(lines: str) -> str:
    """Lines that hold names of unknown origin, each printable."""
    return "\n".join(map(printable, lines.split("\n")))


def install_hint(package: str, extra: str | None = None) -> str:
    """How to install an optional package; fastlrp is on no index, so its extras are installed from a checkout."""
    quoted = f'"{package}"' if "[" in package else package
    checkout = "" if extra is None else f' (or, in a checkout of fastlrp, pip install ".[{extra}]")'
    return f"pip install {quoted}{checkout}"


def foreign_network(value: object) -> str | None:
    """A description of another library's network or layer, and how to convert it; None for any other value."""
    for kind in type(value).__mro__:
        library, own = kind.__module__.partition(".")[0], type(value).__name__
        if library == "torch" and kind.__name__ == "Module":
            return f"the torch module {own}: {FROM_TORCH}"
        if library in ("keras", "tf_keras", "tensorflow") and kind.__name__ in ("Layer", "Model"):
            what = "model" if any(base.__name__ == "Model" for base in type(value).__mro__) else "layer"
            return (
                f"the Keras {what} {own}: save its model, model.save('model.keras'), and fl.read_keras('model.keras')"
            )
    return None


def suggest(missing: Sequence[str], have: Sequence[str]) -> str:
    """Unknown names, each with the known name that it may stand for."""
    shown = []
    for name in missing[:8]:
        close = difflib.get_close_matches(name, have, n=1)
        shown.append(f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name))
    return ", ".join(shown) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")


#: Packages whose lines stand between ours and the user's.
_BETWEEN = ("fastlrp", "sklearn", "numba")


def users_line() -> int:
    """The ``stacklevel`` by which a warning of the calling function points to the user's line, through whichever doors
    it came: the first outside of fastlrp, of scikit-learn, which wraps ``transform``, and of Numba, which compiles."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    return level


_unsaid: ContextVar[tuple[type[Warning], ...]] = ContextVar("unsaid", default=())


@contextmanager
def unsaid(*kinds: type[Warning]) -> Iterator[None]:
    """Leave warnings of these kinds out meanwhile, where they are given by :func:`warn`: in this thread alone, unlike
    ``warnings.catch_warnings``, which changes what all threads' warnings meet."""
    token = _unsaid.set((*_unsaid.get(), *kinds))
    try:
        yield
    finally:
        _unsaid.reset(token)


def warn(text: str, kind: type[Warning]) -> None:
    """Warn at the user's line, unless warnings of this kind are :func:`unsaid`."""
    if not issubclass(kind, _unsaid.get()):
        warnings.warn(text, kind, stacklevel=users_line())
