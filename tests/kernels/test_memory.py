"""Memory of large results: aligned to cache lines, reused only when nobody can see it any more, and bounded."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from helpers import run_python

import fastlrp as fl
from fastlrp.kernels import memory

LARGE = 2 * memory.LARGE // 8


@pytest.fixture(autouse=True)
def nothing_free():
    gc.collect()
    memory._free.clear()
    yield
    memory._free.clear()


def test_arrays_start_on_a_cache_line():
    for n in (1, 7, 1000, LARGE, LARGE + 3):
        for dtype in (np.float32, np.float64, np.int64):
            array = memory.aligned(n, dtype)
            assert array.shape == (n,)
            assert array.dtype == dtype
            assert array.ctypes.data % 64 == 0
            assert array.flags.writeable


def test_large_scratch_begins_a_huge_page():
    for n in (1, 1000, LARGE, 700_001):
        array = memory.scratch(n, np.float32)
        assert array.shape == (n,)
        assert array.dtype == np.float32
        assert array.ctypes.data % (2**21 if array.nbytes >= memory.LARGE else 64) == 0
        array[:] = 1
    address = array.ctypes.data
    del array
    assert memory.scratch(700_001, np.float32).ctypes.data == address


def test_memory_is_used_again_once_the_last_view_is_gone():
    one = memory.aligned(LARGE, np.float64)
    address = one.ctypes.data
    view = one[10:20].reshape(2, 5).T
    view[:] = 3.0
    del one
    other = memory.aligned(LARGE, np.float64)
    assert other.ctypes.data != address
    other.fill(1.0)
    assert np.all(view == 3.0)
    del view
    assert memory.aligned(LARGE - 100, np.float64).ctypes.data == address


def test_memory_of_another_size_is_left_alone():
    address = memory.aligned(4 * LARGE, np.float64).ctypes.data
    assert memory.aligned(LARGE, np.float64).ctypes.data != address  # reuse would waste three quarters
    both = sorted(part.size for part in memory._free.values())
    assert both == [8 * LARGE + 64, 32 * LARGE + 64]
    assert memory.aligned(4 * LARGE, np.float64).ctypes.data == address  # picked from several
    small = memory.aligned(100, np.float64)
    assert not isinstance(small.base, memory._Loan)


def test_little_is_kept(monkeypatch):
    monkeypatch.setattr(memory, "MOST_KEPT", 6 * memory.LARGE)
    arrays = [memory.aligned(LARGE, np.float64) for _ in range(5)]
    arrays.clear()
    assert 0 < sum(part.size for part in memory._free.values()) <= 6 * memory.LARGE
    memory.aligned(40 * LARGE, np.float64)  # more than may be kept, so nothing is kept
    assert not memory._free
    arrays = [memory.aligned(LARGE, np.float64) for _ in range(5)]
    monkeypatch.setattr(memory, "MOST_KEPT", 1 << 40)
    monkeypatch.setattr(memory, "MOST_PIECES", 3)
    latest = [array.ctypes.data for array in arrays[2:]]
    while arrays:
        arrays.pop(0)
    kept = [int(part.ctypes.data) for part in memory._free.values()]
    assert [-(-address // 64) * 64 for address in kept] == latest


def test_calls_that_allow_less_to_be_kept_may_end_in_any_order():
    """As those of several threads do: the limit is then as it was before."""
    arrays = [memory.aligned(LARGE, np.float64) for _ in range(4)]
    arrays.clear()
    one, other = memory.keeping(3 * memory.LARGE), memory.keeping(5 * memory.LARGE)
    with one:
        assert len(memory._free) == 1  # what was kept before counts
        other.__enter__()
    kept = [memory.aligned(LARGE, np.float64) for _ in range(4)]
    kept.clear()
    assert len(memory._free) == 2
    other.__exit__(None, None, None)
    kept = [memory.aligned(LARGE, np.float64) for _ in range(4)]
    kept.clear()
    assert len(memory._free) == 4


def test_threads_never_share_memory():
    def work() -> None:
        for k in range(200):
            array = memory.aligned(LARGE, np.float64)
            array[:8] = k + threading.get_ident() % 1000
            assert np.all(array[:8] == array[0])
            if np.any(array[:8] != k + threading.get_ident() % 1000):
                wrong.append(k)

    wrong: list[int] = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_of_two_calls_are_two(rng):
    T, D, H = 4, 40, 3
    shapes = ((D, 4 * H), (H, 4 * H), (4 * H,))
    net = fl.Network([fl.LSTM(*(rng.normal(size=s) for s in shapes)), fl.Dense(rng.normal(size=(H, 1)))])
    one, two = rng.normal(size=(2, 10_000, T, D))
    first = net.explain(one)
    kept = first.values.copy()
    second = net.explain(two)
    assert not np.shares_memory(first.values, second.values)
    assert np.array_equal(first.values, kept)
    middle = first.values[5000]
    address = first.values.ctypes.data
    del first
    third = net.explain(one)
    assert third.values.ctypes.data != address  # ``middle`` still looks at it
    assert np.array_equal(middle, kept[5000])
    del middle
    fourth = net.explain(one)
    assert fourth.values.ctypes.data == address
    assert np.array_equal(fourth.values, kept)


class Shown:
    """An array known by its address; it holds what it shows, as the protocol wants."""

    def __init__(self, array):
        self.held, self.__array_interface__ = array, array.__array_interface__


VIEWS = {
    "memoryview": memoryview,
    "buffer": lambda array: np.frombuffer(array, array.dtype),
    "DLPack": np.from_dlpack,
    "array interface": lambda array: np.asarray(Shown(array)),
    "frame": lambda array: pd.DataFrame(array.reshape(-1, 8), copy=False),
}


@pytest.mark.parametrize("look", VIEWS)
def test_whatever_looks_at_memory_keeps_it(look):
    array = memory.aligned(LARGE, np.float64)
    array[:], address = 3.0, array.ctypes.data
    view = VIEWS[look](array)
    assert np.asarray(view).__array_interface__["data"][0] == address  # no copy, of which this would say nothing
    del array
    memory.aligned(LARGE, np.float64).fill(1.0)
    assert np.all(np.asarray(view) == 3.0)
    del view
    gc.collect()
    assert address in {-(-int(part.ctypes.data) // 64) * 64 for part in memory._free.values()}


def peak(call) -> int:
    """Most bytes that Python and NumPy hold in a call, which has been made before."""
    call()
    gc.collect()
    memory.release()
    tracemalloc.start()
    try:
        held = call()
        assert held is not None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("dtype", "threads"), [("float32", 2), ("float64", 1)])
def test_a_call_takes_what_the_page_on_memory_says(rng, dtype, threads):
    """The formulas of docs/precision.md: from below, too, so that they say something."""
    months, stocks, T, D, H = 20, 300, 12, 64, 16
    n, row = months * stocks, D * np.dtype(dtype).itemsize
    lstm = fl.LSTM(rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H)))
    net = fl.Network([lstm, fl.Dense(rng.normal(size=(H, 1)))], steps=T, features=[f"x{j}" for j in range(D)])
    X = rng.normal(size=(n, T, D)).astype(dtype)
    index = pd.MultiIndex.from_product([pd.date_range("2000-01-31", periods=months, freq="ME"), range(stocks)])
    by_time = pd.DataFrame(X[:, 0], index.set_names(["month", "stock"]), net.features)
    by_asset = by_time.sort_index(level=["stock", "month"])
    model = fl.LSTMRegressor(
        units=(H,), steps=T, max_iter=1, n_iter_no_change=1, dtype=dtype, random_state=0, threads=threads
    )
    y, beside = pd.Series(rng.normal(size=n), by_time.index), 5e6 * threads + 100 * n
    calls = {
        "explain": (lambda: net.explain(X, threads=threads), n * T * row),
        "summed": (lambda: net.explain(X, threads=threads, reduce="steps"), n * row),
        "by asset": (lambda: net.explain(by_asset, threads=threads), n * T * row),
        "by time": (lambda: net.explain(by_time, threads=threads), n * T * row + n * row),
        "summed by time": (lambda: net.explain(by_time, threads=threads, reduce="steps"), 2 * n * row),
        "predict": (lambda: net.predict(X, threads=threads), 0),
        "fit": (lambda: model.fit(X, y.to_numpy()), 0),
        "fit by time": (lambda: model.fit(by_time, y), 2 * n * row),
    }
    for name, (call, arrays) in calls.items():
        took = peak(call)
        assert arrays <= took + n * row / 2, (name, took, arrays)
        assert took <= arrays + beside, (name, took, arrays)


def test_memory_is_given_back_before_a_call_fails():
    calls = []

    @memory.with_room
    def greedy(fails: int) -> str:
        calls.append(len(memory._free))
        if len(calls) <= fails:
            raise MemoryError("no room")
        return "done"

    del (array := [memory.aligned(LARGE, np.float64)])[0]
    assert not array
    assert greedy(1) == "done"
    assert calls == [1, 0]
    calls.clear()
    with pytest.raises(MemoryError, match="no room"):  # nothing is kept that could make room
        greedy(1)
    assert calls == [0]


SHORT = """
import resource
import numpy as np
import fastlrp as fl
from fastlrp.kernels import memory

memory.MOST_KEPT = 1 << 30
rng = np.random.default_rng(0)
D, H = 16, 4
W, U = rng.normal(size=(D, 4 * H)), rng.normal(size=(H, 4 * H))
net = fl.Network([fl.LSTM(W, U), fl.Dense(np.ones((H, 1)))])
X = rng.normal(size=(25_000, 10, D))
results = [net.explain(X[:20_000], threads=1) for _ in range(3)]
first = results[0].values[:5].copy()
results.clear()
kept = sum(part.size for part in memory._free.values())
with open("/proc/self/statm", encoding="ascii") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), resource.RLIM_INFINITY))
again = net.explain(X, threads=1)
assert again.values.nbytes > 30 << 20 and kept > 70 << 20, (again.values.nbytes, kept)
assert again.values[:5].tobytes() == first.tobytes()
try:
    net.explain(np.lib.stride_tricks.as_strided(X, (10**7, 10, D), (0, 8 * D, 8)), threads=1)
except MemoryError:
    print("refused")
assert net.explain(X[:5]).values.tobytes() == first.tobytes()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space, and reads /proc")
def test_what_is_kept_makes_room_under_a_limit():
    done = run_python("-c", SHORT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "refused\n"


@pytest.mark.parametrize(
    ("groups", "limits", "want"),
    [
        ("0::/", {"memory.max": "4096"}, [4096]),  # a container of version 2
        ("0::/user/job", {"user/job/memory.max": "max", "user/memory.max": "8192"}, [8192]),
        ("4:memory:/docker/ab\n3:cpu:/\n0::/", {"memory/memory.limit_in_bytes": "4096"}, [4096]),  # version 1
        (
            "2:cpu,memory:/job",
            {"memory/job/memory.limit_in_bytes": "77", "memory/memory.limit_in_bytes": "9223372036854771712"},
            [77, 9223372036854771712],
        ),
        ("3:cpu:/", {"memory/memory.limit_in_bytes": "5"}, []),
        (None, {"memory.max": "4096"}, []),
    ],
)
def test_the_limits_of_containers_are_found(groups, limits, want, tmp_path):
    if groups is not None:
        (tmp_path / "cgroup").write_text(groups + "\n")
    for name, limit in limits.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(limit + "\n")
    assert list(memory._limits(tmp_path / "cgroup", tmp_path / "fs")) == want


def test_plans_of_many_lengths_are_bounded(rng, monkeypatch):
    net = fl.Network([fl.LSTM(rng.normal(size=(3, 8)), rng.normal(size=(2, 8))), fl.Dense(rng.normal(size=(2, 1)))])
    X = rng.normal(size=(4, 40, 3))
    want = {T: net.explain(X[:, :T]).values for T in (1, 40)}
    monkeypatch.setattr("fastlrp.kernels.program.inference.PLAN_BYTES", 0)
    for T in range(1, 41):
        last = net.explain(X[:, :T]).values
    assert len(net._plans) == 4
    assert last.tobytes() == want[40].tobytes()
    assert net.explain(X[:, :1]).values.tobytes() == want[1].tobytes()
    monkeypatch.setattr("fastlrp.kernels.program.inference.PLAN_BYTES", 1 << 20)
    for T in range(1, 41):
        net.explain(X[:, :T])
    assert sum(plan.nbytes for plan in net._plans.values()) < 1 << 20
