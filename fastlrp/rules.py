"""Relevance rules: frozen values with their parameters and their source.

The numbers they stand for are computed in ``fastlrp/kernels``; the mathematics is written out in the README's
"What is computed". A rule here is what a user chooses, validated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Stabilizer = Literal["paper", "absorbed"]


@dataclass(frozen=True)
class _EpsilonRule:
    """Parameters that both LSTM rules share: those of the linear (epsilon) rule.

    One map from lower units a_i to upper units z_j = sum_i a_i w_ij + b_j with N lower units hands down::

        R_i<-j = (a_i w_ij + (eps s_j + delta b_j)/N) / (z_j + eps s_j) R_j      stabilizer="paper"
        R_i<-j = (a_i w_ij + delta (eps s_j + b_j)/N) / (z_j + eps s_j) R_j      stabilizer="absorbed"

    where s_j is the sign of z_j, counted +1 at zero.
    """

    eps: float = 1e-3
    delta: float = 0.0
    stabilizer: Stabilizer = "paper"

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("eps", "delta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{kind}({name}=...) takes a number, not {value!r}")
            object.__setattr__(self, name, float(value))
        if not 0.0 < self.eps < float("inf"):
            raise ValueError(f"{kind}(eps=...) takes a positive finite number, not {self.eps!r}")
        if self.delta not in (0.0, 1.0):
            raise ValueError(f"{kind}(delta=...) takes 0 or 1, not {self.delta!r}")
        if self.stabilizer not in ("paper", "absorbed"):
            raise ValueError(f"{kind}(stabilizer=...) takes 'paper' or 'absorbed', not {self.stabilizer!r}")

    @property
    def name(self) -> str:
        """The short name that ``explain(rule=...)`` takes."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Arras(_EpsilonRule):
    """Epsilon-LRP through an LSTM: gates get nothing, signals take all.

    Parameters
    ----------
    eps : float
        Stabiliser added to every denominator with the denominator's sign. Positive.
    delta : {0, 1}
        1 hands the biases' share to the lower units as well, so that the rule conserves: the relevance and what
        reaches the initial state then sum to the score.
    stabilizer : {"paper", "absorbed"}
        Whether the stabiliser's share is always handed down ("paper") or only with ``delta=1`` ("absorbed").
        With ``delta=1`` the two are the same.
    recurrent : bool
        Follow the path through h[t-1] (the published rule). ``False`` leaves it out; what it carried is then
        reported as unattributed.

    References
    ----------
    Arras, Montavon, Mueller, Samek 2017 (arXiv:1706.07206); Arras et al. 2019 (arXiv:1909.12114).
    """

    recurrent: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.recurrent, bool):
            raise ValueError(f"Arras(recurrent=...) takes True or False, not {self.recurrent!r}")


@dataclass(frozen=True)
class Rudder(_EpsilonRule):
    """The RUDDER rule: a step's share of the cell is what it wrote, with no discount by later forget gates.

    Conserves at the cell only where nothing is forgotten; elsewhere the difference is reported as unattributed.
    Parameters are those of :class:`Arras`.

    References
    ----------
    Arjona-Medina et al. 2019, RUDDER (arXiv:1806.07857), A8.4.2.
    """


Rule = Arras | Rudder

_RULES: dict[str, Rule] = {"arras": Arras(), "rudder": Rudder()}


def as_rule(rule: str | Rule) -> Rule:
    """The rule a user named: one of the names, or a rule value as it is."""
    if isinstance(rule, Arras | Rudder):
        return rule
    if isinstance(rule, str) and rule.lower() in _RULES:
        return _RULES[rule.lower()]
    names = " or ".join(repr(name) for name in _RULES)
    raise ValueError(f"rule= takes {names}, or a value such as fl.Arras(eps=1e-3), not {rule!r}")
