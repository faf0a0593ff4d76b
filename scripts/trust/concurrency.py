"""Many at once: threads, processes however they are started, Ctrl-C, and what is left of machine code on disk."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from helpers import ROOT

import fastlrp as fl
from scripts.trust.rows import Options, Row

Array = npt.NDArray[Any]
#: Seconds of CPU that a call may still take after Ctrl-C, and seconds after which a process counts as hanging.
STOPS_WITHIN, HANGS = 1.0, 600


def run(options: Options) -> list[Row]:
    return [
        _threads(options.cases(4_000), options.seed),
        _processes(options.cases(200)),
        _interrupted(options.cases(24), options.seed),
        _one_cold_folder(2 if options.quick else 10),
        _cut_files(options.cases(400), options.seed),
        _full_disk(options.cases(12)),
        _killed(options.cases(20), options.seed),
    ]


# -- one process -------------------------------------------------------------------------------------------------------


def _job(k: int) -> bytes:
    """The bits of a prediction, an explanation or a fit, all of which follow from ``k``."""
    rng = np.random.default_rng(k)
    T, D, H = (int(n) for n in rng.integers(1, 9, 3))
    dtype, kind = (np.float32, np.float64)[k % 2], k % 8
    X = rng.normal(size=(int(rng.integers(2, 300)), T, D)).astype(dtype)
    if kind == 7:
        model = fl.LSTMRegressor(units=(H,), max_iter=2, n_iter_no_change=2, random_state=k, threads=2)
        return model.fit(X, X[:, -1, 0] + rng.normal(size=len(X))).predict(X).tobytes()
    net = fl.Network(
        [fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H))), fl.Dense(rng.normal(size=(H, 1)))]
    )
    if kind < 3:
        return net.predict(X, threads=1 + k % 3).tobytes()
    relevance = net.explain(X, threads=1 + k % 3, reduce="steps" if kind == 3 else None)
    return relevance.values.tobytes() + relevance.prediction.tobytes()


def _threads(n: int, seed: int) -> Row:
    """The same jobs by one thread and by many, in other orders, and through an event loop's executor."""
    jobs = list(range(n // 2))
    want = [_job(k) for k in jobs]
    wrong = done = 0
    for workers in (8, 32):
        order = random.Random(seed + workers).sample(jobs, len(jobs))
        with ThreadPoolExecutor(workers) as pool:
            got = list(pool.map(_job, order))
        wrong, done = wrong + sum(a != want[k] for a, k in zip(got, order, strict=True)), done + len(order)

    async def gathered(some: list[int]) -> list[bytes]:
        return await asyncio.gather(*(asyncio.to_thread(_job, k) for k in some))

    some = jobs[: max(5, len(jobs) // 10)]
    got = asyncio.run(gathered(some))
    wrong, done = wrong + sum(a != want[k] for a, k in zip(got, some, strict=True)), done + len(some)
    return Row(
        "calls from many threads at once have the bits of one thread's",
        f"{done:,} calls of predict, explain and fit from 8 and 32 threads and from asyncio",
        f"{wrong} differ in a bit",
        wrong == 0,
    )


# -- other processes ---------------------------------------------------------------------------------------------------


def _processes(n: int) -> Row:
    """Jobs in processes that start after kernels, and threads, have run in this one."""
    jobs = list(range(n))
    want = [_job(k) for k in jobs]
    stop, wrong, ways = threading.Event(), 0, list[str]()
    busy = threading.Thread(target=lambda: [_job(k) for _ in range(100) for k in jobs if not stop.is_set()])

    def judge(way: str, got: list[bytes]) -> None:
        nonlocal wrong
        ways.append(way)
        wrong += sum(a != b for a, b in zip(got, want, strict=True))

    busy.start()  # so that fork meets a process whose threads are at work
    for way in ("fork", "spawn", "forkserver"):
        if way in multiprocessing.get_all_start_methods():
            with ProcessPoolExecutor(2, multiprocessing.get_context(way)) as pool:
                judge(way, list(pool.map(_job, jobs, chunksize=5, timeout=HANGS)))
    stop.set()
    busy.join()
    try:
        import joblib
    except ImportError:
        pass
    else:
        judge("loky", joblib.Parallel(n_jobs=2)(joblib.delayed(_job)(k) for k in jobs))
    try:
        import dask
    except ImportError:
        pass
    else:
        lazy = [dask.delayed(_job)(k) for k in jobs]
        judge("Dask's threads", list(dask.compute(*lazy, scheduler="threads", num_workers=4)))
        judge("Dask's processes", list(dask.compute(*lazy, scheduler="processes", num_workers=2)))
    return Row(
        "processes and workers compute the bits of their parent, however they are started",
        f"{len(ways) * n:,} calls by {', '.join(ways)}",
        f"{wrong} differ in a bit, and none hangs",
        wrong == 0,
    )


_CALLS = """
import os, signal, sys, threading, time, tempfile, pathlib
import numpy as np, pandas as pd, fastlrp as fl
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
call, wait = sys.argv[1], float(sys.argv[2])
rng = np.random.default_rng(0)
W, U = rng.normal(size=(32, 128)) / 6, rng.normal(size=(32, 128)) / 6
net = fl.Network([fl.LSTM(W, U), fl.Dense(np.ones((32, 1)))], steps=12, features=[f"x{j}" for j in range(32)])
X = np.broadcast_to(rng.normal(size=(1000, 12, 32)).astype(np.float32), (300, 1000, 12, 32)).reshape(-1, 12, 32)
index = pd.MultiIndex.from_product([pd.period_range("1990-01", periods=240, freq="M").to_timestamp(), range(300)],
                                   names=["date", "permno"])
panel = pd.DataFrame(rng.normal(size=(len(index), 32)).astype(np.float32), index, net.features)
y = pd.Series(rng.normal(size=len(index)), index)
model = fl.LSTMRegressor(units=(32,), steps=12, max_iter=1000, n_iter_no_change=1000, random_state=0)
folder = pathlib.Path(tempfile.mkdtemp())
panel.reset_index().to_parquet(folder / "panel.parquet")
(folder / "parts").mkdir()
for k in range(4):  # whole assets in each
    some = panel[panel.index.get_level_values(1) % 4 == k]
    some.reset_index().to_parquet(folder / "parts" / f"{k}.parquet")
small = X[:50]
want = net.explain(small).values.tobytes()
calls = {
    "explain": lambda: [net.explain(X) for _ in range(1000)],
    "fit": lambda: model.fit(panel, y),
    "RollingLSTM.fit": lambda: fl.RollingLSTM(model, window=60, step=12).fit(panel, y),
    "explain_file": lambda: [fl.explain_file(net, folder / "panel.parquet", folder / f"{k}.parquet", memory="500MB",
                                             progress=False) for k in range(1000)],
    "explain_files": lambda: [fl.cluster.explain_files(folder / "parts", folder / f"out{k}", net, memory="500MB")
                              .compute() for k in range(1000)],
}
at = []
def send():
    time.sleep(wait)
    at.append(time.process_time())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=send, daemon=True).start()
stopped = "no"
try:
    calls[call]()
    stopped = "kept"  # training keeps the weights of the epoch before, and says so
except KeyboardInterrupt:
    stopped = "yes"
took = time.process_time() - at[0]
right = net.explain(small).values.tobytes() == want
def ours():
    return [t.name for t in threading.enumerate() if t.name.startswith("fastlrp")]
until = time.monotonic() + 60 * (call == "explain_files")  # Dask's threads finish the parts that they are at
while ours() and time.monotonic() < until:
    time.sleep(0.1)
left = ours()
print(stopped, took, right and not left)
import shutil; shutil.rmtree(folder)
"""


def _python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, *arguments], env=os.environ | {"PYTHONPATH": path} | environment, cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def _interrupted(n: int, seed: int) -> Row:
    """Ctrl-C at random moments of long calls."""
    draw, calls = random.Random(seed), ("explain", "fit", "RollingLSTM.fit", "explain_file", "explain_files")
    _python("-c", _CALLS, "fit", "5").communicate(timeout=HANGS)  # so that code is kept: training is not compiled below
    slowest, wrong = 0.0, []
    for k in range(n):
        call = calls[k % len(calls)]
        out, error = _python("-W", "ignore", "-c", _CALLS, call, f"{draw.uniform(0.2, 2.5):.3f}").communicate(
            timeout=HANGS
        )
        said = out.split()
        if len(said) != 3 or said[0] == "no" or said[2] != "True":
            wrong.append(f"{call}: {out} {error[-300:]}")
        else:
            slowest = max(slowest, float(said[1]))
    for one in wrong:
        print(one, file=sys.stderr)
    return Row(
        "Ctrl-C ends a call within a second, no thread stays, and the next call is right",
        f"{n} interruptions of {', '.join(calls)} (whose parts under way Dask finishes) at random moments",
        f"{len(wrong)} went wrong; the slowest took {slowest:.2f} s of CPU",
        not wrong and slowest <= STOPS_WITHIN,
    )


# -- machine code on disk ----------------------------------------------------------------------------------------------

_KERNEL = """
from fastlrp.kernels.target import entry

@entry
def cube(x):
    s = 0.0
    for k in range(3):
        s += x * x * x
    return s / 3
"""
_USE = "import cubes; print(cubes.cube(3.0))"


@contextmanager
def _place() -> Iterator[tuple[Path, Callable[..., subprocess.Popen[str]]]]:
    """A small kernel's module, and a way to call it in a new process, which keeps its code in ``kept``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cubes.py").write_text(_KERNEL)
        path = os.pathsep.join([name, str(ROOT)])

        def start(code: str = _USE, **environment: str) -> subprocess.Popen[str]:
            given = {"NUMBA_CACHE_DIR": str(folder / "kept"), "PYTHONPATH": path} | environment
            return _python("-c", code, **given)

        yield folder / "kept", start


def _one_cold_folder(n: int) -> Row:
    """Processes that all compile the library's own kernels, for one folder."""
    code = (
        "import numpy as np, fastlrp as fl; r = np.random.default_rng(0); "
        "net = fl.Network([fl.LSTM(r.normal(size=(3, 8)), r.normal(size=(2, 8))), fl.Dense(np.ones((2, 1)))]); "
        "print(net.explain(r.normal(size=(40, 4, 3))).values.tobytes().hex())"
    )
    with tempfile.TemporaryDirectory() as folder:
        started = [_python("-W", "error", "-c", code, NUMBA_CACHE_DIR=folder) for _ in range(n)]
        said = {one.communicate(timeout=HANGS)[0] for one in started}
    fine = len(said) == 1 and len(said.pop()) > 1000
    return Row(
        "processes that start at once with an empty cache all compute the same bits, and none warns",
        f"{n} processes compiling into one folder",
        "one answer" if fine else "several answers, or none",
        fine,
    )


def _cut_files(n: int, seed: int) -> Row:
    """A file of kept code, cut at random bytes, and as long with other bytes; read in one process."""
    code = """
import importlib, pathlib, random, sys, warnings
import cubes
cubes.cube(3.0)
(file,) = [path for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file()]
whole, draw, wrong = file.read_bytes(), random.Random(int(sys.argv[3])), 0
for k in range(int(sys.argv[2])):
    size = k if k < 20 else draw.randrange(len(whole))
    file.write_bytes(whole[:size] + (draw.randbytes(len(whole) - size) if k % 2 else b""))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = importlib.reload(cubes).cube(3.0)
    wrong += value != 27.0 or len(caught) != 1 or "is damaged" not in str(caught[0].message)
    again = importlib.reload(cubes).cube
    wrong += again(2.0) != 8.0 or sum(again.stats.cache_hits.values()) != 1
print(wrong)
"""
    with _place() as (kept, _):
        path = os.pathsep.join([str(kept.parent), str(ROOT)])
        one = _python("-c", code, str(kept), str(n), str(seed), NUMBA_CACHE_DIR=str(kept), PYTHONPATH=path)
        out, error = one.communicate(timeout=HANGS)
    wrong = int(out) if out.strip().isdigit() else n
    if error and wrong:
        print(error[-2000:], file=sys.stderr)
    return Row(
        "damaged machine code on disk is named, never run, and compiled anew",
        f"{n} files cut at a byte, or filled up with random ones",
        f"{wrong} went wrong",
        wrong == 0,
    )


def _full_disk(n: int) -> Row:
    """Files of the cache may not grow beyond some bytes, as on a disk that is full."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); import cubes; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, resource.RLIM_INFINITY)); print(cubes.cube(3.0))"
    )
    wrong = 0
    for k in range(n):
        with _place() as (_, start):
            full = start(code.format(k * 397 % 3000))
            out, error = full.communicate(timeout=HANGS)
            wrong += out != "27.0\n" or "cannot be kept" not in error
            wrong += start().communicate(timeout=HANGS)[0] != "27.0\n"
    return Row(
        "a disk that is full costs a compilation and a warning, and no call",
        f"{n} processes whose cache may hold 0 to 3,000 bytes a file",
        f"{wrong} went wrong",
        wrong == 0,
    )


def _killed(n: int, seed: int) -> Row:
    """Processes killed as they compile or write what they compiled."""
    draw, wrong, died = random.Random(seed), 0, 0
    for _ in range(n):
        with _place() as (kept, start):
            one = start("import cubes; print('on', flush=True); " + _USE.replace("import cubes; ", ""))
            if one.stdout is not None:
                one.stdout.readline()
            time.sleep(draw.uniform(0, 1.2))
            os.killpg(one.pid, signal.SIGKILL)
            one.communicate(timeout=HANGS)
            died += one.returncode == -signal.SIGKILL
            out, error = start().communicate(timeout=HANGS)
            wrong += out != "27.0\n" or bool(error)
            shutil.rmtree(kept, ignore_errors=True)
    return Row(
        "after a process was killed as it compiled, the next one is right",
        f"{died} of {n} processes killed at random moments before they ended",
        f"{wrong} went wrong",
        wrong == 0 and died > 0,
    )
