"""The networks of an ensemble, which fit together: a value that computes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from fastlrp.messages import count, foreign_network, shown
from fastlrp.model.chain import Chain


class Chains:
    """A :class:`fastlrp.Ensemble` without predict and explain: networks of the same inputs and outputs.

    Parameters and errors are those of :class:`fastlrp.Ensemble`.
    """

    def __init__(self, networks: Sequence[Any]) -> None:
        given = foreign_network(networks) or type(networks).__name__
        if isinstance(networks, Chain | Chains | str) or not hasattr(networks, "__iter__"):
            raise ValueError(f"Ensemble takes a list of networks, not {given}")
        self._networks = tuple(networks)
        for k, net in enumerate(self._networks):
            if not isinstance(net, Chain):
                what = "an Ensemble: give its .networks" if isinstance(net, Chains) else foreign_network(net)
                raise ValueError(f"Ensemble: member {k} is {what or type(net).__name__}, expected a fastlrp.Network")
        if len(self._networks) < 2:
            raise ValueError(f"Ensemble takes at least two networks, not {len(self._networks)}")
        check_alike(self._networks, [f"member {k}" for k in range(len(self._networks))], "Ensemble: ")

    @property
    def networks(self) -> tuple[Any, ...]:
        """The members."""
        return self._networks

    @property
    def steps(self) -> int | None:
        """T if it is fixed, else None."""
        return self._first.steps

    @property
    def n_features(self) -> int:
        """D, the number of inputs per step."""
        return self._first.n_features

    @property
    def n_static(self) -> int:
        """S, the number of static features."""
        return self._first.n_static

    @property
    def n_columns(self) -> int:
        """D + S: the columns of a panel that the members read."""
        return self._first.n_columns

    def relevance_shape(self, steps: int, *, reduced: bool) -> tuple[int, ...]:
        """The shape of a sample's relevance, as :meth:`Chain.relevance_shape` has it."""
        return self._first.relevance_shape(steps, reduced=reduced)

    @property
    def sequence(self) -> bool:
        """Whether its members predict at every step."""
        return self._first.sequence

    @property
    def recurrent(self) -> bool:
        """Whether its members have recurrent layers."""
        return self._first.recurrent

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self._first.n_outputs

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the inputs, or None."""
        return self._first.features

    @property
    def static(self) -> tuple[str, ...] | None:
        """Names of the static features, or None."""
        return self._first.static

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns of a panel that the members read, or None."""
        return self._first.columns

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """Names of the outputs, or None."""
        return self._first.outputs

    @property
    def n_params(self) -> int:
        """Number of weights of all members."""
        return sum(net.n_params for net in self._networks)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 if any member's is, else float32."""
        return np.result_type(*(net.dtype for net in self._networks))

    @property
    def _first(self) -> Chain:
        first: Chain = self._networks[0]
        return first

    def with_features(self, features: Sequence[str] | None) -> Self:
        """The same ensemble with names for its inputs, as :meth:`fastlrp.Network.with_features` of every member."""
        return type(self)([net.with_features(features) for net in self._networks])

    def with_static(self, static: Sequence[str] | None) -> Self:
        """The same ensemble with names for its static features, as :meth:`fastlrp.Network.with_static` of every
        member."""
        return type(self)([net.with_static(static) for net in self._networks])

    def with_columns(self, columns: Sequence[str]) -> Self:
        """The same ensemble with names for all columns that it reads, as of every member."""
        return type(self)([net.with_columns(columns) for net in self._networks])

    def __iter__(self) -> Iterator[Any]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def __getitem__(self, k: int) -> Any:
        return self._networks[k]

    def __eq__(self, other: object) -> bool:
        return self._networks == other._networks if isinstance(other, Chains) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as networks

    def _kinds(self) -> dict[str, list[int]]:
        """The positions of the members that have the same layers, by a text that lists them."""
        found: dict[str, list[int]] = {}
        for k, net in enumerate(self._networks):
            found.setdefault(net._kinds, []).append(k)
        return found

    def __repr__(self) -> str:
        beside = f", {self.n_static:,} static" if self.n_static else ""
        sizes = f"{count(self.n_features, 'feature')}{beside}, {count(self.n_params, 'parameter')}"
        return shown(f"<Ensemble of {len(self)} networks: {' or '.join(self._kinds())}; {sizes}>")

    def summary(self) -> str:
        """A table of the layers for each kind of member."""
        lines = [self._total()]
        for who, net in self._shown():
            lines += ["", f"{who}:", net.summary()]
        return "\n".join(lines)

    def _total(self) -> str:
        return f"Ensemble of {len(self)} networks, {count(self.n_params, 'parameter')} in all"

    def _shown(self) -> Iterator[tuple[str, Chain]]:
        """Of each kind of member, which they are, and the first."""
        for at in self._kinds().values():
            who = "each of them" if len(at) == len(self) else f"member{'s' * (len(at) > 1)} {', '.join(map(str, at))}"
            yield who, self._networks[at[0]]

    def _repr_html_(self) -> str:
        parts = "".join(f"<p>{who}:</p>{net._repr_html_()}" for who, net in self._shown())
        return f"<div><p>{self._total()}</p>{parts}</div>"


def check_alike(networks: Sequence[Chain], names: Sequence[str], before: str) -> None:
    """Refuse networks that do not take the same windows, or do not have the same outputs.

    Raises
    ------
    ValueError
        The message begins with ``before``, and names the first network that differs from the first of all, and how.
    """
    first = networks[0]
    for net, name in zip(networks[1:], names[1:], strict=True):
        for mine, due in zip(_sizes(net), _sizes(first), strict=True):
            if mine != due:
                raise ValueError(f"{before}{name} has {mine}, but {names[0]} has {due}: members must have the same")
        for what in ("features", "static", "outputs"):
            have, want = getattr(net, what), getattr(first, what)
            if have == want:
                continue
            if have is None or want is None:
                does, lacks = (names[0], name) if have is None else (name, names[0])
                raise ValueError(f"{before}{does} has names for its {what}, but {lacks} has none: members must agree")
            k = next(k for k, (a, b) in enumerate(zip(have, want, strict=True)) if a != b)
            raise ValueError(
                f"{before}{what}[{k}] is {have[k]!r} in {name}, but {want[k]!r} in {names[0]}: members must have the "
                "same names in the same order"
            )


def _sizes(net: Chain) -> tuple[str, ...]:
    T = "windows of any length" if net.steps is None else f"windows of {count(net.steps, 'step')}"
    if not net.recurrent:
        T = "no recurrent layer"
    every = " at every step" if net.sequence else ""
    return (
        count(net.n_features, "feature"), count(net.n_static, "static feature"), T,
        count(net.n_outputs, "output") + every,
    )  # fmt: skip


#: What predicts and explains.
AnyNetwork = Chain | Chains
