"""The chain of a network's layers, from a window of features to a prediction: a value that computes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from fastlrp.checks import check
from fastlrp.messages import count, foreign_network, shown
from fastlrp.model import table
from fastlrp.model.layers import CURVES, GRU, WEIGHTLESS, Bidirectional, Dense, Dropout, Layer, Masking, Recurrent
from fastlrp.text_tables import text_table


def as_names(value: object, size: int, where: str, of: str) -> tuple[str, ...] | None:
    """Names of features or outputs, checked: one for each, and no two the same."""
    if value is None:
        return None
    if isinstance(value, set | frozenset):
        raise ValueError(f"{where} takes a list of names, not a {type(value).__name__}, which has no order")
    if isinstance(value, str) or (not isinstance(value, Sequence | np.ndarray) and not hasattr(value, "__iter__")):
        raise ValueError(f"{where} takes a list of names, not {value!r}")
    names = tuple(str(name) for name in value)
    if len(names) != size:
        raise ValueError(f"{where} has {count(len(names), 'name')}, expected {size:,}: {of}")
    if len(set(names)) != size:
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{where} names {twice!r} twice")
    return names


def as_static(value: object) -> tuple[int, tuple[str, ...] | None]:
    """The number of static features, and their names where they have some."""
    where = "Network(static=...)"
    if value is None:
        return 0, None
    if isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_):
        if value < 0:
            raise ValueError(f"{where} takes a number of static features, or their names, not {value!r}")
        return int(value), None
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        names = as_names(value, len(value), where, "one for each static feature")
        return len(value), names or None
    raise ValueError(f"{where} takes a list of names, or the number of static features, not {value!r}")


class Chain:
    """A :class:`fastlrp.Network` without predict and explain: layers that fit together, and their names.

    Parameters and errors are those of :class:`fastlrp.Network`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        steps: int | None = None,
        features: Sequence[str] | None = None,
        static: Sequence[str] | int | None = None,
        outputs: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        if (foreign := foreign_network(layers)) is not None:
            raise ValueError(f"Network takes a list of fastlrp's layers, not {foreign}")
        if isinstance(layers, Layer) or not hasattr(layers, "__iter__"):
            raise ValueError(f"Network takes a list of layers, not {type(layers).__name__}")
        self._layers: tuple[Layer, ...] = tuple(layers)
        self._n_static, self._static = as_static(static)
        self._check_chain()
        weighted = [layer for layer in self._layers if not isinstance(layer, WEIGHTLESS)]
        check("steps", steps, "Network")
        self._recurrent = any(isinstance(layer, Recurrent | Bidirectional) for layer in weighted)
        if not self._recurrent and steps not in (None, 1):
            raise ValueError(f"Network(steps={steps}) was given, but without a recurrent layer a window is one step")
        self._steps = 1 if not self._recurrent else None if steps is None else int(steps)
        self._n_features, self._n_outputs = weighted[0].n_inputs, weighted[-1].n_outputs
        self._n_params = sum(layer.n_params for layer in self._layers)
        self._features = as_names(
            features, self._n_features, "Network(features=...)", "one for each input of its first layer"
        )
        self._outputs = as_names(
            outputs, self._n_outputs, "Network(outputs=...)", "one for each unit of its last layer"
        )
        both = next((name for name in self._static or () if name in (self._features or ())), None)
        if both is not None:
            raise ValueError(f"Network(static=...) names {both!r}, which is one of its features, too")
        self.name = name
        self._plans: dict[Any, Any] = {}  # kernels' packed plans for this network, by dtype; never part of its value

    def _check_chain(self) -> None:
        for i, layer in enumerate(self._layers):
            if not isinstance(layer, Layer):
                given = foreign_network(layer)
                expected = "expected fastlrp's LSTM, GRU, Bidirectional, Dense, Dropout or Masking"
                if given is not None:
                    raise ValueError(f"Network: layer {i}, {expected}, is {given}")
                raise ValueError(f"Network: layer {i} is {type(layer).__name__}, {expected}")
            if isinstance(layer, Masking) and i:
                raise ValueError(
                    f"Network: {self._label(i)} stands above {self._label(i - 1)}, but the network's input alone shows "
                    "which steps are masked: give it as the first layer"
                )
        weighted = [(i, layer) for i, layer in enumerate(self._layers) if not isinstance(layer, WEIGHTLESS)]
        if not weighted:
            raise ValueError("Network: no layer with weights was given, expected at least one LSTM, GRU or Dense")
        sequence, recurrent, join = True, False, self.join if self._n_static else None
        for (i, below), (k, above) in itertools.pairwise(weighted):
            beside = self._n_static if k == join else 0
            if above.n_inputs != below.n_outputs + beside:
                more = f" and {count(beside, 'static feature')} join{'s' * (beside == 1)} it" if beside else ""
                raise ValueError(
                    f"Network: {self._label(k)} takes {count(above.n_inputs, 'input')}, but {self._label(i)} below it "
                    f"gives {below.n_outputs}{more}"
                )
        for i, layer in weighted:
            if isinstance(layer, Recurrent | Bidirectional):
                if not sequence:
                    raise ValueError(
                        f"Network: {self._label(i)} needs a sequence, but the recurrent layer below it gives only its "
                        "last step: set return_sequences=True there"
                    )
                sequence, recurrent = layer.return_sequences, True
            elif layer.activation == "softmax" and i != weighted[-1][0]:
                raise ValueError(f"Network: {self._label(i)} has softmax, which only the last layer may have")
        self._sequence = sequence and recurrent
        apart = "static features" if self._n_static else "Masking" if self._layers[0].kind == "Masking" else None
        if self._sequence and apart is not None:
            raise ValueError(
                f"Network: the output is a sequence, which is not explained beside {apart}: the last recurrent layer "
                "must have return_sequences=False"
            )
        if not recurrent and self._layers[0].kind == "Masking":
            raise ValueError("Network: Masking skips steps of recurrent layers, of which there is none: leave it out")

    @property
    def join(self) -> int:
        """The position of the layer whose input static features join: the first Dense above the last recurrent layer.

        Raises
        ------
        ValueError
            If there is none.
        """
        recurrent = [i for i, layer in enumerate(self._layers) if isinstance(layer, Recurrent | Bidirectional)]
        above = range(recurrent[-1] + 1, len(self._layers)) if recurrent else range(0)
        found = next((i for i in above if isinstance(self._layers[i], Dense)), None)
        if found is None:
            raise ValueError(
                "Network(static=...): static features join the output of the last recurrent layer in front of a Dense "
                "layer above it, and there is none"
            )
        return found

    def _label(self, i: int) -> str:
        layer = self._layers[i]
        return f"layer {i} ({layer.kind}{f' {layer.name!r}' if layer.name else ''})"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, from the input up."""
        return self._layers

    @property
    def cells(self) -> tuple[Recurrent, ...]:
        """The LSTMs and GRUs, from the input up, those inside a Bidirectional one by one."""
        parts = [(one.forward, one.backward) if isinstance(one, Bidirectional) else (one,) for one in self._layers]
        return tuple(cell for part in parts for cell in part if isinstance(cell, Recurrent))

    @cached_property  # asked for in every call, which takes less than finding out
    def cpu_only(self) -> str | None:
        """The network in a few words if a part of it is computed on the CPU alone, else None."""
        if not self._recurrent:
            return "a network without a recurrent layer"
        if self._sequence:
            return "a network that returns sequences"
        used = [layer.activation for layer in self._layers if isinstance(layer, Dense)]
        curve = next((name for name in used if name in CURVES), None)
        has = {
            "a GRU": any(isinstance(cell, GRU) for cell in self.cells), "static features": self._n_static > 0,
            "Masking": self.mask_value is not None, f"the activation {curve}": curve is not None,
        }  # fmt: skip
        return next((f"a network with {part}" for part, there in has.items() if there), None)

    @property
    def steps(self) -> int | None:
        """T if it is fixed, else None."""
        return self._steps

    @property
    def mask_value(self) -> float | None:
        """The value of all features of a step that is skipped, if the first layer is :class:`fastlrp.Masking`."""
        first = self._layers[0]
        return first.value if isinstance(first, Masking) else None

    @property
    def n_features(self) -> int:
        """D, the number of inputs per step."""
        return self._n_features

    @property
    def n_static(self) -> int:
        """S, the number of static features, one value a sample; 0 where the network takes windows alone."""
        return self._n_static

    @property
    def n_columns(self) -> int:
        """D + S: the columns of a panel that the network reads."""
        return self._n_features + self._n_static

    @property
    def sequence(self) -> bool:
        """Whether it predicts at every step, since its last recurrent layer returns sequences."""
        return self._sequence

    @property
    def recurrent(self) -> bool:
        """Whether it has a recurrent layer; else it takes one step, a row of features."""
        return self._recurrent

    @property
    def n_outputs(self) -> int:
        """Number of units of the last layer."""
        return self._n_outputs

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the inputs, or None."""
        return self._features

    @property
    def static(self) -> tuple[str, ...] | None:
        """Names of the static features, or None."""
        return self._static

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns of a panel that the network reads, static ones last; None where it does not know them
        all."""
        if self._features is None or (self._n_static and self._static is None):
            return None
        return (*self._features, *(self._static or ()))

    def relevance_shape(self, steps: int, *, reduced: bool) -> tuple[int, ...]:
        """The shape of a sample's relevance as kernels write it: (step, feature), or (feature,) where steps are summed;
        with static features (width,), theirs behind all others."""
        D, S = self._n_features, self._n_static
        if S:
            return ((1 if reduced else steps) * D + S,)
        return (D,) if reduced else (steps, D)

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """Names of the output units, or None."""
        return self._outputs

    def with_features(self, features: Sequence[str] | None) -> Self:
        """The same network with names for its inputs; panels' columns are then found by name, whatever their order.

        Parameters
        ----------
        features : list of str or None
            A name for each of the D inputs, in the order of W's rows: the order of the columns when the network was
            trained. None removes the names.

        Returns
        -------
        Network
            A new network; this one stays as it is.

        Raises
        ------
        ValueError
            If there are too many or too few names, a name occurs twice, or one of the network's names moves to another
            input (``net.with_features(None).with_features([...])`` forces that).
        """
        names = as_names(features, self._n_features, "features", "one for each input of the network")
        at = {name: i for i, name in enumerate(self._features or ())}
        moved = next((i for i, name in enumerate(names or ()) if at.get(name, i) != i), None)
        if names is not None and moved is not None:
            raise ValueError(
                f"features: input {moved} would be called {names[moved]!r}, which is the network's input "
                f"{at[names[moved]]}: names stand in the order of its inputs and cannot change it"
            )
        return self.replaced(features=names)

    def with_static(self, static: Sequence[str] | None) -> Self:
        """The same network with names for its static features, as :meth:`with_features` gives them to its inputs.

        Parameters
        ----------
        static : list of str or None
            A name for each of the S static features, in the order of the last S rows of the Dense layer that reads
            them. None removes the names.

        Raises
        ------
        ValueError
            If there are too many or too few names, a name occurs twice or is a feature's, or one of the network's names
            moves to another static feature.
        """
        names = as_names(static, self._n_static, "static", "one for each static feature of the network")
        at = {name: i for i, name in enumerate(self._static or ())}
        moved = next((i for i, name in enumerate(names or ()) if at.get(name, i) != i), None)
        if names is not None and moved is not None:
            raise ValueError(
                f"static: static feature {moved} would be called {names[moved]!r}, which is the network's static "
                f"feature {at[names[moved]]}: names stand in the network's order and cannot change it"
            )
        return self.replaced(static=names or self._n_static)

    def with_columns(self, columns: Sequence[str]) -> Self:
        """The same network with names for all columns of a panel that it reads, static ones last, as
        :meth:`with_features` and :meth:`with_static` give them."""
        names = (
            as_names(columns, self.n_columns, "columns", "one for each input of the network, static ones last") or ()
        )
        named = self.with_features(names[: self._n_features])
        return named.with_static(names[self._n_features :]) if self._n_static else named

    def replaced(self, **changes: Any) -> Self:
        """The same network with other ``layers``, ``steps``, ``features``, ``static``, ``outputs`` or ``name``, checked
        anew."""
        given = {"layers": self._layers, "steps": self._steps, "features": self._features, "outputs": self._outputs}
        static = self._static or self._n_static
        return type(self)(**{**given, "static": static, "name": self.name, **changes})

    @property
    def n_params(self) -> int:
        """Number of weights."""
        return self._n_params

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 if any weight is, else float32."""
        return np.result_type(*(array.dtype for layer in self._layers for array in layer.arrays))

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Chain):
            return NotImplemented
        keys = ("_layers", "_steps", "_features", "_n_static", "_static", "_outputs", "name")
        return all(getattr(self, key) == getattr(other, key) for key in keys)

    __hash__ = None  # type: ignore[assignment]  # arrays are compared by value, so it is not hashable

    def __getstate__(self) -> dict[str, Any]:
        """The constructor's arguments alone, so that a pickle does not depend on how they are kept."""
        static = self._static or self._n_static or None
        return {
            "layers": self._layers, "steps": self._steps, "features": self._features, "static": static,
            "outputs": self._outputs, "name": self.name,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state)

    @property
    def _kinds(self) -> str:
        """The layers and their widths, as "LSTM(16), Dense(1)"."""
        return ", ".join(f"{layer.kind}({_width(layer)})" for layer in self._layers)

    def __repr__(self) -> str:
        beside = f", {self.n_static:,} static" if self.n_static else ""
        sizes = f"{count(self.n_features, 'feature')}{beside}, {count(self.n_params, 'parameter')}"
        return shown(f"<Network{f' {self.name}' if self.name else ''}: {self._kinds}; {sizes}>")

    def summary(self) -> str:
        """A table of the layers: the kind, output, activation and parameters of each."""
        rows = [table.HEAD, *table.rows_of(self)]
        lines = text_table(rows, len(table.HEAD))
        rule = "-" * max(map(len, lines))
        named = [self.name] if self.name else []
        return shown("\n".join([*named, lines[0], rule, *lines[1:], rule, table.total(self)]))

    def _repr_html_(self) -> str:
        return table.as_html(self)


def _width(layer: Layer) -> str:
    if isinstance(layer, Masking):
        return f"{layer.value:g}"
    return f"{layer.rate:g}" if isinstance(layer, Dropout) else str(layer.n_outputs)
