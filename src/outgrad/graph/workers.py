"""The memory of workers, and the error before tasks start if it does not suffice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask

from outgrad.config import chunk_bytes
from outgrad.errors import MemoryLimitError
from outgrad.graph.memory import TaskMemory
from outgrad.units import format_bytes

BASE_BYTES = 120 * 2**20
"""A worker that has imported everything and holds no data yet: 98 MiB and what the first task loads."""

STORAGE_BYTES = 112 * 2**20
"""What a worker holds beside the arrays of its tasks: storage chunks that are being compressed, and memory
that was freed and is kept. Measured with chunks of 16 to 128 MiB: 50 to 90 MiB."""

UNEVEN_WAITING = 1.5
"""How much more than its share of waiting results one of several workers may hold. Chosen: Dask does not give
workers equal shares."""

WHOLE_ADVICE = (
    "Give workers more memory (--memory-limit, memory_limit), or save the result, or persist it: then it "
    "stays in parts, on all workers"
)

SMALLEST_CHUNK = 2**18
"""Smaller chunks are never proposed, since each costs a task: 256 KiB."""


@dataclass(frozen=True)
class Workers:
    """What is known of the workers that will run tasks. Sizes in bytes, of one worker."""

    count: int = 1
    threads: int = 1
    """Tasks that a worker runs at once."""
    base_bytes: int = BASE_BYTES
    """What it holds before the first task."""
    limit_bytes: int | None = None
    """Its memory limit; None if it is not known."""
    spills: bool = False
    """Whether it writes results that wait to disk."""

    def peak_bytes(self, needed: TaskMemory) -> int:
        """Peak memory of a worker while it runs tasks, or puts a whole result together."""
        running = self.threads * needed.task_bytes + self._waiting(needed)
        return self.base_bytes + STORAGE_BYTES + max(running, needed.whole_bytes)

    def _waiting(self, needed: TaskMemory) -> int:
        """Every thread may leave a result; what waits in all is spread over the workers, but not evenly."""
        share = needed.waiting_bytes * (1 if self.count == 1 else UNEVEN_WAITING / self.count)
        return int(max(self.threads * needed.result_bytes, 0 if self.spills else share))

    def fits(self, needed: TaskMemory) -> bool:
        return self.limit_bytes is None or self.peak_bytes(needed) <= self.limit_bytes

    def check(self, call: str, needed: TaskMemory) -> None:
        """Refuse tasks for which workers have not enough memory.

        Raises
        ------
        MemoryLimitError
            With the bytes that are needed and allowed, and what to do.
        """
        if self.limit_bytes is None or self.fits(needed):
            return
        running, waiting = self.threads * needed.task_bytes, self._waiting(needed)
        uses = [f"{format_bytes(self.base_bytes + STORAGE_BYTES)} for the process and its files"]
        if needed.whole_bytes > running + waiting:
            uses.append(
                f"{format_bytes(needed.whole_bytes)} for the whole result and the parts that it is made of"
            )
            advice = WHOLE_ADVICE
        else:
            tasks = "a task" if self.threads == 1 else f"{self.threads} tasks at once"
            uses.append(f"{format_bytes(running)} for {tasks}")
            uses.append(f"{format_bytes(waiting)} for results that wait")
            advice = "Give workers more memory (--memory-limit, memory_limit)"
            if self.threads > 1:
                advice += " or fewer threads"
            if waiting > running:
                advice += ", or take more workers: results that wait are spread over them"
            # Tasks and their results grow with chunks; the largest power of two that leaves room is proposed.
            free = self.limit_bytes - self.base_bytes - STORAGE_BYTES
            used = running + self.threads * needed.result_bytes
            fitting = int(chunk_bytes() * max(0, free) / max(1, used))
            fitting = 2 ** max(0, fitting.bit_length() - 1)
            if SMALLEST_CHUNK <= fitting < chunk_bytes():
                advice += f", or make chunks smaller (DASK_OUTGRAD__CHUNK_BYTES={fitting // 1024}KiB)"
        peak, limit = format_bytes(self.peak_bytes(needed)), format_bytes(self.limit_bytes)
        raise MemoryLimitError(
            f"{call} needs {peak} of memory in each worker: {', '.join(uses)}; a worker may use {limit}. "
            f"{advice}"
        )


def connected_workers(client: Any) -> Workers | None:
    """The workers of a client of ``distributed``; None of anything else, or if there are none yet."""
    if not hasattr(client, "scheduler_info"):
        return None
    states: list[Mapping[str, Any]] = list(client.scheduler_info(n_workers=-1)["workers"].values())
    if not states:
        return None
    limits = [state["memory_limit"] for state in states if state["memory_limit"]]
    resident = [int(state.get("metrics", {}).get("memory", 0)) for state in states]
    return Workers(
        count=len(states),
        threads=max(state["nthreads"] for state in states),
        base_bytes=max(*resident, BASE_BYTES),
        limit_bytes=min(limits, default=None),
        spills=spills(),
    )


def spills() -> bool:
    """Whether Dask's configuration lets workers write results to disk."""
    return bool(dask.config.get("distributed.worker.memory.spill", False))
