"""Damaged files are read, refused in one sentence or made anew; killed runs are taken up to the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from files.file_cases import make_network, make_panel
from kernels.test_kept import kept_code, kernels

import fastlrp as fl
from fastlrp.learning.checkpoints import Checkpoints
from scripts import fuzz_keras, kill_explain_file, kill_workers
from scripts.trust.rows import Options, Row

#: Damaged files that one process reads before it ends, so that the same are drawn whatever the number of processes.
AT_ONCE = 250
ARRAYS = ("values", "prediction", "score", "initial_state", "unattributed")
REFUSED, SAME, LABELS, NUMBERS = "refused", "the same", "other labels", "other numbers"
_FIT = """
import sys, numpy as np, pandas as pd, fastlrp as fl
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(72, 4)), pd.date_range("2001-01-31", periods=72, freq="ME"), list("abcd"))
one = fl.LSTMRegressor((6,), steps=3, max_iter=40, random_state=5)
rolling = fl.RollingLSTM(one, window=12, directory=sys.argv[1])
from fastlrp.learning import rolling_fit
rolling_fit.AT_ONCE = 4
print("ready", flush=True)
sys.stdin.readline()
np.save(sys.argv[2], rolling.fit(X, X["a"]).predict(X))
"""


def run(options: Options) -> list[Row]:
    """All rows; those that kill come last, one at a time, as the moments they draw are parts of a run's time."""
    with ProcessPoolExecutor(options.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        found = [
            _keras(pool, options),
            *(_relevance(pool, options, kind) for kind in RESULTS),
            _checkpoints(options),
            _machine_code(options),
        ]
    return [*found, _killed_files(options), _killed_fits(options), _killed_workers(options)]


def _keras(pool: ProcessPoolExecutor, options: Options) -> Row:
    n = options.cases(3000)
    parts = [range(k, min(k + AT_ONCE, n)) for k in range(0, n, AT_ONCE)]
    asked = [pool.submit(fuzz_keras.fuzz, options.seed * 1000 + k, part) for k, part in enumerate(parts)]
    done = [future.result() for future in asked]
    ends: Counter[str] = sum((counted for counted, _ in done), Counter())
    wrong, slowest = fuzz_keras.not_dealt_with(ends), max(seconds for _, seconds in done)
    read = f"{ends['refused']:,} refused in one sentence, {ends['read']:,} read as a network"
    return Row(
        "A damaged Keras file is refused in one sentence or read as a network, without a crash, a warning or a hang",
        f"{n:,} files written by Keras 2.12 to 3.15, damaged in 1 to 8 places, 200 MB of memory and 2 s each",
        f"{read}, {wrong or 'none'} otherwise; the slowest took {slowest:.1f} s",
        not wrong and ends["refused"] + ends["read"] == n,
    )


# ---- damaged results, windows of a fit and machine code --------------------------------------------------------------


def damaged(whole: bytes, n: int, rng: random.Random) -> Iterator[bytes]:
    """The bytes with one flipped bit, n times; and cut short, a quarter as often."""
    for bit in (rng.randrange(8 * len(whole)) for _ in range(n)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        yield bytes(data)
    yield from (whole[: rng.randrange(len(whole))] for _ in range(n // 4))


def _told_apart(load: Callable[[], Any], want: Any) -> str:
    """How reading a damaged result ends."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = load()
            arrays = [(np.asarray(getattr(got, name)), np.asarray(getattr(want, name))) for name in ARRAYS]
    except ValueError as error:
        return REFUSED if "\n" not in str(error) and error.__cause__ is None else f"not one sentence: {error}"
    except Exception:
        return traceback.format_exc()
    if any(one.shape != other.shape or one.tobytes() != other.tobytes() for one, other in arrays):
        return NUMBERS
    own = ("features", "steps", "rule", "outputs", "network", "target")
    labelled = got.index.equals(want.index) and got.index.names == want.index.names
    return SAME if labelled and all(getattr(got, name) == getattr(want, name) for name in own) else LABELS


#: Files of relevance, and how they are read.
RESULTS = {
    "parquet": "A damaged Parquet file of relevance gives one sentence, and never other numbers",
    "h5": "A damaged HDF5 file of relevance gives one sentence, and never other numbers, if it is read into memory",
    "mapped": "One whose numbers are mapped is told by all but its numbers: of these damage is **not** noticed",
}


def read_damaged(kind: str, n: int, seed: int) -> Counter[str]:
    """Damage a saved result so often; how reading it ended."""
    rel = make_network().explain(make_panel(20, 12))
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "relevance.parquet" if kind == "parquet" else "relevance.h5")
        rel.save(path)
        want = fl.load_relevance(path)
        for data in damaged(path.read_bytes(), n, random.Random(seed)):
            path.write_bytes(data)
            ends[_told_apart(lambda: fl.load_relevance(path, mmap=kind == "mapped"), want)] += 1
    return ends


def _relevance(pool: ProcessPoolExecutor, options: Options, kind: str) -> Row:
    n = options.cases(2000)
    parts = [min(AT_ONCE, n - k) for k in range(0, n, AT_ONCE)]
    asked = [pool.submit(read_damaged, kind, part, options.seed * 1000 + k) for k, part in enumerate(parts)]
    ends: Counter[str] = sum((future.result() for future in asked), Counter())
    other = ends.total() - sum(ends[how] for how in (REFUSED, SAME, LABELS, NUMBERS))
    said = f"{ends[REFUSED]:,} refused, {ends[SAME]:,} read as they were, {ends[LABELS]:,} with another label"
    for text in ends.keys() - {REFUSED, SAME, LABELS, NUMBERS}:
        print(text, file=sys.stderr)
    return Row(
        RESULTS[kind],
        f"{ends.total():,} readings of files with a bit flipped or the end cut off",
        f"{said}, {ends[NUMBERS] or 'none'} with other numbers, {other or 'none'} otherwise",
        not other and (kind == "mapped" or not (ends[NUMBERS] or ends[LABELS])),
    )


def _checkpoints(options: Options) -> Row:
    n, noticed, tried = options.cases(20_000), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        store, rng = Checkpoints(folder, {"data": "x"}, 0), np.random.default_rng(options.seed)
        store.save(3, {"weight_0": rng.normal(size=(20, 64)), "losses": np.ones(30)})
        (path,) = Path(folder).glob("*.npz")
        for data in damaged(path.read_bytes(), n, random.Random(options.seed)):
            path.write_bytes(data)
            tried += 1
            try:
                store.load(3)
            except ValueError as error:
                noticed += "is damaged, or was not written for window 3 of this fit" in str(error)
    return Row(
        "A damaged window of a rolling fit is refused before anything of it is understood",
        f"{tried:,} files, a bit flipped or the end cut off",
        f"{noticed:,} refused",
        noticed == tried,
    )


def _machine_code(options: Options) -> Row:
    n, noticed, tried, right, calls = options.cases(20_000), 0, 0, 0, options.cases(100)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        cube = kernels(Path(folder))
        load, path = kept_code(cube)
        for data in damaged(path.read_bytes(), n, random.Random(options.seed)):
            path.write_bytes(data)
            tried += 1
            noticed += load() is None
            if tried % (n // calls) == 0 and right < calls:
                right += cube()(2.0) == 8.0
    return Row(
        "Damaged machine code on disk is never run: it is compiled anew",
        f"{tried:,} files, a bit flipped or the end cut off, and {calls} calls",
        f"{noticed:,} noticed before anything was unpickled, {right} calls right",
        noticed == tried and right == calls,
    )


# ---- killed runs -----------------------------------------------------------------------------------------------------


def _held(what: str, cases: str, done: Callable[[], str]) -> Row:
    """The row of a check that raises where a promise is broken."""
    try:
        return Row(what, cases, done(), True)
    except (AssertionError, subprocess.CalledProcessError) as error:
        return Row(what, cases, str(error).strip().splitlines()[-1], False)


def _killed_files(options: Options) -> Row:
    n = options.cases(40)

    def done() -> str:
        kills, files = kill_explain_file.killed_runs(n, options.seed)
        return f"{files} files after {kills} kills, each the same to the byte as one of a run that nothing stopped"

    what = "A killed explain_file leaves no file that is not whole, and is taken up to the same bytes"
    return _held(what, f"{n} kills (SIGKILL) at random moments, up to ten of a run", done)


def killed_fits(kills: int, seed: int) -> tuple[int, int]:
    """Kill a rolling fit at least so often, taking it up again each time; how often, and how many fits it took.

    Raises
    ------
    AssertionError
        If a fit that was taken up predicts other bits, or fails.
    """
    rng, done, fits = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def start(where: str, out: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-W", "ignore", "-c", _FIT, folder / where, folder / out]
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            assert child.stdout
            child.stdout.readline()
            return child

        def whole(where: str, out: str) -> float:
            child, begun = start(where, out), time.perf_counter()
            _, err = child.communicate("\n")
            assert child.returncode == 0, err
            return time.perf_counter() - begun

        whole("first", "want.npy")  # compiles
        lasts = whole("second", "want.npy")
        want = (folder / "want.npy").read_bytes()
        while done < kills:
            where = f"fit{fits}"
            for _ in range(4):
                child = start(where, "got.npy")
                assert child.stdin
                child.stdin.write("\n")
                child.stdin.flush()
                time.sleep(rng.uniform(0, 0.7 * lasts))
                child.send_signal(signal.SIGKILL)
                child.communicate()
                done += child.returncode != 0
            whole(where, "got.npy")
            assert (folder / "got.npy").read_bytes() == want, f"other predictions after {done} kills"
            fits += 1
    return done, fits


def _killed_fits(options: Options) -> Row:
    n = options.cases(16)

    def done() -> str:
        kills, fits = killed_fits(n, options.seed)
        return f"{fits} fits after {kills} kills, predictions the same to the bit"

    what = "A killed rolling fit goes on from the windows that are done, to the same predictions"
    return _held(what, f"{n} kills (SIGKILL) at random moments", done)


def _killed_workers(options: Options) -> Row:
    n = options.cases(10)

    def done() -> str:
        kills = kill_workers.killed_workers(n, options.seed)
        return (
            f"after {kills} kills all results, in memory and in files, were the same to the bit, and kept code as well"
        )

    what = "A Dask worker that is killed changes no result, and leaves no file and no code that is not whole"
    return _held(what, f"{n} kills (SIGKILL) in explain and explain_files, float32 and float64 at once", done)
