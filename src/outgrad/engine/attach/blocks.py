"""Putting gradients into blocks and taking them out, in memory and lazily."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np

from outgrad.data.chunk import Chunk, Table
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges
from outgrad.engine import outlines
from outgrad.engine.attach.chunks import attach_part, strip_part
from outgrad.engine.content import Blocks, InMemory, Lazy, leading
from outgrad.graph.lazy_blocks import recut, rowwise
from outgrad.labels.labels import Labels
from outgrad.tree import AnyTree


@dataclass(frozen=True)
class RowTable:
    """The rows of a gradient's labels that one chunk needs; stored labels are read by the task."""

    samples: Labels
    start: int
    stop: int
    parent_start: int

    def resolve(self) -> Table:
        table = self.samples.read(self.start, self.stop).copy()
        table[:, 0] -= self.parent_start
        return table


def row_table(samples: Labels, start: int, stop: int, parent_start: int) -> RowTable | Table:
    """Refer to stored labels, which pickle small; of labels in memory only the rows themselves travel."""
    rows = RowTable(samples, start, stop, parent_start)
    return rows if samples.is_stored else rows.resolve()


def attach_gradient(block: Blocks, parameter: str, gradient: Blocks) -> Blocks:
    """Return ``block`` with one more gradient; labels were checked."""
    gradients = {**block.metadata[0].gradients, parameter: gradient.metadata[0]}
    metadata = replace(block.metadata[0], gradients=gradients)
    return attach_alike(leading([block, gradient]), block, parameter, gradient, metadata)


@singledispatch
def attach_alike(
    leader: Blocks, block: Blocks, parameter: str, gradient: Blocks, metadata: BlockMetadata
) -> Blocks:
    """Attach a gradient where ``leader`` decides of which kind the result is."""
    raise NotImplementedError


@attach_alike.register(InMemory)
def attach_in_memory(
    leader: InMemory, block: InMemory, parameter: str, gradient: InMemory, metadata: BlockMetadata
) -> Blocks:
    chunk = block.chunks[0]
    gradients = {**chunk.gradients, parameter: leader.of_this_kind(gradient).chunks[0]}
    return leader.like([metadata], [Chunk(chunk.values, gradients)])


@attach_alike.register(Lazy)
def attach_lazily(
    leader: Lazy, block: Blocks, parameter: str, gradient: Blocks, metadata: BlockMetadata
) -> Blocks:
    samples = metadata.gradients[parameter].samples
    cut = outlines.at_edges(metadata, block.dtype(0), _edges(block, gradient, metadata, parameter))
    old = replace(cut, gradients={p: g for p, g in cut.gradients.items() if p != parameter})
    new = cut.gradients[parameter]
    parts = pack_chunks([old], 1)  # a part for each chunk
    values = recut(block.to_lazy(1, (old,)).data, (old,), parts)
    rows = recut(gradient.to_lazy(1, (new,)).data, (new,), parts)
    tables = [
        row_table(samples, int(new.edges[n]), int(new.edges[n + 1]), int(cut.edges[n]))
        for n in range(cut.chunk_count)
    ]
    configs = [(parameter, [table]) for table in tables]
    return Lazy((metadata,), rowwise("attach", attach_part, configs, [values, rows], (cut,)))


def _edges(block: Blocks, gradient: Blocks, metadata: BlockMetadata, parameter: str) -> Edges:
    """Samples at which to cut: those of the lazy values, or those where the lazy gradient is cut."""
    values, rows = block.outline(0), gradient.outline(0)
    if values is not None:
        return values.edges
    assert rows is not None, "one of the two is lazy"
    column = metadata.gradients[parameter].samples.column("sample")
    inner = rows.edges[1:-1]
    starts = np.unique(column[inner[inner < len(column)]])
    count = len(metadata.samples)
    return np.array([0, *starts[(starts > 0) & (starts < count)], count], dtype=np.int64)


def keep_gradients(blocks: Blocks, keep: Collection[str]) -> Blocks:
    """Leave only the gradients in ``keep``."""
    metadata = [_keep(labels, keep) for labels in blocks.metadata]
    return keep_arrays(blocks, metadata, keep)


def _keep(node: AnyTree, keep: Collection[str]) -> AnyTree:
    return replace(node, gradients={p: g for p, g in node.gradients.items() if p in keep})  # type: ignore[type-var]


@singledispatch
def keep_arrays(blocks: Blocks, metadata: Sequence[BlockMetadata], keep: Collection[str]) -> Blocks:
    """Leave the arrays that ``metadata`` describe."""
    raise NotImplementedError


@keep_arrays.register(InMemory)
def keep_in_memory(blocks: InMemory, metadata: Sequence[BlockMetadata], keep: Collection[str]) -> Blocks:
    return blocks.like(metadata, strip_part(keep, list(blocks.chunks)))


@keep_arrays.register(Lazy)
def keep_lazily(blocks: Lazy, metadata: Sequence[BlockMetadata], keep: Collection[str]) -> Blocks:
    cuts = tuple(_keep(outline, keep) for outline in blocks.data.outlines)
    configs = [(keep,)] * len(blocks.data.parts)
    return Lazy(tuple(metadata), rowwise("remove_gradients", strip_part, configs, [blocks.data], cuts))
