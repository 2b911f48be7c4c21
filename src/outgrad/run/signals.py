"""Stop cleanly when the batch system asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

_interrupted = threading.Event()


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: what was begun is removed, and the cluster is closed.

    Python would end at once, and leave unfinished files and worker processes behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _interrupted.clear()
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _interrupted.clear()


def raise_if_interrupted() -> None:
    """Raise again what was lost: Python drops an interrupt that it meets while it deletes an object."""
    if _interrupted.is_set():
        raise KeyboardInterrupt


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
    _interrupted.set()
    raise KeyboardInterrupt
