"""Where two chunks differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunk import Array, Chunk, ChunkList


class Tolerance(NamedTuple):
    """How close numbers must be: |a − b| ≤ absolute + relative·|b|; None asks for equality."""

    relative: float | None = None
    absolute: float = 0.0
    equal_nan: bool = False


def difference(a: Chunk, b: Chunk, tolerance: Tolerance) -> tuple[str, ...] | None:
    """Return the path of the first array that differs, () for the values, or None where all agree."""
    for path, below in a.walk():
        if not _close(below.values, b.at(path).values, tolerance):
            return path
    return None


def _close(a: Array, b: Array, tolerance: Tolerance) -> bool:
    if tolerance.relative is None:
        return bool(np.array_equal(a, b))
    if a.shape != b.shape:
        return False
    return bool(np.allclose(a, b, tolerance.relative, tolerance.absolute, tolerance.equal_nan))


def compare_parts(settings: Any, *parts: ChunkList) -> list[Any]:
    """Describe where chunks of two parts differ."""
    return [difference(a, b, settings) for a, b in zip(*parts, strict=True)]
