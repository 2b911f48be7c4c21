"""Faults of a file system: the k-th change that a save makes fails, in one of several ways."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from outgrad.errors import ArchiveWarning

CHANGES = ("mkdir", "open", "write", "pwrite", "ftruncate", "fsync", "link", "replace", "unlink", "rmdir")
CLEANING = ("unlink", "rmdir")
SECONDS_UNTIL_A_LATE_INTERRUPT = 0.15
MODES = ("once", "from then on", "after it happened", "interrupt", "kill", "error in cleaning")


class InjectedError(OSError):
    """A fault of the test, and not of the machine."""


class FaultyDisk:
    """Counts the changes of the file system, and makes number ``at`` fail; none if it is None."""

    watched = CHANGES

    def __init__(self, mode: str = "once", at: int | None = None) -> None:
        self.mode, self.at = mode, at
        self.names: list[str] = []
        self.hit = ""
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in self.watched:
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


class HeldDisk(FaultyDisk):
    """Before number ``at`` of the changes, and of the looks at what is there, something else is done."""

    watched = (*CHANGES, "scandir", "stat")

    def __init__(self, at: int | None, meanwhile: Callable[[], None]) -> None:
        super().__init__("meanwhile", at)
        self.meanwhile = meanwhile

    def _fail(self, name: str, original: Callable[..., Any], arguments: Any, options: Any) -> Any:
        self.meanwhile()
        return original(*arguments, **options)


def refuse_links(*_: Any, **__: Any) -> None:
    """What a file system without hard links says."""
    raise PermissionError(1, "Operation not permitted")


def attempt(disk: FaultyDisk, call: Callable[[], Any]) -> tuple[str, str]:
    """Call with a fault; what the caller is told, and the text."""
    told = ("failed", "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with disk():
                call()
            told = ("done", "")
            if disk.mode == "interrupt":
                time.sleep(SECONDS_UNTIL_A_LATE_INTERRUPT)
        except KeyboardInterrupt:
            told = told if told[0] == "done" else ("interrupted", "")
        except Exception as error:
            told = ("failed", " ".join([str(error), *getattr(error, "__notes__", [])]))
    problems = [str(each.message) for each in caught if each.category is ArchiveWarning]
    return (told[0], "; ".join(problems)) if told[0] == "done" else told


def killed(disk: FaultyDisk, call: Callable[[], Any]) -> bool:
    """Call in a child that kills itself; whether it was killed."""
    child = os.fork()
    if not child:
        try:
            with disk():
                call()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the child failed otherwise"
    return os.WIFSIGNALED(status)


def moments(names: list[str], mode: str, few: bool) -> list[int]:
    """All changes; or some, and always those around the last step that makes an output visible."""
    if not few:
        return list(range(len(names)))
    step = max(1, len(names) // 2)
    decisive = max(at for at, name in enumerate(names) if name in ("link", "replace"))
    around = range(decisive - 1, min(decisive + 3, len(names)))
    return sorted({*range(sum(map(ord, mode)) % step, len(names), step), *around})
