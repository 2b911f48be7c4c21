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
from outgrad.data.positions import as_range
from outgrad.engine import outlines
from outgrad.engine.content import Blocks, InMemory, Lazy, leading
from outgrad.engine.map.blocks import (
    relabelled,
    same_gradient_rows,
    with_all_gradients,
    with_head,
    without_properties,
)
from outgrad.engine.shuffle.chunks import Patch, RowOrder, assemble_chunk
from outgrad.engine.shuffle.graph import LazyInput, Move
from outgrad.engine.shuffle.plan import Origin, inherited_edges, is_increasing
from outgrad.engine.shuffle.two_steps import move_in_steps
from outgrad.tree import GradientPath, fold, fold_down

Input = tuple[Blocks, int]
"""A block: some blocks, and its number."""

SORTING = (RowOrder.FOLLOWING, RowOrder.SORTED, RowOrder.DESCENDING)
"""Orders in which gradient rows are in the order of their samples, even if they were not before."""

__all__ = ["Input", "Origin", "RowOrder", "Target", "moved"]


@dataclass(frozen=True, eq=False)
class Target:
    """A new block: its samples, components and properties, and where its rows and columns come from.

    ``head`` may have gradients: they are the pattern for names and components, and their samples are
    not looked at. Without them the pattern is the first origin.
    """

    head: BlockMetadata
    origins: tuple[Origin, ...]
    order: RowOrder | None = None
    """Order of gradient rows; by default kept where samples keep theirs, else after their samples."""
    dtype: np.dtype[Any] | None = None
    """By default that which NumPy gives for the origins; needed without origins."""
    edges: Edges | None = None
    """Where to cut, if it becomes lazy; by default where the origins are cut, else by bytes."""

    @property
    def row_order(self) -> RowOrder:
        if self.order is not None:
            return self.order
        return RowOrder.KEPT if is_increasing([o.rows for o in self.origins]) else RowOrder.FOLLOWING


def moved(
    label: str, inputs: Sequence[Input], targets: Sequence[Target], fill: complex | float = 0
) -> Blocks:
    """Put new blocks together from ``inputs``, gradients too; what nothing covers is ``fill``.

    At once if all inputs are in memory, otherwise as a graph.
    """
    dtypes = []
    for target in targets:
        sources = [inputs[origin.block] for origin in target.origins]
        inherited = [blocks.dtype(number) for blocks, number in sources]
        dtypes.append(np.result_type(*inherited) if target.dtype is None else target.dtype)
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
    patterns = [_pattern(target, _origin_labels(inputs, target)) for target in targets]
    frames = [outlines.frame(pattern, dtype) for pattern, dtype in zip(patterns, dtypes, strict=True)]
    results: list[Chunk | None] = [None] * len(targets)

    def make(n: int) -> None:
        target = targets[n]
        patches = [
            Patch(chunks[o.block], None if o.rows is None else as_range(o.rows), o.columns)
            for o in target.origins
        ]
        results[n] = assemble_chunk(frames[n], len(target.head.samples), patches, target.row_order, fill)

    with several_threads(threads()):
        for_each(make, [sum(chunks[o.block].nbytes for o in target.origins) for target in targets])
    new_chunks = [result for result in results if result is not None]
    metadata = [relabelled(p, chunk, p) for p, chunk in zip(patterns, new_chunks, strict=True)]
    return leader.like(metadata, new_chunks)


@move_to.register(Lazy)
def move_lazily(
    leader: Lazy,
    label: str,
    inputs: Sequence[Input],
    targets: Sequence[Target],
    dtypes: Sequence[np.dtype[Any]],
    fill: complex | float,
) -> Blocks:
    chunked = {id(blocks): blocks.to_lazy().data for blocks, _ in inputs}
    lazy_inputs = [(chunked[id(blocks)], number) for blocks, number in inputs]
    metadata, cuts = [], []
    for target, dtype in zip(targets, dtypes, strict=True):
        labels, rows_stay = _labels_of_target(inputs, target, dtype)
        metadata.append(labels)
        cuts.append(_cut_target(lazy_inputs, target, labels, dtype, rows_stay))
    frames = [outlines.frame(labels, dtype) for labels, dtype in zip(metadata, dtypes, strict=True)]
    origins, orders = [target.origins for target in targets], [target.row_order for target in targets]
    move = Move(lazy_inputs, origins, tuple(cuts), frames, orders, fill)
    return Lazy(tuple(metadata), move_in_steps(label, move, chunk_bytes()))


def _origin_labels(inputs: Sequence[Input], target: Target) -> list[BlockMetadata]:
    sources = [inputs[origin.block] for origin in target.origins]
    return [blocks.metadata[number] for blocks, number in sources]


def _pattern(target: Target, origins: Sequence[BlockMetadata]) -> BlockMetadata:
    """The new block with the gradients of its origins: their samples are still those of the origins."""
    has_own = bool(target.head.gradients) or not origins
    return with_head(target.head if has_own else with_all_gradients(origins), target.head)


def _labels_of_target(
    inputs: Sequence[Input], target: Target, dtype: np.dtype[Any]
) -> tuple[BlockMetadata, bool]:
    """Labels of a lazy block, and whether all its rows, of gradients too, are those of every origin.

    Label tables are read only where rows move or differ.
    """
    origins = _origin_labels(inputs, target)
    pattern = _pattern(target, origins)
    paths = [path for path, _ in pattern.walk()]
    keep_rows = (RowOrder.KEPT, RowOrder.MERGED) if len(origins) == 1 else (RowOrder.MERGED,)
    rows_stay = (
        len(origins) > 0
        and all(origin.rows is None for origin in target.origins)
        and target.row_order in keep_rows
        and all({path for path, _ in origin.walk()} == set(paths) for origin in origins)
        and same_gradient_rows(origins)
    )
    if rows_stay:

        def label(path: GradientPath, _: Any, node: BlockMetadata, origin: BlockMetadata, below: Any) -> Any:
            return replace(node, samples=origin.samples if path else node.samples, gradients=below)

        return fold_down(label, pattern, origins[0]), True

    patches = []
    for origin in target.origins:
        blocks, number = inputs[origin.block]
        rows = without_properties(blocks.metadata[number], blocks.dtype(number))
        patches.append(Patch(rows, origin.rows))
    frame = outlines.frame(pattern, dtype).map(lambda f: replace(f, trailing=(*f.trailing[:-1], 0)))
    result = assemble_chunk(frame, len(target.head.samples), patches, target.row_order)
    return relabelled(pattern, result, pattern), False


def _cut_target(
    inputs: Sequence[LazyInput],
    target: Target,
    metadata: BlockMetadata,
    dtype: np.dtype[Any],
    rows_stay: bool,
) -> Outline:
    """Cut where the target says, or where the origins are cut if their rows keep their order; else by bytes.

    Origins side by side may be too wide for the chunks of the first: then they are cut by bytes, too; and so
    is a block that was one chunk because its gradient rows were not sorted, which they are now.
    """
    cuts = [inputs[o.block][0].outlines[inputs[o.block][1]] for o in target.origins]
    edges = target.edges
    if edges is None and cuts:
        edges = inherited_edges([o.rows for o in target.origins], [cut.edges for cut in cuts])
        if edges is not None and edges[-1] != len(metadata.samples):
            edges = None  # rows that no origin gives follow
    if edges is None:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    if rows_stay and np.array_equal(edges, cuts[0].edges):
        cut = fold(
            lambda labels, node, below: Outline(node.edges, labels.trailing, dtype, below), metadata, cuts[0]
        )
    else:
        cut = outlines.at_edges(metadata, dtype, edges)
    if cut.chunk_count == 1 and target.edges is None and target.row_order in SORTING:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    if len(cuts) == 1 or target.edges is not None:
        return cut
    if cut.chunk_bytes.max() > max(chunk_bytes(), *(int(origin.chunk_bytes.max()) for origin in cuts)):
        return outlines.automatic(metadata, dtype, chunk_bytes())
    return coarsen(cut, chunk_bytes())
