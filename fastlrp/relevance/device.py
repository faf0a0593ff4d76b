"""Relevance that stays on the GPU: arrays where X was, and tables made from a copy on the host."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastlrp.relevance.arrays import sample_arrays
from fastlrp.relevance.display import title
from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]


class DeviceRelevance(Relevance):
    """Relevance whose arrays live on the GPU, where X was.

    ``values``, ``prediction`` and the totals are Numba's device arrays, which ``cupy.asarray(...)`` and
    ``torch.as_tensor(..., device="cuda")`` read in place. Methods that make tables or numbers of them copy them to the
    host first, once.
    """

    _copy: Relevance | None = None  # not a field: it is made on first use

    def to_host(self) -> Relevance:
        """The same result with NumPy arrays."""
        if self._copy is None:
            parts = {field.name: getattr(self, field.name) for field in fields(self)}
            parts |= {name: cast(Any, array).copy_to_host() for name, array in sample_arrays(self)}
            object.__setattr__(self, "_copy", Relevance(**parts))
        assert self._copy is not None
        return self._copy

    @property
    def missing(self) -> Array:
        """Whether a row has no prediction and so no relevance; bool (n,), on the host."""
        return self._totals_on_host().missing

    @property
    def gap(self) -> Array:
        """Score minus the sum of relevance, initial_state and unattributed, summed in float64; (n,), on the host."""
        return self.to_host().gap

    def __repr__(self) -> str:
        """The repr of the copy, if there is one; showing a result must not start a copy, which may be gigabytes."""
        return self._where() if self._copy is None else repr(self._copy)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._where())}</p>" if self._copy is None else self._copy._repr_html_()

    def _where(self) -> str:
        return f"{title(self)} on the GPU; summary(), to_frame() and to_host() copy it to the host, once"

    def median_unattributed_share(self) -> float:
        """Median over rows of |unattributed| / |score|: NaN where no row has a prediction."""
        return self._totals_on_host().median_unattributed_share()

    def mostly_unattributed(self) -> bool:
        """Whether the median of |unattributed| / |score| is above a half."""
        return self._totals_on_host().mostly_unattributed()

    @property
    def _n_unattributed(self) -> int:
        return self._totals_on_host()._n_unattributed

    def _totals_on_host(self) -> Relevance:
        """A copy of the totals alone, for methods that do not need the relevance."""
        score, unattributed = cast(Any, self.score).copy_to_host(), cast(Any, self.unattributed).copy_to_host()
        values = np.empty((len(score), 0, 0), score.dtype)
        return Relevance(values=values, prediction=score, score=score, initial_state=score, unattributed=unattributed,
                         rule=self.rule, steps=self.steps)  # fmt: skip


def _on_host(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Relevance, called on the copy."""

    @wraps(method)
    def of_copy(self: DeviceRelevance, *args: Any, **options: Any) -> Any:
        return getattr(self.to_host(), name)(*args, **options)

    return of_copy


for _name in (
    "to_frame", "by_group", "share", "by_time", "by_lag", "reconcile", "summary", "to_shap", "to_xarray", "to_polars",
    "to_alphalens", "save", "__getitem__",
):  # fmt: skip
    setattr(DeviceRelevance, _name, _on_host(_name, getattr(Relevance, _name)))
