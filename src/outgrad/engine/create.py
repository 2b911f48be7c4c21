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
from outgrad.data.stored_rows import StoredRows, of_rows, resolved
from outgrad.engine import outlines
from outgrad.engine.attach.chunks import numbered_from
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.graph.lazy_blocks import made_blocks
from outgrad.tree import GradientPath, Tree, fold, zip_map


@dataclass(frozen=True)
class NewChunk(Tree):
    """A chunk that is to be filled: shape, dtype, the position of its first element, and its gradient rows.

    All elements of all blocks are counted together, so that each has a position of its own.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    table: StoredRows | Table | None = None
    gradients: dict[str, NewChunk] = field(default_factory=dict)


Fill = Callable[[NewChunk], Array]
"""What makes the values of a new chunk; it travels in tasks."""


@singledispatch
def create(old: Blocks, label: str, fill: Fill, metadata: Sequence[BlockMetadata]) -> Blocks:
    """Fill arrays for ``metadata``: the blocks of ``old``, perhaps without some of its gradients.

    Chunks and tasks are those of ``old``, whose data are not looked at.
    """
    raise NotImplementedError


@create.register(InMemory)
def create_in_memory(old: InMemory, label: str, fill: Fill, metadata: Sequence[BlockMetadata]) -> Blocks:
    uncut = [outlines.uncut(labels, old.dtype(number)) for number, labels in enumerate(metadata)]
    starts = _first_elements(metadata)
    chunks = [
        _ChunkPlanner(*each, has_tables=False).plan() for each in zip(metadata, uncut, starts, strict=True)
    ]
    return old.like(metadata, fill_part(fill, chunks))


@create.register(Lazy)
def create_lazily(old: Lazy, label: str, fill: Fill, metadata: Sequence[BlockMetadata]) -> Blocks:
    data, starts = old.data, _first_elements(metadata)
    cuts = tuple(zip_map(lambda _, node: node, *each) for each in zip(metadata, data.outlines, strict=True))
    configs = [
        (fill, [_ChunkPlanner(metadata[n], cuts[n], starts[n], chunk).plan() for n, chunk in part])
        for part in data.parts
    ]
    return Lazy(tuple(metadata), made_blocks(label, fill_part, configs, cuts, data.parts))


def _first_elements(metadata: Sequence[BlockMetadata]) -> list[dict[GradientPath, int]]:
    """The position of the first element of each array of each block, by path."""
    starts: list[dict[GradientPath, int]] = []
    position = 0
    for block in metadata:
        starts.append({})
        for path, node in block.walk():
            starts[-1][path] = position
            position += prod(node.shape)
    return starts


@dataclass(frozen=True)
class _ChunkPlanner:
    """Plans one chunk of a block; ``has_tables`` says whether gradients get their rows."""

    metadata: BlockMetadata
    outline: Outline
    starts: Mapping[GradientPath, int]
    chunk: int = 0
    has_tables: bool = True

    def plan(self) -> NewChunk:
        return self._node(self.metadata, self.outline, (), 0)

    # Written out, and not folded: it is called for each chunk, and is most of what planning takes here.
    def _node(self, metadata: BlockMetadata, outline: Outline, path: GradientPath, parent: int) -> NewChunk:
        first, last = outline.edges[self.chunk : self.chunk + 2].tolist()
        gradients = {
            name: self._node(metadata.gradients[name], gradient, (*path, name), first)
            for name, gradient in outline.gradients.items()
        }
        has_table = path and self.has_tables
        table = of_rows(metadata.samples, first, last, numbered_from, parent) if has_table else None
        start = self.starts[path] + first * prod(metadata.trailing)
        return NewChunk((last - first, *metadata.trailing), outline.dtype, start, table, gradients)


def fill_part(fill: Fill, chunks: Sequence[NewChunk]) -> list[Chunk]:
    """Make a part: this runs in tasks, too."""
    return [
        fold(lambda node, gradients: Chunk(fill(node), gradients, resolved(node.table)), chunk)
        for chunk in chunks
    ]
