"""Blocks divided by their samples: many results, one pass over labels and gradient rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk, Table
from outgrad.data.metadata import BlockMetadata
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.engine.divide.chunks import Shares, divide_chunk
from outgrad.engine.divide.graph import LazyShare, lazy_shares, split_blocks
from outgrad.engine.divide.plan import Selections, targets_by_occurrence
from outgrad.engine.map.blocks import without_properties
from outgrad.engine.shuffle.blocks import Origin, RowOrder, Target, moved
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.labels.labels import Labels

BlockShare = tuple[BlockMetadata, Chunk]
"""A share as a block."""


@singledispatch
def split_samples(
    blocks: Blocks, label: str, selections: Sequence[Selections], count: int
) -> Sequence[Blocks]:
    """Divide every block into ``count`` shares; the n-th shares of all blocks are the n-th result."""
    raise NotImplementedError


@split_samples.register(InMemory)
def split_in_memory(
    blocks: InMemory, label: str, selections: Sequence[Selections], count: int
) -> Sequence[Blocks]:
    """The shares of a block are views where the rows of every share are neighbours."""
    by_block = [
        _divide_block(metadata, blocks.with_tables(number), selected)[0]
        for number, (metadata, selected) in enumerate(zip(blocks.metadata, selections, strict=True))
    ]
    return [
        replace(
            blocks,
            metadata=tuple(shares[n][0] for shares in by_block),
            chunks=tuple(shares[n][1] for shares in by_block),
        )
        for n in range(count)
    ]


@split_samples.register(Lazy)
def split_lazily(blocks: Lazy, label: str, selections: Sequence[Selections], count: int) -> Sequence[Blocks]:
    """Labels and rows are found by dividing the blocks without their content."""
    metadata, block_shares = [], []
    for n, (labels, selected) in enumerate(zip(blocks.metadata, selections, strict=True)):
        block_results, shares = _divide_block(labels, without_properties(labels, blocks.dtype(n)), selected)
        metadata.append([result_metadata for result_metadata, _ in block_results])
        block_shares.append(shares)
    inputs = _gather_scattered(label, blocks, selections, block_shares)

    by_block: list[list[LazyShare]] = []
    for (data, number), shares, selected in zip(inputs, block_shares, selections, strict=True):
        *filled, empty = lazy_shares(data.outlines[number], shares)
        following = iter(filled)
        by_block.append(
            [
                next(following) if has_rows else LazyShare(empty.outline, ())
                for has_rows in (np.diff(selected.edges) > 0).tolist()
            ]
        )
    frames = [outlines.frame(labels, blocks.dtype(n)) for n, labels in enumerate(blocks.metadata)]
    results = [[shares[n] for shares in by_block] for n in range(count)]
    data_of_results = split_blocks(label, inputs, frames, results, chunk_bytes())
    return [Lazy(tuple(labels[n] for labels in metadata), data) for n, data in enumerate(data_of_results)]


def _divide_block(
    metadata: BlockMetadata, chunk: Chunk, selections: Selections
) -> tuple[list[BlockShare], Shares]:
    """Divide a block; return a block for each selection, and the shares that were divided.

    All selections without rows have one share together, the last one, since maps of many blocks have many.
    """
    filled = np.flatnonzero(np.diff(selections.edges))
    end = selections.edges[-1:]
    shares = divide_chunk(chunk, selections.rows, np.concatenate([selections.edges[filled], end, end]))
    ordered = metadata.samples
    if not shares.is_original:
        ordered = _labels_of_shares(ordered.names, ordered.values[selections.rows])
    samples = ordered.slices(shares.starts.tolist(), shares.stops.tolist())
    share_blocks = _share_blocks(metadata, shares, samples)
    numbers = np.full(len(selections.edges) - 1, len(filled))
    numbers[filled] = np.arange(len(filled))
    return [share_blocks[number] for number in numbers.tolist()], shares


def _share_blocks(metadata: BlockMetadata, shares: Shares, samples: Sequence[Labels]) -> list[BlockShare]:
    """Shares as blocks, given the samples of each."""
    gradients: dict[str, list[BlockShare]] = {}
    for name, gradient in shares.gradients.items():
        labels = metadata.gradients[name]
        assert gradient.table is not None, "gradients have rows"
        edges = gradient.edges.tolist()
        rows = _labels_of_shares(labels.samples.names, gradient.table).slices(edges[:-1], edges[1:])
        gradients[name] = _share_blocks(labels, gradient, rows)

    none: dict[str, Any] = {}  # one for all shares, where there are no gradients
    blocks = []
    rows_of_shares = zip(samples, shares.starts.tolist(), shares.stops.tolist(), strict=True)
    for n, (share_samples, start, stop) in enumerate(rows_of_shares):
        heads = {name: share[n][0] for name, share in gradients.items()} if gradients else none
        chunks = {name: share[n][1] for name, share in gradients.items()} if gradients else none
        labels = BlockMetadata(share_samples, metadata.components, metadata.properties, heads)
        blocks.append((labels, Chunk(shares.values[start:stop], chunks)))
    return blocks


def _labels_of_shares(names: Sequence[str], table: Table) -> Labels:
    """The labels of all shares, one after the other: only those of one share have to be unique."""
    table.flags.writeable = False
    return Labels(names, table, assume_unique=True)


def _gather_scattered(
    label: str, blocks: Lazy, selections: Sequence[Selections], shares: list[Shares]
) -> list[tuple[LazyBlocks, int]]:
    """Move the rows of blocks in which those of a share are not neighbours, so that they are.

    Returns blocks that can be cut into shares; ``shares`` of those that were moved are exchanged.
    """
    inputs = [(blocks.data, n) for n in range(len(blocks))]
    scattered = [n for n, block in enumerate(shares) if not all(node.is_original for _, node in block.walk())]
    if not scattered:
        return inputs
    targets = []
    for origin, n in enumerate(scattered):
        metadata, rows = blocks.metadata[n], selections[n].rows
        samples = _labels_of_shares(metadata.samples.names, metadata.samples.values[rows])
        times = targets_by_occurrence(rows, len(metadata.samples))
        origins = tuple(Origin(origin, positions) for positions in times)
        targets.append(Target(replace(metadata, samples=samples), origins, RowOrder.FOLLOWING))
    gathered = moved(f"{label}-rows", [(blocks, n) for n in scattered], targets).to_lazy()
    for number, n in enumerate(scattered):
        labels = gathered.metadata[number]
        in_order = Selections(np.arange(len(selections[n].rows)), selections[n].edges)
        shares[n] = _divide_block(labels, without_properties(labels, blocks.dtype(n)), in_order)[1]
        inputs[n] = (gathered.data, number)
    return inputs
