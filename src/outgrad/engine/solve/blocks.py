"""Systems of equations of blocks, solved at once or as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from outgrad.config import chunk_bytes
from outgrad.data.metadata import BlockMetadata
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.engine.solve.chunks import System, factored, joined_reports, solved
from outgrad.engine.solve.graph import solve_blocks
from outgrad.graph.lazy_blocks import LazyText


@singledispatch
def solve_systems(x: Blocks, y: Blocks, systems: Sequence[System]) -> tuple[Blocks, str | LazyText]:
    """Solve the equations of each block of operands that are alike; also report on the solutions."""
    raise NotImplementedError


def _labels_of_weights(x: Blocks, y: Blocks) -> list[BlockMetadata]:
    """Weights have the properties of both."""
    return [
        BlockMetadata(b.properties, (), a.properties) for a, b in zip(x.metadata, y.metadata, strict=True)
    ]


@solve_systems.register(InMemory)
def solve_in_memory(x: InMemory, y: InMemory, systems: Sequence[System]) -> tuple[Blocks, str | LazyText]:
    solutions = [
        solved(system, [factored(x.with_tables(number), y.with_tables(number))])
        for number, system in enumerate(systems)
    ]
    report = joined_reports([(0, number) for number in range(len(solutions))], solutions)
    return x.like(_labels_of_weights(x, y), [solution.weights for solution in solutions]), report


@solve_systems.register(Lazy)
def solve_lazily(x: Lazy, y: Lazy, systems: Sequence[System]) -> tuple[Blocks, str | LazyText]:
    metadata = tuple(_labels_of_weights(x, y))
    cuts = tuple(outlines.uncut(m, system.dtype) for m, system in zip(metadata, systems, strict=True))
    data, report = solve_blocks(x.data, y.data, systems, cuts, chunk_bytes())
    return Lazy(metadata, data), report
