"""The sections of results.md, in its order: each is a function from options to Markdown."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import Options
from benchmarks.sections import (
    cluster,
    evidence,
    files,
    gradients,
    gru,
    large,
    latency,
    market,
    panel,
    peak,
    precision,
    profile,
    rolling,
    shapes,
    stac,
    starting,
    threads,
    training,
)

SECTIONS: dict[str, Callable[[Options], str]] = {
    "shapes": shapes.run,
    "stac": stac.run,
    "peak": peak.run,
    "threads": threads.run,
    "precision": precision.run,
    "panel": panel.run,
    "market": market.run,
    "rolling": rolling.run,
    "files": files.run,
    "cluster": cluster.run,
    "large": large.run,
    "latency": latency.run,
    "starting": starting.run,
    "profile": profile.run,
    "gradients": gradients.run,
    "gru": gru.run,
    "evidence": evidence.run,
    "training": training.run,
}
#: Run only where they are named: they take long, or much disk.
ON_DEMAND = {"large"}
