"""Maps and blocks that are lazy: cut where a test says, computed chunk by chunk, or not computed at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import dask
import numpy as np

import outgrad as og
from outgrad import TensorMap
from outgrad.data.chunk import Chunk
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.engine import outlines
from outgrad.engine.content import Blocks


@contextlib.contextmanager
def nothing_computed() -> Iterator[None]:
    """Fail if Dask computes anything."""

    def refuse(graph: Any, keys: Any, **_: Any) -> NoReturn:
        raise AssertionError(f"computed {keys}")

    with dask.config.set(scheduler=refuse):
        yield


def cut_at(tensor: Any, edges: Sequence[Sequence[int]], part_bytes: int = 1) -> Any:
    """Make a map or block in memory lazy, with chunks of the given samples; they may be without rows."""
    blocks = tensor._blocks()
    cuts = tuple(
        outlines.at_edges(metadata, blocks.dtype(n), np.array(own, np.int64))
        for n, (metadata, own) in enumerate(zip(blocks.metadata, edges, strict=True))
    )
    return like(tensor, blocks.to_lazy(part_bytes, cuts))


def like(tensor: Any, blocks: Blocks) -> Any:
    if isinstance(tensor, og.TensorMap):
        return og.TensorMap._of(tensor.keys, blocks, tensor.info())
    return og.TensorBlock._of(blocks)


def chunks_of(tensor: Any) -> list[list[Chunk]]:
    """Compute a lazy map or block and return the chunks of each block, with their tables."""
    lazy = tensor._blocks().to_compute
    results = dask.get(dict(tensor.__dask_graph__()), list(lazy.keys))
    found = {
        piece: chunk
        for part, chunks in zip(lazy.parts, results, strict=True)
        for piece, chunk in zip(part, chunks, strict=True)
    }
    return [
        [found[block, chunk] for chunk in range(outline.chunk_count)]
        for block, outline in enumerate(lazy.outlines)
    ]


def check_layout(result: TensorMap) -> None:
    """Every chunk holds the rows that its outline says, and gradient rows lie with their samples."""
    blocks = result._blocks()
    assert blocks.to_compute is not None
    computed = chunks_of(result)
    for metadata, outline, chunks in zip(blocks.metadata, blocks.to_compute.outlines, computed, strict=True):
        for number, chunk in enumerate(chunks):
            _check_chunk(metadata, outline, chunk, number, int(outline.edges[number]))


def _check_chunk(metadata: BlockMetadata, outline: Outline, chunk: Chunk, number: int, start: int) -> None:
    below, above = map(int, outline.edges[number : number + 2])
    assert chunk.values.shape == (above - below, *metadata.trailing)
    assert outline.shape == metadata.shape
    assert outline.dtype == chunk.values.dtype
    assert list(outline.gradients) == list(metadata.gradients) == list(chunk.gradients)
    if chunk.table is not None:
        rows = chunk.table.copy()
        rows[:, 0] += start
        assert np.array_equal(rows, metadata.samples.values[below:above])
    for name, gradient in chunk.gradients.items():
        _check_chunk(metadata.gradients[name], outline.gradients[name], gradient, number, below)
