"""Time some ways to do the same thing, one after the other in turns, and see what memory each takes."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

Way = Callable[[], Any]

PAUSE_SECONDS = 0.002


@dataclass(frozen=True)
class Measured:
    """What one way took: medians of the repeats."""

    seconds: float
    extra_bytes: int
    """Most memory above that before the call, in the last repeat."""


def in_turns(ways: Mapping[str, Way], repeats: int, warm: bool = True) -> dict[str, Measured]:
    """Call all ways once to warm up, then ``repeats`` times in turns; the medians of each are returned."""
    if warm:
        for way in ways.values():
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            gc.collect()
            started = time.perf_counter()
            kept = way()
            seconds[name].append(time.perf_counter() - started)
            del kept
    extra = {name: extra_memory(way) for name, way in ways.items()}
    return {name: Measured(statistics.median(seconds[name]), extra[name]) for name in ways}


def extra_memory(way: Way) -> int:
    """Most memory that a call takes beyond what the process had before; of this process only."""
    gc.collect()
    _give_back()
    before = psutil.Process().memory_info().rss
    watch: Any = _HighWater() if _HighWater.works() else _Samples()
    kept = way()
    peak = watch.stop()
    del kept
    return max(0, peak - before)


def _give_back() -> None:
    """Return memory that was freed and kept to the system, so that a call is seen to take it again."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


class _HighWater:
    """The kernel's own mark of the largest resident size, set back at the start (Linux)."""

    CLEAR = Path("/proc/self/clear_refs")

    def __init__(self) -> None:
        self.CLEAR.write_text("5")

    @classmethod
    def works(cls) -> bool:
        return os.access(cls.CLEAR, os.W_OK)

    def stop(self) -> int:
        text = Path("/proc/self/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


class _Samples:
    """The resident size in samples, where the kernel keeps no mark that can be set back."""

    def __init__(self) -> None:
        self._peak, self._stopped = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stopped.wait(PAUSE_SECONDS):
            self._peak = max(self._peak, process.memory_info().rss)

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._peak
