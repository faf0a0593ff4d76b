"""report: one self-contained page about a model and its explanation of a panel."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fastlrp.checks import as_dtype, check
from fastlrp.learning.rolling import RollingLSTM
from fastlrp.messages import install_hint
from fastlrp.objects import as_path
from fastlrp.reporting.about import made_section, model_section, reconciliation_section
from fastlrp.reporting.evidence import gathered
from fastlrp.reporting.history import history_section, lag_section
from fastlrp.reporting.latest import embedded, latest_section
from fastlrp.reporting.outcome import outcome_section
from fastlrp.reporting.page import page
from fastlrp.reporting.subject import Subject, subject
from fastlrp.reporting.trust import faithfulness_section, rules_section
from fastlrp.rules import Rule, as_rule
from fastlrp.whole import whole

PathLike = str | os.PathLike[str]


def report(
    model: Any,
    panel: Any,
    destination: PathLike,
    *,
    target: Any = None,
    rule: str | Rule = "arras",
    unit: int | str | None = None,
    steps: int | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    test_from: object = None,
    horizon: int = 1,
    columns: Sequence[str] | None = None,
    index: tuple[str | None, str | None] | None = None,
    title: str | None = None,
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
) -> Path:
    """Write a page to look at and to pass on: what a model is, what its predictions rest on, and how far to trust it.

    One HTML file of at most 2 MB, whatever the number of rows. It loads nothing, and reads without scripts, on a phone
    and on paper. Sections: the model and the rows left out; how relevance adds up; features and groups through time;
    lags; the latest cross-section, a table whose rows open to show why an asset is not the average one; two rules side
    by side, and gradients; faithfulness (both from 2,000 windows); with ``target``, rank correlations with Newey-West's
    t, quantile portfolios and R2 against zero; and how it was computed.

    Beside the panel, relevance summed over steps is held, and by step up to 1 GiB of it: where that is not enough, lags
    are those of some assets.

    Parameters
    ----------
    model : path, Network, Ensemble, LSTMRegressor, RollingLSTM or pipeline
        A Keras file, a network, or a fitted estimator.
    panel : DataFrame (pandas or polars) or path
        As :meth:`fastlrp.Network.explain` takes it; for a network, also a file or folder as
        :func:`fastlrp.explain_file` takes it.
    destination : path
        The file to write, ``.html``; it is replaced once the page is whole.
    target : str, Series, array (n,) or None
        What followed each row: a column of the panel, which is then no feature, or numbers on its index; NaN where it
        is not known.
    rule : "arras", "rudder", or a rule
    unit : int, str or None
        The output to explain, if there are several: the ``target=`` of ``explain``.
    steps, dtype, threads
        As in :meth:`fastlrp.Network.explain`.
    groups : mapping of name to features, or None
        Groups to show through time; features in none are summed as "Other".
    test_from : time or None
        The first period that the model has not seen, as "2010-01": predictions are judged from there on.
    horizon : int
        Periods that a target spans. Those over several overlap, which t's allow for.
    columns, index
        For a panel in files, as in :func:`fastlrp.explain_file`.
    title : str or None
        The page's title.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        If an argument, the model or the panel is not what is expected; nothing is then written.
    ImportError
        If jinja2 or matplotlib is missing (the extra ``report``), or pyarrow for a panel in files.

    Examples
    --------
    >>> fl.report("model.h5", panel, "report.html", target="ret_next", test_from="2010-01")  # doctest: +SKIP
    """
    out, chosen = as_path(destination, "report(destination=...)"), as_rule(rule)
    check_asked(out, {"the model": model, "the panel": panel}, horizon, title)
    about = subject(
        model, panel, target, test_from=test_from, unit=unit, columns=columns, index=index, steps=steps,
        dtype=None if dtype is None else as_dtype(dtype), threads=threads,
    )  # fmt: skip
    write_report(about, out, chosen, groups=groups, horizon=horizon, title=title)
    return out


def check_asked(out: Path, inputs: Mapping[str, Any], horizon: int, title: object) -> None:
    """Refuse options, and a page that could not be written, before work starts.

    Raises
    ------
    ValueError, ImportError
        If so; ``inputs`` are what it must not replace.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"the report is written to a .html file, not {str(out)!r}")
    if out.is_dir() or not out.resolve().parent.is_dir():
        problem = "is a folder" if out.is_dir() else f"cannot be written: there is no folder {out.resolve().parent}"
        raise ValueError(f"{out} {problem}")
    for what, given in inputs.items():
        if isinstance(given, str | os.PathLike) and out.exists() and Path(given).exists() and out.samefile(given):
            raise ValueError(f"{out} is {what} itself: choose another file for the report")
    check("horizon", horizon)
    if title is not None and not isinstance(title, str):
        raise ValueError(f"title= takes a text, not {title!r}")
    for package in ("jinja2", "matplotlib"):
        if find_spec(package) is None:
            raise ImportError(f"a report needs {package}: {install_hint(package, 'report')}")


def write_report(
    about: Subject,
    out: Path,
    rule: Rule,
    *,
    groups: Mapping[str, Sequence[str]] | None,
    horizon: int,
    title: str | None,
) -> None:
    """Explain, judge, and write the page; arguments as :func:`report`'s."""
    start = time.perf_counter()
    e = gathered(about, rule, groups)
    sections = [model_section(e), reconciliation_section(e), history_section(e), lag_section(e), latest_section(e),
                rules_section(e), faithfulness_section(e)]  # fmt: skip
    if about.actual is not None:
        sections.append(outcome_section(e, horizon, refitted=isinstance(about.model, RollingLSTM)))
    asked = _asked(rule=rule, groups=groups and [*groups], horizon=None if horizon == 1 else horizon, **about.asked)
    sections.append(made_section(e, asked, time.perf_counter() - start))
    lead = " ".join([sections[0].lead[0], *(s.lead[1] for s in sections if s.name == "outcome" and len(s.lead) > 1)])
    name = title or f"What {about.source} predicts, and why"
    content = page(name, lead, sections, lambda room: embedded(e, room), e.assets.removesuffix("s"))
    with whole(out) as temporary:
        temporary.write_bytes(content)


def _asked(**given: Any) -> str:
    """The call, with what was not left out; data by their kind."""
    shown = [f"{name}={_short(value)}" for name, value in given.items() if value is not None]
    return f"fastlrp.report({', '.join(['model', 'panel', 'destination', *shown])})"


def _short(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | list | Rule) else f"a {type(value).__name__}"
