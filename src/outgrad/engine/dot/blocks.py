"""Products of blocks with blocks: labels of the results, at once or as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy, leading
from outgrad.engine.dot.chunks import dense, outer
from outgrad.engine.dot.graph import dot_blocks
from outgrad.engine.map.blocks import (
    new_cuts,
    relabelled,
    same_cuts,
    with_all_gradients,
    with_head,
    without_properties,
    without_rows,
)
from outgrad.gradients.rule import map_arrays
from outgrad.graph.lazy_blocks import recut


@dataclass(frozen=True)
class Product:
    """The labels of two blocks, and of their product but for the rows of gradients."""

    first: BlockMetadata
    second: BlockMetadata
    pattern: BlockMetadata

    @classmethod
    def of(cls, a: BlockMetadata, b: BlockMetadata) -> Product:
        head = BlockMetadata(a.samples, a.components, b.samples)
        return cls(a, b, with_all_gradients([with_head(a, head), with_head(b, head)]))

    def labels(self, result: Chunk, rows_stay: bool = False) -> BlockMetadata:
        return relabelled(self.pattern, result, self.pattern, rows_stay)

    def rows_alone(self, dtypes: tuple[Any, Any]) -> Chunk:
        """The product without properties, which has the rows of its gradients."""
        right = dense(without_properties(self.second, dtypes[1]))
        no_columns = map_arrays(right, lambda array: array[..., :0, :])
        return outer(without_properties(self.first, dtypes[0]), no_columns)

    def shape_alone(self, dtypes: tuple[Any, Any]) -> Chunk:
        """The product without rows, if the second block has no gradients: no labels are read."""
        right = Chunk(np.broadcast_to(np.zeros((), dtypes[1]), (1, *self.second.shape)))  # no bytes
        return outer(without_rows(self.first, dtypes[0]), right)


def multiplied(products: Sequence[Product], first: Blocks, second: Blocks) -> Blocks:
    """Multiply the blocks of two operands."""
    return multiply_by_kind(leading([first, second]), products, first, second)


@singledispatch
def multiply_by_kind(leader: Blocks, products: Sequence[Product], first: Blocks, second: Blocks) -> Blocks:
    """Multiply where ``leader`` decides of which kind the result is."""
    raise NotImplementedError


@multiply_by_kind.register(InMemory)
def multiply_in_memory(
    leader: InMemory, products: Sequence[Product], first: InMemory, second: InMemory
) -> Blocks:
    right = leader.of_this_kind(second)
    chunks = [outer(first.with_tables(n), dense(right.with_tables(n))) for n in range(len(products))]
    return leader.like([p.labels(chunk) for p, chunk in zip(products, chunks, strict=True)], chunks)


@multiply_by_kind.register(Lazy)
def multiply_lazily(leader: Lazy, products: Sequence[Product], first: Blocks, second: Blocks) -> Blocks:
    target = chunk_bytes()
    left, right = first.to_lazy(target).data, second.to_lazy(target).data
    uncut = tuple(outlines.uncut(m, second.dtype(n)) for n, m in enumerate(second.metadata))
    complete = recut(right, uncut, pack_chunks(uncut, 1))

    left_cuts = list(left.outlines)
    metadata, cuts = [], []
    for n, product in enumerate(products):
        dtypes = first.dtype(n), second.dtype(n)
        if not product.second.gradients:
            result = product.shape_alone(dtypes)
            metadata.append(product.labels(result, rows_stay=True))
            cuts.append(same_cuts([left.outlines[n]], result))
            continue
        result = product.rows_alone(dtypes)
        metadata.append(product.labels(result))
        cut = new_cuts(left.outlines[n].edges, result, metadata[n].trailing)
        # Every sample may get many gradient rows: chunks whose product is larger than a task should hold are
        # cut further, unless their gradient rows are not sorted.
        if cut.chunk_bytes.max() > target:
            by_bytes = outlines.automatic(metadata[n], cut.dtype, target)
            edges = np.unique(np.concatenate([cut.edges, by_bytes.edges]))
            finer = outlines.at_edges(first.metadata[n], first.dtype(n), edges)
            if finer.chunk_count == len(edges) - 1:
                left_cuts[n], cut = finer, outlines.at_edges(metadata[n], cut.dtype, edges)
        cuts.append(cut)

    if any(new is not old for new, old in zip(left_cuts, left.outlines, strict=True)):
        left = recut(left, tuple(left_cuts), pack_chunks(cuts, target))
    return Lazy(tuple(metadata), dot_blocks(left, complete, tuple(cuts)))
