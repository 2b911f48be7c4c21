# ruff: noqa: E501 (whole messages)
"""What a run tells before, after, and when it fails."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from outgrad.errors import ClusterError, MemoryLimitError
from outgrad.run.memory import STORAGE_BYTES, needed_tasks, result_sizes, task_bytes, waiting_bytes
from outgrad.run.report import Projection, Summary, explain, is_lost
from outgrad.run.signals import termination_as_interrupt
from outgrad.run.watch import WorkerState, check_versions, own_memory

MIB = 2**20


def graph(**dependencies: str) -> dict[str, Any]:
    """Tasks by name, with what they need."""
    return {
        name: SimpleNamespace(dependencies=frozenset(text.split())) for name, text in dependencies.items()
    }


SUM = graph(a="", b="", pa="a", pb="b", total="pa pb", other="a", write="total", unused="other")


def test_only_needed_tasks_are_counted() -> None:
    assert set(needed_tasks(SUM, ["write"])) == {"a", "b", "pa", "pb", "total", "write"}


def test_results_inside_an_operation_are_bounded_by_both_sides() -> None:
    sizes = result_sizes(needed_tasks(SUM, ["write"]), {"a": 100, "b": 80, "total": 10})
    assert sizes == {"a": 100, "b": 80, "pa": 10, "pb": 10, "total": 10, "write": 0}


def test_a_task_holds_what_it_is_given_and_what_it_makes() -> None:
    needed = needed_tasks(SUM, ["write"])
    sizes = result_sizes(needed, {"a": 100, "b": 80, "total": 10})
    assert task_bytes(needed, sizes) == 150  # reading a, with half of it on the way
    assert task_bytes(needed, {**sizes, "pa": 60}) == 190
    assert task_bytes({}, {}) == 0


def test_only_results_between_tasks_wait() -> None:
    sizes = {"a": 100, "b": 80, "total": 10}
    assert waiting_bytes(graph(write=""), sizes) == 0
    assert waiting_bytes(graph(b="", total="b", write="total"), sizes) == 80


def test_peak_memory_counts_every_thread() -> None:
    projection = Projection(1, 0, 0, task_bytes=10 * MIB, waiting_bytes=MIB, threads=3, base_bytes=100 * MIB)
    assert projection.worker_bytes == 100 * MIB + STORAGE_BYTES + 30 * MIB + 3 * MIB
    assert projection.fits
    projection.check()


def test_a_plan_that_does_not_fit_tells_both_numbers() -> None:
    projection = Projection(1, 0, 0, task_bytes=700 * MIB, base_bytes=100 * MIB, limit_bytes=768 * MIB)
    message = (
        r"^the job needs 912\.00 MiB of memory in each worker, 100\.00 MiB for the process and the rest for a task; "
        r"a worker may use 768\.00 MiB\. Give workers more memory \(--memory-limit\) or fewer threads, "
        r"or make chunks smaller \(DASK_OUTGRAD__CHUNK_BYTES\)$"
    )
    assert not projection.fits
    with pytest.raises(MemoryLimitError, match=message):
        projection.check()


def test_the_summary_counts_bytes_both_ways() -> None:
    projection = Projection(7, read_bytes=300 * MIB, written_bytes=100 * MIB, task_bytes=0)
    worker = WorkerState("tcp://a", 90 * MIB, 200 * MIB, "1")
    fresh = WorkerState("tcp://b", 90 * MIB, 150 * MIB, "1")
    before = WorkerState("tcp://a", 80 * MIB, 80 * MIB, "1")
    summary = Summary(projection, (Path("x/h.zarr"),), 2.0, (worker, fresh), (before,))
    assert summary.throughput == 200 * MIB
    assert summary.peak_bytes == 200 * MIB
    assert summary.lines() == [
        ("written h.zarr", "x/h.zarr"),
        ("wall time", "2.00 s"),
        ("bytes read", "300.00 MiB"),
        ("bytes written", "100.00 MiB"),
        ("throughput", "200.00 MiB/s"),
        ("peak memory of tcp://a", "200.00 MiB (80.00 MiB before the job)"),
        ("peak memory of tcp://b", "150.00 MiB (started while the job ran)"),
    ]


def test_a_dry_run_tells_the_plan() -> None:
    projection = Projection(7, 300 * MIB, 100 * MIB, 10 * MIB, base_bytes=0, limit_bytes=100 * MIB)
    assert Summary(projection, ()).lines() == [
        ("tasks", "7"),
        ("bytes read", "300.00 MiB"),
        ("bytes written", "100.00 MiB"),
        ("peak memory of a worker", "122.00 MiB of 100.00 MiB"),
        ("fits", "no"),
    ]


KILLED = KilledWorker("write-1", SimpleNamespace(address="tcp://a"), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "text", "lost"),
    [
        (
            KILLED,
            "4 workers died while they ran the task 'write-1', the last at tcp://a; mostly they exceed their memory "
            "limit: read the log above, and give workers more memory or make chunks smaller "
            "(DASK_OUTGRAD__CHUNK_BYTES); nothing was written",
            True,
        ),
        (
            FutureCancelledError("k", "scheduler-connection-lost"),
            "the scheduler was lost while the job ran; nothing was written: run the job again",
            True,
        ),
        (
            CommClosedError("in <TCP>"),
            "the scheduler was lost while the job ran; nothing was written: run the job again",
            True,
        ),
        (KeyboardInterrupt(), "interrupted; nothing was written", False),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y"),
            "No space left on device: /x/y; free some space and run the job again",
            False,
        ),
        (OSError(errno.EACCES, "Permission denied", "/x"), "Permission denied: /x", False),
        (ClusterError("two\n  lines"), "two lines", False),
        (ZeroDivisionError(), "ZeroDivisionError", False),
    ],
)
def test_errors_are_one_line(error: BaseException, text: str, lost: bool) -> None:
    assert explain(error) == text
    assert is_lost(error) == lost


def test_workers_of_another_version_are_refused() -> None:
    states = [WorkerState("tcp://a", 1, 1, "0.0.1")]
    with pytest.raises(
        ClusterError, match=r"^the worker tcp://a has outgrad 0\.0\.1, and this is .*; install the same"
    ):
        check_versions(states)


def test_memory_of_this_process() -> None:
    resident, peak = own_memory()
    assert 10 * MIB < resident <= peak


def test_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    resident, peak = own_memory()
    assert 10 * MIB < resident == peak


def test_termination_is_an_interrupt() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), termination_as_interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


class Deleted:
    """Is interrupted while it is deleted, where Python cannot raise."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def collect_and_be_interrupted() -> None:
    """Is interrupted while garbage is collected, where Python cannot raise either."""

    def interrupted(phase: str, info: object) -> None:
        gc.callbacks.remove(interrupted)
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(interrupted)
    gc.collect()


@pytest.mark.parametrize("drop", [Deleted, collect_and_be_interrupted])
def test_an_interrupt_that_python_drops_comes_again(
    drop: Callable[[], object], capfd: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        with termination_as_interrupt():
            drop()
            time.sleep(10)

    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt):
        run()
    assert sys.unraisablehook is before
    assert capfd.readouterr() == ("", "")  # nothing about an exception that was ignored
