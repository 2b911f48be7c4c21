"""What a run reports: a projection before it, a summary after it, and errors in one line."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from outgrad.errors import ClusterError, OutgradError
from outgrad.graph.memory import TaskMemory
from outgrad.graph.workers import Workers
from outgrad.run.watch import WorkerState
from outgrad.storage.urls import Location
from outgrad.units import format_bytes


@dataclass(frozen=True)
class Projection:
    """What a job will read, write and hold in memory, known before it runs. Sizes are in bytes."""

    tasks: int
    read_bytes: int
    written_bytes: int
    memory: TaskMemory
    """Memory that its tasks need."""
    workers: Workers = field(default_factory=Workers)

    @property
    def worker_bytes(self) -> int:
        """Projected peak memory of a worker."""
        return self.workers.peak_bytes(self.memory)

    @property
    def fits(self) -> bool:
        return self.workers.fits(self.memory)

    def check(self) -> None:
        """Raise an error if the workers would not have enough memory.

        Raises
        ------
        MemoryLimitError
            If the job does not fit; the message has the required and allowed bytes, and what to change.
        """
        self.workers.check("the job", self.memory)

    def lines(self) -> list[tuple[str, str]]:
        """Return names and texts, as rows of a table."""
        allowed = self.workers.limit_bytes
        limit = "an unknown limit" if allowed is None else format_bytes(allowed)
        return [
            ("tasks", str(self.tasks)),
            ("bytes read", format_bytes(self.read_bytes)),
            ("bytes written", format_bytes(self.written_bytes)),
            ("peak memory of a worker", f"{format_bytes(self.worker_bytes)} of {limit}"),
            ("fits", "yes" if self.fits else "no"),
        ]


@dataclass(frozen=True)
class Summary:
    """What a job did. Sizes are in bytes, times in seconds."""

    projection: Projection
    outputs: tuple[Location, ...]
    wall_seconds: float | None = None
    """From the first task to the last commit, without starting the cluster; None for a dry run."""
    workers: tuple[WorkerState, ...] = ()
    """State of the workers at the end."""
    baseline: tuple[WorkerState, ...] = ()
    """State of the workers before the first task."""

    @property
    def throughput(self) -> float:
        """Bytes read and written per second."""
        done = self.projection.read_bytes + self.projection.written_bytes
        return done / self.wall_seconds if self.wall_seconds else 0.0

    @property
    def peak_bytes(self) -> int:
        """Largest memory peak of a worker."""
        return max((worker.peak_bytes for worker in self.workers), default=0)

    def lines(self) -> list[tuple[str, str]]:
        """Return names and texts, as rows of a table."""
        if self.wall_seconds is None:
            return self.projection.lines()
        before = {state.address: state.peak_bytes for state in self.baseline}
        peaks = []
        for state in self.workers:
            started = "started during the job"
            if state.address in before:
                started = f"{format_bytes(before[state.address])} before the job"
            peaks.append((f"peak memory of {state.address}", f"{format_bytes(state.peak_bytes)} ({started})"))
        return [
            *((f"written {path.name}", str(path)) for path in self.outputs),
            ("wall time", f"{self.wall_seconds:.2f} s"),
            ("bytes read", format_bytes(self.projection.read_bytes)),
            ("bytes written", format_bytes(self.projection.written_bytes)),
            ("throughput", f"{format_bytes(int(self.throughput))}/s"),
            *peaks,
        ]


_LOST = "the scheduler was lost while the job ran; nothing was written: run the job again"
_SCHEDULER_LOST = (asyncio.CancelledError, concurrent.futures.CancelledError, CommClosedError)


@contextmanager
def reaching_cluster() -> Iterator[None]:
    """Say that the scheduler was lost, where nothing else can go wrong in the block.

    Raises
    ------
    ClusterError
        If the scheduler or its client does not answer.
    """
    try:
        yield
    except OutgradError:
        raise
    except (OSError, AttributeError, RuntimeError, *_SCHEDULER_LOST) as error:
        raise ClusterError(f"{_LOST} ({type(error).__name__}: {' '.join(str(error).split())})") from error


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
        return _LOST
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted; nothing was written"
    if isinstance(error, OSError) and error.strerror:
        path = f": {error.filename}" if error.filename else ""
        hint = "; free some space and run the job again" if error.errno == errno.ENOSPC else ""
        return f"{error.strerror}{path}{hint}"
    return " ".join(str(error).split()) or type(error).__name__
