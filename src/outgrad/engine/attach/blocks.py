"""Gradients put into blocks and taken out of them, in memory and lazily."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import singledispatch

import numpy as np

from outgrad.data.chunk import Chunk
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.stored_rows import of_rows
from outgrad.engine import outlines
from outgrad.engine.attach.chunks import attach_part, numbered_from, strip_part
from outgrad.engine.content import Blocks, InMemory, Lazy, leading
from outgrad.graph.lazy_blocks import recut, rowwise
from outgrad.tree import AnyTree


# ---- one more gradient ----
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
    values, rows = block.outline(0), gradient.outline(0)
    if values is not None:
        edges = values.edges
    else:  # the gradient is lazy: cut where it is cut, before the samples of the first rows of its chunks
        assert rows is not None, "one of the two is lazy"
        parents, count = samples.column("sample"), len(metadata.samples)
        inner = rows.edges[1:-1]
        starts = np.unique(parents[inner[inner < len(parents)]])
        edges = np.array([0, *starts[(starts > 0) & (starts < count)], count], dtype=np.int64)

    outline = outlines.at_edges(metadata, block.dtype(0), edges)
    added = outline.gradients[parameter]
    others = replace(outline, gradients={p: g for p, g in outline.gradients.items() if p != parameter})
    parts = pack_chunks([others], 1)  # a part for each chunk
    operands = [
        recut(block.to_lazy(1, (others,)).data, (others,), parts),
        recut(gradient.to_lazy(1, (added,)).data, (added,), parts),
    ]
    tables = [
        of_rows(samples, int(added.edges[n]), int(added.edges[n + 1]), numbered_from, int(outline.edges[n]))
        for n in range(outline.chunk_count)
    ]
    configs = [(parameter, [table]) for table in tables]
    return Lazy((metadata,), rowwise("attach", attach_part, configs, operands, (outline,)))


# ---- fewer gradients ----
def keep_gradients(blocks: Blocks, keep: Collection[str]) -> Blocks:
    """Leave only the gradients in ``keep``."""
    return keep_arrays(blocks, [_with_gradients_in(keep, metadata) for metadata in blocks.metadata], keep)


@singledispatch
def keep_arrays(blocks: Blocks, metadata: Sequence[BlockMetadata], keep: Collection[str]) -> Blocks:
    """Leave the arrays that ``metadata`` describe."""
    raise NotImplementedError


@keep_arrays.register(InMemory)
def keep_in_memory(blocks: InMemory, metadata: Sequence[BlockMetadata], keep: Collection[str]) -> Blocks:
    return blocks.like(metadata, strip_part(keep, list(blocks.chunks)))


@keep_arrays.register(Lazy)
def keep_lazily(blocks: Lazy, metadata: Sequence[BlockMetadata], keep: Collection[str]) -> Blocks:
    cuts = tuple(_with_gradients_in(keep, outline) for outline in blocks.data.outlines)
    configs = [(keep,)] * len(blocks.data.parts)
    return Lazy(tuple(metadata), rowwise("remove_gradients", strip_part, configs, [blocks.data], cuts))


def _with_gradients_in(keep: Collection[str], node: AnyTree) -> AnyTree:
    return replace(node, gradients={p: g for p, g in node.gradients.items() if p in keep})  # type: ignore[type-var]
