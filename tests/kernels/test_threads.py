"""Threads that fail or cannot be started, and a GPU that does: the caller learns of it once all have ended."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from helpers import run_python, same_relevance

import fastlrp as fl
import fastlrp.explain
from fastlrp.kernels import cpu, get_backend
from fastlrp.kernels.cpu import host, run_tasks


@pytest.fixture
def net(rng):
    return fl.Network([fl.LSTM(rng.normal(size=(3, 8)), rng.normal(size=(2, 8))), fl.Dense(rng.normal(size=(2, 1)))])


@pytest.fixture
def X(rng):
    return rng.normal(size=(5000, 4, 3))


def alive():
    return [thread for thread in threading.enumerate() if thread.name == "fastlrp"]


def test_an_exception_in_a_helper_reaches_the_caller(net, X, monkeypatch):
    run_tiles, here = host.run_tiles, threading.get_ident()
    failed = threading.Event()

    def failing(*arguments):
        if threading.get_ident() != here:
            failed.set()
            raise ZeroDivisionError("in a helper")
        failed.wait(60)  # so that a helper gets a turn
        run_tiles(*arguments)

    monkeypatch.setattr(host, "run_tiles", failing)
    with pytest.raises(ZeroDivisionError, match="in a helper"):
        net.explain(X, threads=3)
    assert not alive()


def test_tasks_after_a_failure_do_not_begin():
    begun, stops = [], []

    def task(k):
        begun.append(k)
        if k == 1:
            raise ZeroDivisionError("task 1")
        return 1

    with pytest.raises(ZeroDivisionError, match="task 1"):
        run_tasks([lambda k=k: task(k) for k in range(50)], 1)
    assert begun == [0, 1]
    begun.clear()
    barrier = threading.Barrier(2)

    def together():
        barrier.wait(60)
        raise ZeroDivisionError("both")

    with pytest.raises(ZeroDivisionError, match="both"):
        run_tasks([together] * 2 + [lambda: task(2)], 2, stop=lambda: stops.append(1))
    assert not begun
    assert stops
    assert not alive()


WAITING = """
import os, signal, threading, time
from fastlrp.kernels.cpu import run_tasks
from fastlrp.files.pipeline import overlapped

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it

def interrupts(call):
    "Whether a call that waits for its helpers ends by a signal, and they before it."
    helper, stop, ended = threading.Event(), threading.Event(), []

    def slow():
        helper.set()
        if stop.wait(60):
            time.sleep(0.3)
        ended.append(True)

    def send():
        time.sleep(0.3)  # until then, the main thread waits
        os.kill(os.getpid(), signal.SIGINT)
        stop.set()

    def quick():
        helper.wait(60)
        threading.Thread(target=send).start()

    try:
        call(slow, quick)
    except KeyboardInterrupt:
        return ended == [True]
    return False

def spread(slow, quick):
    main = threading.main_thread()
    run_tasks([lambda: (quick if threading.current_thread() is main else slow)() or 1] * 2, 2)

assert interrupts(spread)
assert interrupts(lambda slow, quick: overlapped([0, 1], lambda k: quick() if k else k, lambda k: k or slow()))
print("waited")
"""


def test_ctrl_c_ends_a_call_after_its_helpers_have_ended():
    run = run_python("-c", WAITING)
    assert run.stdout == "waited\n", run.stderr


@pytest.mark.parametrize("possible", [0, 1])
def test_where_threads_cannot_be_started_fewer_do_the_work(net, X, possible, monkeypatch):
    want = net.explain(X, threads=1)
    start, started = threading.Thread.start, []

    def limited(thread):
        if len(started) == possible:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    same_relevance(net.explain(X, threads=4), want)
    assert len(started) == possible
    assert not alive()


@pytest.mark.parametrize("error", [MemoryError("the GPU has no room"), RuntimeError("the GPU failed: it is gone")])
def test_where_auto_chose_a_gpu_that_fails_the_cpu_computes(net, X, error, monkeypatch):
    class Broken:
        """A backend that answers and fails."""

        @staticmethod
        def run(*_, **__):
            raise error

    def chosen(device, rows=None, work=0.0):
        return Broken if device in ("auto", "cuda") else get_backend(device, rows, work)

    want = net.explain(X[:50])
    monkeypatch.setattr(fastlrp.explain, "get_backend", chosen)
    with pytest.warns(RuntimeWarning, match=f"^computed on the CPU instead: {error}$") as caught:
        same_relevance(net.explain(X[:50]), want)
    assert caught[0].filename == __file__
    with pytest.raises(type(error), match="the GPU"):
        net.explain(X[:50], device="cuda")
    monkeypatch.setattr(cpu, "run", Broken.run)
    with pytest.raises(type(error), match="the GPU"):  # the CPU's own failure is the caller's
        net.predict(X[:50], device="cpu")


def test_numbers_that_are_not_real_are_refused(net, X):
    with pytest.raises(ValueError, match="X must hold float32 or float64 numbers, not dtype complex128"):
        net.predict(X.astype(np.complex128))
