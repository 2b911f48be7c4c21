"""Pieces of large arrays on several threads: NumPy releases the interpreter's lock in its loops.

Only operations on arrays in memory use them. Tasks of a graph run on one thread each, since several of them
run at a time already.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

from threadpoolctl import ThreadpoolController

from outgrad._forks import forgets_in_child, fork_safe_lock, in_every_child

UNEVEN = 1.1
"""How much longer than its share one thread may take: beyond that, all threads share each call instead."""

_allowed: ContextVar[int] = ContextVar("outgrad_threads", default=1)


@contextmanager
def several_threads(count: int) -> Iterator[None]:
    """Let kernels that are called in this thread use ``count`` threads."""
    token = _allowed.set(count)
    try:
        yield
    finally:
        _allowed.reset(token)


_of_pool = threading.local()


def stops_with(event: threading.Event) -> None:
    """Say that what this thread does is of no use once ``event`` is set."""
    _of_pool.event = event


def stop_event() -> threading.Event | None:
    """What is set once nobody waits for what this thread does any more; None if nothing is."""
    return getattr(_of_pool, "event", None)


def allowed_threads() -> int:
    """How many threads kernels that are called in this thread may use."""
    return _allowed.get()


class _Blas:
    """The threads of BLAS while tasks are at work: counted, as most libraries have one number per process."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._inside = 0
        self._before: Counts = []

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = _limited(blas_libraries().shared)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside = max(0, self._inside - 1)  # a child may leave what its parent entered
            if self._inside == 0:
                _set_threads(self._before)

    def forget_threads(self) -> None:
        """In a child no task is at work."""
        if self._inside:
            self._inside = 0
            _set_threads(self._before)


class _Libraries(NamedTuple):
    """Libraries with one number of threads for the process, and those with one for each thread of it."""

    shared: Sequence[Any]
    per_thread: Sequence[Any]


Counts = Sequence[tuple[Any, int]]
"""Libraries, each with a number of threads."""

WITH_LIBRARIES = frozenset({"scipy.linalg", "torch"})
"""Modules that load a BLAS of their own, beside that of NumPy."""


def blas_libraries() -> _Libraries:
    """The libraries that are loaded now."""
    return _find_libraries(frozenset(WITH_LIBRARIES & sys.modules.keys()))


@cache
def _find_libraries(modules: frozenset[str]) -> _Libraries:
    """Finding them takes 10 ms, and threadpoolctl's own limits 0.2 ms each; setting a number takes 1 µs."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    per_thread = [library for library in libraries if getattr(library, "threading_layer", "") == "openmp"]
    return _Libraries([library for library in libraries if library not in per_thread], per_thread)


def _limited(libraries: Sequence[Any]) -> Counts:
    """Limit libraries to one thread; return what they used before."""
    before = [(library, library.num_threads) for library in libraries]
    _set_threads([(library, 1) for library in libraries])
    return before


def _set_threads(counts: Counts) -> None:
    for library, count in counts:
        # From 3.8 on, threadpoolctl ignores all threads but the first that set a number. Here it is one
        # number for all, under a lock, and the last thread that leaves is seldom the first that came.
        release = getattr(library, "clear_controlling_thread", None)
        if release:
            release(force=True)
        library.set_num_threads(count)
        if release:
            release(force=True)


_blas = _Blas()
forgets_in_child(_blas)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread: several tasks run at a time, and each would start as many as there are cores.

    Threads may overlap: the first that enters sets the limit, and the last that leaves restores what was
    before. Also a decorator.
    """
    _blas.enter()
    before = _limited(blas_libraries().per_thread)
    try:
        yield
    finally:
        _set_threads(before)
        _blas.leave()


def for_pieces(function: Callable[[slice], None], rows: int, step: int) -> None:
    """Call ``function`` for pieces of ``step`` rows; each thread has neighbouring pieces."""
    pieces = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    count = min(allowed_threads(), len(pieces))
    if count <= 1:
        for piece in pieces:
            function(piece)
        return
    shares = [pieces[len(pieces) * n // count : len(pieces) * (n + 1) // count] for n in range(count)]

    @one_blas_thread()
    def work(share: list[slice]) -> None:
        for piece in share:
            function(piece)

    list(_pool().map(work, shares))


def for_each(function: Callable[[int], None], weights: Sequence[float]) -> None:
    """Call ``function(n)`` for each weight, the n-th of which says how long it takes.

    Every thread has some of the calls, each of which then has one thread. If one call would take most of the
    time, this thread makes them all, one after the other, and each may use several.
    """
    count = allowed_threads()
    share = sum(weights) / max(1, count)
    if count <= 1 or len(weights) < count or max(weights) > UNEVEN * share:
        for n in range(len(weights)):
            function(n)
        return
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    # The longest calls first, each to the thread that has least to do: what is left at the end is short.
    for n in sorted(range(len(weights)), key=weights.__getitem__, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(n)
        loads[least] += weights[n]

    @one_blas_thread()
    def work(numbers: list[int]) -> None:
        for n in numbers:
            function(n)

    list(_pool().map(work, shares))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="outgrad")


in_every_child(_pool.cache_clear)
