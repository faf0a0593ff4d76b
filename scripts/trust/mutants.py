"""Mistakes that a careless colleague might make, one at a time, and the tests that must see each of them.

A mutant is one text of one file of ``fastlrp/`` replaced by another, in a copy of the checkout. The tests of its group
run there until the first failure: a mutant that they all pass has survived. Kernels run as plain Python where that is
faster than compiling them anew, with fewer examples of the same tests. Every group must pass without a mutant first, so
that none is killed by a test that fails anyway.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from scripts.trust.mutant_list import MUTANTS, Mutant
from scripts.trust.rows import Options, Row

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which a run counts as one that never ends, which is seen, too.
PATIENCE = 400


class Group(NamedTuple):
    """Pytest's arguments, run one after the other, and whether kernels run as plain Python."""

    runs: tuple[str, ...]
    plain: bool = False


PLAIN = "agrees_with_the_reference or (missing_value and shallow) or infinity"
GROUPS = {
    "relevance": Group((f"tests/test_against_reference.py -k '{PLAIN}'",), plain=True),
    "compiled": Group(("tests/test_against_reference.py -k float64_agrees_with_the_reference",)),
    "derivatives": Group(("tests/test_gradient_rules.py -k 'agrees_with_the_reference or panels_windows'",)),
    "formulas": Group(("tests/kernels/test_formulas.py",)),
    "programs": Group(("tests/kernels/test_programs.py",)),
    "gradients": Group(("tests/test_gradient_rules.py -k float64_agrees_with_the_reference",), plain=True),
    "training": Group(
        ("tests/kernels/test_trainer.py -k 'test_gradients_and_loss and (1-7 or 3-20 or 1-5) or under_its_masks'",),
        plain=True,
    ),
    "trainer": Group(("tests/kernels/test_trainer.py",)),
    "curves": Group(("tests/kernels/test_curves.py",)),
    "steps": Group(("tests/test_steps.py -k 'agrees_with_the_reference or causal or counted or directions'",)),
    "static": Group(("tests/test_static.py -k 'float64_agrees or conserves or panel or missing or last_month'",)),
    "masks": Group(("tests/test_masks.py", "tests/panels/test_short_histories.py")),
    "few": Group(("tests/kernels/test_few.py",)),
    "panels": Group(("tests/panels/test_panel.py tests/panels/test_calendar.py tests/panels/test_short_histories.py",)),
    "months": Group(("tests/panels/test_explain_panels.py",)),
    "again": Group(("tests/kernels/test_again.py",)),
    "periods": Group(("tests/panels/test_calendar.py tests/panels/test_panel.py",)),
    "samples": Group(("tests/learning/test_min_steps.py tests/panels/test_short_histories.py",)),
    "gru": Group(("tests/test_gru.py",)),
    "networks": Group(("tests/test_networks.py",)),
    "stored": Group(("tests/relevance/test_storage.py",)),
    "saturation": Group(("tests/relevance/test_saturation.py",)),
    "regressor": Group(
        ("tests/learning/test_regressor.py -k 'not scikit_learn'", "tests/learning/test_regressor_research.py")
    ),
    "null": Group(("tests/learning/test_null.py",)),
    "evidence": Group(("tests/evidence/test_faithfulness.py",)),
    "totals": Group(("tests/relevance/test_relevance.py", "tests/test_overflow.py")),
    "averages": Group(("tests/relevance/test_averages.py",)),
    "ensemble": Group(("tests/test_ensemble.py",)),
    "keras": Group(("tests/keras/test_read.py", "tests/keras/test_old_layouts.py", "tests/keras/test_more_models.py")),
    "keras_layers": Group(("tests/keras/test_layers.py",)),
    "keras_more": Group(
        tuple(f"tests/keras/test_{part}.py" for part in ("two_inputs", "masking", "gru_files", "refusals"))
    ),
    "split": Group(("tests/learning/test_split.py",)),
    "preprocessing": Group(("tests/learning/test_preprocessing.py -k 'not scikit_learn'",)),
    "rolling": Group(tuple(f"tests/learning/test_rolling{part}.py" for part in ("", "_research", "_parts"))),
}  # fmt: skip


class Outcome(NamedTuple):
    """A mutant's fate: "killed" by a test, "hung", "survived", or "broken" where no test ran."""

    mutant: Mutant
    fate: str
    seconds: float

    @property
    def seen(self) -> bool:
        return self.fate in ("killed", "hung")


def copied(into: Path) -> Path:
    """A copy of what tests read of the checkout."""
    for name in ("fastlrp", "tests", "benchmarks", "scripts", "docs"):
        shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy(path, into)
    return into


def outcome(folder: Path, group: Group, kept: Path) -> str:
    """What becomes of a group's tests in a copy: "survived", "killed" or "hung"; ``kept`` holds machine code."""
    place = {"PYTHONPATH": str(folder), "FASTLRP_TESTS_NUMBA": str(kept), "FASTLRP_TESTS_SHRINK": "0"}
    environment = {**os.environ, **place, "NUMBA_DISABLE_JIT": "1" if group.plain else "0"}
    for run in group.runs:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *shlex.split(run)]
        if group.plain:
            command += ["-W", "ignore:invalid value:RuntimeWarning"]
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with all processes that tests have started
                return "hung"
        if process.returncode == 1 or process.returncode < 0:  # a test failed, or the process crashed
            return "killed"
        if process.returncode:  # no test was run, which is no proof
            return f"broken ({said.strip().splitlines()[-1]})"
    return "survived"


def mutated(text: str, mutant: Mutant) -> str:
    """A file's text with the mutant's place changed.

    Raises
    ------
    ValueError
        If what is replaced does not stand there exactly once.
    """
    if (n := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.file}: {mutant.old!r} stands there {n} times, expected once")
    return text.replace(mutant.old, mutant.new)


def tried(mutant: Mutant, folder: Path, kept: Path) -> Outcome:
    """Try one mutant in a copy, which is whole again afterwards."""
    path, start = folder / "fastlrp" / mutant.file, time.perf_counter()
    text = path.read_text(encoding="utf-8")
    path.write_text(mutated(text, mutant), encoding="utf-8")
    try:
        fates = (outcome(folder, GROUPS[name], kept) for name in mutant.groups)
        fate = next((fate for fate in fates if fate != "survived"), "survived")
    finally:
        path.write_text(text, encoding="utf-8")
    return Outcome(mutant, fate, time.perf_counter() - start)


def trials(mutants: Sequence[Mutant], processes: int) -> list[Outcome]:
    """Try all of them, so many at once, each in one of as many copies."""
    with tempfile.TemporaryDirectory(prefix="fastlrp-mutants-") as scratch:
        free: SimpleQueue[tuple[Path, Path]] = SimpleQueue()
        for k in range(processes):
            (folder := Path(scratch, str(k))).mkdir()
            free.put((copied(folder), Path(scratch, f"numba-{k}")))

        def in_turn(one: Mutant | str) -> Outcome | None:
            folder, kept = place = free.get()
            try:
                if isinstance(one, Mutant):
                    end = tried(one, folder, kept)
                    print(f"{end.fate}, {end.seconds:.0f} s: {one.file}: {one.why}", file=sys.stderr, flush=True)
                    return end
                start = time.perf_counter()
                if outcome(folder, GROUPS[one], kept) != "survived":
                    raise RuntimeError(f"the tests of group {one!r} fail without a mutant")
                print(f"group {one}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
                return None
            finally:
                free.put(place)

        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(in_turn, dict.fromkeys(name for mutant in mutants for name in mutant.groups)))
            return [end for end in pool.map(in_turn, mutants) if end is not None]


def run(options: Options) -> list[Row]:
    start = time.perf_counter()
    chosen = MUTANTS[options.seed % 20 :: 20] if options.quick else MUTANTS
    outcomes = trials(chosen, options.processes)
    minutes = (time.perf_counter() - start) / 60
    same = [o for o in outcomes if o.mutant.same]
    survivors = [o for o in outcomes if not o.seen and not o.mutant.same]
    odd = [o for o in same if o.seen]
    hung = sum(o.fate == "hung" for o in outcomes)
    where = Counter(o.mutant.file.split("/")[0] for o in outcomes)
    names = "; ".join(f"{o.mutant.file}: {o.mutant.why}" for o in survivors)
    found = f"{sum(o.seen for o in outcomes)} are seen by a test"
    found += f", {hung} of them as they never end" if hung else ""
    found += f"; {len(same)} change no result, with the reason beside each" if same else ""
    found += f"; survivors: {names}" if survivors else "; none survives"
    what = "Mistakes put into formulas, rules, programs, months, gradients, training and files are seen by tests"
    cases = f"{len(outcomes)} mistakes (" + ", ".join(f"{n} in {name}" for name, n in where.most_common()) + ")"
    rows = [Row(what, cases, f"{found}; {minutes:.0f} minutes", not survivors)]
    if odd:
        said = "; ".join(f"{o.mutant.file}: {o.mutant.why}" for o in odd)
        rows.append(Row("Mistakes said to change nothing are seen by no test", f"{len(same)}", f"seen: {said}", False))
    return rows
