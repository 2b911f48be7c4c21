"""Permutations of the entries of components and properties, the components of gradients included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from outgrad.data.chunk import Chunk, ChunkList
from outgrad.data.positions import Index
from outgrad.tree import Tree, fold


@dataclass(frozen=True)
class AxisOrders(Tree):
    """The new order of the entries of each component (*K, *C) and of the properties; None where it stays.

    A gradient has components of its own, and so orders of its own; the axes that it shares with its parent
    have the same orders there.
    """

    orders: tuple[Index | None, ...]
    gradients: dict[str, AxisOrders] = field(default_factory=dict)


def permute_entries(chunk: Chunk, axes: AxisOrders) -> Chunk:
    """Take the entries of every axis but the rows in a new order, in gradients too."""
    return fold(_permuted, chunk, axes)


def _permuted(chunk: Chunk, axes: AxisOrders, gradients: dict[str, Chunk]) -> Chunk:
    values = chunk.values
    for axis, order in enumerate(axes.orders, start=1):
        if order is not None:
            values = np.take(values, order, axis=axis)
    return Chunk(values, gradients, chunk.table)


def permute_part(orders: Sequence[AxisOrders | None], part: ChunkList) -> ChunkList:
    """Take components and properties in other orders; None leaves a piece as it is."""
    return [
        chunk if own is None else permute_entries(chunk, own) for own, chunk in zip(orders, part, strict=True)
    ]
