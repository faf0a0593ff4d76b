"""The experiment of the Deep Recurrent Factor Model without its faults, and which rule of relevance to trust when.

    pip install ".[all]" arch skfolio shap
    python scripts/deep_recurrent_factor_model.py PredictorLSretWide.csv

The data are Chen & Zimmermann's long-short portfolios (openassetpricing.com). Tables and figures are written to
``scripts/results``, or ``--out``. What is finished is kept in ``.work`` there, so that the same call goes on after an
interruption; ``--fresh`` forgets it. ``--full`` takes more seeds, ``--as-original`` computes the study's own figures,
faults included, instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from joblib import Memory
from paper import forecasts, panel, relevance, reports, simulated, tasks
from paper.data import GROUPS, ORIGINAL_GROUPS, read_months

from fastlrp.progress import progress_bar

NEEDED = ("arch", "skfolio", "shap", "matplotlib", "tqdm")
Piece = tuple[Callable[..., Any], tuple[Any, ...]]


def pieces_of_study(months: Any, full: bool) -> dict[str, Piece]:
    """Everything to compute, by name: what is done is never done again."""
    seeds, nulls = (10, 10) if full else (3, 5)
    todo: dict[str, Piece] = {"baselines": (forecasts.baselines, (months, 0))}
    for one in forecasts.ARCHITECTURES:
        members = seeds if full or one.units < 128 else 1  # the largest takes as long as the others together
        todo[one.name] = (forecasts.lstm_forecasts, (one, months, members, 0))
    todo["relevance"] = (relevance.study, (months, seeds, nulls))
    todo["panel"] = (panel.study, (5, nulls))
    for strength in simulated.STRENGTHS:
        todo[strength] = (simulated.study, (strength, seeds, 40))
    for name in tasks.TRIALS:
        todo[name] = (tasks.trials, (name, 10 if full else 5))
    return todo


def pieces_as_original(months: Any, full: bool) -> dict[str, Piece]:
    """The study's own figures."""
    seeds = range(10 if full else 5)
    todo: dict[str, Piece] = {"ols": (forecasts.study_ols, (months,))}
    for one in forecasts.ARCHITECTURES:
        todo[one.name] = (forecasts.study_errors, (one, months, seeds if full or one.units < 128 else range(2)))
    todo["carried"] = (forecasts.study_errors, (forecasts.LARGEST, months, seeds, True))
    for name, groups in (("groups", ORIGINAL_GROUPS), ("right groups", GROUPS)):
        todo[name] = (relevance.study_groups, (months, groups, len(seeds)))
    return todo


def computed(todo: dict[str, Piece], memory: Memory) -> dict[str, Any]:
    """The results of all pieces."""
    out = {}
    with progress_bar(True, len(todo), "Computing", "pieces") as advance:
        for name, (function, given) in todo.items():
            out[name] = memory.cache(function)(*given)
            advance(1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="PredictorLSretWide.csv")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="default: %(default)s")
    parser.add_argument("--full", action="store_true", help="more seeds, in everything")
    parser.add_argument("--as-original", action="store_true", help="the study's own figures, with its faults")
    parser.add_argument("--fresh", action="store_true", help="compute anew what earlier calls have kept")
    options = parser.parse_args()
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(f"some packages are missing: pip install {' '.join(missing)}")
    months = read_months(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    memory = Memory(options.out / ".work", verbose=0)
    if options.fresh:
        memory.clear(warn=False)
    todo = (pieces_as_original if options.as_original else pieces_of_study)(months, options.full)
    results = computed(todo, memory)
    written = (reports.as_original if options.as_original else reports.study)(results, months, options.out)
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
