"""Blocks compared with blocks."""

from __future__ import annotations

from functools import singledispatch

from outgrad.engine.compare.chunks import Tolerance, difference
from outgrad.engine.compare.graph import compute_difference
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.tree import GradientPath


@singledispatch
def first_difference(a: Blocks, b: Blocks, tolerance: Tolerance) -> tuple[int, GradientPath] | None:
    """Return block and path of the first array that differs, of operands that are alike."""
    raise NotImplementedError


@first_difference.register(InMemory)
def first_difference_in_memory(
    a: InMemory, b: InMemory, tolerance: Tolerance
) -> tuple[int, GradientPath] | None:
    for number, chunks in enumerate(zip(a.chunks, b.chunks, strict=True)):
        path = difference(*chunks, tolerance)
        if path is not None:
            return number, path
    return None


@first_difference.register(Lazy)
def first_difference_lazily(a: Lazy, b: Lazy, tolerance: Tolerance) -> tuple[int, GradientPath] | None:
    return compute_difference(a.data, b.data, tolerance)
