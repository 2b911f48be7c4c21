"""Items of files that a process keeps: few of them, each made once, whatever threads ask for it."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from outgrad.storage.open_files import OpenFiles

SECONDS = 60


def none() -> str:
    raise AssertionError("this item was made before")


def test_the_item_used_longest_ago_is_dropped() -> None:
    kept: OpenFiles[int, str] = OpenFiles(2)
    for number in range(3):
        kept.put(number, f"item {number}")
        kept.get(0, none)
    assert kept.snapshot() == {2: "item 2", 0: "item 0"}


def test_an_item_is_made_once_for_many_threads() -> None:
    kept: OpenFiles[str, object] = OpenFiles(2)
    made: list[object] = []
    start = threading.Barrier(8)
    asked = threading.Event()

    def make() -> object:
        asked.wait(0.2)  # long enough for the other threads to ask meanwhile
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        start.wait(SECONDS)
        return kept.get("name", make)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == set(made)
    assert len(made) == 1


def test_an_item_that_is_being_made_keeps_no_other_waiting() -> None:
    kept: OpenFiles[str, str] = OpenFiles(2)
    making, leave = threading.Event(), threading.Event()

    def slowly() -> str:
        making.set()
        assert leave.wait(SECONDS)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(kept.get, "slow", slowly)
        assert making.wait(SECONDS)
        assert kept.get("fast", lambda: "fast") == "fast"
        leave.set()
        assert slow.result(SECONDS) == "slow"


def test_after_an_error_the_next_one_tries_again() -> None:
    kept: OpenFiles[str, str] = OpenFiles(2)

    def fails() -> str:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        kept.get("name", fails)
    assert kept.get("name", lambda: "made") == "made"


def test_an_item_that_was_dropped_closes_itself_when_nobody_uses_it() -> None:
    class File:
        pass

    kept: OpenFiles[int, File] = OpenFiles(1)
    used = kept.get(0, File)
    closed = weakref.ref(used)
    kept.get(1, File)
    assert closed() is used
    del used
    gc.collect()
    assert closed() is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_does_not_wait_for_what_a_thread_of_its_parent_makes() -> None:
    kept: OpenFiles[str, str] = OpenFiles(2)
    making, leave = threading.Event(), threading.Event()

    def slowly() -> str:
        making.set()
        leave.wait(SECONDS)
        return "of the parent"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(kept.get, "name", slowly)
        assert making.wait(SECONDS)
        child = os.fork()
        if child == 0:
            asked = threading.Thread(target=kept.get, args=("name", lambda: "of the child"), daemon=True)
            asked.start()
            asked.join(SECONDS / 2)
            os._exit(int(asked.is_alive() or kept.snapshot() != {"name": "of the child"}))
        leave.set()
        assert slow.result(SECONDS) == "of the parent"
    assert os.waitpid(child, 0)[1] == 0
