"""Where two chunks differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from outgrad.data.chunk import Chunk, ChunkList


class Tolerance(NamedTuple):
    """How close numbers must be: |a − b| ≤ absolute + relative·|b|; None asks for equality."""

    relative: float | None = None
    absolute: float = 0.0
    equal_nan: bool = False


def difference(a: Chunk, b: Chunk, tolerance: Tolerance) -> tuple[str, ...] | None:
    """Return the path of the first array that differs, () for the values, or None where all agree."""
    for path, node in a.walk():
        first, second = node.values, b.at(path).values
        relative, absolute, equal_nan = tolerance
        if relative is None:
            agrees = np.array_equal(first, second)
        else:
            agrees = first.shape == second.shape and np.allclose(first, second, relative, absolute, equal_nan)
        if not agrees:
            return path
    return None


def compare_parts(tolerance: Tolerance, *parts: ChunkList) -> list[Any]:
    """Say where chunks of two parts differ."""
    return [difference(a, b, tolerance) for a, b in zip(*parts, strict=True)]
