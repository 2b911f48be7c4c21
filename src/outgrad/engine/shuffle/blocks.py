"""Blocks made of the rows and columns of other blocks: joined, sorted, chosen, merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np

from outgrad._threads import for_each, several_threads
from outgrad.config import chunk_bytes, threads
from outgrad.data.chunk import Chunk
from outgrad.data.chunking import coarsen
from outgrad.data.metadata import BlockMetadata
from outgrad.data.outline import Edges, Outline
from outgrad.data.positions import compact
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy, leading
from outgrad.engine.map import labels as relabel
from outgrad.engine.shuffle.chunks import Order, Patch, place
from outgrad.engine.shuffle.graph import Move
from outgrad.engine.shuffle.plan import Origin, inherited_edges, is_increasing
from outgrad.engine.shuffle.two_steps import move_in_steps
from outgrad.graph.lazy_blocks import LazyBlocks
from outgrad.tree import GradientPath, fold, fold_down

Input = tuple[Blocks, int]
"""A block: some blocks, and its number."""

SORTING = (Order.FOLLOWING, Order.SORTED, Order.DESCENDING)
"""Orders in which gradient rows stand in the order of their samples, whatever they did before."""

__all__ = ["Input", "Order", "Origin", "Target", "moved"]


@dataclass(frozen=True, eq=False)
class Target:
    """A new block: its samples, components and properties, and where its rows and columns come from.

    ``head`` may have gradients: they are the pattern for names and components, and their samples are
    not looked at. Without them the pattern is the first origin.
    """

    head: BlockMetadata
    origins: tuple[Origin, ...]
    order: Order | None = None
    """Order of gradient rows; by default kept where samples keep theirs, else after their samples."""
    dtype: np.dtype[Any] | None = None
    """By default that which NumPy gives for the origins; needed without origins."""
    edges: Edges | None = None
    """Where to cut, if it becomes lazy; by default where the origins are cut, else by bytes."""

    @property
    def row_order(self) -> Order:
        if self.order is not None:
            return self.order
        return Order.KEPT if is_increasing([o.rows for o in self.origins]) else Order.FOLLOWING


def moved(
    label: str, inputs: Sequence[Input], targets: Sequence[Target], fill: complex | float = 0
) -> Blocks:
    """Put new blocks together from ``inputs``, gradients too; what nothing covers is ``fill``.

    At once if all inputs are in memory, otherwise as a graph.
    """
    dtypes = [_dtype(inputs, target) for target in targets]
    return move_to(leading(blocks for blocks, _ in inputs), label, inputs, targets, dtypes, fill)


@singledispatch
def move_to(
    leader: Blocks,
    label: str,
    inputs: Sequence[Input],
    targets: Sequence[Target],
    dtypes: Sequence[np.dtype[Any]],
    fill: complex | float,
) -> Blocks:
    """Put the targets together where ``leader`` decides of which kind they are."""
    raise NotImplementedError


@move_to.register(Lazy)
def move_lazily(
    leader: Lazy,
    label: str,
    inputs: Sequence[Input],
    targets: Sequence[Target],
    dtypes: Sequence[np.dtype[Any]],
    fill: complex | float,
) -> Blocks:
    chunked = {id(blocks): blocks.to_lazy(chunk_bytes()).data for blocks, _ in inputs}
    sources = [(chunked[id(blocks)], number) for blocks, number in inputs]
    stay = [_rows_stay(inputs, target) for target in targets]
    metadata = tuple(_metadata(inputs, *each) for each in zip(targets, dtypes, stay, strict=True))
    cuts = tuple(_cut(sources, *each) for each in zip(targets, metadata, dtypes, stay, strict=True))
    frames = [outlines.frame(m, dtype) for m, dtype in zip(metadata, dtypes, strict=True)]
    origins, orders = [target.origins for target in targets], [target.row_order for target in targets]
    move = Move(sources, origins, cuts, frames, orders, fill)
    return Lazy(metadata, move_in_steps(label, move, chunk_bytes()))


def _dtype(inputs: Sequence[Input], target: Target) -> np.dtype[Any]:
    if target.dtype is not None:
        return target.dtype
    return np.result_type(*(inputs[o.block][0].dtype(inputs[o.block][1]) for o in target.origins))


@move_to.register(InMemory)
def move_in_memory(
    leader: InMemory,
    label: str,
    inputs: Sequence[Input],
    targets: Sequence[Target],
    dtypes: Sequence[np.dtype[Any]],
    fill: complex | float,
) -> Blocks:
    chunks = [leader.of_this_kind(blocks).with_tables(number) for blocks, number in inputs]
    frames = [
        outlines.frame(_pattern(inputs, target), dtype) for target, dtype in zip(targets, dtypes, strict=True)
    ]
    results: list[Chunk | None] = [None] * len(targets)

    def make(n: int) -> None:
        target = targets[n]
        patches = [
            Patch(chunks[o.block], None if o.rows is None else compact(o.rows), o.columns)
            for o in target.origins
        ]
        results[n] = place(frames[n], len(target.head.samples), patches, target.row_order, fill)

    with several_threads(threads()):
        for_each(make, [sum(chunks[o.block].nbytes for o in target.origins) for target in targets])
    made = [result for result in results if result is not None]
    metadata = [_relabelled(inputs, target, result) for target, result in zip(targets, made, strict=True)]
    return leader.like(metadata, made)


def _pattern(inputs: Sequence[Input], target: Target) -> BlockMetadata:
    """The new block with the gradients of its origins: their samples are still those of the origins."""
    found = [] if target.head.gradients else _origins(inputs, target)
    return relabel.with_head(relabel.template(found) if found else target.head, target.head)


def _origins(inputs: Sequence[Input], target: Target) -> list[BlockMetadata]:
    return [inputs[o.block][0].metadata[inputs[o.block][1]] for o in target.origins]


def _metadata(
    inputs: Sequence[Input], target: Target, dtype: np.dtype[Any], rows_stay: bool
) -> BlockMetadata:
    """Labels of a lazy result; tables are read only where rows move or differ."""
    if rows_stay:
        return _with_rows(_pattern(inputs, target), _origins(inputs, target)[0])
    return _relabelled(inputs, target, _shadow(inputs, target, dtype))


def _rows_stay(inputs: Sequence[Input], target: Target) -> bool:
    """Whether all rows, of gradients too, are those of every origin; digests are compared."""
    one = len(target.origins) == 1 and target.row_order is Order.KEPT
    if not (one or (target.origins and target.row_order is Order.MERGED)):
        return False
    if any(origin.rows is not None for origin in target.origins):
        return False
    return _same_rows(_pattern(inputs, target), _origins(inputs, target))


def _same_rows(pattern: BlockMetadata, found: Sequence[BlockMetadata]) -> bool:
    paths = dict(pattern.walk()).keys()
    first, *others = (dict(own.walk()) for own in found)
    return all(own.keys() == paths for own in (first, *others)) and all(
        own[path].samples == first[path].samples for path in paths if path for own in others
    )


def _with_rows(pattern: BlockMetadata, origin: BlockMetadata) -> BlockMetadata:
    """The samples of a block, and those of the gradients of another."""

    def make(
        path: GradientPath, _: Any, own: BlockMetadata, other: BlockMetadata, gradients: Any
    ) -> BlockMetadata:
        samples = other.samples if path else own.samples
        return BlockMetadata(samples, own.components, own.properties, gradients)

    return fold_down(make, pattern, origin)


def _relabelled(inputs: Sequence[Input], target: Target, result: Chunk) -> BlockMetadata:
    pattern = _pattern(inputs, target)
    return relabel.relabelled(pattern, result, replace(pattern, gradients={}))


def _shadow(inputs: Sequence[Input], target: Target, dtype: np.dtype[Any]) -> Chunk:
    """Move the rows alone."""
    patches = []
    for origin in target.origins:
        blocks, number = inputs[origin.block]
        rows = relabel.without_properties(blocks.metadata[number], blocks.dtype(number))
        patches.append(Patch(rows, origin.rows))
    frame = outlines.frame(_pattern(inputs, target), dtype)
    bare = frame.map(lambda own: replace(own, trailing=(*own.trailing[:-1], 0)))
    return place(bare, len(target.head.samples), patches, target.row_order)


def _cut(
    sources: Sequence[tuple[LazyBlocks, int]],
    target: Target,
    metadata: BlockMetadata,
    dtype: np.dtype[Any],
    rows_stay: bool,
) -> Outline:
    """Cut where the target says, or where the origins are cut if their rows keep their order; else by bytes.

    Origins side by side may be too wide for the chunks of the first: then they are cut by bytes, too; and so
    is a block that was one chunk because its gradient rows were not sorted, which they are now.
    """
    cuts = [sources[o.block][0].outlines[sources[o.block][1]] for o in target.origins]
    edges = target.edges
    if edges is None and cuts:
        edges = inherited_edges([o.rows for o in target.origins], [cut.edges for cut in cuts])
        if edges is not None and edges[-1] != len(metadata.samples):
            edges = None  # rows that no origin gives follow
    if edges is None:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    if rows_stay and np.array_equal(edges, cuts[0].edges):
        cut = fold(lambda m, own, below: Outline(own.edges, m.trailing, dtype, below), metadata, cuts[0])
    else:
        cut = outlines.at_edges(metadata, dtype, edges)
    if cut.chunk_count == 1 and target.edges is None and target.row_order in SORTING:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    if len(cuts) == 1 or target.edges is not None:
        return cut
    if cut.chunk_bytes.max() > max(chunk_bytes(), *(int(own.chunk_bytes.max()) for own in cuts)):
        return outlines.automatic(metadata, dtype, chunk_bytes())
    return coarsen(cut, chunk_bytes())
