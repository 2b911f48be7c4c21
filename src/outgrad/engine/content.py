"""Some blocks: their metadata, and their data in memory or lazy. Every operation works on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk, join_chunks
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline, Part
from outgrad.engine import outlines
from outgrad.graph.lazy_blocks import LazyBlocks, collect, from_chunks, gather_chunks, recut
from outgrad.tree import fold, fold_down

Data = tuple[Chunk, ...] | LazyBlocks


@dataclass(frozen=True, eq=False)
class Blocks:
    """Metadata and data of some blocks: all in memory, or all lazy."""

    metadata: tuple[BlockMetadata, ...]
    data: Data

    def __len__(self) -> int:
        return len(self.metadata)

    @property
    def lazy(self) -> LazyBlocks | None:
        return self.data if isinstance(self.data, LazyBlocks) else None

    def chunk(self, block: int) -> Chunk:
        """The arrays of a block in memory."""
        assert not isinstance(self.data, LazyBlocks), "the block is lazy"
        return self.data[block]

    def dtype(self, block: int) -> np.dtype[Any]:
        if isinstance(self.data, LazyBlocks):
            return self.data.outlines[block].dtype
        return self.data[block].values.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of values and gradients."""
        if isinstance(self.data, LazyBlocks):
            return self.data.nbytes
        return sum(array.values.nbytes for chunk in self.data for _, array in chunk.walk())

    def select(self, numbers: Sequence[int]) -> Blocks:
        """Choose blocks by number."""
        if list(numbers) == list(range(len(self))):
            return self
        metadata = tuple(self.metadata[number] for number in numbers)
        if isinstance(self.data, LazyBlocks):
            return Blocks(metadata, collect([(self.data, n) for n in numbers], chunk_bytes()))
        return Blocks(metadata, tuple(self.data[number] for number in numbers))


def with_tables(chunk: Chunk, metadata: BlockMetadata) -> Chunk:
    """Give the gradients in memory the tables of their rows, which an operation reads."""
    return fold_down(
        lambda path, _, own, labels, gradients: Chunk(
            own.values, gradients, labels.samples.values if path else None
        ),
        chunk,
        metadata,
    )


def without_tables(chunk: Chunk) -> Chunk:
    """Leave the rows to the labels of the gradients."""
    return fold(lambda own, gradients: Chunk(own.values, gradients), chunk)


def to_lazy(blocks: Blocks, target_bytes: int, cut: tuple[Outline, ...] | None = None) -> Blocks:
    """Chunk blocks in memory, by bytes or as ``cut`` says."""
    if isinstance(blocks.data, LazyBlocks):
        return blocks
    if cut is None:
        cut = tuple(
            outlines.automatic(m, blocks.dtype(n), target_bytes) for n, m in enumerate(blocks.metadata)
        )
    armed = [with_tables(chunk, m) for chunk, m in zip(blocks.data, blocks.metadata, strict=True)]
    return Blocks(blocks.metadata, from_chunks(armed, cut, target_bytes))


def rechunk(blocks: Blocks, target_bytes: int) -> Blocks:
    """Cut blocks anew by bytes."""
    if not isinstance(blocks.data, LazyBlocks):
        return to_lazy(blocks, target_bytes)
    cut = tuple(outlines.automatic(m, blocks.dtype(n), target_bytes) for n, m in enumerate(blocks.metadata))
    return Blocks(blocks.metadata, recut(blocks.data, cut, pack_chunks(cut, target_bytes)))


def alike(blocks: Sequence[Blocks]) -> list[Blocks]:
    """Bring operands with the same samples to one form: all in memory, or lazy and cut like the first.

    One lazy operand makes all of them lazy.
    """
    leader = next((b.lazy for b in blocks if b.lazy is not None), None)
    if leader is None:
        return list(blocks)
    cuts = [[_cut_like(outline, other, n) for n, outline in enumerate(leader.outlines)] for other in blocks]
    parts = leader.parts
    for n in range(len(leader.outlines)):
        if len({cut[n].chunk_count for cut in cuts}) > 1:  # rows of one operand are not sorted
            for cut, other in zip(cuts, blocks, strict=True):
                cut[n] = outlines.whole(other.metadata[n], other.dtype(n))
            parts = pack_chunks(cuts[0], chunk_bytes())
    return [_in_parts(other, tuple(cut), parts) for other, cut in zip(blocks, cuts, strict=True)]


def _in_parts(blocks: Blocks, cut: tuple[Outline, ...], parts: tuple[Part, ...]) -> Blocks:
    data = to_lazy(blocks, chunk_bytes(), cut).data
    assert isinstance(data, LazyBlocks)
    return Blocks(blocks.metadata, recut(data, cut, parts))


def _cut_like(leader: Outline, blocks: Blocks, n: int) -> Outline:
    """Outline of block ``n`` with the edges of ``leader``; labels are read only where edges differ."""
    own = blocks.lazy
    if own is not None and np.array_equal(own.outlines[n].edges, leader.edges):
        return own.outlines[n]
    return outlines.at_edges(blocks.metadata[n], blocks.dtype(n), leader.edges)


def computed(blocks: LazyBlocks, results: list[list[Chunk]]) -> tuple[Chunk, ...]:
    """Put the computed parts together: one chunk a block, in memory."""
    return tuple(without_tables(join_chunks(chunks)) for chunks in gather_chunks(blocks, results))


def notes(chunks: Sequence[Chunk]) -> dict[str, str]:
    """Return the notes on whole blocks by name: the text of a JSON list, with one entry for each block."""
    found = [chunk.notes or {} for chunk in chunks]
    names = dict.fromkeys(name for own in found for name in own)
    return {name: f"[{', '.join(own.get(name, 'null') for own in found)}]" for name in names}


def computed_notes(blocks: LazyBlocks, results: list[list[Chunk]]) -> dict[str, str]:
    """Return the notes that the computed parts carry; most carry none."""
    if all(chunk.notes is None for part in results for chunk in part):
        return {}
    return notes([chunks[0] for chunks in gather_chunks(blocks, results)])
