"""What this machine can do at best: measured in the same run, to tell a missed target from a limit."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2


def limits(scale: float, scratch: Path) -> dict[str, float]:
    """Gigabytes or billions of operations a second of simple things; bytes of copies count once."""
    source = np.ones(max(1000, int(50_000_000 * scale)))
    target = np.empty_like(source)
    a = np.ones((max(32, int(2000 * scale**0.5)),) * 2)

    def rate(function: Callable[[], Any]) -> float:
        return source.nbytes / _seconds(function) / 1e9

    return {
        "memory copy, GB/s, one thread": rate(lambda: np.copyto(target, source)),
        "memory copy, GB/s, two threads": rate(lambda: _halves(target, source)),
        "copy into new memory, GB/s, one thread": rate(lambda: source.copy()),
        "copy into new memory, GB/s, two threads": rate(lambda: _halves(np.empty_like(source), source)),
        "matrix product, GFLOP/s": 2 * len(a) ** 3 / _seconds(lambda: a @ a) / 1e9,
        **_files(source, scratch),
    }


def _halves(target: Any, source: Any) -> None:
    half = len(source) // 2
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda part: np.copyto(target[part], source[part]), (slice(half), slice(half, None))))


def _files(source: Any, scratch: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "file"
        write = _seconds(lambda: source.tofile(path))
        read = _seconds(lambda: np.fromfile(path))
    return {
        "file write, GB/s, page cache": source.nbytes / write / 1e9,
        "file read, GB/s, page cache": source.nbytes / read / 1e9,
    }


def _seconds(function: Callable[[], Any], repeats: int = 3) -> float:
    function()
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return statistics.median(found)
