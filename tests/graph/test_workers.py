"""The memory of workers, and what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster

import outgrad as og
from outgrad.errors import MemoryLimitError
from outgrad.graph.memory import TaskMemory
from outgrad.graph.workers import STORAGE_BYTES, UNEVEN_WAITING, Workers, connected_workers

MIB = 2**20


def test_every_thread_has_a_task_and_leaves_a_result() -> None:
    workers = Workers(threads=3, base_bytes=100 * MIB)
    needed = TaskMemory(task_bytes=10 * MIB, result_bytes=MIB, waiting_bytes=2 * MIB)
    assert workers.peak_bytes(needed) == 100 * MIB + STORAGE_BYTES + 30 * MIB + 3 * MIB
    workers.check("this", needed)


@pytest.mark.parametrize(
    ("workers", "waiting"),
    [
        (Workers(), 600 * MIB),
        (Workers(count=2), 300 * UNEVEN_WAITING * MIB),
        (Workers(count=600, threads=2), 20 * MIB),
        (Workers(spills=True), 10 * MIB),
    ],
    ids=["one worker", "spread over two", "never less than a result a thread", "the rest on disk"],
)
def test_what_waits_is_spread_over_the_workers(workers: Workers, waiting: float) -> None:
    needed = TaskMemory(task_bytes=0, result_bytes=10 * MIB, waiting_bytes=600 * MIB)
    assert workers.peak_bytes(needed) == workers.base_bytes + STORAGE_BYTES + waiting


def test_what_does_not_fit_is_told_with_a_way_out() -> None:
    needed = TaskMemory(task_bytes=700 * MIB, result_bytes=MIB, waiting_bytes=0)
    base = 100 + STORAGE_BYTES / MIB
    message = (
        f"the job needs {base + 701:.2f} MiB of memory in each worker: "
        f"{base:.2f} MiB for the process and its files, "
        "700.00 MiB for a task, 1.00 MiB for results that wait; a worker may use 768.00 MiB. "
        "Give workers more memory (--memory-limit, memory_limit), or make chunks smaller "
        "(DASK_OUTGRAD__CHUNK_BYTES=16384KiB)"
    )
    with pytest.raises(MemoryLimitError, match=f"^{re.escape(message)}$"):
        Workers(base_bytes=100 * MIB, limit_bytes=768 * MIB).check("the job", needed)


def test_smaller_chunks_are_not_proposed_where_they_do_not_help() -> None:
    needed = TaskMemory(task_bytes=100 * MIB, result_bytes=MIB, waiting_bytes=5000 * MIB)
    with pytest.raises(MemoryLimitError) as found:
        Workers(count=2, threads=2, limit_bytes=200 * MIB).check("the job", needed)
    assert str(found.value).endswith(
        "Give workers more memory (--memory-limit, memory_limit) or fewer threads, or take more workers: "
        "results that wait are spread over them"
    )


def test_nothing_is_refused_without_a_limit() -> None:
    Workers().check("this", TaskMemory(2**60, 0, 0))
    assert connected_workers(None) is None
    assert connected_workers(object()) is None


@pytest.mark.cluster
def test_save_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """A user's own cluster: its workers would be killed, and the work begun again and again."""
    block = og.block_from_array(np.ones((64, 2**14)))
    map = og.TensorMap(og.Labels.single(), [block]).chunk(target_bytes="1 MiB")
    settings = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(memory_limit=200 * MIB, **settings) as cluster, Client(cluster) as client:
        workers = connected_workers(client)
        assert workers is not None
        assert (workers.count, workers.threads, workers.limit_bytes) == (1, 1, 200 * MIB)
        assert workers.spills == bool(dask.config.get("distributed.worker.memory.spill"))
        with pytest.raises(MemoryLimitError, match=r"^save a.zarr needs .* a worker may use 200\.00 MiB"):
            og.save(tmp_path / "a.zarr", map * map)
        assert not os.listdir(tmp_path)  # noqa: PTH208  nothing hidden either
