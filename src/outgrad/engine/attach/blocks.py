"""Putting gradients into blocks and taking them out, in memory and lazily."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from outgrad.data.chunk import Chunk, Table
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.engine import outlines
from outgrad.engine.attach.chunks import attach_part, descend_part
from outgrad.engine.content import Blocks, to_lazy
from outgrad.graph.lazy_blocks import LazyBlocks, recut, rowwise
from outgrad.labels.labels import Labels


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
    """Return ``block`` with a gradient more; labels were checked."""
    below = gradient.metadata[0]
    metadata = replace(block.metadata[0], gradients={**block.metadata[0].gradients, parameter: below})
    if block.lazy is None and gradient.lazy is None:
        chunk = block.chunk(0)
        added = {**chunk.gradients, parameter: gradient.chunk(0)}
        return Blocks((metadata,), (Chunk(chunk.values, added),))
    return Blocks((metadata,), _attach_lazily(block, parameter, gradient, metadata))


def _attach_lazily(block: Blocks, parameter: str, gradient: Blocks, metadata: BlockMetadata) -> LazyBlocks:
    edges = _edges(block, gradient, metadata, parameter)
    cut = outlines.at_edges(metadata, block.dtype(0), edges)
    own = replace(cut, gradients={p: g for p, g in cut.gradients.items() if p != parameter})
    below = cut.gradients[parameter]
    parts = pack_chunks([own], 1)  # a part for each chunk
    values = recut(_lazy(block, own), (own,), parts)
    rows = recut(_lazy(gradient, below), (below,), parts)
    samples = metadata.gradients[parameter].samples
    tables = [
        row_table(samples, int(below.edges[n]), int(below.edges[n + 1]), int(cut.edges[n]))
        for n in range(cut.chunk_count)
    ]
    configs = [(parameter, [table]) for table in tables]
    return rowwise("attach", attach_part, configs, [values, rows], (cut,))


def _edges(
    block: Blocks, gradient: Blocks, metadata: BlockMetadata, parameter: str
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Samples at which to cut: those of the lazy values, or those where the lazy gradient is cut."""
    if block.lazy is not None:
        return block.lazy.outlines[0].edges
    assert gradient.lazy is not None, "one of the two is lazy"
    column = metadata.gradients[parameter].samples.column("sample")
    inner = gradient.lazy.outlines[0].edges[1:-1]
    starts = np.unique(column[inner[inner < len(column)]])
    count = len(metadata.samples)
    return np.array([0, *starts[(starts > 0) & (starts < count)], count], dtype=np.int64)


def _lazy(blocks: Blocks, cut: Outline) -> LazyBlocks:
    data = to_lazy(blocks, 1, (cut,)).data
    assert isinstance(data, LazyBlocks)
    return data


def gradient_blocks(block: Blocks, parameter: str) -> Blocks:
    """Take a gradient out of a single block, as a block of its own."""
    metadata = block.metadata[0].gradients[parameter]
    if block.lazy is None:
        gradient = block.chunk(0).gradients[parameter]
        return Blocks((metadata,), (Chunk(gradient.values, gradient.gradients),))
    lazy = block.lazy
    outline = lazy.outlines[0].gradients[parameter]
    configs = [(parameter,)] * len(lazy.parts)
    return Blocks((metadata,), rowwise("gradient", descend_part, configs, [lazy], (outline,)))
