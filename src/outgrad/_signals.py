"""Stop cleanly when the batch system asks for it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_SECONDS = 0.02
"""When an interrupt that Python dropped comes again: after the destructor or callback that it fell into."""

AFTER_RETURN_SECONDS = 0.05
"""When an interrupt comes that came too late to undo what was done."""

PATIENCE_SECONDS = 10.0
"""How long more signals are the same wish: people press Ctrl-C twice, batch systems repeat SIGTERM."""

_interrupted = threading.Event()
_interrupt_seconds = [0.0]


_before: dict[int, Any] = {}
"""What the handlers were before the first of all that want them changed."""

_holders = 0
_hook_before: Callable[[Any], Any] = sys.unraisablehook


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: what was begun is removed, and the cluster is closed.

    Python would end at once, and leave unfinished files and worker processes behind. Handlers of
    others stay. Several may ask for it at a time, and end in any order.
    """
    global _holders, _hook_before
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _holders += 1
    if _holders == 1:
        _interrupted.clear()
        defaults = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
        for each, default in defaults.items():
            if signal.getsignal(each) is default:
                _before[each] = signal.signal(each, _interrupt)
        _hook_before, sys.unraisablehook = sys.unraisablehook, _send_dropped_again
    try:
        yield
    finally:
        _holders -= 1
        if _holders == 0:
            for number, handler in _before.items():
                if signal.getsignal(number) is _interrupt:
                    signal.signal(number, handler)
            _before.clear()
            if sys.unraisablehook is _send_dropped_again:
                sys.unraisablehook = _hook_before
            _interrupted.set()


def _send_dropped_again(dropped: Any) -> None:
    """Send an interrupt again that Python dropped, instead of printing it.

    An exception cannot leave a destructor or a callback of the garbage collector: Python prints it and goes
    on (https://docs.python.org/3/library/sys.html#sys.unraisablehook), so Ctrl-C would do nothing.
    """
    if not isinstance(dropped.exc_value, Interrupt):
        _hook_before(dropped)
        return
    _interrupted.clear()
    thread, number = threading.main_thread().ident, dropped.exc_value.number
    assert thread is not None, "the main thread runs"

    def send() -> None:
        # A signal that comes just before a thread waits does not wake it: it is sent until its handler ran.
        while not _interrupted.wait(AGAIN_SECONDS):
            signal.pthread_kill(thread, number)

    threading.Thread(target=send, daemon=True).start()


@contextmanager
def stopping_cleanly() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block by an exception, so that what was begun is removed.

    A caller sees what Python does anyway: a KeyboardInterrupt, or for SIGTERM the end of the process with its
    usual exit code; only that ``with`` and ``finally`` are obeyed on the way.
    """
    try:
        with termination_as_interrupt():
            yield
    except Interrupt as interrupt:
        if signal.getsignal(interrupt.number) is _interrupt:  # somebody further up asked for it
            raise
        if interrupt.number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise KeyboardInterrupt from None


@contextmanager
def deferred(*, after_return: bool = False) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block has ended.

    Parameters
    ----------
    after_return
        Whether they wait a moment longer if the block succeeds: what it has done cannot be undone, and the
        call that did it should return and not seem to have failed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler not in (signal.SIG_IGN, None):
            signal.signal(number, lambda number, frame: received.append(number))
    failed = True
    try:
        yield
        failed = False
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        if received and after_return and not failed:
            main = threading.main_thread().ident
            timer = threading.Timer(AFTER_RETURN_SECONDS, signal.pthread_kill, (main, received[0]))
            timer.daemon = True
            timer.start()
        elif received:
            signal.raise_signal(received[0])


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back the handlers of Ctrl-C and SIGTERM that the block changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    """Raise once: what the first signal began to remove and close must not be cut short by the next."""
    now = time.monotonic()
    if _interrupted.is_set() and now < _interrupt_seconds[0] + PATIENCE_SECONDS:
        return
    _interrupt_seconds[0] = now
    _interrupted.set()
    raise Interrupt(number)


class Interrupt(KeyboardInterrupt):
    """An interrupt that knows the signal that it came from."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
