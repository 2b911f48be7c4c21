"""What a run tells: the plan before it, the summary after it, and errors in one line."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
from dataclasses import dataclass
from pathlib import Path

from dask.utils import format_bytes
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from outgrad.errors import MemoryLimitError
from outgrad.run.memory import STORAGE_BYTES
from outgrad.run.watch import WorkerState

BASE_BYTES = 120 * 2**20
"""A worker that has imported everything and holds no data yet: 98 MiB and what the first task loads."""


@dataclass(frozen=True)
class Projection:
    """What a job will do, known before it runs. Sizes in bytes."""

    tasks: int
    read_bytes: int
    written_bytes: int
    task_bytes: int
    """The most that one task holds."""
    waiting_bytes: int = 0
    """The largest result that waits in a worker for the next task: one for each thread."""
    threads: int = 1
    """Tasks that a worker runs at once."""
    base_bytes: int = BASE_BYTES
    limit_bytes: int | None = None
    """Memory limit of a worker; None if it is not known."""

    @property
    def worker_bytes(self) -> int:
        """Peak memory of a worker."""
        data = self.threads * (self.task_bytes + self.waiting_bytes)
        return self.base_bytes + STORAGE_BYTES + data

    @property
    def fits(self) -> bool:
        return self.limit_bytes is None or self.worker_bytes <= self.limit_bytes

    def check(self) -> None:
        """Refuse a job whose workers would not have enough memory.

        Raises
        ------
        MemoryLimitError
            With the bytes that are needed and allowed, and what to do.
        """
        if self.limit_bytes is None or self.fits:
            return
        tasks = "a task" if self.threads == 1 else f"{self.threads} tasks at once"
        needed, allowed = format_bytes(self.worker_bytes), format_bytes(self.limit_bytes)
        raise MemoryLimitError(
            f"the job needs {needed} of memory in each worker, {format_bytes(self.base_bytes)} for the "
            f"process and the rest for {tasks}; a worker may use {allowed}. Give workers more memory "
            "(--memory-limit) or fewer threads, or make chunks smaller (DASK_OUTGRAD__CHUNK_BYTES)"
        )

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts of a table."""
        limit = "not known" if self.limit_bytes is None else format_bytes(self.limit_bytes)
        return [
            ("tasks", str(self.tasks)),
            ("bytes read", format_bytes(self.read_bytes)),
            ("bytes written", format_bytes(self.written_bytes)),
            ("peak memory of a worker", f"{format_bytes(self.worker_bytes)} of {limit}"),
            ("fits", "yes" if self.fits else "no"),
        ]


@dataclass(frozen=True)
class Summary:
    """What a job did. Sizes in bytes, times in seconds."""

    projection: Projection
    outputs: tuple[Path, ...]
    wall_seconds: float | None = None
    """From the first task to the last commit, without the start of the cluster; None of a dry run."""
    workers: tuple[WorkerState, ...] = ()
    """As they were at the end."""
    baseline: tuple[WorkerState, ...] = ()
    """As they were before the first task."""

    @property
    def throughput(self) -> float:
        """Bytes read and written, a second."""
        done = self.projection.read_bytes + self.projection.written_bytes
        return done / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def peak_bytes(self) -> int:
        """Largest peak of a worker."""
        return max((worker.peak_bytes for worker in self.workers), default=0)

    def lines(self) -> list[tuple[str, str]]:
        """Names and texts of a table."""
        if self.wall_seconds is None:
            return self.projection.lines()
        before = {state.address: state.peak_bytes for state in self.baseline}
        peaks = [
            (f"peak memory of {state.address}", _peak(state, before.get(state.address)))
            for state in self.workers
        ]
        return [
            *((f"written {path.name}", str(path)) for path in self.outputs),
            ("wall time", f"{self.wall_seconds:.2f} s"),
            ("bytes read", format_bytes(self.projection.read_bytes)),
            ("bytes written", format_bytes(self.projection.written_bytes)),
            ("throughput", f"{format_bytes(int(self.throughput))}/s"),
            *peaks,
        ]


def _peak(state: WorkerState, before: int | None) -> str:
    started = "started while the job ran" if before is None else f"{format_bytes(before)} before the job"
    return f"{format_bytes(state.peak_bytes)} ({started})"


_SCHEDULER_LOST = (asyncio.CancelledError, concurrent.futures.CancelledError, CommClosedError)


def is_lost(error: BaseException) -> bool:
    """Whether the cluster failed, and not the job."""
    return isinstance(error, (KilledWorker, *_SCHEDULER_LOST))


def explain(error: BaseException) -> str:
    """Say in one line what went wrong and what to do."""
    if isinstance(error, KilledWorker):
        return (
            f"{error.allowed_failures + 1} workers died while they ran the task {error.task!r}, the last at "
            f"{error.last_worker.address}; mostly they exceed their memory limit: read the log above, and "
            "give workers more memory or make chunks smaller (DASK_OUTGRAD__CHUNK_BYTES); nothing was written"
        )
    if isinstance(error, _SCHEDULER_LOST):
        return "the scheduler was lost while the job ran; nothing was written: run the job again"
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; nothing was written"
    if isinstance(error, OSError) and error.strerror:
        path = f": {error.filename}" if error.filename else ""
        hint = "; free some space and run the job again" if error.errno == errno.ENOSPC else ""
        return f"{error.strerror}{path}{hint}"
    return " ".join(str(error).split()) or type(error).__name__
