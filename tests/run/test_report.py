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

import pytest
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from outgrad._signals import termination_as_interrupt
from outgrad.errors import ClusterError
from outgrad.graph.memory import TaskMemory
from outgrad.graph.workers import Workers
from outgrad.run.report import Projection, Summary, explain, is_lost
from outgrad.run.watch import WorkerState, check_versions, process_memory

MIB = 2**20


def test_the_summary_counts_bytes_both_ways() -> None:
    projection = Projection(7, 300 * MIB, 100 * MIB, TaskMemory(0, 0, 0))
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
        ("peak memory of tcp://b", "150.00 MiB (started during the job)"),
    ]


def test_a_dry_run_tells_the_plan() -> None:
    workers = Workers(base_bytes=0, limit_bytes=100 * MIB)
    projection = Projection(7, 300 * MIB, 100 * MIB, TaskMemory(10 * MIB, 0, 0), workers)
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
    resident, peak = process_memory()
    assert 10 * MIB < resident <= peak


def test_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    resident, peak = process_memory()
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
