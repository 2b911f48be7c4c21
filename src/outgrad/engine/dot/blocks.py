"""Products of blocks with blocks: labels of the results, at once or as a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.data.chunk import Chunk
from outgrad.data.chunking import pack_chunks
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Outline
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy, leading
from outgrad.engine.dot.chunks import dense, outer
from outgrad.engine.dot.graph import dot_blocks
from outgrad.engine.map import labels as relabel
from outgrad.gradients.rule import map_arrays
from outgrad.graph.lazy_blocks import LazyBlocks, recut


@dataclass(frozen=True)
class Product:
    """The labels of two blocks, and of their product but for the rows of gradients."""

    first: BlockMetadata
    second: BlockMetadata
    pattern: BlockMetadata

    @classmethod
    def of(cls, a: BlockMetadata, b: BlockMetadata) -> Product:
        head = BlockMetadata(a.samples, a.components, b.samples)
        return cls(a, b, _united(relabel.with_head(a, head), relabel.with_head(b, head)))

    def labels(self, result: Chunk, rows_stay: bool = False) -> BlockMetadata:
        return relabel.relabelled(self.pattern, result, replace(self.pattern, gradients={}), rows_stay)

    def rows(self, dtypes: tuple[Any, Any]) -> Chunk:
        """The product without properties: the rows of its gradients."""
        right = dense(relabel.without_properties(self.second, dtypes[1]))
        no_columns = map_arrays(right, lambda array: array[..., :0, :])
        return outer(relabel.without_properties(self.first, dtypes[0]), no_columns)

    def shape(self, dtypes: tuple[Any, Any]) -> Chunk:
        """The product without rows, where the second block has no gradients: no labels are read."""
        other = Chunk(np.broadcast_to(np.zeros((), dtypes[1]), (1, *self.second.shape)))  # no bytes
        return outer(relabel.without_rows(self.first, dtypes[0]), other)


def _united(a: BlockMetadata, b: BlockMetadata) -> BlockMetadata:
    """The gradients of both, at every depth."""
    gradients = dict(a.gradients)
    for name, below in b.gradients.items():
        gradients[name] = _united(gradients[name], below) if name in gradients else below
    return replace(a, gradients=gradients)


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
    left, right = first.to_lazy(chunk_bytes()).data, second.to_lazy(chunk_bytes()).data
    uncut = tuple(outlines.whole(m, second.dtype(n)) for n, m in enumerate(second.metadata))
    whole = recut(right, uncut, pack_chunks(uncut, 1))
    cuts, metadata = [], []
    for n, product in enumerate(products):
        dtypes = first.dtype(n), second.dtype(n)
        if product.second.gradients:
            result = product.rows(dtypes)
            metadata.append(product.labels(result))
            cuts.append(relabel.new_cuts(left.outlines[n].edges, result, metadata[-1].trailing))
        else:
            result = product.shape(dtypes)
            metadata.append(product.labels(result, rows_stay=True))
            cuts.append(relabel.same_cuts([left.outlines[n]], result))
    if any(product.second.gradients for product in products):
        left, cuts = _finer(first, left, metadata, cuts)
    return Lazy(tuple(metadata), dot_blocks(left, whole, tuple(cuts)))


def _finer(
    first: Blocks, left: LazyBlocks, metadata: list[BlockMetadata], cuts: list[Outline]
) -> tuple[LazyBlocks, list[Outline]]:
    """Cut chunks whose products would be larger than a task should hold: every sample may get many rows."""
    target = chunk_bytes()
    given, wanted = list(left.outlines), list(cuts)
    for n, outline in enumerate(cuts):
        if outline.chunk_bytes.max() > target:
            automatic = outlines.automatic(metadata[n], outline.dtype, target)
            edges = np.unique(np.concatenate([outline.edges, automatic.edges]))
            own = outlines.at_edges(first.metadata[n], first.dtype(n), edges)
            if own.chunk_count == len(edges) - 1:  # else its gradient rows are not sorted
                given[n], wanted[n] = own, outlines.at_edges(metadata[n], outline.dtype, edges)
    if all(new is old for new, old in zip(wanted, cuts, strict=True)):
        return left, cuts
    return recut(left, tuple(given), pack_chunks(wanted, target)), wanted
