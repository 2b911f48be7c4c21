"""Computing tasks that write, so that none of them goes on when the call that computes them has failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import dask
from dask import threaded
from dask.system import CPU_COUNT

from outgrad._signals import deferred
from outgrad._threads import stops_with
from outgrad.graph.dask_names import Key

DRAIN_SECONDS = 30.0
"""Seconds to wait for tasks that still run when a computation is stopped: then what they write is removed."""


def compute(get: Callable[..., Any], graph: Mapping[Key, Any], keys: list[Key]) -> list[Any]:
    """Compute ``keys`` on the scheduler that has this ``get``; no task runs when it returns or fails."""
    client = getattr(get, "__self__", None)
    if hasattr(client, "scheduler_info"):
        return _on_client(client, graph, keys)
    if get is not threaded.get or dask.config.get("pool", None) is not None:
        return list(get(graph, keys))
    # Threads of this call: those that Dask shares go on with their tasks after an error or Ctrl-C.
    stopped = threading.Event()
    count = dask.config.get("num_workers", None) or CPU_COUNT
    pool = ThreadPoolExecutor(count, initializer=stops_with, initargs=(stopped,))
    try:
        return list(threaded.get(graph, keys, pool=pool))
    except BaseException:
        stopped.set()  # requests to object stores, which may wait for long, need not be waited for
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _on_client(client: Any, graph: Mapping[Key, Any], keys: list[Key]) -> list[Any]:
    futures: list[Any] = []
    try:
        with deferred():  # Ctrl-C between submission and assignment would leave tasks that nobody can cancel
            futures = client.get(graph, keys, sync=False)
        return list(client.gather(futures))
    except BaseException:
        stop_tasks(client, futures, frozenset(graph))
        raise


def stop_tasks(client: Any, futures: Sequence[Any], keys: frozenset[Key]) -> None:
    """Cancel tasks on a cluster and wait for those that run: what they write must not appear later."""
    with suppress(Exception):  # the scheduler may be what failed
        client.cancel(futures, force=True)
        deadline = time.monotonic() + DRAIN_SECONDS
        while any(client.run(_runs_any, keys).values()) and time.monotonic() < deadline:
            time.sleep(0.1)


def _runs_any(keys: frozenset[Key], dask_worker: Any) -> bool:
    """Whether a worker still runs one of these tasks; a cancelled one goes on until its function returns."""
    return any(task.key in keys for task in dask_worker.state.all_running_tasks)
