"""BLAS uses one thread in tasks, and what it used before when no task is at work."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import outgrad as og
from outgrad._threads import for_each, for_pieces, one_blas_thread, several_threads
from outgrad.engine.dot import chunks as dot
from outgrad.engine.solve import chunks as equations

BEFORE = 3
"""Another number than those of machines with one or two cores."""


def counts() -> set[int]:
    return {int(library["num_threads"]) for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def before() -> Iterator[None]:
    with threadpool_limits(BEFORE, user_api="blas"):
        yield
        assert counts() == {BEFORE}, "what was limited is restored"


class Seen:
    """A function of rows that notes the threads of BLAS where it runs."""

    def __init__(self) -> None:
        self.counts: set[int] = set()

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if len(rows):
            self.counts |= counts()
        return rows


def block(rows: int = 4000) -> og.TensorBlock:
    values = np.random.default_rng(0).normal(size=(rows, 20))
    return og.TensorBlock(values, og.Labels.range("sample", rows), [], og.Labels.range("property", 20))


def lazy(tmp_path: Path) -> og.TensorBlock:
    og.save(tmp_path / "in.zarr", block())
    return og.open(tmp_path / "in.zarr", target_bytes="100 KiB")


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
@pytest.mark.parametrize("apply", [og.apply, og.apply_rows])
def test_functions_in_tasks_use_one_thread(
    tmp_path: Path, apply: Callable[..., og.TensorBlock], scheduler: str
) -> None:
    seen = Seen()
    apply(lazy(tmp_path), seen).compute(scheduler=scheduler)
    assert seen.counts == {1}


def test_operations_in_memory_keep_all_threads() -> None:
    seen = Seen()
    og.apply_rows(block(), seen)
    assert seen.counts == {BEFORE}


def test_tasks_that_fail_restore(tmp_path: Path) -> None:
    def fail(rows: np.ndarray) -> np.ndarray:
        if len(rows):
            raise ValueError(f"rows with {counts()}")
        return rows

    with pytest.raises(ValueError, match=r"rows with \{1\}"):
        og.apply_rows(lazy(tmp_path), fail).compute()


CALLS: dict[str, Callable[[og.TensorBlock], Any]] = {
    "dot": lambda x: og.dot(x, block(50)),
    "lstsq": lambda x: og.lstsq(x, x, rcond=1e-10),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_of_linear_algebra_in_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What BLAS and LAPACK are called by notes how many threads they may use."""
    seen: set[int] = set()
    original = {"qr": np.linalg.qr, "svd": np.linalg.svd, "outer": dot.outer}

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            seen.update(counts())
            return function(*args, **kwargs)

        return call

    result = CALLS[name](lazy(tmp_path))
    monkeypatch.setattr(np.linalg, "qr", noting(original["qr"]))
    monkeypatch.setattr(np.linalg, "svd", noting(original["svd"]))
    monkeypatch.setattr(dot, "outer", noting(original["outer"]))
    result.compute()
    assert seen == {1}


def test_threads_that_overlap() -> None:
    """The first sets the limit, the last restores, whichever that is."""
    inside, leave = threading.Barrier(3, timeout=20), [threading.Event(), threading.Event()]

    def work(number: int) -> None:
        with one_blas_thread():
            inside.wait()
            leave[number].wait(20)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    seen = [counts()]
    for number in range(2):
        leave[number].set()
        threads[number].join()
        seen.append(counts())
    assert seen == [{1}, {1}, {BEFORE}]


def test_pieces_on_several_threads_use_one_each() -> None:
    seen: set[int] = set()
    with several_threads(2):
        for_pieces(lambda piece: seen.update(counts()), 4, 1)
        for_each(lambda number: seen.update(counts()), [1.0, 1.0])
    assert seen == {1}


def test_one_piece_keeps_all_threads() -> None:
    seen: set[int] = set()
    with several_threads(2):
        for_pieces(lambda piece: seen.update(counts()), 1, 1)
        for_each(lambda number: seen.update(counts()), [1.0])
    assert seen == {BEFORE}


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_children_of_a_fork_are_not_limited() -> None:
    """No task is at work in them."""
    with one_blas_thread():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if counts() == {BEFORE} else 1)
        assert os.waitpid(pid, 0)[1] == 0


def test_every_task_of_linear_algebra_is_limited() -> None:
    tasks = [dot.multiply_rows, equations.factor_parts, equations.solve_parts]
    assert all(hasattr(each, "__wrapped__") for each in [*tasks, equations.stack_factors])


def test_persisted_and_saved(tmp_path: Path) -> None:
    seen = Seen()
    with dask.config.set(scheduler="threads"):
        og.apply_rows(lazy(tmp_path), seen).persist()
        og.save(tmp_path / "out.zarr", og.apply_rows(og.open(tmp_path / "in.zarr"), seen))
    assert seen.counts == {1}


def test_libraries_that_are_loaded_later_are_limited_too() -> None:
    code = """
import threadpoolctl
from outgrad._threads import one_blas_thread
with one_blas_thread():
    pass  # the libraries of NumPy are known now
import scipy.linalg
with threadpoolctl.threadpool_limits(3, user_api="blas"), one_blas_thread():
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").info()
    print({library["num_threads"] for library in libraries})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{1}\n"
