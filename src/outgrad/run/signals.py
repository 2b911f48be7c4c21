"""Stop cleanly when the batch system asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: what was begun is removed, and the cluster is closed.

    Python would end at once, and leave unfinished files and worker processes behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interrupt_after() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended; processes that it starts never see Ctrl-C.

    A terminal sends Ctrl-C to every process of the group. Threads that are started here, and the processes
    that they start then or later, inherit the mask: workers go on until the client closes them in order.
    """
    resource_tracker.ensure_running()  # started later it would take the mask off
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _termination_after():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _termination_after() -> Iterator[None]:
    """SIGTERM must not be masked: processes that inherit that could not be ended."""
    if signal.getsignal(signal.SIGTERM) is not _interrupt:
        yield
        return
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, _interrupt)
    if received:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
