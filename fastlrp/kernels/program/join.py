"""Static features, one value a sample, beside the output of the last recurrent layer: rows that a Dense layer reads as
one input. No rule and no layer needs to know of them but for :meth:`RuleProgram.beside`."""

from __future__ import annotations

from fastlrp.kernels.program.instructions import copy
from fastlrp.kernels.program.rows import Rows
from fastlrp.kernels.program.walk import Beside, Walk


def join(walk: Walk, below: Rows, static: Rows) -> Rows:
    """Write the join, forward and back; returns the place of the joined rows.

    ``static`` are columns of X, of which the last step counts.
    """
    H, S = below.width, static.width
    walk.back.append([])
    out = walk.output(H + S, sequence=False, kept=1)
    walk.forward.append(copy(H, a=below.row(0), out=out.at))
    joined = Beside(S, static.place(walk.T - 1), static.rel, out.at + H, out.rel + H)
    if walk.rule is None:
        walk.forward.append(joined.read(walk))
        return out
    walk.down.append(copy(H, a=out.rel, out=below.rel))
    walk.rule.beside(walk, joined)
    return out
