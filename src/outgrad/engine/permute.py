"""Entries of components and properties in another order: every row by itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from outgrad.data.metadata import BlockMetadata
from outgrad.engine.content import Blocks, InMemory, Lazy
from outgrad.gradients.axes import AxisOrders, permute_part
from outgrad.graph.replace import rowwise_on


@singledispatch
def permuted(
    blocks: Blocks, metadata: Sequence[BlockMetadata], orders: Sequence[AxisOrders | None]
) -> Blocks:
    """Bring the entries of each block into an order; those of a block without one stay."""
    raise NotImplementedError


@permuted.register(InMemory)
def permuted_in_memory(
    blocks: InMemory, metadata: Sequence[BlockMetadata], orders: Sequence[AxisOrders | None]
) -> Blocks:
    return blocks.like(metadata, permute_part(orders, list(blocks.chunks)))


@permuted.register(Lazy)
def permuted_lazily(
    blocks: Lazy, metadata: Sequence[BlockMetadata], orders: Sequence[AxisOrders | None]
) -> Blocks:
    changed = frozenset(number for number, order in enumerate(orders) if order is not None)
    data = rowwise_on(
        "sort-entries", permute_part, blocks.data, changed, lambda part: ([orders[p.block] for p in part],)
    )
    return Lazy(tuple(metadata), data)
