"""New arrays for the labels of blocks: in memory at once, or chunk by chunk in tasks that read no data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from math import prod
from typing import Any

import numpy as np

from outgrad.data.chunk import Array, Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.engine import outlines
from outgrad.engine.attach.blocks import RowTable, row_table
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.graph.lazy_blocks import made_blocks
from outgrad.tree import GradientPath, Tree, fold, zip_map

Starts = Mapping[GradientPath, int]
"""Position of the first element of each array of a block, when all elements of all blocks are counted."""


@dataclass(frozen=True)
class Space(Tree):
    """The room of one chunk: shape, dtype, the position of its first element, and its gradient rows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    table: RowTable | Table | None = None
    gradients: dict[str, Space] = field(default_factory=dict)


@dataclass(frozen=True)
class _Planner:
    """Finds the spaces of one chunk of a block; ``tables`` says whether gradients get their rows."""

    starts: Starts
    chunk: int = 0
    tables: bool = True

    # Written out, and not folded: it is called for each chunk, and is most of what planning takes here.
    def space(
        self, metadata: BlockMetadata, outline: Outline, path: GradientPath = (), parent: int = 0
    ) -> Space:
        first, last = outline.edges[self.chunk : self.chunk + 2].tolist()
        gradients = {
            name: self.space(metadata.gradients[name], own, (*path, name), first)
            for name, own in outline.gradients.items()
        }
        trailing = metadata.trailing
        start = self.starts[path] + first * prod(trailing)
        table = row_table(metadata.samples, first, last, parent) if path and self.tables else None
        return Space((last - first, *trailing), outline.dtype, start, table, gradients)


Fill = Callable[[Space], Array]
"""What makes the array of a space; it travels in tasks."""


@singledispatch
def create(old: Blocks, label: str, fill: Fill, metadata: Sequence[BlockMetadata]) -> Blocks:
    """Fill arrays for ``metadata``: the blocks of ``old``, perhaps without some of its gradients.

    Chunks and tasks are those of ``old``, whose data are not looked at.
    """
    raise NotImplementedError


@create.register(InMemory)
def create_in_memory(old: InMemory, label: str, fill: Fill, metadata: Sequence[BlockMetadata]) -> Blocks:
    chunks = []
    for number, (labels, starts) in enumerate(zip(metadata, _starts(metadata), strict=True)):
        uncut = outlines.whole(labels, old.dtype(number))
        chunks.append(_filled(fill, _Planner(starts, tables=False).space(labels, uncut)))
    return old.like(metadata, chunks)


@create.register(Lazy)
def create_lazily(old: Lazy, label: str, fill: Fill, metadata: Sequence[BlockMetadata]) -> Blocks:
    data, starts = old.data, _starts(metadata)
    cuts = tuple(zip_map(lambda _, node: node, *each) for each in zip(metadata, data.outlines, strict=True))
    configs = [
        (fill, [_Planner(starts[n], chunk).space(metadata[n], cuts[n]) for n, chunk in part])
        for part in data.parts
    ]
    return Lazy(tuple(metadata), made_blocks(label, fill_part, configs, cuts, data.parts))


def fill_part(fill: Fill, spaces: Sequence[Space]) -> list[Chunk]:
    """Make a part: this runs in tasks."""
    return [_filled(fill, space) for space in spaces]


def _filled(fill: Fill, space: Space) -> Chunk:
    def make(own: Space, gradients: dict[str, Chunk]) -> Chunk:
        table = own.table.resolve() if isinstance(own.table, RowTable) else own.table
        return Chunk(fill(own), gradients, table)

    return fold(make, space)


def _starts(metadata: Sequence[BlockMetadata]) -> list[Starts]:
    found: list[Starts] = []
    at = 0
    for block in metadata:
        own: dict[GradientPath, int] = {}
        for path, below in block.walk():
            own[path] = at
            at += prod(below.shape)
        found.append(own)
    return found
