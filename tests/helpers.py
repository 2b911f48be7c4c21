"""What tests of several rooms need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import dask
import numpy as np

import outgrad as og
from outgrad.data.chunk import Chunk
from outgrad.engine import outlines
from outgrad.engine.content import Blocks
from outgrad.storage.publishing import publish_all


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


def commit(writer: Any, receipts: Sequence[Any]) -> None:
    """End a save that a test does step by step."""
    publish_all([writer.prepare(receipts)])


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
