"""Relevance rules: frozen values with their parameters and their source, and the registry that knows them by name.

A rule here is a user's choice, validated once; the README's "What is computed" writes out the mathematics. The way it
walks back through a network is its program (``fastlrp/kernels/program/rules.py``), registered with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, cast

import numpy as np

Stabilizer = Literal["paper", "absorbed"]
Aggregate = Literal["sequence", "average", "last"] | bool  # True is "average", False is "last"


class Rule(ABC):
    """A relevance rule with its parameters: a frozen, hashable value whose parameters all have defaults."""

    #: Whether relevance and the part that reaches the initial state make up most of a score on any network; otherwise
    #: ``explain`` warns if they do not.
    conserves: ClassVar[bool] = True
    #: Where it does all the same, and what to do, as the end of that warning.
    conserves_only: ClassVar[str] = (
        "it need not conserve; use rule='arras' (fastlrp.Arras) instead, or read Relevance.unattributed beside the "
        "relevance"
    )
    #: What is unattributed and what the gap is, for a summary, where that is peculiar to the rule.
    totals: ClassVar[str] = ""
    #: Whether its gap is an error of method, not of rounding: ``explain`` warns where it is large.
    approximates: ClassVar[bool] = False
    #: Whether it hands the score down through layers: ``aggregate`` then says how, and a GPU computes it, too.
    hands_down: ClassVar[bool] = True

    #: Kinds of layers that it has no derivation for, each with the reason and what to do.
    refuses: ClassVar[Mapping[str, str]] = {}

    @property
    def name(self) -> str:
        """The short name that ``explain(rule=...)`` and the command line take."""
        return type(self).__name__.lower()

    @property
    @abstractmethod
    def numbers(self) -> tuple[float, float, float]:
        """The parameters that kernels compute with: eps of the linear rule, and the parts of it and of biases that are
        handed down."""

    def check_fits(self, steps: int, n_features: int, dtype: np.dtype[Any], n_static: int = 0) -> None:  # noqa: B027  # most fit all
        """Refuse windows that the parameters do not fit."""


@dataclass(frozen=True)
class _EpsilonRule(Rule):
    """Parameters that both LSTM rules share: those of the linear (epsilon) rule.

    A map from N lower units a_i to upper units z_j = sum_i a_i w_ij + b_j hands down::

        R_i<-j = (a_i w_ij + (eps s_j + delta b_j)/N) / (z_j + eps s_j) R_j      stabilizer="paper"
        R_i<-j = (a_i w_ij + delta (eps s_j + b_j)/N) / (z_j + eps s_j) R_j      stabilizer="absorbed"

    where s_j is the sign of z_j, taken as +1 at zero.
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
    def numbers(self) -> tuple[float, float, float]:
        """eps, and the parts of it and of biases that are handed down."""
        handed = self.eps if self.stabilizer == "paper" else self.eps * self.delta
        return self.eps, handed, self.delta

    def check_fits(self, steps: int, n_features: int, dtype: np.dtype[Any], n_static: int = 0) -> None:
        """Refuse an eps that the dtype rounds to 0 or cannot hold."""
        if 1e-30 <= self.eps <= 1e30:  # every dtype holds it; one sample at a time must stay cheap
            return
        range_ = np.finfo(dtype)
        if not float(range_.smallest_subnormal) <= self.eps <= float(range_.max):
            raise ValueError(
                f"{type(self).__name__}(eps={self.eps!r}) is out of {dtype}'s range, expected a number from "
                f"{range_.smallest_normal:.1e} to {range_.max:.1e}: the default is 0.001"
            )


@dataclass(frozen=True)
class Arras(_EpsilonRule):
    """Epsilon-LRP through an LSTM or a GRU: gates get nothing, signals take all.

    A GRU's state is h itself: the linear rule on h_t = z*h_{t-1} + (1-z)*g, whose 2H lower units are the products,
    gives h_{t-1} its part and the candidate g the rest, which goes on through the map below g with the reset gate r
    held at its value: onto x_t, and onto h_{t-1} by the weights r_j U_kj and the bias b + r*rb (``reset_after``), or
    onto r*h_{t-1} by U.

    Parameters
    ----------
    eps : float
        Stabiliser added to every denominator with the denominator's sign. Positive.
    delta : {0, 1}
        1 hands the biases' share to the lower units as well, so that the rule conserves: the relevance and the part
        that reaches the initial state then sum to the score.
    stabilizer : {"paper", "absorbed"}
        Whether the stabiliser's share is always handed down ("paper") or only with ``delta=1`` ("absorbed").
        With ``delta=1`` the two are the same.
    recurrent : bool
        Follow the path through h[t-1] (the published rule). ``False`` leaves it out (of a GRU that to the candidate,
        not the share z*h[t-1] of its state); the relevance it carried is then reported as unattributed.

    References
    ----------
    Arras, Montavon, Mueller, Samek 2017 (arXiv:1706.07206); Arras et al. 2019 (arXiv:1909.12114). The GRU is that of
    Cho et al. 2014 (arXiv:1406.1078) and of Keras; the rule is theirs for gates, applied to its products.
    """

    recurrent: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.recurrent, bool):
            raise ValueError(f"Arras(recurrent=...) takes True or False, not {self.recurrent!r}")


@dataclass(frozen=True)
class Rudder(_EpsilonRule):
    """The RUDDER rule: a step's share of the cell is the amount it wrote, with no discount by later forget gates.

    It conserves at the cell only where nothing is forgotten; elsewhere the difference is reported as unattributed.
    Parameters are those of :class:`Arras`.

    References
    ----------
    Arjona-Medina et al. 2019, RUDDER (arXiv:1806.07857), A8.4.2.
    """

    conserves: ClassVar[bool] = False
    conserves_only: ClassVar[str] = (
        "it conserves only where forget gates stay near 1; use rule='arras' (fastlrp.Arras) instead, or read "
        "Relevance.unattributed beside the relevance"
    )
    refuses: ClassVar[Mapping[str, str]] = {
        "GRU": "RUDDER is derived for an LSTM's cell alone: use rule='arras' (fastlrp.Arras)"
    }


class Registered(NamedTuple):
    """A rule's class, its value with all defaults, and the function that turns a value into a ``RuleProgram``."""

    kind: type[Rule]
    default: Rule
    program: Callable[[Any], Any]


#: Every rule by its name.
_REGISTRY: dict[str, Registered] = {}


def register(kind: type[Rule], program: Callable[[Any], Any]) -> None:
    """Register a rule under its name, with the function that makes its program.

    Raises
    ------
    ValueError
        If another rule has that name.
    """
    default = kind()
    name = default.name
    if name in _REGISTRY and _REGISTRY[name].kind is not kind:
        raise ValueError(f"a rule named {name!r} is registered already: {_REGISTRY[name].kind.__qualname__}")
    _REGISTRY[name] = Registered(kind, default, program)


def unregister(kind: type[Rule]) -> None:
    """Forget a rule."""
    del _REGISTRY[kind().name]


def rule_names() -> tuple[str, ...]:
    """Names of all rules, in order of registration."""
    return tuple(_REGISTRY)


def program_of(rule: Rule) -> Any:
    """The program of a rule value.

    Raises
    ------
    ValueError
        If the rule is not registered.
    """
    entry = _REGISTRY.get(rule.name)
    if entry is None or type(rule) is not entry.kind:
        raise ValueError(f"no program is registered for the rule {rule!r}: see fastlrp/kernels/program/rules.py")
    return entry.program(rule)


def described(rule: Rule) -> str:
    """A rule in few words: its name, and its parameters that are not the default."""
    changed = ((field.name, getattr(rule, field.name), field.default) for field in fields(cast(Any, rule)))
    return ", ".join([rule.name, *(f"{name}={_plain(value)}" for name, value, default in changed if value != default)])


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return f"an array {np.shape(value)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_rule(rule: str | Rule) -> Rule:
    """The rule that a user chose: by its name, or a rule value as it is.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(rule, str) and rule.lower() in _REGISTRY:
        return _REGISTRY[rule.lower()].default
    if isinstance(rule, Rule) and (entry := _REGISTRY.get(rule.name)) and type(rule) is entry.kind:
        return rule
    names = " or ".join(map(repr, _REGISTRY))
    raise ValueError(f"rule= takes {names}, or a value such as fl.Arras(eps=1e-3), not {rule!r}")
