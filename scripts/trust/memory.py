"""Memory: whether it grows with the number of calls, what calls do without enough of it, and whose results it holds."""

from __future__ import annotations

import gc
import random
import sys
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from helpers import run_python

import fastlrp as fl
from fastlrp.kernels import memory
from scripts.trust.rows import Options, Row

Array = npt.NDArray[Any]
#: Bytes by which resident memory may grow after warming up: what an allocator spreads over, far below a byte a call.
SMALL_GROWTH, LARGE_GROWTH = 4 << 20, 32 << 20
#: (steps, features, cells) of the networks.
SHAPES = ((1, 1, 1), (3, 5, 4), (6, 20, 8), (12, 8, 16))


def run(options: Options) -> list[Row]:
    return [
        _small_calls(options.cases(100_000)),
        _large_calls(options.cases(500)),
        _short(options.cases(60)),
        _views(options.cases(2_000), options.seed),
    ]


def _network(rng: np.random.Generator, D: int, H: int) -> fl.Network:
    return fl.Network(
        [fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H))), fl.Dense(rng.normal(size=(H, 1)))]
    )


def _resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


def _growth(calls: list[Any], n: int) -> int:
    """Bytes by which ``n`` calls, in turns, made the process grow after a tenth as many."""
    for k in range(max(n // 10, 2 * len(calls))):
        calls[k % len(calls)]()
    before = _resident()
    for k in range(n):
        calls[k % len(calls)]()
    return _resident() - before


def _small_calls(n: int) -> Row:
    rng, calls = np.random.default_rng(0), []
    for T, D, H in SHAPES:
        net = _network(rng, D, H)
        for X in (rng.normal(size=(1, T, D)), rng.normal(size=(7, T, D)).astype(np.float32)):
            calls += [lambda net=net, X=X: net.predict(X), lambda net=net, X=X: net.explain(X)]
    found = _growth(calls, n)
    return Row(
        "small calls do not make a process grow",
        f"{n:,} calls of predict and explain, {len(SHAPES)} networks, both dtypes",
        f"resident memory grew by {found / 1e6:.1f} MB after warming up",
        found <= SMALL_GROWTH,
    )


def _large_calls(n: int) -> Row:
    rng, calls = np.random.default_rng(1), []
    for T, D, H in SHAPES[1:]:
        net, X = _network(rng, D, H), rng.normal(size=(3_000_000 // (T * D * H), T, D)).astype(np.float32)
        for threads in (1, 2, 4):
            calls.append(lambda net=net, X=X, threads=threads: net.explain(X, threads=threads))
    found = _growth(calls, n)
    return Row(
        "large calls do not make a process grow",
        f"{n:,} calls of explain with 1, 2 and 4 threads, results of up to 3 MB",
        f"resident memory grew by {found / 1e6:.1f} MB after warming up",
        found <= LARGE_GROWTH,
    )


_SHORT = """
import resource, sys
import numpy as np
import fastlrp as fl
rng = np.random.default_rng(int(sys.argv[1]))
room = int(sys.argv[2]) << 20
W, U = rng.normal(size=(16, 16)), rng.normal(size=(4, 16))
net = fl.Network([fl.LSTM(W, U), fl.Dense(np.ones((4, 1)))])
X = np.lib.stride_tricks.as_strided(rng.normal(size=200), (400_000, 10, 16), (0, 128, 8))
small = net.explain(X[:5], threads=1).values.tobytes()
net.explain(X[:30_000], threads=1)
with open("/proc/self/statm", encoding="ascii") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
refused = right = 0
for n in (400_000, 50_000, 400_000, 100_000, 400_000):
    try:
        net.explain(X[:n], threads=1)
    except MemoryError:
        refused += 1
    right += net.explain(X[:5], threads=1).values.tobytes() == small
print(refused, right)
"""


def _short(n: int) -> Row:
    if not sys.platform.startswith("linux"):
        return Row("a call without enough memory is refused", "none: no limit can be set here", "nothing", True)
    refused = right = calls = failed = 0
    for k in range(max(1, n // 5)):
        done = run_python("-c", _SHORT, str(k), str(4 + 16 * (k % 12)))
        failed += done.returncode != 0
        if done.returncode == 0:
            one, other = map(int, done.stdout.split())
            refused, right, calls = refused + one, right + other, calls + 5
    return Row(
        "a call without enough memory raises MemoryError, and the next smaller one is right",
        f"{calls} calls in {max(1, n // 5)} processes whose address space is limited",
        f"{refused} refused; {right} of {calls} calls after them right; {failed} processes ended otherwise",
        not failed and right == calls and refused > 0,
    )


#: Ways to look at a result that keep it alive.
VIEWS = {
    "slice": lambda a: a[1::2],
    "transposed": lambda a: a.T,
    "memoryview": memoryview,
    "array interface": lambda a: np.asarray(_Interface(a)),
    "DLPack": np.from_dlpack,
    "buffer": lambda a: np.frombuffer(a, a.dtype),
    "frame": lambda a: _frame(a),
}


class _Interface:
    """An array known by its address alone; it holds what it shows, as the protocol wants."""

    def __init__(self, array: Array) -> None:
        self.held, self.__array_interface__ = array, array.__array_interface__


def _frame(array: Array) -> Any:
    import pandas as pd

    return pd.DataFrame(array.reshape(len(array), -1), copy=False)


def _views(n: int, seed: int) -> Row:
    """Views of results that are gone, held while others are computed in their place if there is a fault."""
    rng = np.random.default_rng(seed)
    net = _network(rng, 16, 4)
    inputs = [rng.normal(size=(rows, 6, 16)) for rows in (400, 420, 500, 900)]
    expected = [net.explain(X, threads=1).values.copy() for X in inputs]
    wrong: list[str] = []
    reused: list[int] = []
    views = dict(VIEWS)
    if find_spec("torch") is not None:
        views["torch.from_numpy"] = import_module("torch").from_numpy

    def work(thread: int, calls: int) -> None:
        draw, held, addresses = random.Random(seed * 100 + thread), [], set()
        for _ in range(calls):
            k = draw.randrange(len(inputs))
            values, name = net.explain(inputs[k], threads=1).values, draw.choice(list(views))
            if values.ctypes.data in addresses:
                reused.append(1)
            addresses.add(values.ctypes.data)
            held.append((name, views[name](values), views[name](expected[k])))
            del values
            while len(held) > draw.randrange(1, 6):
                name, view, want = held.pop(draw.randrange(len(held)))
                if np.asarray(view).tobytes() != np.asarray(want).tobytes():
                    wrong.append(name)

    threads = [threading.Thread(target=work, args=(k, n // 4)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory.release()
    return Row(
        "a result is never overwritten while anything looks at it",
        f"{4 * (n // 4):,} results in 4 threads, seen by {', '.join(views)}",
        f"{len(wrong)} overwritten; {len(reused):,} results lay where earlier ones had been",
        not wrong and len(reused) > 0,
    )
