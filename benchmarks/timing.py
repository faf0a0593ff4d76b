"""Rounds, medians and spreads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """Seconds of every round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.rounds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.rounds, n=4, method="inclusive")
        return (high - low) / 2 / self.median

    def __str__(self) -> str:
        return f"{self.median:.4g} ±{100 * self.spread:.0f} %"


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def round_of(call: Callable[[], Any], about: float = 0.8, most: int = 7) -> float:
    """Median of as many calls as fit into ``about`` seconds, at least one, after one that is not counted.

    The first call of a round finds caches filled by another process and sleeping threads.
    """
    first = seconds(call)
    return statistics.median(seconds(call) for _ in range(max(1, min(most, round(about / first)))))


def alternate(calls: Mapping[Key, Callable[[], float]], rounds: int) -> dict[Key, Timing]:
    """Run A B C A B C ..., so that any drift during the run affects all of them alike."""
    taken: dict[Key, list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            taken[key].append(call())
    return {key: Timing(tuple(values)) for key, values in taken.items()}
