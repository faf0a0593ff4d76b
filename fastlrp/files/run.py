"""A run over blocks: read, explained, turned into tables and written, all at once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

import numpy as np

from fastlrp.explain import Given, labelled, run
from fastlrp.files.blocks import Block, Blocks
from fastlrp.files.door import KEPT, Asked
from fastlrp.files.output import Output
from fastlrp.files.parting import Parted
from fastlrp.files.pipeline import overlapped
from fastlrp.files.stored import Stored
from fastlrp.files.summary import EMPTY, noted
from fastlrp.kernels.memory import keeping
from fastlrp.model.chain import Chain
from fastlrp.progress import progress_bar
from fastlrp.relevance.arrays import overflow_text, warn_if_missed, warn_of_overflow, warn_of_unattributed
from fastlrp.relevance.as_parquet import columns_of
from fastlrp.relevance.levels import storable
from fastlrp.relevance.metadata import KEY, described
from fastlrp.relevance.result import Relevance


class Run:
    """Blocks on their way from reading to writing.

    Attributes
    ----------
    features : sequence of str
        Names of features, or of groups.
    """

    def __init__(
        self, net: Chain, asked: Asked, blocks: Blocks, output: Output, parted: Parted, *, by_position: bool
    ) -> None:
        self.parted = parted
        self.net, self.asked, self.blocks, self.output, self.by_position = net, asked, blocks, output, by_position
        self.features: Sequence[str] = asked.group_names(blocks.features)
        self._columns: dict[str, list[str]] = {}
        self._index: list[str] = []
        self._metadata: dict[bytes, bytes] = {}

    def all(self, progress: bool | None) -> None:
        """Read, explain and write all blocks that are not done; ``progress`` None: a bar on a terminal."""
        seen = sys.stderr is not None and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
        done, rows = len(self.output.done), [stop - start for start, stop in self.blocks.ranges]
        with progress_bar(seen if progress is None else progress, sum(rows), "explain", "rows") as advance:
            advance(sum(rows[:done]))

            def write(pair: tuple[Block, Relevance | None]) -> None:
                block, relevance = pair
                if relevance is None:
                    self.output.append({}, EMPTY)
                else:
                    self.output.append(self.parted(self._stored(block, relevance), block.by), noted(relevance))
                advance(rows[block.number])

            with keeping(self.asked.memory // KEPT):
                overlapped(
                    self.blocks.read(done), lambda block: (block._replace(panel=None), self._explained(block)), write
                )

    def _explained(self, block: Block) -> Relevance | None:
        asked, panel = self.asked, block.panel
        if not block.n or panel is None:
            return None
        results, _ = run(
            Given(self.net, None, panel.windows, panel.steps, panel), "cpu", asked.threads, False, rule=asked.rule,
            target=asked.unit, aggregate=asked.aggregate, reduced=asked.reduced,
        )  # fmt: skip
        relevance = labelled(
            self.net, results, panel.steps, asked.rule, asked.unit, reduced=asked.reduced,
            index=panel.index[: block.n], features=panel.features, by_position=self.by_position,
        )  # fmt: skip
        return asked.grouped(relevance)

    def _stored(self, block: Block, relevance: Relevance) -> Stored:
        """The block as the output takes it."""
        layout, time, asset = self.blocks.layout, block.time[: block.n], block.asset[: block.n]
        if not self._columns:
            taken: set[str] = set()
            arrays = columns_of(relevance, taken)
            _, notes = storable(relevance, taken)
            self._columns = {name: array["columns"] for name, array in arrays.items()}
            self._index = [note["column"] for note in notes or ()]
            self._metadata = {KEY.encode(): described(relevance, notes, arrays=arrays).encode()}
        keys = self.blocks.keys
        both = [(keys.time.values, time), (keys.asset.values, asset)][:: 1 if keys.written[0] == keys.time.name else -1]
        labels = {name: values for name, (values, _) in zip(self._index, both, strict=True)}
        codes = {name: code for name, (_, code) in zip(self._index, both, strict=True)}
        return Stored(relevance, codes, labels, self._columns, self._metadata, layout.rank[time])

    def warn(self) -> None:
        """Warn as explain does where rows overflowed, much of the score is unattributed, or the median block's median
        gap is large."""
        done = self.output.done
        over, lost, rows = (sum(block[key] for block in done) for key in ("overflowed", "unattributed", "explained"))
        if over:
            first = next(block["over"] for block in done if block["overflowed"])
            text = overflow_text(over, sum(block["rows"] for block in done), self.blocks.dtype, first)
            warn_of_overflow(text, self.blocks.dtype, "they have no relevance")
        rule = self.asked.rule
        if not rule.conserves and 2 * lost > rows:
            warn_of_unattributed(rule, lost, rows)
        if rule.approximates:
            warn_if_missed(rule, float(np.median([block["median"] for block in self.output.done if block["looked"]])))
