"""Run a command and see what it took: wall time, and memory of the whole tree of processes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """What one run of a command took."""

    seconds: float
    peak_bytes: int
    """Largest sum of the resident sizes of all its processes, seen in samples."""
    output: str


def run(command: Sequence[str], folder: Path) -> Run:
    """Run ``command`` in ``folder`` and watch it.

    Raises
    ------
    RuntimeError
        If it fails; with what it printed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = _Peak(process.pid)
    output, _ = process.communicate()
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}:\n{output}")
    return Run(seconds, peak.stop(), output)


class _Peak:
    """Sample the resident size of a process and of what it starts, until it is stopped."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stopped = threading.Event()
        self._peak = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, self._resident())

    def _resident(self) -> int:
        total = 0
        try:
            for process in [self._root, *self._root.children(recursive=True)]:
                total += process.memory_info().rss
        except psutil.Error:
            return 0  # a process ended while it was looked at: the next sample counts
        return total

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._peak
