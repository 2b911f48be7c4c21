"""Blocks made of the rows and columns of other blocks: joined, sorted, chosen, merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outgrad.config import chunk_bytes
from outgrad.kernels.chunk import Chunk
from outgrad.lazy import LazyBlocks
from outgrad.lazy.move import Move, move_blocks
from outgrad.plan.chunks import coarsen
from outgrad.plan.frame import Frame
from outgrad.plan.moves import Origin, inherited_edges, is_increasing
from outgrad.plan.outline import Outline
from outgrad.rules.place import Order, Patch, place
from outgrad.tensor import outlines, relabel
from outgrad.tensor.blocks import Blocks, to_lazy, with_tables, without_tables
from outgrad.tensor.metadata import BlockMetadata

Input = tuple[Blocks, int]
"""A block: some blocks, and its number."""

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
    dtypes = [
        np.result_type(*(inputs[o.block][0].dtype(inputs[o.block][1]) for o in target.origins))
        for target in targets
    ]
    if all(blocks.lazy is None for blocks, _ in inputs):
        return _at_once(inputs, targets, dtypes, fill)
    shadows = [_shadow(inputs, target, dtype) for target, dtype in zip(targets, dtypes, strict=True)]
    metadata = tuple(_relabelled(inputs, t, shadow) for t, shadow in zip(targets, shadows, strict=True))
    sources = _lazy_inputs(inputs)
    cuts = tuple(_cut(sources, t, m, dtype) for t, m, dtype in zip(targets, metadata, dtypes, strict=True))
    frames = [outlines.frame(m, dtype) for m, dtype in zip(metadata, dtypes, strict=True)]
    origins, orders = [target.origins for target in targets], [target.row_order for target in targets]
    move = Move(sources, origins, cuts, frames, orders, fill)
    return Blocks(metadata, move_blocks(label, move, chunk_bytes()))


def _at_once(
    inputs: Sequence[Input], targets: Sequence[Target], dtypes: Sequence[np.dtype[Any]], fill: complex | float
) -> Blocks:
    armed = [with_tables(blocks.chunk(n), blocks.metadata[n]) for blocks, n in inputs]
    metadata, chunks = [], []
    for target, dtype in zip(targets, dtypes, strict=True):
        patches = [Patch(armed[o.block], o.rows, o.columns) for o in target.origins]
        frame = outlines.frame(_pattern(inputs, target), dtype)
        result = place(frame, len(target.head.samples), patches, target.row_order, fill)
        metadata.append(_relabelled(inputs, target, result))
        chunks.append(without_tables(result))
    return Blocks(tuple(metadata), tuple(chunks))


def _pattern(inputs: Sequence[Input], target: Target) -> BlockMetadata:
    """The new block with the gradients of its origins: their samples are still those of the origins."""
    found = [inputs[o.block][0].metadata[inputs[o.block][1]] for o in target.origins]
    first = target.head if target.head.gradients or not found else relabel.template(found)
    return _with_head(first, target.head)


def _with_head(pattern: BlockMetadata, head: BlockMetadata) -> BlockMetadata:
    gradients = {}
    for name, below in pattern.gradients.items():
        own = below.components[: len(below.components) - len(pattern.components)]
        gradients[name] = _with_head(
            below, BlockMetadata(below.samples, (*own, *head.components), head.properties)
        )
    return BlockMetadata(head.samples, head.components, head.properties, gradients)


def _relabelled(inputs: Sequence[Input], target: Target, result: Chunk) -> BlockMetadata:
    pattern = _pattern(inputs, target)
    return relabel.relabelled(pattern, result, replace(pattern, gradients={}))


def _shadow(inputs: Sequence[Input], target: Target, dtype: np.dtype[Any]) -> Chunk:
    """Move the rows alone."""
    patches = []
    for origin in target.origins:
        blocks, number = inputs[origin.block]
        bare = relabel.without_properties(blocks.metadata[number], blocks.dtype(number))
        patches.append(Patch(bare, origin.rows))
    frame = _bare(outlines.frame(_pattern(inputs, target), dtype))
    return place(frame, len(target.head.samples), patches, target.row_order)


def _bare(frame: Frame) -> Frame:
    gradients = {name: _bare(below) for name, below in frame.gradients.items()}
    return replace(frame, trailing=(*frame.trailing[:-1], 0), gradients=gradients)


def _lazy_inputs(inputs: Sequence[Input]) -> list[tuple[LazyBlocks, int]]:
    """Make all inputs lazy, each content once."""
    target = chunk_bytes()
    lazies = {id(blocks): to_lazy(blocks, target).lazy for blocks, _ in inputs}
    return [(lazy, number) for blocks, number in inputs if (lazy := lazies[id(blocks)]) is not None]


def _cut(
    sources: Sequence[tuple[LazyBlocks, int]],
    target: Target,
    metadata: BlockMetadata,
    dtype: np.dtype[Any],
) -> Outline:
    """Cut where the origins are cut, if their rows keep their order; otherwise by bytes."""
    cuts = [sources[o.block][0].outlines[sources[o.block][1]] for o in target.origins]
    edges = inherited_edges([o.rows for o in target.origins], [cut.edges for cut in cuts])
    if edges is None:
        return outlines.automatic(metadata, dtype, chunk_bytes())
    cut = outlines.at_edges(metadata, dtype, edges)
    return cut if len(cuts) == 1 else coarsen(cut, chunk_bytes())
