"""Faults of a file system: the k-th change that a save makes fails, in one of several ways."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHANGES = ("mkdir", "open", "write", "pwrite", "ftruncate", "fsync", "link", "replace", "unlink", "rmdir")
CLEANING = ("unlink", "rmdir")
MODES = ("once", "from then on", "after it happened", "interrupt", "kill", "error in cleaning")


class InjectedError(OSError):
    """A fault of the test, and not of the machine."""


class FaultyDisk:
    """Counts the changes of the file system, and makes number ``at`` fail; none if it is None."""

    def __init__(self, mode: str = "once", at: int | None = None) -> None:
        self.mode, self.at = mode, at
        self.names: list[str] = []
        self.hit = ""
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGES:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield

    def _wrapped(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                return original(*arguments, **options)
            with self._lock:
                number = len(self.names)
                self.names.append(name)
            if self._fails(name, number):
                return self._fail(name, original, arguments, options)
            return original(*arguments, **options)

        return changed

    def _fails(self, name: str, number: int) -> bool:
        if self.at is None or number < self.at:
            return False
        if number == self.at:
            self.hit = name
            return True
        return self.mode == "from then on" or (self.mode == "error in cleaning" and name in CLEANING)

    def _fail(self, name: str, original: Callable[..., Any], arguments: Any, options: Any) -> Any:
        if self.mode == "interrupt":
            signal.raise_signal(signal.SIGINT)
            return original(*arguments, **options)
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "after it happened":
            result = original(*arguments, **options)
            if name == "open":
                os.close(result)
        raise InjectedError(5, f"injected into {name}")
