"""The display of results at a prompt and in a notebook: some rows and totals, never a table of everything."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlrp.messages import count, shown
from fastlrp.relevance.arrays import RelevanceArrays, summed
from fastlrp.text_tables import html_bars, html_table, text_table

Array = npt.NDArray[Any]

_ROWS, _TOP, _BARS = 5, 3, 8  # as many as fit on a screen
_LOOK = 1 << 19  # values read to find the top features: a few milliseconds, whatever the result's size


@dataclass(frozen=True)
class Glance:
    """A result in a few lines: sentences, a table whose rows add up, and mean shares, which notebooks show as bars."""

    title: str
    notes: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_names: int  # number of leading columns that name the row
    shares: tuple[tuple[str, float, str], ...] = ()  # of features: the name, the share, and that as text

    def text(self) -> str:
        """Lines for a prompt."""
        table = text_table([self.head, *self.rows], self.n_names) if self.rows else []
        return shown("\n".join([self.title, *(f"  {line}" for line in (*self.notes, *table))]))

    def html(self) -> str:
        """A fragment for a notebook."""
        parts = "".join(f"<br>{html.escape(note)}" for note in self.notes)
        table = html_table(self.head, self.rows, self.n_names) if self.rows else ""
        return f"<div><p>{html.escape(self.title)}{parts}</p>{table}{html_bars(self.shares)}</div>"


def glance(relevance: RelevanceArrays) -> Glance:
    """A result's size, its top features, and some rows that have relevance, each with the parts that add up to it."""
    found = np.flatnonzero(relevance.explained)
    n = len(relevance)
    if not len(found):
        return Glance(title(relevance), (f"no row has relevance: {_why(relevance)}",), (), (), 0)
    notes = []
    if len(found) < n:
        have, lack = ("has" if len(found) == 1 else "have"), ("has" if n - len(found) == 1 else "have")
        notes.append(f"{count(len(found), 'row')} {have} relevance, {n - len(found):,} {lack} none: {_why(relevance)}")
    looked = _look(relevance, found)
    shares, order = looked.shares, np.argsort(-looked.shares, kind="stable")
    top = order[:_TOP]
    notes.append(
        f"score = relevance + initial_state + unattributed, to {looked.gap:.0e} of a row's parts at worst; "
        f"unattributed is {100 * looked.unattributed:.1f} % of |score| at the median"
    )
    at = found if len(found) <= _ROWS else np.concatenate([found[: _ROWS - 2], found[-2:]])
    names, labels = _row_labels(relevance, at)
    head, columns = _columns(relevance, at, top)
    cells = _numbers(columns)
    rows = [(*label, *row) for label, row in zip(labels, cells, strict=True)]
    if len(found) > _ROWS:
        rows.insert(_ROWS - 2, ("...",) * (len(names) + len(head)))
    blank = [""] * (len(names) - 1)
    rest = [f"{100 * max(0.0, 1 - shares[top].sum()):.1f} %"] * (len(shares) > len(top))
    part = ["", "", *(percent(shares[j], relevance.share_spread, j) for j in top), *rest, "", ""]
    rows.append(("mean share", *blank, *part))
    if looked.rows < len(found):
        notes.append(f"mean shares and gaps are those of {looked.rows:,} rows, evenly spread; summary() reads all")
    bars = tuple((relevance.inputs[j], float(shares[j]), percent(shares[j], relevance.share_spread, j)) for j in order)
    return Glance(title(relevance), tuple(notes), (*names, *head), tuple(rows), len(names), bars[:_BARS])


def title(relevance: RelevanceArrays) -> str:
    """One line: the result's size, rule and target."""
    steps = f"{count(relevance.steps, 'step')}{' (summed)' if relevance.reduced else ''}"
    shape = f"{count(len(relevance), 'sample')} x {steps} x {count(len(relevance.features), 'feature')}"
    if relevance.static_features:
        shape += f" and {count(len(relevance.static_features), 'static feature')}"
    target = "" if relevance.target is None else f", target {relevance.target!r}"
    target += "" if relevance.at_step is None else f", output of step {relevance.at_step}"
    of = "" if relevance.n_members is None else f", mean of {relevance.n_members:,} networks"
    return f"<Relevance: {shape}{of}, {relevance.rule!r}{target}>"


def percent(share: float, spreads: Array | None, j: int, width: int = 0) -> str:
    """A feature's share in percent, with its spread over an ensemble's members where that is known."""
    spread = "" if spreads is None else f" +- {100 * spreads[j]:.1f}"
    return f"{100 * share:{width}.1f} %{spread}"


def _why(relevance: RelevanceArrays) -> str:
    over = ", or numbers inside overflowed" if relevance.overflowed.any() else ""
    if relevance.index is None:
        return f"a value is missing there{over}"
    return f"no full window ends there, or a value is missing{over}"


class _Looked(NamedTuple):
    """What some rows say of all."""

    rows: int
    shares: Array  # each feature's mean share of |relevance|
    gap: float  # the largest, over its row's scale
    unattributed: float  # the median of |unattributed| / |score|


def _look(relevance: RelevanceArrays, found: Array) -> _Looked:
    """A look at some of the rows that have relevance, in their order."""
    width = max(1, int(np.prod(relevance.values.shape[1:])))
    some = found[:: max(1, -(-len(found) * width // _LOOK))]
    values = np.asarray(relevance.values[some])
    flat = values.reshape(len(some), -1)
    if relevance.static is not None:
        flat = np.concatenate([flat, relevance.static[some]], axis=1)
    score, *rest = (
        getattr(relevance, name)[some].astype(np.float64) for name in ("score", "initial_state", "unattributed")
    )
    gap = np.abs(score - flat.sum(axis=1, dtype=np.float64) - sum(rest))
    scale = np.abs(flat).sum(axis=1, dtype=np.float64) + np.abs([score, *rest]).sum(axis=0)
    size = np.abs(summed(relevance, some, values))
    total = size.sum(axis=1, keepdims=True)
    usable = np.isfinite(total[:, 0]) & (total[:, 0] > 0)
    shares = (size[usable] / total[usable]).mean(axis=0) if usable.any() else np.zeros(size.shape[1])
    lost = np.divide(np.abs(rest[1]), np.abs(score), out=np.full(len(some), np.inf), where=score != 0)
    worst = np.divide(gap, scale, out=np.zeros_like(gap), where=scale != 0)
    return _Looked(len(some), shares, float(np.nan_to_num(worst, nan=np.inf).max()), float(np.median(lost)))


def _summed(relevance: RelevanceArrays, rows: Array) -> Array:
    """The relevance of some rows by feature, in float64."""
    return summed(relevance, rows, np.asarray(relevance.values[rows]))


def _row_labels(relevance: RelevanceArrays, at: Array) -> tuple[list[str], list[list[str]]]:
    """The titles of the rows' labels, and the labels."""
    if relevance.index is None:
        return ["sample"], [[f"{row:,}"] for row in at]
    from fastlrp.panels.periods import label

    index = relevance.index[at]
    names = ["" if name is None else str(name) for name in index.names]
    return names, [[label(value) for value in (key if isinstance(key, tuple) else (key,))] for key in index]


def explained(relevance: RelevanceArrays) -> Array:
    """The predictions of the output that was explained; (n,)."""
    prediction = relevance.prediction
    if prediction.ndim == 1:
        return prediction
    names = list(relevance.outputs or range(prediction.shape[1]))
    return prediction[:, names.index(relevance.target) if relevance.target in names else 0]


def _columns(relevance: RelevanceArrays, at: Array, top: Array) -> tuple[list[str], Array]:
    """The columns of the table: the prediction, the score, and the parts that add up to it."""
    by_name, prediction = _summed(relevance, at), explained(relevance)[at]
    others = by_name.shape[1] - len(top)
    head = ["prediction", "score =", *(f"{relevance.inputs[j]} +" for j in top)]
    parts = [prediction, relevance.score[at], *(by_name[:, j] for j in top)]
    if others:
        head.append(f"{others:,} more +")
        parts.append(np.delete(by_name, top, axis=1).sum(axis=1))
    head += ["initial_state +", "unattributed"]
    return head, np.stack([*parts, relevance.initial_state[at], relevance.unattributed[at]], axis=1)


def _numbers(table: Array) -> list[list[str]]:
    """Numbers as text, with enough decimals to show four digits of the largest."""
    size = np.abs(table[np.isfinite(table)]).max(initial=0.0)
    exponent = math.floor(math.log10(size)) if size > 0 else 0
    form = f"+.{min(max(3 - exponent, 0), 7)}f" if -4 <= exponent < 7 else "+.3e"
    return [[format(value, form) for value in row] for row in table.tolist()]
