"""A panel whose rows are predicted by different networks, each of inputs scaled its own way: in place, part by part.

The windows that a network predicts end in runs of the panel's sorted rows. A part is some runs of one network, each
with the T-1 rows before it: gathered from the frame's memory, scaled and cast into a block that stays in cache. Each
result is written to its row of the whole. So neither windows nor the panel are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.explain import check_rule, run_into, run_on_device
from fastlrp.kernels import get_backend, memory
from fastlrp.kernels.results import Results
from fastlrp.learning.dealing import Part, deal, runs_of
from fastlrp.learning.rolling_data import scaled
from fastlrp.network import Network
from fastlrp.panels.infinities import locate_infinite
from fastlrp.panels.panel import Unread, as_panel, unread_panel
from fastlrp.panels.periods import common_step, distinct_months, label, month_step, periods, plain_level
from fastlrp.panels.static import fill_static
from fastlrp.panels.windows import Windows
from fastlrp.rules import Rule

Array = npt.NDArray[Any]

#: Bytes of a part's rows: few enough for the second-level cache; for a GPU, enough to keep it busy.
PART_BYTES, GPU_PART_BYTES = 1 << 20, 1 << 28
#: Rows that a thread searches for infinite values, or fills with NaN, at once.
ROWS = 4096


class Models(NamedTuple):
    """Networks of one shape, each for inputs (x - center) / scale; None where there is no network."""

    networks: Sequence[Network | None]
    centers: Array
    scales: Array
    steps: int


@dataclass(frozen=True, eq=False)
class RollingPanel:
    """A panel, and for each of its sorted rows the network that predicts it.

    Attributes
    ----------
    frame, panel : the panel as given and as understood
    models : Models
    who : int32 array (row,)
        Position of a sorted row's network; -1 where there is none, or no full window ends.
    """

    frame: pd.DataFrame
    panel: Unread
    models: Models
    who: Array

    @classmethod
    def read(
        cls, frame: pd.DataFrame, models: Models, features: Sequence[str] | None,
        model_of: Callable[[pd.Index], Array], least: int | None = None,
    ) -> RollingPanel:  # fmt: skip
        """Check a frame; ``model_of`` gives the position of the network that predicts each of some times, or -1, and
        ``least`` the fewest rows of a short history."""
        panel = unread_panel(frame, models.steps, features, models.centers.shape[1], least)
        rank, times = periods(panel.index)
        of = model_of(times).astype(np.int32)
        of[[k >= 0 and models.networks[k] is None for k in of]] = -1
        who = of[rank if panel.order is None else rank[panel.order]]
        who[~panel.ends if panel.lengths is None else panel.lengths == 0] = -1
        if n_static := next((net.n_static for net in models.networks if net is not None), 0):
            _miss_static(panel, who, n_static)
        return cls(frame, panel, models, who)

    def __len__(self) -> int:
        """Number of windows that a network predicts."""
        return int(np.count_nonzero(self.who >= 0))

    def networks_of_rows(self) -> Array:
        """Position of the network that predicts each of the caller's rows; -1 for none."""
        if self.panel.order is None:
            return self.who
        of_row = np.empty_like(self.who)
        of_row[self.panel.order] = self.who
        return of_row

    def run(
        self, *, device: str, threads: int | None, advance: Callable[[int], object] | None = None, **ask: Any
    ) -> Results:
        """Predictions of all rows and, with a rule, their relevance; NaN where no network predicts.

        ``ask`` is what backends take: rule, target, aggregate, reduced. ``advance`` is called with the number of
        windows done since its last call.

        Raises
        ------
        ValueError
            If the rule does not fit these windows, a value is infinite, or too large once it is scaled.
        """
        net, rule = next(net for net in self.models.networks if net is not None), ask.get("rule")
        if rule is not None:
            check_rule(rule, net, self.models.steps, self.models.centers.dtype)
        results = self._allocate(net, rule, reduced=ask.get("reduced", False))
        products = float(len(self) * self.models.steps * net.n_params)
        try:
            run_on_device(
                lambda backend: self._run(backend, results, threads, advance, ask), device, products, rule=rule, net=net
            )
            return results
        except FloatingPointError:  # named below, outside of this error
            pass
        return self._refuse_infinite()

    def _allocate(self, net: Network, rule: Rule | None, *, reduced: bool) -> Results:
        n, T, dtype = len(self.who), self.models.steps, self.models.centers.dtype
        explained, values = 0 if rule is None else n, net.relevance_shape(T, reduced=reduced)
        shapes = ((explained, *values), (n, net.n_outputs), *[(explained,)] * 3)
        return Results(*(memory.results(*shape, dtype=dtype) for shape in shapes))

    def _run(
        self,
        backend: ModuleType,
        results: Results,
        threads: int | None,
        advance: Callable[[int], object] | None,
        ask: dict[str, Any],
    ) -> None:
        cpu = get_backend("cpu")
        on_cpu = backend is cpu  # parts side by side, each on one thread; on a GPU one after the other
        most = (PART_BYTES if on_cpu else GPU_PART_BYTES) // self.models.centers[:1].nbytes
        workers = cpu.threads_of(threads) if on_cpu else 1
        parts = deal(self.who, self.models.steps, most, workers)

        def compute(part: Part) -> int:
            net = self.models.networks[part.k]
            assert net is not None
            inner = max(1, workers // len(parts)) if on_cpu else threads
            run_into(backend, results, net, self.windows(part), self.models.steps, inner, **ask)
            return int((part.stop - part.begin).sum())

        tasks = [*self._aside(results), *(partial(compute, part) for part in parts)]
        cpu.run_tasks(tasks, workers, advance)

    def windows(self, part: Part) -> Windows:
        """A part's windows: their rows scaled, and the caller's rows as places of their results."""
        from fastlrp.kernels.cpu.scaling import scale_rows

        more, (k, begin, stop) = self.models.steps - 1, part
        size = stop - begin + more
        first = np.cumsum(size) - size
        at = np.arange(size.sum()) + np.repeat(begin - more - first, size)
        ends, lengths = np.ones(len(at), bool), None
        ends[first[:, None] + np.arange(more)] = False
        if self.panel.lengths is not None:  # rows before a short history are another asset's, and read by no window
            at = np.maximum(at, 0)
            lengths = np.where(ends, self.panel.lengths[at], 0)
            ends = lengths == self.models.steps
        places = at if self.panel.order is None else self.panel.order[at]
        center, scale, block = self.models.centers[k], self.models.scales[k], self.panel.columns.block
        if block is not None and block.dtype == self.panel.dtype:
            rows = memory.aligned(len(at) * len(center), center.dtype).reshape(len(at), -1)
            scale_rows(memory.read_only(block), places, center, scale, rows)
        else:
            rows = scaled(self.panel.read(places), center, scale, center.dtype)
        if (net := self.models.networks[k]) is not None and net.n_static:
            fill_static(rows, net.n_static)
        return Windows(rows, None, ends, places, lengths=lengths)

    def _aside(self, results: Results) -> Iterator[Callable[[], int]]:
        """Tasks for rows that no kernel sees: to refuse infinities in those that no window reads, and to fill the
        results where no window ends with NaN."""
        begin, stop = runs_of(self.who)
        reads = np.zeros(len(self.who) + 1, np.int32)
        lengths = self.panel.lengths
        reads[begin - ((self.models.steps if lengths is None else lengths[begin]) - 1)] += 1
        reads[stop] -= 1

        def look(rows: Array) -> int:
            if np.isinf(self.panel.read(rows)).any():
                raise FloatingPointError("infinite value")
            return 0

        def fill(rows: Array) -> int:
            for array in results:
                if len(array):
                    array[rows] = np.nan
            return 0

        for task, which in ((look, np.cumsum(reads[:-1], out=reads[:-1]) == 0), (fill, self.who < 0)):
            rows = np.flatnonzero(which)
            rows = rows if self.panel.order is None else self.panel.order[rows]
            yield from (partial(task, rows[k : k + ROWS]) for k in range(0, len(rows), ROWS))

    def _refuse_infinite(self) -> NoReturn:
        locate_infinite(as_panel(self.frame, self.models.steps, self.panel.features))
        raise ValueError(
            f"X has a value that is too large for {self.models.centers.dtype} once it is scaled, expected smaller "
            "ones: fit with dtype='float64'"
        )


def _miss_static(panel: Unread, who: Array, n_static: int) -> None:
    """Let no network predict a row where a static feature is missing, in place."""
    for k in range(0, len(who), ROWS):
        some = np.arange(k, min(k + ROWS, len(who))) if panel.order is None else panel.order[k : k + ROWS]
        who[k : k + ROWS][np.isnan(panel.read(some)[:, -n_static:]).any(axis=1)] = -1


def predictors(times: pd.Index, known: pd.Index, first: int, step: int, n: int) -> Array:
    """The position, of n, of the model that predicts each of some times; -1 for none.

    Model k predicts ``step`` of the ``known`` times from the one of rank ``first + k * step`` on, the last model also
    all later times. Where both have at most one time a month, months are compared, however they are written: a first
    day is not before the last one of the same month.

    Raises
    ------
    ValueError
        If times are not like the known ones.
    """
    times, known = plain_level(times), plain_level(known)
    months, known_months = distinct_months(times), distinct_months(known)
    if months is not None and known_months is not None:
        apart = month_step(common_step(known_months))
        if (odd := np.flatnonzero((months - known_months[0]) % apart)).size:
            raise ValueError(
                f"X has times such as {label(times[odd[0]])!r}, but those of fit are {apart} months apart, "
                f"{label(known[0])!r} the first"
            )
        rank = np.searchsorted(known_months, months, side="right") - 1
    elif known.is_monotonic_increasing:
        try:
            rank = known.searchsorted(times, side="right") - 1
        except TypeError:
            shown = f"{label(times[0])!r} ({times.dtype}), expected times like those of fit, {label(known[0])!r}"
            raise ValueError(f"X has times such as {shown} ({known.dtype})") from None
    else:
        rank = known.get_indexer(times)
    return np.where(rank >= first, np.minimum((rank - first) // step, n - 1), -1)
