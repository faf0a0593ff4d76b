"""Threads beside the calling one: none is left behind, whatever goes wrong and whenever Ctrl-C comes."""

from __future__ import annotations

import threading
import time

import pytest

from fastlrp.kernels import helpers
from fastlrp.kernels.helpers import together

START = threading.Thread.start


def late(thread: threading.Thread) -> None:
    """Ctrl-C when the thread runs and the one that started it has not been told yet."""
    START(thread)
    raise KeyboardInterrupt


def early(thread: threading.Thread) -> None:
    """Ctrl-C before there is a thread."""
    raise KeyboardInterrupt


def none(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Work:
    """What goes on until it is stopped."""

    def __init__(self) -> None:
        self.stop, self.done = threading.Event(), []

    def __call__(self) -> None:
        self.stop.wait(60)
        time.sleep(0.05)  # whoever does not wait for it is seen
        self.done.append(threading.current_thread().name)


@pytest.mark.parametrize(("start", "begun"), [(late, 2), (early, 1)])
def test_an_interruption_while_a_thread_starts_leaves_none_behind(monkeypatch, start, begun):
    before, work = threading.active_count(), Work()
    starts = [START, start]
    monkeypatch.setattr(helpers, "_BEGINS", 0.01 if start is early else 60)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: starts.pop(0)(thread))
    with pytest.raises(KeyboardInterrupt):
        together([work] * 3, lambda _: pytest.fail("nothing was to be done here"), work.stop.set, "some")
    assert work.done == ["some"] * begun
    assert threading.active_count() == before


def test_a_thread_that_was_given_up_before_it_began_does_nothing(monkeypatch):
    work, given = Work(), []
    monkeypatch.setattr(helpers, "_BEGINS", 0.01)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: given.append(thread) or early(thread))
    with pytest.raises(KeyboardInterrupt):
        together([work], lambda _: None, work.stop.set)
    START(given[0])  # the system was slow
    given[0].join(60)
    assert not given[0].is_alive()
    assert not work.done


def test_an_interruption_of_the_work_here_or_of_waiting_ends_all():
    before = threading.active_count()
    work = Work()

    def here(others):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together([work] * 2, here, work.stop.set)
    assert len(work.done) == 2
    assert threading.active_count() == before


@pytest.mark.parametrize("room", [0, 1, 3])
def test_as_many_threads_as_the_system_has(monkeypatch, room):
    starts, told, work = [START] * room + [none] * 3, [], Work()
    monkeypatch.setattr(threading.Thread, "start", lambda thread: starts.pop(0)(thread))

    def here(others):
        told.append(others)
        work.stop.set()

    together([work] * 3, here, work.stop.set)
    assert told == [room]
    assert len(work.done) == room


def test_what_went_wrong_first_is_raised():
    failed, work = threading.Event(), Work()

    def fails():
        try:
            raise MemoryError("first")
        finally:
            failed.set()

    def here(others):
        failed.wait(60)
        work.stop.wait(60)
        raise ValueError("second")

    with pytest.raises(MemoryError, match="first"):
        together([fails, work], here, work.stop.set)
    assert len(work.done) == 1
