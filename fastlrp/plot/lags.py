"""The profile of relevance over the lags of a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlrp.plot.canvas import FAINT, LINES, axes_for, entry, header, plain_axes, shortened
from fastlrp.plot.shown import Groups, checked, ordered, scope
from fastlrp.plot.tracks import UNITS, Statistic, by_lag, lag_axis, lag_ticks
from fastlrp.relevance.result import Relevance


def lag_profile(
    *relevances: Relevance,
    statistic: Statistic = "share",
    groups: Groups | None = None,
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Relevance of each lag, summed over features: how far back predictions look; a line per result or per group.

    Parameters
    ----------
    *relevances : Relevance
        One to four results with every step and the same features, or one where ``groups`` are given.
    statistic : {"share", "abs", "mean"}
        The quantity that :meth:`Relevance.by_lag` averages over all rows. Shares sum to 100 % over lags and groups.
    groups : mapping of name to features, or None
        A line for each of up to seven groups; features in no group are summed as "Other".
    labels : sequence of str or None
        Names for the results; None names their rules, with the parameters that are not the default.
    title : str or None
        None: a title that says what is shown.
    ax : matplotlib Axes or None
        Where to draw; None makes a figure.

    Returns
    -------
    matplotlib.figure.Figure, or ``ax`` if it is given

    Raises
    ------
    ValueError
        If steps were summed inside the kernel, a result has no relevance, results have other steps, or there are
        several results and groups, or too many groups.
    ImportError
        If matplotlib is missing.
    """
    names = checked("lag_profile", relevances, labels)
    first = relevances[0]
    if groups is not None and len(relevances) > 1:
        raise ValueError(f"lag_profile(groups=...) takes one result, not {len(relevances)}: lines are of its groups")
    if any(other.steps != first.steps for other in relevances[1:]):
        raise ValueError("lag_profile compares results with the same number of steps, but theirs differ")
    tables = [by_lag("lag_profile", relevance, statistic, groups) for relevance in relevances]
    if groups is None:
        profiles = {name: table.sum(axis=1) for name, table in zip(names, tables, strict=True)}
    else:
        chosen = ordered("lag_profile", tables[0].abs().sum(), None, None)
        profiles = {name: tables[0][name] for name in chosen}
    if len(profiles) > len(LINES):
        raise ValueError(f"lag_profile has {len(LINES)} colours that can be told apart, not {len(profiles)}")
    (axes,) = axes_for("lag_profile", ax, 1, 8.0, 2.6)
    of, places = scope(first), range(first.steps)
    for colour, (name, profile) in zip(LINES, profiles.items(), strict=False):
        axes.plot(places, profile, "o-", color=colour, linewidth=1.6, markersize=4, label=entry(shortened(name)))
    plain_axes(axes, lag_axis(of), UNITS[statistic])
    axes.set_xticks(*lag_ticks(first.steps, 12))
    if statistic == "mean":
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    else:
        axes.set_ylim(bottom=0)
    by = f"{names[0]}: " if len(names) == 1 else ""
    how = f"{by}mean over {of.window}s, summed over " + ("features" if groups is None else "each group's features")
    legend = [shortened(name) for name in profiles] if len(profiles) > 1 else []
    scopes = dict.fromkeys(scope(relevance).text for relevance in relevances)
    main = title or "How far back predictions look" + ("" if groups is None else ", by group")
    header(axes, main, [how, *scopes], legend)
    return axes.figure if ax is None else ax
