"""Calling a function for many items where Dask would run tasks: without a graph, and with few waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import dask
from dask import threaded
from dask.base import get_scheduler
from dask.system import CPU_COUNT

Given = TypeVar("Given")
Answer = TypeVar("Answer")

WAITING = 2
"""Calls that are submitted for each thread: one that runs, and one for when it is done."""


def map_in_order(
    function: Callable[[Given], Answer], items: Iterable[Given], *, here: bool = False
) -> Iterator[tuple[Given, Answer]]:
    """Yield each item with what the function makes of it; the calls run at once, the order is that of items.

    They run on the workers of a client, if there is one: the function and the items must be light. Otherwise,
    and always with ``here``, they run on threads of this call. Items are taken as calls are done, so they may
    depend on what was yielded before. No call is begun when this has ended.
    """
    get = get_scheduler() or threaded.get  # type: ignore[no-untyped-call]
    client: Any = getattr(get, "__self__", None)
    is_client = hasattr(client, "scheduler_info")
    if is_client and not here:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        threads = sum(worker["nthreads"] for worker in workers) or 1
        yield from _windowed(partial(client.submit, function, pure=False), items, WAITING * threads)
    elif is_client or get is threaded.get:
        threads = dask.config.get("num_workers", None) or CPU_COUNT
        with ThreadPoolExecutor(threads) as pool:
            yield from _windowed(lambda item: pool.submit(function, item), items, WAITING * threads)
    else:  # Dask was told to do one thing after the other, or to use a scheduler that only takes graphs
        for item in items:
            yield item, function(item)


def _windowed(
    submit: Callable[[Given], Any], items: Iterable[Given], window: int
) -> Iterator[tuple[Given, Any]]:
    waiting: deque[tuple[Given, Any]] = deque()
    try:
        for item in items:
            waiting.append((item, submit(item)))
            if len(waiting) >= window:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for _, future in waiting:
            with suppress(Exception):  # the scheduler may be what failed
                future.cancel()
