"""Pieces of large arrays on several threads: NumPy releases the interpreter's lock in its loops.

Only operations on arrays in memory use them. Tasks of a graph run on one thread each, since several of them
run at a time already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from outgrad._forks import in_every_child

Rows = slice

UNEVEN = 1.1
"""How much longer than its share one thread may take."""

_allowed: ContextVar[int] = ContextVar("outgrad_threads", default=1)


@contextmanager
def several_threads(count: int) -> Iterator[None]:
    """Let kernels that are called in this thread use ``count`` threads."""
    token = _allowed.set(count)
    try:
        yield
    finally:
        _allowed.reset(token)


def allowed_threads() -> int:
    """How many threads kernels that are called in this thread may use."""
    return _allowed.get()


def for_pieces(function: Callable[[Rows], None], rows: int, step: int) -> None:
    """Call ``function`` for stretches of ``step`` rows; each thread has neighbouring ones."""
    pieces = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    count = min(allowed_threads(), len(pieces))
    if count <= 1:
        for piece in pieces:
            function(piece)
        return
    shares = [pieces[len(pieces) * n // count : len(pieces) * (n + 1) // count] for n in range(count)]

    def work(own: list[Rows]) -> None:
        for piece in own:
            function(piece)

    list(_pool().map(work, shares))


def for_each(function: Callable[[int], None], weights: Sequence[float]) -> None:
    """Call ``function(n)`` for each weight, the n-th of which tells how long it takes.

    Every thread has some of the calls, each of which then has one thread. Where one call would take most of
    the time, this thread makes them all, one after the other, and each may use several.
    """
    count = allowed_threads()
    share = sum(weights) / max(1, count)
    if count <= 1 or len(weights) < count or max(weights) > UNEVEN * share:
        for n in range(len(weights)):
            function(n)
        return
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for n in sorted(range(len(weights)), key=weights.__getitem__, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(n)
        loads[least] += weights[n]

    def work(own: list[int]) -> None:
        for n in own:
            function(n)

    list(_pool().map(work, shares))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="outgrad")


in_every_child(_pool.cache_clear)
