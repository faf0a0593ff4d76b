"""Properties that hold for every network, tried on thousands of random ones; ``tests/promises.py`` draws and measures.

Needs the extras parquet, dask and cuda, but no GPU: the CUDA kernels run in Numba's simulator.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from helpers import run_python
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from promises import (
    DTYPES,
    PROMISES,
    Bounds,
    Errors,
    Promise,
    broken,
    explained,
    gaps,
    network_of,
    prediction_gaps,
    rows_in,
)
from strategies import Case, cases

from fastlrp.model.fingerprint import fingerprint
from scripts.trust import rows

CUDA = "cuda"
#: Cases of one seed: Hypothesis varies what it drew before, and a new seed begins elsewhere.
AT_ONCE, SIMULATED_AT_ONCE = 100, 10


@dataclass
class Found:
    """The outcome of some cases of a promise."""

    cases: int = 0
    rows: int = 0
    networks: set[str] = field(default_factory=set)
    errors: dict[str, list[float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def add(self, drawn: Any, errors: Callable[[], Errors], bounds: Bounds) -> None:
        """Count a case, and its errors or the exception in their place."""
        self.cases += 1
        self.rows += rows_in(drawn)
        self.networks.add(fingerprint([network_of(drawn)]))
        try:
            measured = errors()
        except Exception as error:
            self.failed.append(f"{error!r}: {drawn!r}")
            return
        for name, numbers in measured.items():
            self.errors.setdefault(name, []).extend(numbers.tolist())
        self.failed += [f"{words}: {drawn!r}" for words in broken(measured, bounds, certain=True)]

    def join(self, other: Found) -> None:
        """Add the outcome of others."""
        self.cases += other.cases
        self.rows += other.rows
        self.networks |= other.networks
        self.failed += other.failed
        for name, numbers in other.errors.items():
            self.errors.setdefault(name, []).extend(numbers)


class Job(NamedTuple):
    """Cases of a promise that begin with one seed."""

    promise: str
    cases: int
    seed: str


def tried(job: Job) -> Found:
    """Try them, in a process of its own."""
    found = Found()
    if job.promise == CUDA:
        drawn: list[Case] = []
        _each(job, simulated_cases(), drawn.append)
        for case, answer in zip(drawn, simulated(drawn), strict=True):
            found.add(case, lambda case=case, answer=answer: beside_cpu(case, answer), CUDA_BOUNDS)
    else:
        promise: Promise = PROMISES[job.promise]
        _each(job, promise.cases, lambda case: found.add(case, lambda: promise.errors(case), promise.bounds))
    return found


def _each(job: Job, strategy: st.SearchStrategy[Any], act: Callable[[Any], None]) -> None:
    """Act on each case that a job draws."""

    @seed(job.seed)
    @settings(
        max_examples=job.cases, phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def attempt(case: Any) -> None:
        act(case)

    attempt()


# -- the CUDA kernels in Numba's simulator -----------------------------------------------------------------------------

CUDA_BOUNDS = {name: bounds for key in ("agrees", "agrees in float32") for name, bounds in PROMISES[key].bounds.items()}


def simulated_cases() -> st.SearchStrategy[Case]:
    """Networks that a GPU computes."""
    return DTYPES.flatmap(lambda dtype: cases(dtype, st.integers(1, 4), eps=(1e-3, 1e-2, 0.3), gru_too=False))


def simulated(drawn: list[Case]) -> list[Any]:
    """The answers of the CUDA kernels, or the exceptions in their place, from a process that simulates a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        questions, answers = Path(folder, "cases"), Path(folder, "answers")
        questions.write_bytes(pickle.dumps(drawn))
        code = "import sys; from scripts.trust.properties import simulate; simulate(*sys.argv[1:])"
        done = run_python("-c", code, str(questions), str(answers), NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
        if done.returncode:
            raise RuntimeError(f"the simulator failed: {done.stderr[-2000:]}")
        return list(pickle.loads(answers.read_bytes()))


def simulate(questions: str, answers: str) -> None:
    """Compute as ``simulated`` asks, in its process."""
    sys.setswitchinterval(1e-4)  # as tests/cuda/conftest.py says
    found: list[Any] = []
    for case in pickle.loads(Path(questions).read_bytes()):
        try:
            with np.errstate(all="ignore"):  # NumPy's scalars warn where compiled code does not
                found.append(explained(case, device="cuda"))
        except Exception as error:
            found.append(RuntimeError(repr(error)))
    Path(answers).write_bytes(pickle.dumps(found))


def beside_cpu(case: Case, answer: Any) -> Errors:
    """Errors of a simulated answer beside the CPU's."""
    if isinstance(answer, Exception):
        raise answer
    want, name = explained(case), str(case.X.dtype)
    return {name: gaps(answer, want), f"{name} predictions": prediction_gaps(answer.prediction, want.prediction)}


# -- the rows ----------------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """A row: a claim, the cases of each promise behind it, and a word for the rows in them."""

    what: str
    promises: Mapping[str, int]
    rows: str = "samples"


FAMILIES = (
    Family(
        "By arras, rudder and gradient x input, relevance, initial state and what is unattributed add up to the score; "
        "with `delta=1` arras leaves nothing unattributed",
        {"reconciles": 5000, "reconciles in float32": 5000},
    ),
    Family(
        "Relevance, totals and predictions are those of a slow reference in plain NumPy: LSTM, GRU, both directions, "
        "Dense with any activation, masked steps, static features, an output at every step; all four rules",
        {"agrees": 5000, "agrees in float32": 5000},
    ),
    Family(
        "As eps goes to 0 arras is x times the gradient with gates held constant, and gradient x input is x times the "
        "gradient, by automatic differentiation",
        {"differentiates": 5000},
    ),
    Family(
        "Another order of the features, or of the units of a layer, changes nothing else", {"permutes": 5000}
    ),
    Family(
        "A sample has one answer: alone or in any batch, in any order, by 1, 2 or 3 threads, by the machine for a few "
        "samples or the one for many",
        {"same bits": 2000},
    ),
    Family(
        "A panel's rows are its windows, and from file to file (Parquet, HDF5) or on Dask, numbers are those in memory",
        {"panels": 3000, "files": 600, "dask frames": 600, "dask arrays": 600}, "rows",
    ),
    Family("The CUDA kernels, in Numba's simulator, agree with the CPU", {CUDA: 60}),
    Family(
        "Networks come back from Keras files and pickles, and results from Parquet, HDF5 and pickles, as they were",
        {"comes back": 2000},
    ),
)  # fmt: skip


def run(options: rows.Options) -> list[rows.Row]:
    """Try every promise on as many cases as its family says."""
    jobs = [
        Job(name, min(at_once, n - start), f"{options.seed} {name} {start}")
        for family in FAMILIES
        for name, full in family.promises.items()
        for n, at_once in [(options.cases(full), SIMULATED_AT_ONCE if name == CUDA else AT_ONCE)]
        for start in range(0, n, at_once)
    ]
    found = {name: Found() for family in FAMILIES for name in family.promises}
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for job, outcome in zip(jobs, pool.map(tried, jobs), strict=True):
            found[job.promise].join(outcome)
    return [row(family, [found[name] for name in family.promises]) for family in FAMILIES]


def row(family: Family, outcomes: list[Found]) -> rows.Row:
    """The family's line of the table; what broke its promise is shown on stderr, too."""
    whole, wrong = Found(), []
    for name, outcome in zip(family.promises, outcomes, strict=True):
        whole.join(outcome)
        for text in outcome.failed:
            print(f"{name}: {text}", file=sys.stderr, flush=True)
        if outcome.failed:
            wrong.append(f"{len(outcome.failed):,} failures in {outcome.cases:,} cases ({name})")
        elif missing := set(bounds_of(name)) - set(outcome.errors):
            wrong.append(f"nothing was measured of {', '.join(sorted(missing))}")
        else:
            wrong += broken({key: np.array(numbers) for key, numbers in outcome.errors.items()}, bounds_of(name))
    cases = f"{whole.cases:,} questions of {len(whole.networks):,} random networks, {whole.rows:,} {family.rows}"
    exact = all(bounds == {1.0: 0.0} for name in family.promises for bounds in bounds_of(name).values())
    return rows.Row(family.what, cases, "; ".join(wrong) or (BITS if exact else measured(whole)), not wrong)


def bounds_of(name: str) -> Bounds:
    """The errors that a promise allows."""
    return CUDA_BOUNDS if name == CUDA else PROMISES[name].bounds


BITS = "all bits equal"


def measured(found: Found) -> str:
    """The errors in words; in float32, where a denominator near eps multiplies rounding, the usual ones, too."""
    parts = []
    for name, numbers in found.errors.items():
        half, most, largest = np.quantile(numbers, [0.5, 0.99, 1.0])
        usual = f", 99 % within {most:.0e}" if name.startswith("float32") else ""
        parts.append(f"{name} median {half:.0e}{usual}, largest {largest:.0e}")
    return f"gaps, of a row's largest number: {'; '.join(parts)}"
